package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

// TestSnapshotIsShared: queries share a snapshot until something is applied, and nothing of it is left when the last has given it back.
func TestSnapshotIsShared(t *testing.T) {
	m := newMachine(t)
	one, two := m.s.borrow(), m.s.borrow()
	if one != two {
		t.Error("a snapshot is taken though nothing was applied")
	}
	m.s.share.giveBack(one)
	m.ok(mkdirOp(granary.RootInode, "d"))
	three := m.s.borrow()
	if three == two {
		t.Error("a query gets a snapshot that is too old")
	}
	if two.lent != 1 || three.lent != 2 {
		t.Errorf("the snapshots are lent %d and %d times", two.lent, three.lent)
	}
	for _, s := range []*lentSnapshot{two, three} {
		head, err := s.exact()
		if err != nil || head.Applied < s.head.Applied {
			t.Errorf("the snapshot is of entry %d, and was taken at %d: %v", head.Applied, s.head.Applied, err)
		}
		m.s.share.giveBack(s)
	}
	if two.lent != 0 {
		t.Error("a snapshot that nobody has is kept")
	}
	m.close() // the store fails if a snapshot is left
}
