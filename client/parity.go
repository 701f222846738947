package client

import (
	"errors"
	"hash/crc32"
	"sync"

	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/crc32c"
)

// paritySlice is how much of each shard is encoded before the checksums of the parity are updated: the processor's nearer caches hold it.
const paritySlice = 64 << 10

// encodeParity computes the parity of streams, a shorter one counting as zeros, and its checksums, on so many cores.
func encodeParity(code *erasure.Code, data, parity [][]byte, sums []uint32, cores int) error {
	if len(parity) == 0 || len(parity[0]) == 0 {
		return nil
	}
	length := len(parity[0])
	each := (length/cores/paritySlice + 1) * paritySlice
	parts := make([]parityPart, (length+each-1)/each)
	var wg sync.WaitGroup
	for i := range parts {
		p := &parts[i]
		p.from, p.to = i*each, min(length, (i+1)*each)
		wg.Go(func() { p.encode(code, data, parity) })
	}
	wg.Wait()
	var failed error
	for _, p := range parts {
		failed = errors.Join(failed, p.err)
		shift := crc32c.ShiftOf(p.to - p.from)
		for i := range p.sums {
			sums[i] = shift.Join(sums[i], p.sums[i])
		}
	}
	return failed
}

// parityPart is a range of all shards of a row.
type parityPart struct {
	from, to int
	sums     []uint32 // of the parity there
	err      error
}

func (p *parityPart) encode(code *erasure.Code, data, parity [][]byte) {
	p.sums = make([]uint32, len(parity))
	in, out := make([][]byte, len(data)), make([][]byte, len(parity))
	for from := p.from; from < p.to; from += paritySlice {
		to := min(p.to, from+paritySlice)
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
			p.sums[i] = crc32.Update(p.sums[i], castagnoli(), d)
		}
	}
}
