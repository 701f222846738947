package master

import (
	"slices"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/dsorchard/granary"
)

// seenRecords remembers for queries what they have read of directories: attributes, which directory a name leads to, and the extended attributes
// of the roots of datasets. Every request to the S3 door begins with those of its bucket, and goes by the same directories as many others.
//
// A record that was read from a state which has the entries up to an index is true of every state that has them, too, as long as no later
// entry has changed it. Who applies says so before there is a state that shows it (change); who reads looks whether that was said after
// his state was taken (get). It is said of all records in a slot at once.
//
// Of a nil *seenRecords nothing is seen.
type seenRecords struct{ slots []seenSlot }

type seenSlot struct {
	changed atomic.Uint64 // the last entry of the last batch that changed a record of the slot
	record  atomic.Pointer[seenRecord]
}

// seenRecord is one of them, which nobody changes.
type seenRecord struct {
	key    string
	index  granary.Index // of an entry that the state has which it was read from
	inode  *inodeRecord
	dentry *dentryRecord
	xattrs []granary.Xattr
}

// seenSlots is how many records there are at most.
const seenSlots = 1 << 14

func newSeenRecords() seenRecords { return seenRecords{make([]seenSlot, seenSlots)} }

// slot returns the slot of a key by its hash.
func (s *seenRecords) slot(hash uint64) *seenSlot { return &s.slots[hash%uint64(len(s.slots))] }

// change is called before a batch becomes visible, the last entry of which is given.
func (s *seenRecords) change(p *pending, last uint64) {
	for i := range p.changes {
		c := &p.changes[i]
		switch k := c.key; {
		case !c.made:
		case k[0] == tableInode, k[0] == tableDentry && k[len(k)-1] == '/':
			s.slot(c.hash).changed.Store(last)
		case k[0] == tableXattr && isRoot(granary.InodeID(keyID(k, 0))):
			s.slot(xxhash.Sum64(k[:len(keyInode(0))])).changed.Store(last)
		}
	}
}

// isRoot reports whether an inode is the root of a dataset, as a bucket is.
func isRoot(id granary.InodeID) bool { return id == id.Dataset().Root() }

// get returns a record, if there is one that is true of a state which has the entries up to an index; nil if not.
func (s *seenRecords) get(k []byte, index granary.Index) *seenRecord {
	if s == nil {
		return nil
	}
	slot := s.slot(xxhash.Sum64(k))
	r := slot.record.Load()
	if r == nil || r.key != string(k) || r.index > index || slot.changed.Load() > uint64(r.index) {
		return nil
	}
	return r
}

// put remembers a record.
func (s *seenRecords) put(r *seenRecord) {
	if s != nil {
		s.slot(xxhash.Sum64String(r.key)).record.Store(r)
	}
}

// inode reads an inode; nil if there is none.
func (v *view) inode(id granary.InodeID) (*inodeRecord, error) {
	k, index := keyInode(id), granary.Index(v.head.Applied)
	if seen := v.seen.get(k, index); seen != nil {
		r := *seen.inode
		return &r, nil
	}
	r, err := read[inodeRecord](v, k)
	if r == nil || err != nil {
		return nil, err
	}
	if r.Inode = id; r.IsDir() {
		kept := *r
		v.seen.put(&seenRecord{key: string(k), index: index, inode: &kept})
	}
	return r, nil
}

// dentry reads what a name leads to: a directory, or something else; nil if it leads nowhere.
func (v *view) dentry(dir granary.InodeID, name string, toDir bool) (*dentryRecord, error) {
	k, index := keyDentry(dir, name, toDir), granary.Index(v.head.Applied)
	if !toDir {
		return read[dentryRecord](v, k)
	}
	if seen := v.seen.get(k, index); seen != nil {
		return seen.dentry, nil
	}
	d, err := read[dentryRecord](v, k)
	if d != nil && err == nil {
		v.seen.put(&seenRecord{key: string(k), index: index, dentry: d})
	}
	return d, err
}

// allXattrs returns all extended attributes of an inode.
func (v *view) allXattrs(of *inodeRecord) ([]granary.Xattr, error) {
	k, index := key(tableXattr, uint64(of.Inode)), granary.Index(v.head.Applied)
	if !isRoot(of.Inode) {
		return v.scanXattrs(k)
	}
	if seen := v.seen.get(k, index); seen != nil {
		return slices.Clone(seen.xattrs), nil
	}
	xs, err := v.scanXattrs(k)
	if err == nil {
		v.seen.put(&seenRecord{key: string(k), index: index, xattrs: slices.Clone(xs)})
	}
	return xs, err
}

// scanXattrs reads the extended attributes below a prefix.
func (v *view) scanXattrs(prefix []byte) (xs []granary.Xattr, err error) {
	err = v.scan(prefix, keyEnd(prefix), func(k, b []byte) (bool, error) {
		r, err := unmarshal[bytesRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		xs = append(xs, granary.Xattr{Name: string(k[len(prefix):]), Value: r.Bytes})
		return true, nil
	})
	return xs, err
}
