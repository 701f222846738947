package master

import (
	"cmp"
	"math/bits"
	"time"

	"github.com/dsorchard/granary"
)

// scene is all that the curator decides from. Disks are named by their place in it.
type scene struct {
	now      granary.Time
	upkeep   granary.Upkeep
	disks    []diskFacts
	volumes  []*volumeFacts // by id
	policies map[granary.PolicyID]granary.Policy
	sweeps   []sweepMark
	fine     []fineFile
	indexed  bool                    // all blocks are in the table of places
	steady   map[string]granary.Time // by class: since when as many failure domains take new volumes

	maps   map[string]*domainMap            // by class, made when they are asked for
	shapes map[granary.PolicyID]policyShape // as maps
	mends  int                              // searches for better places so far

	hurried map[granary.VolumeID]bool // volumes that are moved however young they are
}

// policyShape is what a policy gives.
type policyShape struct{ k, m int }

// diskFacts is what the leader knows of a disk.
type diskFacts struct {
	candidate
	state   granary.DiskState
	reason  string       // of the state
	failing string       // why it should be emptied, as its server says, or ""
	here    bool         // its server is up and shows it
	gone    string       // why its shards count as lost, or ""
	away    granary.Time // how long its server has not been heard, while it is not up
	total   uint64
	used    uint64
	tasks   int    // that write to it
	coming  uint64 // bytes that those are about to write
	leavers int    // shards that are copied from it to even out disks
	leaving uint64 // … and their bytes
}

// takes reports whether the disk may be given a shard of some bytes.
func (d *diskFacts) takes(bytes uint64) bool {
	return d.here && d.gone == "" && d.state == granary.DiskActive && d.writable && d.free >= bytes+d.coming+placementFreeMin
}

// use returns how full the disk is, from 0 to 1.
func (d *diskFacts) use() float64 {
	if d.used+d.free == 0 {
		return 1
	}
	return float64(d.used+d.coming) / float64(d.used+d.free)
}

// volumeFacts is a volume as the leader keeps it between two looks at the state.
type volumeFacts struct {
	id     granary.VolumeID
	record *volumeRecord // never changed
	at     []int32       // of each shard, its disk
	aims   []int32       // of each shard, its target, or -1; empty: no shard has one
	grown  time.Time     // when this leader first saw it as long as it is, and in this state
	moved  time.Time     // when this leader first saw its shards where they are, and as lost as they are
}

// aim returns the target of a shard, or -1.
func (v *volumeFacts) aim(shard int) int32 {
	if shard < len(v.aims) {
		return v.aims[shard]
	}
	return -1
}

// bytes returns how long a shard's file is.
func (v *volumeFacts) bytes(shard int) uint64 {
	if shard < len(v.record.Ends) && shard < v.record.DataShards {
		return v.record.Ends[shard]
	}
	return v.record.Watermark
}

// shardCount says which shards of a volume are there.
type shardCount struct {
	gone  uint32 // bit i: shard i is to be rebuilt
	good  uint32 // bit i: shard i can be read, and was sealed
	there uint32 // bit i: shard i can be read
	torn  uint32 // bit i: shard i is lost or damaged, but its disk is here, and it was sealed
}

// count says which shards are there.
func (s *scene) count(v *volumeFacts) (c shardCount) {
	for i, at := range v.at {
		d := &s.disks[at]
		switch {
		case v.record.Lost&(1<<i) != 0 || d.gone != "":
			c.gone |= 1 << i
			if d.here && d.gone == "" && v.record.Sealed&(1<<i) != 0 {
				c.torn |= 1 << i
			}
		case d.here:
			c.there |= 1 << i
			if v.record.Sealed&(1<<i) != 0 {
				c.good |= 1 << i
			}
		}
	}
	return c
}

