package master

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

const (
	tidyEvery    = time.Second
	listEvery    = 3 * time.Minute
	listGapMin   = 2 * time.Second // between two listings of a disk; longer if they take long
	listTimeout  = 5 * time.Minute
	dropTimeout  = 10 * time.Second
	dropAgain    = time.Minute
	tidyParallel = 4
)

// listing says when the shards on a disk are listed next.
type listing struct {
	here  bool // as last seen
	asked bool // as soon as can be: the disk has come (back), or a shard has left it
	whole bool // it was listed since it has come, and what it lacks is marked
	last  time.Time
	took  time.Duration

	unknown int  // shards of volumes that the state did not make, as last listed
	kept    bool // stale ones may be there that are kept until another disk has been listed
}

func (c *curator) listing(disk granary.DiskID) *listing {
	l := c.listings[disk]
	if l == nil {
		l = &listing{}
		c.listings[disk] = l
	}
	return l
}

// tidy compares what is on the disks with the state, until ctx ends: it finds shards that are gone, and drops those that are
// not wanted any more.
//
// A shard is dropped in two cases. Its volume is VolumeDropping, which it stays until it is forgotten: no shard of it is made
// again. Or it was listed on a disk, and a state read after that, by a leader that a majority confirmed after the listing, says that
// it neither is there nor is being made there. Then what was listed is stale; and if a copy is to be made there later, it is made
// after its target was committed, and so after that state: it was created at another time, and the drop names the time that was listed.
//
// This master may have been restored from a backup, and then knows less than the disks. So shards stay of volumes that the
// state did not make (headRecord.made), and copies of a shard of which this leader has not seen that it is where it should be.
func (c *curator) tidy(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		var group errgroup.Group
		group.SetLimit(tidyParallel)
		for _, d := range c.dueListings() {
			group.Go(func() error {
				c.check(ctx, d)
				return nil
			})
		}
		for _, x := range c.dueDrops() {
			group.Go(func() error {
				c.dropVolume(ctx, x)
				return nil
			})
		}
		_ = group.Wait() // nothing in it fails
		select {
		case <-ticker.C:
		case <-c.tidying:
		case <-ctx.Done():
		}
	}
}

// diskCheck is a disk to be listed.
type diskCheck struct {
	disk     granary.DiskID
	server   granary.ServerID
	addr     string
	expected []*volumeFacts // that have a shard there
	listing  *listing       // where what is found is noted
}

// dueListings returns the disks that are to be listed now, with what should be on them.
func (c *curator) dueListings() []*diskCheck {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan == nil {
		return nil
	}
	now := c.l.s.now()
	due := map[int32]*diskCheck{}
	var all []*diskCheck
	for i := range c.scene.disks {
		d := &c.scene.disks[i]
		l := c.listing(d.disk)
		l.asked = l.asked || d.here && !l.here
		l.whole = l.whole && d.here
		l.here = d.here
		since := now.Sub(l.last)
		if !d.here || since < max(listGapMin, 20*l.took) || !l.asked && since < listEvery {
			continue
		}
		l.asked, l.last = false, now
		due[int32(i)] = &diskCheck{disk: d.disk, server: d.server, addr: d.name, listing: l}
		all = append(all, due[int32(i)])
	}
	if len(all) == 0 {
		return nil
	}
	for _, v := range c.cat.all() {
		for _, at := range v.at {
			if d := due[at]; d != nil {
				d.expected = append(d.expected, v)
			}
		}
	}
	return all
}

