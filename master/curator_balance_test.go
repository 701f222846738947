package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

// TestBalanceOfManyDisks: full disks give shards to empty ones at the same time, each empty one takes one, no volume is in two copies, and what is
// under way counts.
func TestBalanceOfManyDisks(t *testing.T) {
	s := sceneOf("//s1", "//s2", "//s3", "//s4", "//s5", "//s6", "//s7", "//s8")
	for i := range 4 {
		s.disks[i].used, s.disks[i].free = 18<<30, 2<<30
	}
	for i := 4; i < 8; i++ {
		s.disks[i].used, s.disks[i].free = 1<<30, 19<<30
	}
	for range 6 {
		s.volume(2, 2).record.Auto = false
	}
	p := planWork(s)
	from, to, volumes := map[int32]int{}, map[int32]int{}, map[granary.VolumeID]int{}
	for _, n := range p.needs {
		if n.kind != granary.TaskCopy || n.cause != causeBalance {
			t.Fatalf("%s", p.show())
		}
		from[n.v.at[n.shard]]++
		to[n.fixed]++
		volumes[n.volume]++
	}
	if len(p.needs) != 4 || len(from) != 4 || len(to) != 4 || len(volumes) != 4 {
		t.Fatalf("%s: from %v, to %v", p.show(), from, to)
	}
	for i := range 4 { // they are being copied
		s.disks[i].leavers, s.disks[i].leaving = 1, 512<<20
		s.disks[4+i].tasks, s.disks[4+i].coming = 1, 512<<20
	}
	if p = planWork(s); len(p.needs) != 0 {
		t.Fatalf("more: %s", p.show())
	}
	s.disks[4].tasks, s.disks[4].coming = 0, 0
	if p = planWork(s); len(p.needs) != 1 || p.needs[0].fixed != 4 {
		t.Fatalf("%s", p.show())
	}
	for i := range 4 {
		s.disks[i].leavers = balancePerDisk
	}
	if p = planWork(s); len(p.needs) != 0 {
		t.Fatalf("too many from one disk: %s", p.show())
	}
}

// TestBalanceEnds: what would make the other disk the fuller one stays, and so do shards of volumes that others are made of.
func TestBalanceEnds(t *testing.T) {
	s := sceneOf("//s1", "//s2", "//s3", "//s4", "//s5")
	s.disks[0].used, s.disks[0].free = 1<<30, 9<<30
	for i := 1; i < 5; i++ {
		s.disks[i].used, s.disks[i].free = 600<<20, 9<<30+424<<20
	}
	s.volume(2, 1).record.Auto = false
	if p := planWork(s); len(p.needs) != 0 {
		t.Fatalf("%s", p.show())
	}
	s.disks[0].used, s.disks[0].free = 9<<30, 1<<20 // it takes nothing, and gives all the same
	if p := planWork(s); len(p.needs) != 1 || p.needs[0].v.at[p.needs[0].shard] != 0 {
		t.Fatalf("%s", p.show())
	}
	s.volume(2, 1, 1, 2, 3).record.Lost = 1
	if p := planWork(s); p.show() != "repair 2.0" {
		t.Fatalf("beside a repair: %s", p.show())
	}
}
