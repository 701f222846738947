package master

import (
	"fmt"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

// TestForgottenDiskComesBack: it is a new one.
func TestForgottenDiskComesBack(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	c.do(d.s, &granary.SetDisk{Disk: "s2-d", State: granary.DiskRetired})
	c.do(d.s, &granary.ForgetDisk{Disk: "s2-d"})
	d.live("the disk", func() error {
		a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListDisks{}})
		if err != nil {
			return err
		}
		for _, k := range a.(*granary.Disks).Disks {
			if k.ID == "s2-d" && k.State == granary.DiskActive && k.Up {
				return nil
			}
		}
		return fmt.Errorf("%+v", a)
	})
}

// TestRestoredMasterDropsNothingUnknown: ids that a restore skipped may be of volumes that it does not know. And a copy of a
// shard stays while the shard is not seen where the state says: after the backup it may have been moved there.
func TestRestoredMasterDropsNothingUnknown(t *testing.T) {
	before := headRecord{Cluster: "c", LastVolume: 7}
	if !before.made(7) || before.made(8) {
		t.Error("before a restore: the ids up to the last one are known")
	}
	after, err := skipAhead(before)
	if err != nil {
		t.Fatal(err)
	}
	after.LastVolume += 5
	again, err := skipAhead(after)
	if err != nil {
		t.Fatal(err)
	}
	for v, want := range map[granary.VolumeID]bool{7: true, 8: false, 7 + skipID: false, 8 + skipID: true, 12 + skipID: true, 13 + skipID: false, 12 + 2*skipID: false} {
		if again.made(v) != want {
			t.Errorf("volume %d: %v", v, !want)
		}
	}
	again.Restored = again.Restored[:1] // as if an earlier release had restored it once
	if again.made(7) {
		t.Error("a gap that is not recorded is not known")
	}

	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	moved := granary.DiskID(d.other(v) + "-d")
	d.mu.Lock()
	for i := range 3 { // more than can be rebuilt
		delete(d.disks[v.Shards[i].Disk], v.ID)
	}
	d.put(granary.ShardRef{Disk: moved, Volume: v.ID, Shard: 1}, 4096, true)
	d.mu.Unlock()
	curator := d.s.leading.Load().curator
	curator.mu.Lock()
	clear(curator.listings) // a new leader
	curator.mu.Unlock()
	d.live("the listings", func() error {
		if a := d.durability(); len(a) != 1 || a[0].Losses != -1 || a[0].Doing == "" {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	d.mu.Lock()
	lists := d.lists
	d.mu.Unlock()
	d.live("more listings", func() error {
		d.clock.pass(listEvery)
		d.beat() // or all of them would be down while the disks are listed
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lists < lists+10 {
			return fmt.Errorf("%d", d.lists)
		}
		return nil
	})
	if !d.has(moved, v.ID) {
		t.Error("the only copy was dropped")
	}
}

// TestLateCopyIsNotDropped: what is built while a disk is compared with the state is not taken for what was listed.
func TestLateCopyIsNotDropped(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	spare := granary.DiskID(d.other(v) + "-d")
	ref := granary.ShardRef{Disk: spare, Volume: v.ID, Shard: 1}
	d.mu.Lock()
	d.put(ref, 4096, true)
	stale := d.disks[spare][v.ID]
	delete(d.disks[spare], v.ID)
	d.mu.Unlock()
	curator := d.s.leading.Load().curator
	var found []staleShard
	d.live("a stale shard", func() (err error) {
		var unknown int
		var kept []*granary.ShardInfo
		if found, unknown, kept = curator.stale(spare, []granary.ShardInfo{stale}); len(found) != 1 || unknown != 0 || len(kept) > 0 {
			err = fmt.Errorf("%+v, %d, %v", found, unknown, kept)
		}
		return err
	})
	d.mu.Lock()
	d.put(ref, 4096, true) // as a task makes it, after the listing
	made := d.made
	d.mu.Unlock()
	curator.drop(t.Context(), "s", found[0].info, found[0].epoch)
	if !d.hasMade(spare, v.ID, made) {
		t.Error("it was dropped")
	}
}

// TestMovedShardsAreAdopted: after a restore, shards that were copied elsewhere since the backup are taken where they are, although there are
// too few to make them anew; but not one that does not fit.
func TestMovedShardsAreAdopted(t *testing.T) {
	t.Parallel()
	for _, fits := range []bool{true, false} {
		d := openUpkept(t, 5) // 2+2, and one more
		c := newClient(t, d.s)
		v := d.sealed(c, d.fill(c, "f"))
		spare := granary.DiskID(d.other(v) + "-d")
		st := d.s.states.acquire()
		st.state.applying.Lock()
		st.state.head.Restored = []granary.VolumeID{st.state.head.LastVolume}
		st.state.publish()
		st.state.applying.Unlock()
		st.release()
		d.mu.Lock()
		delete(d.disks[v.Shards[1].Disk], v.ID) // it was drained, and its shard is on the spare disk
		d.mu.Unlock()
		becomes := func(what string, is func(granary.ShardPlace) bool) {
			d.live(what, func() error {
				d.clock.pass(listEvery)
				d.beat() // or all of them would be down while the disks are listed
				now, err := d.volume(v.ID)
				if err != nil || !is(now.Shards[1]) {
					return fmt.Errorf("%+v, %w", now.Shards[1], err)
				}
				return nil
			})
		}
		becomes("the lost shard", func(s granary.ShardPlace) bool { return s.Lost })
		ref := granary.ShardRef{Disk: spare, Volume: v.ID, Shard: 1}
		d.mu.Lock()
		d.put(ref, 4096, true)
		if !fits {
			d.sums[ref] = granary.ShardSums{Sums: append(make([]byte, erasure.SumSize-1), 1)}
		}
		lists := d.lists
		d.mu.Unlock()
		becomes("its place", func(s granary.ShardPlace) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return fits && s.Disk == spare || !fits && s.Lost && d.lists > lists+10
		})
		if now, _ := d.volume(v.ID); fits && (now.Redundancy() != 2 || now.Shards[1].Lost) || !fits && now.Shards[1].Disk != v.Shards[1].Disk {
			t.Errorf("%+v", now)
		}
		if !d.has(spare, v.ID) {
			t.Error("the copy was dropped")
		}
	}
}
