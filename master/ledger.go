package master

// ledger holds the records that nearly every item changes: the sums of a dataset and of an owner. Items change them in
// memory, and they are encoded once an entry, not once an item.
//
// What reaches the store does not depend on how entries are split into batches: a record is written at the end of each
// entry whose items changed it, with that entry's index. A record that is all zero is not stored.
type ledger[K comparable, T comparable, P record[T]] struct {
	key     func(K) []byte
	held    map[K]*account[T]
	changed []K // by the item, in the order of the first change
	written []K // by items of the entry that were kept
}

type account[T any] struct {
	now     T
	kept    T // as the items before left it
	changed bool
	written bool
}

// get returns the record; all zero if there is none. Who changes it must touch it.
func (l *ledger[K, T, P]) get(t *txn, k K) P {
	if a, ok := l.held[k]; ok {
		return P(&a.now)
	}
	a := &account[T]{}
	if r := fetch[T, P](t, l.key(k)); r != nil {
		a.now, a.kept = *r, *r
	}
	if l.held == nil {
		l.held = map[K]*account[T]{}
	}
	l.held[k] = a
	return P(&a.now)
}

// touch marks a record that was got as changed by the item.
func (l *ledger[K, T, P]) touch(k K) {
	if a := l.held[k]; !a.changed {
		a.changed = true
		l.changed = append(l.changed, k)
	}
}

// remove makes a record all zero.
func (l *ledger[K, T, P]) remove(t *txn, k K) {
	var zero T
	*l.get(t, k) = zero
	l.touch(k)
}

// forget makes a record that is held all zero if this entry changed it; else it just lets go of it, because the caller
// removes what is in the store.
func (l *ledger[K, T, P]) forget(k K) {
	a := l.held[k]
	if !a.changed && !a.written {
		delete(l.held, k)
		return
	}
	var zero T
	a.now = zero
	l.touch(k)
}

// keep makes the changes of the item last.
func (l *ledger[K, T, P]) keep() {
	for _, k := range l.changed {
		a := l.held[k]
		a.changed = false
		if a.now == a.kept {
			continue
		}
		a.kept = a.now
		if !a.written {
			a.written = true
			l.written = append(l.written, k)
		}
	}
	l.changed = l.changed[:0]
}

// drop forgets the changes of the item.
func (l *ledger[K, T, P]) drop() {
	for _, k := range l.changed {
		a := l.held[k]
		a.changed, a.now = false, a.kept
	}
	l.changed = l.changed[:0]
}

// flush moves what the entry changed to the txn, and forgets all.
func (l *ledger[K, T, P]) flush(t *txn) {
	var zero T
	for _, k := range l.written {
		a := l.held[k]
		a.written = false
		if a.kept == zero {
			t.del(l.key(k))
		} else {
			store[T, P](t, l.key(k), P(&a.kept))
		}
	}
	l.written = l.written[:0]
	clear(l.held) // what an entry writes must not depend on which entries came before it in the batch
}
