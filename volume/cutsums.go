package volume

import (
	"hash/crc32"

	"github.com/dsorchard/granary/internal/crc32c"
)

// cutSums are the checksums of data at an offset of a stream: of what lies in each piece of the stream, and of all. So data are looked at
// once, for the check against what their sender says and for what is remembered of the pieces.
type cutSums struct {
	whole uint32
	parts []uint32 // the first and the last may be of less than a piece
}

// pieceShift is over a whole piece, and pageShift over a page.
var (
	pieceShift = crc32c.ShiftOf(sumPiece)
	pageShift  = crc32c.ShiftOf(pageSize)
)

// sumsOf computes them.
func sumsOf(data []byte, offset uint64) *cutSums {
	s := new(cutSums)
	s.parts = make([]uint32, 0, len(data)/sumPiece+2)
	for len(data) > 0 {
		n := toCut(len(data), offset)
		s.add(crc32.Checksum(data[:n], castagnoli), n)
		data, offset = data[n:], offset+uint64(n)
	}
	return s
}

// add takes in the checksum of the n bytes up to the next cut.
func (s *cutSums) add(crc uint32, n int) {
	s.parts = append(s.parts, crc)
	s.whole = join(s.whole, crc, n)
}

// toCut returns how many of n bytes at an offset lie in one piece.
func toCut(n int, offset uint64) int { return int(min(uint64(n), sumPiece-offset%sumPiece)) }

// join returns the checksum of something followed by n bytes.
func join(before, crc uint32, n int) uint32 {
	if before == 0 { // nothing, or zero as well: multiplied it stays so
		return crc
	}
	switch n {
	case sumPiece:
		return pieceShift.Join(before, crc)
	case pageSize:
		return pageShift.Join(before, crc)
	}
	return crc32c.ShiftOf(n).Join(before, crc)
}
