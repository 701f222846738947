package fuse

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// directory is an open directory. It answers the lookups of READDIRPLUS itself, with the attributes that the listing came
// with. The offset of an entry is one more than its number in the listing, so it stays right until the handle is rewound.
type directory struct {
	n       *node
	cred    granary.Cred // of who opened it
	allowed bool         // cred has been found to have permission: from then on the handle counts
	listing *listing
	changes uint64 // that there had been when the listing began to be read
	next    uint64 // offset of the entry that was returned last
}

var (
	_ gofs.FileReaddirenter = (*directory)(nil)
	_ gofs.FileSeekdirer    = (*directory)(nil)
	_ gofs.FileLookuper     = (*directory)(nil)
	_ gofs.FileReleasedirer = (*directory)(nil)
	_ gofs.FileFsyncdirer   = (*directory)(nil)
)

// dotEntries is how many entries ("." and "..") come before those of the listing, whose first has this number.
const dotEntries = 2

// OpendirHandle opens a directory.
func (n *node) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	d := &directory{n: n, cred: n.m.caller(ctx), changes: n.m.kept.changes.Load()}
	d.listing = newListing(d.read)
	return d, 0, 0
}

// read asks for entries from the one that follows after.
func (d *directory) read(after granary.Entry) (entries []granary.Entry, more bool, err error) {
	ctx := d.n.m.ctx
	if !d.allowed && !d.n.m.decides() {
		ctx = filer.WithCred(ctx, d.cred)
	}
	entries, more, err = d.n.fs().ReadDirPage(ctx, d.n.ino, after)
	d.allowed = d.allowed || err == nil
	return entries, more, err
}

// Readdirent returns the next entry, or nil at the end.
func (d *directory) Readdirent(context.Context) (*gofuse.DirEntry, syscall.Errno) {
	switch d.next {
	case 0:
		d.next = 1
		return &gofuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: uint64(d.n.ino), Off: 1}, 0
	case 1:
		d.next = 2
		return &gofuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: uint64(d.n.ino), Off: 2}, 0
	}
	s, err := d.listing.find(d.next)
	if err != nil {
		return nil, filer.Errno(err)
	}
	if s == nil {
		return nil, 0
	}
	d.next = s.number + 1
	return &gofuse.DirEntry{Name: s.entry.Name, Mode: modeBits(s.entry.Attr.Type), Ino: uint64(s.entry.Attr.Inode), Off: d.next}, 0
}

// Seekdir continues after the entry with the offset; 0 rewinds, and reads the directory again.
func (d *directory) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off == 0 {
		d.changes = d.n.m.kept.changes.Load()
		d.listing = newListing(d.read)
	}
	d.next = off
	return 0
}

// Lookup answers for the entry that Readdirent returned last.
func (d *directory) Lookup(ctx context.Context, name string, out *gofuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if d.n.fs().KeptFor() > 0 {
		return d.n.Lookup(ctx, name, out) // which is kept since the listing was read, unless it has changed
	}
	slots := d.listing.slots
	if at, ok := d.listing.slot(d.next - 1); ok && slots[at].entry.Name == name {
		return d.n.child(ctx, d.changes, &slots[at].entry, out), 0
	}
	return d.n.Lookup(ctx, name, out)
}

// Fsyncdir makes changes of directories durable that were made in memory.
func (d *directory) Fsyncdir(context.Context, uint32) syscall.Errno {
	return filer.Errno(d.n.fs().SyncNames(d.n.m.ctx))
}

// Releasedir forgets the listing.
func (d *directory) Releasedir(context.Context, uint32) { d.listing = nil }
