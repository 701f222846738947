package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// Whatever appends fail, hang or lose their replies, and whatever the master does, what was
// acknowledged reads back right, also with any m shards gone.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(4) {
		shapes := []granary.Policy{policy(4, 2), policy(2, 1), policy(1, 2), granary.DefaultPolicy()}
		f, c := newCluster(t, seed, 9, shapes[seed], func(o *Options) {
			o.RowSize, o.VolumeSize, o.AppendWithin = 1<<20, 8<<20, 250*time.Millisecond
			o.RetryFor = 5 * time.Minute // on a busy machine sound appends are late too
		})
		dice := rand.New(rand.NewPCG(seed, 7))
		f.mu.Lock()
		f.fault = func(string) fakeFate {
			if dice.IntN(12) > 0 {
				return fateServed
			}
			return []fakeFate{fateRefused, fateReplyLost, fateDeposed}[dice.IntN(3)]
		}
		f.mu.Unlock()
		shardDice := rand.New(rand.NewPCG(seed, 8))
		f.shards.mu.Lock()
		f.shards.onAppend = func(*granary.Append) fakeFate {
			if shardDice.IntN(40) > 0 {
				return fateServed
			}
			return []fakeFate{fateRefused, fateReplyLost, fateHangs}[shardDice.IntN(3)]
		}
		f.shards.mu.Unlock()
		var wg sync.WaitGroup
		sizes := []int{100, 5000, 300_000, 4 << 20, 19 << 20}
		for i, size := range sizes {
			wg.Go(func() {
				if _, err := upload(c, fmt.Sprint(i), noise(uint64(i), size)); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			})
		}
		wg.Wait()
		f.mu.Lock()
		f.fault = nil
		f.mu.Unlock()
		for i, size := range sizes {
			mustRead(t, c, fmt.Sprint(i), noise(uint64(i), size))
		}
		reader := openClient(t, f, func(o *Options) { o.CacheBytes = 1 })
		loseShards(f, dice)
		for i, size := range sizes {
			mustRead(t, reader, fmt.Sprint(i), noise(uint64(i), size))
		}
		closeClient(t, reader)
	}
}

// loseShards removes m shards of every volume.
func loseShards(f *fakeCluster, dice *rand.Rand) {
	f.shards.mu.Lock()
	defer f.shards.mu.Unlock()
	for _, v := range f.volumes {
		for _, i := range dice.Perm(len(v.Shards))[:v.ParityShards] {
			delete(f.shards.shards, granary.ShardRef{Disk: v.Shards[i].Disk, Volume: v.ID, Shard: uint8(i)})
		}
	}
}

// Flipped bytes are noticed and repaired on the way, in data and parity alike.
func TestFlippedBytes(t *testing.T) {
	f, c := newCluster(t, 11, 6, policy(4, 2), func(o *Options) { o.CacheBytes = 1 })
	data := noise(11, 12<<20)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		f.shards.mu.Lock()
		saved := map[granary.ShardRef][]byte{}
		for _, v := range f.volumes {
			for _, i := range rand.Perm(len(v.Shards))[:1] { // one liar can be told from the others with m = 2
				ref := granary.ShardRef{Disk: v.Shards[i].Disk, Volume: v.ID, Shard: uint8(i)}
				if sh := f.shards.shards[ref]; sh != nil {
					saved[ref] = sh.data
					sh.data = bytes.Clone(sh.data)
					for at := 7; at < len(sh.data); at += 10_000 {
						sh.data[at] ^= 1
					}
				}
			}
		}
		f.shards.mu.Unlock()
		mustRead(t, c, "a", data)
		f.shards.mu.Lock()
		for ref, p := range saved {
			f.shards.shards[ref].data = p
		}
		f.shards.mu.Unlock()
	}
	// One shard gone and another lying: every choice of k is tried.
	v := f.volumes[1]
	f.shards.mu.Lock()
	delete(f.shards.shards, granary.ShardRef{Disk: v.Shards[0].Disk, Volume: 1, Shard: 0})
	sh := f.shards.shards[granary.ShardRef{Disk: v.Shards[1].Disk, Volume: 1, Shard: 1}]
	for at := 7; at < len(sh.data); at += 10_000 {
		sh.data[at] ^= 1
	}
	f.shards.mu.Unlock()
	mustRead(t, c, "a", data)
}

// More damage than the policy covers is an error that names the block: never zeros, never a short read.
func TestDataLossIsAnError(t *testing.T) {
	f, c := newCluster(t, 12, 3, policy(2, 1), func(o *Options) { o.CacheBytes = 1 })
	data := noise(12, 6<<20)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	l := layoutOf(t, c, "a")
	f.shards.mu.Lock()
	for ref, sh := range f.shards.shards {
		if ref.Shard != 0 {
			sh.data = make([]byte, len(sh.data))
		}
	}
	for _, sh := range f.shards.shards {
		sh.data = sh.data[:len(sh.data)/2]
	}
	f.shards.mu.Unlock()
	err := c.ReadLayout(t.Context(), l, make([]byte, len(data)), 0)
	if !granary.IsKind(err, granary.KindCorrupt) || !strings.Contains(err.Error(), "block ") || !strings.Contains(err.Error(), "rebuild from shards [") {
		t.Errorf("got %v", err)
	}
	f.shards.mu.Lock()
	clear(f.shards.shards)
	f.shards.mu.Unlock()
	if err := c.ReadLayout(t.Context(), l, make([]byte, 1000), 0); !granary.IsKind(err, granary.KindStale) {
		t.Errorf("a volume that is gone: %v", err)
	}
	f.shards.mu.Lock()
	f.shards.onRead = func(context.Context, granary.ShardRef) error { return errDead }
	f.shards.mu.Unlock()
	if err := c.ReadLayout(t.Context(), l, make([]byte, 1000), 0); !granary.IsKind(err, granary.KindUnavailable) {
		t.Errorf("nobody answers: %v", err)
	}
}

