package master

import (
	"reflect"
	"testing"

	"github.com/dsorchard/granary"
)

func TestCreateLookupUnlink(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	r := m.ok(&granary.Create{Parent: granary.RootInode, Name: "a/b/c", Type: granary.TypeRegular, Mode: 0o644, UID: 7, MakeParents: true,
		Content: &granary.Content{Inline: []byte("hello")}, Xattrs: []granary.Xattr{{Name: "user.x", Value: []byte("1")}, {Name: granary.XattrETag, Value: []byte("e")}}})
	m.check()
	f := ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: "a/b/c", Xattrs: true, Layout: &granary.Range{Length: 100}})
	if f.Entry.Attr != r.Attr || string(f.Layout.Inline) != "hello" || f.Layout.Size != 5 || len(f.Xattrs) != 2 || f.Entry.Name != "c" {
		t.Fatalf("found %+v, made %+v", f, r.Attr)
	}
	m.fails(granary.KindExists, &granary.Create{Parent: f.Parent, Name: "c", Type: granary.TypeRegular, Exclusive: true})
	m.fails(granary.KindPrecondition, &granary.Create{Parent: f.Parent, Name: "c", Type: granary.TypeRegular, Replace: true, Match: &granary.Precondition{Absent: true}})
	m.fails(granary.KindPrecondition, &granary.Unlink{Parent: f.Parent, Name: "c", Match: &granary.Precondition{ETag: "f"}})
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "a/b/c", Path: true, Prune: true, Match: &granary.Precondition{ETag: "e", Version: r.Attr.Version}})
	m.check()
	if _, err := m.query(&granary.Lookup{Base: granary.RootInode, Path: "a"}); !granary.IsKind(err, granary.KindNotFound) {
		t.Fatalf("the implicit directory is still there: %v", err)
	}
	m.drain(10)
	m.check()
	if st := ask[*granary.Status](m, &granary.GetStatus{}); st.Files != 0 || st.LogicalBytes != 0 {
		t.Fatalf("%d files of %d bytes are left", st.Files, st.LogicalBytes)
	}
}

// TestResultsAreBounded: a client that acknowledges nothing is refused before its results fill the
// store, and goes on once it does.
func TestResultsAreBounded(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	send := func(seq, lowest uint64) granary.Kind {
		return kindOf(m.item(&mutation{Session: m.session, LowestUnacked: lowest, Request: granary.Request{Seq: seq, Op: &granary.SetAttr{Inode: granary.RootInode}}}))
	}
	if k := send(granary.UnackedMax-1, 0); k != granary.KindNone {
		t.Errorf("the last that is kept: %v", k)
	}
	if k := send(granary.UnackedMax, 0); k != granary.KindTooLarge {
		t.Errorf("one more: %v", k)
	}
	if k := send(granary.UnackedMax-1, 0); k != granary.KindNone {
		t.Errorf("a retry of what is kept: %v", k)
	}
	if k := send(granary.UnackedMax, 2); k != granary.KindNone {
		t.Errorf("after an acknowledgement: %v", k)
	}
	m.check()
}

func TestFailedOperationHasNoEffect(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	// The directories of the path are made before the content turns out to be wrong.
	m.fails(granary.KindInvalid, &granary.Create{Parent: granary.RootInode, Name: "x/y/z", Type: granary.TypeRegular, MakeParents: true,
		Content: &granary.Content{Inline: make([]byte, granary.InlineSizeMax+1)}})
	if _, err := m.query(&granary.Lookup{Base: granary.RootInode, Path: "x"}); !granary.IsKind(err, granary.KindNotFound) {
		t.Fatalf("a failed create left a directory: %v", err)
	}
	m.check()
}

