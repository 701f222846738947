package disk

import (
	"io"
	"io/fs"
	"syscall"
)

// memFile is a handle on a file of a Mem.
type memFile struct {
	m      *Mem
	n      *memNode
	name   string
	closed bool
}

// begin locks the disk for an operation; the caller unlocks m.mu whatever the result.
func (f *memFile) begin(op string) error {
	f.m.mu.Lock()
	switch {
	case f.closed:
		return f.error(op, fs.ErrClosed)
	case f.m.dead:
		return f.error(op, errPowerLoss)
	}
	return nil
}

func (f *memFile) error(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.m.mu.Unlock()
	if err := f.begin("read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, f.error("read", syscall.EINVAL)
	}
	n := f.n.content.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File. On a full disk it writes what fits.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.m.mu.Unlock()
	if err := f.begin("write"); err != nil {
		return 0, err
	}
	if off < 0 || off+int64(len(p)) < off {
		return 0, f.error("write", syscall.EINVAL)
	}
	room := f.m.capacity/pageSize - f.m.pages
	n, taken := f.n.content.writeAt(p, off, room)
	f.m.pages += taken
	if n < len(p) {
		return n, f.error("write", syscall.ENOSPC)
	}
	return n, nil
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	defer f.m.mu.Unlock()
	if err := f.begin("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return f.error("truncate", syscall.EINVAL)
	}
	f.m.pages -= f.n.content.truncate(size)
	return nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	defer f.m.mu.Unlock()
	if err := f.begin("sync"); err != nil {
		return err
	}
	f.n.content.sync()
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	defer f.m.mu.Unlock()
	if err := f.begin("size"); err != nil {
		return 0, err
	}
	return f.n.content.size, nil
}

// Allocated implements File.
func (f *memFile) Allocated() (int64, error) {
	defer f.m.mu.Unlock()
	if err := f.begin("allocated"); err != nil {
		return 0, err
	}
	return f.n.content.allocatedPages() * pageSize, nil
}

// Close implements File. A handle on a disk that lost power closes without an error.
func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return f.error("close", fs.ErrClosed)
	}
	f.closed = true
	f.m.release(f.n)
	return nil
}
