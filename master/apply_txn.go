package master

import (
	"bytes"
	"cmp"
	"sort"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// txn applies entries to one batch of changes. Those of one item gather beside it: keep adds
// them to it, drop forgets them, so an operation that fails half way has no effect.
type txn struct {
	pending *pending
	head    headRecord
	saved   headRecord        // as keep left it
	dirty   map[string][]byte // changes of the item; nil is a deletion
	index   granary.Index     // of the entry
	now     granary.Time      // of the command

	cred      granary.Cred // who asks for what is applied
	unchecked bool         // … before permissions were checked

	inodes   table[granary.InodeID, inodeRecord, *inodeRecord]
	blocks   table[granary.BlockID, blockRecord, *blockRecord]
	volumes  table[granary.VolumeID, volumeRecord, *volumeRecord]
	datasets ledger[granary.DatasetID, datasetRecord, *datasetRecord]
	owners   ledger[ownerKey, ownerRecord, *ownerRecord]

	answers map[granary.SessionID][]storedResult // of the entry

	digestEvery uint64
	sum         uint64 // of the entry's changes: see digest.go
	scratch     []byte

	grown          []*inodeRecord // without a name, and larger than before the item
	missing        []uint32       // for the result: chunks that a content lacks
	serversChanged bool
	membersChanged bool
}

func newTxn(s *state) *txn {
	t := &txn{
		pending: newPending(s.db, s.recall), head: s.head, saved: s.head, dirty: map[string][]byte{},
		answers: map[granary.SessionID][]storedResult{}, digestEvery: s.digestEvery,
	}
	s.recall.begin()
	t.inodes.key, t.blocks.key, t.volumes.key = keyInode, keyBlock, keyVolume
	t.datasets.key, t.owners.key = keyDataset, keyOwner
	return t
}

// keep makes the changes of an item part of the batch.
func (t *txn) keep() {
	t.freeBlocks()
	t.inodes.flush(t)
	t.blocks.flush(t)
	t.volumes.flush(t)
	t.datasets.keep()
	t.owners.keep()
	t.grown = nil
	t.write()
	t.pending.recall.names.keep()
	t.saved = t.head
}

// write moves the changes to the batch, and adds them to the digest.
func (t *txn) write() {
	for k, v := range t.dirty {
		t.sum += digestOf(k, v)
		t.pending.put(k, v)
	}
	clear(t.dirty)
}

// endEntry adds to the batch what is written once for all items of an entry.
func (t *txn) endEntry() {
	t.datasets.flush(t)
	t.owners.flush(t)
	t.writeResults()
	t.write()
}

// drop forgets the changes of an item.
func (t *txn) drop() {
	clear(t.dirty)
	t.inodes.reset()
	t.blocks.reset()
	t.volumes.reset()
	t.datasets.drop()
	t.owners.drop()
	t.pending.recall.names.drop()
	t.grown = nil
	t.head = t.saved
}

// must panics on an error of the store: going on would make this replica differ from the others.
func must(err error) {
	if err != nil {
		panic("master: metadata store: " + err.Error())
	}
}

// get returns a value as of now, or nil. Who asks must not change it.
func (t *txn) get(k []byte) []byte {
	if v, ok := t.dirty[string(k)]; ok {
		return v
	}
	return t.pending.get(k)
}

// readKey returns a copy of a value, or nil.
func readKey(r pebble.Reader, k []byte) []byte {
	v, closer, err := r.Get(k)
	if err == pebble.ErrNotFound {
		return nil
	}
	must(err)
	v = bytes.Clone(v)
	must(closer.Close())
	return v
}

func (t *txn) set(k, v []byte) { t.dirty[string(k)] = v }
func (t *txn) del(k []byte)    { t.dirty[string(k)] = nil }

// scan calls f for each key in [lower, upper) in order, until f says false. f may change what it has
// seen; keys added during the scan may be missed. Records held by tables are not seen.
func (t *txn) scan(lower, upper []byte, f func(k, v []byte) bool) {
	if bytes.Compare(lower, upper) >= 0 {
		return
	}
	var mine []string
	for k := range t.dirty {
		if k >= string(lower) && k < string(upper) {
			mine = append(mine, k)
		}
	}
	sort.Strings(mine)
	it, err := t.pending.reader().NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	must(err)
	defer func() { must(it.Close()) }()
	ok := it.First()
	for ok || len(mine) > 0 {
		if len(mine) > 0 && (!ok || mine[0] <= string(it.Key())) {
			k := mine[0]
			mine = mine[1:]
			if ok && k == string(it.Key()) {
				ok = it.Next()
			}
			if v := t.dirty[k]; v != nil && !f([]byte(k), v) {
				return
			}
			continue
		}
		if !f(bytes.Clone(it.Key()), bytes.Clone(it.Value())) {
			return
		}
		ok = it.Next()
	}
	must(it.Error())
}

// fetch reads and decodes a record that no table holds; nil if there is none.
func fetch[T any, P record[T]](t *txn, k []byte) P {
	b := t.get(k)
	if b == nil {
		return nil
	}
	r, err := unmarshal[T, P](b)
	must(err)
	return r
}

// store encodes and sets a record.
func store[T any, P record[T]](t *txn, k []byte, r P) { t.set(k, marshal[T, P](r, t.index)) }

// table holds the decoded records that an item works on, so that all who ask for one get the same.
type table[K cmp.Ordered, T any, P record[T]] struct {
	key  func(K) []byte
	held map[K]*heldRecord[T]
}

type heldRecord[T any] struct {
	record *T // nil: deleted, or never there
	dirty  bool
}

// get returns the record, or nil. Who changes it must touch it.
func (b *table[K, T, P]) get(t *txn, k K) P {
	if h, ok := b.held[k]; ok {
		return P(h.record)
	}
	r := fetch[T, P](t, b.key(k))
	b.hold(k, r, false)
	return r
}

func (b *table[K, T, P]) hold(k K, r P, dirty bool) {
	if b.held == nil {
		b.held = map[K]*heldRecord[T]{}
	}
	b.held[k] = &heldRecord[T]{record: (*T)(r), dirty: dirty}
}

func (b *table[K, T, P]) add(k K, r P) { b.hold(k, r, true) }
func (b *table[K, T, P]) remove(k K)   { b.hold(k, nil, true) }
func (b *table[K, T, P]) touch(k K)    { b.held[k].dirty = true }

// flush moves the changes to the txn.
func (b *table[K, T, P]) flush(t *txn) {
	for k, h := range b.held {
		switch {
		case !h.dirty:
		case h.record == nil:
			t.del(b.key(k))
		default:
			t.set(b.key(k), marshal[T, P](P(h.record), t.index))
		}
	}
	b.reset()
}

func (b *table[K, T, P]) reset() { clear(b.held) }

// inode returns an inode, or nil. Who changes it must touch it.
func (t *txn) inode(id granary.InodeID) *inodeRecord {
	r := t.inodes.get(t, id)
	if r != nil {
		r.Inode = id
	}
	return r
}

// touch marks an inode as changed by this entry.
func (t *txn) touch(r *inodeRecord) {
	r.Version = t.index
	t.inodes.touch(r.Inode)
}

// freeBlocks removes the blocks that the item left without references.
func (t *txn) freeBlocks() {
	for id, h := range t.blocks.held {
		b := h.record
		if b == nil || !h.dirty || b.Refs > 0 {
			continue
		}
		t.del(keyHash(b.Domain, b.Hash))
		v := t.volumes.get(t, b.Location.Volume)
		v.LiveBytes -= uint64(b.Location.Length)
		v.DeadBytes += uint64(b.Location.Length)
		t.volumes.touch(b.Location.Volume)
		t.head.UniqueBytes -= uint64(b.RawLength)
		t.head.BlockBytes -= uint64(b.Location.Length)
		t.blocks.remove(id)
	}
}
