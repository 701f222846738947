package fuse

import (
	"context"
	"errors"
	"io"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// file is an open file.
type file struct {
	m *Server
	h *filer.Handle
}

var (
	_ gofs.FileReader    = (*file)(nil)
	_ gofs.FileWriter    = (*file)(nil)
	_ gofs.FileFlusher   = (*file)(nil)
	_ gofs.FileFsyncer   = (*file)(nil)
	_ gofs.FileAllocater = (*file)(nil)
	_ gofs.FileLseeker   = (*file)(nil)
	_ gofs.FileReleaser  = (*file)(nil)
)

// Read fills dest; short only at the end of the file.
func (f *file) Read(ctx context.Context, dest []byte, off int64) (gofuse.ReadResult, syscall.Errno) {
	n, err := f.h.ReadAt(f.m.request(ctx), dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, filer.Errno(err)
	}
	return gofuse.ReadResultData(dest[:n]), 0
}

// Write gathers data; Flush and Fsync make it durable.
func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := f.h.WriteAt(f.m.request(ctx), data, off)
	if err != nil {
		return 0, filer.Errno(err)
	}
	return uint32(n), 0
}

// Flush is close of one descriptor: when it returns, what was written is durable and everybody sees it.
func (f *file) Flush(ctx context.Context) syscall.Errno {
	return filer.Errno(f.h.Flush(f.m.request(ctx)))
}

// Fsync makes what was written durable.
func (f *file) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	return filer.Errno(f.h.Sync(f.m.request(ctx)))
}

// Allocate is fallocate. Space is not reserved: Granary places blocks when they are written.
func (f *file) Allocate(_ context.Context, off, size uint64, flags uint32) syscall.Errno {
	var mode granary.AllocateMode
	switch flags &^ unix.FALLOC_FL_KEEP_SIZE {
	case 0:
		mode = granary.AllocateReserve
	case unix.FALLOC_FL_PUNCH_HOLE:
		mode = granary.AllocatePunch
	case unix.FALLOC_FL_ZERO_RANGE:
		mode = granary.AllocateZero
	default:
		return syscall.EOPNOTSUPP
	}
	keepSize := flags&unix.FALLOC_FL_KEEP_SIZE != 0
	if mode == granary.AllocatePunch && !keepSize {
		return syscall.EOPNOTSUPP
	}
	return filer.Errno(f.h.Allocate(f.m.ctx, mode, off, size, keepSize))
}

// Lseek is lseek(2) with SEEK_DATA and SEEK_HOLE; the kernel does the others.
func (f *file) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, syscall.EINVAL
	}
	at, ok, err := f.h.Seek(f.m.ctx, off, whence == unix.SEEK_HOLE)
	switch {
	case err != nil:
		return 0, filer.Errno(err)
	case !ok:
		return 0, syscall.ENXIO
	}
	return at, 0
}

// CopyFileRange is copy_file_range(2), by reference. The kernel copies by value what it is told cannot be.
func (n *node) CopyFileRange(_ context.Context, from gofs.FileHandle, off uint64, _ *gofs.Inode, to gofs.FileHandle, toOff, size, flags uint64) (uint32, syscall.Errno) {
	src, ok := from.(*file)
	dst, ok2 := to.(*file)
	switch {
	case !ok || !ok2:
		return 0, syscall.EBADF
	case flags != 0:
		return 0, syscall.EINVAL
	}
	done, err := src.h.CopyTo(n.m.ctx, off, dst.h, toOff, size)
	return uint32(done), filer.Errno(err)
}

// Release is the last close.
func (f *file) Release(context.Context) syscall.Errno { return filer.Errno(f.h.Close(f.m.ctx)) }
