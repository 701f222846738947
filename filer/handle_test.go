package filer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"pgregory.net/rapid"
)

func readWrite() OpenFlags { return OpenFlags{Read: true, Write: true} }

func mustCreate(t *testing.T, fs *FS, name string, flags OpenFlags) *Handle {
	t.Helper()
	h, _, err := fs.Create(t.Context(), granary.Cred{UID: 7, GID: 8}, granary.RootInode, name, 0o644, 0, false, flags)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustWrite(t *testing.T, h *Handle, data string, off int64) {
	t.Helper()
	if n, err := h.WriteAt(t.Context(), []byte(data), off); n != len(data) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(data), err)
	}
}

func mustFlush(t *testing.T, h *Handle) {
	t.Helper()
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// readAll reads a whole file through a handle.
func readAll(t *testing.T, h *Handle) string {
	t.Helper()
	p := make([]byte, 1<<20)
	n, err := h.ReadAt(t.Context(), p, 0)
	if err != io.EOF {
		t.Fatalf("read %d bytes: %v, want the end of the file", n, err)
	}
	return string(p[:n])
}

func wantKind(t *testing.T, err error, kind granary.Kind) {
	t.Helper()
	if !granary.IsKind(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
}

// TestHandleModel compares a file under random writes, appends, reads, truncations and flushes, of
// which some fail, with a slice of bytes.
func TestHandleModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFake()
		f.extentsMax = rapid.IntRange(0, 3).Draw(t, "extents") // a layout may be cut short
		fs := newFS(Options{WriteBuffer: 64 << 10, FlushAfter: time.Hour}, f)
		ctx := context.Background()
		defer fs.Close(ctx)
		var failing bool
		f.onWrite = func([]client.Range) error {
			if failing {
				return fakeErr(granary.KindUnavailable, "write", "")
			}
			return nil
		}
		ino := f.addFile("file")
		handles := make([]*Handle, 3)
		for i, flags := range []OpenFlags{readWrite(), readWrite(), {Read: true, Append: true}} {
			h, err := fs.Open(ctx, granary.Cred{}, ino, flags)
			if err != nil {
				t.Fatal(err)
			}
			handles[i] = h
		}
		var model []byte
		next := byte(0)
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				off := rapid.IntRange(0, modelSize-1).Draw(t, "off")
				n := rapid.IntRange(1, min(9000, modelSize-off)).Draw(t, "n")
				next++
				p := bytes.Repeat([]byte{next}, n)
				_, err := handles[rapid.IntRange(0, 1).Draw(t, "h")].WriteAt(ctx, p, int64(off))
				check(err)
				model = append(model, make([]byte, max(off+n-len(model), 0))...)
				copy(model[off:], p)
			},
			"append": func(t *rapid.T) {
				n := rapid.IntRange(1, 3000).Draw(t, "n")
				if len(model)+n > 2*modelSize {
					return
				}
				next++
				p := bytes.Repeat([]byte{next}, n)
				_, err := handles[2].WriteAt(ctx, p, 0)
				check(err)
				model = append(model, p...)
			},
			"read": func(t *rapid.T) {
				off := rapid.IntRange(0, modelSize).Draw(t, "off")
				p := make([]byte, rapid.IntRange(1, modelSize).Draw(t, "n"))
				n, err := handles[rapid.IntRange(0, 2).Draw(t, "h")].ReadAt(ctx, p, int64(off))
				want := model[min(off, len(model)):min(off+len(p), len(model))]
				if !bytes.Equal(p[:n], want) {
					t.Fatalf("%d bytes at %d: not what was written", len(p), off)
				}
				if (n < len(p)) != (err == io.EOF) || err != nil && err != io.EOF {
					t.Fatalf("read %d of %d bytes: %v", n, len(p), err)
				}
			},
			"truncate": func(t *rapid.T) {
				size := uint64(rapid.IntRange(0, modelSize).Draw(t, "size"))
				a, err := fs.SetAttr(ctx, granary.Cred{}, &granary.SetAttr{Inode: ino, Size: &size})
				check(err)
				if a.Size != size {
					t.Fatalf("the size is %d, want %d", a.Size, size)
				}
				model = append(model[:min(len(model), int(size))], make([]byte, max(int(size)-len(model), 0))...)
			},
			"allocate": func(t *rapid.T) {
				off := rapid.IntRange(0, modelSize-1).Draw(t, "off")
				n := rapid.IntRange(1, modelSize-off).Draw(t, "n")
				mode := rapid.SampledFrom([]granary.AllocateMode{granary.AllocateReserve, granary.AllocatePunch, granary.AllocateZero}).Draw(t, "mode")
				keep := rapid.Bool().Draw(t, "keep size")
				check(handles[rapid.IntRange(0, 2).Draw(t, "h")].Allocate(ctx, mode, uint64(off), uint64(n), keep))
				if mode != granary.AllocatePunch && !keep {
					model = append(model, make([]byte, max(off+n-len(model), 0))...)
				}
				if mode != granary.AllocateReserve {
					clear(model[min(off, len(model)):min(off+n, len(model))])
				}
			},
			"flush": func(t *rapid.T) { check(handles[rapid.IntRange(0, 2).Draw(t, "h")].Flush(ctx)) },
			"flush full pieces": func(t *rapid.T) {
				check(handles[0].in.acquire(ctx, "test"))
				err := handles[0].in.commit(ctx, ctx, false)
				handles[0].in.release()
				check(err)
			},
			"flush and fail": func(t *rapid.T) {
				pending := handles[0].in.isPending()
				failing = true
				err := handles[0].Flush(ctx)
				failing = false
				if pending != granary.IsKind(err, granary.KindUnavailable) {
					t.Fatalf("a flush that fails returned %v", err)
				}
				for _, h := range handles[1:] { // they are told too, once
					h.Flush(ctx)
				}
			},
			"move": func(t *rapid.T) { f.moveBlocks(ino) },
			"": func(t *rapid.T) {
				a, err := fs.GetAttr(ctx, ino)
				check(err)
				if a.Size != uint64(len(model)) {
					t.Fatalf("the size is %d, want %d", a.Size, len(model))
				}
			},
		})
		for _, h := range handles {
			check(h.Close(ctx))
		}
		check(fs.Close(ctx))
		if f.stored(ino) != string(model) {
			t.Fatal("what is stored is not what was written")
		}
		if fs.memory != 0 || len(fs.inodes) != 0 || len(fs.dirty) != 0 {
			t.Fatalf("%d bytes, %d inodes, %d dirty are left", fs.memory, len(fs.inodes), len(fs.dirty))
		}
	})
}

