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

// churn is a file that is changed at random in every way that there is, with a copy of what it should hold.
type churn struct {
	r     *rand.Rand
	name  string
	f     *os.File
	model []byte
	size  int // most that it gets
	text  string
}

// randomChanges changes a file in random ways, as fsx does, and compares it with a copy in memory as it goes. seed 0 stands for
// any.
func randomChanges(name string, seed uint64, size, steps int) (err error) {
	if seed == 0 {
		seed = rand.Uint64()
	}
	c := &churn{r: rand.New(rand.NewPCG(seed, 1)), name: name, size: size, model: []byte{}}
	var history []string
	defer func() {
		if err != nil {
			err = fmt.Errorf("seed %d, step %d: %w; the last steps:\n%s", seed, len(history), err, strings.Join(history[max(0, len(history)-30):], "\n"))
		}
	}()
	if c.f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.f.Close()) }()
	changes := []func() error{
		c.write, c.write, c.write, c.append, c.read, c.read, c.mapRead, c.mapWrite, c.truncate,
		c.punch, c.zero, c.reserve, c.copyWithin, c.sync, c.reopen, c.holes,
	}
	for range steps {
		err := changes[c.r.IntN(len(changes))]()
		history = append(history, c.text)
		if err != nil {
			return err
		}
		if st, err := c.f.Stat(); err != nil || st.Size() != int64(len(c.model)) {
			return fmt.Errorf("size %v, want %d: %w", st.Size(), len(c.model), err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return c.same(got, 0)
}

func (c *churn) did(format string, args ...any) { c.text = fmt.Sprintf(format, args...) }

// place is a range that begins in the file, or near its end.
func (c *churn) place() (off, n int) {
	off, n = c.r.IntN(c.size), 1+c.r.IntN(1<<(4+c.r.IntN(16)))
	return off, min(n, c.size-off)
}

// inside is a range in the file; false if it is empty.
func (c *churn) inside() (off, n int, ok bool) {
	if len(c.model) == 0 {
		return 0, 0, false
	}
	off = c.r.IntN(len(c.model))
	return off, min(1+c.r.IntN(200_000), len(c.model)-off), true
}

func (c *churn) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.r.Uint32())
	}
	return b
}

func (c *churn) same(got []byte, off int) error {
	want := c.model[min(off, len(c.model)):min(off+len(got), len(c.model))]
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Errorf("byte %d is %d, want %d (range %d+%d)", off+i, got[i], want[i], off, len(got))
		}
	}
	return fmt.Errorf("%d bytes at %d, want %d", len(got), off, len(want))
}

func (c *churn) write() error {
	off, n := c.place()
	c.did("write %d+%d", off, n)
	b := c.bytes(n)
	c.model = resized(c.model, max(off+n, len(c.model)))
	copy(c.model[off:], b)
	_, err := c.f.WriteAt(b, int64(off))
	return err
}

