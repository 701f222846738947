//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// turn is how mounts take turns at a file: what is done before and after each change. Between two turns no mount may keep what
// another will not see, nor what it does not know to be old.
type turn struct {
	name          string
	begin, finish func(c *churn) error
}

// turns are the ways in which mounts agree on what a file holds. Which process holds a lock does not matter, but that a mount does.
var turns = []turn{
	{"flock", (*churn).flock, (*churn).unflock},
	{"fcntl", (*churn).lockRange, (*churn).unlockRange},
	{"close to open", (*churn).open, (*churn).close},
}

// alone needs nothing: there is one mount.
var alone = turn{"alone", (*churn).nothing, (*churn).nothing}

func (c *churn) nothing() error { return nil }
func (c *churn) unflock() error { return whole(c.f, unix.LOCK_UN) }

func (c *churn) flock() error { return errors.Join(whole(c.f, unix.LOCK_EX), c.look()) }

func (c *churn) lockRange() error {
	_, err := part(c.f, unix.F_SETLKW, unix.F_WRLCK, 0, 0)
	return errors.Join(err, c.look())
}

// look asks for the size, as whoever maps or copies a file does: what the kernel takes for its end is what it was told last, and a
// lock does not tell it.
func (c *churn) look() error {
	_, err := c.f.Stat()
	return err
}

func (c *churn) unlockRange() error {
	_, err := part(c.f, unix.F_SETLK, unix.F_UNLCK, 0, 0)
	return err
}

// open opens the file for the turn that begins.
func (c *churn) open() (err error) {
	if err := c.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	c.f, err = os.OpenFile(c.name, os.O_RDWR, 0)
	return err
}

func (c *churn) close() error { return c.f.Close() }

// changes are all that a turn may do; what is there more than once is done oftener.
var changes = []func(*churn) error{
	(*churn).write, (*churn).write, (*churn).write, (*churn).append, (*churn).read, (*churn).read, (*churn).mapRead, (*churn).mapWrite,
	(*churn).truncate, (*churn).punch, (*churn).zero, (*churn).reserve, (*churn).copyWithin, (*churn).sync, (*churn).reopen,
	(*churn).holes,
}

// randomChanges changes a file in random ways, as fsx does, and compares it with a copy in memory as it goes. It has a name in
// each mount, and mounts take turns. seed 0 stands for any.
func randomChanges(names []string, how turn, seed uint64, size, steps int) (err error) {
	if seed == 0 {
		seed = rand.Uint64()
	}
	c := &churn{r: rand.New(rand.NewPCG(seed, 1)), names: names, turn: how, size: size, model: []byte{}}
	var history []string
	defer func() {
		if err != nil {
			err = fmt.Errorf("seed %d, step %d: %w; the last steps:\n%s", seed, len(history), err, strings.Join(history[max(0, len(history)-30):], "\n"))
		}
	}()
	flags := os.O_RDWR | os.O_CREATE | os.O_EXCL
	for _, name := range names {
		f, err := os.OpenFile(name, flags, 0o644)
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
		flags = os.O_RDWR
	}
	defer func() { err = errors.Join(err, c.end()) }()
	for range steps {
		at := c.r.IntN(len(names))
		c.name, c.f = names[at], c.files[at]
		err := c.step(changes[c.r.IntN(len(changes))])
		c.files[at] = c.f
		history = append(history, fmt.Sprintf("mount %d: %s", at, c.text))
		if err != nil {
			return err
		}
	}
	return c.whole()
}

// step is one turn.
func (c *churn) step(change func(*churn) error) error {
	if err := c.turn.begin(c); err != nil {
		return fmt.Errorf("at the turn's begin: %w", err)
	}
	if err := change(c); err != nil {
		return err
	}
	if st, err := c.f.Stat(); err != nil || st.Size() != int64(len(c.model)) {
		return fmt.Errorf("size %v, want %d: %w", st, len(c.model), err)
	}
	if err := c.turn.finish(c); err != nil {
		return fmt.Errorf("at the turn's end: %w", err)
	}
	return nil
}

// whole compares all of the file, in each mount.
func (c *churn) whole() error {
	for _, name := range c.names {
		got, err := os.ReadFile(name)
		if err == nil {
			err = c.same(got, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// end closes what is open.
func (c *churn) end() error {
	var errs []error
	for _, f := range c.files {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// TestE2ERandomChanges changes files of a few sizes at random: around what is stored inline, around a chunk, and over several
// windows of extents; in one mount, and in two that take turns, in each of the ways that they have. GRANARY_CHANGES says how many
// changes each gets, GRANARY_CHANGES_SEED with which seed, as a failure names it.
func TestE2ERandomChanges(t *testing.T) {
	steps, seed := number(t, "GRANARY_CHANGES", 400), number(t, "GRANARY_CHANGES_SEED", 0)
	s := cluster.StartServer(t)
	mounts := []string{s.Mount(t), s.Mount(t)}
	run := func(t *testing.T, mounts []string, how turn, size, steps int) {
		t.Run(fmt.Sprintf("%d mounts, %s, %d bytes", len(mounts), how.name, size), func(t *testing.T) {
			var names []string
			for _, dir := range mounts {
				names = append(names, filepath.Join(dir, fmt.Sprintf("%d-%s-%d", len(mounts), how.name, size)))
			}
			if err := randomChanges(names, how, seed, size, steps); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, size := range []int{6 << 10, 300 << 10, 40 << 20} {
		run(t, mounts[:1], alone, size, int(steps))
		for _, how := range turns {
			run(t, mounts, how, size, int(steps)/2)
		}
	}
	s.Granary("fsck", "--data").Run(t)
}

// number is what a variable of the environment says.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unlinkedButOpen writes and reads a file after its only name has gone.
func unlinkedButOpen(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	want := append(bytes.Repeat([]byte("x"), 50_000), bytes.Repeat([]byte("y"), 100_000)...)
	if _, err := f.Write(want[:100_000]); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), os.Remove(name)); err != nil {
		return err
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the name is still there: %v", err)
	}
	copy(want[50_000:], bytes.Repeat([]byte("y"), 50_000))
	if _, err := f.WriteAt(want[50_000:], 50_000); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the content differs after the unlink")
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}
