package master

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// recall is what the goroutine that applies remembers of the store, which nothing else changes. It saves
// reads, and is never the source of an answer that the store would not give.
type recall struct {
	values *recalledValues

	opened   map[openedBy]granary.SessionID  // the sessions that are open, by who opened them
	answered map[granary.SessionID]*answered // for some of the sessions

	names recalledNames
	queue queueStart

	locked map[granary.InodeID]struct{} // inodes that have locks, or had some since the node started
	paths  *pathLocks                   // all there are: what the store says of them, too
}

// openedBy tells one attempt to open a session from all others.
type openedBy struct {
	client string
	nonce  uint64
}

const recallAnswered = 65536 // sessions

// newRecall makes one that takes so many bytes for values.
func newRecall(db *pebble.DB, bytes int64) *recall {
	r := &recall{
		values: newRecalledValues(bytes), opened: make(map[openedBy]granary.SessionID), answered: make(map[granary.SessionID]*answered),
		names: newRecalledNames(), queue: queueStart{[]byte{tableQueue}}, locked: map[granary.InodeID]struct{}{},
	}
	r.recallLocked(db)
	r.paths = recallPaths(db, func(id granary.InodeID) granary.InodeID {
		b := readKey(db, keyInode(id))
		if b == nil {
			return 0
		}
		inode, err := unmarshal[inodeRecord](b)
		must(err)
		return inode.Parent
	})
	prefix := key(tableSession)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		s, err := unmarshal[sessionRecord](it.Value())
		must(err)
		r.opened[openedBy{s.Client, s.Nonce}] = granary.SessionID(keyID(it.Key(), 0))
	}
	must(it.Close())
	return r
}

// recallLocked finds the inodes that have locks.
func (r *recall) recallLocked(db *pebble.DB) {
	prefix := key(tableLocks)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		r.locked[granary.InodeID(keyID(it.Key(), 0))] = struct{}{}
	}
	must(it.Close())
}

// begin bounds what is remembered of sessions. Between batches only: of a batch that is not written yet, answered
// alone knows the results.
func (r *recall) begin() {
	if len(r.answered) > recallAnswered {
		clear(r.answered)
	}
}

// noteOpened and noteEnded keep opened what the store says.
func (t *txn) noteOpened(id granary.SessionID, client string, nonce uint64) {
	t.pending.recall.opened[openedBy{client, nonce}] = id
}

func (t *txn) noteEnded(id granary.SessionID, s *sessionRecord) {
	r := t.pending.recall
	delete(r.opened, openedBy{s.Client, s.Nonce})
	delete(r.answered, id)
	delete(t.answers, id)
}
