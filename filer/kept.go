package filer

import (
	"time"

	"github.com/dsorchard/granary"
)

// KeptFor returns for how long what the FS answers is sure to be what it is for everybody, without anybody being asked: the master
// tells of each change before others see it. 0 if nothing is kept (client.Options.KeepBytes), or the master does not answer.
//
// Meanwhile Lookup, GetAttr, ReadDirPage, Readlink, Xattr and Xattrs answer from memory what has been asked before, if the context
// names no caller (WithCred): permissions are then the business of who asks.
func (fs *FS) KeptFor() time.Duration {
	if fs.client == nil {
		return 0
	}
	return fs.client.KeptFor()
}

// KeptOf is KeptFor of attributes that the FS has answered with: 0 if nobody would tell that they have changed.
func (fs *FS) KeptOf(a *granary.Attr) time.Duration {
	d := fs.KeptFor()
	if d > 0 && !fs.held.shows(a.Inode) && !fs.client.Keeps(a) {
		return 0
	}
	return d
}

// shows reports whether an inode is answered for from what is held, so that others change it only after unshow.
func (h *holdings) shows(id granary.InodeID) bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.dirs[id]
	return d != nil && !d.frozen || d == nil && h.nodes[id] != nil
}

// Changed has f called with the inodes that others have changed, before anybody sees it, and of those in directories that are held
// before others may change them: see client.Client.Changed. It must call nothing of the FS.
func (fs *FS) Changed(f func(inodes []granary.InodeID, all bool)) {
	if fs.client == nil {
		return
	}
	fs.client.Changed(f)
	if fs.held != nil {
		fs.held.shown.Store(&f)
	}
}

// unshow has whoever shows what is held ask again: from now on others may change it.
func (h *holdings) unshow(inodes []granary.InodeID, all bool) {
	if f := h.shown.Load(); f != nil && *f != nil {
		(*f)(inodes, all)
	}
}

// unshowHeld is unshow for directories and all that is in them.
func (h *holdings) unshowHeld(dirs []*heldDir) {
	if f := h.shown.Load(); f == nil || *f == nil {
		return
	}
	var ids []granary.InodeID
	h.mu.Lock()
	for _, d := range dirs {
		ids = append(ids, d.id)
		for _, e := range d.names {
			ids = append(ids, e.inode)
		}
	}
	h.mu.Unlock()
	h.unshow(ids, false)
}
