package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// A bucket holds the durations from the bound of the one before it to its own.
func TestLatencyBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "d"))
		i := latencyBucket(d)
		if d >= latencyBound(i) || i > 0 && d < latencyBound(i-1) {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, i, latencyBound(i))
		}
	})
	if i := latencyBucket(time.Hour); i != latencyBuckets-1 {
		t.Error("an hour is in bucket", i)
	}
}

// The estimate is within a bucket of the true p95, and follows when the disk changes.
func TestLatencyQuantile(t *testing.T) {
	var h histogram
	dice := rand.New(rand.NewPCG(1, 2))
	if h.add(time.Second); h.quantile() != 0 {
		t.Error("one read is taken for knowledge")
	}
	for _, scale := range []time.Duration{10 * time.Millisecond, 400 * time.Millisecond, 2 * time.Millisecond} {
		for range 6 * latencyWindow {
			h.add(time.Duration(dice.Float64() * float64(scale)))
		}
		want := scale * latencyQuantile / 100
		if got := time.Duration(h.p95.Load()); got < want*9/10 || got > want*13/10 {
			t.Errorf("the p95 is %v, not about %v", got, want)
		}
	}
}

// Many add at once, and the counts stay sane.
func TestLatencyConcurrent(t *testing.T) {
	var l latency
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5000 {
				l.add(granary.DiskID(fmt.Sprint(i%3)), 4096, 30*time.Millisecond)
				l.patience("0", 4096)
			}
		})
	}
	wg.Wait()
	for _, id := range []granary.DiskID{"0", "1", "2"} {
		if got := time.Duration(l.disk(id)[0].p95.Load()); got < 30*time.Millisecond || got > 40*time.Millisecond {
			t.Errorf("disk %s: %v", id, got)
		}
		if n := l.disk(id)[0].total.Load(); n > 2*latencyWindow {
			t.Errorf("disk %s: %d counts", id, n)
		}
	}
}

// One disk's slowness does not make it waited for; that of all of them does. Sizes are told apart.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l latency
		learn := func(disk int, length int, d time.Duration) {
			for range 2 * latencyWindow {
				l.add(granary.DiskID(fmt.Sprint(disk)), length, d)
			}
			time.Sleep(2 * latencyUsualEach)
		}
		if got := l.patience("0", 4096); got != hedgeUnknown {
			t.Errorf("nothing is known, and it is %v", got)
		}
		for i := range 5 {
			learn(i, 4096, 2*time.Millisecond)
		}
		learn(5, 4096, 900*time.Millisecond)
		learn(0, 1<<20, 60*time.Millisecond)
		if got := l.patience("5", 4096); got != hedgeLeast {
			t.Errorf("the slow disk is waited for %v", got)
		}
		if got := l.patience("new", 4096); got != hedgeLeast {
			t.Errorf("an unknown disk is waited for %v", got)
		}
		if got := l.patience("3", 1<<20); got < 60*time.Millisecond || got > 80*time.Millisecond {
			t.Errorf("large reads are waited for %v", got)
		}
		for i := range 5 {
			learn(i, 4096, 300*time.Millisecond)
		}
		if got := l.patience("5", 4096); got < 300*time.Millisecond || got > 400*time.Millisecond {
			t.Errorf("all are slow, and it is %v", got)
		}
		places := make([]granary.ShardPlace, 6)
		for i := range places {
			places[i].Disk = granary.DiskID(fmt.Sprint(5 - i))
		}
		shards := []int{0, 1, 2, 3, 4, 5}
		if l.order(places, shards, 4096); !slices.Equal(shards, []int{1, 2, 3, 4, 5, 0}) {
			t.Errorf("asked in the order %v", shards)
		}
	})
}

// slowness makes the disks of a cluster take their time, and counts what is read.
type slowness struct {
	mu    sync.Mutex
	takes func(granary.DiskID) time.Duration
	reads int
}

