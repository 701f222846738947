package filer

import (
	"strings"
	"testing"

	"github.com/dsorchard/granary"
	"pgregory.net/rapid"
)

func TestCleanPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "//": "/", "a": "/a", "/a/": "/a", "/a//b/./c": "/a/b/c",
		"..": "/", "/../..": "/", "/a/../b": "/b", "/a/../../b": "/b", "/...": "/...", "/a/..b": "/a/..b",
		"/\xff": "/\xff",
	} {
		if got, err := CleanPath(in); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]granary.Kind{
		"/a\x00b":                      granary.KindInvalid,
		"/" + strings.Repeat("x", 256): granary.KindNameTooLong,
		strings.Repeat("/"+strings.Repeat("x", 200), 25): granary.KindNameTooLong,
		strings.Repeat("/x", 1025):                       granary.KindNameTooLong,
	} {
		_, err := CleanPath(in)
		if !granary.IsKind(err, want) {
			t.Errorf("%.20q…: %v, want %v", in, err, want)
		}
	}
}

// TestCleanPathIsClean: a clean path is absolute, has no dots, and is its own clean path.
func TestCleanPathIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "..", ".", "", "/"})).Draw(t, "parts"), "/")
		got, err := CleanPath(in)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := CleanPath(got); again != got || got[0] != '/' || strings.Contains(got+"/", "/../") || strings.Contains(got+"/", "/./") {
			t.Fatalf("%q: %q, %q", in, got, again)
		}
	})
}

// tree makes entries: "dir/" a directory, "link>target" a symbolic link, "file=content" a file.
func tree(t *testing.T, fs *FS, f *fake, root granary.InodeID, entries ...string) {
	t.Helper()
	for _, e := range entries {
		path, rest, _ := strings.Cut(e, ">")
		path, content, isFile := strings.Cut(path, "=")
		dir, name := splitPath(strings.TrimSuffix(path, "/"))
		parent, err := fs.MkdirAll(t.Context(), granary.Cred{}, root, "/"+dir, 0o755)
		if err != nil {
			t.Fatal(e, err)
		}
		switch {
		case rest != "":
			_, err = fs.Symlink(t.Context(), granary.Cred{}, parent.Attr.Inode, name, rest)
		case isFile:
			f.put(t, parent.Attr.Inode, name, content)
		default:
			_, err = fs.Mkdir(t.Context(), granary.Cred{}, parent.Attr.Inode, name, 0o755, 0)
		}
		if err != nil {
			t.Fatal(e, err)
		}
	}
}

