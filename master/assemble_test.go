package master

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// upload is a multipart upload in progress.
type upload struct {
	m     *machine
	name  string
	dir   granary.InodeID
	parts []string
}

func newUpload(m *machine, dataset granary.DatasetID, name string) *upload {
	m.t.Helper()
	r := m.ok(&granary.Create{Parent: dataset.System(), Name: name, Type: granary.TypeDirectory, Mode: 0o700,
		Xattrs: []granary.Xattr{{Name: "granary.s3.upload.key", Value: []byte("key")}}})
	return &upload{m: m, name: name, dir: r.Attr.Inode}
}

// put uploads a part, as a client does.
func (u *upload) put(name string, c granary.Content) granary.InodeID {
	u.m.t.Helper()
	id := u.m.ok(&granary.Create{Parent: u.dir, Type: granary.TypeRegular, Anonymous: true, Content: &c}).Attr.Inode
	u.m.ok(&granary.Link{Inode: id, Parent: u.dir, Name: name, Replace: true, Xattrs: []granary.Xattr{{Name: granary.XattrETag, Value: []byte("part")}}})
	if !slices.Contains(u.parts, name) {
		u.parts = append(u.parts, name)
	}
	return id
}

// op is the completion, with the parts as the leader finds them now.
func (u *upload) op(parent granary.InodeID, name string) *granary.Assemble {
	u.m.t.Helper()
	op := &granary.Assemble{Upload: u.dir, UploadName: u.name, Parts: u.parts, Create: granary.Create{Parent: parent, Name: name,
		Type: granary.TypeRegular, MakeParents: true, Mode: 0o644, UID: 5, Xattrs: []granary.Xattr{{Name: granary.XattrETag, Value: []byte("e-2")}}}}
	var err error
	if op.Sources, err = u.m.s.resolve(context.Background(), op); err != nil {
		u.m.t.Fatal(err)
	}
	return op
}

