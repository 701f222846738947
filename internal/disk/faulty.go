package disk

import (
	"fmt"
	"io"
	"sync/atomic"
)

// Op names a call of FS or File.
type Op string

// The calls that a Faulty asks about.
const (
	OpCreate    Op = "create"
	OpOpen      Op = "open"
	OpRemove    Op = "remove"
	OpRename    Op = "rename"
	OpMkdirAll  Op = "mkdirall"
	OpReadDir   Op = "readdir"
	OpSyncDir   Op = "syncdir"
	OpLock      Op = "lock"
	OpUsage     Op = "usage"
	OpReadAt    Op = "readat"
	OpWriteAt   Op = "writeat"
	OpSync      Op = "sync"
	OpTruncate  Op = "truncate"
	OpSize      Op = "size"
	OpAllocated Op = "allocated"
	OpClose     Op = "close"
)

// Call is one call about to be made.
type Call struct {
	Op     Op
	Name   string // of the file or directory; of a rename, the old one
	New    string // of a rename
	Offset int64  // of a read or write; the size to truncate to
	Length int    // of a read or write
}

// String returns the call in a line, as a golden trace of disk calls shows it.
func (c Call) String() string {
	switch c.Op {
	case OpRename:
		return fmt.Sprintf("%s %s %s", c.Op, c.Name, c.New)
	case OpReadAt, OpWriteAt:
		return fmt.Sprintf("%s %s %d+%d", c.Op, c.Name, c.Offset, c.Length)
	case OpTruncate:
		return fmt.Sprintf("%s %s %d", c.Op, c.Name, c.Offset)
	}
	return fmt.Sprintf("%s %s", c.Op, c.Name)
}

// Fault is what happens to a call. The zero Fault is nothing: the call goes through.
type Fault struct {
	// Wait, if not nil, is called first: latency, or a disk that hangs until the test lets go.
	Wait func()
	// Err, if not nil, is returned: syscall.EIO, syscall.ENOSPC. Unless Done, the call is not made.
	Err error
	// Done says that the call is made and Err returned all the same, as when a disk fails late.
	Done bool
	// Short is how many bytes of a write are made before Err: a short or torn write.
	Short int
	// Flip lists bits, counted from the first byte, that a read returns inverted.
	Flip []int
}

// Faulty is an FS over another whose calls can be made to fail. It is safe for concurrent use if its hook is.
type Faulty struct {
	fs   FS
	hook atomic.Pointer[func(Call) Fault]
}

// NewFaulty wraps an FS. The hook is asked before every call, of several at once if several are made; nil is no
// faults. A hook that only looks on makes a trace.
func NewFaulty(fs FS, hook func(Call) Fault) *Faulty {
	f := &Faulty{fs: fs}
	f.SetHook(hook)
	return f
}

// SetHook replaces the hook for all later calls; nil is no faults.
func (f *Faulty) SetHook(hook func(Call) Fault) {
	if hook == nil {
		f.hook.Store(nil)
		return
	}
	f.hook.Store(&hook)
}

func (f *Faulty) fault(c Call) Fault {
	hook := f.hook.Load()
	if hook == nil {
		return Fault{}
	}
	fault := (*hook)(c)
	if fault.Wait != nil {
		fault.Wait()
	}
	return fault
}

// call makes a call that returns only an error.
func (f *Faulty) call(c Call, do func() error) error {
	fault := f.fault(c)
	if fault.Err != nil && !fault.Done {
		return fault.Err
	}
	if err := do(); err != nil {
		return err
	}
	return fault.Err
}

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) {
	return f.open(Call{Op: OpCreate, Name: name}, f.fs.Create)
}

// Open implements FS.
func (f *Faulty) Open(name string) (File, error) {
	return f.open(Call{Op: OpOpen, Name: name}, f.fs.Open)
}

func (f *Faulty) open(c Call, open func(string) (File, error)) (File, error) {
	fault := f.fault(c)
	if fault.Err != nil && !fault.Done {
		return nil, fault.Err
	}
	file, err := open(c.Name)
	if err != nil {
		return nil, err
	}
	if fault.Err != nil {
		return nil, closeAnd(file, fault.Err)
	}
	return &faultyFile{f: f, file: file, name: c.Name}, nil
}

