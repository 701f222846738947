//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// text is what file i of a directory holds.
func text(i int) []byte {
	return bytes.Repeat([]byte(strconv.Itoa(i)+" "), 1+i%7*700)
}

// fill makes files from one number up to another, each by a rename.
func fill(dir string, from, to int) error {
	for i := from; i < to; i++ {
		if err := os.WriteFile(file(dir, i)+".tmp", text(i), 0o644); err != nil {
			return err
		}
		if err := os.Rename(file(dir, i)+".tmp", file(dir, i)); err != nil {
			return err
		}
	}
	return nil
}

// filled looks at the files up to a number.
func filled(dir string, n int) error {
	for i := range n {
		if b, err := os.ReadFile(file(dir, i)); err != nil || !bytes.Equal(b, text(i)) {
			return fmt.Errorf("file %d of %d has %d bytes: %w", i, n, len(b), err)
		}
	}
	return nil
}

// get reads a file by HTTP.
func get(s *cluster.Server, path string) ([]byte, int, error) {
	resp, err := http.Get(s.HTTP + path)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return b, resp.StatusCode, err
}

// TestE2EDelegations: what a mount does in directories in which it is alone costs the masters nothing, and whoever else comes there, another mount,
// HTTP or S3, by a query or a change, sees all of it; what he changes the mount sees.
func TestE2EDelegations(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	s.AWS("s3", "mb", "s3://held").Run(t)
	var took []time.Duration
	for round := range 12 {
		dir := "/buckets/held/dir" + strconv.Itoa(round)
		here, there := one+dir, two+dir
		if err := os.Mkdir(here, 0o755); err != nil {
			t.Fatal(err)
		}
		cluster.WaitFor(t, 20*time.Second, "the mount to do without the masters", func() error {
			before := statsOf(t, &s.Access, one).Changes.Count
			for i := range 20 {
				if err := errors.Join(os.WriteFile(filepath.Join(here, "try"), text(i), 0o644), os.Remove(filepath.Join(here, "try"))); err != nil {
					return err
				}
			}
			if n := statsOf(t, &s.Access, one).Changes.Count - before; n > 5 {
				return fmt.Errorf("40 operations took %d calls", n)
			}
			return nil
		})
		if err := fill(here, 0, 30); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		switch round % 6 {
		case 0:
			entries, err := os.ReadDir(there)
			if err != nil || len(entries) != 30 {
				t.Errorf("%d entries are listed: %v", len(entries), err)
			}
		case 1:
			if b, status, err := get(s, dir+"/f29"); err != nil || status != http.StatusOK || !bytes.Equal(b, text(29)) {
				t.Errorf("HTTP: %d, %d bytes, %v", status, len(b), err)
			}
		case 2:
			out := s.AWS("s3", "ls", "s3://held"+dir[len("/buckets/held"):]+"/").Run(t)
			if n := bytes.Count([]byte(out), []byte("\n")); n != 30 {
				t.Errorf("S3 lists %d objects:\n%s", n, out)
			}
			began = time.Time{} // most of it is the program's
		case 3:
			if err := os.Rename(filepath.Join(there, "f3"), filepath.Join(there, "moved")); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(here, "f3")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what another mount renamed is there: %v", err)
			}
			if err := os.Rename(filepath.Join(here, "moved"), filepath.Join(here, "f3")); err != nil {
				t.Error(err)
			}
		case 4:
			f, err := os.OpenFile(filepath.Join(there, "f7"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("a file was made twice: %v, %v", f, err)
			}
		case 5:
			name := "s3://held" + dir[len("/buckets/held"):] + "/object"
			s.AWS("s3", "cp", "--no-progress", "--quiet", filepath.Join(here, "f11"), name).Run(t)
			if b, err := os.ReadFile(filepath.Join(here, "object")); err != nil || !bytes.Equal(b, text(11)) {
				t.Errorf("an object has %d bytes: %v", len(b), err)
			}
			began = time.Time{}
		}
		if !began.IsZero() {
			took = append(took, time.Since(began))
		}
		if err := errors.Join(filled(there, 30), fill(here, 30, 35), filled(there, 35), filled(here, 35)); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(took)
	t.Logf("to get what another holds took %v (median), %v at most", took[len(took)/2], took[len(took)-1])
	t.Run("quota", func(t *testing.T) {
		held := filepath.Join(one, "q")
		if err := errors.Join(os.Mkdir(held, 0o755), fill(held, 0, 50)); err != nil {
			t.Fatal(err)
		}
		s.Granary("dataset", "quota", "/", "--inodes", "1000000").Run(t)
		if err := filled(filepath.Join(two, "q"), 50); err != nil {
			t.Error(err)
		}
		s.Granary("dataset", "quota", "/", "--inodes", "0").Run(t)
	})
	t.Run("remove all", func(t *testing.T) {
		below := filepath.Join(one, "top", "mid", "low")
		if err := errors.Join(os.MkdirAll(below, 0o755), fill(below, 0, 50)); err != nil {
			t.Fatal(err)
		}
		s.Granary("fs", "rm", "-r", "/top").Run(t)
		if err := fill(below, 0, 1); err == nil {
			t.Error("a file was made in a directory that has been removed")
		}
		if _, err := os.Lstat(filepath.Join(one, "top")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is there: %v", err)
		}
	})
	s.Granary("fsck", "--data").Run(t)
}

// TestE2EDelegationsKill kills the process of a mount that holds a directory: what it had synced is there, and of the rest what was done up to some
// moment, each file whole.
func TestE2EDelegationsKill(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	const rounds, files = 3, 400
	for round := range rounds { // all at once: each mount's session lasts for half a minute
		dir := filepath.Join(one, "d"+strconv.Itoa(round))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var synced [rounds]int
	var wg sync.WaitGroup
	started := make(chan struct{}, rounds)
	for round := range rounds {
		wg.Go(func() {
			dir := filepath.Join(one, "d"+strconv.Itoa(round))
			for i := range files {
				if err := fill(dir, i, i+1); err != nil {
					return // it is dead
				}
				if i%50 == 10*round {
					f, err := os.Open(file(dir, i))
					if err != nil {
						return
					}
					if err := errors.Join(f.Sync(), f.Close()); err != nil {
						return
					}
					synced[round] = i + 1
				}
				if i == 120 {
					started <- struct{}{}
				}
			}
		})
	}
	for range rounds {
		<-started
	}
	if err := syscall.Kill(mountProcess(t, one), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	began := time.Now()
	for round := range rounds {
		dir := filepath.Join(two, "d"+strconv.Itoa(round))
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, e := range entries {
			have[e.Name()] = true
		}
		n := 0
		for have["f"+strconv.Itoa(n)] {
			n++
		}
		if rest := len(entries) - n; n < synced[round] || rest > 1 || rest == 1 && !have["f"+strconv.Itoa(n)+".tmp"] {
			t.Errorf("of what was done %d files are left, and %d names besides; %d were synced", n, rest, synced[round])
		}
		if err := filled(dir, n); err != nil {
			t.Error(err)
		}
		t.Logf("%d files are left, %d were synced", n, synced[round])
	}
	t.Logf("the directories were anybody's after %v", time.Since(began))
	if err := fill(filepath.Join(two, "d0"), files, files+5); err != nil {
		t.Error(err)
	}
	s.Granary("fsck", "--data").Run(t)
}

// TestE2EDelegationsFailover: masters are killed while a mount holds directories: it goes on, others see what it did, and nothing is lost or done twice.
func TestE2EDelegationsFailover(t *testing.T) {
	g := cluster.StartMasters(t, mastersN)
	one, two := g.Mount(t), g.Mount(t)
	const rounds = 4
	for round := range rounds {
		dir := "d" + strconv.Itoa(round)
		here, there := filepath.Join(one, dir), filepath.Join(two, dir)
		if err := os.Mkdir(here, 0o755); err != nil {
			t.Fatal(err)
		}
		small := func(i int) []byte { return []byte(strconv.Itoa(i)) }
		made := make(chan error, 1)
		half := make(chan struct{})
		go func() {
			made <- func() error {
				for i := range 400 {
					if i == 100 {
						close(half)
					}
					if err := os.WriteFile(file(here, i)+".tmp", small(i), 0o644); err != nil {
						return err
					}
					if err := os.Rename(file(here, i)+".tmp", file(here, i)); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
		<-half
		leader := g.Leader()
		g.Kill(t, leader)
		if round%2 == 0 { // somebody wants it while there is no leader
			if _, err := os.ReadDir(there); err != nil {
				t.Error(err)
			}
		}
		if err := <-made; err != nil {
			t.Fatal(err)
		}
		g.Start(t, leader)
		for i := range 400 {
			if b, err := os.ReadFile(file(there, i)); err != nil || !bytes.Equal(b, small(i)) {
				t.Fatalf("round %d: file %d holds %q: %v", round, i, b, err)
			}
		}
		if entries, err := os.ReadDir(there); err != nil || len(entries) != 400 {
			t.Errorf("round %d: %d entries: %v", round, len(entries), err)
		}
	}
}

// nameStep is an operation on a name in a directory: "put" a value by rename, "new" if there is none, "get", "remove".
type nameStep struct {
	do    string
	name  string
	value int
}

// nameOutcome is what it was answered. A "get" of nothing has value 0; done says that "new" or "remove" did something.
type nameOutcome struct {
	value int
	done  bool
}

// nameModel is one copy of a name: the value of what it leads to, or 0.
var nameModel = porcupine.Model{
	Partition: func(ops []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := map[string][]porcupine.Operation{}
		for _, op := range ops {
			by[op.Input.(nameStep).name] = append(by[op.Input.(nameStep).name], op)
		}
		for _, part := range by {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		at, in, out := state.(int), input.(nameStep), output.(nameOutcome)
		switch in.do {
		case "put":
			return true, in.value
		case "new":
			if out.done {
				return at == 0, in.value
			}
			return at != 0, at
		case "remove":
			if out.done {
				return at != 0, 0
			}
			return at == 0, at
		}
		return out.value == at, at
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// namesHistory is what many saw of the names in a directory.
type namesHistory struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *namesHistory) do(client int, in nameStep, f func() (nameOutcome, error)) error {
	call := time.Since(h.began)
	out, err := f()
	end := time.Since(h.began)
	if err != nil {
		return fmt.Errorf("%+v: %w", in, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(call), Return: int64(end)})
	return nil
}

// valueIn is the value of a file's content; 0 if there is no file.
func valueIn(b []byte, err error) (nameOutcome, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nameOutcome{}, nil
	}
	if err != nil {
		return nameOutcome{}, err
	}
	v, err := strconv.Atoi(string(b))
	return nameOutcome{value: v}, err
}

// throughMount does a step in a directory of a mount.
func throughMount(dir string, in nameStep) (nameOutcome, error) {
	path := filepath.Join(dir, in.name)
	did := func(err, not error) (nameOutcome, error) {
		if errors.Is(err, not) {
			return nameOutcome{}, nil
		}
		return nameOutcome{done: true}, err
	}
	switch in.do {
	case "put", "new":
		tmp := path + ".tmp" + strconv.Itoa(in.value)
		if err := os.WriteFile(tmp, []byte(strconv.Itoa(in.value)), 0o644); err != nil {
			return nameOutcome{}, err
		}
		if in.do == "put" {
			return nameOutcome{}, os.Rename(tmp, path)
		}
		out, err := did(unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE), fs.ErrExist)
		if err == nil && !out.done {
			err = os.Remove(tmp)
		}
		return out, err
	case "remove":
		return did(os.Remove(path), fs.ErrNotExist)
	}
	return valueIn(os.ReadFile(path))
}

// throughHTTP does one by HTTP.
func throughHTTP(url string, in nameStep) (nameOutcome, error) {
	method, body := http.MethodGet, io.Reader(nil)
	switch in.do {
	case "put", "new":
		method, body = http.MethodPut, bytes.NewReader([]byte(strconv.Itoa(in.value)))
	case "remove":
		method = http.MethodDelete
	}
	req, err := http.NewRequest(method, url+"/"+in.name, body)
	if err != nil {
		return nameOutcome{}, err
	}
	if in.do == "new" {
		req.Header.Set("If-None-Match", "*")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nameOutcome{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nameOutcome{}, err
	case in.do == "get" && resp.StatusCode == http.StatusNotFound:
		return nameOutcome{}, nil
	case in.do == "get" && resp.StatusCode == http.StatusOK:
		return valueIn(b, nil)
	case in.do == "remove" && resp.StatusCode == http.StatusNotFound, in.do == "new" && resp.StatusCode == http.StatusPreconditionFailed:
		return nameOutcome{}, nil
	case in.do != "get" && resp.StatusCode < 300:
		return nameOutcome{done: true}, nil
	}
	return nameOutcome{}, fmt.Errorf("%s: %s", resp.Status, b)
}

// linearNames has two mounts, and others, work on the same names, in directories that the first mount makes and holds until others come there.
// What they saw is what one copy of each name would have shown them. meanwhile is called in each round when the others come.
func linearNames(t *testing.T, one, two string, rounds int, others func(dir string, in nameStep) (nameOutcome, error), meanwhile func(round int)) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range rounds {
		dir := "lin" + strconv.Itoa(round)
		if err := os.Mkdir(filepath.Join(one, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		h := &namesHistory{began: time.Now()}
		work := func(client, ops int, through func(in nameStep) (nameOutcome, error)) {
			r := rand.New(rand.NewPCG(seed, uint64(round*100+client)))
			for i := range ops {
				in := nameStep{do: []string{"put", "new", "get", "get", "remove"}[r.IntN(5)], name: string(rune('a' + r.IntN(3)))}
				if in.do == "put" || in.do == "new" {
					in.value = client*1000 + i + 1
				}
				if err := h.do(client, in, func() (nameOutcome, error) { return through(in) }); err != nil {
					t.Error(err)
				}
			}
		}
		mounted := func(mnt string) func(nameStep) (nameOutcome, error) {
			return func(in nameStep) (nameOutcome, error) { return throughMount(filepath.Join(mnt, dir), in) }
		}
		var wg sync.WaitGroup
		joins := make(chan struct{})
		for client := range 2 {
			wg.Go(func() {
				work(1+client, 40, mounted(one))
				if client == 0 {
					close(joins)
				}
				work(3+client, 40, mounted(one))
			})
		}
		<-joins
		for client := range 2 {
			wg.Go(func() { work(5+client, 30, mounted(two)) })
		}
		if others != nil {
			wg.Go(func() { work(7, 30, func(in nameStep) (nameOutcome, error) { return others(dir, in) }) })
		}
		meanwhile(round)
		wg.Wait()
		if result := porcupine.CheckOperationsTimeout(nameModel, h.ops, time.Minute); result != porcupine.Ok {
			t.Errorf("round %d: the history of %d operations is %v", round, len(h.ops), result)
		}
		if t.Failed() {
			return
		}
	}
}

// TestE2EDelegationsLinearizable has two mounts and HTTP work on the same names.
func TestE2EDelegationsLinearizable(t *testing.T) {
	s := cluster.StartServer(t)
	through := func(dir string, in nameStep) (nameOutcome, error) { return throughHTTP(s.HTTP+"/"+dir, in) }
	linearNames(t, s.Mount(t), s.Mount(t), 20, through, func(int) {})
}

// TestChaosDelegations has two mounts work on the same names while leaders are killed.
func TestChaosDelegations(t *testing.T) {
	g := cluster.StartMasters(t, mastersN)
	linearNames(t, g.Mount(t), g.Mount(t), 8, nil, func(int) {
		leader := g.Leader()
		g.Kill(t, leader)
		g.Start(t, leader)
	})
}
