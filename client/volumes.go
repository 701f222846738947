package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

const (
	excludeFor  = 30 * time.Second // a disk that failed an append gets no new volume of this client for so long
	placeWithin = 5 * time.Second  // how long a volume that cannot be placed is asked for: the master needs a moment to notice changes
	idleFor     = 5 * time.Minute  // a volume without appends is sealed
	sealWithin  = 30 * time.Second // a retired volume is sealed even if commits into it are still outstanding
	tendEvery   = 15 * time.Second

	backoffPlace    = 100 * time.Millisecond
	backoffPlaceMax = time.Second
)

// openVolume is a volume that this client appends to. Its writer's flush, of which there is one at a
// time, owns all but what writer.mu guards.
type openVolume struct {
	granary.Volume
	watermark uint64   // end of the last row
	ends      []uint64 // of each shard: the end of its last append
	held      []uint64 // bytes appended to each data shard

	used    time.Time // of the last append (writer.mu)
	pins    int       // blocks in it whose commit is not settled (writer.mu)
	retired time.Time // when it was given up, or zero (writer.mu)
}

// volume returns the writer's open volume, and opens one if there is none.
func (w *writer) volume(ctx context.Context) (*openVolume, error) {
	w.mu.Lock()
	v := w.vol
	w.mu.Unlock()
	if v != nil && v.Owner == w.c.Session() {
		return v, nil
	}
	// A volume of a session that is gone has been sealed with it.
	v, err := w.open(ctx)
	w.mu.Lock()
	w.vol = v
	if v != nil {
		w.parity = v.ParityShards
		w.widen(v.DataShards * w.c.o.RowSize)
	}
	w.mu.Unlock()
	return v, err
}

// widen changes how many bytes a row takes. Who waits for the row that gathers to be flushed, because it was full, looks again: if
// it is not full any more, nobody flushes it before more has come. w.mu is held.
func (w *writer) widen(full int) {
	if full == w.full {
		return
	}
	w.full = full
	close(w.room)
	w.room = make(chan struct{})
}

// open asks the master for a volume without the disks that failed lately. If that cannot be had it
// asks again for placeWithin, in which the master may notice that a server is back, or gone; and in
// the end once more with all disks allowed, for one that had a bad moment is better than none. Nor
// are disks left out when that would cost an "auto" volume its last parity: that no redundancy can
// be had is for the master to say.
func (w *writer) open(ctx context.Context) (*openVolume, error) {
	deadline := time.Now().Add(placeWithin)
	exclude := w.c.excluded(max(w.parity, 1))
	for backoff := backoffPlace; ; backoff = min(2*backoff, backoffPlaceMax) {
		late := time.Now().After(deadline)
		if late {
			exclude = nil
		}
		r, err := w.c.Do(ctx, granary.Cred{}, &granary.OpenVolume{Policy: w.policy, Exclude: exclude})
		kind := granary.KindOf(err)
		if err == nil {
			v, err := newOpenVolume(r.Volume)
			if err != nil || v.ParityShards > 0 || w.parity == 0 || len(exclude) == 0 {
				return v, err
			}
			w.retire(v)
			exclude = nil
			continue
		}
		if ctx.Err() != nil || late || kind != granary.KindNoSpace && kind != granary.KindUnavailable && kind != granary.KindExpired {
			return nil, err
		}
		w.c.log.Warn("no volume to write to yet", "policy", w.policy, "excluded", len(exclude), "err", err)
		sleep(ctx, backoff)
	}
}

func newOpenVolume(v *granary.Volume) (*openVolume, error) {
	if v == nil {
		return nil, granary.Errorf(granary.KindInternal, "open volume", "", "the answer holds none")
	}
	if v.DataShards < 1 || v.ParityShards < 0 || len(v.Shards) != v.DataShards+v.ParityShards {
		return nil, granary.Errorf(granary.KindInternal, "open volume", "", "volume %d has %d shards, %d+%d", v.ID, len(v.Shards), v.DataShards, v.ParityShards)
	}
	return &openVolume{
		Volume: *v, watermark: v.Watermark, used: time.Now(),
		ends: make([]uint64, len(v.Shards)), held: make([]uint64, v.DataShards),
	}, nil
}

