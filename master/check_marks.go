package master

import "github.com/dsorchard/granary"

func (a *audit) loadMark(k, b []byte) {
	inode, window := keyID(k, 0), keyID(k, 1)
	r := decoded[numberRecord](a, k, b)
	if inode != 0 {
		a.marked[[2]uint64{inode, window}] = true
		return
	}
	a.marksAt = granary.Index(r.Number)
	if window != 0 || a.marksAt == 0 {
		a.bad("the first mark of a window is of entry %d, and says so at %d", a.marksAt, window)
	}
}

func (a *audit) loadSwept(inode granary.InodeID, k, b []byte) {
	after := decoded[bytesRecord](a, k, b).Bytes
	if a.sweeps[inode] == 0 || len(after) > granary.PathLengthMax {
		a.bad("a sweep below inode %d, marked in entry %d, has come to %q", inode, a.sweeps[inode], after)
	}
}

// checkMarks verifies that exactly the windows that are cut too finely are marked, as far as the entry that stored them did
// that: those before the first mark may be of a version that made none.
func (a *audit) checkMarks() {
	for at := range a.marked {
		if _, ok := a.fine[at]; !ok {
			a.bad("window %d of inode %d is marked, and is not there, or not cut too finely", at[1], at[0])
		}
		if a.marksAt == 0 {
			a.bad("window %d of inode %d is marked, and no mark is said to be the first", at[1], at[0])
		}
		if id := granary.InodeID(at[0]); a.inodes[id] == nil && a.queued[id] == nil {
			a.bad("window %d of inode %d is marked, and the inode does not exist", at[1], at[0])
		}
	}
	for at, stored := range a.fine {
		if a.marksAt != 0 && stored >= a.marksAt && !a.marked[at] {
			a.bad("window %d of inode %d is cut too finely since entry %d, and is not marked", at[1], at[0], stored)
		}
	}
}