func (f *fake) addFile(name string) granary.InodeID {
	r, err := f.Do(context.Background(), granary.Cred{}, &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular})
	if err != nil {
		panic(err)
	}
	return r.Attr.Inode
}

func (in *inode) isPending() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.pending()
}

// TestConcurrentHandles writes disjoint stripes from many handles while others read and flush; every
// reader sees of each stripe nothing or what was written there.
func TestConcurrentHandles(t *testing.T) {
	fs, f := testFS(t, Options{WriteBuffer: 32 << 10, FlushAfter: time.Millisecond})
	const stripe, stripes, rounds = 512, 8, 60
	first := mustCreate(t, fs, "file", readWrite())
	ctx := t.Context()
	var wg sync.WaitGroup
	for s := range stripes {
		wg.Go(func() {
			h, err := fs.Open(ctx, granary.Cred{}, first.Inode(), readWrite())
			if err != nil {
				t.Error(err)
				return
			}
			p := bytes.Repeat([]byte{byte('a' + s)}, stripe)
			got := make([]byte, stripe)
			for r := range rounds {
				off := int64((r*stripes + s) * stripe)
				if _, err := h.WriteAt(ctx, p, off); err != nil {
					t.Error(err)
				}
				if n, err := h.ReadAt(ctx, got, off); n != stripe || !bytes.Equal(got, p) {
					t.Errorf("stripe %d, round %d: read %d bytes, %v: not what was written", s, r, n, err)
				}
				if r%7 == s%7 {
					if err := h.Sync(ctx); err != nil {
						t.Error(err)
					}
				}
			}
			if err := h.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	stored := f.stored(first.Inode())
	if len(stored) != stripe*stripes*rounds {
		t.Fatalf("%d bytes are stored", len(stored))
	}
	for i := range stored {
		if want := byte('a' + i/stripe%stripes); stored[i] != want {
			t.Fatalf("offset %d holds %q, want %q", i, stored[i], want)
		}
	}
}

// TestAppendFindsItsPlace appends while another client does: the bytes go to the end as it is then.
func TestAppendFindsItsPlace(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "log", OpenFlags{Read: true, Append: true})
	mustWrite(t, h, "one ", 999)
	mustWrite(t, h, "two ", 0)
	if got := readAll(t, h); got != "one two " {
		t.Fatalf("before the flush: %q", got)
	}
	f.put(t, granary.RootInode, "log", "other ")
	mustFlush(t, h)
	if got := f.stored(h.Inode()); got != "other one two " {
		t.Fatalf("stored: %q", got)
	}
	if got := readAll(t, h); got != "other one two " {
		t.Fatalf("after the flush: %q", got)
	}
	if w := f.writesSeen(); len(w) != 1 || !w[0].atEnd || w[0].cred.UID != 7 {
		t.Fatalf("committed as %+v", w)
	}
}

// TestAppendAfterWrite keeps the order of a write that moves the end and an append after it.
func TestAppendAfterWrite(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	a, err := fs.Open(t.Context(), granary.Cred{}, h.Inode(), OpenFlags{Append: true})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, h, "0123456789", 0)
	mustWrite(t, a, "abc", 0)
	mustWrite(t, h, "x", 9)  // before the append: no matter
	mustWrite(t, h, "y", 11) // in the append: waits until its place is known
	mustWrite(t, a, "d", 0)
	if got := readAll(t, h); got != "012345678xaycd" {
		t.Fatalf("read %q", got)
	}
	mustFlush(t, h)
	if got := f.stored(h.Inode()); got != "012345678xaycd" {
		t.Fatalf("stored %q", got)
	}
}

// TestAppendNotRepeated drops an append whose outcome is unknown, rather than risk to do it twice.
func TestAppendNotRepeated(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "log", OpenFlags{Append: true})
	mustWrite(t, h, "one", 0)
	f.onWrite = func([]client.Range) error { return fakeErr(granary.KindIndeterminate, "write", "") }
	wantKind(t, h.Flush(t.Context()), granary.KindIndeterminate)
	f.onWrite = nil
	mustWrite(t, h, "two", 0)
	mustFlush(t, h)
	if got := f.stored(h.Inode()); got != "two" {
		t.Fatalf("stored %q", got)
	}
}

