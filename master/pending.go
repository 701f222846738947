package master

import (
	"bytes"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// pending holds what a batch of entries has changed, before it becomes one write to the store. What many items
// change, such as a directory that they make files in, is written once. An item's changes are kept or dropped at its
// end. Reads of single keys look here first; for ranges all that was kept is put into an indexed batch (spill), which few
// batches of entries need.
//
// It is used for one batch after the other, so that the memory it needs is there already.
type pending struct {
	db     *pebble.DB
	recall *recall
	arena  arena // keys and values

	changes []change
	slots   []int32 // where in changes a key is, plus one, by its hash: open addressing, at most half of it in use
	item    int     // which of the batch
	undo    []undo  // what the item changed, each once
	entry   []int32 // what was changed by items of the entry that were kept, each once
	recent  []int32 // kept since the last spill; may name a key more than once
	order   []int32

	spilled *pebble.Batch // nil: nothing was spilled
	touched ringPlace     // so that what remember looks at is looked at
	cut     [2][]byte     // keys from the first to before the second go, whatever the batch has of them; nil for none
}

// change is a key with its new value.
type change struct {
	key, value []byte // nil: deleted
	hash       uint64 // of the key
	item       int    // that changed it last
	made       bool   // false if only items changed it that were dropped: then this says nothing
	inEntry    bool   // it is in pending.entry
}

// undo is how a change was before an item.
type undo struct {
	at    int32
	value []byte
	made  bool
}

const (
	pendingSlots = 1 << 10
	pendingKept  = 1 << 13 // changes whose memory stays for the next batch
)

func newPending(db *pebble.DB, recall *recall) *pending {
	return &pending{db: db, recall: recall, item: 1, slots: make([]int32, pendingSlots)}
}

// find returns the index of a key among the changes, or -1.
func (p *pending) find(hash uint64, k []byte) int32 {
	mask := uint64(len(p.slots) - 1)
	for i := hash & mask; p.slots[i] != 0; i = (i + 1) & mask {
		at := p.slots[i] - 1
		if c := &p.changes[at]; c.hash == hash && bytes.Equal(c.key, k) {
			return at
		}
	}
	return -1
}

// insert adds a key to the changes.
func (p *pending) insert(hash uint64, k []byte) int32 {
	at := int32(len(p.changes))
	p.changes = append(p.changes, change{key: p.arena.copy(k), hash: hash})
	if 2*len(p.changes) <= len(p.slots) {
		p.place(hash, at)
		return at
	}
	p.slots = make([]int32, 2*len(p.slots))
	for i := range p.changes {
		p.place(p.changes[i].hash, int32(i))
	}
	return at
}

func (p *pending) place(hash uint64, at int32) {
	mask := uint64(len(p.slots) - 1)
	i := hash & mask
	for p.slots[i] != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = at + 1
}

// get returns a value as of now, or nil. The caller must not change it, nor keep it.
func (p *pending) get(k []byte) []byte {
	hash := xxhash.Sum64(k)
	if at := p.find(hash, k); at >= 0 && p.changes[at].made {
		return p.changes[at].value
	}
	if !cacheable(k) {
		return readKey(p.db, k)
	}
	v, ok := p.recall.values.get(hash, k)
	if !ok {
		v = readKey(p.db, k)
		p.recall.values.put(hash, k, v)
	}
	return v
}

// has reports whether what is pending has a value for a key.
func (p *pending) has(k []byte) bool {
	at := p.find(xxhash.Sum64(k), k)
	return at >= 0 && p.changes[at].made && p.changes[at].value != nil
}

// put changes a value, which must stay as it is until commit; nil deletes it.
func (p *pending) put(k, v []byte) {
	hash := xxhash.Sum64(k)
	at := p.find(hash, k)
	if at < 0 {
		at = p.insert(hash, k)
	}
	c := &p.changes[at]
	if c.item != p.item {
		p.undo = append(p.undo, undo{at, c.value, c.made})
		c.item = p.item
	}
	c.value, c.made = v, true
}

// keep makes the changes of the item part of the batch. What comes next is another item.
func (p *pending) keep() {
	for _, u := range p.undo {
		if c := &p.changes[u.at]; !c.inEntry {
			c.inEntry = true
			p.entry = append(p.entry, u.at)
		}
		p.recent = append(p.recent, u.at)
	}
	p.next()
}

// drop forgets the changes of the item. What comes next is another item.
func (p *pending) drop() {
	for _, u := range p.undo {
		c := &p.changes[u.at]
		c.value, c.made = u.value, u.made
	}
	p.next()
}

func (p *pending) next() {
	p.undo = p.undo[:0]
	p.item++
}

// endEntry calls f for all that items of the entry changed that were kept, as the last of them left it.
func (p *pending) endEntry(f func(c *change)) {
	for _, at := range p.entry {
		c := &p.changes[at]
		c.inEntry = false
		f(c)
	}
	p.entry = p.entry[:0]
}

// ofItem returns which of the changes of the item have keys in [lower, upper), in their order.
func (p *pending) ofItem(lower, upper []byte) []int32 {
	var mine []int32
	for _, u := range p.undo {
		if k := p.changes[u.at].key; bytes.Compare(k, lower) >= 0 && bytes.Compare(k, upper) < 0 {
			mine = append(mine, u.at)
		}
	}
	p.sort(mine)
	return mine
}

func (p *pending) sort(all []int32) {
	slices.SortFunc(all, func(a, b int32) int { return bytes.Compare(p.changes[a].key, p.changes[b].key) })
}

// reader returns the store, for ranges, with all that was kept so far. What the item itself changed may be there as it
// was, or lack changes of items before it: ofItem says which.
func (p *pending) reader() pebble.Reader {
	if p.spilled == nil {
		p.spilled = p.db.NewIndexedBatch()
	}
	left := p.recent[:0]
	for _, at := range p.recent {
		if c := &p.changes[at]; c.item != p.item {
			c.write(p.spilled)
		} else {
			left = append(left, at)
		}
	}
	p.recent = left
	return p.spilled
}

// commit writes all that was kept at once, and recall learns it. Then pending is empty.
func (p *pending) commit() {
	b := p.spilled
	if b == nil {
		b = p.db.NewBatch()
		p.order = p.order[:0]
		for i := range p.changes {
			if p.changes[i].made {
				p.order = append(p.order, int32(i))
			}
		}
		p.sort(p.order) // the memtable finds the place of a key quickly from that of the key before
		for _, at := range p.order {
			p.changes[at].write(b)
		}
	} else {
		p.reader()
	}
	if p.cut[0] != nil { // after all else: nothing that is there was written since the item that cut it
		must(b.DeleteRange(p.cut[0], p.cut[1], nil))
	}
	must(b.Commit(pebble.NoSync))
	must(b.Close())
	p.remember()
	p.reset()
}

// remember has recall learn what was written. The places are looked at first, all of them: so the processor waits for them
// at once, rather than for each in its turn.
func (p *pending) remember() {
	values, seen := p.recall.values, ringPlace(0)
	for i := range p.changes {
		seen |= values.group(p.changes[i].hash)[0]
	}
	p.touched = seen
	for i := range p.changes {
		if c := &p.changes[i]; c.made && cacheable(c.key) {
			values.put(c.hash, c.key, c.value)
		}
	}
}

// reset makes it empty.
func (p *pending) reset() {
	if len(p.changes) > pendingKept {
		*p = *newPending(p.db, p.recall)
		return
	}
	clear(p.changes)
	clear(p.slots)
	p.changes, p.undo, p.entry, p.recent, p.spilled, p.item = p.changes[:0], p.undo[:0], p.entry[:0], p.recent[:0], nil, 1
	p.cut = [2][]byte{}
	p.arena.reset()
}

func (c *change) write(b *pebble.Batch) {
	if c.value == nil {
		must(b.Delete(c.key, nil))
	} else {
		must(b.Set(c.key, c.value, nil))
	}
}

// cacheable says which values are worth remembering between batches: those that one entry after the other reads, and
// those of files, which are often changed again soon after they were made.
func cacheable(k []byte) bool {
	switch k[0] {
	case tableInode, tableDentry, tableSession, tableDataset, tableOwner, tableVolume, tablePolicy, tableDelegation:
		return true
	}
	return false
}
