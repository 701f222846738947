package filer

import (
	"slices"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// opsSince returns what was done after the first n operations, by kind, one letter each: Create, anonymous Node,
// copy Range, Link, Free (release).
func (f *fake) opsSince(n int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, op := range f.ops[n:] {
		switch op := op.(type) {
		case *granary.Create:
			b.WriteString(map[bool]string{false: "C", true: "N"}[op.Anonymous])
		case *granary.CopyRange:
			b.WriteString("R")
		case *granary.Link:
			b.WriteString("L")
		case *granary.Release:
			b.WriteString("F")
		default:
			b.WriteString("?")
		}
	}
	return b.String()
}

func (f *fake) opsCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ops)
}

func TestCopy(t *testing.T) {
	fs, f := testFS(t, Options{})
	ctx, root := t.Context(), granary.RootInode
	for name, test := range map[string]struct{ content, ops string }{
		"empty":  {"", "NL"},
		"inline": {"inline", "C"},
		"blocks": {text(5000), "NRL"},
	} {
		u, err := fs.Upload(ctx, UploadOptions{Root: root, Path: "/src-" + name, Mode: 0o600, Xattrs: []granary.Xattr{{Name: "a", Value: []byte("1")}, {Name: "b", Value: []byte("2")}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte(test.content)); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Commit(nil); err != nil {
			t.Fatal(err)
		}
		before := f.opsCount()
		info, err := fs.Copy(ctx, CopyOptions{SrcRoot: root, SrcPath: "/src-" + name, DstRoot: root, DstPath: "/to/dst-" + name, Xattrs: []granary.Xattr{{Name: "b", Value: []byte("3")}}})
		if err != nil {
			t.Fatal(name, err)
		}
		if got := f.opsSince(before); got != test.ops {
			t.Errorf("%s: did %s, want %s", name, got, test.ops)
		}
		a, _ := info.Xattr("a")
		b, _ := info.Xattr("b")
		if f.stored(info.Attr.Inode) != test.content || string(a) != "1" || string(b) != "3" || info.Attr.Mode != 0o600 {
			t.Errorf("%s: %+v", name, info)
		}
		at, err := fs.Stat(ctx, root, "/to/dst-"+name, StatOptions{Xattrs: true})
		if err != nil || at.Attr.Inode != info.Attr.Inode || len(at.Xattrs) != 2 {
			t.Errorf("%s: %+v, %v", name, at, err)
		}
	}
}

// TestCopyOverItself replaces the attributes of a file, as S3 clients do.
func TestCopyOverItself(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.put(t, granary.RootInode, "file", text(3000))
	info, err := fs.Copy(t.Context(), CopyOptions{
		SrcRoot: granary.RootInode, SrcPath: "/file", DstRoot: granary.RootInode, DstPath: "/file",
		ReplaceXattrs: true, Xattrs: []granary.Xattr{{Name: "new", Value: []byte("1")}},
	})
	if err != nil || f.stored(info.Attr.Inode) != text(3000) || len(info.Xattrs) != 1 {
		t.Fatalf("%+v: %v", info, err)
	}
}

// TestCopyOtherDataset copies by value where it cannot by reference, and leaves nothing behind.
func TestCopyOtherDataset(t *testing.T) {
	fs, f := testFS(t, Options{})
	if err := fs.CreateBucket(t.Context(), granary.Cred{}, "b"); err != nil {
		t.Fatal(err)
	}
	bucket, err := fs.Bucket(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	f.put(t, granary.RootInode, "file", text(3000))
	before := f.opsCount()
	info, err := fs.Copy(t.Context(), CopyOptions{SrcRoot: granary.RootInode, SrcPath: "/file", DstRoot: bucket, DstPath: "/x/file"})
	if err != nil || f.stored(info.Attr.Inode) != text(3000) || info.Attr.Inode.Dataset() != bucket.Dataset() {
		t.Fatalf("%+v: %v", info, err)
	}
	if got := f.opsSince(before); got != "NRFC" || len(f.session) != 0 {
		t.Fatalf("did %s; %d nameless inodes are left", got, len(f.session))
	}
}

// TestCopyConditions refuses under either condition, and leaves nothing behind.
func TestCopyConditions(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.put(t, granary.RootInode, "file", text(3000))
	f.put(t, granary.RootInode, "there", "x")
	o := CopyOptions{SrcRoot: granary.RootInode, SrcPath: "/file", DstRoot: granary.RootInode, DstPath: "/there", Match: &granary.Precondition{Absent: true}}
	_, err := fs.Copy(t.Context(), o)
	wantKind(t, err, granary.KindPrecondition)
	o.Match, o.SrcMatch = nil, &granary.Precondition{ETag: "other"}
	_, err = fs.Copy(t.Context(), o)
	wantKind(t, err, granary.KindPrecondition)
	if len(f.session) != 0 {
		t.Fatalf("%d nameless inodes are left", len(f.session))
	}
}

// TestCopyOfChangingSource begins anew when the source changes under it, and gives up if it goes on.
func TestCopyOfChangingSource(t *testing.T) {
	fs, f := testFS(t, Options{})
	ino := f.put(t, granary.RootInode, "file", text(3000))
	changes := 0
	f.onOp = func(op granary.Op) error {
		if _, ok := op.(*granary.CopyRange); ok && changes > 0 {
			changes--
			f.setData(f.inodes[ino], []byte(text(4000+changes)))
		}
		return nil
	}
	o := CopyOptions{SrcRoot: granary.RootInode, SrcPath: "/file", DstRoot: granary.RootInode, DstPath: "/copy"}
	changes = 1
	info, err := fs.Copy(t.Context(), o)
	if err != nil || f.stored(info.Attr.Inode) != text(4000) {
		t.Fatalf("%+v: %v", info, err)
	}
	changes = 10 * copyRetries
	_, err = fs.Copy(t.Context(), o)
	wantKind(t, err, granary.KindStale)
	if len(f.session) != 0 {
		t.Fatalf("%d nameless inodes are left", len(f.session))
	}
}

// TestCompose puts parts together, in the order given, in one step.
func TestCompose(t *testing.T) {
	fs, f := testFS(t, Options{})
	system := f.add(granary.RootDataset.System(), granary.TypeDirectory)
	dir := f.add(granary.RootDataset.Inode(5000), granary.TypeDirectory)
	system.names["id"] = dir.attr.Inode
	parts := Parts{Dir: dir.attr.Inode, Name: "id", Version: dir.attr.Version}
	want := ""
	for i := range 600 {
		content := strings.Repeat(string(rune('a'+i%26)), 20+i%9)
		name := itoa(i/10) + itoa(i%10)
		f.put(t, parts.Dir, name, content)
		parts.Names = append(parts.Names, name)
		want += content
	}
	f.put(t, parts.Dir, "inline", "small")
	f.put(t, granary.RootInode, "there", "x")
	o := UploadOptions{Root: granary.RootInode, Path: "/x/whole", Mode: 0o644, Cred: granary.Cred{UID: 3}}
	for name, c := range map[string]struct {
		change func(*UploadOptions, *Parts)
		want   granary.Kind
	}{
		"another version": {func(_ *UploadOptions, p *Parts) { p.Version = 77 }, granary.KindStale},
		"an inline part":  {func(_ *UploadOptions, p *Parts) { p.Names = []string{"inline"} }, granary.KindInvalid},
		"no such upload":  {func(_ *UploadOptions, p *Parts) { p.Name = "other" }, granary.KindNotFound},
		"a name in use":   {func(o *UploadOptions, _ *Parts) { o.Path, o.Exclusive = "/there", true }, granary.KindExists},
	} {
		o, p := o, parts
		c.change(&o, &p)
		if _, err := fs.Compose(t.Context(), o, p); !granary.IsKind(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	before := f.opsCount()
	info, err := fs.Compose(t.Context(), o, parts)
	if err != nil || f.stored(info.Attr.Inode) != want || info.Attr.UID != 3 || info.Name != "whole" {
		t.Fatalf("%+v: %v", info, err)
	}
	if got := f.opsSince(before); len(got) != 1 {
		t.Fatalf("did %s", got)
	}
	if f.exists(parts.Dir) || len(f.session) != 0 {
		t.Fatal("the upload is still there")
	}
}

// TestCopyGoesOn copies files so finely cut that one step does not get far.
func TestCopyGoesOn(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.copyMax = 7
	content := text(100)
	tree(t, fs, f, granary.RootInode, "fine="+content)
	info, err := fs.Copy(t.Context(), CopyOptions{SrcRoot: granary.RootInode, SrcPath: "/fine", DstRoot: granary.RootInode, DstPath: "/copy"})
	if err != nil || f.stored(info.Attr.Inode) != content {
		t.Fatalf("%+v: %v", info, err)
	}
}

// TestCopySteps cuts what is longer than one step may be.
func TestCopySteps(t *testing.T) {
	const step = uint64(granary.CopyRangeMax)
	var got []granary.CopyRange
	for _, op := range copySteps(nil, 1, 2, 10, 2*step+5) {
		got = append(got, *op.(*granary.CopyRange))
	}
	want := []granary.CopyRange{
		{Src: 1, Dst: 2, SrcOffset: 0, DstOffset: 10, Length: step},
		{Src: 1, Dst: 2, SrcOffset: step, DstOffset: 10 + step, Length: step},
		{Src: 1, Dst: 2, SrcOffset: 2 * step, DstOffset: 10 + 2*step, Length: 5},
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
}
