package master

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

const (
	tasksPerWorker = 4
	movesMax       = 8 // moves, sweeps and rewrites under way at a time …
	rewritesMax    = 4 // … and of them rewrites
)

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
	fresh := c.fresh(now)
	var offers []offer
	for i := 0; i < len(c.plan.needs) && len(offers) < room; i++ {
		if o, ok := c.offer(req, &c.plan.needs[i], now, fresh); ok {
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
func (c *curator) offer(req *granary.WorkRequest, n *need, now time.Time, fresh bool) (offer, bool) {
	if c.holder(n.taskKey) != nil || c.clearing[n.volume] || n.v != nil && c.cat.volumes[n.volume] != n.v { // or it has changed since the plan was made
		return offer{}, false
	}
	t := c.tries[n.taskKey]
	if t == nil {
		t = &try{}
	}
	if now.Before(t.next) || c.enough(n) || fresh && (n.kind > granary.TaskCopy || len(n.v.aims) > 0) {
		return offer{}, false
	}
	c.nextTask++
	task := granary.Task{ID: granary.TaskID(c.nextTask), Kind: n.kind, Volume: n.volume, Shard: n.shard, Root: n.root, Reason: c.scene.reason(n)}
	o := offer{lease: &lease{key: n.taskKey, cause: n.cause, marked: n.marked, bytes: n.bytes, began: now, heard: now}}
	switch n.kind {
	case granary.TaskMove, granary.TaskSweep, granary.TaskRewrite:
		task.Policy, task.Rate, task.After = n.policy, c.scene.upkeep.MoveRate, n.after
		if n.file != nil {
			task.Windows, o.lease.changed = n.file.Windows, n.file.Changed
		}
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

// fresh reports whether workers may have tasks of an earlier leader that this one does not know of. It knows when it has heard the worker
// beside each volume server that is up, and after WorkTTL those of others too, or they have lost what they had.
func (c *curator) fresh(now time.Time) bool {
	if now.Sub(c.began) > granary.WorkTTL {
		return false
	}
	for i := range c.scene.disks {
		if d := &c.scene.disks[i]; d.here && !c.polled[d.server] {
			return true
		}
	}
	return false
}

// enough reports whether as many tasks of a kind that can wait are under way as there may be.
func (c *curator) enough(n *need) bool {
	most := 0
	same := func(l *lease) bool { return l.key.kind == n.kind }
	switch {
	case n.cause == causeBalance:
		most = max(2, len(c.workers)) // each could do more: what is urgent need not wait
		same = func(l *lease) bool { return l.cause == causeBalance }
	case n.kind == granary.TaskRewrite && c.rewrites() >= rewritesMax:
		return true
	case n.kind > granary.TaskCopy:
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