func TestAssembleRules(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	b := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
	u := newUpload(m, b.Dataset(), "u1")
	one := u.put("1", m.content(0, []byte("one")))
	u.put("2", m.content(0, []byte("two")))

	t.Run("parts are written once", func(t *testing.T) {
		m.fails(granary.KindInvalid, &granary.Commit{Inode: one, Content: m.content(0, []byte("x"))})
		m.fails(granary.KindInvalid, &granary.SetAttr{Inode: one, Size: ptr(uint64(0))})
		m.fails(granary.KindInvalid, &granary.Allocate{Inode: one, Length: 9})
		m.fails(granary.KindInvalid, &granary.Link{Inode: one, Parent: b, Name: "x"})
		m.fails(granary.KindInvalid, &granary.SetAttr{Inode: one, GID: ptr(uint32(1))})
	})
	t.Run("an upload takes parts only", func(t *testing.T) {
		other := newUpload(m, b.Dataset(), "another")
		m.fails(granary.KindInvalid, u.op(other.dir, "x"))
		f := m.ok(&granary.Create{Parent: b, Name: "f", Type: granary.TypeRegular}).Attr.Inode
		m.fails(granary.KindInvalid, &granary.Link{Inode: f, Parent: other.dir, Name: "f"})
		m.fails(granary.KindInvalid, &granary.Rename{SrcParent: b, SrcName: "f", DstParent: other.dir, DstName: "f"})
		m.fails(granary.KindInvalid, &granary.Rename{SrcParent: u.dir, SrcName: "1", DstParent: b, DstName: "f", Exchange: true})
		m.ok(&granary.Unlink{Parent: b, Name: "f"})
		m.check()
	})
	resolve := func(change func(*granary.Assemble)) granary.Kind {
		op := u.op(b, "x")
		change(op)
		_, err := m.s.resolve(context.Background(), op)
		return granary.KindOf(err)
	}
	t.Run("what the leader refuses", func(t *testing.T) {
		inline := newUpload(m, b.Dataset(), "u2")
		inline.put("1", granary.Content{Inline: []byte("inline")})
		m.ok(&granary.Create{Parent: u.dir, Name: "dir", Type: granary.TypeDirectory})
		m.ok(&granary.Create{Parent: u.dir, Name: "another's", Type: granary.TypeRegular, UID: 7})
		for name, c := range map[string]struct {
			change func(*granary.Assemble)
			want   granary.Kind
		}{
			"nothing wrong":  {func(*granary.Assemble) {}, granary.KindNone},
			"no such upload": {func(op *granary.Assemble) { op.Upload += 1000 }, granary.KindNotFound},
			"no parts":       {func(op *granary.Assemble) { op.Parts = nil }, granary.KindInvalid},
			"too many parts": {func(op *granary.Assemble) { op.Parts = make([]string, granary.PartsMax+1) }, granary.KindInvalid},
			"no such part":   {func(op *granary.Assemble) { op.Parts = []string{"1", "3"} }, granary.KindInvalid},
			"a part twice":   {func(op *granary.Assemble) { op.Parts = []string{"1", "2", "1"} }, granary.KindInvalid},
			"a directory":    {func(op *granary.Assemble) { op.Parts = []string{"1", "dir"} }, granary.KindInvalid},
			"another's":      {func(op *granary.Assemble) { op.Parts = []string{"1", "another's"} }, granary.KindInvalid},
			"inline content": {func(op *granary.Assemble) { op.Upload = inline.dir; op.Parts = []string{"1"} }, granary.KindInvalid},
		} {
			if got := resolve(c.change); got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
	t.Run("what apply refuses", func(t *testing.T) {
		other := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "other", Type: granary.TypeDirectory}).Attr.Inode
		m.ok(&granary.Create{Parent: b, Name: "old", Type: granary.TypeRegular})
		m.ok(&granary.Create{Parent: b, Name: "d", Type: granary.TypeDirectory})
		version := u.op(b, "x").Sources.Version
		for name, c := range map[string]struct {
			change func(*granary.Assemble)
			want   granary.Kind
		}{
			"no sources":            {func(op *granary.Assemble) { op.Sources = nil }, granary.KindInvalid},
			"sources without sizes": {func(op *granary.Assemble) { op.Sources.Sizes = nil }, granary.KindInvalid},
			"a directory to make":   {func(op *granary.Assemble) { op.Create.Type = granary.TypeDirectory }, granary.KindInvalid},
			"content of its own":    {func(op *granary.Assemble) { op.Create.Content = &granary.Content{} }, granary.KindInvalid},
			"no such upload":        {func(op *granary.Assemble) { op.Upload += 1000 }, granary.KindNotFound},
			"another name":          {func(op *granary.Assemble) { op.UploadName = "u2" }, granary.KindNotFound},
			"not an upload":         {func(op *granary.Assemble) { op.Upload = b }, granary.KindInvalid},
			"older sources":         {func(op *granary.Assemble) { op.Sources.Version-- }, granary.KindStale},
			"checked before":        {func(op *granary.Assemble) { op.Version = version - 1 }, granary.KindStale},
			"another dataset":       {func(op *granary.Assemble) { op.Create.Parent = other }, granary.KindCrossDataset},
			"into the upload":       {func(op *granary.Assemble) { op.Create.Parent = u.dir }, granary.KindNotFound},
			"onto a directory":      {func(op *granary.Assemble) { op.Create.Name = "d" }, granary.KindIsDir},
			"exclusive":             {func(op *granary.Assemble) { op.Create.Name, op.Create.Exclusive = "old", true }, granary.KindExists},
			"a condition":           {func(op *granary.Assemble) { op.Create.Match = &granary.Precondition{Present: true} }, granary.KindPrecondition},
			"beyond a file": {func(op *granary.Assemble) {
				op.Sources.Sizes = []uint64{granary.FileSizeMax, granary.FileSizeMax}
			}, granary.KindFileTooLarge},
		} {
			op := u.op(b, "x")
			c.change(op)
			if r := m.do(op); kindOf(r) != c.want {
				t.Errorf("%s: %v, want %v", name, r.Err, c.want)
			}
			m.check()
		}
	})
	t.Run("once", func(t *testing.T) {
		op := u.op(b, "old")
		op.Version = op.Sources.Version
		m.seq++
		it := &mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: op}}
		first := m.item(it)
		if first.Err != nil || !first.Replaced || !first.Created || first.Attr.Size != 6 || first.Attr.UID != 5 {
			t.Fatalf("%+v", first)
		}
		op.Sources = nil // as the leader leaves it, for the upload is gone
		if again := m.item(it); again.Err != nil || again.Attr != first.Attr {
			t.Fatalf("again: %+v", again)
		}
		m.check()
		m.drain(1)
		m.check()
		m.ok(&granary.Unlink{Parent: b, Name: "old"})
		m.drain(0)
		m.check()
	})
}

