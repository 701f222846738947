package master

import (
	"cmp"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

const (
	tryWaitMin = 5 * time.Second
	tryWaitMax = 10 * time.Minute
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
	counted uint64       // of done, in the metrics
	after   string       // of a sweep: how far it is, as was proposed last …
	told    time.Time    // … and when
	changed granary.Time // of a rewrite: when the file was last changed
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
	if l.key.root != 0 {
		c.byRoot[l.key] = l
	} else {
		c.byVolume[l.key.volume] = l
	}
}

func (c *curator) release(l *lease) {
	delete(c.leases, l.task.ID)
	if l.key.root != 0 {
		delete(c.byRoot, l.key)
	} else {
		delete(c.byVolume, l.key.volume)
	}
}

// holder returns who works on the same thing.
func (c *curator) holder(k taskKey) *lease {
	if k.root != 0 {
		return c.byRoot[k]
	}
	return c.byVolume[k.volume]
}

// valid reports whether a task that a worker has is still to be done. A copy of a shard that is there is finished as long as
// its target stands and can take it, whatever it was begun for; a shard that was made anew is no longer when it has come back. As long
// as it is away the repair goes on, also under a new leader, who does not know for how long it has been.
func (c *curator) valid(t *granary.Task, k taskKey) bool {
	switch k.kind {
	case granary.TaskRewrite:
		return slices.ContainsFunc(c.scene.fine, func(f fineFile) bool { return f.Inode == k.root })
	case granary.TaskSweep:
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

// report takes in how far a worker is, and returns how far sweeps are, which are done, and the tasks that it is to let go of.
func (c *curator) report(req *granary.WorkRequest, now time.Time) (swept []item, unwanted []granary.TaskID) {
	c.workers[req.Worker] = &worker{req.Server, now, req.Room}
	c.polled[req.Server] = true
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
		if it := c.sweptTo(l, r, now); it != nil {
			swept = append(swept, it)
		}
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
		if n.file != nil {
			l.changed = n.file.Changed
		}
	} else if k.root != 0 {
		return nil
	}
	c.hold(l)
	return l
}

// ended takes note of a task that its worker has let go of; of a sweep that is done, it returns what to propose.
func (c *curator) ended(l *lease, err string, now time.Time) item {
	c.release(l)
	if l.key.kind == granary.TaskRewrite {
		c.pass(l, err, now)
	}
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

// leasesInOrder returns the tasks under way, the oldest first.
func (c *curator) leasesInOrder() []*lease {
	var all []*lease
	for _, l := range c.leases {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *lease) int { return cmp.Compare(a.task.ID, b.task.ID) })
	return all
}
