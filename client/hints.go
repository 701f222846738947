package client

import (
	"encoding/binary"
	"hash/maphash"
)

const (
	hintSets = 1 << 10
	hintWays = 8
)

// hints remembers thousands of chunks that this client committed lately. A set of them is named by a part of a sum of the chunk's key, and each by
// all of it: 64 bits, so that the memory is the same, and small, however much is written. One chunk hardly ever passes for another, and does no harm then:
// the commit finds out.
type hints struct {
	seed maphash.Seed
	sets [hintSets][hintWays]uint64 // latest first; 0 if there is none
}

func newHints() *hints { return &hints{seed: maphash.MakeSeed()} }

// find returns the set that a chunk belongs to, its sum, and where in the set that is; -1 if it is not.
func (h *hints) find(k *chunkKey) (set *[hintWays]uint64, sum uint64, at int) {
	sum = h.sum(k)
	set = &h.sets[sum%hintSets]
	for i, had := range set {
		if had == sum {
			return set, sum, i
		}
	}
	return set, sum, -1
}

// sum is never 0.
func (h *hints) sum(k *chunkKey) uint64 {
	var m maphash.Hash
	m.SetSeed(h.seed)
	var numbers [13]byte
	binary.LittleEndian.PutUint32(numbers[0:], uint32(k.dataset))
	binary.LittleEndian.PutUint32(numbers[4:], uint32(k.shape.k))
	binary.LittleEndian.PutUint32(numbers[8:], uint32(k.shape.m))
	if k.anew {
		numbers[12] = 1
	}
	m.Write(k.hash[:])
	m.Write(numbers[:])
	m.WriteString(k.shape.class)
	return max(m.Sum64(), 1)
}

// add notes a chunk, in place of what its set has had for longest.
func (h *hints) add(k *chunkKey) {
	set, sum, at := h.find(k)
	if at < 0 {
		at = hintWays - 1
	}
	copy(set[1:], set[:at])
	set[0] = sum
}

// remove forgets a chunk.
func (h *hints) remove(k *chunkKey) {
	if set, _, at := h.find(k); at >= 0 {
		copy(set[at:], set[at+1:])
		set[hintWays-1] = 0
	}
}

// has reports whether a chunk was noted and is not forgotten.
func (h *hints) has(k *chunkKey) bool {
	_, _, at := h.find(k)
	return at >= 0
}
