package master

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// snapshotShare lends queries a snapshot of the store. As long as nothing is applied all get the same one: to take one, and to
// give it back, costs the store more than many a query.
type snapshotShare struct {
	mu     sync.Mutex
	newest *lentSnapshot
}

// lentSnapshot is a snapshot with what was read beside it.
type lentSnapshot struct {
	*pebble.Snapshot
	head    headRecord // read before it was taken: the state is at least as new
	holders bool       // there may be sessions that hold directories

	lent int // under snapshotShare.mu: to queries, and to the share itself

	once   sync.Once
	own    headRecord // its own head …
	failed error      // … or why that could not be read
}

// exact returns the head of the state that the snapshot is of.
func (n *lentSnapshot) exact() (headRecord, error) {
	n.once.Do(func() {
		b := readKey(n, keyHead())
		if b == nil { // nothing was applied yet
			return
		}
		own, err := unmarshal[headRecord](b)
		if err != nil {
			n.failed = errStore(keyHead(), err)
			return
		}
		n.own = *own
	})
	return n.own, n.failed
}

// borrow returns a snapshot that is no older than the call. s.life is held.
func (s *state) borrow() *lentSnapshot {
	c := &s.share
	c.mu.Lock()
	defer c.mu.Unlock()
	head := s.current()
	if c.newest == nil || c.newest.head.Applied != head.Applied {
		c.drop()
		c.newest = &lentSnapshot{Snapshot: s.db.NewSnapshot(), head: head, lent: 1}
		// Read before and after: if there are none, and none was granted between, none is held in the snapshot.
		after := s.current()
		c.newest.holders = head.Delegations+after.Delegations > 0 || head.Delegated != after.Delegated
	}
	c.newest.lent++
	return c.newest
}

// giveBack ends the use of a snapshot.
func (c *snapshotShare) giveBack(n *lentSnapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.giveBack()
}

// forget lets go of a snapshot that is old by now: it would keep the store from dropping what was written over.
func (c *snapshotShare) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// drop is forget, under c.mu.
func (c *snapshotShare) drop() {
	if c.newest != nil {
		c.newest.giveBack()
		c.newest = nil
	}
}

// giveBack is under snapshotShare.mu.
func (n *lentSnapshot) giveBack() {
	if n.lent--; n.lent == 0 {
		must(n.Close())
	}
}
