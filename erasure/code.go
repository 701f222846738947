package erasure

import (
	"fmt"

	"github.com/klauspost/reedsolomon"

	"github.com/dsorchard/granary"
)

const (
	// largeShardMin is the shard length above which one call is spread over goroutines. Below it
	// callers that work on many rows at once make better use of the cores.
	largeShardMin = 1 << 20
	// zerosSize bounds the piece in which streams of unequal length are encoded past the end of a
	// shorter one. The library is as fast on 64 KiB as on 1 MiB.
	zerosSize = 64 << 10
)

// Code is a Reed–Solomon code of k data and m parity shards. It is immutable and safe for concurrent
// use. Making one costs a matrix inversion and its tables, so keep it: see Cache.
type Code struct {
	k, m  int
	small reedsolomon.Encoder // one goroutine
	large reedsolomon.Encoder // as many as pay
	zeros []byte              // never written
}

// New returns the code of k data shards (1 to granary.DataShardsMax) and m parity shards (0 to
// granary.ParityShardsMax). Other numbers are KindInvalid.
func New(k, m int) (*Code, error) {
	c := &Code{k: k, m: m}
	if k < 1 || k > granary.DataShardsMax || m < 0 || m > granary.ParityShardsMax {
		return nil, c.errorf(granary.KindInvalid, "k must be 1 to %d and m 0 to %d",
			granary.DataShardsMax, granary.ParityShardsMax)
	}
	if m == 0 {
		return c, nil
	}
	// No option that changes the matrix may be given here: it is part of the disk format.
	var err error
	if c.small, err = reedsolomon.New(k, m, reedsolomon.WithMaxGoroutines(1)); err != nil {
		return nil, c.errorf(granary.KindInternal, "%w", err)
	}
	if c.large, err = reedsolomon.New(k, m, reedsolomon.WithAutoGoroutines(4*largeShardMin)); err != nil {
		return nil, c.errorf(granary.KindInternal, "%w", err)
	}
	c.zeros = make([]byte, zerosSize)
	return c, nil
}

// DataShards returns k.
func (c *Code) DataShards() int { return c.k }

// ParityShards returns m.
func (c *Code) ParityShards() int { return c.m }

// Encode computes the parity of a byte range. There are k data and m parity shards. All parity shards
// are equally long and are overwritten whole; a data shard is at most as long, and what it lacks
// reads as zeros, so nil is all zeros. With m = 0 it does nothing. The data is not changed or copied.
func (c *Code) Encode(data, parity [][]byte) error {
	if len(data) != c.k || len(parity) != c.m {
		return c.errorf(granary.KindInvalid, "%d data and %d parity shards were given", len(data), len(parity))
	}
	if c.m == 0 {
		return nil
	}
	length := len(parity[0])
	for i, p := range parity {
		if len(p) != length {
			return c.errorf(granary.KindInvalid, "parity shard %d has %d bytes, parity shard 0 %d", i, len(p), length)
		}
	}
	for i, d := range data {
		if len(d) > length {
			return c.errorf(granary.KindInvalid, "data shard %d has %d bytes, more than the %d of the parity", i, len(d), length)
		}
	}
	shards := make([][]byte, c.k+c.m)
	for off := 0; off < length; {
		end := c.pieceEnd(data, off, length)
		for i, d := range data {
			if len(d) > off {
				shards[i] = d[off:end]
			} else {
				shards[i] = c.zeros[:end-off]
			}
		}
		for i, p := range parity {
			shards[c.k+i] = p[off:end]
		}
		if err := c.encoder(end - off).Encode(shards); err != nil {
			return c.errorf(granary.KindInternal, "%w", err)
		}
		off = end
	}
	return nil
}

// pieceEnd returns how far from off a piece goes through which every data shard either reaches or is
// zeros: to the nearest end of one, and no further than c.zeros where one has ended.
func (c *Code) pieceEnd(data [][]byte, off, length int) int {
	end, ended := length, false
	for _, d := range data {
		if len(d) > off {
			end = min(end, len(d))
		} else {
			ended = true
		}
	}
	if ended {
		end = min(end, off+len(c.zeros))
	}
	return end
}

// Reconstruct computes shard want of a byte range from any k others and writes it to dst. There are
// k+m shards, data before parity, each nil if missing, otherwise len(dst) bytes: bytes past the
// end of a stream must be given as zeros. dst must not overlap a shard. If shard want is itself
// present, it is copied. Fewer than k shards are KindCorrupt.
func (c *Code) Reconstruct(shards [][]byte, want int, dst []byte) error {
	if len(shards) != c.k+c.m {
		return c.errorf(granary.KindInvalid, "%d shards were given", len(shards))
	}
	if want < 0 || want >= len(shards) {
		return c.errorf(granary.KindInvalid, "there is no shard %d", want)
	}
	present := 0
	for i, s := range shards {
		if s == nil {
			continue
		}
		if len(s) != len(dst) {
			return c.errorf(granary.KindInvalid, "shard %d has %d bytes, want %d", i, len(s), len(dst))
		}
		present++
	}
	if shards[want] != nil {
		copy(dst, shards[want])
		return nil
	}
	if present < c.k {
		return c.errorf(granary.KindCorrupt, "shard %d cannot be rebuilt from %d others", want, present)
	}
	if len(dst) == 0 {
		return nil
	}
	return c.reconstruct(shards, want, dst)
}

func (c *Code) reconstruct(shards [][]byte, want int, dst []byte) error {
	work := make([][]byte, len(shards))
	copy(work, shards)
	work[want] = dst[:0:len(dst)] // empty is missing; its capacity is where the library writes
	required := make([]bool, len(shards))
	required[want] = true
	if err := c.encoder(len(dst)).ReconstructSome(work, required); err != nil {
		return c.errorf(granary.KindInternal, "%w", err)
	}
	if &work[want][0] != &dst[0] {
		panic("erasure: the library did not write to the given buffer")
	}
	return nil
}

// Verify reports whether the parity shards match the data shards. All k+m must be present and
// equally long.
func (c *Code) Verify(shards [][]byte) (bool, error) {
	if len(shards) != c.k+c.m {
		return false, c.errorf(granary.KindInvalid, "%d shards were given", len(shards))
	}
	for i, s := range shards {
		if len(s) != len(shards[0]) {
			return false, c.errorf(granary.KindInvalid, "shard %d has %d bytes, shard 0 %d", i, len(s), len(shards[0]))
		}
	}
	if c.m == 0 || len(shards[0]) == 0 {
		return true, nil
	}
	ok, err := c.encoder(len(shards[0])).Verify(shards)
	if err != nil {
		return false, c.errorf(granary.KindInternal, "%w", err)
	}
	return ok, nil
}

func (c *Code) encoder(length int) reedsolomon.Encoder {
	if length > largeShardMin {
		return c.large
	}
	return c.small
}

func (c *Code) errorf(kind granary.Kind, format string, args ...any) error {
	return granary.Errorf(kind, "erasure", fmt.Sprintf("%d+%d", c.k, c.m), format, args...)
}
