package master

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

const (
	sealEvery      = time.Second
	sealTimeout    = 10 * time.Second
	sealBackoffMin = 500 * time.Millisecond
	sealBackoffMax = time.Minute
	sealParallel   = 8
)

// sealer remembers which shards answered badly, and when to ask them again.
type sealer struct {
	mu       sync.Mutex
	tries    map[granary.ShardRef]sealTry
	unsummed map[granary.ShardRef]int // how often a sealed shard could not be compared
	codes    erasure.Cache
}

type sealTry struct {
	next time.Time
	wait time.Duration
}

// sealVolumes drives volumes from sealing to sealed: every shard server trims its shard to the
// committed watermark. That nobody appends any more is the state's doing already; this gives back
// the tails and lets the shards be scrubbed, repaired and moved. A shard that has lost committed bytes is marked as Lost, and
// one on a lost disk keeps its volume sealing, until it has been made anew elsewhere. And so is one that does not fit the others any more
// (compare): from the seal on its own page table would vouch for it.
func (l *leadership) sealVolumes(ctx context.Context) {
	if l.s.opts.Shards == nil {
		return
	}
	r := &sealer{tries: make(map[granary.ShardRef]sealTry), unsummed: make(map[granary.ShardRef]int)}
	timer := time.NewTicker(sealEvery)
	defer timer.Stop()
	for ctx.Err() == nil {
		l.sealAll(ctx, r)
		select {
		case <-timer.C:
		case <-l.sealNow:
		case <-ctx.Done():
		}
	}
}

// sealAll asks all shards that are due, and reports what they did.
func (l *leadership) sealAll(ctx context.Context, r *sealer) {
	st := l.s.states.acquire()
	volumes := st.volumesInState(granary.VolumeSealing)
	addrs := make(map[granary.ServerID]string)
	for _, s := range st.servers() {
		addrs[s.ID] = s.Addr
	}
	sealed := make([]uint32, len(volumes))
	for i, v := range volumes {
		sealed[i] = st.shardsSealedOf(v.ID)
	}
	st.release()
	r.forget(volumes)
	var group errgroup.Group
	group.SetLimit(sealParallel)
	for i, v := range volumes {
		group.Go(func() error {
			l.sealVolume(ctx, r, v, sealed[i], addrs)
			return nil
		})
	}
	_ = group.Wait() // nothing in it fails
}

func (l *leadership) sealVolume(ctx context.Context, r *sealer, v granary.Volume, sealed uint32, addrs map[granary.ServerID]string) {
	var news, lost uint32
	for i, place := range v.Shards {
		ref := refOf(&v, i)
		if sealed&(1<<i) != 0 || place.Lost || !l.live.shows(place.Server, place.Disk) || !r.due(ref, l.s.now()) {
			continue
		}
		if err := l.sealShard(ctx, addrs[place.Server], ref, v); err != nil {
			if ctx.Err() != nil {
				return
			}
			if granary.IsKind(err, granary.KindCorrupt) || granary.IsKind(err, granary.KindNotFound) {
				l.s.log.Warn("a shard has lost committed bytes", "shard", ref, "server", addrs[place.Server], "error", err)
				lost |= 1 << i
				continue
			}
			if r.failed(ref, l.s.now()) {
				l.s.log.Warn("a shard is not sealed yet", "shard", ref, "server", addrs[place.Server], "error", err)
			}
			continue
		}
		news |= 1 << i
	}
	if news != 0 {
		wrong, retry := l.compare(ctx, r, &v, (news|sealed)&^lost, addrs)
		if retry {
			for _, i := range shardList(news) {
				r.failed(refOf(&v, i), l.s.now())
			}
			news = 0
		}
		for _, i := range shardList(wrong) {
			l.s.log.Warn("a shard does not fit the others of its volume: its bytes have changed before it was sealed", "shard", refOf(&v, i), "server", addrs[v.Shards[i].Server])
		}
		news, lost = news&^wrong, lost|wrong
	}
	var items []item
	if news != 0 {
		items = append(items, &shardsSealed{Volume: v.ID, Epoch: v.Epoch, Shards: news})
	}
	if lost != 0 {
		items = append(items, &shardsDamaged{Volume: v.ID, Epoch: v.Epoch, Shards: lost, On: disksIn(&v)})
	}
	if len(items) == 0 {
		return
	}
	results, err := l.prop.propose(ctx, items...)
	if err := failure(err, results); err != nil && ctx.Err() == nil {
		l.s.log.Warn("sealed shards were not recorded", "volume", v.ID, "error", err)
	}
}

// sealShard trims one shard. A volume in which nothing was committed may have shards that were
// never made: those need no sealing.
func (l *leadership) sealShard(ctx context.Context, addr string, ref granary.ShardRef, v granary.Volume) error {
	ctx, cancel := context.WithTimeout(ctx, sealTimeout)
	defer cancel()
	err := l.s.opts.Shards.Seal(ctx, addr, &granary.Seal{
		Ref: ref, Epoch: v.Epoch, DataShards: v.DataShards, ParityShards: v.ParityShards, Length: v.Watermark, End: endOf(&v, int(ref.Shard)),
	})
	if v.Watermark == 0 && granary.IsKind(err, granary.KindNotFound) {
		return nil
	}
	return err
}

// disksIn returns the disks of a volume's shards.
func disksIn(v *granary.Volume) []granary.DiskID {
	disks := make([]granary.DiskID, len(v.Shards))
	for i, s := range v.Shards {
		disks[i] = s.Disk
	}
	return disks
}

// endOf returns how far the file of a shard reaches at least, by what was committed: a data shard up to the end of its last
// block. A parity shard is as long as the longest stream of the last row, and the watermark is that, rounded up.
func endOf(v *granary.Volume, shard int) uint64 {
	if shard >= v.DataShards {
		return v.Watermark - min(v.Watermark, granary.RowAlignment-1)
	}
	if shard < len(v.Ends) {
		return v.Ends[shard]
	}
	return 0
}

func (r *sealer) due(ref granary.ShardRef, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.tries[ref].next)
}

// failed schedules the next try, each twice as late as the one before; true the first time.
func (r *sealer) failed(ref granary.ShardRef, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, again := r.tries[ref]
	t.wait = min(max(2*t.wait, sealBackoffMin), sealBackoffMax)
	t.next = now.Add(t.wait)
	r.tries[ref] = t
	return !again
}

// forget drops what concerns volumes that no longer need sealing.
func (r *sealer) forget(keep []granary.Volume) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make(map[granary.VolumeID]bool, len(keep))
	for _, v := range keep {
		ids[v.ID] = true
	}
	maps.DeleteFunc(r.tries, func(ref granary.ShardRef, _ sealTry) bool { return !ids[ref.Volume] })
	maps.DeleteFunc(r.unsummed, func(ref granary.ShardRef, _ int) bool { return !ids[ref.Volume] })
}
