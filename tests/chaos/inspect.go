//go:build e2e

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/tests/cluster"
	"github.com/dsorchard/granary/volume"
)

// healWithin is how long the cluster may take to be whole again, on a loaded machine.
const healWithin = 4 * time.Minute

// slowHealing is a time after which the log says what was waited for.
const slowHealing = 20 * time.Second

// inspector looks at a cluster from outside: at what the leader says, and at the shards themselves.
type inspector struct {
	f      *cluster.Fleet
	c      *client.Client
	shards *volume.Client
	codes  erasure.Cache

	checked map[granary.VolumeID]*granary.Volume // whose parity was right

	mu       sync.Mutex
	verified map[granary.ShardRef]granary.Time // sealed shards that were read whole in this round, by when they were made
}

func newInspector(t testing.TB, f *cluster.Fleet, d *door) *inspector {
	shards := volume.NewClient()
	t.Cleanup(func() {
		if err := shards.Close(); err != nil {
			t.Error(err)
		}
	})
	return &inspector{f: f, c: d.c, shards: shards}
}

// volumes lists all volumes.
func (n *inspector) volumes(ctx context.Context) ([]granary.Volume, error) {
	var all []granary.Volume
	for q := (granary.ListVolumes{}); ; {
		a, err := client.Ask[*granary.Volumes](ctx, n.c, &q)
		if err != nil {
			return nil, err
		}
		all = append(all, a.Volumes...)
		if !a.More {
			return all, nil
		}
		q.After = all[len(all)-1].ID
	}
}

// awaitWhole waits until the cluster says that it is healthy, repairs nothing, and every sealed shard of every volume is where
// it should be and holds what was sealed: read by its server from the disk, whatever the cluster says.
func (n *inspector) awaitWhole(t testing.TB) time.Duration {
	t.Helper()
	n.verified = map[granary.ShardRef]granary.Time{}
	began := time.Now()
	waited := map[string]time.Duration{} // for what was not whole
	cluster.WaitFor(t, healWithin, "the cluster is whole", func() error {
		asked := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := n.healthy(ctx)
		if err == nil {
			err = n.intact(ctx)
		}
		if err == nil {
			err = n.healthy(ctx)
		}
		if err != nil {
			rest(t.Context(), 200*time.Millisecond) // the machine has other things to do
			waited[err.Error()] += time.Since(asked)
		}
		return err
	})
	took := time.Since(began)
	if took > slowHealing {
		for what, d := range waited {
			if d > slowHealing/8 {
				t.Logf("for %s: %s", d.Round(time.Millisecond), what)
			}
		}
	}
	return took
}

// healthy asks the leader.
func (n *inspector) healthy(ctx context.Context) error {
	st, err := client.Ask[*granary.Status](ctx, n.c, &granary.GetStatus{})
	if err != nil {
		return err
	}
	if st.Health != granary.HealthOK {
		return fmt.Errorf("health is %s: %s\n%s", st.Health, strings.Join(st.Reasons, "; "), n.doing(ctx))
	}
	tasks, err := client.Ask[*granary.Tasks](ctx, n.c, &granary.ListTasks{})
	if err != nil {
		return err
	}
	for _, task := range tasks.Tasks {
		if task.Task.Kind == granary.TaskRepair {
			return fmt.Errorf("volume %d is being repaired: %s", task.Task.Volume, task.Task.Reason)
		}
	}
	return nil
}

// doing tells what the leader does about volumes that are not whole.
func (n *inspector) doing(ctx context.Context) string {
	a, err := client.Ask[*granary.Durability](ctx, n.c, &granary.GetDurability{})
	if err != nil {
		return err.Error()
	}
	var texts []string
	for _, v := range a.Volumes {
		if v.LiveBytes > 0 && (v.Losses < v.ParityShards || v.Doing != "") {
			texts = append(texts, fmt.Sprintf("volume %d (%s) can lose %d: %s", v.Volume, v.State, v.Losses, v.Doing))
		}
	}
	return strings.Join(texts, "\n")
}

// intact reads all shards that should be sealed.
func (n *inspector) intact(ctx context.Context) error {
	all, err := n.volumes(ctx)
	if err != nil {
		return err
	}
	listed := map[granary.ShardRef]granary.ShardInfo{}
	for _, disk := range n.disksOf(all) {
		infos, err := n.shards.List(ctx, disk.Addr, disk.Disk)
		if err != nil {
			return err
		}
		for _, info := range infos {
			listed[info.Ref] = info
		}
	}
	for i := range all {
		v := &all[i]
		if v.State == granary.VolumeOpen || v.State == granary.VolumeDropping || v.LiveBytes == 0 || v.Watermark == 0 {
			continue
		}
		if v.State != granary.VolumeSealed {
			return fmt.Errorf("volume %d is %s", v.ID, v.State)
		}
		for shard, place := range v.Shards {
			ref := granary.ShardRef{Disk: place.Disk, Volume: v.ID, Shard: uint8(shard)}
			if err := n.intactShard(ctx, v, place, listed[ref], ref); err != nil {
				if n.emptied(ctx, v.ID) {
					break
				}
				return err
			}
		}
	}
	return nil
}

// emptied reports whether nothing is left in a volume by now: its shards may be gone.
func (n *inspector) emptied(ctx context.Context, id granary.VolumeID) bool {
	a, err := client.Ask[*granary.VolumeIs](ctx, n.c, &granary.GetVolume{Volume: id})
	return granary.IsKind(err, granary.KindNotFound) || err == nil && a.Volume.LiveBytes == 0
}

