package master

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

// shardDisks is volume servers of one disk each, as a leader sees them by ShardControl and heartbeats.
type shardDisks struct {
	t     *testing.T
	s     *Server
	clock *stoppedClock

	mu     sync.Mutex
	disks  map[granary.DiskID]map[granary.VolumeID]granary.ShardInfo // of each volume one shard at most
	down   map[string]bool
	stuck  map[string]bool              // servers that can neither seal nor remove shards
	fails  map[string]string            // why the disk of a server should be emptied
	used   map[string]uint64            // of 10 GiB
	sick   map[string]granary.ShardInfo // damaged, by server
	made   granary.Time
	lists  int
	during func() // called once, between a listing and its end

	sums     map[granary.ShardRef]granary.ShardSums
	unsummed error
}

// openUpkept opens a node that leads n servers s1, s2, …, with disks s1-d, s2-d, ….
func openUpkept(t *testing.T, n int) *shardDisks {
	t.Helper()
	d := &shardDisks{t: t, clock: stopClock(), disks: map[granary.DiskID]map[granary.VolumeID]granary.ShardInfo{}, down: map[string]bool{}, fails: map[string]string{}, used: map[string]uint64{}, sick: map[string]granary.ShardInfo{}, sums: map[granary.ShardRef]granary.ShardSums{}}
	d.s = openAlone(t, t.TempDir(), func(o *Options) {
		o.Shards, o.now = d, d.clock.now
		o.SessionTTL, o.ServerDownAfter = 1000*time.Hour, 4*time.Second
	})
	for i := range n {
		d.disks[granary.DiskID(fmt.Sprintf("s%d-d", i+1))] = map[granary.VolumeID]granary.ShardInfo{}
	}
	d.beat()
	return d
}

// beat sends the heartbeats of the servers that are up.
func (d *shardDisks) beat() {
	d.t.Helper()
	st := d.s.states.acquire()
	cluster, _ := st.cluster()
	st.release()
	for i := range len(d.disks) {
		name := fmt.Sprintf("s%d", i+1)
		d.mu.Lock()
		hb := &granary.Heartbeat{Server: granary.ServerID(name), Cluster: cluster, Addr: name, Disks: []granary.DiskUsage{{
			Disk: granary.DiskID(name + "-d"), Total: 10 << 30, Free: 10<<30 - d.used[name], Used: d.used[name], Failing: d.fails[name],
		}}}
		if sick, ok := d.sick[name]; ok {
			hb.Damaged = []granary.ShardInfo{sick}
		}
		down := d.down[name]
		d.mu.Unlock()
		if down {
			continue
		}
		if _, err := d.s.Heartbeat(d.t.Context(), hb); err != nil {
			d.t.Fatal(err)
		}
	}
}

// live lets time pass, with heartbeats, until f is satisfied.
func (d *shardDisks) live(what string, f func() error) {
	d.t.Helper()
	eventually(d.t, what, func() error {
		d.clock.pass(500 * time.Millisecond)
		d.beat()
		kick(d.s.leading.Load().curator.kick)
		kick(d.s.leading.Load().curator.tidying)
		return f()
	})
}

// elapse lets much time pass, in which no server is silent.
func (d *shardDisks) elapse(total time.Duration) {
	d.t.Helper()
	for ; total > 0; total -= 2 * time.Second {
		d.clock.pass(2 * time.Second)
		d.beat()
	}
}

func (d *shardDisks) Seal(_ context.Context, addr string, seal *granary.Seal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, ok := d.disks[seal.Ref.Disk][seal.Ref.Volume]
	if d.stuck[addr] {
		return granary.Errorf(granary.KindUnavailable, "seal", seal.Ref.String(), "")
	}
	if seal.End > 0 && (!ok || info.Length < seal.End) {
		return granary.Errorf(granary.KindCorrupt, "seal", seal.Ref.String(), "shorter than %d", seal.End)
	}
	d.put(seal.Ref, seal.Length, true)
	return nil
}

// Sums are of zeros, unless a test has set others.
func (d *shardDisks) Sums(_ context.Context, addr string, q *granary.SumShard) (*granary.ShardSums, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := granary.ShardSums{Sums: make([]byte, erasure.SumsLength(q.Length))}
	if set, ok := d.sums[q.Ref]; ok {
		if a.Sums = set.Sums; q.Blocks {
			a.Bad = set.Bad
		}
	}
	return &a, d.unsummed
}

