package client

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dsorchard/granary"
)

// hotShards are shards on this machine, of which its memory holds some.
type hotShards struct {
	*fakeShards
	mu     sync.Mutex
	holds  func(ref granary.ShardRef, off int64) bool
	asked  int
	served int
}

func (s *hotShards) ReadAtOnce(addr string, ref granary.ShardRef, parts [][]byte, off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if !s.holds(ref, off) {
		return false
	}
	s.served++
	for _, p := range parts {
		if n, _, err := s.ReadAt(context.Background(), addr, ref, p, off); err != nil || n < len(p) {
			return false
		}
		off += int64(len(p))
	}
	return true
}

// take returns how often was asked and served since it was called last.
func (s *hotShards) take() (asked, served int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, served, s.asked, s.served = s.asked, s.served, 0, 0
	return asked, served
}

// newHotCluster is a cluster with a file "a", and a client that reads it beside the shards.
func newHotCluster(t *testing.T, seed uint64, p granary.Policy, data []byte) (*fakeCluster, *Client, *hotShards) {
	t.Helper()
	f, c := newCluster(t, seed, 6, p, nil)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	hot := &hotShards{fakeShards: f.shards, holds: func(granary.ShardRef, int64) bool { return true }}
	reader := openClient(t, f, func(o *Options) { o.Shards = hot })
	t.Cleanup(func() { closeClient(t, reader) })
	return f, reader, hot
}

// readAtOnce reads a range by ReadAtOnce as far as that goes, and returns where it ended.
func readAtOnce(t *testing.T, c *Client, l *granary.Layout, want, buf []byte, off, end uint64) uint64 {
	t.Helper()
	for off < end {
		clear(buf)
		p := c.ReadAtOnce(l, buf, off, end)
		if len(p) == 0 {
			break
		}
		if uint64(len(p)) > end-off || !bytes.Equal(p, want[off:off+uint64(len(p))]) {
			t.Fatalf("%d other bytes at %d", len(p), off)
		}
		off += uint64(len(p))
	}
	return off
}

// What memory holds is read at once: all of it in ranges of any kind, across chunks, without a read that could wait, and without
// taking room in the cache.
func TestReadAtOnce(t *testing.T) {
	data := noise(61, 9<<20)
	f, c, hot := newHotCluster(t, 61, policy(4, 2), data)
	l := layoutOf(t, c, "a")
	size := uint64(len(data))
	buf := make([]byte, 256<<10)
	if got := readAtOnce(t, c, l, data, buf, 0, size); got != size {
		t.Fatalf("%d bytes are there of %d", got, size)
	}
	asked, served := hot.take()
	if most := len(data)/(len(buf)-32<<10) + 2*len(l.Extents); asked != served || asked > most {
		t.Errorf("%d reads, %d of them served, for %d chunks; %d are many", asked, served, len(l.Extents), most)
	}
	dice := rand.New(rand.NewPCG(6, 1))
	for range 200 {
		off := dice.Uint64N(size)
		end := off + 1 + dice.Uint64N(min(size-off, 600_000))
		if got := readAtOnce(t, c, l, data, buf[:64<<10+dice.IntN(192<<10)], off, end); got != end {
			t.Fatalf("from %d to %d: %d", off, end, got)
		}
	}
	if s := c.CacheStats(); s.Bytes != 0 {
		t.Errorf("%d bytes are kept", s.Bytes)
	}
	f.shards.mu.Lock()
	defer f.shards.mu.Unlock()
	if p := c.ReadAtOnce(l, buf, size, size); len(p) != 0 {
		t.Errorf("%d bytes behind the end", len(p))
	}
}

// What memory lacks, what is wrong, and what lies on a disk that is down is not to be had at once; ReadLayout gives it. What is in the cache is taken
// from there.
func TestReadNotAtOnce(t *testing.T) {
	data := noise(62, 6<<20)
	f, c, hot := newHotCluster(t, 62, policy(4, 2), data)
	l := layoutOf(t, c, "a")
	buf := make([]byte, 256<<10)
	e := l.Extents[len(l.Extents)/2]
	block := l.Blocks[0]
	for _, b := range l.Blocks {
		if b.ID == e.Block {
			block = b
		}
	}
	at := block.Location
	cold := true
	hot.holds = func(ref granary.ShardRef, off int64) bool {
		return !cold || ref.Shard != at.Shard || uint64(off) < at.Offset || uint64(off) >= at.Offset+uint64(at.Length)
	}
	if got := readAtOnce(t, c, l, data, buf, 0, l.Size); got != e.Offset {
		t.Fatalf("read up to %d, not %d", got, e.Offset)
	}

	cold = false
	down := layoutOf(t, c, "a")
	for i := range down.Volumes {
		for s := range down.Volumes[i].Shards {
			down.Volumes[i].Shards[s].Up = uint8(s) != at.Shard
		}
	}
	if p := c.ReadAtOnce(down, buf, e.Offset, e.Offset+1); len(p) != 0 {
		t.Error("a disk that is down was read")
	}

	f.shards.mu.Lock()
	stored := f.shards.shards[granary.ShardRef{Disk: l.Volumes[0].Shards[at.Shard].Disk, Volume: at.Volume, Shard: at.Shard}].data
	stored[at.Offset+100_000] ^= 4
	f.shards.mu.Unlock()
	got := readAtOnce(t, c, l, data, buf, 0, l.Size)
	if got < e.Offset || got > e.Offset+100_000 {
		t.Fatalf("read up to %d, with a wrong byte behind %d", got, e.Offset)
	}
	hot.take()
	p := make([]byte, e.Length)
	if err := c.ReadLayout(t.Context(), l, p, e.Offset); err != nil || !bytes.Equal(p, data[e.Offset:e.Offset+e.Length]) {
		t.Fatal("it was not made from the others", err)
	}
	if got := readAtOnce(t, c, l, data, buf, e.Offset, e.Offset+e.Length); got != e.Offset+e.Length {
		t.Errorf("read up to %d of what is in the cache", got)
	}
	if asked, _ := hot.take(); asked != 0 {
		t.Errorf("asked %d times for what is in the cache", asked)
	}
}

// Compressed blocks are not read at once, and what there is of a file is told apart from what there is not.
func TestReadAtOnceOfOthers(t *testing.T) {
	compressed := policy(4, 2)
	compressed.Compression = granary.CompressionLZ4
	_, c, hot := newHotCluster(t, 63, compressed, bytes.Repeat([]byte("text and text "), 200_000))
	buf := make([]byte, 256<<10)
	if p := c.ReadAtOnce(layoutOf(t, c, "a"), buf, 0, 1<<20); len(p) != 0 {
		t.Errorf("%d bytes of a compressed block", len(p))
	}
	if asked, _ := hot.take(); asked != 0 {
		t.Errorf("asked %d times", asked)
	}
	if p := c.ReadAtOnce(&granary.Layout{Size: 100, Inline: make([]byte, 100)}, buf, 0, 100); len(p) != 0 {
		t.Errorf("%d bytes of no extent", len(p))
	}
	plain := newPlainClient(t)
	if p := plain.ReadAtOnce(layoutOf(t, plain, "a"), buf, 0, 1<<20); len(p) != 0 {
		t.Errorf("%d bytes of shards elsewhere", len(p))
	}
}

// newPlainClient is a client of shards that are elsewhere, with a file "a".
func newPlainClient(t *testing.T) *Client {
	_, c := newCluster(t, 64, 6, policy(4, 2), nil)
	if _, err := upload(c, "a", noise(64, 1<<20)); err != nil {
		t.Fatal(err)
	}
	c.cache.clear()
	return c
}
