package fsck

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// Salvage is what became of a volume that the state did not know.
type Salvage struct {
	Volume granary.VolumeID
	Blocks uint64 // lost blocks that were found in it, and are there from now on
	Bytes  uint64
	Why    string // it was not searched, or not taken in, for this reason; or ""
}

// blockName is what a block says of itself on a disk.
type blockName struct {
	dataset granary.DatasetID
	hash    granary.Hash
}

// Rebuild searches the volumes that the state does not know, because they were made after the backup that it comes from, for the
// blocks that Run found lost: what movers have brought there since. Every block says on the disk which it is. What is found and
// verifies by BLAKE3 becomes the block's place, and its volume one of the cluster's. Then what is left of the lost is reported.
func (c *Check) Rebuild(ctx context.Context) (*Report, error) {
	shards := map[granary.VolumeID][]Orphan{}
	for _, o := range c.report.Orphans {
		if o.Unknown {
			shards[o.Info.Ref.Volume] = append(shards[o.Info.Ref.Volume], o)
		}
	}
	wanted := map[blockName]*LostBlock{}
	for i := range c.report.Lost {
		b := &c.report.Lost[i]
		wanted[blockName{b.Dataset, b.Block.Hash}] = b
	}
	c.begin("rebuild", uint64(len(shards)))
	for _, id := range slices.Sorted(maps.Keys(shards)) {
		if len(wanted) == 0 {
			break
		}
		s, err := c.salvage(ctx, id, shards[id], wanted)
		if err != nil {
			return nil, err
		}
		c.report.Salvaged = append(c.report.Salvaged, *s)
		c.step(1)
	}
	if err := c.lookAgain(ctx); err != nil {
		return nil, err
	}
	if err := c.forgive(ctx); err != nil {
		return nil, err
	}
	return c.finish(), nil
}

// forgive drops what was wrong with shards of volumes in which nothing lives any more, and with volumes that were not known.
func (c *Check) forgive(ctx context.Context) error {
	for key, f := range c.known {
		v, err := c.volume(ctx, key.volume)
		if err != nil {
			return err
		}
		f.Mended = f.Mended || v == nil || v.LiveBytes == 0
	}
	var left []Orphan
	for _, o := range c.report.Orphans {
		v, err := c.volume(ctx, o.Info.Ref.Volume)
		if err != nil {
			return err
		}
		if !belongs(v, o.Info.Ref) {
			left = append(left, o)
		}
	}
	c.report.Orphans = left
	return nil
}

// salvage searches one volume, and takes it in if there is something in it.
func (c *Check) salvage(ctx context.Context, id granary.VolumeID, shards []Orphan, wanted map[blockName]*LostBlock) (*Salvage, error) {
	s := &Salvage{Volume: id}
	v, why, err := c.shape(ctx, id, shards)
	if err != nil || why != "" {
		s.Why = why
		return s, err
	}
	var moves []granary.BlockMove
	for shard := range v.DataShards {
		found, err := c.search(ctx, v, shard, wanted)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.Why = err.Error()
		}
		moves = append(moves, found...)
	}
	for batch := range slices.Chunk(moves, granary.MovesMax) {
		op := &granary.AdoptVolume{Volume: id, Epoch: v.Epoch, DataShards: v.DataShards, ParityShards: v.ParityShards, Watermark: v.Watermark, Moves: batch}
		for i, p := range v.Shards {
			op.Disks = append(op.Disks, p.Disk)
			if p.Lost {
				op.Lost |= 1 << i
			}
		}
		r, err := c.o.Cluster.Do(ctx, granary.Cred{}, op)
		if granary.IsKind(err, granary.KindStale) {
			continue // all of them have died or moved
		}
		if err != nil {
			return nil, err
		}
		for i, m := range batch {
			if !slices.Contains(r.Missing, uint32(i)) {
				s.Blocks++
				s.Bytes += uint64(m.To.Length)
			}
		}
	}
	return s, nil
}

