package master

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// What becomes of path locks when names do. Each of these is called after the names have changed, and costs one look where there are no
// locks. What they find changed they bring to its new place at once; whether that brought together what excludes each
// other, and what need not wait any longer, is found out at the end (settleMoved).

// cutName takes the first name off a path; more says that rest follows.
func cutName(path string) (name, rest string, more bool) { return strings.Cut(path, "/") }

// movePlaces gives all places that want to be elsewhere their new ones. to says where: false for those that stay.
func (t *txn) movePlaces(list []placed, to func(x placed) (pathPlace, bool)) {
	p := t.paths()
	byLock := map[granary.LockID]bool{}
	var ids []granary.LockID
	for _, x := range list {
		if !byLock[x.lock.ID] {
			byLock[x.lock.ID] = true
			ids = append(ids, x.lock.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		l := *p.byID[id]
		l.Places = slices.Clone(l.Places)
		changed := false
		for i := range l.Places {
			if at, moves := to(placed{p.byID[id], &l.Places[i]}); moves && at != l.Places[i] {
				if was := l.Places[i].Inode; was != 0 && was != at.Inode {
					t.unmet = append(t.unmet, was)
				}
				l.Places[i] = at
				changed = true
			}
		}
		if changed {
			t.putPathLock(&l)
			t.moved = append(t.moved, id)
		}
	}
}

// placesMade brings locks on a name that has come to be, and on what was to lie below, to what it leads to.
func (t *txn) placesMade(dir granary.InodeID, name string) {
	n := t.paths().nodes[dir]
	if n == nil {
		return
	}
	t.movePlaces(n.named[name], func(x placed) (pathPlace, bool) {
		if x.Dir != dir || x.Inode != 0 || x.Rest != name && !isBelow(x.Rest, name) {
			return pathPlace{}, false
		}
		at := pathPlace{Dir: dir, Subtree: x.Subtree, Asked: x.Asked}
		t.locate(&at, x.Rest)
		return at, true
	})
}

// locate goes a path from at.Dir as far as there are directories.
func (t *txn) locate(at *pathPlace, path string) {
	for path != "" {
		name, rest, more := cutName(path)
		entry := entryName{raw: name}
		if more {
			entry.kind = dirName
		}
		d := t.find(at.Dir, entry)
		switch {
		case d == nil || more && d.Type != granary.TypeDirectory:
			at.Rest, at.Inode = path, 0
			return
		case d.Type != granary.TypeDirectory:
			at.Rest, at.Inode = name, d.Inode
			return
		}
		at.Dir, at.Rest, at.Inode = d.Inode, "", d.Inode
		path = rest
	}
}

// placesLost brings locks on what a name led to, which is gone from there, and on what was to lie below, to the name; or to what
// has it now, if a directory and something else had the same.
func (t *txn) placesLost(dir granary.InodeID, name string, r *inodeRecord) {
	p := t.paths()
	var list []placed
	if n := p.nodes[dir]; n != nil && !r.IsDir() {
		list = n.named[name]
	} else if n = p.nodes[r.Inode]; n != nil {
		n.places(func(x placed) bool { list = append(list, x); return true })
	}
	if len(list) == 0 {
		return
	}
	t.movePlaces(list, func(x placed) (pathPlace, bool) {
		to := pathPlace{Dir: dir, Rest: name, Subtree: x.Subtree, Asked: x.Asked}
		switch {
		case !r.IsDir():
			return to, x.Dir == dir && x.Rest == name && x.Inode == r.Inode
		case x.Rest != "":
			to.Rest += "/" + x.Rest
		}
		return to, x.Dir == r.Inode
	})
	t.placesMade(dir, name)
}

// placesRenamed brings locks along with what was renamed. It is called for both sides of an exchange, before placesMade.
func (t *txn) placesRenamed(srcDir granary.InodeID, srcName string, dstDir granary.InodeID, dstName string, r *inodeRecord) {
	p := t.paths()
	if r.IsDir() {
		n := p.nodes[r.Inode]
		if n == nil || srcDir == dstDir {
			return
		}
		p.moved = append(p.moved, r.Inode)
		p.rehang(r.Inode)
		t.movedDirs = append(t.movedDirs, r.Inode)
		return
	}
	n := p.nodes[srcDir]
	if n == nil {
		return
	}
	t.movePlaces(n.named[srcName], func(x placed) (pathPlace, bool) {
		to := pathPlace{Dir: dstDir, Rest: dstName, Inode: r.Inode, Subtree: x.Subtree, Asked: x.Asked}
		return to, x.Dir == srcDir && x.Rest == srcName && x.Inode == r.Inode
	})
}

// movedMax bounds the locks that one rename takes along.
const movedMax = 1000

// settleMoved refuses an operation that brought together locks which exclude each other, and grants what need not wait any longer.
func (t *txn) settleMoved(op, subject string) *granary.Error {
	if len(t.moved) == 0 && len(t.movedDirs) == 0 {
		return nil
	}
	p := t.paths()
	ids := t.moved
	for _, dir := range t.movedDirs {
		if n := p.nodes[dir]; n != nil {
			add := func(x placed) bool { ids = append(ids, x.lock.ID); return len(ids) <= movedMax }
			n.places(add)
			n.each(add)
		}
	}
	if len(ids) > movedMax {
		return granary.Errorf(granary.KindTooLarge, op, subject, "more than %d locks are on what is below", movedMax)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		l := p.byID[id]
		for i := range l.Places {
			if err := t.reachAbove(op, l.Places[i].Dir); err != nil {
				return err
			}
		}
		if l.waits() {
			continue
		}
		if other := t.heldWith(l); other != "" {
			return granary.Errorf(granary.KindBusy, op, subject, "it would come together with what is locked by another: %s", other)
		}
	}
	for _, id := range t.unmet {
		t.settleFileLocks(id)
	}
	t.settlePaths(slices.Clone(p.waiting))
	return nil
}

// heldWith describes a lock that is held and that a held one excludes.
func (t *txn) heldWith(l *pathLock) string {
	var first *pathLock
	t.paths().blockers(l, func(o *pathLock) bool {
		if !o.waits() && (first == nil || o.ID < first.ID) {
			first = o
		}
		return true
	})
	if first != nil {
		return first.describe()
	}
	for i := range l.Places {
		id := l.Places[i].Inode
		if _, ok := t.pending.recall.locked[id]; !ok || id == 0 {
			continue
		}
		for _, space := range fileSpaces {
			r := t.locks(id, space)
			for j := range r.Held {
				if l.Exclusive || r.Held[j].Exclusive {
					return "by flock or fcntl"
				}
			}
		}
	}
	return ""
}

// endPlacesBelow ends the locks on what is below a directory that goes with all that is in it.
func (t *txn) endPlacesBelow(op, subject string, r *inodeRecord) *granary.Error {
	n := t.paths().nodes[r.Inode]
	if n == nil {
		return nil
	}
	var gone []*pathLock
	add := func(x placed) bool { gone = append(gone, x.lock); return len(gone) <= movedMax }
	n.places(func(x placed) bool { return x.Rest == "" || x.Inode == 0 || add(x) })
	n.each(add)
	if len(gone) > movedMax {
		return granary.Errorf(granary.KindTooLarge, op, subject, "more than %d locks are on what is below", movedMax)
	}
	slices.SortFunc(gone, func(a, b *pathLock) int { return cmp.Compare(a.ID, b.ID) })
	t.dropPathLocks(slices.Compact(gone)...)
	return nil
}
