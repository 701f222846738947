package master

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

const (
	sumsTimeout = time.Minute
	sumsTries   = 5 // of a shard, before its volume is sealed without it being compared
	wrongMax    = 2 // shards that are looked for in one piece by trying which fit together without them
)

// compare returns which shards of a volume, of those that are sealed, do not fit together with the others, as the code wants it: something
// has changed their bytes since they were appended, before the page tables that scrubs go by were made of what was there. It is asked
// before it is recorded that the shards are sealed, so a leader that follows asks again. Shards whose servers cannot say are left
// out; retry says that they may say soon.
//
// That the shards do not fit does not tell which are wrong. Where more of them are left than are needed, without the wrong ones the
// others fit. Else the data shards' servers verify the blocks there, and if all of them are sound the parity is wrong, or what nobody
// refers to any more, which is as well had anew from the data.
func (l *leadership) compare(ctx context.Context, r *sealer, v *granary.Volume, sealed uint32, addrs map[granary.ServerID]string) (wrong uint32, retry bool) {
	if v.ParityShards == 0 || v.Watermark == 0 {
		return 0, false
	}
	code, err := r.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		l.s.log.Error("the shards of a volume cannot be compared", "volume", v.ID, "error", err)
		return 0, false
	}
	c := &comparison{v: v, code: code}
	if retry = l.sums(ctx, r, c, sealed, addrs, false); retry || ctx.Err() != nil {
		return 0, true
	}
	doubt := c.look()
	if len(doubt) == 0 {
		return c.wrong, false
	}
	if retry = l.sums(ctx, r, c, sealed&(1<<v.DataShards-1), addrs, true); retry || ctx.Err() != nil {
		return 0, true
	}
	if left := c.settle(doubt); left > 0 {
		l.s.log.Warn("shards of a volume do not fit together, and it is not known which of them are wrong", "volume", v.ID, "pieces", left)
	}
	return c.wrong, false
}

// sums asks for the sums of shards, and with blocks also whether their blocks are sound. It reports whether it is to be tried again.
func (l *leadership) sums(ctx context.Context, r *sealer, c *comparison, shards uint32, addrs map[granary.ServerID]string, blocks bool) (retry bool) {
	ctx, cancel := context.WithTimeout(ctx, sumsTimeout)
	defer cancel()
	n := len(c.v.Shards)
	answers, errs := make([]*granary.ShardSums, n), make([]error, n)
	var group errgroup.Group
	for _, i := range shardList(shards) {
		if place := &c.v.Shards[i]; !place.Lost && l.live.shows(place.Server, place.Disk) {
			group.Go(func() error {
				q := &granary.SumShard{Ref: refOf(c.v, i), Length: c.v.Watermark, Blocks: blocks}
				answers[i], errs[i] = l.s.opts.Shards.Sums(ctx, addrs[place.Server], q)
				return nil
			})
		}
	}
	_ = group.Wait() // nothing in it fails
	if !blocks {
		c.sums, c.unsound = make([][]byte, n), make([][]uint32, n)
	}
	for i, a := range answers {
		switch err := errs[i]; {
		case err != nil && granary.IsKind(err, granary.KindUnavailable) && r.again(refOf(c.v, i)):
			l.s.log.Info("a sealed shard could not be compared with the others yet", "shard", refOf(c.v, i), "error", err)
			retry = true
		case err != nil:
			l.s.log.Warn("a sealed shard was not compared with the others", "shard", refOf(c.v, i), "error", err)
		case a == nil:
		case uint64(len(a.Sums)) != erasure.SumsLength(c.v.Watermark):
			l.s.log.Warn("the sums of a shard make no sense", "shard", refOf(c.v, i), "bytes", len(a.Sums))
		default:
			c.sums[i], c.unsound[i] = a.Sums, a.Bad
		}
	}
	return retry
}

func refOf(v *granary.Volume, shard int) granary.ShardRef {
	return granary.ShardRef{Disk: v.Shards[shard].Disk, Volume: v.ID, Shard: uint8(shard)}
}

