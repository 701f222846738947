package master

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// dropMax bounds the inodes of one drop: each changes at most four keys.
const dropMax = 500

// nameless is an inode that is listed as being without a name, and since which entry.
type nameless struct {
	Since granary.Index
	Inode granary.InodeID
}

// lose decides about an inode, not a directory's, that may have lost its last name, and that no session keeps. It
// may be open somewhere, which only the leader's memory tells: so it stays as it is, listed for the leader to drop.
func (t *txn) lose(r *inodeRecord) {
	if r.Nlink > 0 {
		return
	}
	t.uncount(r)
	r.Lost = t.index
	t.touch(r)
	store(t, keyNameless(nameless{r.Lost, r.Inode}), &numberRecord{})
}

// dropNameless disposes of inodes without names that the leader found to be open nowhere. What is not listed as such,
// or was dropped by an earlier try, is left alone.
func (t *txn) dropNameless(it *drop) granary.Result {
	dropped := uint64(0)
	for _, id := range it.Inodes[:min(len(it.Inodes), dropMax)] {
		r := t.inode(id)
		if r == nil || r.Lost == 0 {
			continue
		}
		t.del(keyNameless(nameless{r.Lost, id}))
		t.dispose(r)
		dropped++
	}
	return granary.Result{Offset: dropped}
}

// nameless returns inodes without names that no session keeps, in the order in which they lost them, after one.
func (s *state) nameless(after nameless, limit int) []nameless {
	var found []nameless
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: append(keyNameless(after), 0), UpperBound: []byte{tableNoName + 1}})
	must(err)
	for ok := it.First(); ok && len(found) < limit; ok = it.Next() {
		found = append(found, namelessOf(it.Key()))
	}
	must(it.Error())
	must(it.Close())
	return found
}
