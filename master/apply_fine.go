package master

import (
	"github.com/dsorchard/granary"
)

// Windows that random writes, or copies of small ranges, have cut too finely are marked in table F, by the entry that stores them
// so, and the mark goes with the entry that stores them otherwise, or removes them. The leader has them written anew when their
// file has been left alone for a while.
//
// What was cut by commands of earlier versions has no mark, and gets one when the window is next written. So that it can
// be told from a mark that is missing, the key of inode 0 has the entry that made the first mark.

// fine reports whether a window is cut too finely.
func (w *windowRecord) fine() bool {
	if len(w.Pieces) <= granary.WindowExtentsMax {
		return false
	}
	runs, end := 0, uint64(0)
	for i := range w.Pieces {
		if p := &w.Pieces[i]; runs == 0 || p.Offset != end {
			runs++
		}
		end = w.Pieces[i].end()
	}
	return granary.CutFinely(len(w.Pieces), runs)
}

// markWindow marks a window that is stored and is cut too finely, or removes its mark. It touches three keys at most, and none of
// a window that is not, and was not.
func (t *txn) markWindow(id granary.InodeID, w *windowRecord, before windowSum) {
	if !t.marks {
		return
	}
	fine := w.fine()
	if !fine && !before.fine {
		return
	}
	k := keyFine(id, w.window)
	switch marked := t.get(k) != nil; {
	case marked && !fine:
		t.del(k)
	case fine && !marked:
		store(t, k, &numberRecord{})
		if first := keyFine(0, 0); t.get(first) == nil {
			store(t, first, &numberRecord{uint64(t.index)})
		}
	}
}
