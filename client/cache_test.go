package client

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dsorchard/granary"
)

// Whatever many readers and prefetches read at once, what is kept and what is on its way take no more than the budget.
func TestCacheBudgetHolds(t *testing.T) {
	const budget = 9 << 20
	f, c := newCluster(t, 41, 6, policy(4, 2), func(o *Options) { o.CacheBytes = budget })
	data := noise(41, 32<<20)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	l := layoutOf(t, c, "a")
	var mu sync.Mutex
	var peak int64
	look := func() {
		c.cache.mu.Lock()
		n := c.cache.bytes + c.cache.coming
		c.cache.mu.Unlock()
		mu.Lock()
		peak = max(peak, n)
		mu.Unlock()
	}
	f.shards.mu.Lock()
	f.shards.onRead = func(context.Context, granary.ShardRef) error { look(); return nil }
	f.shards.mu.Unlock()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 1))
			for range 8 {
				off := dice.IntN(len(data) - 3<<20)
				c.Prefetch(l, uint64(off), 8<<20)
				p := make([]byte, 3<<20)
				if err := c.ReadLayout(t.Context(), l, p, uint64(off)); err != nil || string(p) != string(data[off:off+len(p)]) {
					t.Error("wrong", err)
				}
				look()
			}
		})
	}
	wg.Wait()
	if peak > budget || peak < budget/2 {
		t.Errorf("the cache took %d bytes of %d", peak, budget)
	}
}

// Room is given up and taken in turn; a chunk larger than everything is let through alone, and who gives up leaves nothing behind.
func TestCacheReserve(t *testing.T) {
	c := newCache(100, new(slabs))
	if err := c.reserve(t.Context(), 60); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.reserve(ctx, 50); !granary.IsKind(err, granary.KindCanceled) {
		t.Errorf("got %v", err)
	}
	got := make(chan error)
	go func() { got <- c.reserve(t.Context(), 1000) }()
	c.put(&chunk{block: 1, verified: verified{memory: make([]byte, 40)}}, 60)
	if err := <-got; err != nil || c.bytes != 0 || c.coming != 1000 {
		t.Errorf("%v, %d kept, %d coming", err, c.bytes, c.coming)
	}
	c.release(1000)
	if c.coming != 0 {
		t.Errorf("%d are still coming", c.coming)
	}
}

// A read of 4 KiB costs one positioned read of one shard, of at most 68 KiB: of a frame and its trailer, or of two where it crosses from one
// frame to the next. Where it crosses from one chunk to the next it costs one of each.
func TestSmallReadIsOneShardRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // or a busy machine makes reads slow, and slow reads are hedged
		f, c := newCluster(t, 42, 6, policy(4, 2), nil)
		data := noise(42, 24<<20)
		if _, err := upload(c, "a", data); err != nil {
			t.Fatal(err)
		}
		l := layoutOf(t, c, "a")
		counted := &countedShards{fakeShards: f.shards}
		reader := openClient(t, f, func(o *Options) { o.Shards = counted })
		defer closeClient(t, reader)
		dice := rand.New(rand.NewPCG(4, 2))
		const size, sizeMax = 4096, 68 << 10
		for range 500 {
			off := uint64(dice.IntN(len(data) - size))
			wantReads := 0
			for _, e := range l.Extents {
				if max(e.Offset, off) < min(e.Offset+e.Length, off+size) {
					wantReads++
				}
			}
			counted.take()
			p := make([]byte, size)
			if err := reader.ReadLayout(t.Context(), l, p, off); err != nil || string(p) != string(data[off:off+size]) {
				t.Fatal("wrong", err)
			}
			sizes := counted.take()
			if len(sizes) != wantReads {
				t.Fatalf("%d shard reads at %d, not %d", len(sizes), off, wantReads)
			}
			for _, n := range sizes {
				if n > sizeMax {
					t.Fatalf("a shard read of %d bytes at %d", n, off)
				}
			}
		}
	})
}

// countedShards notes the sizes of reads.
type countedShards struct {
	*fakeShards
	mu    sync.Mutex
	sizes []int
}

func (s *countedShards) ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(p))
	s.mu.Unlock()
	return s.fakeShards.ReadAt(ctx, addr, ref, p, off)
}

func (s *countedShards) take() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := s.sizes
	s.sizes = nil
	return sizes
}

// A stream leaves little behind, whatever the size of its reads; who reads a chunk again soon, or once more later, makes it stay.
func TestStreamIsSpent(t *testing.T) {
	for _, step := range []int{100_000, 1 << 20, 5 << 20} {
		_, c := newCluster(t, 43, 6, policy(4, 2), func(o *Options) { o.CacheBytes = 128 << 20 })
		data := noise(43, 32<<20)
		if _, err := upload(c, "a", data); err != nil {
			t.Fatal(err)
		}
		l := layoutOf(t, c, "a")
		p := make([]byte, step)
		stream := func(each func()) {
			for off := 0; off < len(data); off += step {
				c.Prefetch(l, uint64(off), uint64(step))
				p := p[:min(step, len(data)-off)]
				if err := c.ReadLayout(t.Context(), l, p, uint64(off)); err != nil || string(p) != string(data[off:off+len(p)]) {
					t.Fatal("wrong", err)
				}
				each()
			}
		}
		most := int64(0)
		stream(func() { most = max(most, c.CacheStats().Bytes) })
		if most > 10<<20+int64(step) { // a 32nd of it is spent, and a chunk is being read
			t.Errorf("a stream in steps of %d fills the cache with %d bytes", step, most)
		}
		stream(func() {})
		if kept := c.CacheStats().Bytes; kept < 25<<20 {
			t.Errorf("a stream that is read again leaves %d bytes in the cache", kept)
		}
	}
}
