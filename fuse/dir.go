package fuse

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// directory is an open directory: a listing read at open and again at each rewind. It answers the
// lookups of READDIRPLUS itself, with the attributes that the listing came with.
type directory struct {
	n       *node
	cred    granary.Cred // of who opened it
	allowed bool         // cred has been found to have permission: from then on the handle counts
	entries []granary.Entry
	next    int
	loaded  bool
}

var (
	_ gofs.FileReaddirenter = (*directory)(nil)
	_ gofs.FileSeekdirer    = (*directory)(nil)
	_ gofs.FileLookuper     = (*directory)(nil)
	_ gofs.FileReleasedirer = (*directory)(nil)
	_ gofs.FileFsyncdirer   = (*directory)(nil)
)

// dotEntries is how many entries ("." and "..") come before those of the listing.
const dotEntries = 2

// OpendirHandle opens a directory.
func (n *node) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return &directory{n: n, cred: n.m.caller(ctx)}, 0, 0
}

func (d *directory) load() syscall.Errno {
	d.entries, d.loaded = d.entries[:0], true
	ctx := d.n.m.ctx
	if !d.allowed {
		ctx = filer.WithCred(ctx, d.cred)
	}
	err := d.n.fs().ReadDir(ctx, d.n.ino, func(e granary.Entry) bool {
		d.entries = append(d.entries, e)
		return true
	})
	d.allowed = d.allowed || err == nil
	return filer.Errno(err)
}

// Readdirent returns the next entry, or nil at the end. Offsets count entries of the listing that
// this handle holds, so they stay right while it is open and not rewound.
func (d *directory) Readdirent(context.Context) (*gofuse.DirEntry, syscall.Errno) {
	if !d.loaded {
		if errno := d.load(); errno != 0 {
			return nil, errno
		}
	}
	if d.next >= dotEntries+len(d.entries) {
		return nil, 0
	}
	i := d.next
	d.next++
	switch i {
	case 0:
		return &gofuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: uint64(d.n.ino), Off: 1}, 0
	case 1:
		return &gofuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: uint64(d.n.ino), Off: 2}, 0
	}
	e := &d.entries[i-dotEntries]
	return &gofuse.DirEntry{Name: e.Name, Mode: modeBits(e.Attr.Type), Ino: uint64(e.Attr.Inode), Off: uint64(d.next)}, 0
}

// Seekdir continues after the entry with the offset; 0 rewinds, and reads the directory again.
func (d *directory) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off == 0 {
		d.loaded, d.next = false, 0
		return 0
	}
	if off > uint64(dotEntries+len(d.entries)) {
		return syscall.EINVAL
	}
	d.next = int(off)
	return 0
}

// Lookup answers for the entry that Readdirent returned last.
func (d *directory) Lookup(ctx context.Context, name string, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if i := d.next - 1 - dotEntries; i >= 0 && i < len(d.entries) && d.entries[i].Name == name {
		return d.n.child(ctx, &d.entries[i], out), 0
	}
	return d.n.Lookup(ctx, name, out)
}

// Fsyncdir has nothing to do: every change of a directory was durable when it returned.
func (d *directory) Fsyncdir(context.Context, uint32) syscall.Errno { return 0 }

// Releasedir forgets the listing.
func (d *directory) Releasedir(context.Context, uint32) { d.entries = nil }
