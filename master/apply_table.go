package master

// table holds the decoded records that an item works on, so that all who ask for one get the same. They are the table's
// own: at the end of the item it uses their memory for others.
type table[K ~uint64, T any, P record[T]] struct {
	prefix byte // of the keys
	held   []heldRecord[K, T]
	index  map[K]int // where in held a key is, if there are many
	free   []*T
}

type heldRecord[K ~uint64, T any] struct {
	key    K
	record *T // nil: deleted, or never there
	dirty  bool
}

const (
	tableFew  = 16   // records of an item among which one is sought without an index
	tableFree = 1024 // records whose memory is kept
)

// find returns what is held of a key, or nil.
func (b *table[K, T, P]) find(k K) *heldRecord[K, T] {
	if len(b.held) > tableFew {
		if i, ok := b.index[k]; ok {
			return &b.held[i]
		}
		return nil
	}
	for i := range b.held {
		if b.held[i].key == k {
			return &b.held[i]
		}
	}
	return nil
}

// get returns the record, or nil. Who changes it must touch it; nobody uses it after the item.
func (b *table[K, T, P]) get(t *txn, k K) P {
	if h := b.find(k); h != nil {
		return P(h.record)
	}
	var r P
	if v := t.get(t.key(b.prefix, uint64(k))); v != nil {
		r = b.spare()
		t.decode(v, r)
	}
	b.hold(k, r, false)
	return r
}

// spare returns a record to be filled.
func (b *table[K, T, P]) spare() P {
	n := len(b.free)
	if n == 0 {
		return P(new(T))
	}
	r := b.free[n-1]
	b.free = b.free[:n-1]
	return P(r)
}

func (b *table[K, T, P]) hold(k K, r P, dirty bool) {
	if h := b.find(k); h != nil {
		h.record, h.dirty = (*T)(r), dirty
		return
	}
	b.held = append(b.held, heldRecord[K, T]{k, (*T)(r), dirty})
	switch n := len(b.held); {
	case n == tableFew+1:
		if b.index == nil {
			b.index = make(map[K]int, 4*tableFew)
		}
		for i := range b.held {
			b.index[b.held[i].key] = i
		}
	case n > tableFew:
		b.index[k] = n - 1
	}
}

func (b *table[K, T, P]) add(k K, r P) { b.hold(k, r, true) }
func (b *table[K, T, P]) remove(k K)   { b.hold(k, nil, true) }
func (b *table[K, T, P]) touch(k K)    { b.find(k).dirty = true }

// flush moves the changes to the txn.
func (b *table[K, T, P]) flush(t *txn) {
	for i := range b.held {
		switch h := &b.held[i]; {
		case !h.dirty:
		case h.record == nil:
			t.del(t.key(b.prefix, uint64(h.key)))
		default:
			store(t, t.key(b.prefix, uint64(h.key)), P(h.record))
		}
	}
	b.reset()
}

// reset lets go of all.
func (b *table[K, T, P]) reset() {
	if len(b.held) > tableFew {
		clear(b.index)
	}
	for i := range b.held {
		if r := b.held[i].record; r != nil && len(b.free) < tableFree {
			var zero T
			*r = zero
			b.free = append(b.free, r)
		}
	}
	clear(b.held)
	b.held = b.held[:0]
}
