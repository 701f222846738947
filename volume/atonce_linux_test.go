package volume

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// TestReadAtOnce: a client reads what memory holds of a stream, in the same process or by itself, and nothing of what lies behind it,
// of other shards, or of a store that is closed.
func TestReadAtOnce(t *testing.T) {
	store := openTemp(t)
	ref, data := firstRef(store, 7), fill(100_000, 3)
	mustAppend(t, store, appendOf(ref, 0, 0, data))
	server := httptest.NewServer(NewHandler(store))
	t.Cleanup(server.Close)
	addr := strings.TrimPrefix(server.URL, "http://")
	attached, beside := NewClient(), NewClient()
	attached.Attach(addr, store)
	for _, c := range []*Client{attached, beside} {
		t.Cleanup(func() { c.Close() })
		read := func(ref granary.ShardRef, off int, sizes ...int) bool {
			t.Helper()
			var parts [][]byte
			for _, n := range sizes {
				parts = append(parts, make([]byte, n))
			}
			ok := c.ReadAtOnce(addr, ref, parts, int64(off))
			if ok && !bytes.Equal(bytes.Join(parts, nil), data[off:][:len(bytes.Join(parts, nil))]) {
				t.Fatalf("other bytes at %d", off)
			}
			return ok
		}
		if c == beside && read(ref, 0, 1) {
			t.Error("a file is read before anybody said where it is")
		}
		if _, _, err := c.ReadAt(t.Context(), addr, ref, make([]byte, 100), 0); err != nil {
			t.Fatal(err)
		}
		if !read(ref, 0, 1) {
			t.Skip("the file system has no such reads")
		}
		if !read(ref, 10, 50_000, 16, 1000) || !read(ref, 99_000, 999, 1) || !read(ref, 100_000) {
			t.Error("what was just written is not in memory")
		}
		if read(ref, 99_000, 999, 2) || read(ref, 100_000, 1) || read(ref, 100_001) || read(ref, -1, 1) {
			t.Error("bytes that are not in the stream")
		}
		if read(firstRef(store, 8), 0, 1) || read(granary.ShardRef{Disk: "none", Volume: 7}, 0, 1) {
			t.Error("bytes of no shard")
		}
	}
	// What follows the stream in the file is none of it.
	if err := store.Seal(t.Context(), &granary.Seal{Ref: ref, Epoch: 2, DataShards: 2, ParityShards: 1, Length: 90_000, End: 90_000}); err != nil {
		t.Fatal(err)
	}
	if attached.ReadAtOnce(addr, ref, [][]byte{make([]byte, 2)}, 89_999) || !attached.ReadAtOnce(addr, ref, [][]byte{make([]byte, 2)}, 89_998) {
		t.Error("the end of a sealed stream")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if attached.ReadAtOnce(addr, ref, [][]byte{make([]byte, 2)}, 0) {
		t.Error("a store that is closed")
	}
}