// check lists a disk, and acts on what differs from the state.
func (c *curator) check(ctx context.Context, d *diskCheck) {
	listCtx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	start := time.Now()
	infos, err := c.l.s.opts.Shards.List(listCtx, d.addr, d.disk)
	if err == nil {
		err = c.l.confirm(listCtx)
	}
	if err != nil {
		if ctx.Err() == nil {
			c.l.s.log.Info("the shards on a disk could not be compared with the state", "disk", d.disk, "server", d.addr, "error", err)
		}
		return
	}
	c.mu.Lock()
	d.listing.took = time.Since(start)
	c.mu.Unlock()
	if !c.missing(ctx, d, infos) {
		return
	}
	stale, unknown, kept := c.stale(d.disk, infos)
	c.mu.Lock()
	d.listing.unknown, d.listing.kept = unknown, len(kept) > 0
	c.mu.Unlock()
	for _, info := range kept {
		c.adopt(ctx, d, info)
	}
	if unknown > 0 {
		c.l.s.log.Warn("a disk holds shards of volumes that this master has not made: they are left alone", "disk", d.disk, "server", d.addr, "shards", unknown)
	}
	for _, s := range stale {
		if ctx.Err() != nil {
			return
		}
		c.drop(ctx, d.addr, s.info, s.epoch)
	}
}

// staleShard is a shard that is to be dropped.
type staleShard struct {
	info  *granary.ShardInfo
	epoch granary.Epoch
}

// stale finds the listed shards that the state, read now, neither has nor makes on the disk, and counts those that it cannot
// know. Those that are kept stay until it is seen that the volume has the shard elsewhere.
func (c *curator) stale(disk granary.DiskID, infos []granary.ShardInfo) (stale []staleShard, unknown int, kept []*granary.ShardInfo) {
	st := c.l.s.states.acquire()
	defer st.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	head := st.current() // before the volumes: all that it knows of have been made
	for i := range infos {
		info := &infos[i]
		if !head.made(info.Ref.Volume) {
			unknown++
			continue
		}
		r := one[volumeRecord](st.state, keyVolume(info.Ref.Volume))
		switch {
		case r == nil:
			stale = append(stale, staleShard{info, info.Epoch})
		case r.belongs(int(info.Ref.Shard), disk):
		case !c.seen(r, int(info.Ref.Shard)):
			kept = append(kept, info)
		default:
			stale = append(stale, staleShard{info, max(info.Epoch, r.Epoch)})
		}
	}
	return stale, unknown, kept
}

// seen reports whether this leader has seen that a shard is where the state says, sealed.
func (c *curator) seen(r *volumeRecord, shard int) bool {
	if shard >= len(r.Disks) {
		return true // there is no such shard
	}
	l := c.listings[r.Disks[shard]]
	return l != nil && l.here && l.whole && r.Lost&(1<<shard) == 0 && r.Sealed&(1<<shard) != 0
}

// belongs reports whether a shard is on a disk, or is being made there.
func (r *volumeRecord) belongs(shard int, disk granary.DiskID) bool {
	return shard < len(r.Disks) && (r.Disks[shard] == disk || shard < len(r.Targets) && r.Targets[shard] == disk)
}