// put makes a shard. The caller has the lock.
func (d *shardDisks) put(ref granary.ShardRef, length uint64, sealed bool) {
	d.made++
	d.disks[ref.Disk][ref.Volume] = granary.ShardInfo{Ref: ref, Epoch: 2, Length: length, Sealed: sealed, Created: d.made}
}

func (d *shardDisks) Drop(_ context.Context, addr string, ref granary.ShardRef, _ granary.Epoch, created granary.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, ok := d.disks[ref.Disk][ref.Volume]
	switch {
	case d.down[addr], d.stuck[addr]:
		return granary.Errorf(granary.KindUnavailable, "drop", addr, "")
	case !ok || info.Ref != ref:
		return nil
	case created != 0 && created != info.Created:
		return granary.Errorf(granary.KindStale, "drop", ref.String(), "another")
	}
	delete(d.disks[ref.Disk], ref.Volume)
	return nil
}

func (d *shardDisks) List(_ context.Context, addr string, disk granary.DiskID) ([]granary.ShardInfo, error) {
	d.mu.Lock()
	if d.down[addr] {
		d.mu.Unlock()
		return nil, granary.Errorf(granary.KindUnavailable, "list", addr, "")
	}
	var infos []granary.ShardInfo
	for _, info := range d.disks[disk] {
		infos = append(infos, info)
	}
	during := d.during
	d.during = nil
	d.lists++
	d.mu.Unlock()
	if during != nil {
		during()
	}
	return infos, nil
}

// fill writes one file into a new volume, and returns the volume.
func (d *shardDisks) fill(c *testClient, name string) granary.Volume {
	d.t.Helper()
	v := c.do(d.s, &granary.OpenVolume{Policy: 1}).Volume
	content := granary.Content{Size: 4000, Extents: []granary.ExtentWrite{{Length: 4000}}, Chunks: []granary.Chunk{{
		Hash: granary.Hash{byte(v.ID), 1}, RawLength: 4000, New: true, Watermark: 4096,
		Location: granary.Location{Volume: v.ID, Epoch: v.Epoch, Length: 4060},
	}}}
	d.mu.Lock()
	for i, s := range v.Shards {
		d.put(granary.ShardRef{Disk: s.Disk, Volume: v.ID, Shard: uint8(i)}, 4096, false)
	}
	d.mu.Unlock()
	op := createOp(name)
	op.Content = &content
	c.do(d.s, op)
	return *v
}

func (d *shardDisks) volume(id granary.VolumeID) (granary.Volume, error) {
	a, _, err := d.s.Query(d.t.Context(), &granary.QueryRequest{Query: &granary.GetVolume{Volume: id}})
	if err != nil {
		return granary.Volume{}, err
	}
	return a.(*granary.VolumeIs).Volume, nil
}

// sealed waits until a volume is sealed.
func (d *shardDisks) sealed(c *testClient, v granary.Volume) granary.Volume {
	d.t.Helper()
	c.do(d.s, &granary.SealVolume{Volume: v.ID, Epoch: v.Epoch})
	d.live("the sealed volume", func() (err error) {
		if v, err = d.volume(v.ID); err == nil && v.State != granary.VolumeSealed {
			err = fmt.Errorf("it is %s", v.State)
		}
		return err
	})
	return v
}

