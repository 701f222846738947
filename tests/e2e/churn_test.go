//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// churn is a file that is changed at random in every way that there is, through one mount or through several in turn, with a copy
// of what it should hold.
type churn struct {
	r     *rand.Rand
	names []string // in each mount
	turn  turn
	name  string   // in the mount whose turn it is
	f     *os.File // there
	files []*os.File
	model []byte
	size  int // most that it gets
	text  string
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
