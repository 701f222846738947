package filer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// beside makes files, each of which has the others beside it, and of which the newest is known.
func beside(t *testing.T, fs *FS, f *fake, n int) (ids []granary.InodeID) {
	t.Helper()
	for i := range n {
		h := mustCreate(t, fs, fmt.Sprint("file", i), readWrite())
		mustWrite(t, h, strings.Repeat(fmt.Sprint(i), 100), 0)
		mustFlush(t, h)
		ids = append(ids, h.Attr().Inode)
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keeps, f.beside = true, map[granary.InodeID][]granary.InodeID{}
	for i, id := range ids {
		f.inodes[id].attr.Parent = granary.RootInode
		f.beside[id] = slices.Concat(ids[i+1:], ids[:i])
	}
	return ids
}

func readKept(t *testing.T, fs *FS, id granary.InodeID) string {
	t.Helper()
	h, err := fs.Open(t.Context(), granary.Cred{}, id, OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	text := readAll(t, h)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return text
}

// settled waits until all is known that was asked about early.
func (e *early) settled() {
	e.mu.Lock()
	list := slices.Clone(e.order)
	e.mu.Unlock()
	for _, f := range list {
		if f.done != nil {
			<-f.done
		}
	}
}

// TestEarly: who reads the files of a directory one after the other asks about them together; of one that is changed in between, the new content is
// read.
func TestEarly(t *testing.T) {
	fs, f := testFS(t, Options{})
	other := newFS(Options{}, f)
	defer other.Close(t.Context())
	ids := beside(t, fs, f, 10)
	for _, id := range ids[:2] {
		readKept(t, fs, id)
	}
	fs.early.settled()
	h, err := other.Open(t.Context(), granary.Cred{}, ids[5], readWrite())
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, h, "new", 0)
	mustFlush(t, h)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := fs.queries.stats().Count
	for i, id := range ids[2:] {
		want := strings.Repeat(fmt.Sprint(i+2), 100)
		if id == ids[5] {
			want = "new" + want[3:]
		}
		if got := readKept(t, fs, id); got != want {
			t.Errorf("file %d holds %q", i+2, got)
		}
	}
	if n := fs.queries.stats().Count - before; n > 2 {
		t.Errorf("asked %d times about 8 files, of which one had changed", n)
	}
	if len(f.prefetch) < 8 {
		t.Errorf("the content of %d files was fetched", len(f.prefetch))
	}
}

// TestEarlyIsBounded: who reads single files of directories asks about no others, and what is of no use is forgotten.
func TestEarlyIsBounded(t *testing.T) {
	e := newEarly()
	for i := range 100 {
		if n := e.allow(granary.InodeID(i+10), granary.InodeID(i+1000)); n > 0 {
			t.Fatalf("after one file in each of %d directories, %d more may be asked about", i+1, n)
		}
	}
	for i := range 10 * earlyMax {
		e.allow(1, granary.InodeID(10+i%2))
		for _, f := range e.add([]granary.InodeID{granary.InodeID(1000 + i)}) {
			close(f.done)
		}
		if i%3 == 0 {
			e.take(granary.InodeID(1000 + i))
		}
		if len(e.files) > earlyMax || len(e.order) > earlyMax {
			t.Fatalf("%d files are known, %d places taken", len(e.files), len(e.order))
		}
	}
}
