package master

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// sparse is a file of the model: bytes that are not zero, and a size.
type sparse struct {
	id    granary.InodeID
	bytes map[uint64]byte
	size  uint64
}

func (f *sparse) write(offset uint64, b []byte) {
	for i, c := range b {
		if c == 0 {
			delete(f.bytes, offset+uint64(i))
		} else {
			f.bytes[offset+uint64(i)] = c
		}
	}
	f.size = max(f.size, offset+uint64(len(b)))
}

func (f *sparse) truncate(size uint64) {
	for at := range f.bytes {
		if at >= size {
			delete(f.bytes, at)
		}
	}
	f.size = size
}

func (f *sparse) allocate(op *granary.Allocate) {
	end := op.Offset + op.Length
	for at := range f.bytes {
		if op.Mode != granary.AllocateReserve && at >= op.Offset && at < end {
			delete(f.bytes, at)
		}
	}
	if op.Mode != granary.AllocatePunch && !op.KeepSize {
		f.size = max(f.size, end)
	}
}

// contents is a store of chunks, as volume servers would have it.
type contents map[granary.Hash][]byte

// readBack reads a file through its layout, in requests of one range, into the form of the model.
func readBack(m *machine, c contents, id granary.InodeID) *sparse {
	f := &sparse{bytes: map[uint64]byte{}}
	l := ask[*granary.Found](m, &granary.Lookup{Base: id, Layout: &granary.Range{Length: 1 << 60}}).Layout
	f.write(0, l.Inline)
	hashes := map[granary.BlockID]granary.Hash{}
	for _, b := range l.Blocks {
		hashes[b.ID] = b.Hash
	}
	for _, x := range l.Extents {
		chunk := c[hashes[x.Block]]
		if x.Length > uint64(len(chunk)) || uint64(x.ChunkOffset)+x.Length > uint64(len(chunk)) {
			m.t.Fatalf("extent %+v leaves its chunk of %d bytes", x, len(chunk))
		}
		f.write(x.Offset, chunk[x.ChunkOffset:uint64(x.ChunkOffset)+x.Length])
	}
	f.size = l.Size
	return f
}

// TestContentAgainstModel overlays, truncates, copies and appends, and compares every byte.
func TestContentAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		chunks := contents{}
		var files []*sparse
		for i := range 2 {
			r := m.ok(&granary.Create{Parent: granary.RootInode, Name: fmt.Sprint(i), Type: granary.TypeRegular})
			files = append(files, &sparse{id: r.Attr.Inode, bytes: map[uint64]byte{}})
		}
		file := func() *sparse { return rapid.SampledFrom(files).Draw(rt, "file") }
		// Offsets near the start and near the border of the first two windows.
		offset := func(name string) uint64 {
			at := uint64(rapid.IntRange(0, 40).Draw(rt, name))
			if rapid.IntRange(0, 2).Draw(rt, name+" window") == 0 {
				at += windowSize - 20
			}
			return at
		}
		data := func() []byte {
			// Few values, so that chunks repeat.
			n := rapid.IntRange(1, 20).Draw(rt, "length")
			return bytes.Repeat([]byte{byte(rapid.IntRange(1, 3).Draw(rt, "value"))}, n)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				f, at := file(), offset("at")
				c := granary.Content{}
				for range rapid.IntRange(1, 3).Draw(rt, "extents") {
					b := data()
					chunk := m.chunk(b)
					chunks[chunk.Hash] = b
					from := rapid.IntRange(0, len(b)-1).Draw(rt, "from")
					c.Chunks = append(c.Chunks, chunk)
					c.Extents = append(c.Extents, granary.ExtentWrite{Offset: at, Length: uint64(len(b) - from), Chunk: uint32(len(c.Chunks) - 1), ChunkOffset: uint32(from)})
					f.write(at, b[from:])
					at += uint64(len(b)-from) + uint64(rapid.IntRange(0, 5).Draw(rt, "gap"))
				}
				m.ok(&granary.Commit{Inode: f.id, Content: c})
			},
			"append": func(rt *rapid.T) {
				f, b := file(), data()
				c := m.content(0, b)
				chunks[c.Chunks[0].Hash] = b
				if r := m.ok(&granary.Commit{Inode: f.id, Content: c, AtEnd: true}); r.Offset != f.size {
					rt.Fatalf("appended at %d of %d", r.Offset, f.size)
				}
				f.write(f.size, b)
			},
			"inline": func(rt *rapid.T) {
				f, at, b := file(), offset("at"), data()
				r := m.do(&granary.Commit{Inode: f.id, Content: granary.Content{Inline: b, InlineOffset: at}})
				if r.Err == nil {
					f.write(at, b)
				} else if kindOf(r) != granary.KindInvalid {
					rt.Fatalf("inline: %v", r.Err)
				}
			},
			"truncate": func(rt *rapid.T) {
				f, size := file(), offset("size")
				f.truncate(size)
				if r := m.ok(&granary.SetAttr{Inode: f.id, Size: &size}); r.Attr.Size != size {
					rt.Fatalf("size %d, want %d", r.Attr.Size, size)
				}
			},
			"allocate": func(rt *rapid.T) {
				f, at := file(), offset("at")
				op := &granary.Allocate{Inode: f.id, Offset: at, KeepSize: rapid.Bool().Draw(rt, "keep size"),
					Length: rapid.SampledFrom([]uint64{1, 7, 30, 100, windowSize, windowSize + 30}).Draw(rt, "n"),
					Mode:   rapid.SampledFrom([]granary.AllocateMode{granary.AllocateReserve, granary.AllocatePunch, granary.AllocateZero}).Draw(rt, "mode")}
				if r := m.ok(op); r.Offset != op.Length {
					rt.Fatalf("did %d of %d", r.Offset, op.Length)
				}
				f.allocate(op)
			},
			"copy": func(rt *rapid.T) {
				src, dst, from, to := file(), file(), offset("from"), offset("to")
				n := rapid.SampledFrom([]uint64{1, 7, 30, 100, windowSize, windowSize + 30}).Draw(rt, "n")
				at := to
				if rapid.Bool().Draw(rt, "at the end") {
					at, to = granary.OffsetEnd, dst.size
				}
				r := m.do(&granary.CopyRange{Src: src.id, Dst: dst.id, SrcOffset: from, DstOffset: at, Length: n})
				if r.Err != nil {
					if k := kindOf(r); k != granary.KindNotSupported && (k != granary.KindInvalid || src != dst) {
						rt.Fatalf("copy: %v", r.Err)
					}
					return
				}
				if from >= src.size {
					n = 0
				}
				if n = min(n, src.size-min(from, src.size)); r.Offset != n {
					rt.Fatalf("copied %d of %d", r.Offset, n)
				}
				if n > 0 {
					copySparse(src, dst, from, to, n)
				}
			},
			"move":    m.moveAll,
			"rewrite": func(rt *rapid.T) { m.rewriteSome(rt, chunks, file().id) },
			"": func(rt *rapid.T) {
				if err := m.s.check(); err != nil {
					rt.Fatal(err)
				}
				for _, f := range files {
					got := readBack(m, chunks, f.id)
					if got.size != f.size || !equalBytes(got.bytes, f.bytes) {
						rt.Fatalf("file %d: %d bytes %v, want %d bytes %v", f.id, got.size, got.bytes, f.size, f.bytes)
					}
				}
			},
		})
	})
}

