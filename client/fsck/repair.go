package fsck

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

// lookEvery lies between two looks at volumes that are being repaired.
const lookEvery = time.Second

// told is a volume of whose damaged shards the masters were told.
type told struct {
	id     granary.VolumeID
	shards uint32
}

// Repair tells the masters which shards Run found damaged: they are rebuilt from the others, as those that a scrub finds. With wait
// it returns when they are whole again, as far as they can be, or ctx ends; and what was lost is looked for again: a shard can be
// rebuilt from pieces of others where a reader, who wants whole blocks, finds too little. Shards that nobody could reach are not
// touched: they are rebuilt when their server has been away for long enough.
func (c *Check) Repair(ctx context.Context, wait bool) (*Report, error) {
	masks := map[granary.VolumeID]uint32{}
	for key, f := range c.known {
		if f.Problem.tellable() || f.Problem == ShardLost {
			masks[key.volume] |= 1 << key.shard
		}
	}
	var all []told
	for id, shards := range masks {
		ok, err := c.tell(ctx, id, shards)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, told{id, shards})
		}
	}
	if wait {
		if err := c.await(ctx, all); err != nil {
			return nil, err
		}
		if err := c.lookAgain(ctx); err != nil {
			return nil, err
		}
	}
	return c.finish(), nil
}

// tell makes the state know of damaged shards. It reports false if the volume is gone.
func (c *Check) tell(ctx context.Context, id granary.VolumeID, shards uint32) (bool, error) {
	for {
		v, err := c.volume(ctx, id)
		if err != nil || v == nil || v.State == granary.VolumeDropping {
			return false, err
		}
		fresh := uint32(0)
		for i := range v.Shards {
			if f := c.known[shardKey{id, i}]; shards&(1<<i) != 0 && !v.Shards[i].Lost && f.Problem.tellable() {
				if f.Ref.Disk != v.Shards[i].Disk {
					f.Mended = true // it was made anew elsewhere meanwhile
					continue
				}
				fresh |= 1 << i
			}
		}
		if fresh == 0 {
			return true, nil
		}
		_, err = c.o.Cluster.Do(ctx, granary.Cred{}, &granary.DamageShards{Volume: id, Epoch: v.Epoch, Shards: fresh})
		switch granary.KindOf(err) {
		case granary.KindNone:
			return true, nil
		case granary.KindStale, granary.KindNotFound: // it has been sealed, or is being dropped
		default:
			return false, err
		}
	}
}

// await returns when the shards are whole again of all volumes that can be.
func (c *Check) await(ctx context.Context, all []told) error {
	c.begin("repair", uint64(len(all)))
	timer := time.NewTicker(lookEvery)
	defer timer.Stop()
	for len(all) > 0 {
		hopeless, err := c.hopeless(ctx)
		if err != nil {
			return err
		}
		var left []told
		for _, t := range all {
			whole, err := c.whole(ctx, t)
			if err != nil {
				return err
			}
			if whole || hopeless[t.id] {
				c.step(1)
				continue
			}
			left = append(left, t)
		}
		if all = left; len(all) == 0 {
			return nil
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return granary.Errorf(granary.KindCanceled, "fsck", "", "%d volumes are not repaired yet: %w", len(all), context.Cause(ctx))
		}
	}
	return nil
}

// hopeless returns the volumes with lost blocks of which a repair has failed.
func (c *Check) hopeless(ctx context.Context) (map[granary.VolumeID]bool, error) {
	if len(c.report.Lost) == 0 {
		return nil, nil
	}
	tasks, err := ask[*granary.Tasks](ctx, c, &granary.ListTasks{})
	if err != nil {
		return nil, err
	}
	failed := map[granary.VolumeID]bool{}
	for _, t := range tasks.Tasks {
		if t.Tries > 0 && (t.Task.Kind == granary.TaskRepair || t.Task.Kind == granary.TaskCopy) {
			failed[t.Task.Volume] = true
		}
	}
	hopeless := map[granary.VolumeID]bool{}
	for i := range c.report.Lost {
		if id := c.report.Lost[i].Block.Location.Volume; failed[id] {
			hopeless[id] = true
		}
	}
	return hopeless, nil
}

// lookAgain tries to read what was lost, and drops what can be read by now. The files that are hit are found anew.
func (c *Check) lookAgain(ctx context.Context) error {
	before := c.report.Lost
	c.report.Lost, c.lost = nil, map[granary.BlockID]int{}
	for i := range before {
		b := &granary.StoredBlock{Block: before[i].Block, Dataset: before[i].Dataset, Refs: before[i].Refs}
		v, err := c.volume(ctx, b.Block.Location.Volume)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		if err := c.probe(ctx, v, b); err != nil {
			return err
		}
	}
	if len(c.report.Lost) == len(before) || !c.o.Paths {
		return nil
	}
	c.report.Damaged, c.report.Refs, c.report.Held = nil, nil, 0
	return c.checkFiles(ctx)
}

// whole reports whether none of the shards is damaged any more, and takes note of those that are not.
func (c *Check) whole(ctx context.Context, t told) (bool, error) {
	v, err := c.volume(ctx, t.id)
	if err != nil {
		return false, err
	}
	all := true
	for i := range granary.DataShardsMax + granary.ParityShardsMax {
		if t.shards&(1<<i) == 0 {
			continue
		}
		if v == nil || v.State == granary.VolumeDropping || !v.Shards[i].Lost && v.Shards[i].Sealed {
			c.known[shardKey{t.id, i}].Mended = true
		} else {
			all = false
		}
	}
	return all, nil
}