func (d *shardDisks) work(worker string, room int, reports ...granary.TaskReport) *granary.WorkReply {
	d.t.Helper()
	r, err := d.s.Work(d.t.Context(), &granary.WorkRequest{Worker: worker, Room: room, Reports: reports})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// task waits for a task.
func (d *shardDisks) task(worker string) (task granary.Task) {
	d.t.Helper()
	d.live("a task", func() error {
		r := d.work(worker, 1)
		if len(r.Tasks) == 0 {
			return fmt.Errorf("none for %s", worker)
		}
		task = r.Tasks[0]
		return nil
	})
	return task
}

// carryOut makes the shard of a task, as a worker does.
func (d *shardDisks) carryOut(c *testClient, task granary.Task) {
	d.t.Helper()
	d.mu.Lock()
	d.put(granary.ShardRef{Disk: task.Target.Disk, Volume: task.Volume, Shard: task.Shard}, 4096, true)
	d.mu.Unlock()
	c.do(d.s, &granary.PlaceShard{Volume: task.Volume, Epoch: task.Epoch, Shard: task.Shard, To: task.Target.Disk})
}

func (d *shardDisks) setDown(name string, down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down[name] = down
}

func (d *shardDisks) has(disk granary.DiskID, v granary.VolumeID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.disks[disk][v]
	return ok
}

// others returns a server that has no shard of a volume.
func (d *shardDisks) other(v granary.Volume) string {
	for i := range len(d.disks) {
		name := fmt.Sprintf("s%d", i+1)
		if !slices.ContainsFunc(v.Shards, func(s granary.ShardPlace) bool { return s.Server == granary.ServerID(name) }) {
			return name
		}
	}
	d.t.Fatal("all have one")
	return ""
}

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

func (d *shardDisks) durability() []granary.VolumeDurability {
	d.t.Helper()
	a, _, err := d.s.Query(d.t.Context(), &granary.QueryRequest{Query: &granary.GetDurability{}})
	if err != nil {
		return nil
	}
	return a.(*granary.Durability).Volumes
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
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lists < before+6 {
			return fmt.Errorf("%d", d.lists-before)
		}
		d.clock.pass(listEvery)
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

// TestSweeps: an inode whose policy was changed is swept once.
func TestSweeps(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	c.do(d.s, &granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: 1, ParityShards: 1}})
	d.clock.pass(granary.WorkTTL)
	task := d.task("w")
	if task.Kind != granary.TaskSweep || task.Root != granary.RootInode {
		t.Fatalf("%+v", task)
	}
	d.work("w", 1, granary.TaskReport{Task: task, Done: 1, Total: 0})
	d.work("w", 1, granary.TaskReport{Task: task, Done: 2, Total: 2, Ended: true})
	d.clock.pass(time.Minute)
	d.live("no more sweeps", func() error {
		if a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}}); err != nil || len(a.(*granary.Tasks).Tasks) != 0 {
			return fmt.Errorf("%+v, %w", a, err)
		}
		return nil
	})
}

// TestSweepGoesOnWithOthers: where a sweep was when its worker died another goes on, under another leader too; and from the front
// when the policy was changed again.
func TestSweepGoesOnWithOthers(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	change := func(k int) {
		c.do(d.s, &granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: k, ParityShards: 1}})
		d.clock.pass(granary.WorkTTL)
	}
	change(1)
	task := d.task("w1")
	d.work("w1", 1, granary.TaskReport{Task: task, Done: 1, After: "a/b"})
	d.clock.pass(granary.WorkTTL + time.Second) // it is silent
	if task = d.task("w2"); task.After != "a/b" {
		t.Fatalf("the next goes on after %q", task.After)
	}
	d.clock.pass(sweptEvery)
	d.work("w2", 1, granary.TaskReport{Task: task, Done: 1, After: "a/c", Ended: true, Error: "no more"})
	d.clock.pass(tryWaitMax)
	d.newLeader()
	if task = d.task("w3"); task.After != "a/c" {
		t.Fatalf("under another leader it goes on after %q", task.After)
	}
	change(2)
	d.clock.pass(granary.WorkTTL)
	if task = d.task("w4"); task.After != "" {
		t.Fatalf("after another change of the policy it goes on after %q", task.After)
	}
}

// cutFinely writes a file of as many pieces as a window must have for it to be written anew.
func (d *shardDisks) cutFinely(c *testClient, name string) granary.InodeID {
	d.t.Helper()
	v := d.fill(c, name+" whole")
	content := granary.Content{Chunks: []granary.Chunk{{Hash: granary.Hash{byte(v.ID), 1}, RawLength: 4000}}}
	for i := range uint64(granary.WindowExtentsMax + 1) {
		content.Extents = append(content.Extents, granary.ExtentWrite{Offset: i * 10, Length: 10, ChunkOffset: uint32(10 * (i % 7))})
	}
	op := createOp(name)
	op.Content = &content
	return c.do(d.s, op).Attr.Inode
}

