package fsck

import (
	"context"
	"fmt"

	"github.com/dsorchard/granary"
)

// readOwn reads a block from its own shard, and verifies all of it.
func (c *Check) readOwn(ctx context.Context, v *granary.Volume, b *granary.BlockInfo) error {
	buf := make([]byte, b.Location.Length)
	if err := c.readShard(ctx, v, int(b.Location.Shard), buf, b.Location.Offset, false); err != nil {
		return err
	}
	return c.verify(b, buf)
}

// verify checks a whole block: header, trailers, the BLAKE3 of the plaintext and its length.
func (c *Check) verify(b *granary.BlockInfo, stored []byte) error {
	plain, err := c.codec.Decode(nil, stored, b.Hash)
	if err == nil && len(plain) != int(b.RawLength) {
		err = granary.Errorf(granary.KindCorrupt, "verify", b.Hash.String(), "%d bytes of plaintext, not %d", len(plain), b.RawLength)
	}
	return err
}

// readShard fills p from a shard. What lies beyond the end of a data shard's stream is zeros, if no block was committed there.
func (c *Check) readShard(ctx context.Context, v *granary.Volume, shard int, p []byte, off uint64, sealed bool) error {
	place := &v.Shards[shard]
	if place.Addr == "" {
		return granary.Errorf(granary.KindUnavailable, "read", string(place.Disk), "its server is not known")
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	read := c.o.Shards.ReadAt
	if sealed {
		read = c.o.Shards.ReadSealed
	}
	n, length, err := read(ctx, place.Addr, shardRef(v, shard), p, int64(off))
	if err != nil {
		return err
	}
	if n < len(p) && (sealed || length < committedEnd(v, shard) || off+uint64(len(p)) <= committedEnd(v, shard)) {
		return granary.Errorf(granary.KindCorrupt, "read", shardRef(v, shard).String(), "the shard ends at %d", length)
	}
	clear(p[n:])
	return nil
}

// suspect decides about a block that its shard did not give. If it is still where it was, and still does not verify, the shard is
// at fault; and if no reader can have it either, it is lost.
func (c *Check) suspect(ctx context.Context, v *granary.Volume, b *granary.StoredBlock) error {
	now, err := c.volume(ctx, v.ID)
	if err != nil || now == nil {
		return err
	}
	if there, err := c.stillThere(ctx, b); err != nil || !there {
		return err
	}
	shard := int(b.Block.Location.Shard)
	if !c.faultOf(v.ID, shard).silent() {
		err := c.readOwn(ctx, now, &b.Block)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		p := problemOf(err)
		c.fault(now, shard, p, fmt.Sprintf("block %d at offset %d: %v", b.Block.ID, b.Block.Location.Offset, err))
	}
	return c.probe(ctx, now, b)
}

// problemOf tells what an error of a read says about the shard.
func problemOf(err error) Problem {
	switch granary.KindOf(err) {
	case granary.KindCorrupt, granary.KindNotSupported:
		return ShardDamaged
	case granary.KindNotFound:
		return ShardMissing
	case granary.KindInvalid:
		return ShardUnsealed
	}
	return ShardUnreachable
}

// stillThere reports whether a block lies where it lay.
func (c *Check) stillThere(ctx context.Context, b *granary.StoredBlock) (there bool, err error) {
	at := &b.Block.Location
	err = c.eachBlock(ctx, at.Volume, at.Shard, at.Offset, func(now *granary.StoredBlock) (bool, error) {
		there = now.Block.ID == b.Block.ID && now.Block.Location.Offset == at.Offset
		return false, nil
	})
	return there, err
}

// probe reads a block as any reader would, and notes it as lost if it cannot be had.
func (c *Check) probe(ctx context.Context, v *granary.Volume, b *granary.StoredBlock) error {
	is := b.Block
	l := &granary.Layout{
		Size:    uint64(is.RawLength),
		Extents: []granary.Extent{{Length: uint64(is.RawLength), Block: is.ID}},
		Blocks:  []granary.BlockInfo{is}, Volumes: []granary.Volume{*v},
	}
	err := c.o.Cluster.ReadLayout(ctx, l, make([]byte, is.RawLength), 0)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		c.counted(0, uint64(is.Location.Length))
		return nil
	}
	if there, terr := c.stillThere(ctx, b); terr != nil || !there {
		return terr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.lost[is.ID]; !ok {
		c.lost[is.ID] = len(c.report.Lost)
		c.report.Lost = append(c.report.Lost, LostBlock{is, b.Dataset, b.Refs, err.Error()})
	}
	return nil
}
