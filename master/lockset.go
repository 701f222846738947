package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

// The rules of locks, as arithmetic on one record. Nothing here reads the store.

// sameOwner reports whether two locks on one inode are of the same owner: they never conflict.
func (l *fileLock) sameOwner(o *fileLock) bool { return l.Session == o.Session && l.Owner == o.Owner }

func (l *fileLock) overlaps(o *fileLock) bool { return l.Start <= o.End && o.Start <= l.End }

func (l *fileLock) conflicts(o *fileLock) bool {
	return (l.Exclusive || o.Exclusive) && l.overlaps(o) && !l.sameOwner(o)
}

// blocked reports whether a request must wait for what is held, or for one of those that wait before it.
func (r *locksRecord) blocked(q *fileLock, before []fileLock) bool {
	if r.paths != nil && r.paths.pathsInTheWay(r.inode, q) {
		return true
	}
	found := false
	r.blockers(q, before, func(*fileLock) bool { found = true; return false })
	return found
}

// blockers calls f for each lock, held or waited for, that a request must wait for, until f says false.
func (r *locksRecord) blockers(q *fileLock, before []fileLock, f func(*fileLock) bool) {
	for i := range r.Held {
		if q.conflicts(&r.Held[i]) && !f(&r.Held[i]) {
			return
		}
	}
	if q.Ahead {
		return
	}
	for i := range before {
		if q.conflicts(&before[i]) && !f(&before[i]) {
			return
		}
	}
}

// add grants a lock: of what its owner held there it takes the place, and it merges with locks of its own mode that it touches.
func (r *locksRecord) add(l fileLock) {
	l.Waiting, l.Ahead = false, false
	kept := make([]fileLock, 0, len(r.Held)+2)
	for _, h := range r.Held {
		switch {
		case !h.sameOwner(&l):
			kept = append(kept, h)
		case h.Exclusive == l.Exclusive && h.Start <= l.End+1 && l.Start <= h.End+1:
			l.Start, l.End = min(l.Start, h.Start), max(l.End, h.End)
		default:
			kept = h.appendWithout(kept, l.LockRange)
		}
	}
	r.Held = append(kept, l)
}

// appendWithout appends what is left of a lock when a range is cut out of it: nothing, or up to two pieces.
func (l fileLock) appendWithout(list []fileLock, cut granary.LockRange) []fileLock {
	if cut.End < l.Start || l.End < cut.Start {
		return append(list, l)
	}
	if l.Start < cut.Start {
		left := l
		left.End = cut.Start - 1
		list = append(list, left)
	}
	if cut.End < l.End {
		right := l
		right.Start = cut.End + 1
		list = append(list, right)
	}
	return list
}

// release takes a range from what an owner holds.
func (r *locksRecord) release(owner *fileLock, cut granary.LockRange) {
	var kept []fileLock
	for _, h := range r.Held {
		if h.sameOwner(owner) {
			kept = h.appendWithout(kept, cut)
		} else {
			kept = append(kept, h)
		}
	}
	r.Held = kept
}

// grant grants what need not wait any longer, in the order of the queue, and returns it. What a grant takes from its owner's
// earlier locks may be what one before it waited for: so it begins anew until there is nothing more to grant.
func (r *locksRecord) grant(index granary.Index, now granary.Time) (granted []fileLock) {
	for more := true; more; {
		more = false
		for i := 0; i < len(r.Waiting); {
			q := r.Waiting[i]
			if r.blocked(&q, r.Waiting[:i]) {
				if r.space == granary.LockWhole {
					break // whatever follows waits for this one, or for the same lock
				}
				i++
				continue
			}
			r.Waiting = slices.Delete(r.Waiting, i, i+1)
			q.Token, q.Since = index, now
			r.add(q)
			granted = append(granted, q)
			more = true
		}
	}
	return granted
}

// waits returns the place in the queue of an owner's request, or -1.
func (r *locksRecord) waits(owner *fileLock) int {
	return slices.IndexFunc(r.Waiting, func(q fileLock) bool { return q.sameOwner(owner) })
}

// tokenOf returns the highest token of what an owner holds; 0 if that is nothing.
func (r *locksRecord) tokenOf(owner *fileLock) (token granary.Index) {
	for i := range r.Held {
		if r.Held[i].sameOwner(owner) {
			token = max(token, r.Held[i].Token)
		}
	}
	return token
}

// covers reports whether an owner holds all of a request already, in a mode that is as strong or stronger.
func (r *locksRecord) covers(q *fileLock) bool {
	left := []fileLock{*q}
	for i := range r.Held {
		h := &r.Held[i]
		if !h.sameOwner(q) || q.Exclusive && !h.Exclusive {
			continue
		}
		var next []fileLock
		for _, l := range left {
			next = l.appendWithout(next, h.LockRange)
		}
		left = next
	}
	return len(left) == 0
}
