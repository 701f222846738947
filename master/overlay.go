package master

import (
	"github.com/cockroachdb/pebble/v2"
)

// overlay holds what a batch of entries has changed, before it becomes one write to the store. What many items
// change, such as a directory that they make files in, is written once. Reads of single keys look here first;
// for ranges all is put into an indexed batch (spill), which few batches of entries need.
type overlay struct {
	db      *pebble.DB
	cache   *valueCache
	changed map[string][]byte // nil: deleted
	recent  []string          // changed since the last spill; may name a key more than once
	spilled *pebble.Batch     // nil: nothing was spilled
}

func newOverlay(db *pebble.DB, cache *valueCache) *overlay {
	return &overlay{db: db, cache: cache, changed: make(map[string][]byte)}
}

// get returns a value, or nil. The caller must not change it.
func (o *overlay) get(k []byte) []byte {
	if v, ok := o.changed[string(k)]; ok {
		return v
	}
	if !cacheable(k) {
		return readKey(o.db, k)
	}
	v, ok := o.cache.get(k)
	if !ok {
		v = readKey(o.db, k)
		o.cache.put(string(k), v)
	}
	return v
}

// put changes a value; nil deletes it.
func (o *overlay) put(k string, v []byte) {
	o.changed[k] = v
	o.recent = append(o.recent, k)
}

// reader returns the store as changed so far, for ranges.
func (o *overlay) reader() pebble.Reader {
	if o.spilled == nil {
		o.spilled = o.db.NewIndexedBatch()
	}
	for _, k := range o.recent {
		write(o.spilled, k, o.changed[k])
	}
	o.recent = o.recent[:0]
	return o.spilled
}

// commit writes all changes at once, and the cache learns them.
func (o *overlay) commit() {
	b := o.spilled
	if b == nil {
		b = o.db.NewBatch()
		for k, v := range o.changed {
			write(b, k, v)
		}
	} else {
		o.reader()
	}
	must(b.Commit(pebble.NoSync))
	must(b.Close())
	for k, v := range o.changed {
		if cacheable([]byte(k)) {
			o.cache.put(k, v)
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

// cacheable says which values are worth remembering between batches: those that one entry after the other reads.
func cacheable(k []byte) bool {
	switch k[0] {
	case tableInode, tableSession, tableDataset, tableVolume, tablePolicy:
		return true
	}
	return false
}

// valueCache remembers values of the store for the goroutine that applies: nothing else changes them. It keeps
// what was used among the last cacheGeneration to twice as many.
type valueCache struct{ young, old map[string][]byte }

const (
	cacheGeneration = 8192 // values
	cacheValueMax   = 1024 // bytes of a value that is kept
)

func newValueCache() *valueCache { return &valueCache{young: make(map[string][]byte)} }

func (c *valueCache) get(k []byte) ([]byte, bool) {
	if v, ok := c.young[string(k)]; ok {
		return v, true
	}
	v, ok := c.old[string(k)]
	if ok {
		c.put(string(k), v)
	}
	return v, ok
}

func (c *valueCache) put(k string, v []byte) {
	if len(v) > cacheValueMax {
		delete(c.young, k)
		delete(c.old, k)
		return
	}
	if len(c.young) >= cacheGeneration {
		c.young, c.old = make(map[string][]byte, cacheGeneration), c.young
	}
	c.young[k] = v
}
