package master

import (
	"github.com/dsorchard/granary"
)

// lockMark is an entry of the index of owners.
type lockMark struct {
	session granary.SessionID
	key     granary.LockKey
}

func (a *audit) loadLocks(k, b []byte) {
	r := decoded[locksRecord](a, k, b)
	r.locate(locksOf(k))
	if len(r.Held)+len(r.Waiting) == 0 {
		a.bad("a record of the locks on inode %d is empty", r.inode)
	}
	a.locks = append(a.locks, r)
}

func (a *audit) loadLockOwner(k, b []byte) {
	session, key := lockOwnerOf(k)
	a.lockMarks[lockMark{session, key}] = decoded[numberRecord](a, k, b).Number
}

// checkLocks verifies that no two locks conflict, that nothing waits without a reason, and that the index of owners is complete.
func (a *audit) checkLocks() {
	marks := map[lockMark]uint64{}
	for _, r := range a.locks {
		if len(a.paths.inodes[r.inode]) > 0 {
			r.paths = a.paths
		}
		if a.inodes[r.inode] == nil && !a.unlocking[r.inode] {
			a.bad("inode %d has locks, and does not exist", r.inode)
		}
		for i := range r.Held {
			a.checkHeld(r, i)
			marks[lockMark{r.Held[i].Session, r.Held[i].LockKey}] |= lockHolds
		}
		for i := range r.Waiting {
			q := &r.Waiting[i]
			if m := (lockMark{q.Session, q.LockKey}); marks[m]&lockWaits != 0 {
				a.bad("inode %d: owner %d of session %d waits twice", r.inode, q.Owner, q.Session)
			} else {
				marks[m] |= lockWaits
			}
			if !a.unlocking[r.inode] && !r.blocked(q, r.Waiting[:i]) {
				a.bad("inode %d: owner %d of session %d waits for nothing", r.inode, q.Owner, q.Session)
			}
		}
	}
	for m, told := range a.lockMarks {
		if marks[m] != told {
			a.bad("session %d, lock %+v: indexed as %d, is %d", m.session, m.key, told, marks[m])
		}
		if !a.sessions[m.session] && !a.ending[m.session] {
			a.bad("session %d has locks on inode %d, and does not exist", m.session, m.key.Inode)
		}
	}
	for m := range marks {
		if _, ok := a.lockMarks[m]; !ok {
			a.bad("session %d, lock %+v is not indexed", m.session, m.key)
		}
	}
}

func (a *audit) checkHeld(r *locksRecord, i int) {
	l := &r.Held[i]
	if l.Start > l.End || l.End > granary.LockEnd || l.Token == 0 {
		a.bad("inode %d: a lock from %d to %d with token %d", r.inode, l.Start, l.End, l.Token)
	}
	for j := range r.Held[:i] {
		o := &r.Held[j]
		if l.conflicts(o) || l.sameOwner(o) && l.overlaps(o) {
			a.bad("inode %d: locks %+v and %+v are held at once", r.inode, *o, *l)
		}
	}
}