// drop drops a stale shard. One whose time of creation is not known stays: nothing tells it from one that is made later.
func (c *curator) drop(ctx context.Context, addr string, info *granary.ShardInfo, epoch granary.Epoch) {
	if info.Created == 0 {
		c.l.s.log.Warn("a stale shard stays, because it does not say when it was made", "shard", info.Ref, "server", addr)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	if err := c.l.s.opts.Shards.Drop(ctx, addr, info.Ref, epoch, info.Created); err != nil {
		c.l.s.log.Info("a stale shard was not dropped", "shard", info.Ref, "server", addr, "error", err)
		return
	}
	c.metrics.dropped.Inc()
	c.l.s.log.Info("a stale shard was dropped", "shard", info.Ref, "server", addr, "bytes", info.Length)
}

// missing marks the shards as lost that should be on a disk, by what was known before it was listed, and are not there as they
// should be, if they should be there still. It returns whether all are marked.
func (c *curator) missing(ctx context.Context, d *diskCheck, infos []granary.ShardInfo) bool {
	type place struct {
		volume granary.VolumeID
		shard  int
	}
	listed := make(map[place]*granary.ShardInfo, len(infos))
	for i := range infos {
		listed[place{infos[i].Ref.Volume, int(infos[i].Ref.Shard)}] = &infos[i]
	}
	c.mu.Lock()
	if c.plan == nil {
		c.mu.Unlock()
		return false
	}
	c.look(c.l.s.now(), false)
	damaged := map[granary.VolumeID]uint32{}
	for _, v := range d.expected {
		now := c.cat.volumes[v.id]
		if now == nil || now.record.Epoch != v.record.Epoch || now.moved != v.moved {
			continue
		}
		for i, disk := range v.record.Disks {
			if disk == d.disk && v.record.lacks(i, listed[place{v.id, i}]) {
				damaged[v.id] |= 1 << i
			}
		}
	}
	items := c.damagedItems(damaged)
	c.mu.Unlock()
	marked := len(items) == 0 || c.propose(ctx, items)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := d.listing
	if !marked || len(damaged) > len(items) {
		l.asked = true // the others next time
		return false
	}
	if !l.whole {
		l.whole = true
		for _, other := range c.listings {
			other.asked = other.asked || other.kept
		}
	}
	return true
}

// lacks reports whether a shard, as its server listed it (nil: it did not), lacks bytes that were committed, or its seal.
func (r *volumeRecord) lacks(shard int, info *granary.ShardInfo) bool {
	if r.State == granary.VolumeDropping || r.Lost&(1<<shard) != 0 || r.LiveBytes == 0 {
		return false
	}
	if r.Sealed&(1<<shard) != 0 && r.Watermark > 0 {
		return info == nil || !info.Sealed || info.Length < r.Watermark || info.Damaged != ""
	}
	if end := endOf(&granary.Volume{DataShards: r.DataShards, Watermark: r.Watermark, Ends: r.Ends}, shard); end > 0 {
		return info == nil || info.Length < end || info.Damaged != ""
	}
	return false
}

// volumeDrop is a volume whose shards are dropped.
type volumeDrop struct {
	v     *volumeFacts
	addrs []string // of the servers that have its disks; "" for those that are away
	fails []bool   // whether the disks are failing
}

// dueDrops returns volumes that have been without live blocks for long enough.
func (c *curator) dueDrops() []*volumeDrop {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan == nil {
		return nil
	}
	now := c.l.s.now()
	var due []*volumeDrop
	for _, v := range c.plan.expired {
		if len(due) == curateItems {
			break
		}
		if c.cat.volumes[v.id] != v || now.Before(c.drops[v.id]) {
			continue
		}
		x := &volumeDrop{v: v}
		for _, at := range v.at {
			addr, d := "", &c.scene.disks[at]
			if d.here {
				addr = d.name
			}
			x.addrs, x.fails = append(x.addrs, addr), append(x.fails, d.failing != "")
		}
		c.drops[v.id] = now.Add(dropAgain)
		due = append(due, x)
	}
	return due
}

// dropVolume drops the shards of a volume, and forgets it when none is left on the disks that are there and work. Those on others are
// stale when they come back. A disk that fails may never remove a file again: it is not waited for, or it could not be retired.
func (c *curator) dropVolume(ctx context.Context, x *volumeDrop) {
	left := false
	for i, addr := range x.addrs {
		if addr == "" {
			continue
		}
		ref := granary.ShardRef{Disk: x.v.record.Disks[i], Volume: x.v.id, Shard: uint8(i)}
		dropCtx, cancel := context.WithTimeout(ctx, dropTimeout)
		err := c.l.s.opts.Shards.Drop(dropCtx, addr, ref, x.v.record.Epoch, 0)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				c.l.s.log.Info("a shard of an empty volume was not dropped yet", "shard", ref, "server", addr, "error", err)
			}
			left = left || !x.fails[i]
		}
	}
	if left || ctx.Err() != nil {
		return
	}
	if c.propose(ctx, []item{&forgetVolume{x.v.id}}) {
		c.mu.Lock()
		delete(c.drops, x.v.id)
		c.mu.Unlock()
		c.l.s.log.Info("an empty volume was dropped", "volume", x.v.id, "bytes", x.v.record.DeadBytes)
	}
}
