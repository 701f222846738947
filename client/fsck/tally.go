package fsck

import (
	"iter"

	"github.com/dsorchard/granary"
)

const tallyPage = 256

// tally has a number for each block id, 8 bytes for those that lie close together.
type tally struct {
	pages map[granary.BlockID]*[tallyPage]int64
}

func newTally() *tally { return &tally{map[granary.BlockID]*[tallyPage]int64{}} }

// add adds to a block's number.
func (t *tally) add(id granary.BlockID, n int64) {
	p := t.pages[id/tallyPage]
	if p == nil {
		p = new([tallyPage]int64)
		t.pages[id/tallyPage] = p
	}
	p[id%tallyPage] += n
}

// all returns the blocks whose number is not 0, in no order.
func (t *tally) all() iter.Seq2[granary.BlockID, int64] {
	return func(yield func(granary.BlockID, int64) bool) {
		for page, p := range t.pages {
			for i, n := range p {
				if n != 0 && !yield(page*tallyPage+granary.BlockID(i), n) {
					return
				}
			}
		}
	}
}