// TestWalk follows symbolic links of every form, and finds no way out of a bucket.
func TestWalk(t *testing.T) {
	fs, f := testFS(t, Options{})
	tree(t, fs, f, granary.RootInode, "secret=root's", "etc/passwd=root's")
	if err := fs.CreateBucket(t.Context(), granary.Cred{}, "b"); err != nil {
		t.Fatal(err)
	}
	root, err := fs.Bucket(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	tree(t, fs, f, root,
		"secret=the bucket's", "d/e/file=deep", "d/top=top",
		"d/e/up>../top", "d/e/upup>../../d/top", "abs>/d/e", "rel>d/e", "chain>rel", "dot>./d/./e/.",
		"out>../secret", "d/e/out>../../../../../secret", "absout>/../../secret", "outetc>/../../etc/passwd",
		"loop>loop2", "loop2>loop", "self>self/x", "dangling>nowhere", "filelink>d/top", "bad>d/top/../top", "r>/", "d/back>..",
	)
	for path, want := range map[string]string{
		"/d/e/file": "deep", "d/e/file": "deep", "/abs/file": "deep", "/rel/file": "deep", "/chain/file": "deep", "/dot/file": "deep",
		"/d/e/up": "top", "/abs/up": "top", "/rel/upup": "top", "/filelink": "top", "/r/r/d/top": "top", "/d/back/d/back/d/top": "top",
		"/out": "the bucket's", "/d/e/out": "the bucket's", "/absout": "the bucket's", "/abs/out": "the bucket's",
	} {
		file, err := fs.OpenFile(t.Context(), root, path, true)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := f.stored(file.Info.Attr.Inode); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		file.Close()
	}
	for path, want := range map[string]granary.Kind{
		"/loop": granary.KindLoop, "/self": granary.KindLoop, "/loop/x": granary.KindLoop,
		"/dangling": granary.KindNotFound, "/outetc": granary.KindNotFound, "/bad": granary.KindNotDir,
		"/secret/x": granary.KindNotDir, "/filelink/x": granary.KindNotDir,
		"/../secret": granary.KindInvalid, "/d//e": granary.KindInvalid, "/d/": granary.KindInvalid, "/d/../d": granary.KindInvalid,
		"/abs": granary.KindIsDir,
	} {
		_, err := fs.OpenFile(t.Context(), root, path, true)
		if !granary.IsKind(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	info, err := fs.Stat(t.Context(), root, "/abs", StatOptions{})
	if err != nil || info.Target != "/d/e" || info.Name != "abs" || info.Parent != root {
		t.Errorf("not followed: %+v, %v", info, err)
	}
	if info, err = fs.Stat(t.Context(), root, "/", StatOptions{}); err != nil || info.Attr.Inode != root {
		t.Errorf("the root: %+v, %v", info, err)
	}
}

// TestSymlinksMax follows as many links as Linux does, and no more.
func TestSymlinksMax(t *testing.T) {
	fs, f := testFS(t, Options{})
	tree(t, fs, f, granary.RootInode, "l00=end")
	for i := 1; i <= symlinksMax+1; i++ {
		tree(t, fs, f, granary.RootInode, "l"+itoa(i)+">l"+itoa(i-1))
	}
	if _, err := fs.Stat(t.Context(), granary.RootInode, "l"+itoa(symlinksMax), StatOptions{Follow: true}); err != nil {
		t.Fatal(err)
	}
	_, err := fs.Stat(t.Context(), granary.RootInode, "l"+itoa(symlinksMax+1), StatOptions{Follow: true})
	wantKind(t, err, granary.KindLoop)
}

// TestUploadPlaces publishes below directories that are there, that are not, and behind links.
func TestUploadPlaces(t *testing.T) {
	fs, f := testFS(t, Options{})
	tree(t, fs, f, granary.RootInode, "d/file=old", "link>d", "filelink>d/file", "dangling>nowhere")
	for path, want := range map[string]string{
		"/new": "/new", "/x/y/z": "/x/y/z", "/d/a": "/d/a", "/link/b": "/d/b", "/link/p/q": "/d/p/q", "/filelink": "/filelink", "/d/file": "/d/file",
	} {
		u, err := fs.Upload(t.Context(), UploadOptions{Root: granary.RootInode, Path: path, Mode: 0o640, Xattrs: []granary.Xattr{{Name: "a", Value: []byte("1")}}})
		if err != nil {
			t.Fatal(path, err)
		}
		if _, err := u.Write([]byte("content of " + path)); err != nil {
			t.Fatal(err)
		}
		info, err := u.Commit([]granary.Xattr{{Name: granary.XattrETag, Value: []byte("etag")}})
		if err != nil || info.ETag() != "etag" {
			t.Fatal(path, info, err)
		}
		at, err := fs.Stat(t.Context(), granary.RootInode, want, StatOptions{Xattrs: true})
		if err != nil || f.stored(at.Attr.Inode) != "content of "+path || at.ETag() != "etag" || at.Attr.Mode != 0o640 {
			t.Errorf("%s: %+v, %v", want, at, err)
		}
		u.Abort()
	}
	for path, want := range map[string]granary.Kind{
		"/": granary.KindInvalid, "/a//b": granary.KindInvalid, "/new/x": granary.KindNotDir, "/dangling/x": granary.KindNotFound,
	} {
		_, err := fs.Upload(t.Context(), UploadOptions{Root: granary.RootInode, Path: path})
		if !granary.IsKind(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	u, err := fs.Upload(t.Context(), UploadOptions{Root: granary.RootInode, Path: "/d/a", Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.Commit(nil)
	wantKind(t, err, granary.KindExists)
}

// TestMkdirAllAndRemove makes directories that are not implicit, and removes them in every way.
func TestMkdirAllAndRemove(t *testing.T) {
	fs, f := testFS(t, Options{})
	ctx, root := t.Context(), granary.RootInode
	info, err := fs.MkdirAll(ctx, granary.Cred{UID: 5}, root, "/a/b/c", 0o750)
	if err != nil || info.Name != "c" || info.Attr.Mode != 0o750 || info.Attr.UID != 5 || info.Attr.Flags != 0 {
		t.Fatalf("%+v: %v", info, err)
	}
	tree(t, fs, f, root, "a/link>b", "a/b/file=x")
	for _, path := range []string{"/", "/a/b/c", "/a/link/c", "/a/link/d/e"} {
		if _, err := fs.MkdirAll(ctx, granary.Cred{}, root, path, 0o755); err != nil {
			t.Fatal(path, err)
		}
	}
	if _, err = fs.Stat(ctx, root, "/a/b/d/e", StatOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = fs.MkdirAll(ctx, granary.Cred{}, root, "/a/b/file", 0o755)
	wantKind(t, err, granary.KindExists)
	_, err = fs.MkdirAll(ctx, granary.Cred{}, root, "/a/b/file/x", 0o755)
	wantKind(t, err, granary.KindNotDir)

	wantKind(t, fs.Remove(ctx, root, "/", RemoveOptions{Recursive: true}), granary.KindInvalid)
	wantKind(t, fs.Remove(ctx, root, "/a/nothing", RemoveOptions{}), granary.KindNotFound)
	wantKind(t, fs.Remove(ctx, root, "/a/b", RemoveOptions{}), granary.KindNotEmpty)
	wantKind(t, fs.Remove(ctx, root, "/a/b/file", RemoveOptions{Match: &granary.Precondition{Version: 1 << 40}}), granary.KindPrecondition)
	for _, path := range []string{"/a/link/file", "/a/link/d/e", "/a/link", "/a/b/d"} {
		if err := fs.Remove(ctx, root, path, RemoveOptions{}); err != nil {
			t.Fatal(path, err)
		}
	}
	if err := fs.Remove(ctx, root, "/a", RemoveOptions{Recursive: true}); err != nil {
		t.Fatal(err)
	}
	_, err = fs.Stat(ctx, root, "/a", StatOptions{})
	wantKind(t, err, granary.KindNotFound)
}

// TestRenamePath moves through links among the directories.
func TestRenamePath(t *testing.T) {
	fs, f := testFS(t, Options{})
	tree(t, fs, f, granary.RootInode, "a/file=x", "b/", "link>b")
	if err := fs.RenamePath(t.Context(), granary.Cred{}, granary.RootInode, "/a/file", "/link/moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(t.Context(), granary.RootInode, "/b/moved", StatOptions{}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, fs.RenamePath(t.Context(), granary.Cred{}, granary.RootInode, "/b/moved", "/none/x"), granary.KindNotFound)
}

func itoa(i int) string { return string(rune('0'+i/10)) + string(rune('0'+i%10)) }
