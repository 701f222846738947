package master

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// txn applies entries to one batch of changes, one after the other. Those of one item are kept or dropped together, so
// an operation that fails half way has no effect. It is used for one batch after the other.
type txn struct {
	pending *pending
	head    headRecord
	saved   headRecord    // as keep left it
	index   granary.Index // of the entry
	now     granary.Time  // of the command

	cred      granary.Cred // who asks for what is applied
	asking    granary.SessionID
	unchecked bool // … before permissions were checked
	acls      bool // the command is of a version that knows access control lists and capabilities
	escapes   bool // the command is of a version that knows escapes of names
	classes   bool // … and storage classes
	marks     bool // the command is of a version that marks windows that are cut too finely
	places    bool // the command is of a version that keeps the tables of places, and what volumes have since
	parents   bool // the command is of a version that keeps the directory of files

	inodes   table[granary.InodeID, inodeRecord, *inodeRecord]
	blocks   table[granary.BlockID, blockRecord, *blockRecord]
	volumes  table[granary.VolumeID, volumeRecord, *volumeRecord]
	datasets ledger[granary.DatasetID, datasetRecord, *datasetRecord]
	owners   ledger[ownerKey, ownerRecord, *ownerRecord]
	sessions ledger[granary.SessionID, sessionRecord, *sessionRecord]

	log changeLog

	lockNews []lockWaiter // of the batch: whose locks and requests changed
	leases   []leaseNews  // … and what became of leases …

	leasesKept int // … before the item

	fences    []granary.FencingToken // that the request carries
	origin    granary.Origin         // of the request
	moved     []granary.LockID       // path locks that the item has brought elsewhere
	movedDirs []granary.InodeID      // … and directories with what is locked below
	unmet     []granary.InodeID      // … and what path locks are not on any more

	dying *pebble.Iterator // over the extended attributes of what is reclaimed; nil: none yet
	made  granary.InodeID  // that the item has made, the last one

	watched bool // somebody is told what is touched …
	touched []noteKey
	items   []touchedItem

	touchedBefore int // … before the item

	answers     map[granary.SessionID][]storedResult // of the entry
	answersFree []storedResult                       // memory for those of a session

	digestEvery uint64
	sum         uint64 // of the entry's changes: see digest.go
	scratch     []byte

	keys []byte  // memory of a key that is asked for or changed
	enc  encoder // … of a record that is encoded
	dec  decoder // … and of one that is decoded

	numbered       uint64         // versions of objects that the entry made
	grown          []*inodeRecord // without a name, and larger than before the item
	missing        []uint32       // for the result: chunks that a content lacks
	serversChanged bool
	membersChanged bool
}

func newTxn(s *state) *txn {
	t := &txn{
		pending: newPending(s.db, s.recall), answers: map[granary.SessionID][]storedResult{}, digestEvery: s.digestEvery,
	}
	t.inodes.prefix, t.blocks.prefix, t.volumes.prefix = tableInode, tableBlock, tableVolume
	t.datasets.key, t.owners.key, t.sessions.key = keyDataset, keyOwner, keySession
	s.recall.paths.above = t.dirAbove
	must(t.log.load(s.db))
	t.begin(s)
	return t
}

// begin begins a batch.
func (t *txn) begin(s *state) {
	t.head, t.saved = s.head, s.head
	t.lockNews, t.leases, t.leasesKept = t.lockNews[:0], t.leases[:0], 0
	t.touched, t.items, t.touchedBefore = t.touched[:0], t.items[:0], 0
	t.serversChanged, t.membersChanged = false, false
	t.log.begin()
	s.recall.begin()
}

// keep makes the changes of an item part of the batch.
func (t *txn) keep() {
	t.freeBlocks()
	t.inodes.flush(t)
	t.blocks.flush(t)
	t.volumes.flush(t)
	t.datasets.keep()
	t.owners.keep()
	t.sessions.keep()
	t.grown = nil
	if t.watched {
		t.noteTouched()
	}
	t.log.keep()
	t.pending.keep()
	t.pending.recall.names.keep()
	t.pending.recall.paths.keep()
	t.forgetMoved()
	t.leasesKept = len(t.leases)
	t.saved = t.head
	t.made = 0
}

// endEntry adds to the batch what is written once for all items of an entry, and adds all that they changed to the
// digest.
func (t *txn) endEntry() {
	t.datasets.flush(t)
	t.owners.flush(t)
	t.sessions.flush(t)
	t.writeResults()
	t.writeChanges()
	t.pending.keep()
	t.pending.endEntry(func(c *change) { t.sum += digestOf(c.hash, c.value) })
}

