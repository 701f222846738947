package client

import (
	"context"

	"github.com/dsorchard/granary"
)

// spanner cuts a shard's stream into spans in which no live block is cut.
type spanner struct {
	to     uint64 // end of the stream
	fn     func(span) error
	off    uint64 // of what was not handed out yet
	end    uint64 // of the span that gathers; off if there is none
	blocks []granary.BlockInfo
}

// add takes the next live block.
func (c *spanner) add(b *granary.StoredBlock) error {
	from, to := b.Block.Location.Offset, b.Block.Location.Offset+uint64(b.Block.Location.Length)
	if from < c.end || to < from || to > c.to {
		return granary.Errorf(granary.KindCorrupt, "build", blockName(&b.Block), "it is said to lie at %d to %d, others up to %d, and the shard ends at %d", from, to, c.end, c.to)
	}
	if to-c.off > spanSize {
		if err := c.flush(); err != nil {
			return err
		}
		if err := c.skip(from, to); err != nil {
			return err
		}
	}
	c.end = to
	c.blocks = append(c.blocks, b.Block)
	return nil
}

// flush hands out the span that gathers.
func (c *spanner) flush() error {
	if c.end == c.off {
		return nil
	}
	s := span{c.off, c.end - c.off, c.blocks}
	c.off, c.blocks = c.end, nil
	return c.fn(s)
}

// skip hands out what lies before from and would make a span that goes to to too long.
func (c *spanner) skip(from, to uint64) error {
	for c.off < from && to-c.off > spanSize {
		c.end = min(c.off+spanSize, from)
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

// finish hands out the rest.
func (c *spanner) finish() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.skip(c.to, c.to+spanSize+1)
}

// eachBlock calls fn with the live blocks of a data shard, by their offsets.
func (w *Worker) eachBlock(ctx context.Context, id granary.VolumeID, shard uint8, fn func(*granary.StoredBlock) error) error {
	for from := uint64(0); ; {
		page, err := Ask[*granary.Blocks](ctx, w.c, &granary.ListBlocks{Volume: id, Shard: shard, From: from})
		if err != nil {
			return err
		}
		for i := range page.Blocks {
			b := &page.Blocks[i]
			at := &b.Block.Location
			if at.Shard != shard { // those of the shards that follow
				return nil
			}
			if at.Offset < from {
				return granary.Errorf(granary.KindInternal, "work", volumeName(id), "blocks from %d of shard %d begin at %d", from, shard, at.Offset)
			}
			if err := fn(b); err != nil {
				return err
			}
			from = at.Offset + 1
		}
		if !page.More {
			return nil
		}
		if len(page.Blocks) == 0 {
			return granary.Errorf(granary.KindInternal, "work", volumeName(id), "a page without blocks, and more to come")
		}
	}
}

// eachBlockOf calls fn with all live blocks of a volume.
func (w *Worker) eachBlockOf(ctx context.Context, v *granary.Volume, fn func(*granary.StoredBlock) error) error {
	for shard := range uint8(v.DataShards) {
		if err := w.eachBlock(ctx, v.ID, shard, fn); err != nil {
			return err
		}
	}
	return nil
}