// append writes through another descriptor, at the end.
func (c *churn) append() error {
	b := c.bytes(min(1+c.r.IntN(5000), c.size-len(c.model)))
	c.did("append %d", len(b))
	f, err := os.OpenFile(c.name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	c.model = append(c.model, b...)
	return errors.Join(err, f.Close())
}

func (c *churn) read() error {
	off, n, ok := c.inside()
	c.did("read %d+%d", off, n)
	if !ok {
		return nil
	}
	b := make([]byte, n)
	if _, err := c.f.ReadAt(b, int64(off)); err != nil {
		return err
	}
	return c.same(b, off)
}

// mapping maps the whole file shared, and has f work on it.
func (c *churn) mapping(f func(m []byte)) error {
	m, err := unix.Mmap(int(c.f.Fd()), 0, len(c.model), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	f(m)
	if c.r.IntN(2) == 0 {
		err = unix.Msync(m, unix.MS_SYNC)
	}
	return errors.Join(err, unix.Munmap(m))
}

func (c *churn) mapRead() error {
	off, n, ok := c.inside()
	c.did("mapread %d+%d", off, n)
	if !ok {
		return nil
	}
	b := make([]byte, n)
	if err := c.mapping(func(m []byte) { copy(b, m[off:]) }); err != nil {
		return err
	}
	return c.same(b, off)
}

func (c *churn) mapWrite() error {
	off, n, ok := c.inside()
	c.did("mapwrite %d+%d", off, n)
	if !ok {
		return nil
	}
	copy(c.model[off:], c.bytes(n))
	return c.mapping(func(m []byte) { copy(m[off:], c.model[off:off+n]) })
}

func (c *churn) truncate() error {
	n := c.r.IntN(c.size)
	c.did("truncate %d", n)
	c.model = resized(c.model, n)
	return c.f.Truncate(int64(n))
}

// fallocate has a range of the model cleared, and made as long as it gets, as mode says.
func (c *churn) fallocate(what string, mode uint32, clears bool) error {
	off, n := c.place()
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 && c.r.IntN(2) == 0 {
		mode |= unix.FALLOC_FL_KEEP_SIZE
	}
	c.did("%s %d+%d mode %x", what, off, n, mode)
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		c.model = resized(c.model, max(off+n, len(c.model)))
	}
	if clears {
		clear(c.model[min(off, len(c.model)):min(off+n, len(c.model))])
	}
	return unix.Fallocate(int(c.f.Fd()), mode, int64(off), int64(n))
}

func (c *churn) punch() error {
	return c.fallocate("punch", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, true)
}
func (c *churn) zero() error    { return c.fallocate("zero", unix.FALLOC_FL_ZERO_RANGE, true) }
func (c *churn) reserve() error { return c.fallocate("reserve", 0, false) }

// copyWithin copies a range of the file to another place in it.
func (c *churn) copyWithin() error {
	from, n, ok := c.inside()
	to := c.r.IntN(c.size)
	n = min(n, c.size-to)
	c.did("copy %d+%d to %d", from, n, to)
	if !ok || from < to+n && to < from+n { // the kernel refuses ranges that overlap
		return nil
	}
	c.model = resized(c.model, max(to+n, len(c.model)))
	copy(c.model[to:], c.model[from:from+n])
	for off, toOff := int64(from), int64(to); n > 0; {
		done, err := unix.CopyFileRange(int(c.f.Fd()), &off, int(c.f.Fd()), &toOff, n, 0)
		if err != nil || done == 0 {
			return fmt.Errorf("%d copied: %w", done, err)
		}
		n -= done
	}
	return nil
}

func (c *churn) sync() error {
	c.did("sync")
	return c.f.Sync()
}

func (c *churn) reopen() error {
	c.did("reopen")
	if err := c.f.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(c.name, os.O_RDWR, 0)
	if err == nil {
		c.f = f
	}
	return err
}

// holes sees that holes are where nothing but zeros is.
func (c *churn) holes() error {
	c.did("holes")
	at := int64(0)
	for at < int64(len(c.model)) {
		data, err := unix.Seek(int(c.f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = int64(len(c.model)), nil
		}
		if err != nil {
			return err
		}
		if i := bytes.IndexFunc(c.model[at:data], func(r rune) bool { return r != 0 }); i >= 0 {
			return fmt.Errorf("a hole from %d to %d, where byte %d is not zero", at, data, at+int64(i))
		}
		if data == int64(len(c.model)) {
			return nil
		}
		if at, err = unix.Seek(int(c.f.Fd()), data, unix.SEEK_HOLE); err != nil {
			return err
		}
	}
	return nil
}

// resized returns b with n bytes; new ones are zero.
func resized(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n]
	}
	return append(b, make([]byte, n-len(b))...)
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

// TestE2ERandomChanges changes files of a few sizes at random: around what is stored inline, around a chunk, and over several
// windows of extents. GRANARY_CHANGES says how many changes each gets, GRANARY_CHANGES_SEED with which seed, as a failure names it.
func TestE2ERandomChanges(t *testing.T) {
	number := func(name string, otherwise uint64) uint64 {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		return otherwise
	}
	steps, seed := number("GRANARY_CHANGES", 700), number("GRANARY_CHANGES_SEED", 0)
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	for _, size := range []int{6 << 10, 300 << 10, 40 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if err := randomChanges(filepath.Join(mnt, fmt.Sprint(size)), seed, size, int(steps)); err != nil {
				t.Fatal(err)
			}
		})
	}
	s.Granary("fsck", "--data").Run(t)
}
