package master

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// sweepMark is an inode whose policy was changed, in which entry, and how far what is below has been looked at since.
type sweepMark struct {
	Inode  granary.InodeID
	Marked granary.Index
	After  string
}

// sweeps returns the first marks of sweeps that are to be done, by inode.
func (s *state) sweeps(limit int) []sweepMark {
	var all []sweepMark
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil
	}
	it := s.marks(tableSweep)
	for ok := it.First(); ok && len(all) < limit; ok = it.Next() {
		r, err := unmarshal[numberRecord](it.Value())
		must(err)
		m := sweepMark{Inode: granary.InodeID(keyID(it.Key(), 0)), Marked: granary.Index(r.Number)}
		if b := readKey(s.db, keySwept(m.Inode)); b != nil {
			at, err := unmarshal[bytesRecord](b)
			must(err)
			m.After = string(at.Bytes)
		}
		all = append(all, m)
	}
	must(it.Error())
	must(it.Close())
	return all
}

// marks iterates over a table. Who calls has life.
func (s *state) marks(table byte) *pebble.Iterator {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key(table), UpperBound: keyEnd(key(table))})
	must(err)
	return it
}

// fineFile is a file that has windows which are cut too finely.
type fineFile struct {
	Inode   granary.InodeID
	Changed granary.Time // by the inode's Ctime, which nobody can set
	Windows []uint64     // the first of them; at most granary.TaskWindowsMax
}

// fineFiles returns files with windows that are cut too finely: of as many as looks, from an inode on, those that want chooses,
// with their windows from the one that it says on; limit at most. next is where to go on, 0 when there are no more.
func (s *state) fineFiles(from granary.InodeID, looks, limit int, want func(granary.InodeID, *inodeRecord) (window uint64, ok bool)) (found []fineFile, next granary.InodeID) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil, 0
	}
	it := s.marks(tableFine)
	ok := it.SeekGE(keyFine(max(from, 1), 0)) // inode 0 has something else
	for ; ok && looks > 0 && len(found) < limit; looks-- {
		id := granary.InodeID(keyID(it.Key(), 0))
		f := fineFile{Inode: id}
		if b := readKey(s.db, keyInode(id)); b != nil { // of one that is being removed, the marks go with its windows
			r, err := unmarshal[inodeRecord](b)
			must(err)
			if window, wanted := want(id, r); wanted {
				f.Changed = r.Ctime
				for ok = it.SeekGE(keyFine(id, window)); ok && len(f.Windows) < granary.TaskWindowsMax; ok = it.Next() {
					if granary.InodeID(keyID(it.Key(), 0)) != id {
						break
					}
					f.Windows = append(f.Windows, keyID(it.Key(), 1))
				}
			}
		}
		if len(f.Windows) > 0 {
			found = append(found, f)
		}
		ok = it.SeekGE(keyFine(id+1, 0))
	}
	if ok {
		next = granary.InodeID(keyID(it.Key(), 0))
	}
	must(it.Error())
	must(it.Close())
	return found, next
}