// TestExplicitMtimeOutlivesFlush does as cp -a: write, utimes, chmod, close.
func TestExplicitMtimeOutlivesFlush(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, "some content, not inline", 0)
	mtime, mode := granary.Time(42), uint32(0o600)
	a, err := fs.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: h.Inode(), Mtime: &mtime})
	if err != nil || a.Mtime != mtime || a.Size != 24 {
		t.Fatalf("mtime %d, size %d: %v", a.Mtime, a.Size, err)
	}
	if _, err := fs.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: h.Inode(), Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	if a, err = fs.GetAttr(t.Context(), h.Inode()); err != nil || a.Mtime != mtime {
		t.Fatalf("before the flush: mtime %d: %v", a.Mtime, err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := f.attr(h.Inode()); a.Mtime != mtime || a.Mode != mode {
		t.Fatalf("after the flush: mtime %d, mode %o", a.Mtime, a.Mode)
	}
}

// TestWriteAfterExplicitMtime: a write after utimes counts, and so does one after a flush.
func TestWriteAfterExplicitMtime(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, "some content", 0)
	mtime := granary.Time(42)
	if _, err := fs.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: h.Inode(), Mtime: &mtime}); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, h, "more", 3)
	mustFlush(t, h)
	if a := f.attr(h.Inode()); a.Mtime == mtime {
		t.Fatal("the write has left no trace in mtime")
	}
}