func copySparse(src, dst *sparse, from, to, n uint64) {
	moved := map[uint64]byte{}
	for at, c := range src.bytes {
		if at >= from && at < from+n {
			moved[at-from+to] = c
		}
	}
	for at := range dst.bytes {
		if at >= to && at < to+n {
			delete(dst.bytes, at)
		}
	}
	for at, c := range moved {
		dst.bytes[at] = c
	}
	dst.size = max(dst.size, to+n)
}

func equalBytes(a, b map[uint64]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func TestCommitRules(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory}).Attr.Inode
	c := m.content(0, []byte("one"))
	m.fails(granary.KindIsDir, &granary.Commit{Inode: d, Content: c})
	m.ok(&granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: granary.XattrETag, Value: []byte("old")}})
	m.ok(&granary.Commit{Inode: f, Content: c})
	if found := ask[*granary.Found](m, &granary.Lookup{Base: f, Xattrs: true}); len(found.Xattrs) != 0 {
		t.Fatalf("the ETag outlived the content: %v", found.Xattrs)
	}

	// By hash: one is there, one is not.
	gone := granary.Chunk{Hash: granary.Hash{9}, RawLength: 3}
	known := c.Chunks[0]
	known.New = false
	two := granary.Content{Chunks: []granary.Chunk{known, gone}, Extents: []granary.ExtentWrite{{Offset: 3, Length: 3}, {Offset: 6, Length: 3, Chunk: 1}}}
	if r := m.fails(granary.KindMissingChunks, &granary.Commit{Inode: f, Content: two}); !slices.Equal(r.Missing, []uint32{1}) {
		t.Fatalf("missing %v", r.Missing)
	}
	two.Chunks, two.Extents = two.Chunks[:1], two.Extents[:1]
	m.ok(&granary.Commit{Inode: f, Content: two})
	if l := ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 6}}).Layout; len(l.Extents) != 2 || len(l.Blocks) != 1 || len(l.Volumes) != 1 {
		t.Fatalf("layout %+v", l)
	}
	had := func() []bool {
		q := &granary.HasChunks{Dataset: 1, Hashes: []granary.Hash{known.Hash, gone.Hash}, Parity: 1}
		return ask[*granary.ChunksHad](m, q).Has
	}
	if has := had(); has[0] {
		t.Fatalf("%v, although nobody has reported the disks", has)
	}
	m.item(&registerServer{granary.Server{ID: "s", Addr: "a", Disks: []granary.DiskID{"d1", "d2"}}})
	if has := had(); !has[0] || has[1] {
		t.Fatalf("%v", has)
	}

	// Of two copies of a chunk one is dead space.
	m.ok(&granary.Commit{Inode: f, Content: m.content(9, []byte("one"))})
	v := ask[*granary.Volumes](m, &granary.ListVolumes{}).Volumes[0]
	if v.LiveBytes != 83 || v.DeadBytes != 83 || v.Watermark != m.rowEnd {
		t.Fatalf("%+v", v)
	}
	m.check()

	// A sealed volume takes nothing more.
	late := m.content(20, []byte("late"))
	m.fails(granary.KindStale, &granary.SealVolume{Volume: m.volume, Epoch: 7})
	m.ok(&granary.SealVolume{Volume: m.volume, Epoch: 1})
	m.ok(&granary.SealVolume{Volume: m.volume, Epoch: 1})
	if r := m.fails(granary.KindStale, &granary.Commit{Inode: f, Content: late}); !slices.Equal(r.Missing, []uint32{0}) {
		t.Fatalf("missing %v", r.Missing)
	}
	if r := m.item(&shardsSealed{Volume: m.volume, Epoch: 2, Shards: 1}); r.Err != nil || r.Volume.State != granary.VolumeSealing {
		t.Fatalf("%+v", r)
	}
	if r := m.item(&shardsSealed{Volume: m.volume, Epoch: 2, Shards: 2}); r.Err != nil || r.Volume.State != granary.VolumeSealed {
		t.Fatalf("%+v", r)
	}
	m.check()
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "f"})
	m.drain(0)
	m.check()
	if v := ask[*granary.Volumes](m, &granary.ListVolumes{}).Volumes[0]; v.LiveBytes != 0 || v.DeadBytes != 166 {
		t.Fatalf("%+v", v)
	}
}