// TestFilesAreRewritten: a file that is cut too finely is given to a worker when it has been left alone, and again when it is changed,
// but not while it is changed, and not when that has left it as it was.
func TestFilesAreRewritten(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	d.clock.pass(granary.WorkTTL)
	d.beat()
	young := time.Duration(granary.DefaultUpkeep().YoungAge)
	first := d.cutFinely(c, "first")
	rewrites := func() (tasks []granary.TaskStatus) {
		a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range a.(*granary.Tasks).Tasks {
			if s.Task.Kind == granary.TaskRewrite {
				tasks = append(tasks, s)
			}
		}
		return tasks
	}
	look := func() { // the curator plans anew
		curator := d.s.leading.Load().curator
		curator.mu.Lock()
		defer curator.mu.Unlock()
		curator.look(d.clock.now(), true)
	}
	d.clock.pass(young - time.Minute)
	d.beat()
	second := d.cutFinely(c, "second")
	d.live("a plan", func() error { look(); return nil })
	if tasks := rewrites(); len(tasks) != 0 {
		t.Fatalf("of young files: %+v", tasks)
	}
	d.clock.pass(2 * time.Minute)
	var task granary.Task
	d.live("the rewrite of the first", func() error {
		for _, got := range d.work("w", 4).Tasks {
			if got.Kind == granary.TaskRewrite {
				task = got
				return nil
			}
		}
		return fmt.Errorf("%+v", rewrites())
	})
	if task.Root != first || !slices.Equal(task.Windows, []uint64{0}) {
		t.Fatalf("%+v", task)
	}
	d.work("w", 0, granary.TaskReport{Task: task, Ended: true})
	d.clock.pass(time.Minute)
	d.beat()
	look()
	if tasks := rewrites(); len(tasks) != 0 {
		t.Fatalf("of one that is no better for it: %+v", tasks)
	}
	d.clock.pass(young)
	d.beat()
	look()
	if tasks := rewrites(); len(tasks) != 1 || tasks[0].Task.Root != second {
		t.Fatalf("of the second, it is %+v", tasks)
	}
	c.do(d.s, &granary.SetAttr{Inode: second, Mode: ptr(uint32(0o600))})
	c.do(d.s, &granary.SetAttr{Inode: first, Mode: ptr(uint32(0o600))})
	d.clock.pass(young + time.Minute)
	d.beat()
	look()
	if tasks := rewrites(); len(tasks) != 2 {
		t.Fatalf("of both, as they were changed: %+v", tasks)
	}
}

// TestTaskIsTakenOver: a leader that did not give a task out learns of it from its worker.
func TestTaskIsTakenOver(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	d.setDown(string(v.Shards[0].Server), true)
	d.clock.pass(16 * time.Minute)
	task := d.task("w1")
	// As a leader that is new: it has forgotten, and hears of nothing but what is there.
	l := d.s.leading.Load()
	curator := l.curator
	l.live.mu.Lock()
	l.live.began = d.clock.now()
	delete(l.live.heard, v.Shards[0].Server)
	l.live.mu.Unlock()
	curator.mu.Lock()
	curator.leases, curator.byVolume = map[granary.TaskID]*lease{}, map[granary.VolumeID]*lease{}
	curator.began = d.clock.now()
	curator.mu.Unlock()
	if r := d.work("w2", 1); len(r.Tasks) != 0 {
		t.Fatalf("given to another before its worker was heard: %+v", r.Tasks)
	}
	if r := d.work("w1", 1, granary.TaskReport{Task: task, Done: 7, Total: 9}); len(r.Drop)+len(r.Tasks) != 0 {
		t.Fatalf("its worker is told %+v", r)
	}
	other := task
	other.ID, other.Shard = 99, 1
	if r := d.work("w3", 1, granary.TaskReport{Task: other}); !slices.Equal(r.Drop, []granary.TaskID{99}) || len(r.Tasks) != 0 {
		t.Fatalf("a task that nobody wants: %+v", r)
	}
	d.clock.pass(granary.WorkTTL - time.Second)
	a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}})
	if tasks := a.(*granary.Tasks).Tasks; err != nil || len(tasks) != 1 || tasks[0].Worker != "w1" || tasks[0].Task.ID != task.ID || tasks[0].Done != 7 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// newLeader makes the curator forget what it knows, as if another had taken office.
func (d *shardDisks) newLeader() {
	l := d.s.leading.Load()
	l.live.mu.Lock()
	l.live.began = d.clock.now()
	clear(l.live.heard)
	l.live.mu.Unlock()
	d.beat()
	c := l.curator
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = d.clock.now()
	clear(c.leases)
	clear(c.byVolume)
	clear(c.byRoot)
	clear(c.silences)
	clear(c.polled)
}