func (n *inspector) disksOf(all []granary.Volume) []granary.ShardPlace {
	disks := map[granary.DiskID]granary.ShardPlace{}
	for i := range all {
		for _, place := range all[i].Shards {
			if place.Up {
				disks[place.Disk] = place
			}
		}
	}
	var list []granary.ShardPlace
	for _, place := range disks {
		list = append(list, place)
	}
	return list
}

func (n *inspector) intactShard(ctx context.Context, v *granary.Volume, place granary.ShardPlace, info granary.ShardInfo, ref granary.ShardRef) error {
	if !info.Sealed || info.Length != v.Watermark || info.Damaged != "" || place.Lost || !place.Up {
		return fmt.Errorf("shard %v (watermark %d, live %d) is not whole: %+v, listed %+v", ref, v.Watermark, v.LiveBytes, place, info)
	}
	n.mu.Lock()
	done := n.verified[ref] == info.Created
	n.mu.Unlock()
	if done {
		return nil
	}
	if err := n.shards.Verify(ctx, place.Addr, ref); err != nil {
		return fmt.Errorf("shard %v: %w", ref, err)
	}
	n.mu.Lock()
	n.verified[ref] = info.Created
	n.mu.Unlock()
	return nil
}

// awaitIdle waits until there is no maintenance left to be done: it comes to an end once nobody writes.
func (n *inspector) awaitIdle(t testing.TB) {
	t.Helper()
	cluster.WaitFor(t, healWithin, "maintenance ends", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a, err := client.Ask[*granary.Tasks](ctx, n.c, &granary.ListTasks{})
		if err == nil && len(a.Tasks) > 0 {
			err = fmt.Errorf("%d tasks, the first a %s of volume %d: %s %s", len(a.Tasks), a.Tasks[0].Task.Kind, a.Tasks[0].Task.Volume, a.Tasks[0].Task.Reason, a.Tasks[0].Error)
		}
		return err
	})
}

// consistent waits until nothing is moved any more, and computes the parity of all sealed volumes.
func (n *inspector) consistent(t testing.TB) {
	t.Helper()
	n.awaitIdle(t)
	n.checked = nil
	checked, all := n.parities(t)
	t.Logf("the parity of %d volumes of %d is right", checked, all)
}

// parities computes the parity of all sealed volumes anew, and compares it with what is on the disks. Volumes that change all the
// same, and those that were right before and have not changed, are left out.
func (n *inspector) parities(t testing.TB) (checked, all int) {
	t.Helper()
	list, err := n.volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	right := map[granary.VolumeID]*granary.Volume{}
	for i := range list {
		v := &list[i]
		if v.State != granary.VolumeSealed || v.LiveBytes == 0 || slices.ContainsFunc(v.Shards, func(s granary.ShardPlace) bool { return s.Lost }) {
			continue
		}
		if was := n.checked[v.ID]; was != nil && samePlaces(v, was) {
			right[v.ID] = v
			continue
		}
		err := n.parity(t.Context(), v)
		now, gerr := client.Ask[*granary.VolumeIs](t.Context(), n.c, &granary.GetVolume{Volume: v.ID})
		switch {
		case granary.IsKind(gerr, granary.KindNotFound), gerr == nil && !samePlaces(v, &now.Volume):
		case err != nil || gerr != nil:
			t.Errorf("parity of volume %d: %v", v.ID, errors.Join(err, gerr))
		default:
			right[v.ID] = v
			checked++
		}
	}
	n.checked = right
	return checked, len(list)
}

func samePlaces(a, b *granary.Volume) bool {
	return a.State == b.State && slices.EqualFunc(a.Shards, b.Shards, func(x, y granary.ShardPlace) bool { return x.Disk == y.Disk && x.Lost == y.Lost })
}

func (n *inspector) parity(ctx context.Context, v *granary.Volume) error {
	code, err := n.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		return err
	}
	const step = 1 << 20
	for off := uint64(0); off < v.Watermark; off += step {
		length := min(step, v.Watermark-off)
		streams := make([][]byte, len(v.Shards))
		for i, place := range v.Shards {
			streams[i] = make([]byte, length)
			ref := granary.ShardRef{Disk: place.Disk, Volume: v.ID, Shard: uint8(i)}
			if _, _, err := n.shards.ReadAt(ctx, place.Addr, ref, streams[i], int64(off)); err != nil {
				return err
			}
		}
		if ok, err := code.Verify(streams); err != nil || !ok {
			return fmt.Errorf("between %d and %d it is not that of the data: %v", off, off+length, err)
		}
	}
	return nil
}

// scrub has the disks of a server verified now, as it is done from time to time anyway, and waits for the end.
func (n *inspector) scrub(t testing.TB, server int) {
	t.Helper()
	began := granary.TimeOf(time.Now())
	asked := map[granary.DiskID]bool{}
	cluster.WaitFor(t, healWithin, fmt.Sprintf("the scrub of server %d", server), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		usages, err := n.shards.Usage(ctx, n.f.ServerAddr(server))
		if err != nil {
			return err
		}
		for _, u := range usages {
			if asked[u.Disk] && u.Scrub.Began >= began && u.Scrub.Ended >= u.Scrub.Began && u.Scrub.Total == 0 {
				continue
			}
			// One that is under way began before the damage was done: it is made to end soon.
			if err := n.shards.Scrub(ctx, n.f.ServerAddr(server), u.Disk); err != nil {
				return err
			}
			asked[u.Disk] = asked[u.Disk] || u.Scrub.Total == 0
			return fmt.Errorf("disk %s is at %+v", u.Disk, u.Scrub)
		}
		return nil
	})
}
