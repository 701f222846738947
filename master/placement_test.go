package master

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// fleet makes disks from lines such as "z1/r1/s1 2": a server and how many disks it has.
func fleet(lines ...string) []candidate {
	var cs []candidate
	for _, line := range lines {
		var path string
		disks := 1
		fmt.Sscan(line, &path, &disks)
		parts := strings.Split(path, "/")
		for i := range disks {
			cs = append(cs, candidate{
				disk: granary.DiskID(fmt.Sprintf("%s-d%d", path, i)), server: granary.ServerID(path), name: parts[2],
				zone: parts[0], rack: parts[1], free: 10 << 30, writable: true,
			})
		}
	}
	return cs
}

func fixed(k, m int) granary.Policy { return granary.Policy{DataShards: k, ParityShards: m} }

func TestPlacement(t *testing.T) {
	auto := granary.DefaultPolicy()
	for _, tt := range []struct {
		name   string
		policy granary.Policy
		disks  []candidate
		k, m   int
		domain string
		err    string // part of the error's text
	}{
		{"one disk", auto, fleet("//s1"), 1, 0, "disk", ""},
		{"one server with three disks", auto, fleet("//s1 3"), 2, 1, "disk", ""},
		{"one server with six disks", auto, fleet("//s1 6"), 4, 2, "disk", ""},
		{"three servers", auto, fleet("//s1", "//s2 4", "//s3"), 2, 1, "server", ""},
		{"six servers", auto, fleet("//s1", "//s2", "//s3", "//s4", "//s5", "//s6"), 4, 2, "server", ""},
		{"two racks", auto, fleet("/r1/s1", "/r1/s2", "/r2/s3"), 1, 1, "rack", ""},
		{"three zones", auto, fleet("z1//s1", "z2//s2", "z3//s3", "z3//s4"), 2, 1, "zone", ""},
		{"two in each domain", fixed(4, 2), fleet("//s1 2", "//s2 2", "//s3 2"), 4, 2, "server", ""},
		{"copies", fixed(1, 2), fleet("//s1", "//s2", "//s3"), 1, 2, "server", ""},
		{"too few servers", fixed(4, 2), fleet("//s1", "//s2", "//s3", "//s4"), 0, 0, "",
			"policy 4+2 needs 6 failure domains (servers), or at least 3 with 2 disks in each; 4 are up: s1, s2, s3, s4"},
		{"more disks do not help", fixed(2, 1), fleet("//s1 5", "//s2 5"), 0, 0, "", "needs 3 failure domains (servers); 2 are up: s1, s2"},
		{"nothing up", auto, nil, 0, 0, "", "no volume server is up with a disk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := place(tt.policy, tt.disks, nil, rand.New(rand.NewPCG(1, 2)))
			if tt.err != "" {
				if !granary.IsKind(err, granary.KindNoSpace) || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want no space: %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.DataShards != tt.k || p.ParityShards != tt.m || len(p.Disks) != tt.k+tt.m {
				t.Fatalf("got %d+%d on %d disks, want %d+%d", p.DataShards, p.ParityShards, len(p.Disks), tt.k, tt.m)
			}
			if k, m, domain := effective(tt.policy, tt.disks); k != tt.k || m != tt.m || domain != tt.domain {
				t.Errorf("effective: %d+%d over %ss, want %d+%d over %ss", k, m, domain, tt.k, tt.m, tt.domain)
			}
		})
	}
}

func TestPlacementLeavesOut(t *testing.T) {
	cs := fleet("//s1", "//s2", "//s3", "//s4", "//s5")
	cs[1].writable = false
	cs[2].free = placementFreeMin - 1
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		p, err := place(granary.DefaultPolicy(), cs, []granary.DiskID{cs[0].disk}, rnd)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Disks) != 2 {
			t.Fatalf("%d shards on two usable servers", len(p.Disks))
		}
		for _, d := range p.Disks {
			if d != cs[3].disk && d != cs[4].disk {
				t.Fatalf("placed on %s, which is read-only, full or excluded", d)
			}
		}
	}
}

