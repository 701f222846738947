package master

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	curateEvery  = time.Second
	curateItems  = 256              // of each kind, in one step
	sweepsMax    = 100              // that are looked at at a time
	complaintAge = 2 * time.Second  // a complaint about a shard is made after what was last seen to change about it, or it is an old one
	barredFor    = 10 * time.Second // after which a disk that fails is not waited for to seal a shard
)

// curator is what a leader does for volumes to stay whole and where they should be, in little space. It decides from the
// committed state and from heartbeats (planWork), gives the work to workers as leased tasks (Server.Work), and does itself what
// takes an entry or a call: it seals, condemns, drops and forgets. All that it keeps is in memory: the next leader makes it anew.
//
// Nothing that it forgets does harm. A task that two workers do ends in one op, which the state takes once (PlaceShard), or
// for what is still where it was (MoveBlocks); and no shard is dropped but by tidy, which says why it may.
type curator struct {
	l       *leadership
	metrics *curatorMetrics
	kick    chan struct{} // there may be something to decide
	tidying chan struct{} // there may be something to tidy

	mu      sync.Mutex
	began   time.Time // zero: it does not know yet which servers are up
	st      *state    // that cat is of
	cat     *catalog
	scene   *scene
	plan    *plan
	planned time.Time
	stepped time.Time     // when a step was last due, by the real clock
	cost    time.Duration // of the last plan
	steady  map[string]steadyDomains

	leases   map[granary.TaskID]*lease
	clearing map[granary.VolumeID]bool // have a target taken back right now
	lapsed   map[granary.TaskID]*lease // not wanted any more, or done, and not yet reported as such
	byVolume map[granary.VolumeID]*lease
	byRoot   map[taskKey]*lease // sweeps and rewrites
	workers  map[string]*worker
	polled   map[granary.ServerID]bool // whose worker this leader has heard
	tries    map[taskKey]*try
	nextTask uint64
	speeds   map[granary.TaskKind]*throughput

	fine     []fineFile      // files that are to be rewritten, or are being
	fineFrom granary.InodeID // where to look for more
	passed   map[granary.InodeID]pass

	silences map[granary.ServerID]silence
	aways    []absence // to be committed

	listings map[granary.DiskID]*listing
	drops    map[granary.VolumeID]time.Time // when to try again to drop the shards of a volume
}

// steadyDomains says since when as many failure domains take new volumes.
type steadyDomains struct {
	domains int
	since   time.Time
}

func newCurator(l *leadership) *curator {
	return &curator{
		l: l, metrics: l.s.metrics.curator, kick: make(chan struct{}, 1), tidying: make(chan struct{}, 1),
		steady: map[string]steadyDomains{}, leases: map[granary.TaskID]*lease{}, lapsed: map[granary.TaskID]*lease{}, byVolume: map[granary.VolumeID]*lease{},
		byRoot: map[taskKey]*lease{}, passed: map[granary.InodeID]pass{}, workers: map[string]*worker{}, tries: map[taskKey]*try{},
		polled: map[granary.ServerID]bool{}, silences: map[granary.ServerID]silence{},
		nextTask: l.term << 32, speeds: map[granary.TaskKind]*throughput{},
		listings: map[granary.DiskID]*listing{}, drops: map[granary.VolumeID]time.Time{},
	}
}

