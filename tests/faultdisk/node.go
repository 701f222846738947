package faultdisk

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const pageSize = 4096

// node is a file or directory.
type node struct {
	fs.LoopbackNode
	disk *Disk
}

// file is an open file.
type file struct {
	*fs.LoopbackFile
	disk *Disk
}

var (
	_ fs.NodeCreater  = (*node)(nil)
	_ fs.NodeOpener   = (*node)(nil)
	_ fs.NodeLookuper = (*node)(nil)
	_ fs.FileReader   = (*file)(nil)
	_ fs.FileWriter   = (*file)(nil)
	_ fs.FileFsyncer  = (*file)(nil)

	_ fs.NodeOpendirHandler = (*node)(nil)
	_ fs.FileFsyncdirer     = (*directory)(nil)
)

// directory is an open directory.
type directory struct {
	stream
	disk *Disk
}

// stream is what the file system below makes of one.
type stream interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
	fs.FileFsyncdirer
}

// directly says that the kernel keeps none of a file's bytes.
const directly = fuse.FOPEN_DIRECT_IO

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno, _ := n.disk.fault(writing); errno != 0 {
		return nil, nil, 0, errno
	}
	child, fh, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return child, &file{LoopbackFile: fh.(*fs.LoopbackFile), disk: n.disk}, directly, 0
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno, _ := n.disk.fault(looking); errno != 0 {
		return nil, 0, errno
	}
	fh, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &file{LoopbackFile: fh.(*fs.LoopbackFile), disk: n.disk}, directly, 0
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno, _ := n.disk.fault(looking); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	if errno, _ := n.disk.fault(looking); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Statfs(ctx, out)
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno, _ := n.disk.fault(changing); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno, _ := n.disk.fault(writing); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno, _ := n.disk.fault(changing); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno, _ := n.disk.fault(changing); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno, _ := n.disk.fault(looking); errno != 0 {
		return nil, 0, errno
	}
	fh, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &directory{stream: fh.(stream), disk: n.disk}, fuseFlags, 0
}

func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if errno, _ := d.disk.fault(syncing); errno != 0 {
		return errno
	}
	return d.stream.Fsyncdir(ctx, flags)
}

// Fsync that fails has done nothing.
func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno, _ := f.disk.fault(syncing); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}

func (f *file) Read(ctx context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno, _ := f.disk.fault(reading); errno != 0 {
		return nil, errno
	}
	return f.LoopbackFile.Read(ctx, p, off)
}

func (f *file) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	errno, torn := f.disk.fault(writing)
	if errno == 0 {
		return f.LoopbackFile.Write(ctx, p, off)
	}
	if pages := len(p) / pageSize / 2; torn && pages > 0 {
		if _, err := f.LoopbackFile.Write(ctx, p[:pages*pageSize], off); err != 0 {
			return 0, err
		}
	}
	return 0, errno
}
