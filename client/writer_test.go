package client

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// While the first volume is opened, a row gathers of which nobody knows yet how wide it is. When it turns out to be wider than was
// thought, who waits for room in it goes on: else nobody would ever fill it.
func TestRowWidens(t *testing.T) {
	p := granary.DefaultPolicy()
	_, c := newCluster(t, 1, 9, p, func(o *Options) { o.RowSize = 1 << 10 })
	w := c.writer(1, p)
	w.mu.Lock()
	w.flying = true // a row is being flushed, which opens the volume
	w.mu.Unlock()
	block := func() *placed { return &placed{size: 1 << 9, block: make([]byte, 1<<9), done: make(chan struct{})} }
	for range 2 {
		if err := w.add(t.Context(), block()); err != nil {
			t.Fatal(err)
		}
	}
	added := make(chan error)
	go func() { added <- w.add(t.Context(), block()) }()
	select {
	case err := <-added:
		t.Fatalf("a full row took another block: %v", err)
	case <-time.After(20 * time.Millisecond): // it waits, or will
	}
	v, err := w.volume(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v.DataShards < 2 {
		t.Fatalf("the volume has %d data shards: the row is as full as it was", v.DataShards)
	}
	w.mu.Lock()
	w.flying = false
	w.kick()
	w.mu.Unlock()
	select {
	case err := <-added:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a block waits for room in a row that is not full")
	}
}

// A block that would make a row much more than full begins the next one. One that is too large for any row has one of its own.
func TestRowsAreBounded(t *testing.T) {
	const full = 2 << 20
	p := policy(1, 0)
	f, c := newCluster(t, 1, 1, p, func(o *Options) { o.RowSize = full })
	var mu sync.Mutex
	var rows []int
	f.shards.onAppend = func(a *granary.Append) fakeFate {
		mu.Lock()
		defer mu.Unlock()
		rows = append(rows, len(a.Data))
		return fateServed
	}
	w := c.writer(1, p)
	var blocks []*placed
	const small, large, whole = rowOver - 1000, full + 1000, full + rowOver + 1000
	for _, size := range []int{small, large, small, whole, small, small, large, whole, whole, small} {
		b := &placed{size: size, block: noise(uint64(size), size), done: make(chan struct{})}
		blocks = append(blocks, b)
		if err := w.add(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	w.hurry(blocks[len(blocks)-1])
	for i, b := range blocks {
		if <-b.done; b.err != nil {
			t.Fatalf("block %d: %v", i, b.err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, n := range rows {
		if n > full+rowOver && n != int(padded(whole)) {
			t.Errorf("row %d has %d bytes", i, n)
		}
	}
	if len(rows) != 8 { // small and large, small, whole, small and small, large, whole, whole, small
		t.Errorf("rows %d", rows)
	}
}

// A long stream of a row ends where the next row begins, with zeros, also in memory that held another row before; a short one where its
// blocks do.
func TestLongStreamsAreWholePages(t *testing.T) {
	p := policy(1, 0)
	f, c := newCluster(t, 1, 1, p, nil)
	var mu sync.Mutex
	var appends []*granary.Append
	f.shards.onAppend = func(a *granary.Append) fakeFate {
		mu.Lock()
		defer mu.Unlock()
		clone := *a
		clone.Data = bytes.Clone(a.Data)
		appends = append(appends, &clone)
		return fateServed
	}
	w := c.writer(1, p)
	sizes := []int{padMin + 5000, padMin + 100, padMin - 100, padMin + granary.RowAlignment}
	for i, size := range sizes {
		b := &placed{size: size, block: bytes.Repeat([]byte{0xFF}, size), done: make(chan struct{})}
		if err := w.add(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.hurry(b)
		if <-b.done; b.err != nil {
			t.Fatalf("block %d: %v", i, b.err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(appends) != len(sizes) {
		t.Fatalf("%d appends", len(appends))
	}
	for i, a := range appends {
		size := sizes[i]
		if want := int(padded(uint64(size))); len(a.Data) != want || size >= padMin && want%granary.RowAlignment != 0 {
			t.Errorf("a stream of %d bytes took %d, want %d", size, len(a.Data), want)
		}
		if len(bytes.Trim(a.Data[size:], "\x00")) > 0 {
			t.Errorf("what follows a stream of %d bytes is not zero", size)
		}
	}
}