// TestChunksOfMoreParity refers by hash to a chunk that lies more thinly than the policy asks, and
// then writes it again.
func TestChunksOfMoreParity(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	thin := m.content(0, []byte("chunk"))
	m.ok(&granary.Commit{Inode: f, Content: thin})
	again := granary.Content{Chunks: slices.Clone(thin.Chunks), Extents: []granary.ExtentWrite{{Offset: 5, Length: 5}}, Parity: 2}
	again.Chunks[0].New = false
	if r := m.fails(granary.KindMissingChunks, &granary.Commit{Inode: f, Content: again}); !slices.Equal(r.Missing, []uint32{0}) {
		t.Fatalf("missing %v", r.Missing)
	}
	thick := m.ok(&granary.OpenVolume{Policy: 1, Placement: &granary.Placement{DataShards: 1, ParityShards: 2, Disks: []granary.DiskID{"d1", "d2", "d3"}}}).Volume
	again.Chunks[0].New = true
	again.Chunks[0].Location = granary.Location{Volume: thick.ID, Epoch: 1, Length: 85}
	again.Chunks[0].Watermark = granary.RowAlignment
	m.ok(&granary.Commit{Inode: f, Content: again})
	l := ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 10}}).Layout
	if len(l.Blocks) != 1 || l.Blocks[0].Location.Volume != thick.ID {
		t.Fatalf("the block lies at %+v, not in volume %d", l.Blocks, thick.ID)
	}
	m.check()
	// A thinner copy does not take its place.
	m.ok(&granary.Commit{Inode: f, Content: m.content(20, []byte("chunk"))})
	l = ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 30}}).Layout
	if len(l.Blocks) != 1 || l.Blocks[0].Location.Volume != thick.ID {
		t.Fatalf("the block lies at %+v, not in volume %d", l.Blocks, thick.ID)
	}
	m.check()
}

// bigFile makes a file of n windows with several pieces each, all of one block.
func bigFile(m *machine, name string, windows int) granary.InodeID {
	m.t.Helper()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular}).Attr.Inode
	c := granary.Content{Chunks: []granary.Chunk{m.chunk([]byte("x"))}}
	for i := range windows {
		for j := range 3 {
			c.Extents = append(c.Extents, granary.ExtentWrite{Offset: uint64(i)*windowSize + uint64(j)*10, Length: 1})
		}
	}
	m.ok(&granary.Commit{Inode: f, Content: c})
	return f
}

