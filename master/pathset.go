package master

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// pathLocks is all path locks, in memory: what table P says, in the order in which it is asked for. Directories that have locks
// on them or below, and all above those, have a node: so what a directory has nothing of costs one look.
type pathLocks struct {
	last    granary.FencingToken // number given out last, as far as it is not below the index
	byID    map[granary.LockID]*pathLock
	held    map[granary.FencingToken]*pathLock
	waiting []*pathLock // by LockID
	ofOwner map[granary.SessionID]map[granary.LockID]*pathLock
	nodes   map[granary.InodeID]*lockNode
	inodes  map[granary.InodeID][]placed // what is exactly on an inode
	trees   int                          // places, of held locks, on a directory with all that is below

	above func(granary.InodeID) granary.InodeID // the directory that holds one

	kept  granary.FencingToken         // last, before the item
	saved map[granary.LockID]*pathLock // what the item has changed, as it was; nil: it was not there
	moved []granary.InodeID            // directories that the item has moved
}

// placed is a place, and whose.
type placed struct {
	lock *pathLock
	*pathPlace
}

// lockNode is a directory that locks are on, or on something below.
type lockNode struct {
	dir   granary.InodeID
	above *lockNode // nil: of RootInode
	below map[granary.InodeID]*lockNode
	own   []placed            // on the directory itself
	named map[string][]placed // on what is or could be in it, by the first name of Rest
}

func newPathLocks(above func(granary.InodeID) granary.InodeID) *pathLocks {
	return &pathLocks{
		byID: map[granary.LockID]*pathLock{}, held: map[granary.FencingToken]*pathLock{},
		ofOwner: map[granary.SessionID]map[granary.LockID]*pathLock{}, nodes: map[granary.InodeID]*lockNode{},
		inodes: map[granary.InodeID][]placed{}, above: above, saved: map[granary.LockID]*pathLock{},
	}
}

// recallPaths reads all path locks.
func recallPaths(db pebble.Reader, above func(granary.InodeID) granary.InodeID) *pathLocks {
	p := newPathLocks(above)
	prefix := key(tablePathLock)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		p.load(it.Key(), it.Value())
	}
	must(it.Error())
	must(it.Close())
	return p
}

func (p *pathLocks) load(k, v []byte) {
	id := granary.LockID(keyID(k, 0))
	if id == 0 {
		r, err := unmarshal[numberRecord](v)
		must(err)
		p.last = granary.FencingToken(r.Number)
		p.kept = p.last
		return
	}
	l, err := unmarshal[pathLock](v)
	must(err)
	l.ID = id
	p.link(l)
}

// replace puts a lock in the place of what was there under its id; nil takes that away.
func (p *pathLocks) replace(id granary.LockID, l *pathLock) {
	old := p.byID[id]
	if _, ok := p.saved[id]; !ok {
		p.saved[id] = old
	}
	if old != nil {
		p.unlink(old)
	}
	if l != nil {
		p.link(l)
	}
}

// keep and drop end an item. drop comes when the store says again what it said before the item.
func (p *pathLocks) keep() {
	p.kept = p.last
	if len(p.saved) > 0 || len(p.moved) > 0 {
		clear(p.saved)
		p.moved = p.moved[:0]
	}
}

func (p *pathLocks) drop() {
	p.last = p.kept
	if len(p.saved) == 0 && len(p.moved) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(p.saved))
	for _, id := range ids {
		if l := p.byID[id]; l != nil {
			p.unlink(l)
		}
	}
	for _, dir := range p.moved {
		p.rehang(dir)
	}
	for _, id := range ids {
		if l := p.saved[id]; l != nil {
			p.link(l)
		}
	}
	p.keep()
}

func (p *pathLocks) link(l *pathLock) {
	p.byID[l.ID] = l
	if l.waits() {
		at, _ := slices.BinarySearchFunc(p.waiting, l.ID, compareLockID)
		p.waiting = slices.Insert(p.waiting, at, l)
	} else {
		p.held[l.Token] = l
	}
	if l.Session != 0 {
		if p.ofOwner[l.Session] == nil {
			p.ofOwner[l.Session] = map[granary.LockID]*pathLock{}
		}
		p.ofOwner[l.Session][l.ID] = l
	}
	for i := range l.Places {
		x := placed{l, &l.Places[i]}
		p.hang(x.Dir).add(x)
		if x.Inode != 0 {
			p.inodes[x.Inode] = append(p.inodes[x.Inode], x)
		}
		if x.covers() {
			p.trees++
		}
	}
}

