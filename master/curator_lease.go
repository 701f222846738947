package master

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

const (
	tasksPerWorker = 4
	movesMax       = 8 // moves and sweeps under way at a time
	balanceMax     = 2 // copies to even out disks, at a time
	tryWaitMin     = 5 * time.Second
	tryWaitMax     = 10 * time.Minute
)

// lease is a task that a worker has.
type lease struct {
	task    granary.Task
	key     taskKey
	cause   cause
	marked  granary.Index
	bytes   uint64 // that it is about, as far as that is known beforehand
	worker  string // "" while its target is being committed
	began   time.Time
	heard   time.Time
	done    uint64
	total   uint64
	counted uint64 // of done, in the metrics
}

// left returns how many bytes are still to be written, about.
func (l *lease) left() uint64 {
	if total := max(l.total, l.bytes); total > l.done {
		return total - l.done
	}
	return 0
}

// worker is a worker that was heard lately.
type worker struct {
	server granary.ServerID
	heard  time.Time
	room   int
}

// try is what went wrong with a task.
type try struct {
	failed int
	next   time.Time
	avoid  granary.DiskID // target of the last
	err    string
}

// throughput is how fast tasks of a kind got on lately, all workers taken together.
type throughput struct {
	rate  float64   // bytes a second; 0 if it is not known
	since time.Time // when rate was computed last
	bytes uint64    // done since
}

// keepLeases takes back what workers that are silent have, and what is no longer wanted, or done: then its worker is about to
// say so.
func (c *curator) keepLeases(now time.Time) {
	for name, w := range c.workers {
		if now.Sub(w.heard) > granary.WorkTTL {
			delete(c.workers, name)
		}
	}
	for id, l := range c.lapsed {
		if now.Sub(l.heard) > granary.WorkTTL {
			delete(c.lapsed, id)
		}
	}
	for id, l := range c.leases {
		if l.worker != "" && (now.Sub(l.heard) > granary.WorkTTL || !c.valid(&l.task, l.key)) {
			c.release(l)
			c.lapsed[id] = l
		}
	}
}

func (c *curator) hold(l *lease) {
	c.leases[l.task.ID] = l
	if l.key.kind == granary.TaskSweep {
		c.bySweep[l.key.root] = l
	} else {
		c.byVolume[l.key.volume] = l
	}
}

func (c *curator) release(l *lease) {
	delete(c.leases, l.task.ID)
	if l.key.kind == granary.TaskSweep {
		delete(c.bySweep, l.key.root)
	} else {
		delete(c.byVolume, l.key.volume)
	}
}

// holder returns who works on the same thing.
func (c *curator) holder(k taskKey) *lease {
	if k.kind == granary.TaskSweep {
		return c.bySweep[k.root]
	}
	return c.byVolume[k.volume]
}

// valid reports whether a task that a worker has is still to be done. A copy of a shard that is there is finished as long as
// its target stands and can take it, whatever it was begun for; a shard that was made anew is no longer when it has come back. As long
// as it is away the repair goes on, also under a new leader, who does not know for how long it has been.
func (c *curator) valid(t *granary.Task, k taskKey) bool {
	if k.kind == granary.TaskSweep {
		return slices.ContainsFunc(c.scene.sweeps, func(m sweepMark) bool { return m.Inode == k.root })
	}
	v := c.cat.volumes[t.Volume]
	if v == nil || v.record.Epoch != t.Epoch {
		return false
	}
	switch k.kind {
	case granary.TaskMove:
		return v.record.State == granary.VolumeSealed && v.record.LiveBytes > 0
	case granary.TaskRepair, granary.TaskCopy:
		if v.record.LiveBytes == 0 || int(t.Shard) >= len(v.at) {
			return false
		}
		aim := v.aim(int(t.Shard))
		if aim < 0 || c.cat.names[aim] != t.Target.Disk {
			return false
		}
		d := &c.scene.disks[aim]
		if d.gone != "" || d.state != granary.DiskActive {
			return false
		}
		return k.kind == granary.TaskCopy || c.scene.count(v).there&(1<<t.Shard) == 0
	}
	return false
}

