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

// first returns the length of the first chunk of p. The end of p counts as the end of the stream if p is shorter than the longest chunk.
func (j *jump) first(p []byte) int {
	if len(p) <= j.normal {
		return len(p)
	}
	p = p[:min(len(p), j.most)]
	for i := j.least; i < len(p); i += j.length {
		var cut bool
		if i, cut = j.scan(p, i); cut {
			return i
		}
	}
	return len(p)
}

// scan returns where, from i on, the hash calls for a jump, or for a cut; len(p) if nowhere.
func (j *jump) scan(p []byte, i int) (at int, cut bool) {
	gear, leap := &jc.G, j.leap
	hash := uint64(0)
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
		if h0&leap == 0 || h1&leap == 0 || h2&leap == 0 || h3&leap == 0 || h4&leap == 0 || h5&leap == 0 || h6&leap == 0 || h7&leap == 0 {
			break // which of them is seen below
		}
		hash = h7
	}
	for ; i < len(p); i++ {
		if hash = hash<<1 + gear[p[i]]; hash&leap == 0 {
			return i, hash&j.cut == 0
		}
	}
	return len(p), false
}
