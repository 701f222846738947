package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// runWorker starts a worker, and returns what ends it.
func runWorker(t *testing.T, f *fakeCluster, c *Client, o WorkerOptions) (stop func()) {
	t.Helper()
	o.Shards = f.shards
	w := NewWorker(c, o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// repairCluster is a cluster with some files in sealed volumes: disks under policy k+m, and further ones to repair to.
func repairCluster(t *testing.T, seed uint64, k, m, spare int) (*fakeCluster, *Client, map[granary.VolumeID][][]byte) {
	t.Helper()
	f := newFakeCluster(seed, 3)
	f.shards, f.policy = newFakeShards(k+m), policy(k, m)
	c := openClient(t, f, func(o *Options) { o.RowSize, o.VolumeSize = 1<<19, 3<<19 })
	for i := range 4 {
		if _, err := upload(c, fmt.Sprint(i), noise(seed*100+uint64(i), 100_000+1_000_000*i)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	all := f.sealAll()
	for i := range spare {
		f.shards.disks = append(f.shards.disks, granary.DiskID(fmt.Sprintf("spare%02d", i)))
	}
	return f, c, all
}

func (f *fakeCluster) ref(v granary.VolumeID, shard int) granary.ShardRef {
	return granary.ShardRef{Disk: f.volumes[v].Shards[shard].Disk, Volume: v, Shard: uint8(shard)}
}

// mustBe checks that all shards are what they were, where the state says that they are.
func (f *fakeCluster) mustBe(t *testing.T, want map[granary.VolumeID][][]byte) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shards.mu.Lock()
	defer f.shards.mu.Unlock()
	for id, shards := range want {
		for i := range shards {
			p := f.volumes[id].Shards[i]
			sh := f.shards.shards[f.ref(id, i)]
			if p.Lost || p.Target != "" || sh == nil || sh.sums == nil || !bytes.Equal(sh.data, shards[i]) {
				t.Errorf("shard %d of volume %d on %s is not what it was (lost %v)", i, id, p.Disk, p.Lost)
			}
		}
	}
}

// TestRepairProperty: whatever is damaged within m, in whatever way, all shards are in the end byte for byte what they were,
// although replies are lost and leaders change.
func TestRepairProperty(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			shape := [][2]int{{1, 1}, {1, 2}, {2, 1}, {4, 2}, {3, 3}, {6, 3}}[seed%6]
			f, c, want := repairCluster(t, seed, shape[0], shape[1], shape[1])
			defer closeClient(t, c)
			tasks := 0
			for id := range want {
				for n, shard := range r.Perm(len(want[id]))[:1+r.IntN(shape[1])] {
					f.damage(r, f.ref(id, shard))
					f.aim(granary.TaskRepair, id, shard, f.shards.disks[len(want[id])+n])
					tasks++
				}
			}
			f.mu.Lock()
			f.fault = func(string) fakeFate {
				if r.IntN(3) > 0 {
					return fateServed
				}
				return fakeFate(1 + r.IntN(4))
			}
			f.mu.Unlock()
			stop := runWorker(t, f, c, WorkerOptions{Tasks: 1 + r.IntN(4)})
			for range tasks {
				if e := <-f.work.ended; e.Error != "" || e.Done != e.Total || e.Total == 0 {
					t.Errorf("seed %d: %+v", seed, e)
				}
			}
			f.mu.Lock()
			f.fault = nil
			f.mu.Unlock()
			stop()
			f.mustBe(t, want)
			if n := f.effects["placeshard"]; n != tasks {
				t.Errorf("%d shards were placed, %d times", tasks, n)
			}
		})
	}
}

// damage spoils a shard in one way or another.
func (f *fakeCluster) damage(r *rand.Rand, ref granary.ShardRef) {
	sh := f.shards.shards[ref]
	switch r.IntN(4) {
	case 0:
		delete(f.shards.shards, ref)
	case 1: // rot, here and there
		for range 3 {
			sh.data[r.IntN(len(sh.data))] ^= 0x10
		}
	case 2:
		sh.data = sh.data[:r.IntN(len(sh.data))]
		sh.seal()
	case 3:
		old := f.shards.onRead
		f.shards.onRead = func(ctx context.Context, at granary.ShardRef) error {
			if at == ref {
				<-ctx.Done()
				return ctx.Err()
			}
			if old != nil {
				return old(ctx, at)
			}
			return nil
		}
	}
}

// TestRepairWithMoreLost: more than m shards are damaged, but never the same range of more than m: any k good for each range do.
func TestRepairWithMoreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, want := repairCluster(t, 1, 4, 2, 6)
		defer closeClient(t, c)
		tasks := 0
		for id, shards := range want {
			part := len(shards[0]) / len(shards)
			for i := range shards {
				if id == 2 && i < 3 { // one of the volumes loses the same page of three
					f.shards.shards[f.ref(id, i)].data[0] ^= 1
				} else {
					f.shards.shards[f.ref(id, i)].data[i*part] ^= 1
				}
			}
		}
		for id, shards := range want {
			for i := range shards {
				f.aim(granary.TaskRepair, id, i, f.shards.disks[6+i])
				tasks++
			}
		}
		defer runWorker(t, f, c, WorkerOptions{Tasks: 3})()
		for range tasks {
			e := <-f.work.ended
			if lost := e.Task.Volume == 2 && e.Task.Shard < 3; lost != (e.Error != "") {
				t.Errorf("%+v", e)
			} else if lost && !strings.Contains(e.Error, "of the 4 needed") {
				t.Errorf("the error does not say what is missing: %s", e.Error)
			}
		}
		delete(want, 2)
		f.mustBe(t, want)
	})
}