func TestReclaimInSteps(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	bigFile(m, "big", 100)
	m.check()
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "big"})
	m.check()
	m.dropAll()
	m.check()
	if st := ask[*granary.Status](m, &granary.GetStatus{}); st.Files != 0 || st.LogicalBytes != 0 || st.UniqueBytes != 1 {
		t.Fatalf("%+v", st)
	}
	m.item(&reclaim{Limit: 50})
	m.check()
	if steps := m.drain(50); steps < 5 {
		t.Fatalf("the rest took %d steps", steps)
	}
	m.check()
	if st := ask[*granary.Status](m, &granary.GetStatus{}); st.UniqueBytes != 0 || st.BlockBytes != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestLargeTruncation(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := bigFile(m, "big", 600)
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(windowSize + 15)})
	m.check()
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(500 * windowSize)})
	shown := func() int {
		return len(ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 1 << 60}}).Layout.Extents)
	}
	if n := shown(); n != 5 {
		t.Fatalf("%d extents are shown, want 5", n)
	}
	m.ok(&granary.Commit{Inode: f, Content: m.content(5, []byte("fits"))})
	m.fails(granary.KindBusy, &granary.Commit{Inode: f, Content: m.content(300*windowSize, []byte("later"))})
	m.fails(granary.KindBusy, &granary.Commit{Inode: f, Content: granary.Content{Inline: []byte("later")}})
	m.item(&reclaim{Limit: 500})
	m.check()
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(uint64(3))})
	m.check()
	if n := shown(); n != 1 {
		t.Fatalf("%d extents are shown, want 1", n)
	}
	m.drain(300)
	m.check()
	m.ok(&granary.Commit{Inode: f, Content: m.content(300*windowSize, []byte("now"))})
	if a := ask[*granary.Found](m, &granary.Lookup{Base: f}).Entry.Attr; a.Allocated != 4 {
		t.Fatalf("%+v", a)
	}
	m.check()
}

func TestCopyRangeIsBounded(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	src := m.ok(&granary.Create{Parent: granary.RootInode, Name: "src", Type: granary.TypeRegular}).Attr.Inode
	for i := range uint64(3) {
		c := granary.Content{Chunks: []granary.Chunk{m.chunk([]byte("x"))}}
		for j := range uint64(1000) {
			c.Extents = append(c.Extents, granary.ExtentWrite{Offset: (i*1000 + j) * 2, Length: 1})
		}
		m.ok(&granary.Commit{Inode: src, Content: c})
	}
	dst := m.ok(&granary.Create{Parent: granary.RootInode, Name: "dst", Type: granary.TypeRegular}).Attr.Inode
	op := &granary.CopyRange{Src: src, Dst: dst, Length: 1 << 20}
	if r := m.ok(op); r.Offset != 4000 {
		t.Fatalf("copied %d", r.Offset)
	}
	op.SrcOffset, op.DstOffset = 4000, 4000
	if r := m.ok(op); r.Offset != 1999 || r.Attr.Size != 5999 {
		t.Fatalf("copied %d", r.Offset)
	}
	m.fails(granary.KindTooLarge, &granary.CopyRange{Src: src, Dst: dst, Length: 1 << 20, DstOffset: granary.OffsetEnd})
	r := m.ok(&granary.CopyRange{Src: src, Dst: dst, Length: 3000, DstOffset: granary.OffsetEnd})
	if r.Offset != 3000 || r.Attr.Size != 8999 {
		t.Fatalf("copied %d, and there are %d", r.Offset, r.Attr.Size)
	}
	m.fails(granary.KindPrecondition, &granary.CopyRange{Src: src, Dst: dst, Length: 1, DstOffset: granary.OffsetEnd, Match: &granary.Precondition{Version: r.Attr.Version - 1}})
	if r = m.ok(&granary.CopyRange{Src: src, Dst: dst, Length: 1, DstOffset: granary.OffsetEnd, Match: &granary.Precondition{Version: r.Attr.Version}}); r.Attr.Size != 9000 {
		t.Fatalf("there are %d", r.Attr.Size)
	}
	b := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
	other := m.ok(&granary.Create{Parent: b, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	m.fails(granary.KindCrossDataset, &granary.CopyRange{Src: src, Dst: other, Length: 1})
	m.check()
}

// TestWatermarkIsBounded: what no shard can be as long as is no watermark, for volumes are sealed there.
func TestWatermarkIsBounded(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	id := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	for name, change := range map[string]func(*granary.Chunk){
		"far beyond any shard": func(c *granary.Chunk) { c.Watermark = 1 << 62 },
		"one row too long":     func(c *granary.Chunk) { c.Watermark = granary.ShardSizeMax + granary.RowAlignment },
	} {
		c := m.content(0, []byte(name))
		change(&c.Chunks[0])
		if r := m.do(&granary.Commit{Inode: id, Content: c}); kindOf(r) != granary.KindInvalid {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
	m.ok(&granary.Commit{Inode: id, Content: m.content(0, []byte("as it should be"))})
	m.check()
}
