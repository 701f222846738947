package fuse

import (
	"math/bits"
	"sync/atomic"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// operation is a kind of request that is measured.
type operation int

const (
	opLookup operation = iota
	opGetattr
	opSetattr
	opCreate
	opOpen
	opRead
	opWrite
	opFlush
	opFsync
	opRelease
	opReaddir
	opMake // mkdir, mknod, symlink, link
	opRemove
	opRename
	opReadlink
	opXattr
	opLock
	opAllocate // and seek
	opCopy
	opStatfs
	operations
)

// String implements fmt.Stringer.
func (o operation) String() string {
	return [operations]string{
		"lookup", "getattr", "setattr", "create", "open", "read", "write", "flush", "fsync", "release", "readdir", "make", "remove", "rename",
		"readlink", "xattr", "lock", "allocate", "copy", "statfs",
	}[o]
}

// latencyBuckets of a meter: requests that took less than 2^i microseconds.
const latencyBuckets = 28

// meter is between the kernel and all else. It counts requests and how long they take, and answers what is asked about the mount itself.
type meter struct {
	gofuse.RawFileSystem
	about func(name string) ([]byte, error)

	counts        [operations]opCount
	bytesRead     atomic.Uint64
	bytesWritten  atomic.Uint64
	opened, ended atomic.Int64 // handles of files
}

// opCount is what there was of one kind of request.
type opCount struct {
	count, errors, nanos atomic.Uint64
	took                 [latencyBuckets]atomic.Uint64
}

// note takes in that a request, which began at a time, has been answered.
func (m *meter) note(op operation, began time.Time, status gofuse.Status) gofuse.Status {
	took, c := time.Since(began), &m.counts[op]
	c.count.Add(1)
	c.nanos.Add(uint64(took))
	c.took[min(bits.Len64(uint64(took.Microseconds())), latencyBuckets-1)].Add(1)
	if status != gofuse.OK {
		c.errors.Add(1)
	}
	return status
}

// noteOpen is note for what makes a handle.
func (m *meter) noteOpen(op operation, began time.Time, status gofuse.Status) gofuse.Status {
	if status == gofuse.OK {
		m.opened.Add(1)
	}
	return m.note(op, began, status)
}

// What follows is every request of gofuse.RawFileSystem that a mount gets.

func (m *meter) Lookup(cancel <-chan struct{}, in *gofuse.InHeader, name string, out *gofuse.EntryOut) gofuse.Status {
	began := time.Now()
	return m.note(opLookup, began, m.RawFileSystem.Lookup(cancel, in, name, out))
}

func (m *meter) GetAttr(cancel <-chan struct{}, in *gofuse.GetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	began := time.Now()
	return m.note(opGetattr, began, m.RawFileSystem.GetAttr(cancel, in, out))
}

func (m *meter) Statx(cancel <-chan struct{}, in *gofuse.StatxIn, out *gofuse.StatxOut) gofuse.Status {
	began := time.Now()
	return m.note(opGetattr, began, m.RawFileSystem.Statx(cancel, in, out))
}

func (m *meter) SetAttr(cancel <-chan struct{}, in *gofuse.SetAttrIn, out *gofuse.AttrOut) gofuse.Status {
	began := time.Now()
	return m.note(opSetattr, began, m.RawFileSystem.SetAttr(cancel, in, out))
}

func (m *meter) Mknod(cancel <-chan struct{}, in *gofuse.MknodIn, name string, out *gofuse.EntryOut) gofuse.Status {
	began := time.Now()
	return m.note(opMake, began, m.RawFileSystem.Mknod(cancel, in, name, out))
}

func (m *meter) Mkdir(cancel <-chan struct{}, in *gofuse.MkdirIn, name string, out *gofuse.EntryOut) gofuse.Status {
	began := time.Now()
	return m.note(opMake, began, m.RawFileSystem.Mkdir(cancel, in, name, out))
}

func (m *meter) Symlink(cancel <-chan struct{}, in *gofuse.InHeader, target, name string, out *gofuse.EntryOut) gofuse.Status {
	began := time.Now()
	return m.note(opMake, began, m.RawFileSystem.Symlink(cancel, in, target, name, out))
}

func (m *meter) Link(cancel <-chan struct{}, in *gofuse.LinkIn, name string, out *gofuse.EntryOut) gofuse.Status {
	began := time.Now()
	return m.note(opMake, began, m.RawFileSystem.Link(cancel, in, name, out))
}

func (m *meter) Unlink(cancel <-chan struct{}, in *gofuse.InHeader, name string) gofuse.Status {
	began := time.Now()
	return m.note(opRemove, began, m.RawFileSystem.Unlink(cancel, in, name))
}

func (m *meter) Rmdir(cancel <-chan struct{}, in *gofuse.InHeader, name string) gofuse.Status {
	began := time.Now()
	return m.note(opRemove, began, m.RawFileSystem.Rmdir(cancel, in, name))
}

func (m *meter) Rename(cancel <-chan struct{}, in *gofuse.RenameIn, oldName, newName string) gofuse.Status {
	began := time.Now()
	return m.note(opRename, began, m.RawFileSystem.Rename(cancel, in, oldName, newName))
}

func (m *meter) Readlink(cancel <-chan struct{}, in *gofuse.InHeader) ([]byte, gofuse.Status) {
	began := time.Now()
	out, status := m.RawFileSystem.Readlink(cancel, in)
	return out, m.note(opReadlink, began, status)
}

func (m *meter) GetXAttr(cancel <-chan struct{}, in *gofuse.InHeader, name string, dest []byte) (uint32, gofuse.Status) {
	if n, status, ours := m.answer(in, name, dest); ours {
		return n, status
	}
	began := time.Now()
	n, status := m.RawFileSystem.GetXAttr(cancel, in, name, dest)
	return n, m.note(opXattr, began, status)
}

func (m *meter) ListXAttr(cancel <-chan struct{}, in *gofuse.InHeader, dest []byte) (uint32, gofuse.Status) {
	began := time.Now()
	n, status := m.RawFileSystem.ListXAttr(cancel, in, dest)
	return n, m.note(opXattr, began, status)
}

func (m *meter) SetXAttr(cancel <-chan struct{}, in *gofuse.SetXAttrIn, name string, data []byte) gofuse.Status {
	began := time.Now()
	return m.note(opXattr, began, m.RawFileSystem.SetXAttr(cancel, in, name, data))
}

func (m *meter) RemoveXAttr(cancel <-chan struct{}, in *gofuse.InHeader, name string) gofuse.Status {
	began := time.Now()
	return m.note(opXattr, began, m.RawFileSystem.RemoveXAttr(cancel, in, name))
}

func (m *meter) Create(cancel <-chan struct{}, in *gofuse.CreateIn, name string, out *gofuse.CreateOut) gofuse.Status {
	began := time.Now()
	return m.noteOpen(opCreate, began, m.RawFileSystem.Create(cancel, in, name, out))
}

func (m *meter) Tmpfile(cancel <-chan struct{}, in *gofuse.CreateIn, out *gofuse.CreateOut) gofuse.Status {
	began := time.Now()
	return m.noteOpen(opCreate, began, m.RawFileSystem.Tmpfile(cancel, in, out))
}

func (m *meter) Open(cancel <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	began := time.Now()
	return m.noteOpen(opOpen, began, m.RawFileSystem.Open(cancel, in, out))
}

func (m *meter) Read(cancel <-chan struct{}, in *gofuse.ReadIn, buf []byte) (gofuse.ReadResult, gofuse.Status) {
	began := time.Now()
	result, status := m.RawFileSystem.Read(cancel, in, buf)
	if status == gofuse.OK && result != nil {
		m.bytesRead.Add(uint64(result.Size()))
	}
	return result, m.note(opRead, began, status)
}

func (m *meter) Write(cancel <-chan struct{}, in *gofuse.WriteIn, data []byte) (uint32, gofuse.Status) {
	began := time.Now()
	n, status := m.RawFileSystem.Write(cancel, in, data)
	m.bytesWritten.Add(uint64(n))
	return n, m.note(opWrite, began, status)
}

func (m *meter) Writev(cancel <-chan struct{}, in *gofuse.WriteIn, data [][]byte) (uint32, gofuse.Status) {
	began := time.Now()
	n, status := m.RawFileSystem.Writev(cancel, in, data)
	if status == gofuse.ENOSYS {
		return n, status // then comes Write
	}
	m.bytesWritten.Add(uint64(n))
	return n, m.note(opWrite, began, status)
}

func (m *meter) CopyFileRange(cancel <-chan struct{}, in *gofuse.CopyFileRangeIn) (uint32, gofuse.Status) {
	began := time.Now()
	n, status := m.RawFileSystem.CopyFileRange(cancel, in)
	return n, m.note(opCopy, began, status)
}

func (m *meter) Flush(cancel <-chan struct{}, in *gofuse.FlushIn) gofuse.Status {
	began := time.Now()
	return m.note(opFlush, began, m.RawFileSystem.Flush(cancel, in))
}

func (m *meter) Fsync(cancel <-chan struct{}, in *gofuse.FsyncIn) gofuse.Status {
	began := time.Now()
	return m.note(opFsync, began, m.RawFileSystem.Fsync(cancel, in))
}

func (m *meter) Release(cancel <-chan struct{}, in *gofuse.ReleaseIn) {
	began := time.Now()
	m.RawFileSystem.Release(cancel, in)
	m.ended.Add(1)
	m.note(opRelease, began, gofuse.OK)
}

func (m *meter) Fallocate(cancel <-chan struct{}, in *gofuse.FallocateIn) gofuse.Status {
	began := time.Now()
	return m.note(opAllocate, began, m.RawFileSystem.Fallocate(cancel, in))
}

func (m *meter) Lseek(cancel <-chan struct{}, in *gofuse.LseekIn, out *gofuse.LseekOut) gofuse.Status {
	began := time.Now()
	return m.note(opAllocate, began, m.RawFileSystem.Lseek(cancel, in, out))
}

func (m *meter) GetLk(cancel <-chan struct{}, in *gofuse.LkIn, out *gofuse.LkOut) gofuse.Status {
	began := time.Now()
	return m.note(opLock, began, m.RawFileSystem.GetLk(cancel, in, out))
}

func (m *meter) SetLk(cancel <-chan struct{}, in *gofuse.LkIn) gofuse.Status {
	began := time.Now()
	return m.note(opLock, began, m.RawFileSystem.SetLk(cancel, in))
}

func (m *meter) OpenDir(cancel <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	began := time.Now()
	return m.note(opReaddir, began, m.RawFileSystem.OpenDir(cancel, in, out))
}

func (m *meter) ReadDir(cancel <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	began := time.Now()
	return m.note(opReaddir, began, m.RawFileSystem.ReadDir(cancel, in, out))
}

func (m *meter) ReadDirPlus(cancel <-chan struct{}, in *gofuse.ReadIn, out *gofuse.DirEntryList) gofuse.Status {
	began := time.Now()
	return m.note(opReaddir, began, m.RawFileSystem.ReadDirPlus(cancel, in, out))
}

func (m *meter) StatFs(cancel <-chan struct{}, in *gofuse.InHeader, out *gofuse.StatfsOut) gofuse.Status {
	began := time.Now()
	return m.note(opStatfs, began, m.RawFileSystem.StatFs(cancel, in, out))
}
