package master

import (
	"maps"
	"slices"

	"github.com/dsorchard/granary"
)

// loadPathLock takes in a path lock, if it is where it can be; the inodes have been read.
func (a *audit) loadPathLock(k, b []byte) {
	id := granary.LockID(keyID(k, 0))
	if id == 0 {
		a.paths.load(k, b)
		return
	}
	l := decoded[pathLock](a, k, b)
	l.ID = id
	if len(l.Places) == 0 || len(l.Places) > granary.LockPathsMax {
		a.bad("path lock %d is on %d paths", id, len(l.Places))
	}
	for i := range l.Places {
		if !a.checkPathPlace(id, &l.Places[i]) {
			return
		}
	}
	a.paths.link(l)
}

// checkPathPlace verifies that a place is in a directory which is in the tree, and is on what it says.
func (a *audit) checkPathPlace(id granary.LockID, p *pathPlace) bool {
	for dir, n := p.Dir, 0; dir != granary.RootInode; n++ {
		r := a.inodes[dir]
		if r == nil || !r.IsDir() || n > granary.PathDepthMax+2 {
			a.bad("path lock %d is in directory %d, which is in no tree", id, p.Dir)
			return false
		}
		dir = r.Parent
	}
	r := a.inodes[p.Inode]
	switch {
	case p.Rest == "" && p.Inode != p.Dir:
		a.bad("path lock %d on directory %d says inode %d", id, p.Dir, p.Inode)
	case p.Rest != "" && p.Inode != 0 && (r == nil || r.IsDir() || r.Nlink == 0):
		a.bad("path lock %d on %q in directory %d says inode %d", id, p.Rest, p.Dir, p.Inode)
	}
	n := lockedName{p.Dir, p.Rest}
	a.lockedNames[n] = append(a.lockedNames[n], p.Inode)
	return true
}

// lockedName is a name in a directory that a path lock is on.
type lockedName struct {
	dir  granary.InodeID
	rest string
}

// checkPathName takes in what a name leads to that path locks are on.
func (a *audit) checkPathName(parent granary.InodeID, name string, d *dentryRecord) {
	n := lockedName{parent, name}
	if _, ok := a.lockedNames[n]; ok {
		a.leadTo[n] = append(a.leadTo[n], d.Inode)
	}
}

// checkPathNames verifies that locks on a name know what it leads to.
func (a *audit) checkPathNames() {
	for n, inodes := range a.lockedNames {
		for _, is := range inodes {
			if n.rest != "" && (is == 0 && len(a.leadTo[n]) > 0 || is != 0 && !slices.Contains(a.leadTo[n], is)) {
				a.bad("%d/%s leads to inodes %d, and a path lock on it to %d", n.dir, n.rest, a.leadTo[n], is)
			}
		}
	}
}

// checkPathLocks verifies that nothing is held that excludes another, and that what waits waits for something.
func (a *audit) checkPathLocks() {
	p := a.paths
	on := map[granary.InodeID][]*locksRecord{}
	for _, r := range a.locks {
		on[r.inode] = append(on[r.inode], r)
	}
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		l := p.byID[id]
		bars, held := false, false
		for i := range l.Places {
			for _, r := range on[l.Places[i].Inode] {
				bars = bars || r.bars(l)
				held = held || slices.ContainsFunc(r.Held, func(f fileLock) bool { return l.Exclusive || f.Exclusive })
			}
		}
		p.blockers(l, func(o *pathLock) bool { held = held || !o.waits(); return !held })
		switch {
		case l.waits() && !bars && !p.blocked(l):
			a.bad("path lock %d waits for nothing", id)
		case !l.waits() && held:
			a.bad("path lock %d is held, and another that it excludes", id)
		case l.Session != 0 && !a.sessions[l.Session] && !a.ending[l.Session]:
			a.bad("path lock %d is of session %d, which does not exist", id, l.Session)
		case !l.waits() && (l.TTL != 0) != (l.Session == 0 && l.Expires != 0):
			a.bad("path lock %d is of session %d with a lease of %d until %d", id, l.Session, l.TTL, l.Expires)
		}
	}
	if len(p.held)+len(p.waiting) != len(p.byID) {
		a.bad("%d path locks are held and %d wait, of %d", len(p.held), len(p.waiting), len(p.byID))
	}
}
