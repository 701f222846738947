package filer

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// opened returns how often files are open with the master.
func (f *fake) opened() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.open {
		n += times
	}
	return n
}

// unlinkElsewhere removes a name as another client would.
func (f *fake) unlinkElsewhere(t *testing.T, name string) {
	t.Helper()
	if _, err := f.Do(t.Context(), granary.Cred{}, &granary.Unlink{Parent: granary.RootInode, Name: name}); err != nil {
		t.Fatal(err)
	}
}

// TestUnlinkElsewhere goes on with a file whose name another client has removed; it is open with the master once,
// until its last handle is closed and nothing is dirty.
func TestUnlinkElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, f := testFS(t, Options{})
		ino := f.put(t, granary.RootInode, "file", text(3000))
		var handles []*Handle
		for range 3 {
			h, err := fs.Open(t.Context(), granary.Cred{}, ino, readWrite())
			if err != nil {
				t.Fatal(err)
			}
			handles = append(handles, h)
		}
		if n := f.opened(); n != 1 {
			t.Fatalf("open %d times", n)
		}
		f.unlinkElsewhere(t, "file")
		mustWrite(t, handles[0], "on", 0)
		if got := readAll(t, handles[1]); got != "on"+text(3000)[2:] {
			t.Fatalf("read %q", got)
		}
		for _, h := range handles {
			if !f.exists(ino) {
				t.Fatal("it went while it was open")
			}
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // the flusher may have been looking at it
		if f.exists(ino) || f.opened() != 0 || len(fs.inodes) != 0 {
			t.Fatalf("it is there: %t, open %d times", f.exists(ino), f.opened())
		}
	})
}

// TestOpenWhileDirty keeps a file open with the master until what its last handle could not flush is committed.
func TestOpenWhileDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, f := testFS(t, Options{})
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, "to be kept", 0)
		f.onWrite = func([]client.Range) error { return fakeErr(granary.KindUnavailable, "write", "") }
		wantKind(t, h.Close(t.Context()), granary.KindUnavailable)
		f.onWrite = nil
		f.unlinkElsewhere(t, "file")
		if err := fs.SyncAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the file may have been written in the background, and is closed after that
		if f.exists(h.Inode()) || f.opened() != 0 {
			t.Fatalf("it is there: %t, open %d times", f.exists(h.Inode()), f.opened())
		}
	})
}

// TestGoneAllTheSame is stale: the session that had the file open was lost, and the file with it.
func TestGoneAllTheSame(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, text(3000), 0)
	mustFlush(t, h)
	f.mu.Lock()
	delete(f.inodes, h.Inode())
	f.mu.Unlock()
	_, err := h.ReadAt(t.Context(), make([]byte, 10), 0)
	wantKind(t, err, granary.KindStale)
	mustWrite(t, h, "late", 0)
	wantKind(t, h.Flush(t.Context()), granary.KindStale)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestUnlinkOpen goes on reading and writing a file without a name, and ends it with the last handle.
func TestUnlinkOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, f := testFS(t, Options{})
		h := mustCreate(t, fs, "file", readWrite())
		other, err := fs.Open(t.Context(), granary.Cred{}, h.Inode(), readWrite())
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, h, "still here, without a name", 0)
		mustFlush(t, h)
		if err := fs.Unlink(t.Context(), granary.Cred{}, granary.RootInode, "file"); err != nil {
			t.Fatal(err)
		}
		if h.Attr().Nlink != 0 {
			t.Fatalf("%d links", h.Attr().Nlink)
		}
		mustWrite(t, other, "STILL", 0)
		if got := readAll(t, h); got != "STILL here, without a name" {
			t.Fatalf("read %q", got)
		}
		if err := h.Close(t.Context()); err != nil || !f.exists(h.Inode()) {
			t.Fatalf("closed: %v, and the inode has gone", err)
		}
		mustFlush(t, other)
		mustWrite(t, other, "for nobody", 0)
		before := len(f.writesSeen())
		err = other.Close(t.Context())
		synctest.Wait() // the flusher may have been looking at it
		if err != nil || f.exists(h.Inode()) {
			t.Fatalf("closed: %v, and the inode is still there", err)
		}
		if len(f.writesSeen()) != before || f.opened() != 0 {
			t.Fatalf("%d writes, open %d times", len(f.writesSeen())-before, f.opened())
		}
	})
}

