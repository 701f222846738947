package master

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dsorchard/granary"
)

// listTasks lists what is under way, and then what waits, the most urgent first.
func (c *curator) listTasks(q *granary.ListTasks) *granary.Tasks {
	limit := limitOf(q.Limit, granary.TasksMax)
	a := &granary.Tasks{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.l.s.now(), false)
	for _, l := range c.leasesInOrder() {
		s := granary.TaskStatus{Task: l.task, Worker: l.worker, Began: granary.TimeOf(l.began), Done: l.done, Total: max(l.total, l.bytes)}
		if t := c.tries[l.key]; t != nil {
			s.Tries, s.Error = t.failed, t.err
		}
		a.Tasks = append(a.Tasks, s)
	}
	if c.plan != nil {
		for i := range c.plan.needs {
			if len(a.Tasks) > limit {
				break
			}
			if n := &c.plan.needs[i]; c.holder(n.taskKey) == nil {
				a.Tasks = append(a.Tasks, c.waiting(n))
			}
		}
	}
	if len(a.Tasks) > limit {
		a.Tasks, a.More = a.Tasks[:limit], true
	}
	return a
}

func limitOf(limit, most int) int {
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}

// waiting shows a task that nobody has.
func (c *curator) waiting(n *need) granary.TaskStatus {
	s := granary.TaskStatus{Total: n.bytes, Task: granary.Task{Kind: n.kind, Volume: n.volume, Shard: n.shard, Root: n.root, Policy: n.policy, Reason: c.scene.reason(n)}}
	if n.v != nil {
		s.Task.Epoch = n.v.record.Epoch
		if aim := n.v.aim(int(n.shard)); n.kind <= granary.TaskCopy && aim >= 0 {
			s.Task.Target = granary.ShardPlace{Disk: c.cat.names[aim], Server: c.scene.disks[aim].server, Addr: c.scene.disks[aim].name}
		}
	}
	if t := c.tries[n.taskKey]; t != nil {
		s.Tries, s.Error = t.failed, t.err
	}
	return s
}

// durability tells of volumes what they can lose, by id.
func (c *curator) durability(q *granary.GetDurability) (*granary.Durability, error) {
	limit := limitOf(q.Limit, granary.ReadDirMax)
	a := &granary.Durability{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.l.s.now(), false)
	if c.plan == nil {
		return nil, granary.Errorf(granary.KindUnavailable, "durability", "", "this leader is new, and waits to hear of all volume servers")
	}
	waits := c.waits()
	all := c.cat.all()
	from, _ := slices.BinarySearchFunc(all, q.After+1, func(v *volumeFacts, id granary.VolumeID) int { return cmp.Compare(v.id, id) })
	for _, v := range all[from:] {
		if v.record.State == granary.VolumeDropping {
			continue
		}
		if len(a.Volumes) == limit {
			a.More = true
			break
		}
		d := granary.VolumeDurability{Volume: v.id, State: v.record.State, DataShards: v.record.DataShards, ParityShards: v.record.ParityShards,
			LiveBytes: v.record.LiveBytes}
		m := c.scene.domains(c.scene.class(v))
		d.Losses, d.DomainLosses = c.scene.losses(v)
		d.Domain, d.Misplaced = m.level.String(), c.scene.crowded(v, m) != 0
		d.Doing, d.Eta = c.doing(v, waits)
		a.Volumes = append(a.Volumes, d)
	}
	return a, nil
}

// waits returns for each kind of task how many bytes are ahead of each volume.
func (c *curator) waits() map[granary.VolumeID]uint64 {
	ahead := map[granary.VolumeID]uint64{}
	sums := map[granary.TaskKind]uint64{}
	for _, l := range c.leases {
		sums[l.key.kind] += l.left()
	}
	for i := range c.plan.needs {
		n := &c.plan.needs[i]
		if n.v != nil && c.holder(n.taskKey) == nil {
			sums[n.kind] += n.bytes
			ahead[n.volume] = sums[n.kind]
		}
	}
	return ahead
}

// doing tells what is done about a volume, and how long that will take.
func (c *curator) doing(v *volumeFacts, waits map[granary.VolumeID]uint64) (string, granary.Time) {
	if l := c.byVolume[v.id]; l != nil {
		text := fmt.Sprintf("%s of shard %d to disk %s", l.key.kind, l.key.shard, shortDisk(l.task.Target.Disk))
		if l.key.kind == granary.TaskMove {
			text = "its blocks are moved"
		}
		if total := max(l.total, l.bytes); total > 0 && l.done > 0 {
			text += fmt.Sprintf(": %d %%", min(100, 100*l.done/total))
		}
		var eta granary.Time
		if l.done > 0 && l.heard.After(l.began) {
			eta = granary.Time(float64(l.left()) / float64(l.done) * float64(l.heard.Sub(l.began)))
		}
		return text + ": " + l.task.Reason, eta
	}
	for _, kind := range [...]granary.TaskKind{granary.TaskRepair, granary.TaskCopy, granary.TaskMove} {
		for shard := range v.at {
			if i, ok := c.plan.wanted[taskKey{kind: kind, volume: v.id, shard: uint8(shard)}]; ok {
				return c.awaits(&c.plan.needs[i], waits)
			}
		}
	}
	return c.cannot(v), 0
}