// shape makes of shards the volume that they are of, or says why it cannot be taken in.
func (c *Check) shape(ctx context.Context, id granary.VolumeID, shards []Orphan) (*granary.Volume, string, error) {
	first := &shards[0].Info
	v := &granary.Volume{ID: id, State: granary.VolumeSealed, DataShards: first.DataShards, ParityShards: first.ParityShards, Watermark: first.Length}
	if v.DataShards < 1 {
		return nil, "its shards do not say of how many they are", nil
	}
	v.Shards = make([]granary.ShardPlace, v.DataShards+v.ParityShards)
	for i := range v.Shards {
		v.Shards[i].Lost = true
	}
	have := 0
	for _, o := range shards {
		info := &o.Info
		switch i := int(info.Ref.Shard); {
		case !info.Sealed:
			return nil, fmt.Sprintf("shard %d was not sealed: what was moved there last is where it was before", i), nil
		case info.DataShards != v.DataShards || info.ParityShards != v.ParityShards || info.Length != v.Watermark || i >= len(v.Shards):
			return nil, "its shards do not agree on what it is", nil
		case info.Damaged == "" && v.Shards[i].Lost:
			v.Epoch = max(v.Epoch, info.Epoch)
			v.Shards[i] = granary.ShardPlace{Disk: info.Ref.Disk, Addr: o.Addr, Up: true, Sealed: true}
			have++
		}
	}
	if have < v.DataShards {
		return nil, fmt.Sprintf("%d shards of it are there, of %d that are needed", have, v.DataShards), nil
	}
	return c.spare(ctx, v)
}

// spare gives lost shards disks on which they will be made anew, if nowhere else.
func (c *Check) spare(ctx context.Context, v *granary.Volume) (*granary.Volume, string, error) {
	disks, err := ask[*granary.Disks](ctx, c, &granary.ListDisks{})
	if err != nil {
		return nil, "", err
	}
	used := func(d granary.DiskID) bool {
		return slices.ContainsFunc(v.Shards, func(p granary.ShardPlace) bool { return p.Disk == d })
	}
	for i := range v.Shards {
		if !v.Shards[i].Lost {
			continue
		}
		at := slices.IndexFunc(disks.Disks, func(d granary.Disk) bool { return d.State == granary.DiskActive && !used(d.ID) })
		if at < 0 {
			return nil, fmt.Sprintf("no disk is left for shard %d of it", i), nil
		}
		v.Shards[i].Disk = disks.Disks[at].ID
	}
	return v, "", nil
}

// search reads a data shard from its start to its end, from block to block, and returns those that are wanted and verify; what is
// found is wanted no more. Rows begin at multiples of granary.RowAlignment; where no block begins, the next such place is tried.
func (c *Check) search(ctx context.Context, v *granary.Volume, shard int, wanted map[blockName]*LostBlock) ([]granary.BlockMove, error) {
	var moves []granary.BlockMove
	for off := uint64(0); off+block.HeaderSize <= v.Watermark && len(wanted) > 0; {
		window := make([]byte, min(stripeSize, v.Watermark-off))
		if err := c.fill(ctx, v, shard, window, off); err != nil {
			return moves, err
		}
		at := uint64(0)
		for at+block.HeaderSize <= uint64(len(window)) {
			h, err := block.ParseHeader(window[at:])
			length := uint64(h.StoredLength)
			if err != nil || length < block.HeaderSize || length > v.Watermark-off-at {
				at = (off+at)/granary.RowAlignment*granary.RowAlignment + granary.RowAlignment - off
				continue
			}
			name := blockName{h.Dataset, h.Hash}
			if b := wanted[name]; b != nil {
				to := granary.Location{Volume: v.ID, Epoch: v.Epoch, Shard: uint8(shard), Offset: off + at, Length: h.StoredLength}
				right, err := c.verifyAt(ctx, v, &b.Block, &to)
				if err != nil {
					return moves, err
				}
				if right {
					moves = append(moves, granary.BlockMove{Block: b.Block.ID, From: b.Block.Location, To: to, Watermark: v.Watermark})
					delete(wanted, name)
				}
			}
			at += length
		}
		if off += at; at == 0 {
			break
		}
	}
	return moves, nil
}

// verifyAt reports whether a block lies somewhere, whole.
func (c *Check) verifyAt(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, at *granary.Location) (bool, error) {
	stored := make([]byte, at.Length)
	if err := c.fill(ctx, v, int(at.Shard), stored, at.Offset); err != nil {
		return false, err
	}
	return c.verify(b, stored) == nil, nil
}

// fill reads a range of a data shard, or reconstructs it from k others.
func (c *Check) fill(ctx context.Context, v *granary.Volume, shard int, p []byte, off uint64) error {
	if !v.Shards[shard].Lost {
		err := c.readShard(ctx, v, shard, p, off, true)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	code, err := c.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		return err
	}
	found := make([][]byte, len(v.Shards))
	for i := range v.Shards {
		if i == shard || v.Shards[i].Lost {
			continue
		}
		buf := make([]byte, len(p))
		if err := c.readShard(ctx, v, i, buf, off, true); err == nil {
			found[i] = buf
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return code.Reconstruct(found, shard, p)
}
