package wire

import "github.com/dsorchard/granary"

// The ops that change contents.

func (f *fields) commit(o *granary.Commit) {
	unsigned(f, 1, &o.Inode)
	required(f, 2, &o.Content, (*fields).content, "content")
	f.flag(3, &o.AtEnd)
	f.optionalTime(4, &o.Mtime)
	optional(f, 5, &o.Match, (*fields).precondition)
	unsigned(f, 6, &o.Rewrite)
}

func (f *fields) content(c *granary.Content) {
	f.optionalData(1, &c.Inline)
	unsigned(f, 2, &c.InlineOffset)
	list(f, 3, &c.Extents, (*fields).extentWrite)
	list(f, 4, &c.Chunks, (*fields).chunk)
	unsigned(f, 5, &c.Size)
	unsigned(f, 6, &c.Parity)
}

func (f *fields) extentWrite(e *granary.ExtentWrite) {
	unsigned(f, 1, &e.Offset)
	unsigned(f, 2, &e.Length)
	unsigned(f, 3, &e.Chunk)
	unsigned(f, 4, &e.ChunkOffset)
}

func (f *fields) chunk(c *granary.Chunk) {
	f.hash(1, &c.Hash)
	unsigned(f, 2, &c.RawLength)
	f.flag(3, &c.New)
	unlessZero(f, 4, &c.Location, (*fields).location)
	unsigned(f, 5, &c.Watermark)
}

func (f *fields) location(l *granary.Location) {
	unsigned(f, 1, &l.Volume)
	unsigned(f, 2, &l.Epoch)
	unsigned(f, 3, &l.Shard)
	unsigned(f, 4, &l.Offset)
	unsigned(f, 5, &l.Length)
}

func (f *fields) copyRange(o *granary.CopyRange) {
	unsigned(f, 1, &o.Src)
	unsigned(f, 2, &o.Dst)
	unsigned(f, 3, &o.SrcOffset)
	unsigned(f, 4, &o.DstOffset)
	unsigned(f, 5, &o.Length)
	optional(f, 6, &o.Match, (*fields).precondition)
}

func (f *fields) allocate(o *granary.Allocate) {
	unsigned(f, 1, &o.Inode)
	unsigned(f, 2, &o.Offset)
	unsigned(f, 3, &o.Length)
	unsigned(f, 4, &o.Mode)
	f.flag(5, &o.KeepSize)
}

func (f *fields) assemble(o *granary.Assemble) {
	required(f, 1, &o.Create, (*fields).create, "create")
	unsigned(f, 2, &o.Upload)
	texts(f, 3, &o.Parts)
	optional(f, 4, &o.Sources, (*fields).sources)
	unsigned(f, 5, &o.Version)
	text(f, 6, &o.UploadName)
}

func (f *fields) sources(s *granary.Sources) {
	unsigned(f, 1, &s.Version)
	numbers(f, 2, &s.Inodes)
	numbers(f, 3, &s.Sizes)
}
