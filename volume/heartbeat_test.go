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
		go func() { ended <- s.Heartbeats(ctx, "host:7500", "z", "r", []Master{dead, good}) }()

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
		wantKind(t, s.Heartbeats(t.Context(), "", "", "", []Master{m}), granary.KindInvalid)
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
		if err := s.Heartbeats(ctx, "", "", "", nil); err != nil {
			t.Fatal(err)
		}
	})
}
