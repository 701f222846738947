package master

import (
	"github.com/dsorchard/granary"
)

// reclaimKeysMax bounds the keys that one step of reclaim touches.
const reclaimKeysMax = 2000

// reclaim takes one bounded step of the queued removals. What it queues itself, a later step takes.
func (t *txn) reclaim(limit int) granary.Result {
	if limit <= 0 || limit > reclaimKeysMax {
		limit = reclaimKeysMax
	}
	left := limit
	for _, q := range t.queued(limit) {
		if left <= 0 || !t.reclaimItem(q.key, q.value, &left) {
			break
		}
		t.del(q.key)
		t.head.Queue--
		left--
		t.keep() // nothing here fails: each item stands for itself
	}
	return granary.Result{Offset: uint64(limit - left)}
}

type queuedItem struct{ key, value []byte }

// queued returns the first items of the queue.
func (t *txn) queued(limit int) []queuedItem {
	if t.head.Queue == 0 {
		return nil
	}
	var items []queuedItem
	t.scan([]byte{tableQueue}, []byte{tableQueue + 1}, func(k, v []byte) bool {
		items = append(items, queuedItem{k, v})
		return len(items) < limit
	})
	return items
}

// reclaimItem works on one item and reports whether it is done.
func (t *txn) reclaimItem(k, v []byte, left *int) bool {
	id := uint64(0)
	if len(k) == 10 {
		id = keyID(k[1:], 0)
	}
	switch queueKind(k[1]) {
	case queueInode:
		r, err := unmarshal[inodeRecord](v)
		must(err)
		r.Inode = granary.InodeID(id)
		return t.reclaimInode(k, r, left)
	case queueTrim:
		return t.reclaimTrim(granary.InodeID(id), left)
	case queueSession:
		return t.reclaimSession(granary.SessionID(id), left)
	case queueOwners:
		return t.forgetOwners(granary.DatasetID(id), left)
	case queueLocks:
		return t.reclaimLocks(granary.InodeID(id), left)
	case queueAssembly:
		next, err := unmarshal[numberRecord](v)
		must(err)
		return t.reclaimAssembly(k, granary.InodeID(id), int(next.Number), left)
	}
	panic("master: the queue holds an item of a kind that is not known")
}

// reclaimInode removes what hangs on an inode without names.
func (t *txn) reclaimInode(k []byte, r *inodeRecord, left *int) bool {
	done := false
	if r.IsDir() {
		done = t.reclaimEntries(r, left)
	} else {
		done = t.reclaimWindows(r, 0, left)
	}
	if !done || !t.reclaimXattrs(r, left) {
		return false
	}
	if r.Inline > 0 {
		t.del(keyInline(r.Inode))
		*left--
	}
	if r.IsDir() {
		t.head.DyingDirs--
	}
	t.forgetInode(r.Inode)
	return true
}

// reclaimEntries takes the entries out of a directory that was removed with all that is in it.
// Directories go to the queue; of a file, one name goes.
func (t *txn) reclaimEntries(r *inodeRecord, left *int) bool {
	done := true
	prefix := key(tableDentry, uint64(r.Inode))
	t.scan(prefix, keyEnd(prefix), func(k, v []byte) bool {
		if *left <= 0 {
			done = false
			return false
		}
		d, err := unmarshal[dentryRecord](v)
		must(err)
		child := t.inode(d.Inode)
		t.del(k)
		*left -= 3
		if child.IsDir() {
			name, _ := dentryName(k)
			t.noteGone(r, name, child)
			t.dispose(child)
			return true
		}
		child.Nlink--
		if t.parents && child.Parent == r.Inode {
			child.Parent = 0
		}
		child.Ctime = t.now
		t.touch(child)
		t.lose(child)
		return true
	})
	return done
}

// reclaimWindows removes the windows of a file from the first on. The inode may be in the queue: its
// record is not written.
func (t *txn) reclaimWindows(r *inodeRecord, first uint64, left *int) bool {
	done := true
	t.scan(keyExtent(r.Inode, first), keyEnd(key(tableExtent, uint64(r.Inode))), func(k, v []byte) bool {
		if *left <= 0 {
			done = false
			return false
		}
		w, err := unmarshalWindow(keyID(k, 1), v)
		must(err)
		before := w.sum()
		n := min(len(w.Pieces), *left)
		keep := len(w.Pieces) - n
		for _, p := range w.Pieces[keep:] {
			r.ExtentBytes -= p.Length
			t.ref(p.Block, -1)
		}
		*left -= n + 1
		w.Pieces = w.Pieces[:keep]
		t.markWindow(r.Inode, w, before)
		if keep == 0 {
			t.del(k)
			return true
		}
		store(t, k, w)
		done = false
		return false
	})
	return done
}

func (t *txn) reclaimXattrs(r *inodeRecord, left *int) bool {
	if r.Xattrs == 0 {
		return true
	}
	return t.deleteRange(key(tableXattr, uint64(r.Inode)), left)
}

// deleteRange deletes the keys with a prefix, as many as are left to delete.
func (t *txn) deleteRange(prefix []byte, left *int) bool {
	done := true
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		if *left <= 0 {
			done = false
			return false
		}
		t.del(k)
		*left--
		return true
	})
	return done
}

// reclaimTrim completes a large truncation.
func (t *txn) reclaimTrim(id granary.InodeID, left *int) bool {
	r := t.inode(id)
	if r == nil || r.Trim == 0 {
		return true // the file itself went, and its windows with it
	}
	done := t.reclaimWindows(r, r.Trim-1, left)
	if done {
		r.Trim = 0
	}
	t.recount(r)
	t.touch(r)
	return done
}

// reclaimSession removes what a session left: locks, delegations, inodes that it kept, and results.
func (t *txn) reclaimSession(id granary.SessionID, left *int) bool {
	if !t.endLocks(id, left) || !t.endDelegations(id, left) {
		return false
	}
	done := true
	prefix := key(tableOrphan, uint64(id))
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		if *left <= 0 {
			done = false
			return false
		}
		t.del(k)
		*left -= 3
		t.lose(t.inode(granary.InodeID(keyID(k, 1))))
		return true
	})
	return done && t.deleteRange(key(tableResult, uint64(id)), left)
}