// losesBy reports whether what its server says of a shard makes it one that is to be made anew: it is damaged; or its volume
// cannot be sealed, because a sync of the shard failed, and there are enough others to make it from.
func (s *scene) losesBy(v *volumeFacts, shard int, info *granary.ShardInfo) bool {
	r := v.record
	if r.State == granary.VolumeDropping || r.Lost&(1<<shard) != 0 {
		return false
	}
	if info.Damaged != "" {
		return true
	}
	c := s.count(v)
	return info.Poisoned != "" && r.Sealed&(1<<shard) == 0 && len(v.at)-bits.OnesCount32(c.gone|1<<shard) >= r.DataShards
}

// barred returns the shards of a volume that are still to be sealed, on disks that fail, which may never do that: bit i for shard i.
func (s *scene) barred(v *volumeFacts) uint32 {
	if v.record.State != granary.VolumeSealing {
		return 0
	}
	var barred uint32
	for i, at := range v.at {
		if bit := uint32(1) << i; s.disks[at].failing != "" && (v.record.Sealed|v.record.Lost)&bit == 0 {
			barred |= bit
		}
	}
	return barred
}

// takingDomains returns how many failure domains take new volumes of a class.
func (s *scene) takingDomains(class string) int {
	var cs []candidate
	for i := range s.disks {
		if d := &s.disks[i]; d.takes(0) && (class == "" || d.class == class) {
			cs = append(cs, d.candidate)
		}
	}
	_, domains := domainsOf(cs)
	return len(domains)
}

// class returns the class of disks that a volume wants.
func (s *scene) class(v *volumeFacts) string { return s.policies[v.record.Policy].Class }

// domainMap is the failure domains of the disks of a class: numbers, so that they are compared quickly.
type domainMap struct {
	level   level
	domains int
	of      []int32 // of each disk of the scene, at that level
	rack    []int32
	server  []int32
}

// domains returns the failure domains of the disks that shards of a class may lie on: of those that are there, or may come
// back. As for new volumes, it is the widest kind of which there is more than one.
func (s *scene) domains(class string) *domainMap {
	if m := s.maps[class]; m != nil {
		return m
	}
	var cs []candidate
	for i := range s.disks {
		if d := &s.disks[i]; d.gone == "" && (d.state == granary.DiskActive || d.state == granary.DiskSuspect || d.state == granary.DiskDraining) &&
			(class == "" || d.class == class) {
			cs = append(cs, d.candidate)
		}
	}
	l, domains := domainsOf(cs)
	m := &domainMap{level: l, domains: len(domains), of: s.number(l), rack: s.number(levelRack), server: s.number(levelServer)}
	if s.maps == nil {
		s.maps = map[string]*domainMap{}
	}
	s.maps[class] = m
	return m
}

// number numbers the domains of all disks.
func (s *scene) number(l level) []int32 {
	of := make([]int32, len(s.disks))
	ids := map[string]int32{}
	for i := range s.disks {
		name := l.domain(s.disks[i].candidate)
		id, ok := ids[name]
		if !ok {
			id = int32(len(ids))
			ids[name] = id
		}
		of[i] = id
	}
	return of
}

// perDomain is how many shards of a volume a failure domain may hold.
func (v *volumeFacts) perDomain() int { return max(v.record.ParityShards, 1) }

// crowded returns the shards of a volume that lie in a domain with too many of them: bit i for shard i.
func (s *scene) crowded(v *volumeFacts, m *domainMap) uint32 {
	if len(v.at) <= 1 {
		return 0
	}
	var crowded uint32
	for i, at := range v.at {
		n := 0
		for _, other := range v.at {
			if m.of[other] == m.of[at] {
				n++
			}
		}
		if n > v.perDomain() {
			crowded |= 1 << i
		}
	}
	return crowded
}

