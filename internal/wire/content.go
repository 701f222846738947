package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// locationTo returns nil for a Location that is all zeros.
func locationTo(l *granary.Location) *pb.Location {
	if *l == (granary.Location{}) {
		return nil
	}
	return &pb.Location{
		Volume: uint64(l.Volume),
		Epoch:  uint64(l.Epoch),
		Shard:  uint32(l.Shard),
		Offset: l.Offset,
		Length: l.Length,
	}
}

func (d *decoder) location(p *pb.Location) granary.Location {
	if p == nil {
		return granary.Location{}
	}
	return granary.Location{
		Volume: granary.VolumeID(p.Volume),
		Epoch:  granary.Epoch(p.Epoch),
		Shard:  d.uint8(p.Shard, "shard"),
		Offset: p.Offset,
		Length: p.Length,
	}
}

// layoutTo keeps the difference between Inline nil and empty.
func layoutTo(l *granary.Layout) *pb.Layout {
	if l == nil {
		return nil
	}
	return &pb.Layout{
		Size:           l.Size,
		ContentVersion: uint64(l.ContentVersion),
		Inline:         l.Inline,
		Extents:        listTo(l.Extents, fillExtent),
		Blocks:         listTo(l.Blocks, fillBlockInfo),
		Volumes:        listTo(l.Volumes, fillVolume),
		Truncated:      l.Truncated,
	}
}

func (d *decoder) layout(p *pb.Layout) *granary.Layout {
	if p == nil {
		return nil
	}
	return &granary.Layout{
		Size:           p.Size,
		ContentVersion: granary.Index(p.ContentVersion),
		Inline:         p.Inline,
		Extents:        listFrom(p.Extents, extentFrom),
		Blocks:         listFrom(p.Blocks, d.blockInfo),
		Volumes:        listFrom(p.Volumes, d.volume),
		Truncated:      p.Truncated,
	}
}

func fillExtent(p *pb.Extent, e *granary.Extent) {
	p.Offset, p.Length, p.Block, p.ChunkOffset = e.Offset, e.Length, uint64(e.Block), e.ChunkOffset
}

func extentFrom(p *pb.Extent) granary.Extent {
	return granary.Extent{Offset: p.Offset, Length: p.Length, Block: granary.BlockID(p.Block), ChunkOffset: p.ChunkOffset}
}

func fillBlockInfo(p *pb.BlockInfo, b *granary.BlockInfo) {
	p.Id, p.Hash, p.RawLength, p.Location = uint64(b.ID), b.Hash[:], b.RawLength, locationTo(&b.Location)
}

func (d *decoder) blockInfo(p *pb.BlockInfo) granary.BlockInfo {
	return granary.BlockInfo{
		ID:        granary.BlockID(p.Id),
		Hash:      d.hash(p.Hash),
		RawLength: p.RawLength,
		Location:  d.location(p.Location),
	}
}
