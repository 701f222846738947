package filer

import (
	"context"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// asked counts the queries that a store is asked.
type asked struct {
	store
	queries int
}

func (a *asked) Query(ctx context.Context, q granary.Query) (granary.Answer, error) {
	a.queries++
	return a.store.Query(ctx, q)
}

// smallBucket makes a bucket, and returns what an upload into it says of it.
func smallBucket(t *testing.T, fs *FS, name string) UploadOptions {
	t.Helper()
	if err := fs.CreateBucket(t.Context(), granary.Cred{}, name); err != nil {
		t.Fatal(err)
	}
	info, err := fs.Stat(t.Context(), granary.BucketsInode, name, StatOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return UploadOptions{Root: info.Attr.Inode, RootAttr: &info.Attr, Key: true, Mode: 0o644}
}

// stackSmall uploads what is stored with the metadata: nobody is asked where it goes. What is longer than was said, or may not be stored so, is
// uploaded all the same.
func stackSmall(t *testing.T, c *client.Client, fs *FS) {
	o := smallBucket(t, fs, "small")
	into := func(path string, size int64, exclusive bool) UploadOptions {
		o := o
		o.Path, o.Size, o.Exclusive = path, size, exclusive
		return o
	}
	stackUpload(t, fs, into("a/first", 100, false), noise(1, 100)) // knows the policy from now on
	plain := fs.store
	count := &asked{store: plain}
	fs.store = count
	info := stackUpload(t, fs, into("a/b/c", 100, true), noise(2, 100))
	fs.store = plain
	if count.queries != 0 || info.Attr.Size != 100 || info.Name != "c" {
		t.Fatalf("%d queries, %+v", count.queries, info)
	}
	stackRead(t, fs, o.Root, "a/b/c", noise(2, 100))
	for i, data := range [][]byte{noise(3, 0), noise(4, 99), noise(5, 101), noise(6, 5<<10), noise(7, 3<<20)} {
		path := "a/" + itoa(i)
		if info := stackUpload(t, fs, into(path, 100, false), data); info.Attr.Size != uint64(len(data)) {
			t.Fatalf("%d bytes, not %d", info.Attr.Size, len(data))
		}
		stackRead(t, fs, o.Root, path, data)
	}
	u, err := fs.Upload(t.Context(), into("a/b/c", 100, true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.Commit(nil)
	wantKind(t, err, granary.KindExists)
	stackSmallElsewhere(t, c, fs, into)
	stackSmallOver(t, fs, into("over", 4, false))
}

// stackSmallElsewhere uploads into a directory whose policy stores nothing with the metadata, though its bucket's does.
func stackSmallElsewhere(t *testing.T, c *client.Client, fs *FS, into func(string, int64, bool) UploadOptions) {
	dir, err := fs.MakeDir(t.Context(), DirOptions{Root: into("", 0, false).Root, Path: "never", Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := c.Policy(t.Context(), dir.Attr.Policy)
	if err != nil {
		t.Fatal(err)
	}
	policy.InlineMax = 0
	if _, err := c.Do(t.Context(), granary.Cred{}, &granary.SetPolicy{Inode: dir.Attr.Inode, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	info := stackUpload(t, fs, into("never/more", 100, false), noise(8, 100))
	stackRead(t, fs, into("", 0, false).Root, "never/more", noise(8, 100))
	if blocks, err := fs.CountBlocks(t.Context(), info.Attr.Inode); err != nil || blocks != 1 {
		t.Fatalf("%d blocks: %v", blocks, err)
	}
}

// stackSmallOver: what was given up is not published, and nothing is published twice.
func stackSmallOver(t *testing.T, fs *FS, o UploadOptions) {
	for _, commit := range []bool{false, true} {
		u, err := fs.Upload(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		if commit {
			if _, err := u.Commit(nil); err != nil {
				t.Fatal(err)
			}
		} else {
			u.Abort()
		}
		_, err = u.Write([]byte("t"))
		wantKind(t, err, granary.KindInvalid)
		_, err = u.Commit(nil)
		wantKind(t, err, granary.KindInvalid)
		_, err = fs.Stat(t.Context(), o.Root, o.Path, StatOptions{Key: true})
		if commit != (err == nil) {
			t.Fatalf("it was committed: %t; and is there: %v", commit, err)
		}
	}
}
