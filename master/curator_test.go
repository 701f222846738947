package master

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// TestAbsentServerIsReplaced: after the grace its shards are made elsewhere; when it comes back, what is no longer needed is
// cancelled, and what it has too much is dropped.
func TestAbsentServerIsReplaced(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5) // 2+2, and one more
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	away := string(v.Shards[1].Server)
	spare := granary.DiskID(d.other(v) + "-d")

	d.setDown(away, true)
	d.clock.pass(10 * time.Minute)
	d.live("health", func() error {
		if a := d.durability(); len(a) != 1 || a[0].Losses != 1 || a[0].DomainLosses != 1 || a[0].Doing == "" {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	if r := d.work("w1", 4); len(r.Tasks) != 0 {
		t.Fatalf("tasks within the grace: %+v", r.Tasks)
	}
	d.clock.pass(6 * time.Minute)
	task := d.task("w1")
	if task.Kind != granary.TaskRepair || task.Volume != v.ID || task.Shard != 1 || task.Target.Disk != spare || task.Epoch != v.Epoch || task.Reason == "" {
		t.Fatalf("%+v", task)
	}
	if r := d.work("w2", 4); len(r.Tasks) != 0 {
		t.Fatalf("a second task on the volume: %+v", r.Tasks)
	}
	if now, err := d.volume(v.ID); err != nil || now.Shards[1].Target != spare {
		t.Fatalf("the target is not committed: %+v, %v", now, err)
	}

	// It comes back: the task is no longer wanted, the target is cleared, and what was made is dropped.
	d.mu.Lock()
	d.put(granary.ShardRef{Disk: spare, Volume: v.ID, Shard: 1}, 4096, true)
	d.mu.Unlock()
	d.setDown(away, false)
	d.live("the cancellation", func() error {
		if r := d.work("w1", 0, granary.TaskReport{Task: task, Done: 1}); !slices.Contains(r.Drop, task.ID) {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	d.live("a stale copy", func() error {
		if now, err := d.volume(v.ID); err != nil || now.Shards[1].Target != "" || d.has(spare, v.ID) {
			return fmt.Errorf("%+v, %w", now.Shards[1], err)
		}
		return nil
	})

	// It goes again, is replaced, and finds its shard stale when it comes back.
	d.setDown(away, true)
	d.clock.pass(16 * time.Minute)
	task = d.task("w1")
	d.carryOut(c, task)
	d.work("w1", 1, granary.TaskReport{Task: task, Done: 4096, Total: 4096, Ended: true})
	if now, err := d.volume(v.ID); err != nil || now.Shards[1].Disk != spare || now.Redundancy() != 2 {
		t.Fatalf("%+v, %v", now, err)
	}
	if n := counterValue(t, d.s.metrics.curator.completed.WithLabelValues("repair")); n != 1 {
		t.Errorf("%v repairs are counted", n)
	}
	d.setDown(away, false)
	d.live("the stale shard", func() error {
		if d.has(granary.DiskID(away+"-d"), v.ID) || !d.has(spare, v.ID) {
			return fmt.Errorf("is there")
		}
		return nil
	})
}

// TestDamageIsRepaired: what a heartbeat says, what a listing lacks and what a seal finds are made anew, here where it was, for
// there is no other place.
func TestDamageIsRepaired(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(d *shardDisks, v granary.Volume){
		"heartbeat": func(d *shardDisks, v granary.Volume) {
			d.mu.Lock()
			defer d.mu.Unlock()
			info := d.disks[v.Shards[0].Disk][v.ID]
			info.Damaged = "bits"
			d.sick[string(v.Shards[0].Server)] = info
		},
		"file gone": func(d *shardDisks, v granary.Volume) {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.disks[v.Shards[0].Disk], v.ID)
		},
		"file short": func(d *shardDisks, v granary.Volume) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.put(granary.ShardRef{Disk: v.Shards[0].Disk, Volume: v.ID, Shard: 0}, 4000, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openUpkept(t, 3)
			c := newClient(t, d.s)
			v := d.sealed(c, d.fill(c, "f"))
			d.clock.pass(time.Minute)
			hurt(d, v)
			d.clock.pass(listEvery)
			task := d.task("w")
			if task.Kind != granary.TaskRepair || task.Shard != 0 || task.Target.Disk != v.Shards[0].Disk {
				t.Fatalf("%+v", task)
			}
			d.mu.Lock()
			clear(d.sick)
			d.mu.Unlock()
			d.carryOut(c, task)
			d.work("w", 1, granary.TaskReport{Task: task, Done: 4096, Total: 4096, Ended: true})
			d.live("durability", func() error {
				if a := d.durability(); len(a) != 1 || a[0].Losses != 1 || a[0].Doing != "" {
					return fmt.Errorf("%+v", a)
				}
				return nil
			})
		})
	}
}

// TestSealFindsDamage: an open volume whose shard has lost bytes is sealed without it, and then repaired.
func TestSealFindsDamage(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	v := d.fill(c, "f")
	d.mu.Lock()
	delete(d.disks[v.Shards[0].Disk], v.ID)
	d.mu.Unlock()
	c.do(d.s, &granary.SealVolume{Volume: v.ID, Epoch: v.Epoch})
	task := d.task("w")
	if task.Kind != granary.TaskRepair || task.Shard != 0 {
		t.Fatalf("%+v", task)
	}
	d.carryOut(c, task)
	if now, err := d.volume(v.ID); err != nil || now.State != granary.VolumeSealed {
		t.Fatalf("%+v, %v", now, err)
	}
}

// TestEmptyVolumeIsDropped: when nothing in it is alive it stays for the grace, and then goes with its shards. Shards of
// volumes that the master cannot know stay.
func TestEmptyVolumeIsDropped(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	d.mu.Lock()
	d.put(granary.ShardRef{Disk: "s1-d", Volume: 1000}, 4096, true)
	d.mu.Unlock()
	c.do(d.s, &granary.Unlink{Parent: granary.RootInode, Name: "f"})
	d.live("the condemned volume", func() error {
		if now, err := d.volume(v.ID); err != nil || now.State != granary.VolumeDropping {
			return fmt.Errorf("%s, %w", now.State, err)
		}
		return nil
	})
	if !d.has(v.Shards[0].Disk, v.ID) {
		t.Error("a shard went before its time")
	}
	d.elapse(10 * time.Minute)
	d.live("the forgotten volume", func() error {
		if _, err := d.volume(v.ID); !granary.IsKind(err, granary.KindNotFound) {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
	for _, s := range v.Shards {
		if d.has(s.Disk, v.ID) {
			t.Errorf("the shard on %s stayed", s.Disk)
		}
	}
	d.clock.pass(listEvery)
	d.mu.Lock()
	before := d.lists
	d.mu.Unlock()
	d.live("listings", func() error {
		d.clock.pass(listEvery)
		d.beat() // or all of them would be down while the disks are listed
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lists < before+6 {
			return fmt.Errorf("%d", d.lists-before)
		}
		return nil
	})
	if !d.has("s1-d", 1000) {
		t.Error("a shard of an unknown volume was dropped")
	}
}

// TestEmptyVolumeOfDiskThatCannotDrop: what can be dropped is, at once, whatever another disk says; and a disk that fails is not
// waited for, so it can be retired.
func TestEmptyVolumeOfDiskThatCannotDrop(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	bad := v.Shards[0]
	d.mu.Lock()
	d.stuck = map[string]bool{string(bad.Server): true}
	d.mu.Unlock()
	c.do(d.s, &granary.Unlink{Parent: granary.RootInode, Name: "f"})
	d.live("the space of the other shards", func() error {
		d.elapse(time.Minute)
		for _, s := range v.Shards[1:] {
			if d.has(s.Disk, v.ID) {
				return fmt.Errorf("%s has a shard", s.Disk)
			}
		}
		return nil
	})
	if _, err := d.volume(v.ID); err != nil {
		t.Fatalf("the volume is forgotten before its shard on a disk that works: %v", err)
	}
	d.mu.Lock()
	d.fails[string(bad.Server)] = "input/output error"
	d.mu.Unlock()
	d.live("the forgotten volume", func() error {
		d.elapse(time.Minute)
		if _, err := d.volume(v.ID); !granary.IsKind(err, granary.KindNotFound) {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
	c.do(d.s, &granary.SetDisk{Disk: bad.Disk, State: granary.DiskRetired})
}

// TestTasksAreLeased: who is silent loses its task to another; what it says later is not wanted; and what failed waits.
func TestTasksAreLeased(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	c.do(d.s, &granary.SetDisk{Disk: v.Shards[0].Disk, State: granary.DiskLost, Reason: "stolen"})
	first := d.task("w1")
	d.clock.pass(granary.WorkTTL - time.Second)
	d.work("w1", 0, granary.TaskReport{Task: first, Done: 1})
	d.clock.pass(granary.WorkTTL - time.Second)
	if r := d.work("w2", 1); len(r.Tasks) != 0 {
		t.Fatalf("a task was given out twice: %+v", r.Tasks)
	}
	d.clock.pass(2 * time.Second)
	second := d.task("w2")
	if second.Volume != first.Volume || second.Shard != first.Shard || second.ID == first.ID || second.Target.Disk != first.Target.Disk {
		t.Fatalf("%+v, after %+v", second, first)
	}
	if r := d.work("w1", 1, granary.TaskReport{Task: first, Done: 2}); len(r.Tasks) != 0 || !slices.Equal(r.Drop, []granary.TaskID{first.ID}) {
		t.Fatalf("the first worker is told %+v", r)
	}
	if r := d.work("w2", 1, granary.TaskReport{Task: second, Ended: true, Error: "no luck"}); len(r.Tasks) != 0 {
		t.Fatalf("again at once: %+v", r.Tasks)
	}
	a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}})
	if tasks := a.(*granary.Tasks).Tasks; err != nil || len(tasks) != 1 || tasks[0].Tries != 1 || tasks[0].Error != "no luck" || tasks[0].Worker != "" {
		t.Fatalf("%+v, %v", a, err)
	}
	d.clock.pass(tryWaitMin)
	third := d.task("w1")
	d.carryOut(c, third)
	d.work("w1", 0, granary.TaskReport{Task: third, Ended: true})
	if r := d.work("w2", 4); len(r.Tasks) != 0 {
		t.Fatalf("more: %+v", r.Tasks)
	}
}

// TestFailingDiskIsEmptied: it becomes suspect, open volumes on it are sealed, and their shards copied.
func TestFailingDiskIsEmptied(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.fill(c, "f")
	bad := v.Shards[1]
	d.mu.Lock()
	d.fails[string(bad.Server)] = "it is slow"
	d.mu.Unlock()
	task := d.task("w")
	if task.Kind != granary.TaskCopy || task.Shard != 1 || task.Target.Disk != granary.DiskID(d.other(v)+"-d") {
		t.Fatalf("%+v", task)
	}
	a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.GetStatus{}})
	if err != nil || !strings.Contains(strings.Join(a.(*granary.Status).Reasons, "\n"), "is suspect, and is emptied: it is slow") {
		t.Errorf("%+v, %v", a, err)
	}
	d.carryOut(c, task)
	if r := d.work("w", 1, granary.TaskReport{Task: task, Ended: true}); len(r.Tasks) != 0 {
		t.Errorf("more: %+v", r.Tasks)
	}
	d.live("the empty disk", func() error {
		if d.has(bad.Disk, v.ID) {
			return fmt.Errorf("it has a shard")
		}
		return nil
	})
	c.do(d.s, &granary.SetDisk{Disk: bad.Disk, State: granary.DiskRetired})
}

// TestFailingDiskNeedNotSeal: a shard that was never made, on a disk that fails by now, is made elsewhere, and the volume is sealed.
func TestFailingDiskNeedNotSeal(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.fill(c, "f")
	bad := v.Shards[1]
	d.mu.Lock()
	delete(d.disks[bad.Disk], v.ID)
	d.stuck = map[string]bool{string(bad.Server): true}
	d.fails[string(bad.Server)] = "input/output error"
	d.mu.Unlock()
	c.do(d.s, &granary.SealVolume{Volume: v.ID, Epoch: v.Epoch})
	task := d.task("w")
	if task.Kind != granary.TaskRepair || task.Shard != 1 || task.Target.Disk == bad.Disk {
		t.Fatalf("%+v", task)
	}
	d.carryOut(c, task)
	if now, err := d.volume(v.ID); err != nil || now.State != granary.VolumeSealed {
		t.Fatalf("%+v, %v", now, err)
	}
}

// TestWiderVolumes: a volume that has been sealed for long under an automatic policy is written anew when there have been
// more servers for long; then it is empty, and goes. While upkeep is paused nothing is given out.
func TestWiderVolumes(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 2)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	d.mu.Lock()
	d.disks["s3-d"] = map[granary.VolumeID]granary.ShardInfo{}
	d.mu.Unlock()
	d.beat()
	d.live("the third server", func() error {
		if a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.GetStatus{}}); err != nil || a.(*granary.Status).EffectiveK != 2 {
			return fmt.Errorf("%+v, %w", a, err)
		}
		return nil
	})
	paused := granary.DefaultUpkeep()
	paused.Paused = true
	c.do(d.s, &granary.SetUpkeep{Upkeep: paused})
	d.clock.pass(31 * time.Minute)
	d.live("a move that waits", func() error {
		a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}})
		if err != nil || len(a.(*granary.Tasks).Tasks) != 1 {
			return fmt.Errorf("%+v, %w", a, err)
		}
		return nil
	})
	if r := d.work("w", 1); len(r.Tasks) != 0 {
		t.Fatalf("tasks in a pause: %+v", r.Tasks)
	}
	c.do(d.s, &granary.SetUpkeep{Upkeep: granary.DefaultUpkeep()})
	task := d.task("w")
	if task.Kind != granary.TaskMove || task.Volume != v.ID || task.Policy != 1 || task.Rate != granary.DefaultUpkeep().MoveRate {
		t.Fatalf("%+v", task)
	}
	a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListBlocks{Volume: v.ID}})
	if err != nil || len(a.(*granary.Blocks).Blocks) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	block := a.(*granary.Blocks).Blocks[0].Block
	to := c.do(d.s, &granary.OpenVolume{Policy: 1}).Volume
	at := block.Location
	at.Volume, at.Epoch = to.ID, to.Epoch
	c.do(d.s, &granary.MoveBlocks{Moves: []granary.BlockMove{{Block: block.ID, From: block.Location, To: at, Watermark: 4096}}})
	d.work("w", 0, granary.TaskReport{Task: task, Done: 4060, Total: 4060, Ended: true})
	d.live("the end of the old volume", func() error {
		if now, err := d.volume(v.ID); err != nil || now.State != granary.VolumeDropping {
			return fmt.Errorf("%s, %w", now.State, err)
		}
		return nil
	})
}
