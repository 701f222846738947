package filer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// away is a store whose volume servers do not answer until a time.
func away(f *fake, back time.Time) {
	fail := func() error {
		if time.Now().Before(back) {
			return fakeErr(granary.KindUnavailable, "shard", "")
		}
		return nil
	}
	f.onWrite = func([]client.Range) error { return fail() }
	f.onRead = func(*granary.Layout, uint64) error { return fail() }
}

// TestStall: what needs volume servers waits until they are back, and nobody hears of it.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Second, Patience: time.Minute}, f)
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, text(5000), 0)
		mustFlush(t, h)
		began := time.Now()
		away(f, began.Add(50*time.Second))
		read := make(chan string)
		go func() { read <- readAll(t, h) }()
		if got := <-read; got != text(5000) || time.Since(began) < 50*time.Second {
			t.Errorf("read %d bytes after %v", len(got), time.Since(began))
		}
		away(f, time.Now().Add(50*time.Second))
		mustWrite(t, h, "again", 0)
		time.Sleep(20 * time.Second) // the background has begun
		synctest.Wait()
		if fs.Stats().Stalled != 1 || fs.Dirty().Bytes != 5 {
			t.Errorf("%+v", fs.Stats())
		}
		mustFlush(t, h)
		if err := errors.Join(h.Close(t.Context()), fs.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStallEnds: after the time that was set there are errors, and from then on at once; the data stays until it can be committed.
func TestStallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Hour, Patience: 10 * time.Second}, f)
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, text(5000), 0)
		mustFlush(t, h)
		away(f, time.Now().Add(time.Hour))
		for _, limit := range []time.Duration{10 * time.Second, time.Second} {
			began := time.Now()
			mustWrite(t, h, "later", 0)
			wantKind(t, h.Sync(t.Context()), granary.KindUnavailable)
			if took := time.Since(began); took > limit {
				t.Errorf("fsync took %v, not %v", took, limit)
			}
		}
		began := time.Now()
		_, err := h.ReadAt(t.Context(), make([]byte, 100), 2000)
		if wantKind(t, err, granary.KindUnavailable); time.Since(began) > 10*time.Second {
			t.Errorf("a read took %v", time.Since(began))
		}
		f.onWrite, f.onRead = nil, nil
		mustFlush(t, h)
		if got := f.stored(h.Inode()); got[:5] != "later" {
			t.Error("what was written meanwhile is lost")
		}
		if err := errors.Join(h.Close(t.Context()), fs.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStallIsLeft: who gives up waits no longer, nor does a FS that is closed.
func TestStallIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Hour, Patience: time.Hour}, f)
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, "x", 0)
		away(f, time.Now().Add(time.Hour))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wantKind(t, h.Sync(ctx), granary.KindUnavailable)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("left after %v", took)
		}
		wantKind(t, fs.Close(t.Context()), granary.KindUnavailable)
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// TestRetryAfterFailedSync: what an fsync could not commit is tried again without anybody asking.
func TestRetryAfterFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		fs := newFS(Options{FlushAfter: time.Second, Patience: 10 * time.Second}, f)
		h := mustCreate(t, fs, "file", readWrite())
		mustWrite(t, h, "kept", 0)
		away(f, time.Now().Add(15*time.Second))
		wantKind(t, h.Sync(t.Context()), granary.KindUnavailable)
		time.Sleep(20 * time.Second)
		if got := f.stored(h.Inode()); got != "kept" {
			t.Errorf("stored %q", got)
		}
		wantKind(t, h.Close(t.Context()), granary.KindUnavailable) // of a try in the background meanwhile, of which nobody has heard
		if err := fs.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
