package master

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// walker reads many inodes of one query. Files that were made one after the other, as those of a directory often are,
// have ids one after the other: the next key is then the one that is looked for, and nothing has to be searched.
type walker struct {
	it *pebble.Iterator // over the table of inodes; nil before the first
	k  []byte           // room for a key
	r  inodeRecord      // the last that was found
}

// sibling is child for who goes through a directory. The record is lent until the next call.
func (v *view) sibling(id granary.InodeID) (*inodeRecord, error) {
	w := &v.walk
	if w.it == nil {
		it, err := v.r.NewIter(&pebble.IterOptions{LowerBound: []byte{tableInode}, UpperBound: []byte{tableInode + 1}})
		if err != nil {
			return nil, errStore([]byte{tableInode}, err)
		}
		w.it = it
	}
	w.k = appendKey(w.k[:0], tableInode, uint64(id))
	found := w.it.Valid() && w.it.Next() && bytes.Equal(w.it.Key(), w.k)
	if !found {
		found = w.it.SeekGE(w.k) && bytes.Equal(w.it.Key(), w.k)
	}
	if err := w.it.Error(); err != nil {
		return nil, errStore(w.k, err)
	}
	if !found {
		return nil, granary.Errorf(granary.KindCorrupt, "query", id.String(), "a name leads to an inode that does not exist")
	}
	b, err := w.it.ValueAndErr()
	if err == nil {
		err = unmarshalInto(b, &w.r)
	}
	if err != nil {
		return nil, errStore(w.k, err)
	}
	w.r.Inode = id
	return &w.r, nil
}

// close gives back what the walk holds.
func (w *walker) close() error {
	if w.it == nil {
		return nil
	}
	return w.it.Close()
}
