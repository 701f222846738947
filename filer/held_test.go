package filer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// holding is a FS that holds directories, and another that does not.
type holding struct {
	*testing.T
	fs, other *FS
	held      *client.Client
	open      func(client.Options) *client.Client
}

func newHolding(t *testing.T, o Options) *holding {
	t.Helper()
	open, _, _ := cluster(t)
	h := &holding{T: t, open: open}
	ready := make(chan struct{})
	h.held = open(client.Options{Name: "holder", OnRecall: func(ids []granary.InodeID) {
		<-ready
		h.fs.Recall(ids)
	}})
	waitForSpace(t, h.held)
	o.Client, o.Delegations = h.held, true
	h.fs = New(o)
	close(ready)
	h.other = New(Options{Client: open(client.Options{Name: "other"})})
	t.Cleanup(func() {
		if err := errors.Join(h.fs.Close(context.Background()), h.other.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return h
}

// dir makes a directory that is held.
func (h *holding) dir(name string) granary.InodeID {
	h.Helper()
	e, err := h.fs.Mkdir(h.Context(), granary.Cred{}, granary.RootInode, name, 0o755, 0)
	if err != nil {
		h.Fatal(err)
	}
	if err := h.fs.SyncAll(h.Context()); err != nil { // for the other, who has its id from here
		h.Fatal(err)
	}
	h.take(e.Attr.Inode)
	return e.Attr.Inode
}

// take takes a directory, however lately it was given back.
func (h *holding) take(id granary.InodeID) {
	h.Helper()
	for !h.holds(id) {
		h.fs.held.mu.Lock()
		clear(h.fs.held.cooling)
		h.fs.held.mu.Unlock()
		err := h.fs.held.take(h.Context(), id)
		if granary.IsKind(err, granary.KindNotSupported) { // a new session does not attend yet
			select {
			case <-time.After(time.Millisecond):
			case <-h.Context().Done():
			}
			continue
		}
		if err != nil {
			h.Fatal(err)
		}
	}
}

func (h *holding) holds(id granary.InodeID) bool {
	h.fs.held.mu.Lock()
	defer h.fs.held.mu.Unlock()
	return h.fs.held.dirs[id] != nil
}

func (h *holding) logged() int {
	h.fs.held.mu.Lock()
	defer h.fs.held.mu.Unlock()
	return len(h.fs.held.log)
}

// put makes a file with some content.
func put(t testing.TB, fs *FS, dir granary.InodeID, name string, content []byte) granary.InodeID {
	t.Helper()
	h, e, err := fs.Create(t.Context(), granary.Cred{}, dir, name, 0o644, 0, true, OpenFlags{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(t.Context(), content, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Flush(t.Context()), h.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return e.Attr.Inode
}

// contentOf reads a file by name.
func contentOf(t testing.TB, fs *FS, dir granary.InodeID, name string) ([]byte, error) {
	e, err := fs.Lookup(t.Context(), dir, name)
	if err != nil {
		return nil, err
	}
	h, err := fs.Open(t.Context(), granary.Cred{}, e.Attr.Inode, OpenFlags{Read: true})
	if err != nil {
		return nil, err
	}
	defer h.Close(t.Context())
	b, err := io.ReadAll(io.NewSectionReader(readerAt{t.Context(), h}, 0, int64(h.Attr().Size)))
	if int(e.Attr.Size) != len(b) && err == nil {
		err = fmt.Errorf("%d bytes of %d", len(b), e.Attr.Size)
	}
	return b, err
}

type readerAt struct {
	ctx context.Context
	h   *Handle
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r.h.ReadAt(r.ctx, p, off) }

// TestHeldDirectory: what is done in a directory that is held is there at once, here and, after it was given back, elsewhere.
func TestHeldDirectory(t *testing.T) {
	h := newHolding(t, Options{FlushAfter: time.Hour})
	d := h.dir("d")
	small, large := noise(1, 3000), noise(2, 300_000)
	put(t, h.fs, d, "small", small)
	put(t, h.fs, d, "large", large)
	put(t, h.fs, d, "empty", nil)
	sub, err := h.fs.Mkdir(t.Context(), granary.Cred{}, d, "sub", 0o755, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, h.fs, sub.Attr.Inode, "below", small)
	if err := h.fs.Rename(t.Context(), granary.Cred{}, d, "empty", sub.Attr.Inode, "moved", RenameFlags{}); err != nil {
		t.Fatal(err)
	}
	put(t, h.fs, d, "gone", small)
	if err := h.fs.Unlink(t.Context(), granary.Cred{}, d, "gone"); err != nil {
		t.Fatal(err)
	}
	if h.logged() != 8 {
		t.Errorf("%d requests are logged", h.logged())
	}
	before, err := h.fs.Lookup(t.Context(), d, "large")
	if err != nil {
		t.Fatal(err)
	}
	for _, fs := range []*FS{h.fs, h.other} {
		for name, want := range map[string][]byte{"small": small, "large": large} {
			if b, err := contentOf(t, fs, d, name); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s has %d bytes, %v", name, len(b), err)
			}
		}
		if b, err := contentOf(t, fs, sub.Attr.Inode, "below"); err != nil || !bytes.Equal(b, small) {
			t.Errorf("below has %d bytes, %v", len(b), err)
		}
		if names := list(t, fs, d); !slices.Equal(names, []string{"large", "small", "sub"}) {
			t.Errorf("there are %q", names)
		}
		if names := list(t, fs, sub.Attr.Inode); !slices.Equal(names, []string{"below", "moved"}) {
			t.Errorf("there are %q", names)
		}
	}
	after, err := h.other.Lookup(t.Context(), d, "large")
	if err != nil {
		t.Fatal(err)
	}
	a, b := before.Attr, after.Attr
	if a.Inode != b.Inode || a.Size != b.Size || a.Mtime != b.Mtime || a.Ctime != b.Ctime || a.Btime != b.Btime || a.Mode != b.Mode {
		t.Errorf("told as %+v, made as %+v", a, b)
	}
	if h.logged() != 0 || h.holds(d) {
		t.Errorf("%d requests are logged, held %v", h.logged(), h.holds(d))
	}
}

func list(t testing.TB, fs *FS, dir granary.InodeID) []string {
	t.Helper()
	var names []string
	if err := fs.ReadDir(t.Context(), dir, func(e granary.Entry) bool { names = append(names, e.Name); return true }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// heldTree is a model of files in a few directories.
type heldTree map[granary.InodeID]map[string]string

// TestHeldModel does random things in a FS that holds directories, and compares all that is seen, there and in another FS that looks
// and meddles at any time, with a model.
func TestHeldModel(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes to disks")
	}
	h := newHolding(t, Options{FlushAfter: 20 * time.Millisecond})
	for seed := range uint64(6) {
		h.walk(rand.New(rand.NewPCG(seed, 1)), fmt.Sprint("run", seed))
	}
}

func (h *holding) walk(rng *rand.Rand, base string) {
	model := heldTree{}
	var dirs []granary.InodeID
	for i := range 3 {
		d := h.dir(fmt.Sprint(base, i))
		dirs, model[d] = append(dirs, d), map[string]string{}
	}
	for step := range 300 {
		d, name := dirs[rng.IntN(len(dirs))], fmt.Sprint("f", rng.IntN(6))
		to, toName := dirs[rng.IntN(len(dirs))], fmt.Sprint("f", rng.IntN(6))
		fs := h.fs
		if rng.IntN(12) == 0 {
			fs = h.other
		}
		old, there := model[d][name]
		var err error
		want := granary.KindNone
		what := rng.IntN(10)
		switch what {
		case 0, 1, 2: // a new file
			if there {
				want = granary.KindExists
			}
			text := noise(rng.Uint64(), []int{0, 10, 3000, 5000, 70_000}[rng.IntN(5)])
			var f *Handle
			f, _, err = fs.Create(h.Context(), granary.Cred{}, d, name, 0o644, 0, true, OpenFlags{Read: true, Write: true})
			if err == nil {
				_, err = f.WriteAt(h.Context(), text, 0)
				err = errors.Join(err, f.Flush(h.Context()), f.Close(h.Context()))
				model[d][name] = string(text)
			}
		case 3: // more content
			if !there {
				break
			}
			e, lerr := fs.Lookup(h.Context(), d, name)
			if lerr != nil {
				h.Fatalf("step %d: %v", step, lerr)
			}
			var f *Handle
			if f, err = fs.Open(h.Context(), granary.Cred{}, e.Attr.Inode, OpenFlags{Read: true, Write: true, Append: true}); err == nil {
				_, err = f.WriteAt(h.Context(), []byte("more"), 0)
				if rng.IntN(4) == 0 {
					err = errors.Join(err, f.Sync(h.Context()))
				}
				err = errors.Join(err, f.Flush(h.Context()), f.Close(h.Context()))
				model[d][name] = old + "more"
			}
		case 4:
			if !there {
				want = granary.KindNotFound
			}
			err = fs.Unlink(h.Context(), granary.Cred{}, d, name)
			delete(model[d], name)
		case 5:
			if !there {
				want = granary.KindNotFound
			}
			err = fs.Rename(h.Context(), granary.Cred{}, d, name, to, toName, RenameFlags{})
			if there && (d != to || name != toName) {
				delete(model[d], name)
				model[to][toName] = old
			}
		case 6:
			var b []byte
			if !there {
				want = granary.KindNotFound
			}
			if b, err = contentOf(h, fs, d, name); err == nil && string(b) != old {
				h.Fatalf("step %d: %q has %d bytes, not %d", step, name, len(b), len(old))
			}
		case 7:
			if names := list(h, fs, d); !slices.Equal(names, slices.Sorted(maps.Keys(model[d]))) {
				h.Fatalf("step %d: directory %d has %q, not %q", step, d, names, slices.Sorted(maps.Keys(model[d])))
			}
		case 8:
			if rng.IntN(3) == 0 {
				h.take(d)
			}
		case 9: // permission bits and times
			if !there {
				break
			}
			e, lerr := fs.Lookup(h.Context(), d, name)
			if lerr != nil {
				h.Fatalf("step %d: %v", step, lerr)
			}
			mode, at := uint32(0o600+rng.IntN(8)), granary.Time(rng.Uint32())
			_, err = fs.SetAttr(h.Context(), granary.Cred{}, &granary.SetAttr{Inode: e.Attr.Inode, Mode: &mode, Mtime: &at})
			for _, fs := range []*FS{fs, h.fs} {
				if a, aerr := fs.GetAttr(h.Context(), e.Attr.Inode); aerr != nil || a.Mode != mode || a.Mtime != at || a.Size != uint64(len(old)) {
					h.Fatalf("step %d: %+v, %v; mode %o, mtime %d, size %d", step, a, aerr, mode, at, len(old))
				}
			}
		}
		if granary.KindOf(err) != want {
			h.Fatalf("step %d: action %d by the holder %v: %v, want %v", step, what, fs == h.fs, err, want)
		}
	}
	for _, fs := range []*FS{h.fs, h.other} {
		for d, files := range model {
			if names := list(h, fs, d); !slices.Equal(names, slices.Sorted(maps.Keys(files))) {
				h.Fatalf("directory %d has %q, not %q", d, names, slices.Sorted(maps.Keys(files)))
			}
			for name, text := range files {
				if b, err := contentOf(h, fs, d, name); err != nil || string(b) != text {
					h.Fatalf("%q has %d bytes, not %d: %v", name, len(b), len(text), err)
				}
			}
		}
	}
}

// TestHeldIsRemoved: directories that are held are removed, moved and replaced from others that are not.
func TestHeldIsRemoved(t *testing.T) {
	h := newHolding(t, Options{FlushAfter: time.Hour})
	root, cred := granary.RootInode, granary.Cred{}
	d, e := h.dir("d"), h.dir("e")
	h.fs.held.mu.Lock()
	h.fs.held.cool(root, time.Hour)
	h.fs.held.mu.Unlock()
	if err := h.fs.held.release(t.Context(), []granary.InodeID{root}); err != nil {
		t.Fatal(err)
	}
	put(t, h.fs, d, "f", []byte("text"))
	if err := h.fs.Rmdir(t.Context(), cred, root, "d"); !granary.IsKind(err, granary.KindNotEmpty) {
		t.Errorf("with a file in it: %v", err)
	}
	h.take(d)
	put(t, h.fs, e, "g", []byte("text"))
	if err := h.fs.Rename(t.Context(), cred, root, "d", root, "e", RenameFlags{}); !granary.IsKind(err, granary.KindNotEmpty) {
		t.Errorf("over a directory with a file in it: %v", err)
	}
	h.take(d)
	h.take(e)
	if err := h.fs.Unlink(t.Context(), cred, e, "g"); err != nil {
		t.Fatal(err)
	}
	if err := h.fs.Rename(t.Context(), cred, root, "d", root, "e", RenameFlags{}); err != nil {
		t.Errorf("over a directory that is empty: %v", err)
	}
	h.take(d)
	put(t, h.fs, d, "more", []byte("text"))
	for _, name := range []string{"f", "more"} {
		if err := h.fs.Unlink(t.Context(), cred, d, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.fs.Rmdir(t.Context(), cred, root, "e"); err != nil {
		t.Error(err)
	}
	if names := list(t, h.other, root); slices.Contains(names, "d") || slices.Contains(names, "e") {
		t.Errorf("there are %q", names)
	}
}

// TestHeldIsAskedAbout: what only the master knows of a file it is asked also if it has not been told of the file.
func TestHeldIsAskedAbout(t *testing.T) {
	h := newHolding(t, Options{FlushAfter: time.Hour})
	d := h.dir("d")
	for name, f := range map[string]func(id granary.InodeID) error{
		"lock": func(id granary.InodeID) error {
			l, err := h.fs.TestLock(t.Context(), granary.GetLock{
				LockKey: granary.LockKey{Inode: id, Space: granary.LockRanges, Owner: 1}, LockRange: granary.LockRange{End: granary.LockEnd}, Exclusive: true,
			})
			if l != nil {
				err = fmt.Errorf("it is locked: %+v", l)
			}
			return err
		},
		"space": func(id granary.InodeID) error { _, err := h.fs.StatFS(t.Context(), id); return err },
		"attributes": func(id granary.InodeID) error {
			return h.fs.SetXattr(t.Context(), granary.Cred{}, &granary.SetXattr{Inode: id, Xattr: granary.Xattr{Name: "user.k", Value: []byte("v")}})
		},
		"data": func(id granary.InodeID) error {
			f, err := h.fs.Open(t.Context(), granary.Cred{}, id, OpenFlags{Read: true})
			if err != nil {
				return err
			}
			at, _, err := f.Seek(t.Context(), 1, true)
			if err == nil && at != 4 {
				err = fmt.Errorf("a hole at %d", at)
			}
			return errors.Join(err, f.Close(t.Context()))
		},
		"data of an empty file": func(granary.InodeID) error {
			f, _, err := h.fs.Create(t.Context(), granary.Cred{}, d, "empty", 0o644, 0, true, OpenFlags{Read: true})
			if err != nil {
				return err
			}
			_, _, err = f.Seek(t.Context(), 0, true)
			return errors.Join(err, f.Close(t.Context()))
		},
		"name": func(id granary.InodeID) error {
			_, err := h.fs.Link(t.Context(), granary.Cred{}, id, granary.RootInode, "link")
			return err
		},
	} {
		h.take(d)
		if err := f(put(t, h.fs, d, name, []byte("text"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHeldSurvivesItsSession: what was not told when the session ended is lost, which is said once, and nothing else is.
func TestHeldSurvivesItsSession(t *testing.T) {
	h := newHolding(t, Options{FlushAfter: time.Hour})
	d := h.dir("d")
	put(t, h.fs, d, "told", []byte("text"))
	if err := h.fs.SyncNames(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, _, err := h.fs.Create(t.Context(), granary.Cred{}, d, "untold", 0o644, 0, true, OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(t.Context(), []byte("text"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := h.held.DoIn(t.Context(), h.held.Session(), []granary.Request{{Op: &granary.CloseSession{}}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(t.Context()); err == nil {
		t.Error("what is lost was synced")
	}
	if err := f.Close(t.Context()); err == nil {
		t.Error("it was closed without a word")
	}
	for _, fs := range []*FS{h.other, h.fs} {
		if names := list(t, fs, d); !slices.Equal(names, []string{"told"}) {
			t.Errorf("there are %q", names)
		}
	}
	put(t, h.fs, d, "later", []byte("text"))
	if b, err := contentOf(t, h.other, d, "later"); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestHeldCrash: of a holder that is gone, what it had done up to some moment is there, whole, and nothing that it did later.
func TestHeldCrash(t *testing.T) {
	h := newHolding(t, Options{FlushAfter: 4 * time.Millisecond})
	for round := range 4 {
		d := h.dir(fmt.Sprint("crash", round))
		text := func(i int) []byte { return noise(uint64(i), 100+i%5*3000) }
		synced := 40 * round
		for i := range 200 {
			tmp, cred := fmt.Sprint("t", i), granary.Cred{}
			f, _, err := h.fs.Create(t.Context(), cred, d, tmp, 0o644, 0, true, OpenFlags{Write: true})
			if err == nil {
				_, err = f.WriteAt(t.Context(), text(i), 0)
			}
			if err == nil && i == synced {
				err = f.Sync(t.Context())
			}
			if err == nil {
				err = errors.Join(f.Flush(t.Context()), f.Close(t.Context()))
			}
			if err == nil {
				err = h.fs.Rename(t.Context(), cred, d, tmp, d, fmt.Sprintf("f%03d", i), RenameFlags{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.held.DoIn(t.Context(), h.held.Session(), []granary.Request{{Op: &granary.CloseSession{}}}); err != nil {
			t.Fatal(err)
		}
		names := list(t, h.other, d)
		n := 0
		for n < len(names) && names[n] == fmt.Sprintf("f%03d", n) {
			if b, err := contentOf(t, h.other, d, names[n]); err != nil || !bytes.Equal(b, text(n)) {
				t.Errorf("%s has %d bytes, %v", names[n], len(b), err)
			}
			n++
		}
		if rest := names[n:]; n < synced || len(rest) > 1 || len(rest) == 1 && rest[0] != fmt.Sprint("t", n) {
			t.Errorf("%d files are there, and %q; synced was %d", n, rest, synced)
		}
		if err := h.fs.SyncNames(t.Context()); err != nil {
			t.Log("said once:", err)
		}
	}
}