func TestExactlyOnce(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	mk := func(seq, lowest uint64, name string) granary.Result {
		return m.item(&mutation{Session: m.session, LowestUnacked: lowest, Request: granary.Request{Seq: seq, Op: &granary.Create{
			Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Exclusive: true}}})
	}
	first := mk(1, 1, "f")
	failed := mk(2, 1, "f")
	if first.Err != nil || kindOf(failed) != granary.KindExists {
		t.Fatalf("%v, %v", first.Err, failed.Err)
	}
	if again := mk(1, 1, "f"); !reflect.DeepEqual(again, first) {
		t.Fatalf("a retry gave %+v, first %+v", again, first)
	}
	if again := mk(2, 1, "other"); kindOf(again) != granary.KindExists || again.Index != failed.Index {
		t.Fatalf("a retry of a failed request gave %+v", again)
	}
	if r := mk(4, 3, "g"); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := mk(3, 3, "h"); r.Err != nil {
		t.Fatalf("requests arrive out of order: %v", r.Err)
	}
	if r := mk(1, 3, "f"); kindOf(r) != granary.KindStale {
		t.Fatalf("a forgotten request gave %+v", r)
	}
	results := 0
	m.s.each(key(tableResult), func(k, v []byte) { results++ })
	if results != 2 {
		t.Fatalf("%d records of results are kept, want those of 3 and 4", results)
	}
	m.item(&expireSession{m.session})
	if r := mk(5, 3, "i"); kindOf(r) != granary.KindExpired {
		t.Fatalf("an expired session's request gave %+v", r)
	}
	m.drain(2)
	m.s.each(key(tableResult), func(k, v []byte) { t.Fatalf("result %q is left of the session", k) })
	m.check()
}

func TestSessionsByNonce(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	a := m.item(&openSession{Client: "c", Nonce: 5}).Offset
	if b := m.item(&openSession{Client: "c", Nonce: 5}).Offset; b != a {
		t.Fatalf("the same nonce opened %d and %d", a, b)
	}
	data, err := (&command{Time: 1, Items: []item{&openSession{Nonce: 6}, &openSession{Nonce: 7}}}).marshal()
	if err != nil {
		t.Fatal(err)
	}
	rs := m.s.apply([]entry{{Index: 100, Term: 2, Data: data}, {Index: 101, Term: 2}, {Index: 99, Data: data}})
	if rs[0][0].Offset == rs[0][1].Offset || rs[1] != nil || rs[2] != nil {
		t.Fatalf("results %+v", rs)
	}
	if i, term := m.s.applied(); i != 101 || term != 2 {
		t.Fatalf("applied %d in term %d", i, term)
	}
	m.check()
}

func TestOrphans(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	r := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular})
	m.ok(&granary.Commit{Inode: r.Attr.Inode, Content: m.content(0, []byte("abc"))})
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "f"})
	m.check()
	m.ok(&granary.Commit{Inode: r.Attr.Inode, Content: m.content(1, []byte("xyz"))})
	m.ok(&granary.SetAttr{Inode: r.Attr.Inode, UID: ptr(uint32(5))})
	m.check()
	m.fails(granary.KindNotFound, &granary.Link{Inode: r.Attr.Inode, Parent: granary.RootInode, Name: "g"})
	m.fails(granary.KindNotFound, &granary.Release{Inode: r.Attr.Inode})
	if d := m.item(&drop{Inodes: []granary.InodeID{r.Attr.Inode, granary.RootInode, 12345, r.Attr.Inode}}); d.Offset != 1 {
		t.Fatalf("dropped %d", d.Offset)
	}
	m.fails(granary.KindNotFound, &granary.Commit{Inode: r.Attr.Inode, Content: m.content(1, []byte("late"))})
	m.check()

	freed := m.ok(&granary.Create{Parent: granary.RootInode, Type: granary.TypeRegular, Anonymous: true})
	m.ok(&granary.Release{Inode: freed.Attr.Inode})
	m.check()
	m.dropAll()
	m.fails(granary.KindNotFound, &granary.Release{Inode: freed.Attr.Inode})
	an := m.ok(&granary.Create{Parent: granary.RootInode, Type: granary.TypeRegular, Anonymous: true, Content: &granary.Content{Inline: []byte("up")}})
	m.check()
	m.ok(&granary.Link{Inode: an.Attr.Inode, Parent: granary.RootInode, Name: "d/up", MakeParents: true, Xattrs: []granary.Xattr{{Name: granary.XattrETag, Value: []byte("1")}}})
	m.check()
	an2 := m.ok(&granary.Create{Parent: granary.RootInode, Type: granary.TypeRegular, Anonymous: true})
	if l := m.ok(&granary.Link{Inode: an2.Attr.Inode, Parent: granary.RootInode, Name: "d/up", MakeParents: true, Replace: true}); !l.Replaced || l.Attr.Nlink != 1 {
		t.Fatalf("%+v", l)
	}
	m.ok(&granary.Create{Parent: granary.RootInode, Type: granary.TypeRegular, Anonymous: true})
	m.check()
	m.ok(&granary.CloseSession{})
	m.check()
	m.drain(5)
	m.check()
	if st := ask[*granary.Status](m, &granary.GetStatus{}); st.Files != 1 || st.UniqueBytes != 0 || st.Sessions != 0 {
		t.Fatalf("%+v", st)
	}
	if v := m.s.volumesInState(granary.VolumeSealing); len(v) != 1 || v[0].Epoch != 2 || v[0].Owner != 0 {
		t.Fatalf("volumes %+v", v)
	}
}