func compareLockID(l *pathLock, id granary.LockID) int { return cmp.Compare(l.ID, id) }

func (p *pathLocks) unlink(l *pathLock) {
	delete(p.byID, l.ID)
	if l.waits() {
		at, _ := slices.BinarySearchFunc(p.waiting, l.ID, compareLockID)
		p.waiting = slices.Delete(p.waiting, at, at+1)
	} else {
		delete(p.held, l.Token)
	}
	if of := p.ofOwner[l.Session]; of != nil {
		if delete(of, l.ID); len(of) == 0 {
			delete(p.ofOwner, l.Session)
		}
	}
	for i := range l.Places {
		x := placed{l, &l.Places[i]}
		n := p.nodes[x.Dir]
		n.remove(x)
		p.prune(n)
		if x.Inode != 0 {
			if p.inodes[x.Inode] = without(p.inodes[x.Inode], x.pathPlace); len(p.inodes[x.Inode]) == 0 {
				delete(p.inodes, x.Inode)
			}
		}
		if x.covers() {
			p.trees--
		}
	}
}

func (n *lockNode) add(x placed) {
	if x.Rest == "" {
		n.own = append(n.own, x)
		return
	}
	name, _, _ := cutName(x.Rest)
	list := append(n.named[name], x)
	if last := len(list) - 1; !x.lock.waits() { // what waits finds it first
		list[0], list[last] = x, list[0]
	}
	n.named[name] = list
}

func (n *lockNode) remove(x placed) {
	if x.Rest == "" {
		n.own = without(n.own, x.pathPlace)
		return
	}
	name, _, _ := cutName(x.Rest)
	if n.named[name] = without(n.named[name], x.pathPlace); len(n.named[name]) == 0 {
		delete(n.named, name)
	}
}

// places calls f for the places in a directory, its own and others, until f says false.
func (n *lockNode) places(f func(placed) bool) bool {
	for _, x := range n.own {
		if !f(x) {
			return false
		}
	}
	for _, list := range n.named {
		for _, x := range list {
			if !f(x) {
				return false
			}
		}
	}
	return true
}

// without takes a place out of a list, whose order means nothing.
func without(list []placed, gone *pathPlace) []placed {
	i := slices.IndexFunc(list, func(x placed) bool { return x.pathPlace == gone })
	last := len(list) - 1
	list[i], list[last] = list[last], placed{}
	return list[:last]
}

// covers reports whether what is below a directory is of a held lock because of this place.
func (x placed) covers() bool { return !x.lock.waits() && x.Subtree && x.Rest == "" }

// hang returns the node of a directory, which it makes with those above.
func (p *pathLocks) hang(dir granary.InodeID) *lockNode {
	if n := p.nodes[dir]; n != nil {
		return n
	}
	n := &lockNode{dir: dir, below: map[granary.InodeID]*lockNode{}, named: map[string][]placed{}}
	p.nodes[dir] = n
	p.attach(n)
	return n
}

func (p *pathLocks) attach(n *lockNode) {
	if n.dir == granary.RootInode {
		return
	}
	above := p.above(n.dir)
	if above == 0 {
		panic("master: a path lock is on what is in no directory")
	}
	n.above = p.hang(above)
	n.above.below[n.dir] = n
}

// rehang moves the node of a directory to where the directory is now.
func (p *pathLocks) rehang(dir granary.InodeID) {
	n := p.nodes[dir]
	if n == nil || n.above == nil {
		return
	}
	was := n.above
	delete(was.below, dir)
	p.attach(n)
	p.prune(was)
}

// prune removes a node that nothing is on or below, and those above that it leaves so.
func (p *pathLocks) prune(n *lockNode) {
	for n != nil && len(n.own)+len(n.named)+len(n.below) == 0 {
		delete(p.nodes, n.dir)
		if n.above != nil {
			delete(n.above.below, n.dir)
		}
		n = n.above
	}
}

// related reports whether two places in one directory have a path in common.
func (x *pathPlace) related(y *pathPlace) bool {
	return x.Rest == y.Rest || x.Subtree && isBelow(y.Rest, x.Rest) || y.Subtree && isBelow(x.Rest, y.Rest)
}

// isBelow reports whether a path leads through another, of the same directory.
func isBelow(path, top string) bool {
	return top == "" || len(path) > len(top) && path[len(top)] == '/' && strings.HasPrefix(path, top)
}