// TestRepairFindsLiar: a shard that was sealed with bytes that were never written is found out by the frames of the blocks,
// done without, and reported as damaged. When it cannot be, the error names the block and nothing is placed.
func TestRepairFindsLiar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, want := repairCluster(t, 3, 2, 2, 4)
		defer closeClient(t, c)
		liar := f.shards.shards[f.ref(1, 1)]
		for i := range liar.data {
			liar.data[i] ^= 0x40
		}
		liar.seal()
		defer runWorker(t, f, c, WorkerOptions{})()
		f.aim(granary.TaskRepair, 1, 0, "spare00")
		if e := <-f.work.ended; e.Error != "" {
			t.Error(e)
		}
		if shards := f.volumes[1].Shards; shards[0].Lost || !shards[1].Lost || shards[2].Lost || shards[3].Lost {
			t.Errorf("damaged are, as was reported: %+v", shards)
		}
		f.aim(granary.TaskCopy, 1, 1, "spare01") // the liar itself, which the blocks in it give away
		if e := <-f.work.ended; e.Error != "" {
			t.Error(e)
		}
		f.mustBe(t, want)

		for i := 1; i < 4; i++ {
			sh := f.shards.shards[f.ref(1, i)]
			sh.data[0] ^= 1
			sh.seal()
		}
		before := f.effects["placeshard"]
		delete(f.shards.shards, f.ref(1, 0))
		f.aim(granary.TaskRepair, 1, 0, "spare02")
		if e := <-f.work.ended; !strings.Contains(e.Error, "block ") || !strings.Contains(e.Error, "corrupt") {
			t.Errorf("the error names no block: %s", e.Error)
		}
		if f.effects["placeshard"] != before {
			t.Error("what does not verify was placed")
		}
	})
}

// TestCopy: a copy comes from the shard itself, and from others where that cannot be read.
func TestCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, want := repairCluster(t, 4, 4, 2, 6)
		defer closeClient(t, c)
		from := f.volumes[1].Shards[2].Disk
		var others atomic.Int64
		f.shards.onRead = func(_ context.Context, ref granary.ShardRef) error {
			if ref.Disk != from {
				others.Add(1)
			}
			return nil
		}
		defer runWorker(t, f, c, WorkerOptions{Tasks: 1})()
		f.aim(granary.TaskCopy, 1, 2, "spare00")
		if e := <-f.work.ended; e.Error != "" || others.Load() > 0 {
			t.Errorf("%d reads of other shards: %+v", others.Load(), e)
		}
		f.shards.shards[f.ref(1, 3)].data[5000] ^= 1
		f.aim(granary.TaskCopy, 1, 3, "spare01")
		if e := <-f.work.ended; e.Error != "" || others.Load() == 0 {
			t.Errorf("%d reads of other shards: %+v", others.Load(), e)
		}
		f.mustBe(t, want)
	})
}

// TestRepairOfUnsealed: shards that are not sealed yet are no sources; the task fails, to be tried again.
func TestRepairOfUnsealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, want := repairCluster(t, 5, 2, 1, 1)
		defer closeClient(t, c)
		sums := f.shards.shards[f.ref(1, 1)].sums
		f.shards.shards[f.ref(1, 1)].sums = nil
		delete(f.shards.shards, f.ref(1, 0))
		defer runWorker(t, f, c, WorkerOptions{})()
		f.aim(granary.TaskRepair, 1, 0, "spare00")
		if e := <-f.work.ended; !strings.Contains(e.Error, "unavailable") || !strings.Contains(e.Error, "not sealed") {
			t.Errorf("%+v", e)
		}
		f.shards.mu.Lock()
		f.shards.shards[f.ref(1, 1)].sums = sums
		f.shards.mu.Unlock()
		f.aim(granary.TaskRepair, 1, 0, "spare00")
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("%+v", e)
		}
		f.mustBe(t, want)
	})
}

