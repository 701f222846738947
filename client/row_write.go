package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
	"github.com/dsorchard/granary/internal/crc32c"
)

// rowWrite is a row on its way to a volume, at whose end its streams begin.
type rowWrite struct {
	w      *writer
	v      *openVolume
	r      *row
	spots  []spot           // of its blocks
	shards [][]byte         // what is appended to each shard, empty if it gets nothing
	sums   []*crc32c.Pieces // of that

	appends sync.WaitGroup
	errs    []error // of the appends
}

// run fills the streams, computes their parity, and appends to each shard as soon as there is what it gets: disks do not wait for processors until
// all of a row is encoded. It returns when all appends have ended. Disks that fail are kept out of the next volume.
func (x *rowWrite) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, x.w.c.o.AppendWithin)
	defer cancel()
	v := x.v
	code, err := x.w.c.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		return err
	}
	x.sums, x.errs = make([]*crc32c.Pieces, len(x.shards)), make([]error, len(x.shards))
	x.fillAll(ctx)
	data, parity := x.shards[:v.DataShards], x.shards[v.DataShards:]
	err = encodeParity(code, data, parity, v.watermark, x.sums[v.DataShards:], cap(x.w.c.cores))
	if err != nil {
		cancel()
	} else {
		for i := range parity {
			x.append(ctx, v.DataShards+i)
		}
	}
	x.appends.Wait()
	if err != nil {
		return err
	}
	return x.failure()
}

// fillAll fills the data shards, one on each core at a time, and begins to append to those that are filled.
func (x *rowWrite) fillAll(ctx context.Context) {
	var wg sync.WaitGroup
	var next atomic.Int64
	k := x.v.DataShards
	for range min(cap(x.w.c.cores), k) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < k; i = int(next.Add(1)) - 1 {
				x.sums[i] = crc32c.NewPieces(x.v.watermark, len(x.shards[i]))
				x.fill(i)
				x.append(ctx, i)
			}
		})
	}
	wg.Wait()
}

// fillSize is what is copied before its checksum is updated: the processor's nearer caches hold it.
const fillSize = 128 << 10

// fill copies the blocks of one data shard into place, or makes them there, and zeros after the last, and its checksums with them.
func (x *rowWrite) fill(shard int) {
	stream, spots, sums := x.shards[shard], x.spots, x.sums[shard]
	var order []int
	for i, spot := range spots {
		if spot.shard == shard {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(spots[a].offset, spots[b].offset) })
	for _, i := range order { // one follows the other without a gap
		b := x.r.blocks[i]
		if b.plain != nil {
			sums.Add(block.AppendPlain(stream[:0:b.size], b.key.dataset, b.key.hash, b.plain))
			stream = stream[b.size:]
			continue
		}
		for from := b.block; len(from) > 0; {
			n := copy(stream, from[:min(len(from), fillSize)])
			sums.Add(stream[:n])
			stream, from = stream[n:], from[n:]
		}
	}
	clear(stream)
	sums.Add(stream)
}

// append begins the append to a shard, if it gets anything.
func (x *rowWrite) append(ctx context.Context, i int) {
	if len(x.shards[i]) == 0 {
		return
	}
	v, sums := x.v, x.sums[i]
	x.appends.Go(func() {
		x.errs[i] = x.w.c.appendShard(ctx, v.Shards[i].Addr, &granary.Append{
			Ref:   granary.ShardRef{Disk: v.Shards[i].Disk, Volume: v.ID, Shard: uint8(i)},
			Epoch: v.Epoch, DataShards: v.DataShards, ParityShards: v.ParityShards,
			Prev: v.ends[i], Offset: v.watermark, CRC32C: sums.Whole(), Pieces: sums.Sums(), Data: x.shards[i],
		})
	})
}

// failure returns the error of the first append that has failed.
func (x *rowWrite) failure() error {
	var first error
	for i, err := range x.errs {
		if err == nil {
			continue
		}
		shard := x.v.Shards[i]
		if !granary.IsKind(err, granary.KindStale) {
			x.w.c.exclude(shard.Disk)
		}
		if first == nil {
			first = fmt.Errorf("shard %d on disk %s at %s: %w", i, shard.Disk, shard.Addr, err)
		}
	}
	return first
}

// appendShard appends to one shard. A failure that may be a lost reply is followed by one identical
// retry, which the server acknowledges if the first had arrived.
func (c *Client) appendShard(ctx context.Context, addr string, a *granary.Append) error {
	err := c.o.Shards.Append(ctx, addr, a)
	switch granary.KindOf(err) {
	case granary.KindNone, granary.KindStale, granary.KindInvalid, granary.KindNoSpace, granary.KindCanceled, granary.KindCorrupt:
		return err
	}
	if ctx.Err() != nil {
		return err
	}
	return c.o.Shards.Append(ctx, addr, a)
}