// keyOf returns what a task is for.
func keyOf(t *granary.Task) taskKey {
	switch t.Kind {
	case granary.TaskRepair, granary.TaskCopy:
		return taskKey{kind: t.Kind, volume: t.Volume, shard: t.Shard}
	case granary.TaskMove:
		return taskKey{kind: t.Kind, volume: t.Volume}
	default:
		return taskKey{kind: t.Kind, root: t.Root}
	}
}

// report takes in how far a worker is, and returns the sweeps that are done and the tasks that it is to let go of.
func (c *curator) report(req *granary.WorkRequest, now time.Time) (swept []item, unwanted []granary.TaskID) {
	c.workers[req.Worker] = &worker{req.Server, now, req.Room}
	for i := range req.Reports {
		r := &req.Reports[i]
		l := c.leases[r.Task.ID]
		if l == nil && r.Ended && r.Error == "" {
			c.finished(req.Worker, r, now)
		}
		if l == nil || l.worker != req.Worker {
			if l = c.takeOver(req.Worker, r, now); l == nil {
				if !r.Ended {
					unwanted = append(unwanted, r.Task.ID)
				}
				continue
			}
		}
		c.progress(l, r, now)
		switch {
		case r.Ended:
			if it := c.ended(l, r.Error, now); it != nil {
				swept = append(swept, it)
			}
		case !c.valid(&l.task, l.key):
			c.release(l)
			unwanted = append(unwanted, r.Task.ID)
		}
	}
	return swept, unwanted
}

// finished counts a task that is over since the state shows its outcome.
func (c *curator) finished(worker string, r *granary.TaskReport, now time.Time) {
	if l := c.lapsed[r.Task.ID]; l != nil && l.worker == worker {
		delete(c.lapsed, r.Task.ID)
		c.progress(l, r, now)
		c.completed(l)
	}
}

// completed notes that a task was done.
func (c *curator) completed(l *lease) {
	c.metrics.completed.WithLabelValues(l.key.kind.String()).Inc()
	c.l.s.log.Info("a task is done", "task", l.task.Kind, "volume", l.task.Volume, "shard", l.task.Shard, "target", l.task.Target.Disk, "bytes", l.done)
}

// takeOver makes a task that another leader gave out one of this leader's, if it is wanted and nobody else has it.
func (c *curator) takeOver(name string, r *granary.TaskReport, now time.Time) *lease {
	k := keyOf(&r.Task)
	if c.leases[r.Task.ID] != nil || c.holder(k) != nil || !c.valid(&r.Task, k) {
		return nil
	}
	l := &lease{task: r.Task, key: k, worker: name, began: now, heard: now, bytes: r.Total, counted: r.Done}
	if at, ok := c.plan.wanted[k]; ok {
		n := &c.plan.needs[at]
		l.cause, l.marked, l.bytes = n.cause, n.marked, n.bytes
	} else if k.kind == granary.TaskSweep {
		return nil
	}
	c.hold(l)
	return l
}

// ended takes note of a task that its worker has let go of; of a sweep that is done, it returns what to propose.
func (c *curator) ended(l *lease, err string, now time.Time) item {
	c.release(l)
	if err != "" {
		t := c.tries[l.key]
		if t == nil {
			t = &try{}
			c.tries[l.key] = t
		}
		t.next = now.Add(min(tryWaitMin<<min(t.failed, 16), tryWaitMax))
		t.failed++
		t.avoid, t.err = l.task.Target.Disk, err
		c.metrics.failed.WithLabelValues(l.key.kind.String()).Inc()
		c.l.s.log.Warn("a task failed", "task", l.task.Kind, "volume", l.task.Volume, "shard", l.task.Shard, "worker", l.worker, "failed", t.failed, "error", err)
		return nil
	}
	c.tries[l.key] = &try{next: now.Add(tryWaitMin)} // if it is wanted all the same, then not at once
	c.completed(l)
	if l.key.kind == granary.TaskSweep {
		return &sweepDone{Inode: l.key.root, Marked: l.marked}
	}
	return nil
}

