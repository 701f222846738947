package client

import (
	"cmp"
	"context"
	"slices"

	"github.com/dsorchard/granary"
)

const (
	// packMax is the length of a range up to which it shares a chunk with others. Such a chunk gets
	// up to packSize bytes: one block with many extents. A block is alive as long as one of its extents is, so what lies far apart in the file,
	// and dies at other times, shares none that is larger than packLoose: the ranges of a larger one lie within packSpan of the file (spanOf).
	// (Of a file with pages of 8 KiB overwritten at random, 32 between two syncs, blocks of all 32 took 4 times what was alive, and those of 4
	// take twice as much; blocks of single pages would take just that, but the master 15 to 20 % longer for a write.)
	packMax   = 512 << 10
	packSize  = 1 << 20
	packSpan  = 256 << 10
	packLoose = 32 << 10

	// A commit of WriteRanges holds at most so much; more takes several.
	commitBytesMax   = 64 << 20
	commitExtentsMax = 3000
)

// Range is bytes to be written at an offset of a file.
type Range struct {
	Offset uint64
	Data   []byte
}

// dirty is one commit's worth of ranges: pieces, and what of the file refers to them.
type dirty struct {
	pieces  []*piece
	extents []dirtyExtent
	size    int
}

type dirtyExtent struct {
	offset      uint64
	length      int
	piece       *piece
	chunkOffset int
}

// WriteRanges stores dirty ranges of an existing file and commits them in one step; in more steps
// if they are more than 64 MiB or thousands. Long ranges are cut like streams, short ones near each
// other packed into chunks with many extents. The ranges must not overlap. With atEnd there is one range, it is
// written at the end of the file as that is then, and Result.Offset says where; its Offset is not
// used. What stays within the inline limit of the file's policy is kept in the metadata if the file has no
// extents. mtime is nil for the time of the commit. The data must not change until WriteRanges returns.
func (c *Client) WriteRanges(ctx context.Context, cred granary.Cred, attr granary.Attr, ranges []Range, atEnd bool, mtime *granary.Time) (granary.Result, error) {
	if atEnd && len(ranges) != 1 {
		return granary.Result{}, granary.Errorf(granary.KindInvalid, "write", attr.Inode.String(), "%d ranges at the end", len(ranges))
	}
	t, err := c.targetOf(ctx, &attr)
	if err != nil {
		return granary.Result{}, err
	}
	commit := granary.Commit{Inode: attr.Inode, AtEnd: atEnd, Mtime: mtime}
	if r, err, done := c.writeInline(ctx, cred, &t, &attr, ranges, commit); done {
		return r, err
	}
	batches, err := c.gather(&t, ranges, atEnd, c.spanOf(&t))
	if err != nil {
		return granary.Result{}, err
	}
	var first, last granary.Result
	for i, d := range batches {
		last, err = c.commitDirty(ctx, cred, &t, d, commit)
		if err != nil {
			return last, err
		}
		if i == 0 {
			first = last
		}
		if commit.AtEnd { // the rest follows where the first went
			commit.AtEnd = false
			for _, later := range batches[i+1:] {
				later.shift(last.Offset)
			}
		}
	}
	last.Offset = first.Offset
	return last, nil
}

// writeInline tries to keep a small file in the metadata. It reports false if the file has to
// become, or is, one of extents: only the master knows.
func (c *Client) writeInline(ctx context.Context, cred granary.Cred, t *target, attr *granary.Attr, ranges []Range, commit granary.Commit) (granary.Result, error, bool) {
	if len(ranges) != 1 || len(ranges[0].Data) == 0 {
		return granary.Result{}, nil, false
	}
	offset, data := ranges[0].Offset, ranges[0].Data
	end := offset + uint64(len(data))
	if commit.AtEnd {
		offset, end = 0, attr.Size+uint64(len(data))
	}
	if limit := uint64(t.policy.InlineMax); end > limit || attr.Size > limit {
		return granary.Result{}, nil, false
	}
	commit.Content = granary.Content{Inline: data, InlineOffset: offset}
	r, err := c.Do(ctx, cred, &commit)
	if granary.IsKind(err, granary.KindInvalid) {
		return granary.Result{}, nil, false
	}
	return r, err, true
}

