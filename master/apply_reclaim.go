package master

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// reclaimKeysMax bounds the keys that one step of reclaim touches.
const reclaimKeysMax = 2000

// reclaim takes one bounded step of the queued removals. What it queues itself, a later step takes.
func (t *txn) reclaim(limit int) granary.Result {
	if limit <= 0 || limit > reclaimKeysMax {
		limit = reclaimKeysMax
	}
	if t.head.Queue == 0 {
		return granary.Result{}
	}
	left, items := limit, 0
	from := t.pending.recall.queue.pass()
	t.scan(from, []byte{tableQueue + 1}, func(k, v []byte) bool {
		if left <= 0 || items == limit || !t.reclaimItem(k, v, &left) {
			t.pending.recall.queue.note(k)
			return false
		}
		t.del(k)
		t.head.Queue--
		left--
		items++
		t.keep() // nothing here fails: each item stands for itself
		return true
	})
	t.closeDying()
	return granary.Result{Offset: uint64(limit - left)}
}

// queueStart remembers before which key the queue of removals is empty: what was removed from there lies in the way of who looks for
// what is first, until the store has cleared it away.
type queueStart struct{ first []byte }

// note notes that a key is in the queue, or may be.
func (q *queueStart) note(k []byte) {
	if bytes.Compare(k, q.first) < 0 {
		q.first = bytes.Clone(k)
	}
}

// pass returns where the queue begins. What is not removed now is to be noted anew.
func (q *queueStart) pass() (first []byte) {
	first, q.first = q.first, []byte{tableQueue + 1}
	return first
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
	done := true
	switch {
	case r.IsDir():
		done = t.reclaimEntries(r, left)
	case r.ExtentBytes > 0 || r.Trim > 0:
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

// reclaimXattrs removes the extended attributes of an inode. Those that go one after the other mostly lie so, too: one iterator finds
// them all. Nothing that a step of reclaim does but this changes them.
func (t *txn) reclaimXattrs(r *inodeRecord, left *int) bool {
	if r.Xattrs == 0 {
		return true
	}
	if t.dying == nil {
		it, err := t.pending.reader().NewIter(&pebble.IterOptions{LowerBound: []byte{tableXattr}, UpperBound: []byte{tableXattr + 1}})
		must(err)
		t.dying = it
	}
	it, prefix := t.dying, key(tableXattr, uint64(r.Inode))
	ok := it.Valid() && bytes.HasPrefix(it.Key(), prefix) || it.SeekGE(prefix)
	for ; ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		if *left <= 0 {
			return false
		}
		t.del(it.Key())
		*left--
	}
	must(it.Error())
	return true
}

// closeDying ends what reclaimXattrs began.
func (t *txn) closeDying() {
	if t.dying != nil {
		must(t.dying.Close())
		t.dying = nil
	}
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