// TestAssembleMoves looks at a file at every step of its assembly.
func TestAssembleMoves(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	chunks := contents{}
	u := newUpload(m, granary.RootDataset, "u")
	part := func(name, text string) granary.InodeID {
		c := m.content(0, []byte(text))
		chunks[c.Chunks[0].Hash] = []byte(text)
		return u.put(name, c)
	}
	want := ""
	var ids []granary.InodeID
	for i := range 30 {
		text := fmt.Sprintf("part %d;", i)
		ids = append(ids, part(fmt.Sprint(i), text))
		want += text
	}
	part("unused", "this one is not named")
	u.parts = u.parts[:30]
	r := m.ok(u.op(granary.RootInode, "dir/f"))
	f := r.Attr.Inode
	bytesNow := func() uint64 { return ask[*granary.Status](m, &granary.GetStatus{}).LogicalBytes }
	if n := bytesNow(); n != uint64(len(want)+len("this one is not named")) {
		t.Fatalf("%d bytes count, not those of the file and of the part that it has not", n)
	}
	steps := 0
	for ; ask[*granary.Found](m, &granary.Lookup{Base: f}).Entry.Attr.Flags&granary.FlagAssembling != 0; steps++ {
		m.check()
		m.fails(granary.KindBusy, &granary.Commit{Inode: f, Content: m.content(0, []byte("x"))})
		m.fails(granary.KindBusy, &granary.SetAttr{Inode: f, Size: ptr(uint64(1))})
		m.fails(granary.KindBusy, &granary.Allocate{Inode: f, Length: 1000})
		m.fails(granary.KindBusy, &granary.CopyRange{Src: f, Dst: f, Length: 1, DstOffset: 500})
		m.ok(&granary.SetAttr{Inode: f, Mode: ptr(uint32(0o600)), UID: ptr(uint32(steps)), MtimeNow: true, Size: ptr(uint64(len(want)))})
		m.ok(&granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: "user.a", Value: []byte("v")}})
		m.ok(&granary.Link{Inode: f, Parent: granary.RootInode, Name: fmt.Sprint("link", steps)})
		m.ok(&granary.Rename{SrcParent: granary.RootInode, SrcName: fmt.Sprint("link", steps), DstParent: granary.RootInode, DstName: "link"})
		m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "link"})
		copied := m.ok(&granary.Create{Parent: granary.RootInode, Name: "copy", Type: granary.TypeRegular, Replace: true}).Attr.Inode
		if r := m.ok(&granary.CopyRange{Src: f, Dst: copied, SrcOffset: 10, DstOffset: 3, Length: 50}); r.Offset != 50 {
			t.Fatalf("copied %d bytes", r.Offset)
		}
		if got := readBack(m, chunks, copied).text(); got != "\x00\x00\x00"+want[10:60] {
			t.Fatalf("step %d: copied %q", steps, got)
		}
		got := readBack(m, chunks, f)
		if got.text() != want {
			t.Fatalf("step %d: %q, want %q", steps, got.text(), want)
		}
		if a := ask[*granary.Found](m, &granary.Lookup{Base: f}).Entry.Attr; a.Allocated != a.Size || a.ContentVersion != r.Attr.ContentVersion {
			t.Fatalf("step %d: %+v", steps, a)
		}
		m.item(&reclaim{Limit: 7})
	}
	if steps < 10 {
		t.Fatalf("%d steps, each of 7 keys", steps)
	}
	if _, err := m.query(&granary.Lookup{Base: ids[29], Layout: &granary.Range{Length: 1}}); !granary.IsKind(err, granary.KindStale) && !granary.IsKind(err, granary.KindNotFound) {
		t.Fatalf("the part that was moved reads as %v", err)
	}
	m.drain(7)
	m.check()
	found := ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 1000}, Xattrs: true})
	if got := readBack(m, chunks, f).text(); got != want || len(found.Xattrs) != 2 || len(found.Layout.Extents) != 30 {
		t.Fatalf("%q, %d extents, %v", got, len(found.Layout.Extents), found.Xattrs)
	}
	m.ok(&granary.Commit{Inode: f, Content: m.content(0, []byte("changed"))})
	m.check()
}