func slowDisks(f *fakeCluster) *slowness {
	s := &slowness{takes: func(granary.DiskID) time.Duration { return 3 * time.Millisecond }}
	f.shards.mu.Lock()
	defer f.shards.mu.Unlock()
	f.shards.onRead = func(ctx context.Context, ref granary.ShardRef) error {
		s.mu.Lock()
		s.reads++
		d := s.takes(ref.Disk)
		s.mu.Unlock()
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s
}

func (s *slowness) become(takes func(granary.DiskID) time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.reads = takes, 0
}

// hedgeCluster is a cluster with a file that readers know, and a function that reads 4 KiB of it n times and returns how long each took.
func hedgeCluster(t *testing.T) (*slowness, *fakeCluster, func(n int) []time.Duration) {
	f := newFakeCluster(21, 3)
	f.shards, f.policy = newFakeShards(6), policy(4, 2)
	c := openClient(t, f, func(o *Options) { o.CacheBytes = 1 })
	t.Cleanup(func() { closeClient(t, c) })
	data := noise(21, 24<<20)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	l := layoutOf(t, c, "a")
	dice := rand.New(rand.NewPCG(1, 2))
	read := func(n int) []time.Duration {
		var took []time.Duration
		p := make([]byte, 4096)
		for range n {
			off := dice.IntN(len(data) - len(p))
			began := time.Now()
			if err := c.ReadLayout(t.Context(), l, p, uint64(off)); err != nil || !bytes.Equal(p, data[off:off+len(p)]) {
				t.Fatal("wrong", err)
			}
			took = append(took, time.Since(began))
		}
		return took
	}
	return slowDisks(f), f, read
}

// A disk that becomes slow costs its readers about the p95, and not its slowness.
func TestSlowDiskCostsP95(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, read := hedgeCluster(t)
		read(600)
		slow := f.shards.disks[2]
		s.become(func(d granary.DiskID) time.Duration {
			if d == slow {
				return 2 * time.Second
			}
			return 3 * time.Millisecond
		})
		const reads = 600
		took := read(reads)
		if worst := slices.Max(took); worst > 2*(hedgeLeast+10*time.Millisecond) { // a range may touch two chunks
			t.Errorf("a read took %v", worst)
		}
		if s.reads > 5*reads/2 {
			t.Errorf("%d shard reads for %d", s.reads, reads)
		}
	})
}

// When all is slow others are asked for few reads, and soon for none.
func TestAllSlowDoesNotDoubleTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, read := hedgeCluster(t)
		read(600)
		s.become(func(granary.DiskID) time.Duration { return 200 * time.Millisecond })
		const reads = 600
		read(reads)
		if s.reads > reads*3/2 {
			t.Errorf("%d shard reads for %d", s.reads, reads)
		}
		s.become(func(granary.DiskID) time.Duration { return 200 * time.Millisecond })
		read(reads)
		if s.reads > reads*11/10 {
			t.Errorf("%d shard reads for %d when it is known that all is slow", s.reads, reads)
		}
	})
}

// The budget bounds what is asked for beside, whatever is measured.
func TestHedgingBudget(t *testing.T) {
	h := newHedging()
	spent := 0
	const reads = 10_000
	for range reads {
		h.earn()
		if h.begin(4) {
			spent += 4
			h.end()
		}
		if h.more() {
			spent++
		}
	}
	if spent > reads*hedgeShare/100+hedgeBudgetMax/100 {
		t.Errorf("%d shard reads beside %d", spent, reads)
	}
	for range 100 {
		h.earn()
	}
	for range hedgesMax {
		if !h.begin(1) {
			t.Fatal("refused")
		}
	}
	if h.begin(1) {
		t.Error("more at once than hedgesMax")
	}
}

// A reconstruction asks another shard when one of those it asked is slow.
func TestRebuildAsksMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, read := hedgeCluster(t)
		read(100)
		down, slow := f.shards.disks[0], f.shards.disks[1]
		s.become(func(d granary.DiskID) time.Duration {
			switch d {
			case down:
				return time.Minute
			case slow:
				return 5 * time.Second
			}
			return 3 * time.Millisecond
		})
		if worst := slices.Max(read(30)); worst > 4*(hedgeLeast+10*time.Millisecond) {
			t.Errorf("a read took %v", worst)
		}
	})
}
