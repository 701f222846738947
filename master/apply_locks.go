package master

import (
	"github.com/dsorchard/granary"
)

// lockCleanInline is how many locks go with an inode, or with a session, in the very entry that ends it; more are left to the
// queue of removals.
const lockCleanInline = 200

// locks returns the locks on an inode, in one space; none if there is no record.
func (t *txn) locks(id granary.InodeID, space granary.LockSpace) *locksRecord {
	r := fetch[locksRecord](t, keyLocks(id, space))
	if r == nil {
		r = &locksRecord{}
	}
	r.locate(id, space)
	if p := t.paths(); len(p.inodes[id]) > 0 {
		r.paths = p
	}
	return r
}

// storeLocks stores a record, or removes it when there is nothing in it.
func (t *txn) storeLocks(r *locksRecord) {
	k := keyLocks(r.inode, r.space)
	if len(r.Held)+len(r.Waiting) == 0 {
		t.del(k)
		return
	}
	store(t, k, r)
	t.pending.recall.locked[r.inode] = struct{}{}
}

// markLock brings the index of owners up to what a record says of one.
func (t *txn) markLock(r *locksRecord, owner *fileLock) {
	k := keyLockOwner(owner.Session, granary.LockKey{Inode: r.inode, Space: r.space, Owner: owner.Owner})
	mark := numberRecord{}
	if r.tokenOf(owner) != 0 {
		mark.Number |= lockHolds
	}
	if r.waits(owner) >= 0 {
		mark.Number |= lockWaits
	}
	if mark.Number == 0 {
		t.del(k)
	} else {
		store(t, k, &mark)
	}
}

// settleLocks grants what need not wait any longer, stores the record, and tells who waits. Those whose locks or requests
// were changed besides are named.
func (t *txn) settleLocks(r *locksRecord, changed ...*fileLock) int {
	granted := r.grant(t.index, t.now)
	t.storeLocks(r)
	for _, l := range changed {
		t.markLock(r, l)
		t.lockNews = append(t.lockNews, lockWaiter{l.Session, granary.LockKey{Inode: r.inode, Space: r.space, Owner: l.Owner}})
	}
	for i := range granted {
		l := &granted[i]
		t.markLock(r, l)
		t.lockNews = append(t.lockNews, lockWaiter{l.Session, granary.LockKey{Inode: r.inode, Space: r.space, Owner: l.Owner}})
	}
	if r.paths != nil {
		t.settlePathsOn(r.inode)
	}
	return len(granted)
}

// checkLock refuses what no lock can be on.
func (t *txn) checkLock(op string, k *granary.LockKey, rg *granary.LockRange) *granary.Error {
	switch {
	case k.Space != granary.LockRanges && k.Space != granary.LockWhole:
		return granary.Errorf(granary.KindInvalid, op, k.Inode.String(), "there is no space %d of locks", k.Space)
	case rg != nil && (rg.Start > rg.End || rg.End > granary.LockEnd):
		return granary.Errorf(granary.KindInvalid, op, k.Inode.String(), "%d to %d is no range", rg.Start, rg.End)
	case rg != nil && k.Space == granary.LockWhole && *rg != granary.LockRange{End: granary.LockEnd}:
		return granary.Errorf(granary.KindInvalid, op, k.Inode.String(), "a lock of this space is on the whole file")
	case t.inode(k.Inode) == nil:
		return granary.Errorf(granary.KindNotFound, op, k.Inode.String(), "")
	}
	return nil
}

