package sha256pair

import (
	"crypto/sha256"
	"encoding/binary"
	"unsafe"
)

// state is a state of SHA-256 in the order that the instructions want: f, e, b, a, h, g, d and c.
type state [8]uint32

// initial is what a message begins with.
func initial() state {
	return state{0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667, 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372}
}

// sum returns what the state says as a checksum.
func (s *state) sum() (sum [sha256.Size]byte) {
	for i, at := range [8]int{3, 2, 7, 6, 1, 0, 5, 4} {
		binary.BigEndian.PutUint32(sum[4*i:], s[at])
	}
	return sum
}

// Sum returns the SHA-256 of both messages. They are computed together if they are of the same length.
func Sum(a, b []byte) (sumA, sumB [sha256.Size]byte) {
	if len(a) != len(b) || !supported() {
		return sha256.Sum256(a), sha256.Sum256(b)
	}
	stateA, stateB := initial(), initial()
	whole := len(a) &^ (sha256.BlockSize - 1)
	if whole > 0 {
		blocks(&stateA, &stateB, unsafe.SliceData(a), unsafe.SliceData(b), whole/sha256.BlockSize)
	}
	endA, count := end(a[whole:], len(a))
	endB, _ := end(b[whole:], len(b))
	blocks(&stateA, &stateB, &endA[0], &endB[0], count)
	return stateA.sum(), stateB.sum()
}

// end returns the last blocks of a message of so many bytes, from what is left of it after its whole blocks, and how many there are.
func end(left []byte, length int) (last [2 * sha256.BlockSize]byte, count int) {
	n := copy(last[:], left)
	last[n] = 0x80
	count = 1
	if n+1+8 > sha256.BlockSize {
		count = 2
	}
	binary.BigEndian.PutUint64(last[count*sha256.BlockSize-8:], uint64(length)<<3)
	return last, count
}
