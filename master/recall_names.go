package master

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/dsorchard/granary"
)

// recalledNames remembers the names in some directories, so that a name that is not there need not be looked for:
// most names that are asked for by who applies are about to be made.
//
// Of a directory that is remembered every name is, and some that are no more; names are told apart by a hash. So it
// says for certain only that a name is not there. A directory is remembered from the moment that it gets its first
// name on, if the item that gives it is kept; and a name is forgotten once the item that removes it is.
type recalledNames struct {
	dirs  map[granary.InodeID]map[uint64]nameCount
	total int               // names in all of them
	fresh []granary.InodeID // since the last keep or drop
	gone  []goneName        // since the last keep or drop
}

// nameCount says whether a hash stands for one name alone. If it may stand for several, it stays when one of them goes.
type nameCount bool

const (
	oneName   nameCount = false
	someNames nameCount = true
)

type goneName struct {
	dir  granary.InodeID
	hash uint64
}

const (
	recallNamesDir = 1 << 18 // names of one directory
	recallNamesMax = 1 << 20 // of all: some 20 MiB
)

func newRecalledNames() recalledNames {
	return recalledNames{dirs: make(map[granary.InodeID]map[uint64]nameCount)}
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
		names = make(map[uint64]nameCount)
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
	hash := xxhash.Sum64String(name)
	if _, there := names[hash]; there { // another's, or one that went or that was dropped
		names[hash] = someNames
		return
	}
	names[hash] = oneName
	n.total++
}

// remove notes that a directory loses a name.
func (n *recalledNames) remove(dir granary.InodeID, name string) {
	if n.dirs[dir] != nil {
		n.gone = append(n.gone, goneName{dir, xxhash.Sum64String(name)})
	}
}

// forget forgets a directory.
func (n *recalledNames) forget(dir granary.InodeID) {
	n.total -= len(n.dirs[dir])
	delete(n.dirs, dir)
	n.gone = slices.DeleteFunc(n.gone, func(g goneName) bool { return g.dir == dir }) // it may come back with such a name
}

// keep makes what the item made and removed part of what is remembered.
func (n *recalledNames) keep() {
	for _, g := range n.gone {
		if count, there := n.dirs[g.dir][g.hash]; there && count == oneName {
			delete(n.dirs[g.dir], g.hash)
			n.total--
		}
	}
	n.fresh, n.gone = n.fresh[:0], n.gone[:0]
}

// drop forgets the directories that were empty only for the item that is dropped.
func (n *recalledNames) drop() {
	for _, dir := range n.fresh {
		n.forget(dir)
	}
	n.fresh, n.gone = n.fresh[:0], n.gone[:0]
}