// TestUnlinkClosed keeps nothing of a file that nobody has open.
func TestUnlinkClosed(t *testing.T) {
	fs, f := testFS(t, Options{})
	ino := f.put(t, granary.RootInode, "file", "data")
	if err := fs.Unlink(t.Context(), granary.Cred{}, granary.RootInode, "file"); err != nil || f.exists(ino) {
		t.Fatalf("unlinked: %v, exists %v", err, f.exists(ino))
	}
	_, err := fs.Open(t.Context(), granary.Cred{}, ino, readWrite())
	wantKind(t, err, granary.KindNotFound)
	if len(fs.inodes) != 0 {
		t.Fatalf("%d inodes are left", len(fs.inodes))
	}
}

// TestUnlinkHardLink ends nothing while there is another name.
func TestUnlinkHardLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, f := testFS(t, Options{})
		h := mustCreate(t, fs, "a", readWrite())
		if _, err := fs.Link(t.Context(), granary.Cred{}, h.Inode(), granary.RootInode, "b"); err != nil {
			t.Fatal(err)
		}
		if err := fs.Unlink(t.Context(), granary.Cred{}, granary.RootInode, "a"); err != nil {
			t.Fatal(err)
		}
		err := h.Close(t.Context())
		synctest.Wait()
		if err != nil || !f.exists(h.Inode()) || f.opened() != 0 {
			t.Fatalf("closed: %v; open %d times", err, f.opened())
		}
	})
}

// TestRenameOverOpen replaces a file that is open.
func TestRenameOverOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, f := testFS(t, Options{})
		h := mustCreate(t, fs, "old", readWrite())
		mustWrite(t, h, "the old content", 0)
		mustFlush(t, h)
		f.put(t, granary.RootInode, "new", "new")
		if err := fs.Rename(t.Context(), granary.Cred{}, granary.RootInode, "new", granary.RootInode, "old", RenameFlags{}); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, h); got != "the old content" {
			t.Fatalf("read %q", got)
		}
		if err := h.Close(t.Context()); err != nil || f.exists(h.Inode()) {
			t.Fatalf("closed: %v; it is still there", err)
		}
		err := fs.Rename(t.Context(), granary.Cred{}, granary.RootInode, "nothing", granary.RootInode, "x", RenameFlags{})
		wantKind(t, err, granary.KindNotFound)
	})
}

