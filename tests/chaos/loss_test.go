//go:build e2e

package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/cluster"
)

// scene is a cluster with some files, and nobody who writes.
type scene struct {
	f *cluster.Fleet
	d *door // without a cache
	n *inspector
	l *load
}

// newScene starts a cluster and writes files of such sizes, so many at a time.
func newScene(t *testing.T, sizes []int, parallel int) *scene {
	s := &scene{f: cluster.StartFleet(t, mastersN, serversN, disksN, nil), l: &load{seed: seed(t)}}
	s.d = openDoor(t, s.f, "verifier", 1)
	s.n = newInspector(t, s.f, s.d)
	s.write(t, "scene", sizes, parallel)
	return s
}

// write writes files by a client of its own, which seals its volumes when it ends.
func (s *scene) write(t *testing.T, dir string, sizes []int, parallel int) {
	t.Helper()
	d := openDoor(t, s.f, "writer of "+dir, 0)
	queue := make(chan *file)
	var writers sync.WaitGroup
	for range parallel {
		writers.Go(func() {
			for f := range queue {
				if err := d.put(t.Context(), f.path, f.is()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, size := range sizes {
		f := s.l.truth.add(fmt.Sprintf("%s/%04d", dir, i))
		f.set(content{{Seed: s.l.seed + uint64(len(s.l.truth.files)), N: size}})
		queue <- f
	}
	close(queue)
	writers.Wait()
	if err := d.c.Close(); err != nil {
		t.Fatal(err)
	}
}

// diskAt is where a disk is, from 1 on.
type diskAt struct{ server, disk int }

// disks says where disks are.
func (s *scene) disks(t *testing.T) map[granary.DiskID]diskAt {
	t.Helper()
	a, err := client.Ask[*granary.Disks](t.Context(), s.d.c, &granary.ListDisks{})
	if err != nil {
		t.Fatal(err)
	}
	at := map[granary.DiskID]diskAt{}
	for _, disk := range a.Disks {
		for i := 1; i <= serversN; i++ {
			for d := 1; d <= disksN; d++ {
				if disk.Usage.Path == s.f.DiskDir(i, d) {
					at[disk.ID] = diskAt{i, d}
				}
			}
		}
	}
	if len(at) != serversN*disksN {
		t.Fatalf("%d disks are known, not %d", len(at), serversN*disksN)
	}
	return at
}

// affected returns the files that have a block on one of the disks that are gone, which too few other shards are left for: true
// for those that cannot be read by any means, false for those that might be, because others of the lost shards have nothing at that
// place, and a reader may guess so: the hash of the chunk tells whether it was right.
func (s *scene) affected(t *testing.T, lost map[granary.DiskID]bool) map[string]bool {
	t.Helper()
	type spot struct {
		volume granary.VolumeID
		shard  int
	}
	volumes := map[granary.VolumeID]*granary.Volume{}
	blocks := map[spot][]granary.Location{}
	of := map[string][]granary.BlockInfo{}
	for _, f := range s.l.truth.all() {
		found, err := client.Ask[*granary.Found](t.Context(), s.d.c, &granary.Lookup{Base: granary.RootInode, Path: f.path, Layout: &granary.Range{Length: 1 << 40}})
		if err != nil {
			t.Fatal(err)
		}
		if found.Layout.Truncated {
			t.Fatalf("the layout of %s is not whole", f.path)
		}
		of[f.path] = found.Layout.Blocks
		for i := range found.Layout.Volumes {
			volumes[found.Layout.Volumes[i].ID] = &found.Layout.Volumes[i]
		}
		for _, b := range found.Layout.Blocks {
			at := spot{b.Location.Volume, int(b.Location.Shard)}
			blocks[at] = append(blocks[at], b.Location)
		}
	}
	hit := map[string]bool{}
	for path, list := range of {
		for _, b := range list {
			v, left, holes := volumes[b.Location.Volume], 0, 0
			for i, place := range v.Shards {
				switch {
				case !lost[place.Disk]:
					left++
				case i < v.DataShards && !slices.ContainsFunc(blocks[spot{v.ID, i}], func(o granary.Location) bool {
					return o.Offset < b.Location.Offset+uint64(b.Location.Length) && b.Location.Offset < o.Offset+uint64(o.Length)
				}):
					holes++
				}
			}
			if lost[v.Shards[b.Location.Shard].Disk] && left < v.DataShards {
				hit[path] = hit[path] || left+holes < v.DataShards
			}
		}
	}
	return hit
}

// TestMoreThanMLost: with three disks gone, of a code that bears the loss of two, exactly the files fail that have blocks on
// them which too few other shards are left for. What can be repaired is; writes go on; and when the disks are back, so are the
// files.
func TestMoreThanMLost(t *testing.T) {
	sizes := make([]int, 250)
	for i := range sizes {
		sizes[i] = 20<<10 + rand.IntN(600<<10)
	}
	s := newScene(t, sizes, 4)
	u := granary.DefaultUpkeep()
	u.RepairGrace = granary.Time(repairGrace)
	if _, err := s.d.c.Do(t.Context(), granary.Cred{}, &granary.SetUpkeep{Upkeep: u}); err != nil {
		t.Fatal(err)
	}
	s.n.awaitWhole(t)
	at := s.disks(t)
	all, err := s.n.volumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lost, hit, hopeless := s.choose(t, all)
	if hopeless == 0 {
		t.Fatalf("there are no three disks of a volume without which some of %d files are lost, and others not: the test would show nothing", len(sizes))
	}

	back := s.take(t, at, lost)
	cluster.WaitFor(t, healWithin, "what can be repaired is", func() error { return s.settledWithLoss(t) })
	s.checkLoss(t, hit)
	s.write(t, "meanwhile", []int{10, 100 << 10, 3 << 20}, 1)
	s.checkLoss(t, hit)

	back()
	s.f.AwaitServers(t)
	took := s.n.awaitWhole(t)
	s.l.verifyAll(t, s.d)
	s.n.consistent(t)
	t.Logf("%d files of %d were lost for the time, of %d volumes; whole %s after the disks were back", hopeless, len(sizes), len(all), took.Round(time.Millisecond))
}

// choose finds disks of a volume, one more than it can lose, without which some files are lost and others are not: how full the
// volumes came to be is chance. It returns the files that are affected, and how many of them are lost for certain.
func (s *scene) choose(t *testing.T, all []granary.Volume) (lost map[granary.DiskID]bool, hit map[string]bool, hopeless int) {
	t.Helper()
	slices.SortFunc(all, func(a, b granary.Volume) int { return cmp.Compare(b.LiveBytes, a.LiveBytes) })
	for _, v := range all {
		if v.LiveBytes == 0 || v.ParityShards != parityN {
			continue
		}
		lost, hopeless = map[granary.DiskID]bool{}, 0
		for _, place := range v.Shards[:parityN+1] {
			lost[place.Disk] = true
		}
		hit = s.affected(t, lost)
		for _, h := range hit {
			if h {
				hopeless++
			}
		}
		if hopeless > 0 && len(hit) < len(s.l.truth.all()) {
			return lost, hit, hopeless
		}
	}
	return nil, nil, 0
}

// take takes disks out of servers that are down for that. The function that it returns puts them back in.
func (s *scene) take(t *testing.T, at map[granary.DiskID]diskAt, disks map[granary.DiskID]bool) (back func()) {
	t.Helper()
	servers := map[int]bool{}
	move := func(from, to string) {
		for id := range disks {
			dir := s.f.DiskDir(at[id].server, at[id].disk)
			if err := os.Rename(dir+from, dir+to); err != nil {
				t.Fatal(err)
			}
			servers[at[id].server] = true
		}
	}
	again := func(from, to string) {
		for id := range disks {
			servers[at[id].server] = true
		}
		for i := range servers {
			s.f.KillServer(t, i)
		}
		move(from, to)
		for i := range servers {
			s.f.StartServer(t, i)
		}
	}
	again("", ".away")
	return func() { again(".away", "") }
}

// settledWithLoss reports whether the cluster knows of the loss, and repairs nothing any more.
func (s *scene) settledWithLoss(t *testing.T) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := client.Ask[*granary.Status](ctx, s.d.c, &granary.GetStatus{})
	if err != nil {
		return err
	}
	if st.Health != granary.HealthDataLoss || st.ServersUp != serversN {
		return fmt.Errorf("health is %s, %d servers are up: %s", st.Health, st.ServersUp, strings.Join(st.Reasons, "; "))
	}
	a, err := client.Ask[*granary.Durability](ctx, s.d.c, &granary.GetDurability{})
	if err != nil {
		return err
	}
	for _, v := range a.Volumes {
		if v.LiveBytes > 0 && v.Losses >= 0 && v.Losses < v.ParityShards {
			return fmt.Errorf("volume %d can lose %d: %s", v.Volume, v.Losses, v.Doing)
		}
	}
	return nil
}

// checkLoss reads all files: those that are affected fail, by an error that names them and the block, and the others do not.
func (s *scene) checkLoss(t *testing.T, hit map[string]bool) {
	t.Helper()
	d := openDoor(t, s.f, "reader of what is left", 1)
	for _, f := range s.l.truth.all() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		got, err := d.read(ctx, f.path)
		cancel()
		hopeless, affected := hit[f.path]
		if !affected || !hopeless && err == nil {
			if err == nil {
				err = compare(f.path, got, f.allowed)
			}
			if err != nil {
				t.Errorf("%s is not affected: %v", f.path, err)
			}
			continue
		}
		switch {
		case err == nil:
			t.Errorf("%s was read, with blocks of it gone: %v", f.path, compare(f.path, got, f.allowed))
		case !granary.IsKind(err, granary.KindUnavailable) && !granary.IsKind(err, granary.KindCorrupt):
			t.Errorf("%s fails by the wrong kind of error: %v", f.path, err)
		case !strings.Contains(err.Error(), f.path) || !strings.Contains(err.Error(), "block "):
			t.Errorf("the error does not name %s and the block: %v", f.path, err)
		}
		if t.Failed() {
			return
		}
	}
}