// rateForgotten is the time without progress after which it is measured anew how fast tasks of a kind are.
const rateForgotten = 30 * time.Second

// progress takes note of how far a task is, and learns how fast such tasks are.
func (c *curator) progress(l *lease, r *granary.TaskReport, now time.Time) {
	before := l.heard
	l.heard, l.done, l.total = now, r.Done, r.Total
	if l.done <= l.counted {
		return
	}
	n := l.done - l.counted
	l.counted = l.done
	c.metrics.bytes.WithLabelValues(l.key.kind.String()).Add(float64(n))
	t := c.speeds[l.key.kind]
	if t == nil {
		t = &throughput{}
		c.speeds[l.key.kind] = t
	}
	if now.Sub(t.since) > rateForgotten {
		t.since, t.bytes = before, 0
	}
	t.bytes += n
	passed := now.Sub(t.since)
	if passed < time.Second {
		return
	}
	rate := float64(t.bytes) / passed.Seconds()
	if t.rate > 0 {
		rate = 0.7*t.rate + 0.3*rate
	}
	*t = throughput{since: now, rate: rate}
}

// forgetTries forgets what failed and is no longer wanted.
func (c *curator) forgetTries() {
	for k := range c.tries {
		if _, ok := c.plan.wanted[k]; !ok {
			delete(c.tries, k)
		}
	}
}

// offer is a task that a worker is about to be given, once its target is committed.
type offer struct {
	lease *lease
	aim   *aimShard // nil: the state has it
}

// offers leases tasks to a worker: the most urgent first that can be begun now.
func (c *curator) offers(req *granary.WorkRequest, now time.Time) []offer {
	if c.plan == nil || c.scene.upkeep.Paused {
		return nil
	}
	room := min(req.Room, tasksPerWorker-c.has(req.Worker))
	var offers []offer
	for i := 0; i < len(c.plan.needs) && len(offers) < room; i++ {
		if o, ok := c.offer(req, &c.plan.needs[i], now); ok {
			offers = append(offers, o)
		}
	}
	return offers
}

// has returns how many tasks a worker has.
func (c *curator) has(worker string) (n int) {
	for _, l := range c.leases {
		if l.worker == worker {
			n++
		}
	}
	return n
}

// offer leases a task, unless it is leased, failed a moment ago, has no target, or is of a kind of which there are enough. In
// its first moments a leader does not know what workers have from the one before: then it gives out no more than what none of them
// can have.
func (c *curator) offer(req *granary.WorkRequest, n *need, now time.Time) (offer, bool) {
	if c.holder(n.taskKey) != nil || c.clearing[n.volume] || n.v != nil && c.cat.volumes[n.volume] != n.v { // or it has changed since the plan was made
		return offer{}, false
	}
	t := c.tries[n.taskKey]
	if t == nil {
		t = &try{}
	}
	fresh := now.Sub(c.began) <= granary.WorkTTL
	if now.Before(t.next) || c.enough(n) || fresh && (n.kind > granary.TaskCopy || len(n.v.aims) > 0) {
		return offer{}, false
	}
	c.nextTask++
	task := granary.Task{ID: granary.TaskID(c.nextTask), Kind: n.kind, Volume: n.volume, Shard: n.shard, Root: n.root, Reason: c.scene.reason(n)}
	o := offer{lease: &lease{key: n.taskKey, cause: n.cause, marked: n.marked, bytes: n.bytes, began: now, heard: now}}
	switch n.kind {
	case granary.TaskMove, granary.TaskSweep:
		task.Policy, task.Rate = n.policy, c.scene.upkeep.MoveRate
	default:
		to := c.targetOf(n, req.Server, t.avoid)
		if to < 0 {
			return offer{}, false
		}
		d := &c.scene.disks[to]
		task.Target, task.Rate = granary.ShardPlace{Disk: d.disk, Server: d.server, Addr: d.name, Up: true}, c.scene.upkeep.RepairRate
		if n.v.aim(int(n.shard)) != to {
			o.aim = &aimShard{Volume: n.volume, Epoch: n.v.record.Epoch, Shard: n.shard, To: d.disk}
		}
		d.tasks++
		d.coming += n.bytes
	}
	if n.v != nil {
		task.Epoch = n.v.record.Epoch
	}
	o.lease.task = task
	c.hold(o.lease)
	return o, true
}