// text is the content of a small file.
func (f *sparse) text() string {
	b := make([]byte, f.size)
	for at, c := range f.bytes {
		b[at] = c
	}
	return string(b)
}

// TestAssembleAgainstModel assembles parts of any shape, across the borders of windows, and removes the file at any moment.
func TestAssembleAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		chunks := contents{}
		u := newUpload(m, granary.RootDataset, "u")
		want := &sparse{bytes: map[uint64]byte{}}
		for i := range rapid.IntRange(1, 6).Draw(rt, "parts") {
			c, size := granary.Content{}, uint64(0)
			for range rapid.IntRange(0, 3).Draw(rt, "extents") {
				b := bytes.Repeat([]byte{byte(rapid.IntRange(1, 3).Draw(rt, "value"))}, rapid.IntRange(1, 20).Draw(rt, "length"))
				chunk := m.chunk(b)
				chunks[chunk.Hash] = b
				at := size + uint64(rapid.SampledFrom([]int{0, 0, 3, int(windowSize) - 10, int(windowSize)}).Draw(rt, "gap"))
				c.Chunks = append(c.Chunks, chunk)
				c.Extents = append(c.Extents, granary.ExtentWrite{Offset: at, Length: uint64(len(b)), Chunk: uint32(len(c.Chunks) - 1)})
				want.write(want.size+at-size, append(make([]byte, 0, len(b)), b...))
				size = at + uint64(len(b))
			}
			if rapid.IntRange(0, 3).Draw(rt, "hole") == 0 {
				c.Size = size + 10
				want.size += 10
			}
			u.put(fmt.Sprint(i), c)
			if rapid.IntRange(0, 4).Draw(rt, "again") == 0 {
				u.put(fmt.Sprint(i), c) // the same once more takes its place
			}
		}
		f := m.ok(u.op(granary.RootInode, "f")).Attr.Inode
		verify := func() {
			if err := m.s.check(); err != nil {
				rt.Fatal(err)
			}
			if f == 0 {
				return
			}
			if got := readBack(m, chunks, f); got.size != want.size || !equalBytes(got.bytes, want.bytes) {
				rt.Fatalf("%d bytes %v, want %d bytes %v", got.size, got.bytes, want.size, want.bytes)
			}
		}
		for verify(); m.s.pendingReclaim(); verify() {
			if f != 0 && rapid.IntRange(0, 9).Draw(rt, "remove") == 0 {
				rapid.SampledFrom([]func(){
					func() { m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "f"}) },
					func() { m.ok(&granary.RemoveTree{Parent: granary.RootInode, Name: "f"}) },
					func() {
						m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Replace: true})
					},
				}).Draw(rt, "how")()
				f = 0
				continue
			}
			m.item(&reclaim{Limit: rapid.IntRange(1, 8).Draw(rt, "limit")})
		}
		m.do(&granary.Unlink{Parent: granary.RootInode, Name: "f"})
		m.drain(0)
		f = 0
		verify()
		if st := ask[*granary.Status](m, &granary.GetStatus{}); st.UniqueBytes != 0 || st.LogicalBytes != 0 || st.Files != 0 {
			rt.Fatalf("left behind: %+v", st)
		}
	})
}
