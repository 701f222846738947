package fuse

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// node is one inode that the kernel remembers.
type node struct {
	gofs.Inode
	m   *Server
	ino granary.InodeID

	since time.Time // when it was made
	// flags are those of the attributes that the kernel was told last, and of what it set since.
	flags atomic.Uint32
	// cached is the content version that the kernel's pages may hold: that of the last open.
	cached atomic.Uint64
	// known says that the kernel has been told of it, and used that it was so again.
	known, used atomic.Bool
}

// What the bridge to the kernel calls.
var (
	_ gofs.NodeLookuper       = (*node)(nil)
	_ gofs.NodeGetattrer      = (*node)(nil)
	_ gofs.NodeSetattrer      = (*node)(nil)
	_ gofs.NodeStatxer        = (*node)(nil)
	_ gofs.NodeCreater        = (*node)(nil)
	_ gofs.NodeTmpfiler       = (*node)(nil)
	_ gofs.NodeMkdirer        = (*node)(nil)
	_ gofs.NodeMknoder        = (*node)(nil)
	_ gofs.NodeSymlinker      = (*node)(nil)
	_ gofs.NodeLinker         = (*node)(nil)
	_ gofs.NodeReadlinker     = (*node)(nil)
	_ gofs.NodeUnlinker       = (*node)(nil)
	_ gofs.NodeRmdirer        = (*node)(nil)
	_ gofs.NodeRenamer        = (*node)(nil)
	_ gofs.NodeOpener         = (*node)(nil)
	_ gofs.NodeOpendirHandler = (*node)(nil)
	_ gofs.NodeCopyFileRanger = (*node)(nil)
	_ gofs.NodeStatfser       = (*node)(nil)
	_ gofs.NodeGetxattrer     = (*node)(nil)
	_ gofs.NodeSetxattrer     = (*node)(nil)
	_ gofs.NodeListxattrer    = (*node)(nil)
	_ gofs.NodeRemovexattrer  = (*node)(nil)
)

func (n *node) fs() *filer.FS { return n.m.options.FS }

// child makes the kernel's node of an entry that was asked for when there had been so many changes, and fills in its attributes.
func (n *node) child(ctx context.Context, changes uint64, e *granary.Entry, out *gofuse.EntryOut) *gofs.Inode {
	n.m.fillAttr(&out.Attr, &e.Attr)
	// A node that the kernel knows is told what is new: one that is made anew would be dropped for it, unheard.
	stable := stableAttr(&e.Attr)
	inode := n.GetChild(e.Name)
	if inode == nil || inode.StableAttr() != stable {
		inode = n.NewInode(ctx, &node{m: n.m, ino: e.Attr.Inode, since: time.Now()}, stable)
	}
	known := inode.Operations().(*node)
	known.tell(&e.Attr)
	n.m.nodes.add(known)
	out.SetAttrTimeout(known.attrFor(changes, &e.Attr))
	return inode
}

// tell notes what the kernel is told.
func (n *node) tell(a *granary.Attr) { n.flags.Store(uint32(a.Flags)) }

// Lookup finds a name.
func (n *node) Lookup(ctx context.Context, name string, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	lookup := n.fs().Lookup
	if n.m.missed.lately() {
		lookup = n.fs().LookupKept
	}
	e, err := lookup(n.m.look(ctx), n.ino, name)
	if err != nil {
		return nil, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), 0
}

// Getattr is stat.
func (n *node) Getattr(_ context.Context, _ gofs.FileHandle, out *gofuse.AttrOut) syscall.Errno {
	changes := n.m.kept.changes.Load()
	a, err := n.fs().GetAttr(n.m.ctx, n.ino)
	if err != nil {
		return ofInode(err)
	}
	n.tell(&a)
	n.m.fillAttr(&out.Attr, &a)
	out.SetTimeout(n.attrFor(changes, &a))
	return 0
}

// Statx is statx(2) for who wants to know more than stat tells: when the inode was made.
func (n *node) Statx(_ context.Context, _ gofs.FileHandle, _, _ uint32, out *gofuse.StatxOut) syscall.Errno {
	changes := n.m.kept.changes.Load()
	a, err := n.fs().GetAttr(n.m.ctx, n.ino)
	if err != nil {
		return ofInode(err)
	}
	n.tell(&a)
	n.m.fillStatx(&out.Statx, &a)
	out.SetTimeout(n.attrFor(changes, &a))
	return 0
}

// Setattr is chmod, chown, truncate and utimes.
func (n *node) Setattr(ctx context.Context, _ gofs.FileHandle, in *gofuse.SetAttrIn, out *gofuse.AttrOut) syscall.Errno {
	op := setAttrOf(n.ino, in)
	if !n.m.options.IDs.owner(op) {
		return syscall.EINVAL
	}
	changes := n.m.kept.changes.Load()
	a, err := n.fs().SetAttr(n.m.ctx, n.m.caller(ctx), op)
	if err != nil {
		return ofInode(err)
	}
	n.tell(&a)
	n.m.fillAttr(&out.Attr, &a)
	out.SetTimeout(n.attrFor(changes, &a))
	return 0
}

