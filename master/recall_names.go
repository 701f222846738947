package master

import (
	"github.com/cespare/xxhash/v2"

	"github.com/dsorchard/granary"
)

// recalledNames remembers the names in some directories, so that a name that is not there need not be looked for:
// most names that are asked for by who applies are about to be made.
//
// Of a directory that is remembered every name is, and some that are no more; names are told apart by a hash. So it
// says for certain only that a name is not there. A directory is remembered from the moment that it gets its first
// name on, if the item that gives it is kept.
type recalledNames struct {
	dirs  map[granary.InodeID]map[uint64]struct{}
	total int               // names in all of them
	fresh []granary.InodeID // since the last keep or drop
}

const (
	recallNamesDir = 1 << 17 // names of one directory
	recallNamesMax = 1 << 19 // of all: some 20 MiB
)

func newRecalledNames() recalledNames {
	return recalledNames{dirs: make(map[granary.InodeID]map[uint64]struct{})}
}

// lacks reports whether a directory certainly has no such name.
func (n *recalledNames) lacks(dir granary.InodeID, name string) bool {
	names, ok := n.dirs[dir]
	if !ok {
		return false
	}
	_, there := names[xxhash.Sum64String(name)]
	return !there
}

// add notes a name that a directory gets; entries is how many it has.
func (n *recalledNames) add(dir granary.InodeID, name string, entries uint64) {
	names := n.dirs[dir]
	switch {
	case names == nil && entries > 0:
		return
	case names == nil:
		names = make(map[uint64]struct{})
		n.dirs[dir] = names
		n.fresh = append(n.fresh, dir)
	case len(names) >= recallNamesDir:
		n.forget(dir)
		return
	}
	if n.total >= recallNamesMax {
		*n = newRecalledNames()
		return
	}
	before := len(names)
	names[xxhash.Sum64String(name)] = struct{}{}
	n.total += len(names) - before
}

// forget forgets a directory.
func (n *recalledNames) forget(dir granary.InodeID) {
	n.total -= len(n.dirs[dir])
	delete(n.dirs, dir)
}

// keep makes what the item made part of what is remembered.
func (n *recalledNames) keep() { n.fresh = n.fresh[:0] }

// drop forgets the directories that were empty only for the item that is dropped.
func (n *recalledNames) drop() {
	for _, dir := range n.fresh {
		n.forget(dir)
	}
	n.fresh = n.fresh[:0]
}
