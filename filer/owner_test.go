package filer

import (
	"context"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// stackOwners makes everything that gateways make, and finds that it is their Owner's; the parts of an upload are the
// upload's owner's, whichever gateway they come through.
func stackOwners(t *testing.T, c *client.Client, _ *FS) {
	ctx := t.Context()
	owned := func(uid, gid uint32) *FS {
		fs := New(Options{Client: c, Owner: &granary.Cred{UID: uid, GID: gid}})
		t.Cleanup(func() {
			if err := fs.Close(context.Background()); err != nil { // the test's own context has ended
				t.Error(err)
			}
		})
		return fs
	}
	fs, other := owned(1000, 100), owned(2000, 200)
	if err := fs.CreateBucket(ctx, granary.Cred{}, "owned"); err != nil {
		t.Fatal(err)
	}
	root, err := fs.Bucket(ctx, "owned")
	if err != nil {
		t.Fatal(err)
	}
	stackUpload(t, fs, UploadOptions{Root: root, Path: "/small/a", Mode: 0o644}, []byte("small"))
	stackUpload(t, fs, UploadOptions{Root: root, Path: "/large/a", Mode: 0o644}, noise(1, 1<<20))
	for _, name := range []string{"small", "large"} {
		o := CopyOptions{SrcRoot: root, SrcPath: "/" + name + "/a", DstRoot: root, DstPath: "/copy/of/" + name}
		if _, err := fs.Copy(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fs.MkdirAll(ctx, granary.Cred{}, root, "/made/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.MakeDir(ctx, DirOptions{Root: root, Path: "marker/dir", Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	upload, err := fs.MakeDir(ctx, DirOptions{Root: root.Dataset().System(), Path: "id", Mode: 0o700})
	if err != nil {
		t.Fatal(err)
	}
	dir := upload.Attr.Inode
	stackUpload(t, fs, UploadOptions{Root: dir, Path: "1", NoInline: true}, []byte("one"))
	stackUpload(t, other, UploadOptions{Root: dir, Path: "2", NoInline: true}, []byte("two"))
	now, err := fs.GetAttr(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := Parts{Dir: dir, Name: "id", Version: now.Version, Names: []string{"1", "2"}}
	if _, err := fs.Compose(ctx, UploadOptions{Root: root, Path: "/composed/whole", Mode: 0o644}, parts); err != nil {
		t.Fatal(err)
	}
	stackRead(t, fs, root, "/composed/whole", []byte("onetwo"))
	for _, path := range []string{"/", "/small", "/small/a", "/large", "/large/a", "/copy", "/copy/of", "/copy/of/small", "/copy/of/large",
		"/made", "/made/dir", "/marker", "/marker/dir", "/composed", "/composed/whole"} {
		info, err := fs.Stat(ctx, root, path, StatOptions{})
		if err != nil || info.Attr.UID != 1000 || info.Attr.GID != 100 {
			t.Errorf("%s: %+v, %v", path, info, err)
		}
	}
}

// TestOwner has callers make files where a FS has an owner and where it has none: it counts for uid 0 alone.
func TestOwner(t *testing.T) {
	owned, _ := testFS(t, Options{Owner: &granary.Cred{UID: 1000, GID: 100}})
	free, _ := testFS(t, Options{})
	for _, c := range []struct {
		fs         *FS
		cred, want granary.Cred
	}{
		{owned, granary.Cred{}, granary.Cred{UID: 1000, GID: 100}},
		{owned, granary.Cred{UID: 7, GID: 8}, granary.Cred{UID: 7, GID: 8}},
		{free, granary.Cred{GID: 8}, granary.Cred{GID: 8}},
		{free, granary.Cred{UID: 7, GID: 8}, granary.Cred{UID: 7, GID: 8}},
	} {
		name := itoa(int(c.cred.UID)) + "f"
		h, e, err := c.fs.Create(t.Context(), c.cred, granary.RootInode, name, 0o644, 0, true, readWrite())
		if err != nil || e.Attr.UID != c.want.UID || e.Attr.GID != c.want.GID {
			t.Fatalf("as %+v: %+v, %v", c.cred, e.Attr, err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		d, err := c.fs.Mkdir(t.Context(), c.cred, granary.RootInode, name+"d", 0o755, 0)
		if err != nil || d.Attr.UID != c.want.UID || d.Attr.GID != c.want.GID {
			t.Fatalf("as %+v: %+v, %v", c.cred, d.Attr, err)
		}
	}
}
