package fsck

import (
	"context"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

// stripeSize is how much of each shard is read at once.
const stripeSize = 1 << 20

// errGone says that a volume is no longer what a check of it began with.
var errGone = errors.New("the volume has changed")

// sealedCheck reads all shards of a sealed volume side by side.
type sealedCheck struct {
	c    *Check
	v    *granary.Volume // places are kept up to date
	code *erasure.Code

	bufs   [][]byte // by shard
	good   []bool   // the stripe's bytes are those that were sealed
	parity [][]byte // computed
	feeds  []*feed  // by data shard
	differ [][]span // of each parity shard
}

// span is a range of a shard's stream.
type span struct{ from, to uint64 }

// checkSealed verifies a sealed volume: every byte by the checksums of its seal, every live block by BLAKE3, and that the parity is
// that of the data.
func (c *Check) checkSealed(ctx context.Context, v *granary.Volume) error {
	code, err := c.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		return err
	}
	s := &sealedCheck{c: c, v: v, code: code, good: make([]bool, len(v.Shards)), differ: make([][]span, v.ParityShards)}
	size := min(c.stripe, v.Watermark)
	for range v.Shards {
		s.bufs = append(s.bufs, make([]byte, size))
	}
	for range v.ParityShards {
		s.parity = append(s.parity, make([]byte, size))
	}
	for i := range v.DataShards {
		s.feeds = append(s.feeds, &feed{s: s, shard: uint8(i), more: true})
	}
	for off := uint64(0); off < v.Watermark; off += c.stripe {
		err := s.stripe(ctx, off, int(min(c.stripe, v.Watermark-off)))
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	s.blameParity()
	return nil
}

// stripe verifies n bytes of every shard from off on.
func (s *sealedCheck) stripe(ctx context.Context, off uint64, n int) error {
	group, inner := errgroup.WithContext(ctx)
	for i := range s.v.Shards {
		group.Go(func() (err error) {
			s.good[i], err = s.read(inner, i, s.bufs[i][:n], off)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.c.step(uint64(n) * uint64(len(s.v.Shards)))
	have, whole, err := s.complete(ctx, off, n)
	if err != nil {
		return err
	}
	group, inner = errgroup.WithContext(ctx)
	for i, f := range s.feeds {
		group.Go(func() error { return f.take(inner, off, n, have[i]) })
	}
	if whole {
		group.Go(func() error { return s.compare(have, off, n) })
	}
	return group.Wait()
}

// read reads a range of a shard and compares it with the checksums of its seal. What is wrong with the shard is noted; unless it
// has moved: then it is read where it is now.
func (s *sealedCheck) read(ctx context.Context, i int, p []byte, off uint64) (bool, error) {
	for try := 1; ; try++ {
		if s.c.faultOf(s.v.ID, i).silent() {
			return false, nil
		}
		err := s.c.readShard(ctx, s.v, i, p, off, true)
		if err == nil {
			s.c.counted(0, uint64(len(p)))
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		now, verr := s.c.volume(ctx, s.v.ID)
		switch {
		case verr != nil:
			return false, verr
		case now == nil || now.State != granary.VolumeSealed && now.State != granary.VolumeSealing || now.Epoch != s.v.Epoch:
			return false, errGone
		case now.Shards[i].Lost:
			s.c.fault(now, i, ShardLost, "the masters know that it is to be rebuilt")
		case now.Shards[i].Disk != s.v.Shards[i].Disk:
		case try > 1:
			s.c.fault(now, i, problemOf(err), err.Error())
			return false, nil
		}
		s.v.Shards[i] = now.Shards[i]
	}
}

// complete returns what there is of the data shards: as it was read, reconstructed, or for want of that as the shard has it, right
// or not; nil where there is nothing. It reports whether all of it is as it was sealed.
func (s *sealedCheck) complete(ctx context.Context, off uint64, n int) (have [][]byte, whole bool, err error) {
	have = make([][]byte, s.v.DataShards)
	verified := make([][]byte, len(s.v.Shards))
	count := 0
	for i, good := range s.good {
		if good {
			verified[i] = s.bufs[i][:n]
			count++
		}
	}
	for i := range have {
		switch {
		case s.good[i]:
			have[i] = verified[i]
		case count >= s.v.DataShards:
			if err := s.code.Reconstruct(verified, i, s.bufs[i][:n]); err != nil {
				return nil, false, err
			}
			have[i] = s.bufs[i][:n]
		case !s.c.faultOf(s.v.ID, i).silent():
			if s.c.readShard(ctx, s.v, i, s.bufs[i][:n], off, false) == nil {
				have[i] = s.bufs[i][:n]
			}
		}
	}
	return have, count >= s.v.DataShards, ctx.Err()
}

// compare computes the parity anew, and notes where it differs.
func (s *sealedCheck) compare(data [][]byte, off uint64, n int) error {
	parity := make([][]byte, s.v.ParityShards)
	for j := range parity {
		parity[j] = s.parity[j][:n]
	}
	if err := s.code.Encode(data, parity); err != nil {
		return err
	}
	for j := range parity {
		i := s.v.DataShards + j
		if !s.good[i] {
			continue
		}
		if from, to := difference(parity[j], s.bufs[i][:n]); from < to {
			s.differ[j] = append(s.differ[j], span{off + uint64(from), off + uint64(to)})
		}
	}
	return nil
}

// difference returns the least range outside of which a and b are equal.
func difference(a, b []byte) (from, to int) {
	for from < len(a) && a[from] == b[from] {
		from++
	}
	to = len(a)
	for to > from && a[to-1] == b[to-1] {
		to--
	}
	return from, to
}

// blameParity notes the parity shards that are not those of the data. Where a block of a data shard was wrong, that is why. Elsewhere
// all live data was verified, so that to compute the parity anew is right, whoever is to blame.
func (s *sealedCheck) blameParity() {
	for j, spans := range s.differ {
		first := uint64(math.MaxUint64)
		for _, x := range spans {
			if !s.wrongData(x) {
				first = min(first, x.from)
			}
		}
		if first < math.MaxUint64 {
			s.c.fault(s.v, s.v.DataShards+j, ShardDamaged, fmt.Sprintf("it is not the parity of the data, first at offset %d", first))
		}
	}
}

// wrongData reports whether a block that did not verify lies in a range.
func (s *sealedCheck) wrongData(x span) bool {
	for _, f := range s.feeds {
		for _, y := range f.wrong {
			if x.from < y.to && y.from < x.to {
				return true
			}
		}
	}
	return false
}
