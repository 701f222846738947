package block

import (
	"encoding/binary"

	"github.com/dsorchard/granary"
)

// Index says where the frames of a block lie: its header and table, verified. With it a range of a compressed block is
// read without the rest. It is immutable, and true for as long as the block lies where it was read.
type Index struct {
	Header
	offsets    []uint32 // of each frame, and of the end
	compressed []bool   // whether the frame's payload is
}

// IndexSizeMax returns how many bytes at the start of a block hold its index, if it is of rawLength bytes of plaintext.
func IndexSizeMax(rawLength uint32) int {
	return HeaderSize + entrySize*frames(int(rawLength), frameSize)
}

// ParseIndex verifies the header and table of the block of a chunk, from the first IndexSizeMax bytes of it or more.
// Its errors are those of ParseHeader.
func ParseIndex(b []byte, want granary.Hash) (*Index, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.Hash != want {
		return nil, corrupt(want.String(), "the block there is %s", h.Hash)
	}
	n := h.frames()
	x := &Index{Header: h, offsets: make([]uint32, n+1), compressed: make([]bool, n)}
	if h.Codec == granary.CompressionNone {
		for i := range n {
			x.offsets[i] = uint32(HeaderSize + i*(h.FrameSize+TrailerSize))
		}
		x.offsets[n] = h.StoredLength
		return x, nil
	}
	if len(b) < h.framesOffset() {
		return nil, corrupt(want.String(), "%d bytes do not hold the frame table", len(b))
	}
	if err := x.parseTable(b[HeaderSize:h.framesOffset()]); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *Index) parseTable(table []byte) error {
	if got := checksum(table); got != x.TableCRC32C {
		return corrupt(x.Hash.String(), "frame table has CRC32C %08x, header says %08x", got, x.TableCRC32C)
	}
	offset := uint32(x.framesOffset())
	for i := range x.compressed {
		entry, plain := binary.LittleEndian.Uint32(table[i*entrySize:]), uint32(x.frameLength(i))
		stored := entry &^ entryRaw
		x.compressed[i] = entry&entryRaw == 0
		if stored == 0 || x.compressed[i] && stored >= plain || !x.compressed[i] && stored != plain {
			return corrupt(x.Hash.String(), "frame %d has table entry %#x for %d bytes", i, entry, plain)
		}
		x.offsets[i] = offset
		offset += stored + TrailerSize
	}
	if offset != x.StoredLength {
		return corrupt(x.Hash.String(), "frames end at %d, stored length is %d", offset, x.StoredLength)
	}
	x.offsets[len(x.compressed)] = offset
	return nil
}

// Span returns which bytes of the block hold the frames that cover the plaintext range [rawOffset,
// rawOffset+rawLength), trailers included. The range must lie within the chunk; of an empty one the span is empty.
func (x *Index) Span(rawOffset, rawLength int) (storedOffset, storedLength int) {
	if rawLength <= 0 {
		return int(x.offsets[0]), 0
	}
	first, last := rawOffset/x.FrameSize, (rawOffset+rawLength-1)/x.FrameSize
	return int(x.offsets[first]), int(x.offsets[last+1] - x.offsets[first])
}
