package fsck

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

const listsAtOnce = 4

// listing is what the disks hold.
type listing struct {
	mu     sync.Mutex                // while they are listed
	addrs  map[granary.DiskID]string // of their servers
	shards map[granary.ShardRef]*granary.ShardInfo
	silent map[granary.DiskID]string // why they could not be listed
}

// list lists disks: all that servers have if none are named.
func (c *Check) list(ctx context.Context, only map[granary.DiskID]bool) (*listing, error) {
	disks, err := ask[*granary.Disks](ctx, c, &granary.ListDisks{})
	if err != nil {
		return nil, err
	}
	l := &listing{addrs: map[granary.DiskID]string{}, shards: map[granary.ShardRef]*granary.ShardInfo{}, silent: map[granary.DiskID]string{}}
	addrs := map[granary.ServerID]string{}
	for _, s := range disks.Servers {
		addrs[s.ID] = s.Addr
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listsAtOnce)
	for _, d := range disks.Disks {
		if only != nil && !only[d.ID] {
			continue
		}
		addr := addrs[d.Server]
		l.mu.Lock()
		l.addrs[d.ID] = addr
		l.mu.Unlock()
		group.Go(func() error {
			infos, err := c.o.Shards.List(ctx, addr, d.ID)
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				l.silent[d.ID] = err.Error()
				return ctx.Err()
			}
			for i := range infos {
				l.shards[infos[i].Ref] = &infos[i]
			}
			return nil
		})
	}
	return l, group.Wait()
}

// why says why a disk has no listing; "" if it has one.
func (l *listing) why(disk granary.DiskID) string {
	if _, ok := l.addrs[disk]; !ok {
		return "no server has the disk"
	}
	return l.silent[disk]
}

