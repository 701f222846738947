package crc32c

import "hash/crc32"

// PieceSize is how many bytes of a stream one checksum of Pieces covers.
const PieceSize = 64 << 10

// Pieces are the checksums of consecutive bytes of a stream, one for what lies between two multiples of PieceSize. So who has them can tell
// each piece of the stream by itself, and the checksum of all.
type Pieces struct {
	from, to uint64 // of the stream
	sums     []uint32
}

// NewPieces returns the checksums of nothing yet, of what comes from an offset of the stream on; size is about how much.
func NewPieces(offset uint64, size int) *Pieces {
	return &Pieces{from: offset, to: offset, sums: make([]uint32, 0, count(offset, size))}
}

// PiecesOf returns checksums that somebody else has made, of size bytes at an offset of the stream; false if they are not so many.
func PiecesOf(offset uint64, size int, sums []uint32) (*Pieces, bool) {
	if len(sums) != count(offset, size) {
		return nil, false
	}
	return &Pieces{from: offset, to: offset + uint64(size), sums: sums}, true
}

// count returns how many pieces size bytes at an offset lie in.
func count(offset uint64, size int) int {
	if size == 0 {
		return 0
	}
	return int((offset%PieceSize + uint64(size) + PieceSize - 1) / PieceSize)
}

// Cut returns how many of n bytes at an offset lie in one piece.
func Cut(offset uint64, n int) int { return int(min(uint64(n), PieceSize-offset%PieceSize)) }

// Add takes in the bytes that come next.
func (p *Pieces) Add(data []byte) {
	for len(data) > 0 {
		n := Cut(p.to, len(data))
		if p.to == p.from || p.to%PieceSize == 0 {
			p.sums = append(p.sums, 0)
		}
		last := &p.sums[len(p.sums)-1]
		*last = crc32.Update(*last, castagnoli, data[:n])
		data, p.to = data[n:], p.to+uint64(n)
	}
}

// Follow takes in what q has, which begins where a piece of the stream does, and p ends.
func (p *Pieces) Follow(q *Pieces) {
	if q.from != p.to || q.from%PieceSize != 0 && p.from != p.to {
		panic("crc32c: pieces that do not follow")
	}
	p.sums, p.to = append(p.sums, q.sums...), q.to
}

// Sums returns the checksums, in order.
func (p *Pieces) Sums() []uint32 { return p.sums }

// Whole returns the checksum of all bytes.
func (p *Pieces) Whole() uint32 {
	var whole uint32
	at := p.from
	for _, sum := range p.sums {
		n := Cut(at, int(p.to-at))
		whole = Join(whole, sum, n)
		at += uint64(n)
	}
	return whole
}

// Join returns the checksum of something, of which before is that, followed by n bytes, of which sum is that.
func Join(before, sum uint32, n int) uint32 {
	switch {
	case before == 0: // nothing, or zero as well: multiplied it stays so
		return sum
	case n == PieceSize:
		return pieceShift.Join(before, sum)
	case n == pageSize:
		return pageShift.Join(before, sum)
	}
	return ShiftOf(n).Join(before, sum)
}

// pageSize is what is often joined, besides whole pieces.
const pageSize = 4 << 10

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	pieceShift = ShiftOf(PieceSize)
	pageShift  = ShiftOf(pageSize)
)
