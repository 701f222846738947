package master

import (
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// pending holds what a batch of entries has changed, before it becomes one write to the store. What many items
// change, such as a directory that they make files in, is written once. Reads of single keys look here first;
// for ranges all is put into an indexed batch (spill), which few batches of entries need.
type pending struct {
	db      *pebble.DB
	recall  *recall
	changed map[string][]byte // nil: deleted
	recent  []string          // changed since the last spill; may name a key more than once
	spilled *pebble.Batch     // nil: nothing was spilled
}

func newPending(db *pebble.DB, recall *recall) *pending {
	return &pending{db: db, recall: recall, changed: make(map[string][]byte)}
}

// get returns a value, or nil. The caller must not change it.
func (p *pending) get(k []byte) []byte {
	if v, ok := p.changed[string(k)]; ok {
		return v
	}
	if !cacheable(k) {
		return readKey(p.db, k)
	}
	hash := xxhash.Sum64(k)
	v, ok := p.recall.values.get(hash, k)
	if !ok {
		v = readKey(p.db, k)
		p.recall.values.put(hash, k, v)
	}
	return v
}

// put changes a value; nil deletes it.
func (p *pending) put(k string, v []byte) {
	p.changed[k] = v
	p.recent = append(p.recent, k)
}

// reader returns the store as changed so far, for ranges.
func (p *pending) reader() pebble.Reader {
	if p.spilled == nil {
		p.spilled = p.db.NewIndexedBatch()
	}
	for _, k := range p.recent {
		write(p.spilled, k, p.changed[k])
	}
	p.recent = p.recent[:0]
	return p.spilled
}

// commit writes all changes at once, and recall learns them.
func (p *pending) commit() {
	b := p.spilled
	if b == nil {
		b = p.db.NewBatch()
		keys := make([]string, 0, len(p.changed))
		for k := range p.changed {
			keys = append(keys, k)
		}
		slices.Sort(keys) // the memtable finds the place of a key quickly from that of the key before
		for _, k := range keys {
			write(b, k, p.changed[k])
		}
	} else {
		p.reader()
	}
	must(b.Commit(pebble.NoSync))
	must(b.Close())
	for k, v := range p.changed {
		if cacheable([]byte(k)) {
			p.recall.values.put(xxhash.Sum64String(k), []byte(k), v)
		}
	}
}

func write(b *pebble.Batch, k string, v []byte) {
	if v == nil {
		must(b.Delete([]byte(k), nil))
	} else {
		must(b.Set([]byte(k), v, nil))
	}
}

// cacheable says which values are worth remembering between batches: those that one entry after the other reads, and
// those of files, which are often changed again soon after they were made.
func cacheable(k []byte) bool {
	switch k[0] {
	case tableInode, tableDentry, tableSession, tableDataset, tableOwner, tableVolume, tablePolicy:
		return true
	}
	return false
}
