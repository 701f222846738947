package master

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// testNow is long after anything of a test began.
const testNow = granary.Time(1e18)

// sceneOf makes a scene of disks that are here, by the lines of fleet.
func sceneOf(lines ...string) *scene {
	s := &scene{
		now: testNow, upkeep: granary.DefaultUpkeep(), indexed: true, steady: map[string]granary.Time{},
		policies: map[granary.PolicyID]granary.Policy{1: granary.DefaultPolicy(), 2: {DataShards: 4, ParityShards: 2}, 3: {Class: "ssd"}},
	}
	for _, c := range fleet(lines...) {
		s.disks = append(s.disks, diskFacts{candidate: c, state: granary.DiskActive, here: true, total: 20 << 30, used: 10 << 30})
	}
	return s
}

// volume adds a sealed volume of 1 GiB of full rows on the first disks, or on those that are given.
func (s *scene) volume(k, m int, at ...int32) *volumeFacts {
	id := granary.VolumeID(len(s.volumes) + 1)
	if at == nil {
		for i := range k + m {
			at = append(at, int32(i))
		}
	}
	length := uint64(1<<30) / uint64(k)
	v := &volumeFacts{id: id, at: at, record: &volumeRecord{
		Epoch: 2, State: granary.VolumeSealed, DataShards: k, ParityShards: m, Watermark: length, LiveBytes: 1 << 30,
		Sealed: 1<<(k+m) - 1, Policy: 1, Auto: true,
	}}
	for range k {
		v.record.Ends = append(v.record.Ends, length)
	}
	for _, d := range at {
		v.record.Disks = append(v.record.Disks, s.disks[d].disk)
	}
	s.volumes = append(s.volumes, v)
	return v
}

func (s *scene) lose(disks ...int) {
	for _, d := range disks {
		s.disks[d].here, s.disks[d].gone = false, "gone"
	}
}

// show writes the needs of a plan in a line each.
func (p *plan) show() string {
	var lines []string
	for _, n := range p.needs {
		what := fmt.Sprintf("%s %d", n.kind, n.volume)
		switch n.kind {
		case granary.TaskRepair, granary.TaskCopy:
			what += fmt.Sprintf(".%d", n.shard)
		case granary.TaskSweep:
			what = fmt.Sprintf("sweep %d", n.root)
		}
		lines = append(lines, what)
	}
	for _, v := range p.seal {
		lines = append(lines, fmt.Sprintf("seal %d", v.id))
	}
	for _, id := range p.condemn {
		lines = append(lines, fmt.Sprintf("condemn %d", id))
	}
	for _, v := range p.expired {
		lines = append(lines, fmt.Sprintf("drop %d", v.id))
	}
	for _, v := range p.pointing {
		lines = append(lines, fmt.Sprintf("clear %d", v.id))
	}
	return strings.Join(lines, ", ")
}

func sixServers() *scene { return sceneOf("//s1", "//s2", "//s3", "//s4", "//s5", "//s6", "//s7") }