// shortDisk is as much of a disk's id as commands show, and take.
func shortDisk(id granary.DiskID) granary.DiskID { return id[:min(len(id), 8)] }

// awaits tells what a task waits for, and how long it may take until it is done.
func (c *curator) awaits(n *need, waits map[granary.VolumeID]uint64) (string, granary.Time) {
	text := n.kind.String()
	if n.kind <= granary.TaskCopy {
		text += fmt.Sprintf(" of shard %d", n.shard)
	}
	t := c.tries[n.taskKey]
	switch {
	case c.scene.upkeep.Paused:
		return text + " waits: upkeep is paused", 0
	case t != nil && t.failed > 0:
		return fmt.Sprintf("%s failed %d times, and is tried again: %s", text, t.failed, t.err), 0
	case n.kind <= granary.TaskCopy && c.scene.target(n.v, int(n.shard), "", -1) < 0 && !c.scene.busyTargets():
		return fmt.Sprintf("%s waits: no disk of another failure domain (%s) can take it: %s", text, c.scene.domains(c.scene.class(n.v)).level, c.scene.reason(n)), 0
	case len(c.workers) == 0:
		return text + " waits: no worker has been heard", 0
	}
	var eta granary.Time
	if speed := c.speeds[n.kind]; speed != nil && speed.rate > 0 {
		eta = granary.Time(float64(waits[n.volume]) / speed.rate * float64(time.Second))
	}
	return text + " waits: " + c.scene.reason(n), eta
}

// busyTargets reports whether disks take nothing only because as much is made on them as may be.
func (s *scene) busyTargets() bool {
	return slices.ContainsFunc(s.disks, func(d diskFacts) bool { return d.tasks >= tasksPerDisk })
}

// cannot tells why nothing is done about a volume, or "" if nothing need be.
func (c *curator) cannot(v *volumeFacts) string {
	n := c.scene.count(v)
	all := len(v.at)
	good := bits.OnesCount32(n.there)
	switch {
	case v.record.LiveBytes == 0 || good == all:
		return ""
	case v.record.State == granary.VolumeOpen:
		return "its writer goes on with another volume"
	case good < v.record.DataShards:
		return fmt.Sprintf("%d of its shards can be read, and %d are needed: %s", good, v.record.DataShards, strings.Join(c.absent(v), "; "))
	case v.record.State == granary.VolumeSealing && n.gone != 0:
		return "it is being sealed first"
	}
	return fmt.Sprintf("after %s its shards are made anew: %s", time.Duration(c.scene.upkeep.RepairGrace), strings.Join(c.absent(v), "; "))
}

// absent says of each shard that cannot be read where it would be.
func (c *curator) absent(v *volumeFacts) []string {
	var texts []string
	for i, at := range v.at {
		d := &c.scene.disks[at]
		switch {
		case v.record.Lost&(1<<i) != 0:
			texts = append(texts, fmt.Sprintf("shard %d is lost or damaged", i))
		case d.gone != "":
			texts = append(texts, d.gone)
		case !d.here:
			texts = append(texts, fmt.Sprintf("server %s has been away for %s", d.name, time.Duration(d.away).Round(time.Second)))
		}
	}
	return texts
}

// reasons tells the cluster's status what upkeep does, in a line or two for each kind of thing.
func (c *curator) reasons() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan == nil {
		return nil
	}
	var reasons []string
	running, waiting := map[granary.TaskKind]int{}, map[granary.TaskKind]int{}
	for _, l := range c.leases {
		running[l.key.kind]++
	}
	var failing *try
	for i := range c.plan.needs {
		n := &c.plan.needs[i]
		if c.holder(n.taskKey) == nil {
			waiting[n.kind]++
		}
		if t := c.tries[n.taskKey]; n.kind == granary.TaskRepair && t != nil && t.failed > 0 && failing == nil {
			failing = t
		}
	}
	if n := running[granary.TaskRepair] + waiting[granary.TaskRepair]; n > 0 {
		reasons = append(reasons, fmt.Sprintf("%d volumes are being repaired: %d now, %d wait", n, running[granary.TaskRepair], waiting[granary.TaskRepair]))
	}
	if failing != nil {
		reasons = append(reasons, "a repair failed, and is tried again: "+failing.err)
	}
	if c.scene.upkeep.Paused {
		reasons = append(reasons, "upkeep is paused: nothing is repaired or moved")
	}
	for i := range c.scene.disks {
		if d := &c.scene.disks[i]; d.state == granary.DiskSuspect {
			reasons = append(reasons, fmt.Sprintf("disk %s at server %s is suspect, and is emptied: %s", d.disk, d.name, d.reason))
		}
	}
	unknown := 0
	for _, l := range c.listings {
		unknown += l.unknown
	}
	if unknown > 0 {
		reasons = append(reasons, fmt.Sprintf("the disks hold %d shards of volumes that this master has not made: was it restored from a backup?", unknown))
	}
	return reasons
}

