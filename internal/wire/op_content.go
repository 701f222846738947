package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func commitTo(o *granary.Commit) *pb.Commit {
	return &pb.Commit{
		Inode:   uint64(o.Inode),
		Content: contentTo(&o.Content),
		AtEnd:   o.AtEnd,
		Mtime:   (*int64)(o.Mtime),
		Match:   preconditionTo(o.Match),
	}
}

func (d *decoder) commit(p *pb.Commit) *granary.Commit {
	o := &granary.Commit{
		Inode: granary.InodeID(p.Inode),
		AtEnd: p.AtEnd,
		Mtime: (*granary.Time)(p.Mtime),
		Match: preconditionFrom(p.Match),
	}
	if d.required(p.Content != nil, "content") {
		o.Content = *d.content(p.Content)
	}
	return o
}

func copyRangeTo(o *granary.CopyRange) *pb.CopyRange {
	return &pb.CopyRange{
		Src:       uint64(o.Src),
		Dst:       uint64(o.Dst),
		SrcOffset: o.SrcOffset,
		DstOffset: o.DstOffset,
		Length:    o.Length,
	}
}

func copyRangeFrom(p *pb.CopyRange) *granary.CopyRange {
	return &granary.CopyRange{
		Src:       granary.InodeID(p.Src),
		Dst:       granary.InodeID(p.Dst),
		SrcOffset: p.SrcOffset,
		DstOffset: p.DstOffset,
		Length:    p.Length,
	}
}

func allocateTo(o *granary.Allocate) *pb.Allocate {
	return &pb.Allocate{
		Inode:    uint64(o.Inode),
		Offset:   o.Offset,
		Length:   o.Length,
		Mode:     uint32(o.Mode),
		KeepSize: o.KeepSize,
	}
}

func (d *decoder) allocate(p *pb.Allocate) *granary.Allocate {
	return &granary.Allocate{
		Inode:    granary.InodeID(p.Inode),
		Offset:   p.Offset,
		Length:   p.Length,
		Mode:     granary.AllocateMode(d.uint8(p.Mode, "mode")),
		KeepSize: p.KeepSize,
	}
}

func assembleTo(o *granary.Assemble) *pb.Assemble {
	return &pb.Assemble{
		Create:     createTo(&o.Create),
		Upload:     uint64(o.Upload),
		UploadName: []byte(o.UploadName),
		Version:    uint64(o.Version),
		Parts:      textsTo(o.Parts),
		Sources:    sourcesTo(o.Sources),
	}
}

func (d *decoder) assemble(p *pb.Assemble) *granary.Assemble {
	o := &granary.Assemble{
		Upload:     granary.InodeID(p.Upload),
		UploadName: string(p.UploadName),
		Version:    granary.Index(p.Version),
		Parts:      textsFrom[string](p.Parts),
		Sources:    sourcesFrom(p.Sources),
	}
	if d.required(p.Create != nil, "create") {
		o.Create = *d.create(p.Create)
	}
	return o
}

func sourcesTo(s *granary.Sources) *pb.Sources {
	if s == nil {
		return nil
	}
	return &pb.Sources{Version: uint64(s.Version), Inodes: numbersTo(s.Inodes), Sizes: s.Sizes}
}

func sourcesFrom(p *pb.Sources) *granary.Sources {
	if p == nil {
		return nil
	}
	return &granary.Sources{Version: granary.Index(p.Version), Inodes: numbersFrom[granary.InodeID](p.Inodes), Sizes: p.Sizes}
}