// gather turns ranges into pieces and extents. Short ranges share a piece if they lie within so many bytes of the file.
func (c *Client) gather(t *target, ranges []Range, atEnd bool, span uint64) ([]*dirty, error) {
	ranges = slices.Clone(ranges)
	if atEnd {
		ranges[0].Offset = 0
	}
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	g := gathering{batches: []*dirty{{}}, span: span}
	for i, r := range ranges {
		if i > 0 && ranges[i-1].Offset+uint64(len(ranges[i-1].Data)) > r.Offset {
			return nil, granary.Errorf(granary.KindInvalid, "write", "", "ranges overlap at %d", r.Offset)
		}
		if len(r.Data) <= packMax {
			g.pack(r)
			continue
		}
		if err := g.cut(c, t, r); err != nil {
			return nil, err
		}
	}
	return g.batches, nil
}

// spanOf returns within how much of a file short ranges share a chunk. Where there are several data shards that is all of it: each chunk more
// would be an append and a sync more, at another disk.
func (c *Client) spanOf(t *target) uint64 {
	if c.writer(t.policyID, t.policy).fullRow() > c.o.RowSize {
		return granary.FileSizeMax
	}
	return packSpan
}

// gathering is the state of gather.
type gathering struct {
	batches []*dirty
	span    uint64 // of the file, whose short ranges share a piece
	packed  *piece // takes further short ranges; nil if there is none
	begin   uint64 // where its first range lies
}

// batch returns the batch that has room for n bytes more.
func (g *gathering) batch(n int) *dirty {
	d := g.batches[len(g.batches)-1]
	if len(d.extents) > 0 && (d.size+n > commitBytesMax || len(d.extents) >= commitExtentsMax || len(d.pieces) >= granary.CommitChunksMax) {
		d = &dirty{}
		g.batches = append(g.batches, d)
		g.packed = nil
	}
	d.size += n
	return d
}

// pack adds a short range to the chunk that gathers them.
func (g *gathering) pack(r Range) {
	if len(r.Data) == 0 {
		return
	}
	d := g.batch(len(r.Data))
	if !g.fits(r) {
		g.packed, g.begin = &piece{}, r.Offset
		d.pieces = append(d.pieces, g.packed)
	}
	p := g.packed
	d.extents = append(d.extents, dirtyExtent{r.Offset, len(r.Data), p, len(p.plain)})
	p.plain = append(p.plain, r.Data...)
	p.raw = uint32(len(p.plain))
}

// fits reports whether the chunk that gathers short ranges takes one more.
func (g *gathering) fits(r Range) bool {
	if g.packed == nil {
		return false
	}
	n := len(g.packed.plain) + len(r.Data)
	return n <= packLoose || n <= packSize && r.Offset+uint64(len(r.Data))-g.begin <= g.span
}

// cut cuts a long range like a stream.
func (g *gathering) cut(c *Client, t *target, r Range) error {
	cut := newCutter(&c.arenas, t.policy.Chunking, false, arenaMax)
	for data := r.Data; len(data) > 0; {
		n := cut.first(data)
		d := g.batch(n)
		p := &piece{plain: data[:n:n], raw: uint32(n)}
		d.pieces = append(d.pieces, p)
		d.extents = append(d.extents, dirtyExtent{r.Offset + uint64(len(r.Data)-len(data)), n, p, 0})
		data = data[n:]
	}
	return nil
}

// shift moves the extents of a batch to where the file's end was.
func (d *dirty) shift(by uint64) {
	for i := range d.extents {
		d.extents[i].offset += by
	}
}

// commitDirty stores and commits one batch.
func (c *Client) commitDirty(ctx context.Context, cred granary.Cred, t *target, d *dirty, commit granary.Commit) (granary.Result, error) {
	defer c.drop(d.pieces)
	if err := c.store(ctx, t, d.pieces); err != nil {
		return granary.Result{}, err
	}
	return c.settle(ctx, t, d.pieces, func(chunks []granary.Chunk) (granary.Result, error) {
		commit.Content = d.content(chunks, c.parity(t))
		return c.Do(ctx, cred, &commit)
	})
}

// content is the content of a batch, of which chunks has the distinct pieces.
func (d *dirty) content(chunks []granary.Chunk, parity uint8) granary.Content {
	index := make(map[granary.Hash]uint32, len(chunks))
	for i := range chunks {
		index[chunks[i].Hash] = uint32(i)
	}
	content := granary.Content{Chunks: chunks, Parity: parity}
	for _, e := range d.extents {
		content.Extents = append(content.Extents, granary.ExtentWrite{
			Offset: e.offset, Length: uint64(e.length), Chunk: index[e.piece.hash], ChunkOffset: uint32(e.chunkOffset),
		})
	}
	return content
}