func TestPlan(t *testing.T) {
	minute := granary.Time(time.Minute)
	for _, tt := range []struct {
		name string
		make func() *scene
		want string
	}{
		{"all is well", func() *scene { s := sixServers(); s.volume(4, 2); return s }, ""},
		{"a disk is gone", func() *scene { s := sixServers(); s.volume(4, 2); s.lose(2); return s }, "repair 1.2"},
		{"fewest shards left first", func() *scene {
			s := sixServers()
			s.volume(4, 2)
			s.volume(4, 2).record.Lost = 1
			s.volume(4, 2, 6, 1, 3, 4, 5, 0)
			s.lose(2)
			return s
		}, "repair 2.0, repair 1.2"},
		{"who has a target is first", func() *scene {
			s := sixServers()
			v := s.volume(4, 2)
			v.record.Lost, v.aims = 3, []int32{-1, 6, -1, -1, -1, -1}
			return s
		}, "repair 1.1"},
		{"a server that is away for a while is waited for", func() *scene { s := sixServers(); s.volume(4, 2); s.disks[0].here = false; return s }, ""},
		{"too few shards", func() *scene { s := sixServers(); s.volume(4, 2); s.lose(0, 1, 2); return s }, ""},
		{"too few whole shards, but they are there", func() *scene { s := sixServers(); s.volume(4, 2).record.Lost = 7; return s }, "repair 1.0"},
		{"not sealed yet", func() *scene {
			s := sixServers()
			v := s.volume(4, 2)
			v.record.State, v.record.Sealed, v.record.Lost = granary.VolumeSealing, 0b001110, 1
			return s
		}, ""},
		{"nothing alive, and a disk that cannot seal", func() *scene {
			s := sixServers()
			v := s.volume(4, 2)
			v.record.State, v.record.Sealed, v.record.LiveBytes = granary.VolumeSealing, 0b011111, 0
			s.disks[5].failing = "input/output error"
			return s
		}, "condemn 1"},
		{"sealed where it can be", func() *scene {
			s := sixServers()
			v := s.volume(4, 2)
			v.record.State, v.record.Sealed = granary.VolumeSealing, 0b011110
			s.lose(0)
			return s
		}, "repair 1.0"},
		{"a drain, after a repair", func() *scene {
			s := sixServers()
			s.disks[0].state = granary.DiskDraining
			s.volume(4, 2)
			s.volume(4, 2, 1, 2, 3, 4, 5, 6).record.Lost = 2
			return s
		}, "repair 2.1, copy 1.0"},
		{"a lost disk is no source", func() *scene {
			s := sixServers()
			s.disks[0].state, s.disks[0].gone = granary.DiskLost, "lost"
			s.volume(4, 2)
			return s
		}, "repair 1.0"},
		{"an open volume on a disk that is gone", func() *scene {
			s := sixServers()
			s.volume(4, 2).record.State = granary.VolumeOpen
			s.volume(4, 2, 1, 2, 3, 4, 5, 6).record.State = granary.VolumeOpen
			s.volumes[1].grown = testNow.Std()
			s.lose(0)
			return s
		}, "seal 1"},
		{"too many in a rack", func() *scene {
			s := sceneOf("/r1/s1", "/r1/s2", "/r2/s3", "/r3/s4")
			s.volume(2, 1, 0, 1, 2)
			return s
		}, "copy 1.0"},
		{"too many in a rack, and nowhere to go", func() *scene { s := sceneOf("/r1/s1", "/r1/s2", "/r2/s3"); s.volume(2, 1); return s }, ""},
		{"of another class", func() *scene {
			s := sixServers()
			for i := 3; i < 7; i++ {
				s.disks[i].class = "ssd"
			}
			s.volume(2, 1, 2, 3, 4).record.Policy = 3
			return s
		}, "copy 1.0"},
		{"nothing alive", func() *scene { s := sixServers(); s.volume(4, 2).record.LiveBytes = 0; s.lose(0); return s }, "condemn 1"},
		{"nothing alive for long", func() *scene {
			s := sixServers()
			for i := range 2 {
				r := s.volume(4, 2).record
				r.State, r.LiveBytes, r.DroppingAt = granary.VolumeDropping, 0, testNow-granary.Time(9+2*i)*minute
			}
			return s
		}, "drop 2"},
		{"half dead", func() *scene {
			s := sixServers()
			for range 3 {
				r := s.volume(4, 2).record
				r.LiveBytes, r.DeadBytes = 1<<29, 1<<29
			}
			s.volumes[1].record.SealedAt = testNow - 29*minute // young
			s.volumes[2].record.LiveBytes = 1 << 28            // more to gain
			return s
		}, "move 3, move 1"},
		{"asked for", func() *scene {
			s := sixServers()
			for range 2 {
				s.volume(4, 2)
			}
			s.volumes[0].record.SealedAt = testNow // young
			s.volumes[0].record.Moving = true
			s.volumes[1].record.LiveBytes, s.volumes[1].record.DeadBytes = 1<<29, 1<<29
			return s
		}, "move 1, move 2"},
		{"thin rows", func() *scene {
			s := sixServers()
			r := s.volume(4, 2).record
			r.LiveBytes, r.Watermark = 100<<20, 100<<20
			return s
		}, "move 1"},
		{"rows of several writers, of streams, and with some dead", func() *scene {
			s := sixServers()
			for range 3 {
				s.volume(4, 2)
			}
			s.volumes[0].record.Watermark = 433 << 20 // 1.85 times what lives
			s.volumes[1].record.Watermark = 340 << 20 // 1.66
			r := s.volumes[2].record
			r.DeadBytes = r.LiveBytes / 8
			r.LiveBytes -= r.DeadBytes
			return s
		}, "move 1"},
		{"a lone block is as good as it gets", func() *scene {
			s := sixServers()
			r := s.volume(4, 2).record
			r.LiveBytes, r.Watermark = 1<<20, 1<<20
			return s
		}, ""},
		{"thin rows, and nobody writes any more", func() *scene {
			s := sixServers()
			for range 2 {
				r := s.volume(4, 2).record
				r.State, r.LiveBytes, r.Watermark = granary.VolumeOpen, 100<<20, 100<<20
			}
			s.volumes[1].grown = (testNow - 5*minute).Std()
			return s
		}, "seal 1"},
		{"wider", func() *scene { s := sixServers(); s.volume(2, 1); return s }, "move 1"},
		{"wider, but not for long", func() *scene {
			s := sixServers()
			s.volume(2, 1)
			s.steady[""] = testNow - 14*minute
			return s
		}, ""},
		{"narrower", func() *scene {
			s := sceneOf("//s1", "//s2", "//s3", "//s4", "//s5", "//s6")
			s.volume(4, 2)
			s.disks[0].writable = false
			return s
		}, ""},
		{"a policy of its own", func() *scene {
			s := sixServers()
			r := s.volume(2, 1).record
			r.Policy, r.Auto = 2, false
			return s
		}, ""},
		{"blocks are not entered by place yet", func() *scene { s := sixServers(); s.volume(2, 1); s.indexed = false; return s }, ""},
		{"an empty disk", func() *scene {
			s := sixServers()
			s.volume(4, 2)
			s.disks[6].used, s.disks[6].free = 0, 20<<30
			s.disks[3].used, s.disks[3].free = 12<<30, 8<<30
			return s
		}, "copy 1.3"},
		{"an empty disk of another class", func() *scene {
			s := sixServers()
			s.volume(4, 2)
			s.disks[6].used, s.disks[6].free, s.disks[6].class = 0, 20<<30, "ssd"
			return s
		}, ""},
		{"an empty disk that would break the rule", func() *scene {
			s := sceneOf("//s1 2", "//s2", "//s3")
			s.volume(2, 1, 0, 2, 3)
			s.disks[1].used, s.disks[1].free = 0, 20<<30
			return s
		}, "copy 1.0"},
		{"sweeps come last", func() *scene {
			s := sixServers()
			s.volume(2, 1)
			s.sweeps = []sweepMark{{Inode: 9, Marked: 100}}
			return s
		}, "move 1, sweep 9"},
		{"a target that nothing is made on", func() *scene {
			s := sixServers()
			s.volume(4, 2).aims = []int32{6, -1, -1, -1, -1, -1}
			return s
		}, "clear 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.make()
			p := planWork(s)
			if got := p.show(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for i := range p.needs {
				if s.reason(&p.needs[i]) == "" {
					t.Errorf("no reason for %+v", p.needs[i])
				}
			}
		})
	}
}

