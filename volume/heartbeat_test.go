package volume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// fakeMaster answers heartbeats with a function.
type fakeMaster func(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error)

func (f fakeMaster) Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) {
	return f(ctx, hb)
}

// dialing reaches masters by their names.
func dialing(masters map[string]Master) Dialer {
	return func(addr string) (Master, func() error, error) {
		return masters[addr], func() error { return nil }, nil
	}
}

// TestHeartbeatsFollowMasters: masters that the leader names hear heartbeats until it no longer names them; those named
// at the start always do.
func TestHeartbeatsFollowMasters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem(disk.MemOptions{})
		o := testOptions(t, "d")
		o.OpenFS = func(string) (disk.FS, error) { return mem, nil }
		s := open(t, o)
		var mu sync.Mutex
		beats := map[string]int{}
		list := []string{"a", "b"}
		master := func(name string, leads bool) Master {
			return fakeMaster(func(context.Context, *granary.Heartbeat) (*granary.HeartbeatReply, error) {
				mu.Lock()
				defer mu.Unlock()
				beats[name]++
				r := &granary.HeartbeatReply{Cluster: testCluster, Leader: leads, Masters: []string{"wrong"}}
				if leads {
					r.Masters = slices.Clone(list)
				}
				return r, nil
			})
		}
		hungUp := 0
		masters := map[string]Master{"a": master("a", true), "b": master("b", false), "c": master("c", false)}
		dial := func(addr string) (Master, func() error, error) {
			if masters[addr] == nil {
				t.Errorf("%s is dialled", addr)
			}
			return masters[addr], func() error { mu.Lock(); defer mu.Unlock(); hungUp++; return nil }, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Heartbeats(ctx, "", "", "", []string{"a"}, dial) }()
		second := func(next ...string) map[string]int {
			time.Sleep(heartbeatEvery) // of the bubble's clock
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			got := beats
			beats, list = map[string]int{}, next
			return got
		}
		time.Sleep(heartbeatEvery / 2)
		if got := second("b", "c"); got["a"] != 2 || got["b"] != 2 || got["c"] != 0 {
			t.Errorf("named a, told of b: %v", got)
		}
		if got := second("c"); got["a"] != 1 || got["b"] != 1 || got["c"] != 1 {
			t.Errorf("told of b and c: %v", got)
		}
		if got := second("c"); got["a"] != 1 || got["c"] != 1 {
			t.Errorf("told of c alone: %v", got)
		}
		if got := second("c"); got["a"] != 1 || got["b"] != 0 || got["c"] != 1 || hungUp != 1 {
			t.Errorf("b was dropped: %v, %d hung up", got, hungUp)
		}
		cancel()
		if err := <-ended; err != nil || hungUp != 3 {
			t.Errorf("%v, %d hung up", err, hungUp)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
		o := testOptions(t, "d")
		o.Cluster = ""
		o.OpenFS = func(string) (disk.FS, error) { return faulty, nil }
		s := open(t, o)
		ref := firstRef(s, 1)

		var mu sync.Mutex
		var sent []*granary.Heartbeat
		heard := func() []*granary.Heartbeat {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(sent)
		}
		good := fakeMaster(func(_ context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, hb)
			return &granary.HeartbeatReply{Cluster: testCluster, Leader: true}, nil
		})
		dead := fakeMaster(func(ctx context.Context, _ *granary.Heartbeat) (*granary.HeartbeatReply, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.Heartbeats(ctx, "host:7500", "z", "r", []string{"dead", "good"}, dialing(map[string]Master{"dead": dead, "good": good}))
		}()

		beats := heard()
		// The first tells of disks without a cluster, the second, at once, that they have joined.
		if len(beats) != 2 || beats[0].Cluster != "" || beats[1].Cluster != testCluster || s.Cluster() != testCluster {
			t.Fatalf("after the first reply: %d heartbeats, cluster %q", len(beats), s.Cluster())
		}
		time.Sleep(3*time.Second + time.Millisecond) // of the bubble's clock
		beats = heard()
		if len(beats) != 5 {
			t.Fatalf("%d heartbeats in three seconds", len(beats)-2)
		}
		last := beats[4]
		if last.Server != s.ServerID() || last.Addr != "host:7500" || last.Zone != "z" || last.Rack != "r" || len(last.Disks) != 1 || len(last.Poisoned) != 0 {
			t.Fatalf("heartbeat %+v", last)
		}

		mustAppend(t, s, appendOf(ref, 0, 0, fill(10, 1)))
		faulty.SetHook(failing(disk.OpSync, disk.Fault{Err: syscall.EIO}))
		wantKind(t, s.Append(ctx, appendOf(ref, 10, 10, fill(10, 1))), granary.KindUnavailable)
		beats = heard()
		last = beats[len(beats)-1]
		if len(beats) < 6 || len(last.Poisoned) != 1 || last.Poisoned[0].Ref != ref || last.Disks[0].ReadOnly == "" {
			t.Fatalf("a failure is not told at once: %d heartbeats, %+v", len(beats), last)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

func TestHeartbeatsOfAnotherCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem(disk.MemOptions{})
		o := testOptions(t, "d")
		o.OpenFS = func(string) (disk.FS, error) { return mem, nil }
		s := open(t, o)
		calls := 0
		m := fakeMaster(func(context.Context, *granary.Heartbeat) (*granary.HeartbeatReply, error) {
			if calls++; calls < 3 {
				return nil, errors.New("not yet")
			}
			return &granary.HeartbeatReply{Cluster: "ffffffffffffffffffffffffffffffff"}, nil
		})
		wantKind(t, s.Heartbeats(t.Context(), "", "", "", []string{"m"}, dialing(map[string]Master{"m": m})), granary.KindInvalid)
		if calls != 3 || s.Cluster() != testCluster {
			t.Fatalf("%d calls, cluster %s", calls, s.Cluster())
		}
	})
}

func TestHeartbeatsWithoutMasters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem(disk.MemOptions{})
		o := testOptions(t, "d")
		o.OpenFS = func(string) (disk.FS, error) { return mem, nil }
		s := open(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Heartbeats(ctx, "", "", "", nil, nil); err != nil {
			t.Fatal(err)
		}
	})
}
