package volume

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dsorchard/granary"
)

// A client on the machine of the server reads a shard's file by itself once it knows where it is: of the stream as far as it knows
// it, and never what lies behind. Without the file it asks.
func TestPeek(t *testing.T) {
	store := openTemp(t)
	handler := NewHandler(store)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	addr, ref := strings.TrimPrefix(server.URL, "http://"), firstRef(store, 7)
	c := NewClient()
	t.Cleanup(func() { c.Close() })
	data := fill(100_000, 3)
	mustAppend(t, store, appendOf(ref, 0, 0, data[:60_000]))
	read := func(off, size int, want []byte, wantAsked int64) {
		t.Helper()
		asked.Store(0)
		p := make([]byte, size)
		n, _, err := c.ReadAt(t.Context(), addr, ref, p, int64(off))
		if err != nil || !bytes.Equal(p[:n], want) {
			t.Errorf("read %d bytes at %d, want %d: %v", n, off, len(want), err)
		}
		if got := asked.Load(); got != wantAsked {
			t.Errorf("%d bytes at %d: the server was asked %d times, want %d", size, off, got, wantAsked)
		}
	}
	read(0, 100, data[:100], 1)
	read(0, 60_000, data[:60_000], 0)
	read(59_000, 2000, data[59_000:60_000], 1)
	mustAppend(t, store, appendOf(ref, 60_000, 60_000, data[60_000:]))
	read(59_000, 2000, data[59_000:61_000], 1)
	read(99_000, 1000, data[99_000:], 0)
	if err := store.Seal(t.Context(), &granary.Seal{Ref: ref, Epoch: 2, DataShards: 2, ParityShards: 1, Length: 100_000, End: 100_000}); err != nil {
		t.Fatal(err)
	}
	read(99_000, 50_000, data[99_000:], 1) // the page table is none of the stream
	for key, at := range c.peeks.files {
		c.peeks.forget(key, at.file)
	}
	read(0, 100, data[:100], 1)
	read(0, 100, data[:100], 0)
	lent := c.Lend(1 << 20)
	if lent == nil {
		return
	}
	defer c.Release(lent)
	if n, _, err := c.ReadAt(t.Context(), addr, ref, lent[9:], 0); n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	c.freeLoans() // as when it is closed
	if !bytes.Equal(lent[9:9+len(data)], data) {
		t.Error("what was read is gone with its client")
	}
}

// A file that is another shard's, or none at all, is not read.
func TestPeekAtAnotherShard(t *testing.T) {
	store := openTemp(t)
	ref, other := firstRef(store, 7), firstRef(store, 8)
	mustAppend(t, store, appendOf(ref, 0, 0, fill(5000, 1)))
	f, err := openShard(store.path(ref), ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	none := store.path(ref) + ".none"
	if err := os.WriteFile(none, fill(20_000, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{store.path(ref), none, none + "x", t.TempDir()} {
		if f, err := openShard(path, other); err == nil {
			t.Errorf("%s is taken for another shard", path)
			f.Close()
		}
	}
}