// TestCloseToOpen sees at open what another client has written, and what it has taken away.
func TestCloseToOpen(t *testing.T) {
	fs, f := testFS(t, Options{})
	ino := f.put(t, granary.RootInode, "file", "the first version of it")
	for _, want := range []string{"the second, somewhat longer version", "short"} {
		h, err := fs.Open(t.Context(), granary.Cred{}, ino, OpenFlags{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, h)
		f.put(t, granary.RootInode, "file", want)
		again, err := fs.Open(t.Context(), granary.Cred{}, ino, OpenFlags{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, again); got != want {
			t.Fatalf("read %q, want %q", got, want)
		}
		for _, h := range []*Handle{h, again} {
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOpenTruncate makes a file empty, with what was dirty in it.
func TestOpenTruncate(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, "something to lose", 0)
	flags := readWrite()
	flags.Truncate = true
	again, e, err := fs.Create(t.Context(), granary.Cred{}, granary.RootInode, "file", 0o644, 0, false, flags)
	if err != nil || e.Attr.Size != 0 || e.Attr.Inode != h.Inode() {
		t.Fatalf("%d bytes: %v", e.Attr.Size, err)
	}
	if got := readAll(t, again); got != "" || f.stored(h.Inode()) != "" {
		t.Fatalf("read %q", got)
	}
	_, _, err = fs.Create(t.Context(), granary.Cred{}, granary.RootInode, "file", 0o644, 0, true, readWrite())
	wantKind(t, err, granary.KindExists)
}

// TestOpenWrongType refuses what has no content.
func TestOpenWrongType(t *testing.T) {
	fs, _ := testFS(t, Options{})
	_, err := fs.Open(t.Context(), granary.Cred{}, granary.RootInode, OpenFlags{Read: true})
	wantKind(t, err, granary.KindIsDir)
	e, err := fs.Symlink(t.Context(), granary.Cred{}, granary.RootInode, "link", "file")
	if err != nil {
		t.Fatal(err)
	}
	_, err = fs.Open(t.Context(), granary.Cred{}, e.Attr.Inode, OpenFlags{Read: true})
	wantKind(t, err, granary.KindLoop)
	if target, err := fs.Readlink(t.Context(), e.Attr.Inode); target != "file" || err != nil {
		t.Fatalf("readlink: %q, %v", target, err)
	}
	_, err = fs.Readlink(t.Context(), granary.RootInode)
	wantKind(t, err, granary.KindInvalid)
}

// TestReadDir pages through a directory, and shows the sizes that only this FS knows yet.
func TestReadDir(t *testing.T) {
	fs, f := testFS(t, Options{})
	want := []string{"buckets"}
	for i := range 10 {
		f.put(t, granary.RootInode, fmt.Sprintf("f%d", i), "1")
		want = append(want, fmt.Sprintf("f%d", i))
	}
	h := mustCreate(t, fs, "f3", readWrite())
	mustWrite(t, h, "12345", 0)
	var names []string
	err := fs.ReadDir(t.Context(), granary.RootInode, func(e granary.Entry) bool {
		names = append(names, e.Name)
		if e.Name == "f3" && e.Attr.Size != 5 {
			t.Errorf("f3 has %d bytes", e.Attr.Size)
		}
		return true
	})
	if err != nil || !slices.Equal(names, want) {
		t.Fatalf("%v: %v", names, err)
	}
	n := 0
	if err := fs.ReadDir(t.Context(), granary.RootInode, func(granary.Entry) bool { n++; return n < 5 }); err != nil || n != 5 {
		t.Fatalf("stopped after %d: %v", n, err)
	}
}

// TestNames refuses what is not a name.
func TestNames(t *testing.T) {
	fs, _ := testFS(t, Options{})
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b"} {
		_, err := fs.Mkdir(t.Context(), granary.Cred{}, granary.RootInode, name, 0o755, 0)
		wantKind(t, err, granary.KindInvalid)
	}
	_, err := fs.Mkdir(t.Context(), granary.Cred{}, granary.RootInode, string(make([]byte, 300)), 0o755, 0)
	wantKind(t, err, granary.KindInvalid)
	_, err = fs.Lookup(t.Context(), granary.RootInode, fmt.Sprintf("%0300d", 0))
	wantKind(t, err, granary.KindNameTooLong)
}

// TestBuckets makes, finds and removes buckets.
func TestBuckets(t *testing.T) {
	fs, f := testFS(t, Options{})
	ctx := t.Context()
	if err := fs.CreateBucket(ctx, granary.Cred{}, "b"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, fs.CreateBucket(ctx, granary.Cred{}, "b"), granary.KindExists)
	root, err := fs.Bucket(ctx, "b")
	if err != nil || root != root.Dataset().Root() {
		t.Fatalf("bucket %d: %v", root, err)
	}
	if list, err := fs.Buckets(ctx); err != nil || len(list) != 1 || list[0].Name != "b" {
		t.Fatalf("%v: %v", list, err)
	}
	f.put(t, root, "key", "value")
	wantKind(t, fs.DeleteBucket(ctx, "b"), granary.KindNotEmpty)
	if err := fs.Remove(ctx, root, "/key", RemoveOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	if err := fs.DeleteBucket(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	_, err = fs.Bucket(ctx, "b")
	wantKind(t, err, granary.KindNotFound)
}

// TestHolder asks once in a while, and at once after a change that was made here.
func TestHolder(t *testing.T) {
	fs, f := testFS(t, Options{})
	_, err := fs.Holder(t.Context(), "AK", "")
	wantKind(t, err, granary.KindNotFound)
	f.holders["AK"] = &granary.Holder{Version: 1, Key: granary.Identity{Secret: "secret"}}
	asked := 0
	f.onQuery = func(granary.Query) { asked++ }
	for range 3 {
		if h, err := fs.Holder(t.Context(), "AK", ""); err != nil || h.Key.Secret != "secret" {
			t.Fatalf("%+v: %v", h, err)
		}
	}
	if asked != 1 {
		t.Fatalf("asked %d times", asked)
	}
	f.holders["AK"] = &granary.Holder{Version: 2, Key: granary.Identity{Secret: "another"}}
	if err := fs.PutIdentity(t.Context(), granary.Identity{}); !granary.IsKind(err, granary.KindNotSupported) { // which the fake cannot
		t.Fatal(err)
	}
	if h, err := fs.Holder(t.Context(), "AK", ""); err != nil || h.Key.Secret != "another" {
		t.Fatalf("%+v: %v", h, err)
	}
}

// TestHolderIsRevalidated asks with the version that is known, and keeps what is unchanged.
func TestHolderIsRevalidated(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.holders["AK"] = &granary.Holder{Version: 7, Key: granary.Identity{Secret: "secret"}}
	first, err := fs.Holder(t.Context(), "AK", "")
	if err != nil {
		t.Fatal(err)
	}
	key := holderKey{accessKey: "AK"}
	fs.holders.put(key, knownHolder{first, time.Now().Add(-2 * holderTTL)})
	var known granary.Index
	f.onQuery = func(q granary.Query) { known = q.(*granary.ResolveIdentity).Known }
	if again, err := fs.Holder(t.Context(), "AK", ""); err != nil || again != first || known != 7 {
		t.Fatalf("%+v, known %d: %v", again, known, err)
	}
}
