package master

import (
	"github.com/dsorchard/granary"
)

// Path locks meet those of flock(2) and fcntl(2) on exactly the same inode. Who asked earlier goes first: a request of the one kind
// counts as before one of the other if its entry was not later.

// fileSpaces are the spaces of the locks that path locks meet.
var fileSpaces = [...]granary.LockSpace{granary.LockRanges, granary.LockWhole}

// fileLocksInTheWay reports whether a path lock must wait for one of flock or fcntl.
func (t *txn) fileLocksInTheWay(l *pathLock) bool {
	for i := range l.Places {
		id := l.Places[i].Inode
		if _, ok := t.pending.recall.locked[id]; !ok || id == 0 {
			continue
		}
		for _, space := range fileSpaces {
			if t.locks(id, space).bars(l) {
				return true
			}
		}
	}
	return false
}

// bars reports whether a path lock on the inode must wait for one of these.
func (r *locksRecord) bars(l *pathLock) bool {
	for i := range r.Held {
		if l.Exclusive || r.Held[i].Exclusive {
			return true
		}
	}
	for i := range r.Waiting {
		if q := &r.Waiting[i]; (l.Exclusive || q.Exclusive) && q.Token <= l.Asked {
			return true
		}
	}
	return false
}

// pathsInTheWay reports whether a lock of flock or fcntl must wait for a path lock on exactly its inode.
func (p *pathLocks) pathsInTheWay(id granary.InodeID, q *fileLock) bool {
	for _, x := range p.inodes[id] {
		if !q.Exclusive && !x.lock.Exclusive {
			continue
		}
		if !x.lock.waits() || !q.Ahead && x.lock.Asked < q.Token {
			return true
		}
	}
	return false
}

// settleFileLocks grants what waited on an inode for a path lock that is no more.
func (t *txn) settleFileLocks(id granary.InodeID) {
	if _, ok := t.pending.recall.locked[id]; !ok || id == 0 {
		return
	}
	for _, space := range fileSpaces {
		if r := t.locks(id, space); len(r.Waiting) > 0 {
			t.settleLocks(r)
		}
	}
}

// settlePathsOn grants the path locks that waited for those of flock or fcntl on an inode.
func (t *txn) settlePathsOn(id granary.InodeID) {
	var waiting []*pathLock
	for _, x := range t.paths().inodes[id] {
		if x.lock.waits() {
			waiting = append(waiting, x.lock)
		}
	}
	t.settlePaths(waiting)
}

// Who holds a directory (delegations) changes it without looking at locks. So no lock comes to be on what another session holds, or holds
// something above or below of: it is given back first. And nothing is given to hold where there are locks.

// reachAbove refuses what lies in a directory that another session holds, or below.
func (t *txn) reachAbove(op string, dir granary.InodeID) *granary.Error {
	if t.head.Delegations == 0 {
		return nil
	}
	for r := t.inode(dir); r != nil; r = t.inode(r.Parent) {
		if err := t.reach(op, r); err != nil || r.Inode == granary.RootInode {
			return err
		}
	}
	return nil
}

// lockedAbout reports whether a path lock is on a directory, on something in it or below, or on all below one above.
func (p *pathLocks) lockedAbout(dir granary.InodeID) bool {
	if p.nodes[dir] != nil {
		return true
	}
	for n := p.nodeAbove(dir); n != nil; n = n.above {
		for _, x := range n.own {
			if x.Subtree {
				return true
			}
		}
	}
	return false
}
