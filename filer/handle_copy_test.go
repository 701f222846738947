package filer

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestCopyTo compares copies by reference between two files, and within one, with copies of slices: what is written and not
// flushed is copied, too.
func TestCopyTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFake()
		f.copyMax = uint64(rapid.IntRange(1, 3000).Draw(t, "step"))
		fs := newFS(Options{}, f)
		ctx := context.Background()
		defer fs.Close(ctx)
		var handles [2]*Handle
		var models [2][]byte
		for i, name := range []string{"a", "b"} {
			h, _, err := fs.Create(ctx, granary.Cred{}, granary.RootInode, name, 0o644, 0, true, readWrite())
			if err != nil {
				t.Fatal(err)
			}
			handles[i] = h
			data := bytes.Repeat([]byte{byte('a' + i)}, rapid.IntRange(100, 5000).Draw(t, "size"))
			for j := range data {
				data[j] += byte(j % 16)
			}
			if _, err := h.WriteAt(ctx, data, 0); err != nil {
				t.Fatal(err)
			}
			models[i] = data
		}
		for range rapid.IntRange(1, 5).Draw(t, "copies") {
			from, to := rapid.IntRange(0, 1).Draw(t, "from"), rapid.IntRange(0, 1).Draw(t, "to")
			off, dstOff := rapid.IntRange(0, 6000).Draw(t, "off"), rapid.IntRange(0, 6000).Draw(t, "dstOff")
			n := rapid.IntRange(0, 3000).Draw(t, "n")
			if from == to && off < dstOff+n && dstOff < off+n {
				continue // which the kernel refuses
			}
			done, err := handles[from].CopyTo(ctx, uint64(off), handles[to], uint64(dstOff), uint64(n))
			want := max(min(n, len(models[from])-off), 0)
			if err != nil || int(done) != want {
				t.Fatalf("%d bytes copied, %v, want %d", done, err, want)
			}
			if want > 0 {
				models[to] = append(models[to], make([]byte, max(dstOff+want-len(models[to]), 0))...)
				copy(models[to][dstOff:], models[from][off:off+want])
			}
			p := make([]byte, 20_000)
			for i, h := range handles {
				if m, _ := h.ReadAt(ctx, p, 0); !bytes.Equal(p[:m], models[i]) {
					t.Fatalf("file %d differs", i)
				}
			}
		}
	})
}

// TestCopyToRefused sees what is not copied by reference.
func TestCopyToRefused(t *testing.T) {
	fs, _ := testFS(t, Options{})
	a, b := mustCreate(t, fs, "a", readWrite()), mustCreate(t, fs, "b", OpenFlags{Read: true})
	mustWrite(t, a, "inline", 0)
	_, err := a.CopyTo(t.Context(), 0, b, 0, 10)
	wantKind(t, err, granary.KindInvalid)
	_, err = a.CopyTo(t.Context(), 1, a, 100, 2)
	wantKind(t, err, granary.KindNotSupported)
	_, err = a.CopyTo(t.Context(), 0, a, granary.FileSizeMax, 2)
	wantKind(t, err, granary.KindFileTooLarge)
}

// TestSeek looks for data and holes in a file of which some is not flushed.
func TestSeek(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "a", readWrite())
	seek := func(off uint64, hole bool, want uint64, wantOK bool) {
		t.Helper()
		at, ok, err := h.Seek(t.Context(), off, hole)
		if err != nil || ok != wantOK || ok && at != want {
			t.Errorf("seek from %d (hole: %v) gave %d, %v, %v, want %d, %v", off, hole, at, ok, err, want, wantOK)
		}
	}
	seek(0, false, 0, false)
	seek(0, true, 0, false)
	mustWrite(t, h, "inline", 0)
	seek(3, false, 3, true)
	seek(3, true, 6, true)
	seek(6, true, 0, false)
	mustWrite(t, h, strings.Repeat("x", 10_000), 0)
	mustFlush(t, h)
	f.mu.Lock()
	in := f.inodes[h.Inode()] // blocks of 1 KiB: leave some out
	in.extents = append(in.extents[1:3:3], in.extents[5:]...)
	f.mu.Unlock()
	for _, f.extentsMax = range []int{0, 1} { // an answer may be cut short
		seek(0, false, 1024, true)
		seek(0, true, 0, true)
		seek(1500, false, 1500, true)
		seek(1500, true, 3*1024, true)
		seek(3*1024, false, 5*1024, true)
		seek(6000, true, 10_000, true)
		seek(10_000, false, 0, false)
	}
}

// TestTmpfile makes files without a name: one gets a name, the other goes.
func TestTmpfile(t *testing.T) {
	fs, f := testFS(t, Options{})
	cred := granary.Cred{UID: 7, GID: 8}
	var inodes [2]granary.InodeID
	for i := range inodes {
		h, e, err := fs.Tmpfile(t.Context(), cred, granary.RootInode, 0o600, 0, readWrite())
		if err != nil {
			t.Fatal(err)
		}
		inodes[i] = e.Attr.Inode
		mustWrite(t, h, "content", 0)
		if i == 0 {
			if _, err := fs.Link(t.Context(), cred, e.Attr.Inode, granary.RootInode, "name"); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.stored(inodes[0]); got != "content" {
		t.Errorf("the file that got a name holds %q", got)
	}
	if f.exists(inodes[1]) {
		t.Error("the file that got no name is still there")
	}
}
