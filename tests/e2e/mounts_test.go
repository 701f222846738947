//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EMounts has three mounts of one cluster at the same files: what each does, the others see as it was done.
func TestE2EMounts(t *testing.T) {
	s := cluster.StartServer(t)
	m := threeMounts{s.Mount(t), s.Mount(t), s.Mount(t)}
	t.Run("one winner", m.oneWinner)
	t.Run("append", m.append)
	t.Run("close to open", m.closeToOpen)
	t.Run("rename over", m.renameOver)
	t.Run("rename to and fro", m.renameBetween)
	t.Run("listings", m.listings)
	t.Run("names", m.names)
	s.Granary("fsck", "--data").Run(t)
}

type threeMounts [3]string

// all runs f for each mount at the same time.
func (m threeMounts) all(t *testing.T, f func(i int, dir string) error) {
	t.Helper()
	var running sync.WaitGroup
	for i, dir := range m {
		running.Go(func() {
			if err := f(i, dir); err != nil {
				t.Errorf("mount %d: %v", i, err)
			}
		})
	}
	running.Wait()
}

func (m threeMounts) mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(m[0], name), 0o755); err != nil {
		t.Fatal(err)
	}
}

// oneWinner has all make the same files: O_EXCL, link and mkdir each let one do it.
func (m threeMounts) oneWinner(t *testing.T) {
	m.mkdir(t, "excl")
	const rounds = 400 // of each way; all begin a round together
	ways := map[string]func(dir, name string) error{
		"open": func(_, name string) error {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		},
		"mkdir": func(_, name string) error { return os.Mkdir(name, 0o755) },
		"link":  func(dir, name string) error { return os.Link(filepath.Join(dir, "excl", "source"), name) },
	}
	if err := os.WriteFile(filepath.Join(m[0], "excl", "source"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for way, take := range ways {
		for round := range rounds {
			var winners atomic.Int32
			m.all(t, func(_ int, dir string) error {
				err := take(dir, filepath.Join(dir, "excl", fmt.Sprintf("%s-%d", way, round)))
				switch {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, os.ErrExist):
					return err
				}
				return nil
			})
			if n := winners.Load(); n != 1 {
				t.Fatalf("%s: %d winners in round %d", way, n, round)
			}
		}
	}
}

// append has all append records to one file: none is lost, torn or there twice, and those of each are in order.
func (m threeMounts) append(t *testing.T) {
	const records = 300
	m.all(t, func(i int, dir string) error {
		f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		for n := range records {
			record := fmt.Sprintf("%d %d %s\n", i, n, strings.Repeat("x", n%200))
			if _, err = io.WriteString(f, record); err != nil {
				break
			}
			if n%7 == 0 {
				if err = f.Sync(); err != nil {
					break
				}
			}
		}
		return errors.Join(err, f.Close())
	})
	for _, dir := range m {
		text, err := os.ReadFile(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		var next [len(m)]int
		for line := range strings.Lines(string(text)) {
			var i, n int
			if _, err := fmt.Sscanf(line, "%d %d ", &i, &n); err != nil || i >= len(m) {
				t.Fatalf("a record is %q: %v", line, err)
			}
			if want := fmt.Sprintf("%d %d %s\n", i, next[i], strings.Repeat("x", next[i]%200)); line != want {
				t.Fatalf("a record of mount %d is %q, want %q", i, line, want)
			}
			next[i]++
		}
		for i, n := range next {
			if n != records {
				t.Errorf("%d records of mount %d, want %d", n, i, records)
			}
		}
	}
}

// closeToOpen has a file handed around: who opens it sees all that was written before it was closed, of sizes that are stored
// inline and of others, whether it has read the file before or not.
func (m threeMounts) closeToOpen(t *testing.T) {
	for round := range 60 {
		size := []int{100, 3000, 4097, 70_000, 1 << 20, 100}[round%6]
		want := bytes.Repeat([]byte(fmt.Sprintf("%04d", round)), size/4)
		if err := os.WriteFile(filepath.Join(m[round%3], "handed"), want, 0o644); err != nil {
			t.Fatal(err)
		}
		m.all(t, func(_ int, dir string) error {
			name := filepath.Join(dir, "handed")
			if st, err := os.Stat(name); err != nil || st.Size() != int64(len(want)) {
				return fmt.Errorf("round %d: %v, want %d bytes: %w", round, st, len(want), err)
			}
			got, err := os.ReadFile(name)
			if err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("round %d: %d bytes that are not those written: %w", round, len(got), err)
			}
			return nil
		})
	}
}

// renameOver has one mount replace a file again and again: the others find it at any time, whole.
func (m threeMounts) renameOver(t *testing.T) {
	m.mkdir(t, "over")
	content := func(round int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%04d", round)), 1000+round*7) }
	replace := func(round int) error {
		dir := filepath.Join(m[0], "over")
		if err := os.WriteFile(filepath.Join(dir, "new"), content(round), 0o644); err != nil {
			return err
		}
		return os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "file"))
	}
	if err := replace(0); err != nil {
		t.Fatal(err)
	}
	var latest atomic.Int32 // round whose rename has returned
	done := make(chan struct{})
	m.all(t, func(i int, dir string) error {
		if i == 0 {
			defer close(done)
			for round := 1; round < 150; round++ {
				if err := replace(round); err != nil {
					return err
				}
				latest.Store(int32(round))
			}
			return nil
		}
		for {
			atLeast := int(latest.Load())
			got, err := os.ReadFile(filepath.Join(dir, "over", "file"))
			if err != nil {
				return err
			}
			var round int
			if _, err := fmt.Sscanf(string(got[:min(4, len(got))]), "%d", &round); err != nil || !bytes.Equal(got, content(round)) {
				return fmt.Errorf("%d bytes of round %d are not what was renamed: %w", len(got), round, err)
			}
			if round < atLeast {
				return fmt.Errorf("round %d is seen after the rename of round %d", round, atLeast)
			}
			select {
			case <-done:
				return nil
			default:
			}
		}
	})
}

