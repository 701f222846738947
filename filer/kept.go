package filer

import (
	"slices"
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

// Keeps reports whether what Lookup and GetAttr say of an inode, or with a name of what that leads to in it, is known here, so that Changed
// will tell when it is somebody else's to change.
func (fs *FS) Keeps(inode granary.InodeID, name string) bool {
	if h := fs.held; h != nil {
		h.mu.Lock()
		_, dir := h.dirs[inode]
		node := h.nodes[inode]
		h.mu.Unlock()
		if dir || name == "" && node != nil && node.birth != nil {
			return true
		}
	}
	return fs.client != nil && fs.client.Keeps(inode, name)
}

// Changed has f called with what others have changed, before anybody sees it, and of what is in directories that are held
// before others may change it: see client.Client.Changed. It must call nothing of the FS.
func (fs *FS) Changed(f func(changes []granary.Change, all bool)) {
	if fs.client == nil {
		return
	}
	if fs.held == nil || f == nil {
		fs.client.Changed(f)
	} else {
		fs.client.Changed(func(changes []granary.Change, all bool) {
			if changes = fs.held.others(changes); all || len(changes) > 0 {
				f(changes, all)
			}
		})
	}
	if fs.held != nil {
		fs.held.shown.Store(&f)
	}
}

// others returns those of some changes that were not made here: what is told to the master of directories that are held, it tells as it tells
// anybody. In such a directory nobody else changes anything, nor the directory itself; and when it is given back, nothing of it is shown
// any more before others may (unshowHeld).
func (h *holdings) others(changes []granary.Change) []granary.Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.dirs) == 0 {
		return changes
	}
	return slices.DeleteFunc(slices.Clone(changes), func(c granary.Change) bool { return h.dirs[c.Inode] != nil })
}

// unshow has whoever shows what is held ask again: from now on others may change it.
func (h *holdings) unshow(changes []granary.Change, all bool) {
	if f := h.shown.Load(); f != nil && *f != nil {
		(*f)(changes, all)
	}
}

// unshowHeld is unshow for directories and all that is in them.
func (h *holdings) unshowHeld(dirs []*heldDir) {
	if f := h.shown.Load(); f == nil || *f == nil {
		return
	}
	var all []granary.Change
	h.mu.Lock()
	for _, d := range dirs {
		all = append(all, granary.Change{Inode: d.id})
		for name, e := range d.names {
			all = append(all, granary.Change{Inode: e.inode})
			if e.typ == granary.TypeDirectory {
				all = append(all, granary.Change{Inode: d.id, Name: name})
			}
		}
	}
	h.mu.Unlock()
	h.unshow(all, false)
}