func TestBuckets(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.fails(granary.KindNotOwner, &granary.Create{Parent: granary.BucketsInode, Name: "f", Type: granary.TypeRegular})
	b := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory, Mode: 0o755}).Attr
	if b.Inode != b.Inode.Dataset().Root() || b.Parent != granary.BucketsInode || b.Inode.Dataset() == granary.RootDataset {
		t.Fatalf("bucket %+v", b)
	}
	m.ok(&granary.Create{Parent: granary.RootInode, Name: "buckets/b/k/1", Type: granary.TypeRegular, MakeParents: true})
	m.fails(granary.KindNotFound, &granary.Create{Parent: granary.RootInode, Name: "buckets/none/k", Type: granary.TypeRegular, MakeParents: true})
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: granary.BucketsInode, Name: "b"})
	m.fails(granary.KindNotOwner, &granary.RemoveTree{Parent: granary.BucketsInode, Name: "b"})
	m.fails(granary.KindNotOwner, &granary.Rmdir{Parent: granary.RootInode, Name: granary.BucketsName})
	m.fails(granary.KindCrossDataset, &granary.Rename{SrcParent: granary.BucketsInode, SrcName: "b", DstParent: granary.RootInode, DstName: "b"})
	m.fails(granary.KindCrossDataset, &granary.Rename{SrcParent: b.Inode, SrcName: "k", DstParent: granary.RootInode, DstName: "k"})
	m.ok(&granary.Rename{SrcParent: granary.BucketsInode, SrcName: "b", DstParent: granary.BucketsInode, DstName: "c"})
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "buckets/c/k/1", Path: true})
	up := m.ok(&granary.Create{Parent: b.Inode.Dataset().System(), Name: "upload", Type: granary.TypeDirectory})
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: granary.BucketsInode, Name: "c"})
	m.ok(&granary.RemoveTree{Parent: b.Inode.Dataset().System(), Name: "upload"})
	_ = up
	m.check()
	m.ok(&granary.Rmdir{Parent: granary.BucketsInode, Name: "c"})
	m.check()
	m.fails(granary.KindNotFound, &granary.Create{Parent: b.Inode, Name: "late", Type: granary.TypeRegular})
	m.drain(4)
	m.check()
	m.s.each(keyDataset(b.Inode.Dataset()), func(k, v []byte) { t.Fatal("the dataset's record is left") })
}

func TestMarkerDirectories(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	mark := &granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Flags: granary.FlagMarker, MakeParents: true,
		Xattrs: []granary.Xattr{{Name: "granary.s3.x", Value: []byte("1")}}}
	m.ok(&granary.Create{Parent: granary.RootInode, Name: "d/f", Type: granary.TypeRegular, MakeParents: true})
	if r := m.ok(mark); r.Created || r.Attr.Flags != granary.FlagMarker {
		t.Fatalf("%+v", r)
	}
	m.fails(granary.KindExists, mark)
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "d/f", Path: true, Prune: true})
	l := ask[*granary.Listing](m, &granary.List{Root: granary.RootInode})
	if len(l.Items) != 1 || l.Items[0].Key != "d/" {
		t.Fatalf("listing %+v", l)
	}
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "d", Path: true, Prune: true})
	m.check()
	if r := ask[*granary.Directory](m, &granary.ReadDir{Inode: granary.RootInode}); len(r.Entries) != 1 {
		t.Fatalf("entries %+v", r.Entries)
	}
}