// again counts the tries to compare a shard, and reports whether there is another.
func (r *sealer) again(ref granary.ShardRef) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsummed[ref]++
	return r.unsummed[ref] < sumsTries
}

// comparison holds the sums of a volume's shards against one another, piece by piece.
type comparison struct {
	v       *granary.Volume
	code    *erasure.Code
	sums    [][]byte   // by shard; nil: not known
	unsound [][]uint32 // by shard: pieces with blocks that do not verify
	wrong   uint32     // shards found to be wrong
}

// look returns the pieces that do not fit, and of which it is not clear which shard is to blame.
func (c *comparison) look() (doubt []uint32) {
	if c.fit(0, int(erasure.SumsLength(c.v.Watermark)), 0) {
		return nil
	}
	for n := range uint32(erasure.SumsLength(c.v.Watermark) / erasure.SumSize) {
		from, to := int(n)*erasure.SumSize, int(n+1)*erasure.SumSize
		if c.fit(from, to, 0) {
			continue
		}
		if blame := c.misfits(from, to); blame != 0 {
			c.wrong |= blame
		} else {
			doubt = append(doubt, n)
		}
	}
	return doubt
}

// misfits returns the fewest shards without which the others fit, if there is one such choice.
func (c *comparison) misfits(from, to int) uint32 {
	for size := 1; size <= wrongMax; size++ {
		found, choices := uint32(0), 0
		eachSubset(c.known(0), size, func(without uint32) {
			if len(c.known(without)) > c.v.DataShards && c.fit(from, to, without) {
				found = without
				choices++
			}
		})
		if choices > 0 {
			if choices > 1 {
				return 0
			}
			return found
		}
	}
	return 0
}

// eachSubset calls f with all choices of so many, 1 or 2, of the shards.
func eachSubset(shards []int, size int, f func(uint32)) {
	for i, a := range shards {
		if size == 1 {
			f(1 << a)
			continue
		}
		for _, b := range shards[i+1:] {
			f(1<<a | 1<<b)
		}
	}
}

// known returns the shards whose sums are known, but for some.
func (c *comparison) known(without uint32) (shards []int) {
	for i, s := range c.sums {
		if s != nil && without&(1<<i) == 0 {
			shards = append(shards, i)
		}
	}
	return shards
}

// fit reports whether a range of the sums that are known, but for some, is that of shards that fit together. Where there are no more
// than it takes for that, it is.
func (c *comparison) fit(from, to int, without uint32) bool {
	known := c.known(without)
	if len(known) <= c.v.DataShards {
		return true
	}
	shards := make([][]byte, len(c.sums))
	for _, i := range known[:c.v.DataShards] {
		shards[i] = c.sums[i][from:to]
	}
	made := make([]byte, to-from)
	for _, i := range known[c.v.DataShards:] {
		if err := c.code.Reconstruct(shards, i, made); err != nil {
			panic(err) // there are as many as it takes, equally long
		}
		if !slices.Equal(made, c.sums[i][from:to]) {
			return false
		}
	}
	return true
}

// settle blames data shards for the pieces in doubt where their blocks are not sound, and else the parity that does not fit the data. It
// returns in how many pieces neither is known.
func (c *comparison) settle(doubt []uint32) (left int) {
	data := uint32(1)<<c.v.DataShards - 1
	for _, n := range doubt {
		blame := uint32(0)
		for i := range c.v.DataShards {
			if slices.Contains(c.unsound[i], n) {
				blame |= 1 << i
			}
		}
		if blame == 0 && len(c.known(^data)) == c.v.DataShards {
			for _, i := range c.known(data) {
				others := ^(data | 1<<i)
				if !c.fit(int(n)*erasure.SumSize, int(n+1)*erasure.SumSize, others) {
					blame |= 1 << i
				}
			}
		}
		if blame == 0 {
			left++
		}
		c.wrong |= blame
	}
	return left
}