// meets calls f for each place of others that has a path in common with one, until f says false: once or more.
func (p *pathLocks) meets(id granary.LockID, x *pathPlace, f func(placed) bool) bool {
	call := func(y placed) bool { return y.lock.ID == id || f(y) }
	n := p.nodes[x.Dir]
	if n != nil && !n.related(x, call) {
		return false
	}
	if x.Inode != 0 && x.Rest != "" { // under other names of the file
		for _, y := range p.inodes[x.Inode] {
			if !call(y) {
				return false
			}
		}
	}
	if x.Subtree && x.Rest == "" && n != nil && !n.each(call) {
		return false
	}
	for n = p.nodeAbove(x.Dir); n != nil; n = n.above {
		for _, y := range n.own {
			if y.Subtree && !call(y) {
				return false
			}
		}
	}
	return true
}

// related calls f for each place in a directory that has a path in common with another there, until f says false.
func (n *lockNode) related(x *pathPlace, f func(placed) bool) bool {
	if x.Rest == "" && x.Subtree {
		return n.places(f)
	}
	list := n.own
	if x.Rest != "" {
		for _, y := range n.own {
			if y.Subtree && !f(y) {
				return false
			}
		}
		name, _, _ := cutName(x.Rest)
		list = n.named[name]
	}
	for _, y := range list {
		if x.related(y.pathPlace) && !f(y) {
			return false
		}
	}
	return true
}

// each calls f for the places in the directories below one, until f says false.
func (n *lockNode) each(f func(placed) bool) bool {
	for _, below := range n.below {
		if !below.places(f) || !below.each(f) {
			return false
		}
	}
	return true
}

// nodeAbove returns the next node above a directory, or nil.
func (p *pathLocks) nodeAbove(dir granary.InodeID) *lockNode {
	if n := p.nodes[dir]; n != nil {
		return n.above
	}
	for dir != granary.RootInode && dir != 0 {
		dir = p.above(dir)
		if n := p.nodes[dir]; n != nil {
			return n
		}
	}
	return nil
}

// excludes reports whether two locks that meet cannot be held at once.
func (l *pathLock) excludes(o *pathLock) bool { return l.Exclusive || o.Exclusive }

// blockers calls f for each lock, held or asked for earlier, that one must wait for, until f says false.
func (p *pathLocks) blockers(l *pathLock, f func(*pathLock) bool) bool {
	for i := range l.Places {
		if !p.meets(l.ID, &l.Places[i], func(y placed) bool {
			return !l.excludes(y.lock) || y.lock.waits() && y.lock.ID > l.ID || f(y.lock)
		}) {
			return false
		}
	}
	return true
}

// inTheWay returns the earliest of the locks that one must wait for, or nil.
func (p *pathLocks) inTheWay(l *pathLock) (first *pathLock) {
	p.blockers(l, func(o *pathLock) bool {
		if first == nil || o.ID < first.ID {
			first = o
		}
		return true
	})
	return first
}

// blocked reports whether a request must wait for another path lock.
func (p *pathLocks) blocked(l *pathLock) bool {
	return !p.blockers(l, func(*pathLock) bool { return false })
}

// behind returns the requests that may have waited for a lock, by LockID.
func (p *pathLocks) behind(gone *pathLock, list []*pathLock) []*pathLock {
	if len(p.waiting) == 0 {
		return list
	}
	for i := range gone.Places {
		p.meets(gone.ID, &gone.Places[i], func(y placed) bool {
			if y.lock.waits() && gone.excludes(y.lock) {
				list = append(list, y.lock)
			}
			return true
		})
	}
	return list
}

// circle reports whether a request that is to wait would wait for one of its own owner, which waits for it or holds.
// More than deadlockLocksMax steps are not taken: what is farther away is not found, and waits.
func (p *pathLocks) circle(l *pathLock) bool {
	if l.Owner == "" {
		return false
	}
	waits := map[string][]*pathLock{}
	for _, w := range p.waiting {
		if w.Owner != "" {
			waits[w.Owner] = append(waits[w.Owner], w)
		}
	}
	seen := map[granary.LockID]bool{}
	queue, left, found := []*pathLock{l}, deadlockLocksMax, false
	for len(queue) > 0 && !found && left > 0 {
		next := queue[0]
		queue = queue[1:]
		p.blockers(next, func(o *pathLock) bool {
			left--
			if found = o.Owner == l.Owner; found || left <= 0 {
				return false
			}
			if seen[o.ID] {
				return true
			}
			seen[o.ID] = true
			if o.waits() {
				queue = append(queue, o)
			}
			if o.Owner != "" {
				queue = append(queue, waits[o.Owner]...)
				delete(waits, o.Owner)
			}
			return true
		})
	}
	return found
}
