package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// markSweep notes that what is below an inode is to be looked at, from the front: its policy is another one.
func (t *txn) markSweep(id granary.InodeID) {
	if !t.places {
		return
	}
	store(t, keySweep(id), &numberRecord{uint64(t.index)})
	t.forgetSwept(id)
}

// forgetSwept removes how far a sweep has come, if that is there: commands of earlier versions wrote nothing there.
func (t *txn) forgetSwept(id granary.InodeID) {
	if k := keySwept(id); t.get(k) != nil {
		t.del(k)
	}
}

// sweepDone removes the mark, unless it was made anew.
func (t *txn) sweepDone(it *sweepDone) granary.Result {
	if err := t.checkSweep("sweep done", it.Inode, it.Marked); err != nil {
		return granary.Result{Err: err}
	}
	t.del(keySweep(it.Inode))
	t.forgetSwept(it.Inode)
	return granary.Result{}
}

// sweepAt notes how far a sweep has come. Several may be at it, one after the other: what one of them has looked at need not
// be looked at again.
func (t *txn) sweepAt(it *sweepAt) granary.Result {
	if err := t.checkSweep("sweep at", it.Inode, it.Marked); err != nil {
		return granary.Result{Err: err}
	}
	if len(it.After) > granary.PathLengthMax {
		return failed(granary.KindTooLarge, "sweep at", fmt.Sprint(it.Inode), "a path of %d bytes, of %d at most", len(it.After), granary.PathLengthMax)
	}
	store(t, keySwept(it.Inode), &bytesRecord{[]byte(it.After)})
	return granary.Result{}
}

// checkSweep refuses what is about a sweep that is over, or that began before the policy was last changed.
func (t *txn) checkSweep(op string, id granary.InodeID, marked granary.Index) *granary.Error {
	r := fetch[numberRecord](t, keySweep(id))
	switch {
	case r == nil:
		return granary.Errorf(granary.KindNotFound, op, fmt.Sprint(id), "its policy has not been changed since the last sweep")
	case r.Number != uint64(marked):
		return granary.Errorf(granary.KindStale, op, fmt.Sprint(id), "its policy was changed in entry %d, after %d", r.Number, marked)
	}
	return nil
}