// run curates until ctx ends. It begins when all servers have been heard, or had the time for it.
func (c *curator) run(ctx context.Context) {
	defer c.stop()
	if c.l.live.settled(ctx) != nil {
		return
	}
	c.mu.Lock()
	c.began = c.l.s.now()
	c.mu.Unlock()
	for ctx.Err() == nil {
		timer := time.NewTimer(max(curateEvery, 20*c.step(ctx)))
		select {
		case <-timer.C:
		case <-c.kick:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// stop lets go of the state.
func (c *curator) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cat != nil {
		c.cat.changes.end()
	}
	c.began, c.cat, c.st, c.scene, c.plan = time.Time{}, nil, nil, nil, nil
	c.metrics.reset()
}

// step looks, decides, and proposes what takes no worker. It returns how long that took.
func (c *curator) step(ctx context.Context) time.Duration {
	start := time.Now()
	c.mu.Lock()
	now := c.l.s.now()
	due := start.Sub(c.stepped) >= curateEvery
	c.look(now, due)
	if due {
		c.stepped = start
		c.measure()
	}
	items := c.items(now)
	c.mu.Unlock()
	took := time.Since(start)
	c.propose(ctx, items)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearing = nil
	return took
}

// propose proposes items of which each stands for itself. What the state refuses has changed meanwhile.
func (c *curator) propose(ctx context.Context, items []item) (proposed bool) {
	if len(items) == 0 {
		return false
	}
	results, err := c.l.prop.propose(ctx, items...)
	if err != nil {
		if ctx.Err() == nil {
			c.l.s.log.Warn("upkeep of volumes was not applied", "items", len(items), "error", err)
		}
		return false
	}
	for i, r := range results {
		if r.Err != nil && !granary.IsKind(r.Err, granary.KindStale) && !granary.IsKind(r.Err, granary.KindNotFound) {
			c.l.s.log.Warn("upkeep of a volume was refused", "item", fmt.Sprintf("%+v", items[i]), "error", r.Err)
		}
	}
	kick(c.l.sealNow)
	kick(c.kick)
	return true
}

// look brings the catalog up to date, and the plan. The plan it leaves as it is, unless it must not, if more than a tenth of the
// time would go into it.
func (c *curator) look(now time.Time, must bool) {
	if c.began.IsZero() {
		return
	}
	st := c.l.s.states.acquire()
	defer st.release()
	if c.st != st.state {
		c.st, c.cat = st.state, newCatalog(st.state)
		must = true
	}
	for _, disk := range c.cat.refresh(st.state, now) {
		c.listing(disk).asked = true
		kick(c.tidying)
	}
	if c.plan != nil && !must && len(c.scene.disks) == len(c.cat.names) && now.Sub(c.planned) < 10*c.cost {
		return
	}
	start := time.Now()
	c.scene = c.survey(st.state, now)
	c.keepLeases(now)
	c.plan = planWork(c.scene)
	c.forgetTries()
	c.planned, c.cost = now, time.Since(start)
}

// survey gathers what is decided from.
func (c *curator) survey(st *state, now time.Time) *scene {
	head := st.current()
	s := &scene{
		now: granary.TimeOf(now), upkeep: st.upkeep(), policies: st.policies(), sweeps: st.sweeps(sweepsMax),
		indexed: head.indexStep() == nil, steady: map[string]granary.Time{},
	}
	s.disks = c.surveyDisks(st, s.upkeep, now)
	s.volumes = c.cat.all()
	s.fine = c.surveyFine(st, s.upkeep, now)
	for _, l := range c.leases {
		if n, ok := c.cat.disks[l.task.Target.Disk]; ok {
			s.disks[n].tasks++
			s.disks[n].coming += l.left()
		}
		if v := c.cat.volumes[l.key.volume]; l.cause == causeBalance && v != nil && int(l.key.shard) < len(v.at) {
			from := &s.disks[v.at[l.key.shard]]
			from.leavers++
			from.leaving += v.bytes(int(l.key.shard))
		}
	}
	for _, p := range s.policies {
		if _, ok := s.steady[p.Class]; !ok {
			s.steady[p.Class] = c.steadySince(s, p.Class, now)
		}
	}
	return s
}

// steadySince returns since when there have been as many failure domains for new volumes.
func (c *curator) steadySince(s *scene, class string, now time.Time) granary.Time {
	n := s.takingDomains(class)
	d, ok := c.steady[class]
	if !ok || d.domains != n {
		d = steadyDomains{n, now}
		c.steady[class] = d
	}
	return granary.TimeOf(d.since)
}

// surveyDisks says of every disk what is known.
func (c *curator) surveyDisks(st *state, upkeep granary.Upkeep, now time.Time) []diskFacts {
	servers := st.servers()
	recorded := map[granary.ServerID]granary.Time{}
	for _, a := range st.absences() {
		recorded[a.Server] = a.For
	}
	c.aways = nil
	for _, server := range servers {
		for _, id := range server.Disks {
			c.cat.disk(id)
		}
	}
	disks := make([]diskFacts, len(c.cat.names))
	for i, id := range c.cat.names {
		disks[i] = diskFacts{candidate: candidate{disk: id}, state: granary.DiskLost, gone: fmt.Sprintf("disk %s belongs to no server", id)}
	}
	for _, server := range servers {
		up := c.l.live.up(server.ID)
		away := c.absentFor(server.ID, recorded[server.ID], now)
		c.noteAbsence(server.ID, up, recorded[server.ID], away, upkeep.RepairGrace)
		for _, id := range server.Disks {
			d := &disks[c.cat.disks[id]]
			usage, shown := c.l.live.usage(id)
			record := st.disk(id)
			*d = diskFacts{
				candidate: candidate{
					disk: id, server: server.ID, name: server.Addr, zone: server.Zone, rack: server.Rack, free: usage.Free,
					writable: shown && usage.ReadOnly == "", class: cmp.Or(record.Class, usage.Class),
				},
				state: record.State, reason: record.Reason, failing: usage.Failing,
				here: up && shown, total: usage.Total, used: usage.Used, away: away,
			}
			switch {
			case d.state == granary.DiskLost:
				d.gone = fmt.Sprintf("disk %s is lost", id)
			case up && !shown:
				d.gone = fmt.Sprintf("disk %s is no longer at server %s", id, server.Addr)
			case !up && away > upkeep.RepairGrace:
				d.gone = fmt.Sprintf("server %s has been away for longer than %s", server.Addr, time.Duration(upkeep.RepairGrace))
			}
		}
	}
	return disks
}

// items is what the leader proposes itself.
func (c *curator) items(now time.Time) []item {
	if c.plan == nil {
		return nil
	}
	items := c.complaints()
	items = append(items, c.suspects()...)
	items = append(items, c.absences()...)
	for _, v := range atMost(c.plan.seal) {
		items = append(items, &sealOpen{Volume: v.id, Epoch: v.record.Epoch})
	}
	for _, id := range atMost(c.plan.condemn) {
		items = append(items, &condemn{id})
	}
	if now.Sub(c.began) > granary.WorkTTL {
		items = append(items, c.clearAims()...)
	}
	return items
}

func atMost[T any](s []T) []T { return s[:min(len(s), curateItems)] }

// complaints makes items of what servers say of their shards. A complaint may have been on its way while the shard was made
// anew: only one that is younger than what is known of the shard counts.
func (c *curator) complaints() []item {
	damaged := map[granary.VolumeID]uint32{}
	for _, told := range c.l.live.complained() {
		for _, info := range told.shards {
			v := c.cat.volumes[info.Ref.Volume]
			i := int(info.Ref.Shard)
			if v == nil || i >= len(v.at) || c.cat.names[v.at[i]] != info.Ref.Disk || told.at.Sub(v.moved) < complaintAge {
				continue
			}
			if c.scene.losesBy(v, i, &info) {
				damaged[v.id] |= 1 << i
			}
		}
	}
	for _, v := range c.plan.barred { // one shard at a time: what is left must suffice
		if c.cat.volumes[v.id] != v || c.l.s.now().Sub(v.grown) < barredFor {
			continue
		}
		i := bits.TrailingZeros32(c.scene.barred(v))
		if damaged[v.id] == 0 && c.scene.losesBy(v, i, &granary.ShardInfo{Poisoned: c.scene.disks[v.at[i]].failing}) {
			damaged[v.id] = 1 << i
		}
	}
	return c.damagedItems(damaged)
}

// damagedItems marks shards as lost: at most curateItems volumes, by id.
func (c *curator) damagedItems(damaged map[granary.VolumeID]uint32) []item {
	var items []item
	for _, id := range atMost(sortedIDs(damaged)) {
		v := c.cat.volumes[id]
		c.l.s.log.Warn("shards are lost or damaged", "volume", id, "shards", shardList(damaged[id]))
		items = append(items, &shardsDamaged{Volume: id, Epoch: v.record.Epoch, Shards: damaged[id], On: v.record.Disks})
	}
	return items
}

func sortedIDs(m map[granary.VolumeID]uint32) []granary.VolumeID {
	ids := make([]granary.VolumeID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// shardList lists the shards of a set.
func shardList(set uint32) []int {
	var shards []int
	for i := range 32 {
		if set&(1<<i) != 0 {
			shards = append(shards, i)
		}
	}
	return shards
}

// suspects makes items that take new volumes from failing disks, and have them emptied. The last disk that takes volumes is
// left as it is.
func (c *curator) suspects() []item {
	left := 0
	for i := range c.scene.disks {
		if d := &c.scene.disks[i]; d.here && d.state == granary.DiskActive {
			left++
		}
	}
	var items []item
	for i := range c.scene.disks {
		d := &c.scene.disks[i]
		if d.failing == "" || d.state != granary.DiskActive || !d.here || left <= 1 {
			continue
		}
		left--
		c.l.s.log.Warn("a disk is suspect: it is emptied", "disk", d.disk, "server", d.name, "reason", d.failing)
		items = append(items, &setDisk{granary.SetDisk{Disk: d.disk, State: granary.DiskSuspect, Reason: d.failing}})
	}
	return items
}

// clearAims takes back targets that nothing is made on any more, and nothing is going to be. Until that is applied, no task is
// given out for those volumes: it would be for nothing.
func (c *curator) clearAims() []item {
	c.clearing = map[granary.VolumeID]bool{}
	var items []item
	for _, v := range atMost(c.plan.pointing) {
		var n need
		for _, kind := range [...]granary.TaskKind{granary.TaskRepair, granary.TaskCopy} {
			for i := range v.at {
				if at, ok := c.plan.wanted[taskKey{kind: kind, volume: v.id, shard: uint8(i)}]; ok {
					n = c.plan.needs[at]
				}
			}
		}
		for _, i := range shardList(c.scene.pointless(v, &n)) {
			to := c.cat.names[v.aims[i]]
			if l := c.byVolume[v.id]; c.cat.volumes[v.id] != v || l != nil && int(l.task.Shard) == i && l.task.Target.Disk == to {
				continue
			}
			c.clearing[v.id] = true
			items = append(items, &aimShard{Volume: v.id, Epoch: v.record.Epoch, Shard: uint8(i)})
		}
	}
	return items
}