// checkShards compares all volumes with what is on the disks.
func (c *Check) checkShards(ctx context.Context) error {
	c.begin("shards", 0)
	l, err := c.list(ctx, nil)
	if err != nil {
		return err
	}
	suspects := map[granary.VolumeID]bool{}
	disks := map[granary.DiskID]bool{}
	var volumes []granary.VolumeID
	err = c.eachVolume(ctx, func(v *granary.Volume) error {
		volumes = append(volumes, v.ID)
		c.report.Volumes++
		c.report.Shards += uint64(len(v.Shards))
		c.step(uint64(len(v.Shards)))
		for i := range v.Shards {
			ref := shardRef(v, i)
			if p, _ := examine(v, i, l.shards[ref], l.why(ref.Disk)); p != "" {
				suspects[v.ID], disks[ref.Disk] = true, true
			}
			delete(l.shards, ref)
			if t := v.Shards[i].Target; t != "" {
				delete(l.shards, granary.ShardRef{Disk: t, Volume: v.ID, Shard: uint8(i)})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(suspects) > 0 {
		if err := c.confirm(ctx, suspects, disks); err != nil {
			return err
		}
	}
	return c.orphans(ctx, l, volumes)
}

func shardRef(v *granary.Volume, i int) granary.ShardRef {
	return granary.ShardRef{Disk: v.Shards[i].Disk, Volume: v.ID, Shard: uint8(i)}
}

// examine compares a shard with what its server says of it: nil if that does not list it, or could not be asked for the reason
// of silent. It returns "" if nothing is wrong.
func examine(v *granary.Volume, i int, info *granary.ShardInfo, silent string) (Problem, string) {
	p := &v.Shards[i]
	if v.State == granary.VolumeDropping || v.LiveBytes == 0 {
		return "", ""
	}
	sealed := p.Sealed && v.Watermark > 0
	end := committedEnd(v, i)
	if sealed {
		end = v.Watermark
	}
	switch {
	case p.Lost:
		return ShardLost, "the masters know that it is to be rebuilt"
	case silent != "":
		return ShardUnreachable, silent
	case info == nil && end > 0:
		return ShardMissing, fmt.Sprintf("the disk does not have it; it had %d bytes at least", end)
	case info == nil:
		return "", ""
	case info.Damaged != "":
		return ShardDamaged, info.Damaged
	case info.Poisoned != "":
		return ShardPoisoned, info.Poisoned
	case info.DataShards != 0 && (info.DataShards != v.DataShards || info.ParityShards != v.ParityShards):
		return ShardForeign, fmt.Sprintf("it is of a volume of %d+%d, not %d+%d", info.DataShards, info.ParityShards, v.DataShards, v.ParityShards)
	case info.Epoch > v.Epoch:
		return ShardAhead, fmt.Sprintf("it has seen epoch %d, the volume is at %d", info.Epoch, v.Epoch)
	case sealed && !info.Sealed:
		return ShardUnsealed, "its server has not sealed it"
	case info.Length < end:
		return ShardShort, fmt.Sprintf("it has %d bytes, not %d", info.Length, end)
	}
	return "", ""
}

// committedEnd returns how far the file of a shard reaches at least, before it is sealed: a data shard up to the end of its last
// block, and a parity shard as far as the longest of the last row. The watermark is that, rounded up.
func committedEnd(v *granary.Volume, i int) uint64 {
	if i >= v.DataShards {
		return v.Watermark - min(v.Watermark, granary.RowAlignment-1)
	}
	if i < len(v.Ends) {
		return v.Ends[i]
	}
	return 0
}

// confirm looks at volumes again. A shard is at fault if a listing made after a state was read lacks what that state had, and the
// state still has after the listing.
func (c *Check) confirm(ctx context.Context, suspects map[granary.VolumeID]bool, disks map[granary.DiskID]bool) error {
	before := make(map[granary.VolumeID]*granary.Volume, len(suspects))
	for id := range suspects {
		v, err := c.volume(ctx, id)
		if err != nil {
			return err
		}
		before[id] = v
	}
	l, err := c.list(ctx, disks)
	if err != nil {
		return err
	}
	for id, v := range before {
		if v == nil {
			continue
		}
		now, err := c.volume(ctx, id)
		if err != nil {
			return err
		}
		if now == nil || now.State == granary.VolumeDropping {
			continue
		}
		for i := range v.Shards {
			ref := shardRef(v, i)
			if !disks[ref.Disk] || !sameShard(v, now, i) {
				continue
			}
			if p, detail := examine(v, i, l.shards[ref], l.why(ref.Disk)); p != "" {
				c.fault(v, i, p, detail)
			}
		}
	}
	return nil
}

// sameShard reports whether a shard is, by two states of its volume, the same and where it was.
func sameShard(a, b *granary.Volume, i int) bool {
	x, y := &a.Shards[i], &b.Shards[i]
	return a.Epoch == b.Epoch && x.Disk == y.Disk && x.Lost == y.Lost && x.Sealed == y.Sealed
}

// fault notes what is wrong with a shard. What was noted first stays.
func (c *Check) fault(v *granary.Volume, i int, p Problem, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := shardKey{v.ID, i}
	if c.known[key] == nil {
		c.known[key] = &ShardFault{Ref: shardRef(v, i), Addr: v.Shards[i].Addr, Problem: p, Detail: detail}
	}
}

// faultOf returns what is known to be wrong with a shard, or "".
func (c *Check) faultOf(id granary.VolumeID, i int) Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.known[shardKey{id, i}]; f != nil {
		return f.Problem
	}
	return ""
}

// orphans notes the shards that were listed, and that the state, read now, neither has nor makes there.
func (c *Check) orphans(ctx context.Context, l *listing, known []granary.VolumeID) error {
	byVolume := map[granary.VolumeID][]*granary.ShardInfo{}
	for _, info := range l.shards {
		byVolume[info.Ref.Volume] = append(byVolume[info.Ref.Volume], info)
	}
	for id, infos := range byVolume {
		v, err := c.volume(ctx, id)
		if err != nil {
			return err
		}
		for _, info := range infos {
			if !belongs(v, info.Ref) {
				c.report.Orphans = append(c.report.Orphans, Orphan{*info, l.addrs[info.Ref.Disk], v == nil && skipped(known, id)})
			}
		}
	}
	return nil
}

// skipped reports whether a volume may be one of those whose ids a restore has skipped, and that is why the state does not know it:
// it is newer than all that are known, or the next one is as far away as only a restore skips.
func skipped(known []granary.VolumeID, id granary.VolumeID) bool {
	const far = 1 << 39
	i, _ := slices.BinarySearch(known, id)
	return i == len(known) || known[i]-id > far
}

func belongs(v *granary.Volume, ref granary.ShardRef) bool {
	if v == nil || int(ref.Shard) >= len(v.Shards) {
		return false
	}
	p := &v.Shards[ref.Shard]
	return p.Disk == ref.Disk || p.Target == ref.Disk
}
