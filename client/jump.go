package client

import (
	"encoding/binary"
	"math/bits"

	"github.com/PlakarKorp/go-cdc-chunkers/chunkers/jc"
)

// jump finds the content-defined cuts of "jc-v1.0.0" (Jin et al., IEEE TPDS 2023, as that version of the library has it). It rolls
// a Gear hash over the bytes: where the hash has certain bits zero a chunk ends, and where it has all of them but the lowest zero,
// some bytes are jumped over, so that most bytes are never hashed. The library's own loop takes six cycles for each byte that is; this one two.
type jump struct {
	least, normal, most int // lengths of a chunk
	cut                 uint64
	leap                uint64 // cut without its lowest bit
	length              int    // of a jump
}

// newJump returns the cuts for chunks of these lengths; normal is a power of two.
func newJump(least, normal, most int) *jump {
	ones := bits.Len(uint(normal)) - 2
	j := &jump{least: least, normal: normal, most: most, length: 1 << ones}
	for i := range ones { // spread evenly from the highest bit on
		j.cut |= 1 << (63 - i*(64/ones))
	}
	j.leap = j.cut & (j.cut - 1)
	return j
}

// search is how far a chunk that is still coming has been looked through for its end.
type search struct {
	at   int    // bytes that have been looked at or jumped over; 0 if none
	hash uint64 // of the bytes before at
}

// first returns the length of the first chunk of p. The end of p counts as the end of the stream if p is shorter than the longest chunk.
func (j *jump) first(p []byte) int {
	n, _ := j.find(&search{}, p, true)
	return n
}

// find returns the length of the chunk that p begins with, if p is long enough to tell, or is the last of its stream. If not, it is
// called again with the same bytes and some more: it goes on where it stood. Once it has found a chunk, s is fit for the next one.
func (j *jump) find(s *search, p []byte, last bool) (length int, found bool) {
	if len(p) <= j.normal { // the last chunk of a stream may be so short, whatever is in it
		return len(p), last
	}
	p = p[:min(len(p), j.most)]
	for s.at = max(s.at, j.least); s.at < len(p); {
		at, hash, leap := j.scan(p, s.at, s.hash)
		switch {
		case leap && hash&j.cut == 0:
			*s = search{}
			return at, true
		case leap:
			*s = search{at: at + j.length}
		default:
			*s = search{at, hash}
		}
	}
	if last || len(p) == j.most {
		*s = search{}
		return len(p), true
	}
	return 0, false
}

// scan rolls a hash over the bytes from i on, to where it calls for a jump at least: leap says that it does, there; otherwise it stands
// at the end of p.
func (j *jump) scan(p []byte, i int, hash uint64) (at int, rolled uint64, leap bool) {
	gear, mask := &jc.G, j.leap
	for ; i+8 <= len(p); i += 8 {
		w := binary.LittleEndian.Uint64(p[i:])
		h0 := hash<<1 + gear[uint8(w)]
		h1 := h0<<1 + gear[uint8(w>>8)]
		h2 := h1<<1 + gear[uint8(w>>16)]
		h3 := h2<<1 + gear[uint8(w>>24)]
		h4 := h3<<1 + gear[uint8(w>>32)]
		h5 := h4<<1 + gear[uint8(w>>40)]
		h6 := h5<<1 + gear[uint8(w>>48)]
		h7 := h6<<1 + gear[uint8(w>>56)]
		if h0&mask == 0 || h1&mask == 0 || h2&mask == 0 || h3&mask == 0 || h4&mask == 0 || h5&mask == 0 || h6&mask == 0 || h7&mask == 0 {
			break // which of them is seen below
		}
		hash = h7
	}
	for ; i < len(p); i++ {
		if hash = hash<<1 + gear[p[i]]; hash&mask == 0 {
			return i, hash, true
		}
	}
	return len(p), hash, false
}