func TestTarget(t *testing.T) {
	for _, tt := range []struct {
		name   string
		make   func() (*scene, *volumeFacts)
		shard  int
		beside granary.ServerID
		want   string // servers that may get it, "" for nobody
	}{
		{"the spare", func() (*scene, *volumeFacts) { s := sixServers(); v := s.volume(4, 2); s.lose(0); return s, v }, 0, "", "//s7"},
		{"two in a domain", func() (*scene, *volumeFacts) {
			s := sceneOf("//s1 2", "//s2", "//s3", "//s4", "//s5", "//s6")
			v := s.volume(4, 2, 0, 2, 3, 4, 5, 6)
			s.lose(6)
			return s, v
		}, 5, "", "//s1"},
		{"one in a domain", func() (*scene, *volumeFacts) {
			s := sceneOf("//s1 2", "//s2 2", "//s3")
			v := s.volume(2, 1, 0, 2, 4)
			s.lose(4)
			return s, v
		}, 2, "", ""},
		{"where it was", func() (*scene, *volumeFacts) {
			s := sceneOf("//s1", "//s2", "//s3")
			v := s.volume(2, 1)
			v.record.Lost = 2
			return s, v
		}, 1, "", "//s2"},
		{"the least full", func() (*scene, *volumeFacts) {
			s := sceneOf("//s1", "//s2", "//s3", "//s4", "//s5")
			v := s.volume(2, 1)
			s.lose(0)
			s.disks[3].used = 1 << 30
			return s, v
		}, 0, "//s5", "//s4"},
		{"beside the worker", func() (*scene, *volumeFacts) {
			s := sceneOf("//s1", "//s2", "//s3", "//s4", "//s5")
			v := s.volume(2, 1)
			s.lose(0)
			return s, v
		}, 0, "//s5", "//s5"},
		{"not draining, full, busy or another shard's target", func() (*scene, *volumeFacts) {
			s := sceneOf("//s1", "//s2", "//s3", "//s4", "//s5", "//s6", "//s7")
			v := s.volume(2, 1)
			s.lose(0)
			s.disks[3].state, s.disks[4].free, s.disks[5].tasks = granary.DiskDraining, 100<<20, tasksPerDisk
			v.aims = []int32{-1, 6, -1}
			return s, v
		}, 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, v := tt.make()
			got := ""
			if to := s.target(v, tt.shard, tt.beside, -1); to >= 0 {
				got = string(s.disks[to].server)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// drawScene makes any scene.
func drawScene(t *rapid.T) *scene {
	var lines []string
	for i := range rapid.IntRange(1, 8).Draw(t, "servers") {
		lines = append(lines, fmt.Sprintf("z%d/r%d/s%d %d", rapid.IntRange(0, 1).Draw(t, "zone"), rapid.IntRange(0, 2).Draw(t, "rack"), i,
			rapid.IntRange(1, 3).Draw(t, "disks")))
	}
	s := sceneOf(lines...)
	for i := range s.disks {
		d := &s.disks[i]
		switch rapid.IntRange(0, 9).Draw(t, "disk") {
		case 0:
			s.lose(i)
		case 1:
			d.here = false
		case 2:
			d.state = rapid.SampledFrom([]granary.DiskState{granary.DiskSuspect, granary.DiskDraining, granary.DiskRetired}).Draw(t, "state")
		case 3:
			d.free = 0
		case 4:
			d.used, d.free = 0, 20<<30
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "volumes") {
		n := rapid.IntRange(1, len(s.disks)).Draw(t, "shards")
		m := rapid.IntRange(0, min(n-1, granary.ParityShardsMax)).Draw(t, "m")
		if n-m > granary.DataShardsMax {
			continue
		}
		at := rapid.Permutation(numbers(len(s.disks))).Draw(t, "at")
		v := s.volume(n-m, m, at[:n]...)
		r := v.record
		r.State = rapid.SampledFrom([]granary.VolumeState{granary.VolumeOpen, granary.VolumeSealing, granary.VolumeSealed, granary.VolumeSealed, granary.VolumeDropping}).Draw(t, "volume")
		if r.State == granary.VolumeSealing || r.State == granary.VolumeOpen {
			r.Sealed = 0
		}
		if r.State == granary.VolumeSealing {
			r.Sealed = rapid.Uint32().Draw(t, "sealed") & (1<<n - 1)
		}
		if r.State != granary.VolumeOpen {
			r.Lost = rapid.SampledFrom([]uint32{0, 0, 0, 1, 2, 5}).Draw(t, "lost") & (1<<n - 1)
		}
		r.LiveBytes = rapid.SampledFrom([]uint64{0, 1 << 20, 1 << 29, 1 << 30}).Draw(t, "live")
		if n < len(at) && rapid.IntRange(0, 3).Draw(t, "aim") == 0 {
			v.aims = slices.Repeat([]int32{-1}, n)
			v.aims[rapid.IntRange(0, n-1).Draw(t, "shard")] = at[n]
		}
	}
	return s
}

func numbers(n int) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// TestPlanProperties: whatever has happened, a volume has one task at most; who has fewer shards than are needed is left alone;
// the volumes with the fewest shards left are first, and repairs before all else; and no target breaks a rule.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		p := planWork(s)
		seen := map[granary.VolumeID]bool{}
		var before need
		for i, n := range p.needs {
			if seen[n.volume] {
				t.Fatalf("two tasks on volume %d: %s", n.volume, p.show())
			}
			seen[n.volume] = true
			if i > 0 && (n.kind < before.kind || n.kind == before.kind && n.spare < before.spare) {
				t.Fatalf("%+v comes after %+v", n, before)
			}
			before = n
			checkNeed(t, s, n)
		}
		for _, v := range s.volumes {
			c := s.count(v)
			if r := v.record; r.LiveBytes > 0 && (r.State == granary.VolumeSealed || r.State == granary.VolumeSealing) && c.gone != 0 &&
				bits.OnesCount32(c.good) >= r.DataShards && !seen[v.id] {
				t.Fatalf("nothing is done about volume %d, which has lost %b", v.id, c.gone)
			}
		}
	})
}

func checkNeed(t *rapid.T, s *scene, n need) {
	c, r := s.count(n.v), n.v.record
	if r.State == granary.VolumeOpen || r.State == granary.VolumeDropping || r.LiveBytes == 0 {
		t.Fatalf("a task on volume %d, which is %s", n.volume, r.State)
	}
	if bits.OnesCount32(c.good|c.torn) < r.DataShards {
		t.Fatalf("a task on volume %d, of which %b can be read", n.volume, c.good)
	}
	if n.kind == granary.TaskMove {
		if c.gone != 0 || r.SealedAt > s.now-s.upkeep.YoungAge && r.DeadBytes <= r.LiveBytes {
			t.Fatalf("volume %d is moved", n.volume)
		}
		return
	}
	if n.kind == granary.TaskRepair != (c.gone&(1<<n.shard) != 0) {
		t.Fatalf("%s of shard %d, of which %b are lost", n.kind, n.shard, c.gone)
	}
	to := s.target(n.v, int(n.shard), "", -1)
	if n.fixed >= 0 {
		to = n.fixed
	}
	if to < 0 {
		return
	}
	checkTarget(t, s, n.v, int(n.shard), to)
}

// checkTarget verifies that a shard may go to a disk.
func checkTarget(t *rapid.T, s *scene, v *volumeFacts, shard int, to int32) {
	d := &s.disks[to]
	if !d.here || d.state != granary.DiskActive || d.free < v.bytes(shard) {
		t.Fatalf("the target %s takes nothing", d.disk)
	}
	m := s.domains("")
	in := 1
	for i, at := range v.at {
		if i == shard {
			continue
		}
		if at == to || v.aim(i) == to {
			t.Fatalf("the target holds shard %d", i)
		}
		if s.disks[at].gone == "" && m.of[at] == m.of[to] {
			in++
		}
	}
	if in > max(v.record.ParityShards, 1) {
		t.Fatalf("%d shards in one %s", in, m.level)
	}
}

// TestLosses: of shards, and of the domains that hold most of them.
func TestLosses(t *testing.T) {
	s := sceneOf("//s1 2", "//s2 2", "//s3 2")
	v := s.volume(4, 2)
	for _, tt := range []struct {
		lost            uint32
		shards, domains int
	}{{0, 2, 1}, {1, 1, 0}, {3, 0, 0}, {7, -1, -1}} {
		v.record.Lost = tt.lost
		if shards, domains := s.losses(v); shards != tt.shards || domains != tt.domains {
			t.Errorf("without %b: %d shards and %d domains, want %d and %d", tt.lost, shards, domains, tt.shards, tt.domains)
		}
	}
}