// acquireLock grants a lock, or queues the request.
func (t *txn) acquireLock(session granary.SessionID, op *granary.AcquireLock) granary.Result {
	const name = "acquire lock"
	if err := t.checkLock(name, &op.LockKey, &op.LockRange); err != nil {
		return granary.Result{Err: err}
	}
	subject := op.Inode.String()
	r := t.locks(op.Inode, op.Space)
	q := fileLock{Lock: granary.Lock{LockKey: op.LockKey, LockRange: op.LockRange, Session: session, Exclusive: op.Exclusive,
		PID: op.PID, Since: t.now, Token: t.index, Waiting: true}}
	if op.Wait && r.waits(&q) >= 0 {
		return failed(granary.KindBusy, name, subject, "another request of this owner waits")
	}
	q.Ahead = t.holdsLock(r, &q)
	free := r.covers(&q) || !r.blocked(&q, r.Waiting)
	switch {
	case !free && !op.Wait:
		return failed(granary.KindWouldBlock, name, subject, "another's lock is in the way")
	case len(r.Held)+len(r.Waiting)+2 > granary.LocksMax: // a lock that is cut becomes two more
		return failed(granary.KindTooLarge, name, subject, "%d locks are on it or waited for: the most there can be", len(r.Held)+len(r.Waiting))
	case free:
		r.add(q)
		t.settleLocks(r, &q)
		return granary.Result{Created: true}
	case op.Space == granary.LockRanges && t.deadlock(r, &q):
		return failed(granary.KindDeadlock, name, subject, "it would wait for an owner that waits for it")
	case op.Space == granary.LockWhole:
		r.release(&q, q.LockRange)
		q.Ahead = false
	}
	r.Waiting = append(r.Waiting, q)
	t.settleLocks(r, &q)
	return granary.Result{Created: r.waits(&q) < 0} // another that is granted now may have been all it waited for
}

// holdsLock reports whether an owner holds anything that others may wait for: of ranges anywhere, else on this inode.
func (t *txn) holdsLock(r *locksRecord, q *fileLock) bool {
	if r.tokenOf(q) != 0 || q.Space != granary.LockRanges {
		return r.tokenOf(q) != 0
	}
	holds := false
	prefix := prefixLockOwner(q.Session, q.Space, q.Owner)
	t.scan(prefix, keyEnd(prefix), func(_, v []byte) bool {
		mark, err := unmarshal[numberRecord](v)
		must(err)
		holds = mark.Number&lockHolds != 0
		return !holds
	})
	return holds
}

// releaseLock gives up a range of what an owner holds.
func (t *txn) releaseLock(session granary.SessionID, op *granary.ReleaseLock) granary.Result {
	const name = "release lock"
	if err := t.checkLock(name, &op.LockKey, &op.LockRange); err != nil {
		if err.Kind == granary.KindNotFound { // with the inode went its locks
			return granary.Result{}
		}
		return granary.Result{Err: err}
	}
	r := t.locks(op.Inode, op.Space)
	owner := &fileLock{Lock: granary.Lock{LockKey: op.LockKey, Session: session}}
	if r.tokenOf(owner) == 0 {
		return granary.Result{}
	}
	r.release(owner, op.LockRange)
	if len(r.Held)+len(r.Waiting) > granary.LocksMax {
		return failed(granary.KindTooLarge, name, op.Inode.String(), "to cut a lock takes one more, and there are %d", granary.LocksMax)
	}
	t.settleLocks(r, owner)
	return granary.Result{}
}

// cancelLock takes an owner's request out of the queue.
func (t *txn) cancelLock(session granary.SessionID, op *granary.CancelLock) granary.Result {
	if err := t.checkLock("cancel lock", &op.LockKey, nil); err != nil {
		if err.Kind == granary.KindNotFound {
			return granary.Result{}
		}
		return granary.Result{Err: err}
	}
	r := t.locks(op.Inode, op.Space)
	owner := &fileLock{Lock: granary.Lock{LockKey: op.LockKey, Session: session}}
	i := r.waits(owner)
	if i < 0 {
		token := r.tokenOf(owner)
		return granary.Result{Created: token != 0, Offset: uint64(token)}
	}
	r.Waiting = append(r.Waiting[:i], r.Waiting[i+1:]...)
	t.settleLocks(r, owner)
	return granary.Result{}
}