// curatorMetrics are the numbers of upkeep.
type curatorMetrics struct {
	tasks     *prometheus.GaugeVec   // by kind and state
	volumes   *prometheus.GaugeVec   // by further losses that they survive
	domains   *prometheus.GaugeVec   // by further losses of failure domains that they survive
	bytes     *prometheus.CounterVec // by kind
	completed *prometheus.CounterVec
	failed    *prometheus.CounterVec
	dropped   prometheus.Counter
	plan      prometheus.Histogram

	counted time.Time // when domains were
}

func newCuratorMetrics() *curatorMetrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "granary", Subsystem: "upkeep", Name: name, Help: help}, labels)
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "granary", Subsystem: "upkeep", Name: name, Help: help}, []string{"kind"})
	}
	return &curatorMetrics{
		tasks:     gauge("tasks", "Tasks of upkeep that are wanted, by kind and whether a worker has them.", "kind", "state"),
		volumes:   gauge("volumes_by_losses", "Volumes with live data, by how many more shards they can lose; \"lost\": some data cannot be read.", "losses"),
		domains:   gauge("volumes_by_domain_losses", "Volumes with live data, by how many more failure domains they can lose; \"lost\": some data cannot be read.", "losses"),
		bytes:     counter("bytes_total", "Bytes that workers reported as repaired, copied, moved or swept."),
		completed: counter("tasks_completed_total", "Tasks that workers reported as done."),
		failed:    counter("tasks_failed_total", "Tasks that workers gave up; they are tried again."),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "granary", Subsystem: "upkeep", Name: "stale_shards_dropped_total",
			Help: "Shards dropped because the state did not know them where they were."}),
		plan: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "granary", Subsystem: "upkeep", Name: "plan_seconds",
			Help: "Time to decide what is to be done.", Buckets: prometheus.ExponentialBuckets(100e-6, 4, 8)}),
	}
}

func (m *curatorMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.tasks, m.volumes, m.domains, m.bytes, m.completed, m.failed, m.dropped, m.plan}
}

// reset forgets what only a leader knows.
func (m *curatorMetrics) reset() {
	m.tasks.Reset()
	m.volumes.Reset()
	m.domains.Reset()
}

// domainsCounted is how often the losses of failure domains are counted anew.
const domainsCounted = 10 * time.Second

// measure sets the gauges.
func (c *curator) measure() {
	if c.plan == nil {
		return
	}
	m := c.metrics
	m.plan.Observe(c.cost.Seconds())
	tasks := map[[2]string]int{}
	for kind := granary.TaskRepair; kind <= granary.TaskRewrite; kind++ {
		tasks[[2]string{kind.String(), "running"}], tasks[[2]string{kind.String(), "waiting"}] = 0, 0
	}
	for _, l := range c.leases {
		tasks[[2]string{l.key.kind.String(), "running"}]++
	}
	for i := range c.plan.needs {
		if k := c.plan.needs[i].taskKey; c.holder(k) == nil {
			tasks[[2]string{k.kind.String(), "waiting"}]++
		}
	}
	for k, n := range tasks {
		m.tasks.WithLabelValues(k[0], k[1]).Set(float64(n))
	}
	withDomains := c.planned.Sub(m.counted) >= domainsCounted || c.planned.Before(m.counted)
	shards, domains := map[int]int{}, map[int]int{}
	for _, v := range c.cat.all() {
		if v.record.LiveBytes == 0 {
			continue
		}
		shards[max(-1, bits.OnesCount32(c.scene.count(v).there)-v.record.DataShards)]++
		if withDomains {
			_, n := c.scene.losses(v)
			domains[max(-1, n)]++
		}
	}
	setLosses(m.volumes, shards)
	if withDomains {
		setLosses(m.domains, domains)
		m.counted = c.planned
	}
}

func setLosses(g *prometheus.GaugeVec, counts map[int]int) {
	g.Reset()
	for n, volumes := range counts {
		label := fmt.Sprint(n)
		if n < 0 {
			label = "lost"
		}
		g.WithLabelValues(label).Set(float64(volumes))
	}
}
