package block

import (
	"hash/crc32"

	"github.com/dsorchard/granary"
)

// Apart is where frames of an uncompressed block are read to so that their plaintext lies in one piece: each payload after the one before
// it, and the trailers elsewhere.
type Apart struct {
	Offset int      // in the block, from where on …
	Parts  [][]byte // … these are filled, one after the other
	Before int      // bytes of plaintext that come before the range, as its first frame has them

	frames Frames
	first  int    // frame
	plain  []byte // what the payloads have of the range
}

// Apart returns where the frames go that cover a range of the plaintext: as many of them, from the first on, as room holds. Without
// any there are no Parts. The range must lie within the chunk.
func (f Frames) Apart(room []byte, rawOffset, rawLength int) Apart {
	a := Apart{frames: f, first: rawOffset / f.size, Before: rawOffset % f.size}
	a.Offset = HeaderSize + a.first*(f.size+TrailerSize)
	most := min((a.Before+rawLength+f.size-1)/f.size, len(room)/f.size+1) // frames; the last of a chunk may be shorter
	trailers := make([]byte, most*TrailerSize)
	a.Parts = make([][]byte, 0, 2*most)
	used := 0
	for i := range most {
		n := frameLength(a.first+i, f.raw, f.size)
		if used+n > len(room) {
			break
		}
		a.Parts = append(a.Parts, room[used:used+n], trailers[i*TrailerSize:(i+1)*TrailerSize])
		used += n
	}
	if used > a.Before {
		a.plain = room[a.Before:min(used, a.Before+rawLength)]
	}
	return a
}

// Verify verifies what Parts were filled with as frames of the chunk with the given hash, and returns the part of the range that they
// hold, which lies in what was given as room. What does not hold is KindCorrupt.
func (a *Apart) Verify(hash granary.Hash) ([]byte, error) {
	for i := 0; i < len(a.Parts); i += 2 {
		payload, trailer := a.Parts[i], a.Parts[i+1]
		sum := crc32.Update(checksum(payload), crc32.MakeTable(crc32.Castagnoli), trailer[:TrailerSize-4])
		if err := checkTrailer(trailer, sum, hash, a.first+i/2, false); err != nil {
			return nil, err
		}
	}
	return a.plain, nil
}