// TestBackgroundErrorReportedOnce lets a background flush fail and then come through: each handle is
// told once, and the data is there in the end.
func TestBackgroundErrorReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Second}, f)
		failing := true
		f.onWrite = func([]client.Range) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if failing {
				return fakeErr(granary.KindUnavailable, "write", "")
			}
			return nil
		}
		h := mustCreate(t, fs, "file", readWrite())
		other, err := fs.Open(t.Context(), granary.Cred{}, h.Inode(), readWrite())
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, h, "kept through the error", 0)
		time.Sleep(1500 * time.Millisecond) // in the bubble's time: one attempt has failed
		f.mu.Lock()
		failing = false
		f.mu.Unlock()
		if _, err := h.WriteAt(t.Context(), []byte("x"), 0); !granary.IsKind(err, granary.KindUnavailable) {
			t.Fatalf("the next write returned %v", err)
		}
		mustWrite(t, h, "K", 0)
		wantKind(t, other.Flush(t.Context()), granary.KindUnavailable)
		mustFlush(t, h)
		mustFlush(t, other)
		if got := f.stored(h.Inode()); got != "Kept through the error" {
			t.Fatalf("stored %q", got)
		}
		for _, err := range []error{h.Close(t.Context()), other.Close(t.Context()), fs.Close(t.Context())} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestBackgroundRetries leaves everything to the background, after the last handle has gone.
func TestBackgroundRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Second}, f)
		tries := 0
		f.onWrite = func([]client.Range) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if tries++; tries < 4 {
				return fakeErr(granary.KindUnavailable, "write", "")
			}
			return nil
		}
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, "patience", 0)
		wantKind(t, h.Close(t.Context()), granary.KindUnavailable)
		time.Sleep(10 * time.Second) // in the bubble's time: pauses of 1 s, 2 s and 4 s
		if got := f.stored(h.Inode()); got != "patience" {
			t.Fatalf("stored %q after %d tries", got, tries)
		}
		if err := fs.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFlushAfter finds written data committed after the time that it may wait, and not before.
func TestFlushAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Second}, f)
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, "by itself", 0)
		time.Sleep(900 * time.Millisecond)
		if got := f.stored(h.Inode()); got != "" {
			t.Fatalf("stored %q too soon", got)
		}
		time.Sleep(200 * time.Millisecond)
		if got := f.stored(h.Inode()); got != "by itself" {
			t.Fatalf("stored %q", got)
		}
		if err := errors.Join(h.Close(t.Context()), fs.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLastingErrorDropsData: what will never be taken is dropped, and said.
func TestLastingErrorDropsData(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, "for nobody", 0)
	f.mu.Lock()
	delete(f.inodes, h.Inode())
	f.mu.Unlock()
	wantKind(t, h.Flush(t.Context()), granary.KindStale)
	mustFlush(t, h)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestNoSpaceGivesUp: full disks leave the data with its handles, and with none of them it goes.
func TestNoSpaceGivesUp(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, "too much", 0)
	f.onWrite = func([]client.Range) error { return fakeErr(granary.KindNoSpace, "write", "") }
	wantKind(t, h.Sync(t.Context()), granary.KindNoSpace)
	if got := readAll(t, h); got != "too much" {
		t.Fatalf("read %q", got)
	}
	wantKind(t, h.Close(t.Context()), granary.KindNoSpace)
	if err := fs.Close(t.Context()); err != nil || fs.memory != 0 {
		t.Fatalf("%d bytes are left: %v", fs.memory, err)
	}
}

