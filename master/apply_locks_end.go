package master

import (
	"github.com/dsorchard/granary"
)

const (
	// deadlockOwnersMax and deadlockLocksMax bound a search for a circle of owners that wait for each other. What goes beyond
	// is not found, and waits.
	deadlockOwnersMax = 1000
	deadlockLocksMax  = 100_000
)

// lockOwner is an owner of locks on ranges, wherever they are.
type lockOwner struct {
	session granary.SessionID
	owner   uint64
}

// deadlock reports whether a request that is to wait would close a circle: one of those that it waits for, or that they wait for,
// and so on, is its own owner.
//
// Who waits behind another in a queue alone does not close one. The owner of a request that waits for those before it held
// nothing when it asked, so nobody waits for what it holds; and one that held something waits for nobody in the queue.
func (t *txn) deadlock(r *locksRecord, q *fileLock) bool {
	s := deadlockSearch{t: t, target: lockOwner{q.Session, q.Owner}, seen: map[lockOwner]bool{}, left: deadlockLocksMax}
	s.follow(r, q, r.Waiting)
	for len(s.queue) > 0 && !s.found {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.waitsOf(next)
	}
	return s.found
}

type deadlockSearch struct {
	t      *txn
	target lockOwner
	seen   map[lockOwner]bool
	queue  []lockOwner
	left   int // locks to look at
	found  bool
}

// follow adds the owners that a request waits for.
func (s *deadlockSearch) follow(r *locksRecord, q *fileLock, before []fileLock) {
	if s.left -= len(r.Held) + len(before); s.left < 0 {
		return
	}
	r.blockers(q, before, func(b *fileLock) bool {
		o := lockOwner{b.Session, b.Owner}
		if s.found = o == s.target; s.found {
			return false
		}
		if !s.seen[o] && len(s.seen) < deadlockOwnersMax {
			s.seen[o] = true
			s.queue = append(s.queue, o)
		}
		return true
	})
}

// waitsOf follows all requests of an owner.
func (s *deadlockSearch) waitsOf(o lockOwner) {
	prefix := prefixLockOwner(o.session, granary.LockRanges, o.owner)
	s.t.scan(prefix, keyEnd(prefix), func(k, v []byte) bool {
		mark, err := unmarshal[numberRecord](v)
		must(err)
		s.left--
		if mark.Number&lockWaits != 0 {
			_, lk := lockOwnerOf(k)
			r := s.t.locks(lk.Inode, lk.Space)
			i := r.waits(&fileLock{Lock: granary.Lock{LockKey: lk, Session: o.session}})
			s.follow(r, &r.Waiting[i], r.Waiting[:i])
		}
		return !s.found && s.left > 0
	})
}

// endLocks takes away the locks of a session that has ended, and its requests, as many as are left to take: those on one inode
// together. What waits for them is granted.
func (t *txn) endLocks(session granary.SessionID, left *int) (done bool) {
	prefix := key(tableLocker, uint64(session))
	for *left > 0 {
		var first []byte
		t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
			first = append(first, k...)
			return false
		})
		if first == nil {
			return t.endPathLocks(session, left)
		}
		_, k := lockOwnerOf(first)
		r := t.locks(k.Inode, k.Space)
		*left -= 1 + t.dropLocks(r, func(l *fileLock) bool { return l.Session == session }, lockCleanInline)
	}
	return false
}

// dropLocks takes locks and requests out of a record, about limit of them at most: those of one owner go together. It returns how
// many keys that took, with what was granted.
func (t *txn) dropLocks(r *locksRecord, which func(*fileLock) bool, limit int) int {
	type owner struct {
		session granary.SessionID
		owner   uint64
	}
	going := map[owner]bool{}
	var changed []*fileLock
	for _, list := range [...][]fileLock{r.Held, r.Waiting} {
		for i := range list {
			l := list[i]
			if o := (owner{l.Session, l.Owner}); which(&l) && !going[o] && len(changed) < limit {
				going[o] = true
				changed = append(changed, &l)
			}
		}
	}
	keep := func(list []fileLock) (kept []fileLock) {
		for _, l := range list {
			if !going[owner{l.Session, l.Owner}] {
				kept = append(kept, l)
			}
		}
		return kept
	}
	r.Held, r.Waiting = keep(r.Held), keep(r.Waiting)
	return len(changed) + t.settleLocks(r, changed...)
}

// forgetLocks takes away the locks on an inode that is disposed of: few at once, many by the queue. Who is remembered to have
// none is not looked up.
func (t *txn) forgetLocks(id granary.InodeID) {
	if _, ok := t.pending.recall.locked[id]; !ok {
		return
	}
	left := lockCleanInline
	if !t.reclaimLocks(id, &left) {
		enqueue(t, queueLocks, uint64(id), &numberRecord{})
	}
}

// reclaimLocks takes away the locks on an inode that is gone, as many as are left to take. Nothing is granted there any more.
func (t *txn) reclaimLocks(id granary.InodeID, left *int) (done bool) {
	for _, space := range [...]granary.LockSpace{granary.LockRanges, granary.LockWhole} {
		for r := t.locks(id, space); len(r.Held)+len(r.Waiting) > 0; r = t.locks(id, space) {
			if *left <= 0 {
				return false
			}
			waiting := r.Waiting
			if len(waiting) > 0 { // first, or they would be granted
				held := r.Held
				r.Held = nil
				*left -= t.dropWaiting(r, held, lockCleanInline)
				continue
			}
			*left -= 1 + t.dropLocks(r, func(*fileLock) bool { return true }, lockCleanInline)
		}
	}
	return true
}

// dropWaiting takes the last of the requests out of a record, whose held locks are given.
func (t *txn) dropWaiting(r *locksRecord, held []fileLock, limit int) int {
	from := max(0, len(r.Waiting)-limit)
	gone := r.Waiting[from:]
	r.Held, r.Waiting = held, r.Waiting[:from]
	t.storeLocks(r)
	for i := range gone {
		t.markLock(r, &gone[i])
		t.lockNews = append(t.lockNews, lockWaiter{gone[i].Session, gone[i].LockKey})
	}
	return 1 + len(gone)
}
