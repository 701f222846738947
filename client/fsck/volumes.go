package fsck

import (
	"context"
	"math/bits"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

const (
	volumesAtOnce = 2
	blocksAtOnce  = 8
	readWithin    = 30 * time.Second // for one answer of a server
)

// checkVolumes reads what is to be read of the volumes: with Data all of it, else the blocks of those that have lost more shards
// than they can, as far as their own shard does not give them.
func (c *Check) checkVolumes(ctx context.Context) error {
	if !c.o.Data && len(c.known) == 0 {
		return nil
	}
	total := uint64(0)
	if c.o.Data {
		err := c.eachVolume(ctx, func(v *granary.Volume) error {
			total += c.toRead(v)
			return nil
		})
		if err != nil {
			return err
		}
	}
	c.begin("data", total)
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(volumesAtOnce)
	err := c.eachVolume(inner, func(v *granary.Volume) error {
		group.Go(func() error { return c.checkVolume(inner, v.ID) })
		return inner.Err()
	})
	if gerr := group.Wait(); gerr != nil {
		return gerr
	}
	return err
}

// toRead returns how many bytes a check reads of a volume.
func (c *Check) toRead(v *granary.Volume) uint64 {
	switch {
	case v.State == granary.VolumeDropping || v.LiveBytes == 0:
		return 0
	case v.State == granary.VolumeSealed:
		return v.Watermark * uint64(len(v.Shards))
	}
	return v.LiveBytes
}

// checkVolume reads one volume.
func (c *Check) checkVolume(ctx context.Context, id granary.VolumeID) error {
	v, err := c.volume(ctx, id)
	if err != nil || v == nil || v.State == granary.VolumeDropping || v.LiveBytes == 0 {
		return err
	}
	bad := c.badShards(v)
	switch {
	case c.o.Data && v.State == granary.VolumeSealed:
		return c.checkSealed(ctx, v)
	case c.o.Data:
		return c.checkBlocks(ctx, v, func(int) bool { return true })
	case len(v.Shards)-bits.OnesCount32(bad) < v.DataShards:
		return c.checkBlocks(ctx, v, func(i int) bool { return bad&(1<<i) != 0 })
	}
	return nil
}

// badShards returns a bit for each shard that is known to be at fault.
func (c *Check) badShards(v *granary.Volume) (bad uint32) {
	for i := range v.Shards {
		if p := c.faultOf(v.ID, i); p != "" && p != ShardUnsealed && p != ShardAhead {
			bad |= 1 << i
		}
	}
	return bad
}

// checkBlocks reads the live blocks of some data shards, one by one.
func (c *Check) checkBlocks(ctx context.Context, v *granary.Volume, wanted func(shard int) bool) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(blocksAtOnce)
	for shard := range v.DataShards {
		if !wanted(shard) {
			continue
		}
		err := c.eachBlock(inner, v.ID, uint8(shard), 0, func(b *granary.StoredBlock) (bool, error) {
			if int(b.Block.Location.Shard) != shard {
				return false, nil
			}
			is := *b
			group.Go(func() error { return c.checkBlock(inner, v, &is) })
			return true, inner.Err()
		})
		if err != nil {
			if gerr := group.Wait(); gerr != nil {
				return gerr
			}
			return err
		}
	}
	return group.Wait()
}

// checkBlock reads a block from its own shard, unless that is known to give nothing, and if it is not right as any reader would.
func (c *Check) checkBlock(ctx context.Context, v *granary.Volume, b *granary.StoredBlock) error {
	shard := int(b.Block.Location.Shard)
	c.counted(1, 0)
	if p := c.faultOf(v.ID, shard); p.silent() {
		return c.suspect(ctx, v, b)
	}
	if err := c.readOwn(ctx, v, &b.Block); err != nil {
		return c.suspect(ctx, v, b)
	}
	c.counted(0, uint64(b.Block.Location.Length))
	c.step(uint64(b.Block.Location.Length))
	return nil
}

// silent reports whether reading such a shard is in vain.
func (p Problem) silent() bool { return p == ShardMissing || p == ShardUnreachable || p == ShardLost }

// counted adds to the report.
func (c *Check) counted(blocks, bytes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Blocks += blocks
	c.report.Bytes += bytes
}