// closeAnd returns an injected error, or that of a close that was not meant to fail.
func closeAnd(c io.Closer, err error) error {
	if closeErr := c.Close(); closeErr != nil {
		return closeErr
	}
	return err
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	return f.call(Call{Op: OpRemove, Name: name}, func() error { return f.fs.Remove(name) })
}

// Rename implements FS.
func (f *Faulty) Rename(old, new string) error {
	return f.call(Call{Op: OpRename, Name: old, New: new}, func() error { return f.fs.Rename(old, new) })
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(name string) error {
	return f.call(Call{Op: OpMkdirAll, Name: name}, func() error { return f.fs.MkdirAll(name) })
}

// ReadDir implements FS.
func (f *Faulty) ReadDir(name string) (names []string, err error) {
	err = f.call(Call{Op: OpReadDir, Name: name}, func() error {
		names, err = f.fs.ReadDir(name)
		return err
	})
	return names, err
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(name string) error {
	return f.call(Call{Op: OpSyncDir, Name: name}, func() error { return f.fs.SyncDir(name) })
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	fault := f.fault(Call{Op: OpLock, Name: name})
	if fault.Err != nil && !fault.Done {
		return nil, fault.Err
	}
	lock, err := f.fs.Lock(name)
	if err != nil {
		return nil, err
	}
	if fault.Err != nil {
		return nil, closeAnd(lock, fault.Err)
	}
	return lock, nil
}

// Usage implements FS.
func (f *Faulty) Usage() (u Usage, err error) {
	err = f.call(Call{Op: OpUsage, Name: "."}, func() error {
		u, err = f.fs.Usage()
		return err
	})
	return u, err
}

// faultyFile is a File of a Faulty.
type faultyFile struct {
	f    *Faulty
	file File
	name string // at its opening
}

// ReadAt implements File. The bits that the fault names are inverted among those that were read.
func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	fault := f.f.fault(Call{Op: OpReadAt, Name: f.name, Offset: off, Length: len(p)})
	if fault.Err != nil && !fault.Done {
		return 0, fault.Err
	}
	n, err := f.file.ReadAt(p, off)
	for _, bit := range fault.Flip {
		if bit/8 < n {
			p[bit/8] ^= 1 << (bit % 8)
		}
	}
	if fault.Err != nil {
		return n, fault.Err
	}
	return n, err
}

// WriteAt implements File. A fault with an Err writes Short bytes, or all if Done.
func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	fault := f.f.fault(Call{Op: OpWriteAt, Name: f.name, Offset: off, Length: len(p)})
	if fault.Err == nil {
		return f.file.WriteAt(p, off)
	}
	if !fault.Done {
		p = p[:min(max(fault.Short, 0), len(p))]
	}
	if len(p) == 0 {
		return 0, fault.Err
	}
	n, err := f.file.WriteAt(p, off)
	if err != nil {
		return n, err
	}
	return n, fault.Err
}

// Sync implements File. A fault with an Err and not Done leaves the writes as they were, neither lost nor durable.
func (f *faultyFile) Sync() error {
	return f.f.call(Call{Op: OpSync, Name: f.name}, f.file.Sync)
}

// Truncate implements File.
func (f *faultyFile) Truncate(size int64) error {
	return f.f.call(Call{Op: OpTruncate, Name: f.name, Offset: size}, func() error { return f.file.Truncate(size) })
}

// Size implements File.
func (f *faultyFile) Size() (n int64, err error) {
	err = f.f.call(Call{Op: OpSize, Name: f.name}, func() error {
		n, err = f.file.Size()
		return err
	})
	return n, err
}

// Allocated implements File.
func (f *faultyFile) Allocated() (n int64, err error) {
	err = f.f.call(Call{Op: OpAllocated, Name: f.name}, func() error {
		n, err = f.file.Allocated()
		return err
	})
	return n, err
}

// Close implements File. The file is closed whatever the fault.
func (f *faultyFile) Close() error {
	fault := f.f.fault(Call{Op: OpClose, Name: f.name})
	if err := f.file.Close(); err != nil {
		return err
	}
	return fault.Err
}