// TestAbsenceOutlivesLeaders: however often leaders change, a server that is away is replaced when it has been for the grace; and it begins
// anew when it has been there in between.
func TestAbsenceOutlivesLeaders(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	away := string(v.Shards[1].Server)
	recorded := func(least time.Duration) func() error {
		return func() error {
			st := d.s.states.acquire()
			defer st.release()
			if a := st.absences(); len(a) != 1 || string(a[0].Server) != away || time.Duration(a[0].For) < least {
				return fmt.Errorf("%+v", a)
			}
			return nil
		}
	}
	d.setDown(away, true)
	for i := range 5 {
		d.clock.pass(170 * time.Second)
		d.live("the absence", recorded(time.Duration(i+1)*170*time.Second))
		if i < 4 {
			if r := d.work("w", 4); len(r.Tasks) != 0 {
				t.Fatalf("too early: %+v", r.Tasks)
			}
		}
		d.newLeader()
	}
	d.clock.pass(time.Minute)
	if task := d.task("w"); task.Kind != granary.TaskRepair || task.Shard != 1 {
		t.Fatalf("%+v", task)
	}
	d.setDown(away, false)
	d.live("its return", func() error {
		st := d.s.states.acquire()
		defer st.release()
		if a := st.absences(); len(a) != 0 {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	d.setDown(away, true)
	d.clock.pass(14 * time.Minute)
	d.live("another absence", recorded(14*time.Minute))
	d.work("w", 0)
	if a := d.durability(); len(a) != 1 || !strings.Contains(a[0].Doing, "its shards are made anew") {
		t.Fatalf("%+v", a)
	}
}

// TestNewLeaderIsSoonSure: when it has heard the worker beside each server that is up, it knows all tasks that there are.
func TestNewLeaderIsSoonSure(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	c.do(d.s, &granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: 1, ParityShards: 1}})
	d.newLeader()
	d.clock.pass(time.Second)
	poll := func(server string, room int) []granary.Task {
		r, err := d.s.Work(t.Context(), &granary.WorkRequest{Worker: "w" + server, Server: granary.ServerID(server), Room: room})
		if err != nil {
			t.Fatal(err)
		}
		return r.Tasks
	}
	began := d.clock.now()
	poll("s1", 1)
	poll("s2", 1)
	if tasks := poll("s1", 1); len(tasks) != 0 {
		t.Fatalf("before all have been heard: %+v", tasks)
	}
	if tasks := poll("s3", 1); len(tasks) != 1 || tasks[0].Kind != granary.TaskSweep || d.clock.now().Sub(began) > time.Second {
		t.Fatalf("%+v", tasks)
	}
}

// TestForgottenDiskComesBack: it is a new one.
func TestForgottenDiskComesBack(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	c.do(d.s, &granary.SetDisk{Disk: "s2-d", State: granary.DiskRetired})
	c.do(d.s, &granary.ForgetDisk{Disk: "s2-d"})
	d.live("the disk", func() error {
		a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListDisks{}})
		if err != nil {
			return err
		}
		for _, k := range a.(*granary.Disks).Disks {
			if k.ID == "s2-d" && k.State == granary.DiskActive && k.Up {
				return nil
			}
		}
		return fmt.Errorf("%+v", a)
	})
}

