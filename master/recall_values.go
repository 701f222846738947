package master

import (
	"encoding/binary"
	"math/bits"
)

// recalledValues is the values of the store that were written or read last, as many as go into its memory. Each lies
// with its key in a ring of bytes, where the next ones overwrite the oldest, and is found by a table of places in that
// ring. So there is nothing in it that the garbage collector would look at, and its size is what was asked for.
//
// An entry of the ring begins at a multiple of 8 bytes: the length of the key (2 bytes), one more than the length of
// the value (2 bytes; 0 says that the store has no such key), the key and the value.
type recalledValues struct {
	ring []byte
	head uint64   // bytes ever written, or left out at the end of the ring: the next entry begins at head modulo its length
	set  []uint64 // places, in groups of recallGroup; see ringPlace
}

const (
	recallGroup    = 8    // places where a key may be found
	recallValueMax = 1024 // bytes of a value that is remembered
	recallEntry    = 80   // bytes of the ring for each place in the table, at most; half of that at least

	ringHeader = 4
	ringAlign  = 8
	ringMin    = 64 << 10
	placeBits  = 48
)

// newRecalledValues takes about so much memory.
func newRecalledValues(bytes int64) *recalledValues {
	ring := max(ringMin, bytes*5/6/ringAlign*ringAlign) // the table takes the rest
	groups := uint64(1) << bits.Len64(uint64(ring)/recallEntry/recallGroup)
	return &recalledValues{ring: make([]byte, ring), set: make([]uint64, groups*recallGroup)}
}

// ringPlace is where an entry begins, in units of ringAlign and counted without end, and above that 16 bits of the hash of
// its key. 0 is none: head begins at no entry.
type ringPlace = uint64

func placeOf(at, hash uint64) ringPlace { return at/ringAlign + 1 | hash>>placeBits<<placeBits }

// at is where an entry begins, of all bytes ever written.
func placeAt(p ringPlace) uint64 { return (p&(1<<placeBits-1) - 1) * ringAlign }

func (r *recalledValues) group(hash uint64) []ringPlace {
	first := hash & (uint64(len(r.set)/recallGroup) - 1) * recallGroup
	return r.set[first : first+recallGroup]
}

// live reports whether the entry at a place has not been overwritten.
func (r *recalledValues) live(p ringPlace) bool {
	return p != 0 && placeAt(p)+uint64(len(r.ring)) >= r.head
}

// entry takes an entry of the ring apart; there says whether the store has the key.
func (r *recalledValues) entry(p ringPlace) (k, v []byte, there bool) {
	e := r.ring[placeAt(p)%uint64(len(r.ring)):]
	n, m := int(binary.LittleEndian.Uint16(e)), int(binary.LittleEndian.Uint16(e[2:]))
	k = e[ringHeader : ringHeader+n]
	if m == 0 {
		return k, nil, false
	}
	end := ringHeader + n + m - 1
	return k, e[ringHeader+n : end : end], true
}

// find returns the index in its group of a key's place, or -1.
func (r *recalledValues) find(group []ringPlace, hash uint64, k []byte) int {
	for i, p := range group {
		if p>>placeBits == hash>>placeBits && r.live(p) {
			if key, _, _ := r.entry(p); string(key) == string(k) {
				return i
			}
		}
	}
	return -1
}

// get returns what is remembered of a key, whose hash is given: its value, nil if the store has none. The value is to be
// read before the next get or put.
func (r *recalledValues) get(hash uint64, k []byte) (v []byte, ok bool) {
	group := r.group(hash)
	i := r.find(group, hash, k)
	if i < 0 {
		return nil, false
	}
	p := group[i]
	_, v, there := r.entry(p)
	if there && r.head-placeAt(p) > uint64(len(r.ring))/2 { // what is used stays
		group[i] = r.write(hash, k, v)
		_, v, _ = r.entry(group[i])
	}
	return v, true
}

// put remembers a value; nil says that the store has none.
func (r *recalledValues) put(hash uint64, k, v []byte) {
	group := r.group(hash)
	i := r.find(group, hash, k)
	switch {
	case len(v) > recallValueMax || len(k) > recallValueMax:
		if i >= 0 {
			group[i] = 0
		}
		return
	case i < 0:
		i = r.oldest(group)
	case r.replace(group[i], v):
		return
	}
	group[i] = r.write(hash, k, v)
}

// replace puts a value in the place of one of the same length.
func (r *recalledValues) replace(p ringPlace, v []byte) bool {
	_, old, there := r.entry(p)
	if !there || v == nil || len(old) != len(v) || r.head-placeAt(p) > uint64(len(r.ring))/2 {
		return false
	}
	copy(old, v)
	return true
}

// oldest returns the index of the place that is given up for another key.
func (r *recalledValues) oldest(group []ringPlace) int {
	least := 0
	for i, p := range group {
		if !r.live(p) {
			return i
		}
		if placeAt(p) < placeAt(group[least]) {
			least = i
		}
	}
	return least
}

// write puts an entry into the ring. The value may lie in the ring itself.
func (r *recalledValues) write(hash uint64, k, v []byte) ringPlace {
	size := uint64(len(r.ring))
	n := uint64(ringHeader+len(k)+len(v)+ringAlign-1) / ringAlign * ringAlign
	if at := r.head % size; at+n > size { // an entry is in one piece
		r.head += size - at
	}
	at := r.head
	r.head += n
	e := r.ring[at%size : at%size+n]
	copy(e[ringHeader+len(k):], v) // first, because it may lie where the rest goes
	copy(e[ringHeader:], k)
	length := 0
	if v != nil {
		length = len(v) + 1
	}
	binary.LittleEndian.PutUint16(e, uint16(len(k)))
	binary.LittleEndian.PutUint16(e[2:], uint16(length))
	return placeOf(at, hash)
}