func TestPlacementPrefersFreeSpace(t *testing.T) {
	cs := fleet("//s1", "//s2", "//s3", "//s4")
	cs[0].free *= 8
	rnd := rand.New(rand.NewPCG(1, 2))
	count := make(map[granary.DiskID]int)
	for range 1000 {
		p, err := place(fixed(1, 0), cs, nil, rnd)
		if err != nil {
			t.Fatal(err)
		}
		count[p.Disks[0]]++
	}
	if n := count[cs[0].disk]; n < 600 || n > 850 { // 8 of 11
		t.Errorf("the disk with 8/11 of the space got %d of 1000 volumes", n)
	}
}

// TestPlacementNeverCrowds: whatever the fleet, no domain holds more than m shards (or 1), no disk
// more than one, and a domain gets a second shard only if the others have one.
func TestPlacementNeverCrowds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lines []string
		for i := range rapid.IntRange(1, 9).Draw(t, "servers") {
			lines = append(lines, fmt.Sprintf("z%d/r%d/s%d %d", rapid.IntRange(0, 2).Draw(t, "zone"),
				rapid.IntRange(0, 2).Draw(t, "rack"), i, rapid.IntRange(1, 4).Draw(t, "disks")))
		}
		cs := fleet(lines...)
		policy := granary.DefaultPolicy()
		if rapid.Bool().Draw(t, "fixed") {
			policy = fixed(rapid.IntRange(1, 6).Draw(t, "k"), rapid.IntRange(0, 3).Draw(t, "m"))
		}
		p, err := place(policy, cs, nil, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		if err != nil {
			if policy.Auto() && !granary.IsKind(err, granary.KindNoSpace) {
				t.Fatal(err)
			}
			return
		}
		l, domains := domainsOf(cs)
		used := make(map[string]int)
		seen := make(map[granary.DiskID]bool)
		for _, d := range p.Disks {
			if seen[d] {
				t.Fatalf("disk %s is used twice", d)
			}
			seen[d] = true
			for name, disks := range domains {
				for _, c := range disks {
					if c.disk == d {
						used[name]++
					}
				}
			}
		}
		most := 0
		for _, n := range used {
			most = max(most, n)
		}
		if most > max(p.ParityShards, 1) {
			t.Fatalf("%d shards of %d+%d in one %s", most, p.DataShards, p.ParityShards, l)
		}
		for name, disks := range domains {
			if used[name] < most-1 && used[name] < len(disks) {
				t.Fatalf("%s %s has %d shards, another has %d", l, name, used[name], most)
			}
		}
	})
}

// TestAway: with disks whose servers are away there would be room, without them there is none.
func TestAway(t *testing.T) {
	t.Parallel()
	now := time.Now().Add(time.Hour)
	s := openAlone(t, t.TempDir(), nil)
	for _, name := range []string{"s1", "s2", "s3"} {
		beat(t, s, name)
	}
	live := s.leading.Load().live
	live.mu.Lock()
	live.now = func() time.Time { return now }
	for id := range live.heard {
		live.heard[id] = now
	}
	delete(live.heard, "s2")
	live.heard["s3"] = now.Add(-time.Hour)
	live.mu.Unlock()
	at := newPlaces()
	if up, away := live.candidates(at), live.away(at); len(up) != 1 || len(away) != 2 {
		t.Fatalf("%d disks are up, %d away", len(up), len(away))
	}
	l := s.leading.Load()
	if _, err := l.placeVolume(t.Context(), &granary.OpenVolume{Policy: 1}); err != nil {
		t.Errorf("auto takes what is up: %v", err)
	}
	full := []granary.DiskID{}
	for _, c := range live.candidates(at) {
		full = append(full, c.disk)
	}
	if _, err := l.placeVolume(t.Context(), &granary.OpenVolume{Policy: 1, Exclude: full}); !granary.IsKind(err, granary.KindUnavailable) {
		t.Errorf("with two disks away: %v", err)
	}
	for _, c := range live.away(at) {
		full = append(full, c.disk)
	}
	if _, err := l.placeVolume(t.Context(), &granary.OpenVolume{Policy: 1, Exclude: full}); !granary.IsKind(err, granary.KindNoSpace) {
		t.Errorf("without any: %v", err)
	}
}