// drop forgets the changes of an item.
func (t *txn) drop() {
	t.inodes.reset()
	t.blocks.reset()
	t.volumes.reset()
	t.datasets.drop()
	t.owners.drop()
	t.sessions.drop()
	t.grown = nil
	t.log.drop()
	t.pending.drop()
	t.pending.recall.names.drop()
	t.pending.recall.paths.drop()
	t.forgetMoved()
	t.leases = t.leases[:t.leasesKept]
	t.head = t.saved
	t.made = 0
}

func (t *txn) forgetMoved() {
	t.moved, t.movedDirs, t.unmet = t.moved[:0], t.movedDirs[:0], t.unmet[:0]
}

// must panics on an error of the store: going on would make this replica differ from the others.
func must(err error) {
	if err != nil {
		panic("master: metadata store: " + err.Error())
	}
}

// get returns a value as of now, or nil. Who asks must neither change nor keep it.
func (t *txn) get(k []byte) []byte { return t.pending.get(k) }

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

func (t *txn) del(k []byte) { t.pending.put(k, nil) }

// enqueue puts a removal into the queue.
func enqueue[T any, P record[T]](t *txn, kind queueKind, id uint64, r P) {
	k := keyQueue(kind, id)
	t.pending.recall.queue.note(k)
	store(t, k, r)
	t.head.Queue++
}

// key makes the key of a record. It is good for one call, and until the next key is made.
func (t *txn) key(table byte, id uint64) []byte {
	t.keys = appendKey(t.keys[:0], table, id)
	return t.keys
}

// dentryKey makes the key of a name as key does.
func (t *txn) dentryKey(parent granary.InodeID, name string, dir bool) []byte {
	t.keys = append(appendKey(t.keys[:0], tableDentry, uint64(parent)), name...)
	if dir {
		t.keys = append(t.keys, '/')
	}
	return t.keys
}

// scan calls f for each key in [lower, upper) in order, until f says false. f may change what it has
// seen; keys added during the scan may be missed. Records held by tables are not seen.
func (t *txn) scan(lower, upper []byte, f func(k, v []byte) bool) {
	if bytes.Compare(lower, upper) >= 0 {
		return
	}
	mine := t.pending.ofItem(lower, upper)
	it, err := t.pending.reader().NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	must(err)
	defer func() { must(it.Close()) }()
	ok := it.First()
	for ok || len(mine) > 0 {
		if len(mine) > 0 {
			c := t.pending.changes[mine[0]]
			order := -1
			if ok {
				order = bytes.Compare(c.key, it.Key())
			}
			if order <= 0 {
				mine = mine[1:]
				if order == 0 && ok {
					ok = it.Next()
				}
				if c.value != nil && !f(bytes.Clone(c.key), c.value) {
					return
				}
				continue
			}
		}
		if !f(bytes.Clone(it.Key()), bytes.Clone(it.Value())) {
			return
		}
		ok = it.Next()
	}
	must(it.Error())
}

// decode decodes a record.
func (t *txn) decode(v []byte, r interface{ take(*decoder) }) {
	t.dec = open(v)
	r.take(&t.dec)
	must(t.dec.done())
}

// fetch reads and decodes a record that no table holds; nil if there is none.
func fetch[T any, P record[T]](t *txn, k []byte) P {
	v := t.get(k)
	if v == nil {
		return nil
	}
	r := P(new(T))
	t.decode(v, r)
	return r
}

// store encodes and sets a record.
func store[T any, P record[T]](t *txn, k []byte, r P) { storeLong(t, k, r, 0) }

// storeLong is store of a record that has so many bytes of content.
func storeLong[T any, P record[T]](t *txn, k []byte, r P, content int) {
	t.enc.b = t.pending.arena.room(valueRoom + content)
	t.enc.header(t.index)
	r.put(&t.enc)
	t.pending.put(k, t.pending.arena.take(t.enc.b))
}

// valueRoom is room for nearly every value: longer ones cost a copy.
const valueRoom = 256

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
	for i := range t.blocks.held {
		h := &t.blocks.held[i]
		b := h.record
		if b == nil || !h.dirty || b.Refs > 0 {
			continue
		}
		t.del(keyHash(b.Domain, b.Hash))
		t.leave(&b.Location)
		v := t.volumes.get(t, b.Location.Volume)
		v.LiveBytes -= uint64(b.Location.Length)
		v.DeadBytes += uint64(b.Location.Length)
		t.volumes.touch(b.Location.Volume)
		t.head.UniqueBytes -= uint64(b.RawLength)
		t.head.BlockBytes -= uint64(b.Location.Length)
		t.blocks.remove(h.key)
	}
}
