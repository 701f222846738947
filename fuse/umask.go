package fuse

import (
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// umasks is between the kernel and the nodes. The kernel leaves a caller's umask to the file system (CAP_DONT_MASK), because it does
// not count in a directory with a default access control list. Nodes are not told it; so it goes to them in bits of
// the mode in which there is nothing else.
type umasks struct{ gofuse.RawFileSystem }

// umaskShift is where a mode that comes to a node has the umask.
const umaskShift = 16

func withUmask(mode, umask uint32) uint32 { return mode&(1<<umaskShift-1) | umask&0o777<<umaskShift }

// splitMode returns the permission bits that a node was asked for, and the umask.
func splitMode(mode uint32) (bits, umask uint32) { return mode & 0o7777, mode >> umaskShift }

func (u umasks) Create(cancel <-chan struct{}, in *gofuse.CreateIn, name string, out *gofuse.CreateOut) gofuse.Status {
	in.Mode = withUmask(in.Mode, in.Umask)
	return u.RawFileSystem.Create(cancel, in, name, out)
}

func (u umasks) Tmpfile(cancel <-chan struct{}, in *gofuse.CreateIn, out *gofuse.CreateOut) gofuse.Status {
	in.Mode = withUmask(in.Mode, in.Umask)
	return u.RawFileSystem.Tmpfile(cancel, in, out)
}

func (u umasks) Mkdir(cancel <-chan struct{}, in *gofuse.MkdirIn, name string, out *gofuse.EntryOut) gofuse.Status {
	in.Mode = withUmask(in.Mode, in.Umask)
	return u.RawFileSystem.Mkdir(cancel, in, name, out)
}

func (u umasks) Mknod(cancel <-chan struct{}, in *gofuse.MknodIn, name string, out *gofuse.EntryOut) gofuse.Status {
	in.Mode = withUmask(in.Mode, in.Umask)
	return u.RawFileSystem.Mknod(cancel, in, name, out)
}