// A server that does not answer costs one hedge, not a timeout; one known to be down is not asked first.
func TestSlowAndDownServers(t *testing.T) {
	f, c := newCluster(t, 13, 6, policy(4, 2), func(o *Options) { o.CacheBytes = 1 })
	data := noise(13, 3<<20)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	f.shards.mu.Lock()
	dead := f.shards.disks[1]
	f.shards.onRead = func(ctx context.Context, ref granary.ShardRef) error {
		if ref.Disk == dead {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	f.shards.mu.Unlock()
	start := time.Now()
	mustRead(t, c, "a", data)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	f.mu.Lock()
	f.down[dead] = true
	f.mu.Unlock()
	mustRead(t, c, "a", data)
}

// When too few disks are left, a fixed policy fails with what is missing, and auto writes thinner.
func TestTooFewDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newCluster(t, 14, 3, policy(2, 1), nil)
		f.mu.Lock()
		f.openErr = granary.Errorf(granary.KindNoSpace, "open volume", "", "policy 2+1 needs 3 disks")
		f.mu.Unlock()
		start := time.Now()
		_, err := upload(c, "a", noise(1, 100_000))
		if !granary.IsKind(err, granary.KindNoSpace) || time.Since(start) > 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		f.mu.Lock()
		f.openErr = nil
		f.mu.Unlock()
		f.shards.mu.Lock()
		dead := f.shards.disks[0]
		f.shards.onAppend = func(a *granary.Append) fakeFate {
			if a.Ref.Disk == dead {
				return fateRefused
			}
			return fateServed
		}
		f.shards.mu.Unlock()
		if _, err := upload(c, "b", noise(2, 8<<20)); granary.KindOf(err) != granary.KindUnavailable {
			t.Errorf("a fixed policy with a dead disk: %v", err)
		}
		f.mu.Lock()
		f.policy.DataShards, f.policy.ParityShards = 0, 0
		f.k, f.m = 1, 1
		f.mu.Unlock()
		auto := openClient(t, f, nil)
		if _, err := upload(auto, "c", noise(3, 100_000)); err != nil {
			t.Error(err)
		}
		mustRead(t, auto, "c", noise(3, 100_000))
		closeClient(t, auto)
	})
}

// Chunks are prefetched into the cache, whose size is bounded, and read once for all who want them.
func TestCacheAndPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // or a busy machine makes reads slow, and slow reads are hedged
		f, c := newCluster(t, 15, 6, policy(4, 2), func(o *Options) { o.CacheBytes = 6 << 20 })
		data := noise(15, 16<<20)
		if _, err := upload(c, "a", data); err != nil {
			t.Fatal(err)
		}
		l := layoutOf(t, c, "a")
		before := f.shards.reads
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				p := make([]byte, 100_000)
				if err := c.ReadLayout(t.Context(), l, p, 0); err != nil || !bytes.Equal(p, data[:len(p)]) {
					t.Error("wrong", err)
				}
			})
		}
		wg.Wait()
		f.shards.mu.Lock()
		if n := f.shards.reads - before; n > 2 {
			t.Errorf("%d reads for one block", n)
		}
		f.shards.mu.Unlock()
		c.Prefetch(l, 0, l.Size)
		mustRead(t, c, "a", data)
		for range 2 {
			if err := c.ReadLayout(t.Context(), l, make([]byte, 100_000), 0); err != nil {
				t.Error(err)
			}
		}
		if s := c.CacheStats(); s.Bytes > 6<<20 || s.Hits == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A master that is away while a volume is wanted leaves no doubt: nothing was committed.
func TestNoVolumeIsCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(11, 1)
		f.policy, f.shards = policy(1, 1), newFakeShards(3)
		c := openClient(t, f, func(o *Options) { o.RetryFor = 2 * time.Second })
		defer closeClient(t, c)
		r, err := upload(c, "f", nil)
		if err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.fault = func(op string) fakeFate {
			if op == "mutate" {
				return fateReplyLost
			}
			return fateServed
		}
		f.mu.Unlock()
		_, err = c.WriteRanges(t.Context(), granary.Cred{}, r.Attr, []Range{{Data: noise(1, 100_000)}}, true, nil)
		if !granary.IsKind(err, granary.KindUnavailable) {
			t.Errorf("got %v, not KindUnavailable", err)
		}
		f.mu.Lock()
		f.fault = nil
		f.mu.Unlock()
	})
}