// renameBetween has one mount move a file to and fro, and look for it in others after each move: it is where it was moved to, and
// only there.
func (m threeMounts) renameBetween(t *testing.T) {
	m.mkdir(t, "to")
	m.mkdir(t, "fro")
	if err := os.WriteFile(filepath.Join(m[0], "to", "f"), []byte("here"), 0o644); err != nil {
		t.Fatal(err)
	}
	from, to := filepath.Join("to", "f"), filepath.Join("fro", "f")
	for round := range 60 {
		mover := m[round%3]
		if err := os.Rename(filepath.Join(mover, from), filepath.Join(mover, to)); err != nil {
			t.Fatal(err)
		}
		m.all(t, func(_ int, dir string) error {
			got, err := os.ReadFile(filepath.Join(dir, to))
			if err != nil || string(got) != "here" {
				return fmt.Errorf("round %d: %q: %w", round, got, err)
			}
			if _, err := os.Stat(filepath.Join(dir, from)); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("round %d: it is where it was, too: %v", round, err)
			}
			return nil
		})
		if t.Failed() {
			return
		}
		from, to = to, from
	}
}

// listings has one mount list a directory while others fill and empty it: what is there all the time is in each listing, once.
func (m threeMounts) listings(t *testing.T) {
	m.mkdir(t, "list")
	const steady = 500
	want := map[string]bool{}
	for i := range steady {
		name := fmt.Sprintf("steady-%03d", i)
		want[name] = true
		if err := os.WriteFile(filepath.Join(m[i%3], "list", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var changing sync.WaitGroup
	changing.Add(2)
	done := make(chan struct{})
	go func() { changing.Wait(); close(done) }()
	m.all(t, func(i int, dir string) error {
		dir = filepath.Join(dir, "list")
		if i > 0 {
			defer changing.Done()
			for n := range 300 {
				name := filepath.Join(dir, fmt.Sprintf("s%d-%d", i, n*7919%1000))
				if err := os.WriteFile(name, nil, 0o644); err != nil {
					return err
				}
				if n%3 > 0 {
					if err := os.Remove(name); err != nil {
						return err
					}
				}
			}
			return nil
		}
		for {
			if err := listed(dir, want); err != nil {
				return err
			}
			select {
			case <-done:
				return nil
			default:
			}
		}
	})
	for i, dir := range m {
		entries, err := os.ReadDir(filepath.Join(dir, "list"))
		if err != nil || len(entries) != steady+200 {
			t.Errorf("mount %d lists %d entries at the end, want %d: %v", i, len(entries), steady+200, err)
		}
	}
}

// listed reads a directory in small steps, and sees that it lists each of some names once, and nothing else twice.
func listed(dir string, want map[string]bool) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	seen := map[string]bool{}
	for {
		names, err := f.Readdirnames(40)
		for _, name := range names {
			if seen[name] {
				return fmt.Errorf("%s is listed twice", name)
			}
			seen[name] = true
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	for name := range want {
		if !seen[name] {
			return fmt.Errorf("%s is not listed", name)
		}
	}
	return nil
}

// names has each change of a name seen by the others as soon as the call has returned, also by who has just looked.
func (m threeMounts) names(t *testing.T) {
	m.mkdir(t, "names")
	path := func(i int, name string) string { return filepath.Join(m[i%3], "names", name) }
	gone := func(round, i int, name string) {
		t.Helper()
		if _, err := os.Lstat(path(i, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("round %d: %s is still there in mount %d: %v", round, name, i%3, err)
		}
	}
	there := func(round, i int, name string, size int64) {
		t.Helper()
		if st, err := os.Lstat(path(i, name)); err != nil || st.Size() != size {
			t.Errorf("round %d: %s in mount %d: %v, want %d bytes: %v", round, name, i%3, st, size, err)
		}
	}
	for round := range 60 {
		for i := range m {
			gone(round, i, "a")
		}
		if err := os.WriteFile(path(round, "a"), make([]byte, round), 0o644); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			there(round, i, "a", int64(round))
		}
		if err := os.Truncate(path(round+1, "a"), int64(2*round)); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			there(round, i, "a", int64(2*round))
		}
		if err := os.Rename(path(round+2, "a"), path(round+2, "b")); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			gone(round, i, "a")
			there(round, i, "b", int64(2*round))
		}
		if err := os.Remove(path(round, "b")); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			gone(round, i, "b")
		}
		if t.Failed() {
			return
		}
	}
}