// targetOf returns the disk that a shard is made on: the one that it has as its target already, if that will still do.
func (c *curator) targetOf(n *need, beside granary.ServerID, avoid granary.DiskID) int32 {
	s := c.scene
	avoided, ok := c.cat.disks[avoid]
	if !ok {
		avoided = -1
	}
	if aim := n.v.aim(int(n.shard)); aim >= 0 && aim != avoided && s.disks[aim].tasks < tasksPerDisk && s.disks[aim].takes(n.bytes) {
		if _, ok := s.rank(n.v, int(n.shard), aim, s.domains(s.class(n.v))); ok {
			return aim
		}
	}
	if n.fixed < 0 {
		return s.target(n.v, int(n.shard), beside, avoided)
	}
	if d := &s.disks[n.fixed]; d.tasks >= tasksPerDisk || !d.takes(n.bytes) {
		return -1
	}
	return n.fixed
}

// enough reports whether as many tasks of a kind that can wait are under way as there may be.
func (c *curator) enough(n *need) bool {
	most := 0
	same := func(l *lease) bool { return l.key.kind == n.kind }
	switch {
	case n.cause == causeBalance:
		most = balanceMax
		same = func(l *lease) bool { return l.cause == causeBalance }
	case n.kind == granary.TaskMove || n.kind == granary.TaskSweep:
		most = movesMax
		same = func(l *lease) bool { return l.key.kind > granary.TaskCopy }
	default:
		return false
	}
	for _, l := range c.leases {
		if same(l) {
			most--
		}
	}
	return most <= 0
}

// commit commits the targets of the tasks that are offered, and returns those that stand.
func (c *curator) commit(ctx context.Context, worker string, offers []offer) []granary.Task {
	var items []item
	for _, o := range offers {
		if o.aim != nil {
			items = append(items, o.aim)
		}
	}
	var results []granary.Result
	var err error
	if len(items) > 0 {
		results, err = c.l.prop.propose(ctx, items...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var tasks []granary.Task
	now := c.l.s.now()
	for _, o := range offers {
		if o.aim != nil {
			var refused error = err
			if err == nil {
				if results[0].Err != nil {
					refused = results[0].Err
				}
				results = results[1:]
			}
			if refused != nil {
				c.l.s.log.Info("a target was not committed", "volume", o.aim.Volume, "shard", o.aim.Shard, "target", o.aim.To, "error", refused)
				c.release(o.lease)
				continue
			}
		}
		o.lease.worker, o.lease.began, o.lease.heard = worker, now, now
		tasks = append(tasks, o.lease.task)
		c.l.s.log.Info("a task is given out", "task", o.lease.task.Kind, "volume", o.lease.task.Volume, "shard", o.lease.task.Shard,
			"target", o.lease.task.Target.Disk, "worker", worker, "reason", o.lease.task.Reason)
	}
	return tasks
}

// leasesInOrder returns the tasks under way, the oldest first.
func (c *curator) leasesInOrder() []*lease {
	var all []*lease
	for _, l := range c.leases {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *lease) int { return cmp.Compare(a.task.ID, b.task.ID) })
	return all
}
