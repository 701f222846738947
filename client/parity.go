package client

import (
	"errors"
	"sync"

	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/crc32c"
)

// encodeParity computes the parity of streams that begin at an offset, a shorter one counting as zeros, and its checksums, on so many cores. Of each shard it
// encodes one piece, then takes its checksum: the processor's nearer caches hold it.
func encodeParity(code *erasure.Code, data, parity [][]byte, offset uint64, sums []*crc32c.Pieces, cores int) error {
	for i, p := range parity {
		sums[i] = crc32c.NewPieces(offset, len(p))
	}
	if len(parity) == 0 || len(parity[0]) == 0 {
		return nil
	}
	length := len(parity[0])
	each := (length/cores/crc32c.PieceSize + 1) * crc32c.PieceSize
	var parts []*parityPart
	for from := 0; from < length; {
		whole := each - int((offset+uint64(from))%crc32c.PieceSize) // up to where a piece ends
		parts = append(parts, &parityPart{from: from, to: min(length, from+whole)})
		from += whole
	}
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() { p.encode(code, data, parity, offset) })
	}
	wg.Wait()
	var failed error
	for _, p := range parts {
		failed = errors.Join(failed, p.err)
		for i := range p.sums {
			sums[i].Follow(p.sums[i])
		}
	}
	return failed
}

// parityPart is a range of all shards of a row.
type parityPart struct {
	from, to int
	sums     []*crc32c.Pieces // of the parity there
	err      error
}

func (p *parityPart) encode(code *erasure.Code, data, parity [][]byte, offset uint64) {
	sums := make([]*crc32c.Pieces, len(parity))
	for i := range sums {
		sums[i] = crc32c.NewPieces(offset+uint64(p.from), p.to-p.from)
	}
	in, out := make([][]byte, len(data)), make([][]byte, len(parity))
	for from := p.from; from < p.to; {
		to := from + crc32c.Cut(offset+uint64(from), p.to-from)
		for i, d := range data {
			in[i] = d[min(len(d), from):min(len(d), to)]
		}
		for i, d := range parity {
			out[i] = d[from:to]
		}
		if p.err = code.Encode(in, out); p.err != nil {
			return
		}
		for i, d := range out {
			sums[i].Add(d)
		}
		from = to
	}
	p.sums = sums
}