// retire ends appends to a volume. It is sealed once the commits into it are settled: sealed
// earlier, they would be refused and their blocks written once more.
func (w *writer) retire(v *openVolume) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.vol == v {
		w.vol = nil
	}
	if v.retired.IsZero() {
		v.retired = time.Now()
		w.retired = append(w.retired, v)
	}
	w.sealRetired()
}

// unpin says that a block's commit is settled, one way or the other.
func (w *writer) unpin(v *openVolume) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v.pins--
	w.sealRetired()
}

// sealRetired sends the seal of retired volumes that are due. w.mu is held.
func (w *writer) sealRetired() {
	kept := w.retired[:0]
	for _, v := range w.retired {
		if v.pins > 0 && time.Since(v.retired) < sealWithin {
			kept = append(kept, v)
			continue
		}
		w.c.spawn(func() { w.c.seal(v) })
	}
	clear(w.retired[len(kept):])
	w.retired = kept
}

// seal tells the master that a volume gets no more appends. If that fails, the end of the session does.
func (c *Client) seal(v *openVolume) {
	if v.Owner != c.Session() {
		return
	}
	_, err := c.Do(c.ctx, granary.Cred{}, &granary.SealVolume{Volume: v.ID, Epoch: v.Epoch})
	if err != nil && c.ctx.Err() == nil && !granary.IsKind(err, granary.KindStale) {
		c.log.Warn("volume not sealed", "volume", v.ID, "err", err)
	}
}

// exclude keeps a disk that failed an append out of new volumes for a while.
func (c *Client) exclude(disk granary.DiskID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.badDisks[disk] = time.Now().Add(excludeFor)
}

// excluded returns the disks that are to be kept out, but at most n, those that failed last: when
// more than parity covers are slow, it is more likely that this client is.
func (c *Client) excluded(n int) []granary.DiskID {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.badDisks, func(_ granary.DiskID, until time.Time) bool { return time.Now().After(until) })
	disks := slices.SortedFunc(maps.Keys(c.badDisks), func(a, b granary.DiskID) int {
		return cmp.Or(c.badDisks[b].Compare(c.badDisks[a]), cmp.Compare(a, b))
	})
	return disks[:min(n, len(disks))]
}

// tend seals idle volumes, and those that are thinner than what the policy gives by now, until ctx ends.
func (c *Client) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		c.arenas.trim(time.Now())
		c.rooms.trim(time.Now())
		var status *granary.Status
		for _, w := range c.allWriters() {
			v := w.tend()
			if v == nil || !w.auto {
				continue
			}
			if status == nil {
				var err error
				if status, err = Ask[*granary.Status](ctx, c, &granary.GetStatus{}); err != nil {
					break // of no consequence: asked again at the next tick
				}
			}
			if status.Policy.Auto() && status.EffectiveK+status.EffectiveM > len(v.Shards) {
				w.outgrow(v)
			}
		}
	}
}

// tend seals what is due and returns the open volume, if there is one.
func (w *writer) tend() *openVolume {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealRetired()
	v := w.vol
	if v != nil && !w.flying && time.Since(v.used) > idleFor {
		w.vol, v.retired = nil, time.Now()
		w.retired = append(w.retired, v)
		w.scratch = nil
		w.sealRetired()
		return nil
	}
	return v
}

// sealIdle gives up all open volumes that no flush uses.
func (c *Client) sealIdle() {
	for _, w := range c.allWriters() {
		w.mu.Lock()
		v := w.vol
		w.mu.Unlock()
		if v != nil {
			w.outgrow(v)
		}
	}
}

// outgrow gives up a volume, if no flush uses it.
func (w *writer) outgrow(v *openVolume) {
	w.mu.Lock()
	idle := w.vol == v && !w.flying
	w.mu.Unlock()
	if idle {
		w.retire(v)
	}
}