// TestRestoredMasterDropsNothingUnknown: ids that a restore skipped may be of volumes that it does not know. And a copy of a
// shard stays while the shard is not seen where the state says: after the backup it may have been moved there.
func TestRestoredMasterDropsNothingUnknown(t *testing.T) {
	before := headRecord{Cluster: "c", LastVolume: 7}
	if !before.made(7) || before.made(8) {
		t.Error("before a restore: the ids up to the last one are known")
	}
	after, err := skipAhead(before)
	if err != nil {
		t.Fatal(err)
	}
	after.LastVolume += 5
	again, err := skipAhead(after)
	if err != nil {
		t.Fatal(err)
	}
	for v, want := range map[granary.VolumeID]bool{7: true, 8: false, 7 + skipID: false, 8 + skipID: true, 12 + skipID: true, 13 + skipID: false, 12 + 2*skipID: false} {
		if again.made(v) != want {
			t.Errorf("volume %d: %v", v, !want)
		}
	}
	again.Restored = again.Restored[:1] // as if an earlier release had restored it once
	if again.made(7) {
		t.Error("a gap that is not recorded is not known")
	}

	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	moved := granary.DiskID(d.other(v) + "-d")
	d.mu.Lock()
	for i := range 3 { // more than can be rebuilt
		delete(d.disks[v.Shards[i].Disk], v.ID)
	}
	d.put(granary.ShardRef{Disk: moved, Volume: v.ID, Shard: 1}, 4096, true)
	d.mu.Unlock()
	curator := d.s.leading.Load().curator
	curator.mu.Lock()
	clear(curator.listings) // a new leader
	curator.mu.Unlock()
	d.live("the listings", func() error {
		if a := d.durability(); len(a) != 1 || a[0].Losses != -1 || a[0].Doing == "" {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	d.mu.Lock()
	lists := d.lists
	d.mu.Unlock()
	d.live("more listings", func() error {
		d.clock.pass(listEvery)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lists < lists+10 {
			return fmt.Errorf("%d", d.lists)
		}
		return nil
	})
	if !d.has(moved, v.ID) {
		t.Error("the only copy was dropped")
	}
}

// TestLateCopyIsNotDropped: what is built while a disk is compared with the state is not taken for what was listed.
func TestLateCopyIsNotDropped(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	spare := granary.DiskID(d.other(v) + "-d")
	ref := granary.ShardRef{Disk: spare, Volume: v.ID, Shard: 1}
	d.mu.Lock()
	d.put(ref, 4096, true)
	stale := d.disks[spare][v.ID]
	delete(d.disks[spare], v.ID)
	d.mu.Unlock()
	curator := d.s.leading.Load().curator
	var found []staleShard
	d.live("a stale shard", func() (err error) {
		var unknown int
		var kept []*granary.ShardInfo
		if found, unknown, kept = curator.stale(spare, []granary.ShardInfo{stale}); len(found) != 1 || unknown != 0 || len(kept) > 0 {
			err = fmt.Errorf("%+v, %d, %v", found, unknown, kept)
		}
		return err
	})
	d.mu.Lock()
	d.put(ref, 4096, true) // as a task makes it, after the listing
	made := d.made
	d.mu.Unlock()
	curator.drop(t.Context(), "s", found[0].info, found[0].epoch)
	if !d.hasMade(spare, v.ID, made) {
		t.Error("it was dropped")
	}
}

// hasMade reports whether a disk has a shard that was created at that time. It is asked at once, before it is found stale itself.
func (d *shardDisks) hasMade(disk granary.DiskID, v granary.VolumeID, made granary.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disks[disk][v].Created == made
}

// TestMovedShardsAreAdopted: after a restore, shards that were copied elsewhere since the backup are taken where they are, although there are
// too few to make them anew; but not one that does not fit.
func TestMovedShardsAreAdopted(t *testing.T) {
	t.Parallel()
	for _, fits := range []bool{true, false} {
		d := openUpkept(t, 5) // 2+2, and one more
		c := newClient(t, d.s)
		v := d.sealed(c, d.fill(c, "f"))
		spare := granary.DiskID(d.other(v) + "-d")
		st := d.s.states.acquire()
		st.state.applying.Lock()
		st.state.head.Restored = []granary.VolumeID{st.state.head.LastVolume}
		st.state.publish()
		st.state.applying.Unlock()
		st.release()
		d.mu.Lock()
		delete(d.disks[v.Shards[1].Disk], v.ID) // it was drained, and its shard is on the spare disk
		d.mu.Unlock()
		becomes := func(what string, is func(granary.ShardPlace) bool) {
			d.live(what, func() error {
				d.clock.pass(listEvery)
				d.beat() // or all of them would be down while the disks are listed
				now, err := d.volume(v.ID)
				if err != nil || !is(now.Shards[1]) {
					return fmt.Errorf("%+v, %w", now.Shards[1], err)
				}
				return nil
			})
		}
		becomes("the lost shard", func(s granary.ShardPlace) bool { return s.Lost })
		ref := granary.ShardRef{Disk: spare, Volume: v.ID, Shard: 1}
		d.mu.Lock()
		d.put(ref, 4096, true)
		if !fits {
			d.sums[ref] = granary.ShardSums{Sums: append(make([]byte, erasure.SumSize-1), 1)}
		}
		lists := d.lists
		d.mu.Unlock()
		becomes("its place", func(s granary.ShardPlace) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return fits && s.Disk == spare || !fits && s.Lost && d.lists > lists+10
		})
		if now, _ := d.volume(v.ID); fits && (now.Redundancy() != 2 || now.Shards[1].Lost) || !fits && now.Shards[1].Disk != v.Shards[1].Disk {
			t.Errorf("%+v", now)
		}
		if !d.has(spare, v.ID) {
			t.Error("the copy was dropped")
		}
	}
}