// TestBuildFails: a target that refuses, breaks off, or stands still fails the task and nothing else; so does one that is not
// the target any more.
func TestBuildFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, want := repairCluster(t, 6, 2, 1, 1)
		defer closeClient(t, c)
		defer runWorker(t, f, c, WorkerOptions{})()
		full := granary.Errorf(granary.KindNoSpace, "build", "spare00", "the disk is full")
		release := make(chan struct{})
		for name, on := range map[string]func(b *granary.Build, got int) error{
			"full": func(*granary.Build, int) error { return full },
			"fills": func(_ *granary.Build, got int) error {
				if got > 1<<20 {
					return full
				}
				return nil
			},
			"stands still": func(_ *granary.Build, got int) error {
				if got > 1<<20 {
					<-release
					return errors.New("at last")
				}
				return nil
			},
		} {
			f.shards.mu.Lock()
			f.shards.onBuild = on
			f.shards.mu.Unlock()
			if name == "stands still" {
				time.AfterFunc(2*buildStall, func() { close(release) }) // as a transport that is told to give up
			}
			f.aim(granary.TaskRepair, 1, 0, "spare00")
			text := map[string]string{"full": "no space", "fills": "no space", "stands still": "does not go on"}[name]
			if e := <-f.work.ended; !strings.Contains(e.Error, text) || e.Done == e.Total && name != "full" {
				t.Errorf("%s: %+v", name, e)
			}
		}
		f.shards.mu.Lock()
		f.shards.onBuild = nil
		f.shards.mu.Unlock()
		id := f.aim(granary.TaskRepair, 1, 0, "spare00")
		f.mu.Lock()
		f.volumes[1].Shards[0].Target = "elsewhere"
		f.mu.Unlock()
		if e := <-f.work.ended; e.Task.ID != id || !strings.Contains(e.Error, "stale") {
			t.Errorf("%+v", e)
		}
		if n := f.effects["placeshard"]; n != 0 {
			t.Errorf("%d shards were placed", n)
		}
		f.aim(granary.TaskRepair, 1, 0, "spare00")
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("%+v", e)
		}
		f.mustBe(t, want)
	})
}

// TestWorkerStops: at whatever moment a worker is stopped or a task dropped, it ends at once, says so, and has done no harm.
func TestWorkerStops(t *testing.T) {
	for at := range 12 {
		synctest.Test(t, func(t *testing.T) {
			f, c, want := repairCluster(t, 8, 4, 2, 1)
			defer closeClient(t, c)
			reached := make(chan struct{})
			moment := 0
			pass := func(ctx context.Context) error {
				f.shards.mu.Lock()
				moment++
				here := moment == at*3+1
				f.shards.mu.Unlock()
				if here {
					close(reached)
					<-ctx.Done()
				}
				return ctx.Err()
			}
			f.shards.onRead = func(ctx context.Context, _ granary.ShardRef) error { return pass(ctx) }
			stop := runWorker(t, f, c, WorkerOptions{Tasks: 1})
			id := f.aim(granary.TaskRepair, 1, 0, "spare00")
			select {
			case <-reached:
			case e := <-f.work.ended:
				if e.Error != "" {
					t.Error(e)
				}
				stop()
				return
			}
			if at%2 == 0 {
				stop()
				if e := <-f.work.ended; e.Task.ID != id || !strings.Contains(e.Error, "cancel") {
					t.Errorf("%+v", e)
				}
				stop = runWorker(t, f, c, WorkerOptions{})
			} else {
				f.mu.Lock()
				f.work.drop = append(f.work.drop, id)
				delete(f.work.wanted, id)
				f.mu.Unlock()
				time.Sleep(workEvery)
				synctest.Wait()
			}
			f.aim(granary.TaskRepair, 1, 0, "spare00")
			if e := <-f.work.ended; e.Error != "" {
				t.Errorf("%+v", e)
			}
			stop()
			f.mustBe(t, want)
		})
	}
}

// TestNewLeaderHearsOfTasks: what a worker has, a new leader hears of at the next report, and it goes on.
func TestNewLeaderHearsOfTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, want := repairCluster(t, 9, 2, 1, 1)
		defer closeClient(t, c)
		defer runWorker(t, f, c, WorkerOptions{Tasks: 1})()
		gate := make(chan struct{})
		f.shards.onBuild = func(_ *granary.Build, got int) error {
			if got > 0 {
				<-gate
			}
			return nil
		}
		id := f.aim(granary.TaskRepair, 1, 0, "spare00")
		time.Sleep(workEvery)
		f.mu.Lock()
		f.leader = f.addrs[2]
		f.work.depose()
		f.mu.Unlock()
		time.Sleep(2 * workEvery)
		synctest.Wait()
		f.mu.Lock()
		if f.work.leased[id] == "" {
			t.Error("the new leader has not heard of the task")
		}
		f.mu.Unlock()
		close(gate)
		if e := <-f.work.ended; e.Error != "" {
			t.Error(e)
		}
		f.mustBe(t, want)
	})
}

// TestPace: all tasks together stay below the rate, and no limit is none.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		start := time.Now()
		for range 100 {
			if err := p.take(t.Context(), 1<<20, 0); err != nil || time.Since(start) > 0 {
				t.Fatal("held up without a limit", err)
			}
		}
		done := make(chan error)
		for range 4 {
			go func() {
				for range 10 {
					if err := p.take(t.Context(), 1<<20, 10<<20); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 4*time.Second-paceSaved {
			t.Errorf("40 MiB at 10 MiB/s took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.take(ctx, 1<<30, 1); !granary.IsKind(err, granary.KindCanceled) {
			t.Error(err)
		}
	})
}
