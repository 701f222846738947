package master

import (
	"context"
	"fmt"
	"slices"
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

func (d *shardDisks) durability() []granary.VolumeDurability {
	d.t.Helper()
	a, _, err := d.s.Query(d.t.Context(), &granary.QueryRequest{Query: &granary.GetDurability{}})
	if err != nil {
		return nil
	}
	return a.(*granary.Durability).Volumes
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

// hasMade reports whether a disk has a shard that was created at that time. It is asked at once, before it is found stale itself.
func (d *shardDisks) hasMade(disk granary.DiskID, v granary.VolumeID, made granary.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disks[disk][v].Created == made
}