// target chooses the disk that a shard is made on, and -1 if there is none: one that takes it, of the volume's class, that
// holds nothing else of the volume, and in whose failure domain there are then no more shards than there may be. The same disk
// may be taken for a shard that is Lost. It prefers domains, racks and servers with few shards of the volume, then disks with
// more room, then one beside the worker, then the less busy. It avoids a disk on which it failed before, if there is another.
func (s *scene) target(v *volumeFacts, shard int, beside granary.ServerID, avoid int32) int32 {
	class := s.class(v)
	m := s.domains(class)
	best, bestRank := int32(-1), targetRank{}
	for i := range s.disks {
		d := &s.disks[i]
		if d.tasks >= tasksPerDisk || class != "" && d.class != class || !d.takes(v.bytes(shard)) {
			continue
		}
		rank, ok := s.rank(v, shard, int32(i), m)
		if !ok {
			continue
		}
		rank.avoided, rank.away = int32(i) == avoid, d.server != beside
		if best < 0 || rank.compare(bestRank) < 0 {
			best, bestRank = int32(i), rank
		}
	}
	return best
}

// tasksPerDisk is how many shards are made on one disk at a time.
const tasksPerDisk = 2

// targetRank orders targets: the least is the best.
type targetRank struct {
	avoided                bool
	domain, rack, onServer int // shards of the volume there
	full                   int // how full the disk is, in twentieths
	away                   bool
	busy                   int
	free                   uint64
}

func (a targetRank) compare(b targetRank) int {
	return cmp.Or(compareBool(a.avoided, b.avoided), cmp.Compare(a.domain, b.domain), cmp.Compare(a.rack, b.rack), cmp.Compare(a.onServer, b.onServer),
		cmp.Compare(a.full, b.full), compareBool(a.away, b.away), cmp.Compare(a.busy, b.busy), cmp.Compare(b.free, a.free))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// rank judges a disk as the place of a shard; false if that would break a rule. What is gone counts for nothing, except
// that its disk is not taken.
func (s *scene) rank(v *volumeFacts, shard int, disk int32, m *domainMap) (r targetRank, ok bool) {
	for i, at := range v.at {
		lost := v.record.Lost&(1<<i) != 0
		if i == shard {
			if at == disk && !lost {
				return r, false
			}
			continue
		}
		if at == disk || v.aim(i) == disk {
			return r, false
		}
		there := s.disks[at].gone == ""
		if there {
			r.add(m, at, disk)
		}
		if aim := v.aim(i); aim >= 0 && !(there && m.of[aim] == m.of[at]) {
			r.add(m, aim, disk)
		}
	}
	d := &s.disks[disk]
	r.full, r.busy, r.free = int(d.use()*20), d.tasks, d.free
	return r, r.domain < v.perDomain()
}

// add counts a shard of the volume on another disk.
func (r *targetRank) add(m *domainMap, other, disk int32) {
	if m.of[other] == m.of[disk] {
		r.domain++
	}
	if m.rack[other] == m.rack[disk] {
		r.rack++
	}
	if m.server[other] == m.server[disk] {
		r.onServer++
	}
}

// losses returns how many more shards a volume can lose, whichever they are, and how many more failure domains.
func (s *scene) losses(v *volumeFacts) (shards, domains int) {
	there := s.count(v).there
	left := bits.OnesCount32(there)
	shards = left - v.record.DataShards
	if shards <= 0 {
		return shards, shards
	}
	m := s.domains(s.class(v))
	for there != 0 {
		worst, most := uint32(0), 0 // the domain with the most shards that are there
		for rest := there; rest != 0; {
			in := uint32(0)
			of := m.of[v.at[bits.TrailingZeros32(rest)]]
			for i, at := range v.at {
				if rest&(1<<i) != 0 && m.of[at] == of {
					in |= 1 << i
				}
			}
			if n := bits.OnesCount32(in); n > most {
				worst, most = in, n
			}
			rest &^= in
		}
		if left -= most; left < v.record.DataShards {
			break
		}
		there &^= worst
		domains++
	}
	return shards, domains
}
