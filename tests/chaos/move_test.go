//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/tests/cluster"
)

// setDisk changes the state of a disk.
func (s *scene) setDisk(id granary.DiskID, state granary.DiskState) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.d.c.Do(ctx, granary.Cred{}, &granary.SetDisk{Disk: id, State: state})
	return err
}

// disk asks for a disk.
func (s *scene) disk(ctx context.Context, id granary.DiskID) (granary.Disk, error) {
	a, err := client.Ask[*granary.Disks](ctx, s.d.c, &granary.ListDisks{})
	if err != nil {
		return granary.Disk{}, err
	}
	for _, d := range a.Disks {
		if d.ID == id {
			return d, nil
		}
	}
	return granary.Disk{}, fmt.Errorf("disk %s is not listed", id)
}

// TestDrain: two disks of different servers are drained while clients write and read, until they hold nothing and can be
// retired; every byte is right, and the shards that they held are gone from them.
func TestDrain(t *testing.T) {
	sizes := make([]int, 60)
	for i := range sizes {
		sizes[i] = rand.IntN(2 << 20)
	}
	s := newScene(t, sizes, 4)
	upkeep(t, s.d)
	stop := s.l.run(t, s.f)
	defer stop()
	at := s.disks(t)
	drained := map[int]granary.DiskID{}
	for id, place := range at {
		if place.disk == 1 && place.server <= 2 {
			drained[place.server] = id
		}
	}
	began := time.Now()
	for _, id := range drained {
		if err := s.setDisk(id, granary.DiskDraining); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range drained {
		cluster.WaitFor(t, healWithin, "the drained disk holds nothing", func() error {
			d, err := s.disk(t.Context(), id)
			if err == nil && d.Volumes+d.Usage.Shards > 0 {
				err = fmt.Errorf("%d volumes have a shard on it, and there are %d shards\n%s", d.Volumes, d.Usage.Shards, s.n.doing(t.Context()))
			}
			return err
		})
		if err := s.setDisk(id, granary.DiskRetired); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	stop()
	s.n.awaitWhole(t)
	s.l.verifyAll(t, s.d)
	s.n.consistent(t)
	t.Logf("two disks were emptied in %s, during %d operations", took.Round(time.Millisecond), s.l.ops.Load())
}

// TestPack: files that were written one at a time, in rows of one block, take three times their size. They are packed into full
// rows; then all are removed, and the space comes back.
func TestPack(t *testing.T) {
	sizes := make([]int, 800)
	for i := range sizes {
		sizes[i] = 40 << 10
	}
	s := newScene(t, sizes, 2)
	before, err := s.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ratio(before) < 2 {
		t.Fatalf("%.2f bytes are stored for each: the test would show nothing", ratio(before))
	}
	upkeep(t, s.d)
	const packed = 1.75
	cluster.WaitFor(t, healWithin, "thin rows are packed", func() error {
		st, err := s.status(t.Context())
		if err == nil && ratio(st) > packed {
			err = fmt.Errorf("%.2f bytes are stored for each, in %d volumes\n%s", ratio(st), st.Volumes, s.n.doing(t.Context()))
		}
		return err
	})
	s.n.awaitWhole(t)
	s.l.verifyAll(t, s.d)
	s.n.consistent(t)
	after, err := s.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.2f bytes were stored for each, in %d volumes, and now %.2f, in %d", ratio(before), before.Volumes, ratio(after), after.Volumes)

	for _, f := range s.l.truth.all() {
		if err := s.d.fs.Remove(t.Context(), granary.RootInode, f.path, filer.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		f.set(nil)
	}
	cluster.WaitFor(t, healWithin, "the space of removed files comes back", func() error {
		st, err := s.status(t.Context())
		if err == nil && (st.Volumes > 0 || st.StoredBytes > 0) {
			err = fmt.Errorf("%d volumes take %d bytes", st.Volumes, st.StoredBytes)
		}
		return err
	})
	s.l.verifyAll(t, s.d)
}

func (s *scene) status(ctx context.Context) (*granary.Status, error) {
	return client.Ask[*granary.Status](ctx, s.d.c, &granary.GetStatus{})
}

// ratio is how many bytes are on the disks for each byte of content.
func ratio(st *granary.Status) float64 {
	return float64(st.StoredBytes) / float64(max(st.UniqueBytes, 1))
}
