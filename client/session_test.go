package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

func openClient(t *testing.T, f *fakeCluster, edit func(*Options)) *Client {
	t.Helper()
	o := Options{Masters: f.addrs, Dial: f.dial, RetryFor: 20 * time.Second}
	if f.shards != nil {
		o.Shards = f.shards
	}
	if edit != nil {
		edit(&o)
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closeClient(t *testing.T, c *Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func setXattr(name string) granary.Op {
	return &granary.SetXattr{Inode: granary.RootInode, Xattr: granary.Xattr{Name: name}}
}

// Every mutation takes effect exactly once, whatever calls and replies are lost and whoever leads.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeCluster(seed, 3)
			f.hints = seed%2 == 0
			f.fault = func(op string) fakeFate {
				if f.rand.IntN(3) > 0 {
					return fateServed
				}
				return fakeFate(1 + f.rand.IntN(4))
			}
			c := openClient(t, f, func(o *Options) { o.RetryFor = time.Hour })
			var wg sync.WaitGroup
			for w := range 20 {
				wg.Go(func() {
					for i := range 5 {
						if _, err := c.Do(t.Context(), granary.Cred{}, setXattr(fmt.Sprintf("%d.%d", w, i))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			f.mu.Lock()
			f.fault = nil
			for w := range 20 {
				for i := range 5 {
					if n := f.effects[fmt.Sprintf("setxattr/%d.%d", w, i)]; n != 1 {
						t.Errorf("seed %d: mutation %d.%d took effect %d times", seed, w, i, n)
					}
				}
			}
			if f.opSessions != 1 {
				t.Errorf("%d sessions opened", f.opSessions)
			}
			f.mu.Unlock()
			last := c.sess // a renewal that meets the end of the session takes it from c
			closeClient(t, c)
			if last.lowest != 102 || len(last.unacked) != 0 { // CloseSession was one more
				t.Errorf("lowest unacknowledged is %d, %d open", last.lowest, len(last.unacked))
			}
			if len(f.sessions) != 0 {
				t.Error("the session was not closed")
			}
		})
	}
}

// While Mutate calls are under way, requests gather and share the next.
func TestRequestsShareCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 1)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		f.hold = make(chan struct{})
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if _, err := c.Do(t.Context(), granary.Cred{}, setXattr(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(f.hold)
		wg.Wait()
		if f.requests != 1000 || f.mutates > batchesMax+4 {
			t.Errorf("%d requests in %d calls", f.requests, f.mutates)
		}
	})
}

// A session that the master ended is replaced; what was under way in it is not repeated.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 1)
		var lost atomic.Uint64
		c := openClient(t, f, func(o *Options) { o.OnExpired = func(id granary.SessionID) { lost.Store(uint64(id)) } })
		defer closeClient(t, c)
		first := c.Session()
		f.expire(first)
		if _, err := c.Do(t.Context(), granary.Cred{}, setXattr("a")); err != nil {
			t.Fatalf("a request that met the end of its session, and was not applied: %v", err)
		}
		if c.Session() == first || c.Session() == 0 || lost.Load() != uint64(first) {
			t.Errorf("session %d after %d, lost %d", c.Session(), first, lost.Load())
		}
		second := c.Session()
		time.Sleep(35 * time.Second) // synctest's clock: three renewals
		f.mu.Lock()
		if f.keptAlive < 3 {
			t.Errorf("kept alive %d times", f.keptAlive)
		}
		f.mu.Unlock()
		f.expire(second)
		time.Sleep(11 * time.Second)
		if lost.Load() != uint64(second) {
			t.Error("keepalive did not notice the loss")
		}
		// Applied, the reply lost, and the session gone when it is asked for: nobody knows, so it is not repeated.
		if _, err := c.Do(t.Context(), granary.Cred{}, setXattr("c")); err != nil {
			t.Fatal(err)
		}
		third := c.Session()
		f.mu.Lock()
		f.fault = func(string) fakeFate {
			f.fault = func(string) fakeFate { delete(f.sessions, third); return fateServed }
			return fateReplyLost
		}
		f.mu.Unlock()
		if _, err := c.Do(t.Context(), granary.Cred{}, setXattr("d")); !granary.IsKind(err, granary.KindExpired) {
			t.Errorf("got %v, not KindExpired", err)
		}
		if _, err := c.Do(t.Context(), granary.Cred{}, setXattr("e")); err != nil {
			t.Error(err)
		}
	})
}

// A caller that gives up gets KindCanceled if nothing was sent, else KindIndeterminate; and a cluster
// without a leader is KindUnavailable after RetryFor.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 3)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		f.mu.Lock()
		f.fault = func(string) fakeFate { return fateHangs }
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Do(ctx, granary.Cred{}, setXattr("a")); !granary.IsKind(err, granary.KindIndeterminate) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Query(ctx, &granary.GetPolicy{Policy: 1}); err == nil {
			t.Error("a query without an answer succeeded")
		}
		f.mu.Lock()
		f.fault, f.leader = nil, "nobody"
		f.hints = false
		f.mu.Unlock()
		start := time.Now()
		_, err := c.Query(t.Context(), &granary.GetPolicy{Policy: 1})
		if !granary.IsKind(err, granary.KindUnavailable) || time.Since(start) < 20*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		f.mu.Lock()
		f.leader = f.addrs[2]
		f.mu.Unlock()
		if _, err := c.Query(t.Context(), &granary.GetPolicy{Policy: 1}); err != nil {
			t.Error(err)
		}
	})
}

// KindBusy is asked again under a new sequence number.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 1)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		if _, err := c.Do(t.Context(), granary.Cred{}, setXattr("busy")); err != nil {
			t.Error(err)
		}
		if f.effects["setxattr/busy"] != 3 {
			t.Errorf("asked %d times", f.effects["setxattr/busy"])
		}
	})
}

// Queries go to all masters in turn, if the client is to read from followers; what a follower cannot answer goes to
// the leader.
func TestReadFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 3)
		c := openClient(t, f, func(o *Options) { o.ReadFollowers = true })
		defer closeClient(t, c)
		ask := func(n int) {
			for range n {
				if _, err := c.Query(t.Context(), &granary.Lookup{Base: granary.RootInode}); err != nil {
					t.Error(err)
				}
			}
		}
		f.following = true
		ask(9)
		if f.followed != 6 {
			t.Errorf("followers answered %d of 9 queries", f.followed)
		}
		f.following = false
		ask(9)
		if f.followed != 6 {
			t.Errorf("followers that refuse answered %d queries", f.followed-6)
		}
	})
}