// TestBackPressure lets a writer run into a full buffer, and on when the store takes data again. The
// pieces that were committed meanwhile are full ones.
func TestBackPressure(t *testing.T) {
	fs, f := testFS(t, Options{WriteBuffer: 64 << 10})
	gate := make(chan struct{})
	f.onWrite = func([]client.Range) error { <-gate; return nil }
	h := mustCreate(t, fs, "file", readWrite())
	data := strings.Repeat("0123456789abcdef", 16<<10)
	done := make(chan error, 1)
	go func() {
		for off := 0; off < len(data); off += 1 << 10 {
			if _, err := h.WriteAt(context.Background(), []byte(data[off:off+1<<10]), int64(off)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	gate <- struct{}{} // the first flush began by itself
	fs.mu.Lock()
	memory := fs.memory
	fs.mu.Unlock()
	if memory > 64<<10+32<<10 {
		t.Fatalf("%d bytes are buffered", memory)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustFlush(t, h)
	if f.stored(h.Inode()) != data {
		t.Fatal("what is stored is not what was written")
	}
}

// TestMemoryOfAllFiles lets one file fill the memory of all: it is flushed for another's sake.
func TestMemoryOfAllFiles(t *testing.T) {
	f := newFake()
	fs := newFS(Options{FlushAfter: time.Hour}, f)
	fs.mu.Lock()
	fs.memoryMax = 64 << 10
	fs.mu.Unlock()
	t.Cleanup(func() {
		if err := fs.Close(context.Background()); err != nil { // the test's own context has ended
			t.Error(err)
		}
	})
	greedy := mustCreate(t, fs, "greedy", readWrite())
	mustWrite(t, greedy, text(64<<10), 0)
	if got := f.stored(greedy.Inode()); got != "" {
		t.Fatal("flushed before anybody wanted the memory")
	}
	mustWrite(t, mustCreate(t, fs, "modest", readWrite()), "x", 0)
	if got := f.stored(greedy.Inode()); got != text(64<<10) {
		t.Fatalf("%d bytes are stored", len(got))
	}
}

// TestWriteCanceled: a writer who waits for room can give up.
func TestWriteCanceled(t *testing.T) {
	fs, f := testFS(t, Options{WriteBuffer: 4 << 10})
	gate := make(chan struct{})
	started := make(chan struct{}, 100)
	f.onWrite = func([]client.Range) error { started <- struct{}{}; <-gate; return nil }
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, strings.Repeat("x", 4<<10), 0)
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.WriteAt(ctx, []byte("y"), 4<<10)
	wantKind(t, err, granary.KindCanceled)
	wantKind(t, h.Flush(ctx), granary.KindCanceled)
	close(gate)
	mustFlush(t, h)
}

// TestSyncHandle commits every write before it returns.
func TestSyncHandle(t *testing.T) {
	fs, f := testFS(t, Options{})
	h := mustCreate(t, fs, "file", OpenFlags{Write: true, Sync: true})
	mustWrite(t, h, "durable", 0)
	if got := f.stored(h.Inode()); got != "durable" {
		t.Fatalf("stored %q", got)
	}
	_, err := h.ReadAt(t.Context(), make([]byte, 1), 0)
	wantKind(t, err, granary.KindInvalid)
}

// TestAllocate changes ranges of a file with unflushed data, in steps of a few bytes.
func TestAllocate(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.copyMax = 3
	h := mustCreate(t, fs, "file", readWrite())
	for _, step := range []struct {
		mode        granary.AllocateMode
		off, length uint64
		keep        bool
		want        string
	}{
		{granary.AllocateReserve, 0, 5, false, "0123456789"},
		{granary.AllocateReserve, 8, 4, false, "0123456789.."},
		{granary.AllocateReserve, 100, 5, true, "0123456789.."},
		{granary.AllocatePunch, 2, 5, false, "01.....789.."},
		{granary.AllocatePunch, 8, 50, true, "01234567...."},
		{granary.AllocateZero, 9, 5, true, "012345678..."},
		{granary.AllocateZero, 9, 5, false, "012345678....."},
	} {
		mustWrite(t, h, "0123456789", 0)
		if err := h.Allocate(t.Context(), step.mode, step.off, step.length, step.keep); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(step.want, ".", "\x00")
		if got := readAll(t, h); got != want || f.stored(h.Inode()) != want {
			t.Fatalf("%+v: read %q, stored %q", step, got, f.stored(h.Inode()))
		}
	}
	wantKind(t, h.Allocate(t.Context(), granary.AllocateReserve, 1<<62, 1<<63, false), granary.KindFileTooLarge)
	wantKind(t, h.Allocate(t.Context(), granary.AllocatePunch, 1, 0, false), granary.KindInvalid)
	_, err := h.WriteAt(t.Context(), []byte("x"), granary.FileSizeMax)
	wantKind(t, err, granary.KindFileTooLarge)
}

// TestReadAcrossMovedWindows reads through more windows of one read, all out of date, than one place
// of a file is tried.
func TestReadAcrossMovedWindows(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.extentsMax, f.blockSize = 1, 1000
	h := mustCreate(t, fs, "file", readWrite())
	want := strings.Repeat("x", 1000) + strings.Repeat("y", (2*staleRetries)*1000)
	mustWrite(t, h, want, 0)
	mustFlush(t, h)
	for range 2 {
		got := make([]byte, len(want))
		if n, err := h.ReadAt(t.Context(), got, 0); n != len(want) || string(got) != want {
			t.Fatalf("read %d of %d bytes: %v", n, len(want), err)
		}
		f.moveBlocks(h.Inode())
	}
}