func TestRemovedTreeTakesNothingMore(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	a := m.ok(&granary.Create{Parent: granary.RootInode, Name: "a", Type: granary.TypeDirectory}).Attr.Inode
	b := m.ok(&granary.Create{Parent: a, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
	c := m.ok(&granary.Create{Parent: b, Name: "c", Type: granary.TypeDirectory}).Attr.Inode
	f := m.ok(&granary.Create{Parent: c, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	m.ok(&granary.Link{Inode: f, Parent: granary.RootInode, Name: "kept"})
	m.ok(&granary.RemoveTree{Parent: granary.RootInode, Name: "a"})
	m.fails(granary.KindNotFound, &granary.Create{Parent: c, Name: "lost", Type: granary.TypeRegular})
	m.fails(granary.KindNotFound, &granary.Rename{SrcParent: granary.RootInode, SrcName: "kept", DstParent: c, DstName: "lost"})
	m.check()
	m.drain(1)
	m.check()
	if r := ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: "kept"}); r.Entry.Attr.Nlink != 1 {
		t.Fatalf("%+v", r.Entry)
	}
	if st := ask[*granary.Status](m, &granary.GetStatus{}); st.Files != 1 {
		t.Fatalf("%d files", st.Files)
	}
}

func TestAttributesAndPolicies(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o2775, GID: 9}).Attr
	p := granary.Policy{DataShards: 2, ParityShards: 1, InlineMax: 10}
	if r := m.ok(&granary.SetPolicy{Inode: d.Inode, Policy: p}); r.Attr.Policy != 2 {
		t.Fatalf("%+v", r.Attr)
	}
	m.fails(granary.KindInvalid, &granary.SetPolicy{Inode: d.Inode, Policy: granary.Policy{DataShards: 99}})
	m.fails(granary.KindStale, &granary.SetPolicy{Inode: d.Inode, Policy: granary.DefaultPolicy(), Inherited: true})
	heir := m.ok(&granary.Create{Parent: granary.RootInode, Name: "heir", Type: granary.TypeDirectory, Mode: 0o755}).Attr
	if r := m.ok(&granary.SetPolicy{Inode: heir.Inode, Policy: p, Inherited: true}); r.Attr.Policy != 2 || r.Attr.Flags != 0 {
		t.Fatalf("%+v", r.Attr)
	}
	if r := m.ok(&granary.SetPolicy{Inode: heir.Inode, Policy: p}); r.Attr.Flags != granary.FlagPolicy {
		t.Fatalf("%+v", r.Attr)
	}
	if r := m.ok(&granary.SetPolicy{Inode: granary.RootInode, Policy: p}); r.Attr.Policy != 2 {
		t.Fatalf("equal policies are %d and 2", r.Attr.Policy)
	}
	f := m.ok(&granary.Create{Parent: d.Inode, Name: "f", Type: granary.TypeRegular, Mode: 0o6777, UID: 1, GID: 1}).Attr
	if f.GID != 9 || f.Policy != 2 {
		t.Fatalf("%+v", f)
	}
	if s := m.ok(&granary.Create{Parent: d.Inode, Name: "s", Type: granary.TypeDirectory, Mode: 0o755}).Attr; s.Mode != 0o2755 || s.GID != 9 {
		t.Fatalf("%+v", s)
	}
	m.fails(granary.KindInvalid, &granary.Commit{Inode: f.Inode, Content: granary.Content{Inline: make([]byte, 11)}})
	a := m.ok(&granary.SetAttr{Inode: f.Inode, KillSuidgid: true, Atime: ptr(granary.Time(5)), MtimeNow: true, UID: ptr(uint32(3))}).Attr
	if a.Mode != 0o777 || a.Atime != 5 || a.Mtime != a.Ctime || a.UID != 3 {
		t.Fatalf("%+v", a)
	}
	x := granary.Xattr{Name: "user.a", Value: []byte("v")}
	m.fails(granary.KindNoData, &granary.SetXattr{Inode: f.Inode, Xattr: x, ReplaceOnly: true})
	m.ok(&granary.SetXattr{Inode: f.Inode, Xattr: x, CreateOnly: true})
	m.fails(granary.KindExists, &granary.SetXattr{Inode: f.Inode, Xattr: x, CreateOnly: true})
	m.ok(&granary.RemoveXattr{Inode: f.Inode, Name: "user.a"})
	m.fails(granary.KindNoData, &granary.RemoveXattr{Inode: f.Inode, Name: "user.a"})
	m.check()
}