// Create makes and opens a file.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *gofuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	exclusive := flags&syscall.O_EXCL != 0
	bits, umask := splitMode(mode)
	h, e, err := n.fs().Create(n.m.ctx, n.m.caller(ctx), n.ino, name, bits, umask, exclusive, openFlags(flags))
	if err != nil {
		return nil, nil, 0, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), &file{m: n.m, h: h}, 0, 0
}

// Tmpfile makes and opens a file without a name. Link may give it one.
func (n *node) Tmpfile(ctx context.Context, flags, mode uint32, out *gofuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	bits, umask := splitMode(mode)
	h, e, err := n.fs().Tmpfile(n.m.ctx, n.m.caller(ctx), n.ino, bits, umask, openFlags(flags))
	if err != nil {
		return nil, nil, 0, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), &file{m: n.m, h: h}, 0, 0
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	bits, umask := splitMode(mode)
	e, err := n.fs().Mkdir(n.m.ctx, n.m.caller(ctx), n.ino, name, bits, umask)
	if err != nil {
		return nil, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), 0
}

// Mknod makes a file without opening it, or a special file.
func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	t, ok := typeOf(mode)
	if !ok {
		return nil, syscall.EINVAL
	}
	bits, umask := splitMode(mode)
	e, err := n.fs().Mknod(n.m.ctx, n.m.caller(ctx), n.ino, name, t, bits, umask, dev)
	if err != nil {
		return nil, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), 0
}

// Symlink makes a symbolic link.
func (n *node) Symlink(ctx context.Context, target, name string, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	e, err := n.fs().Symlink(n.m.ctx, n.m.caller(ctx), n.ino, name, target)
	if err != nil {
		return nil, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), 0
}

// Link gives an inode another name.
func (n *node) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	changes := n.m.kept.changes.Load()
	old, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	e, err := n.fs().Link(n.m.ctx, n.m.caller(ctx), old.ino, n.ino, name)
	if err != nil {
		return nil, filer.Errno(err)
	}
	return n.child(ctx, changes, &e, out), 0
}

// Readlink returns a symbolic link's target.
func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	target, err := n.fs().Readlink(n.m.ctx, n.ino)
	if err != nil {
		return nil, ofInode(err)
	}
	return []byte(target), 0
}

// Unlink removes a name.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return filer.Errno(n.fs().Unlink(n.m.ctx, n.m.caller(ctx), n.ino, name))
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return filer.Errno(n.fs().Rmdir(n.m.ctx, n.m.caller(ctx), n.ino, name))
}

// Rename moves an entry.
func (n *node) Rename(ctx context.Context, name string, newParent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return syscall.EINVAL
	}
	f := filer.RenameFlags{NoReplace: flags&unix.RENAME_NOREPLACE != 0, Exchange: flags&unix.RENAME_EXCHANGE != 0}
	return filer.Errno(n.fs().Rename(n.m.ctx, n.m.caller(ctx), n.ino, name, to.ino, newName, f))
}

// Open opens a file. The kernel keeps its pages if the content is what it was at the last open.
func (n *node) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h, err := n.fs().Open(n.m.ctx, n.m.caller(ctx), n.ino, openFlags(flags))
	if err != nil {
		n.m.missed.note(err)
		return nil, 0, ofInode(err)
	}
	version := uint64(h.Attr().ContentVersion)
	var keep uint32
	if n.cached.Swap(version) == version {
		keep = gofuse.FOPEN_KEEP_CACHE
	}
	return &file{m: n.m, h: h}, keep, 0
}

func openFlags(flags uint32) filer.OpenFlags {
	access := flags & syscall.O_ACCMODE
	return filer.OpenFlags{
		Read:     access != syscall.O_WRONLY,
		Write:    access != syscall.O_RDONLY,
		Append:   flags&syscall.O_APPEND != 0 && access != syscall.O_RDONLY,
		Truncate: flags&syscall.O_TRUNC != 0,
		Sync:     flags&syscall.O_SYNC != 0 || flags&syscall.O_DSYNC != 0,
		Execute:  flags&gofuse.FMODE_EXEC != 0,
	}
}

// Statfs is df.
func (n *node) Statfs(_ context.Context, out *gofuse.StatfsOut) syscall.Errno {
	st, err := n.fs().StatFS(n.m.ctx, n.ino)
	if err != nil {
		return filer.Errno(err)
	}
	const unit = 4096
	out.Bsize, out.Frsize, out.NameLen = unit, unit, granary.NameLengthMax
	out.Blocks, out.Bfree, out.Bavail = st.Bytes/unit, st.BytesFree/unit, st.BytesFree/unit
	out.Files, out.Ffree = st.Files+st.FilesFree, st.FilesFree
	return 0
}
