package disk

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

const (
	// directMin is the size from which a write goes from the caller's memory to the device, past the system's: that costs a quarter of the
	// processor's time, and the bytes are not read soon, for most of what is written so. Smaller ones are better gathered by the system.
	directMin = 2 << 20
	// directAlignment is that of offset, length and memory of such a write: of all devices in use.
	directAlignment = 4096
)

// second is another descriptor of a file, for writes and reads of another kind: past the system's memory, or with other advice. It is opened by the
// first of them.
type second struct {
	flags int // of open
	once  sync.Once
	file  *os.File // nil if the file system does not have that kind
}

// open returns the descriptor, or nil.
func (d *second) open(f *os.File) *os.File {
	d.once.Do(func() { d.file = reopen(f, d.flags) })
	return d.file
}

// close closes the descriptor, if there is one; none is opened afterwards.
func (d *second) close() error {
	d.once.Do(func() {})
	if d.file == nil {
		return nil
	}
	return d.file.Close()
}

// writeDirect writes as much of p as can be written past the system's memory, from its beginning on, and returns how much that was.
// It makes nothing durable: the file's length and the device's own memory are the business of Sync, as ever.
func (f *osFile) writeDirect(p []byte, off int64) (n int, err error) {
	if len(p) < directMin || off%directAlignment != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%directAlignment != 0 {
		return 0, nil
	}
	d := f.direct.open(f.f)
	if d == nil {
		return 0, nil
	}
	n, err = d.WriteAt(p[:len(p)&^(directAlignment-1)], off)
	if errors.Is(err, syscall.EINVAL) { // the device wants another alignment: the rest is written as usual
		return n, nil
	}
	return n, err
}

// DirectReader is a File that can be read past what the system holds in memory.
type DirectReader interface {
	// ReadDirect is ReadAt, but asks the disk and leaves nothing in the system's memory: of what is not there already, that takes a
	// tenth of the CPU time, and what others read often stays there. What is not aligned to 4 KiB, in memory too, is read as by ReadAt,
	// and so is all of it where there are no such reads.
	ReadDirect(p []byte, off int64) (int, error)
}

// ReadDirect implements DirectReader.
func (f *osFile) ReadDirect(p []byte, off int64) (int, error) {
	if len(p)%directAlignment == 0 && off%directAlignment == 0 {
		if d := f.direct.open(f.f); d != nil {
			// EINVAL: p lies elsewhere, the device wants another alignment, or it is the end of the file.
			if n, err := d.ReadAt(p, off); !errors.Is(err, syscall.EINVAL) {
				return n, err
			}
		}
	}
	return f.f.ReadAt(p, off)
}
