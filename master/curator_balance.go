package master

import (
	"cmp"
	"slices"

	"github.com/dsorchard/granary"
)

const (
	balanceDifference = 0.10 // of the use of two disks, from which on shards are copied from one to the other
	balancePerDisk    = 2    // copies from a full disk at a time; to an empty one there is one
	balanceTries      = 3    // empty disks that a full one may give shards to
	laneShards        = 8    // that are looked at for each such pair: another may have taken the same
)

// lane is a full disk and an empty one, and shards of which one is copied from one to the other.
type lane struct {
	from, to int32
	half     uint64 // bytes that may be copied, or it would be the other way round
	best     []need // the longest first
}

// balance adds copies of shards from full disks to empty ones of their class, for many disks at once: the fullest gives to the
// emptiest, the next to the next.
func (p *plan) balance(s *scene) {
	lanes := s.lanes()
	if len(lanes) == 0 {
		return
	}
	from := map[int32][]*lane{}
	for _, l := range lanes {
		from[l.from] = append(from[l.from], l)
	}
	busy := map[granary.VolumeID]bool{}
	for i := range p.needs {
		busy[p.needs[i].volume] = true
	}
	for _, v := range s.volumes {
		if v.record.State != granary.VolumeSealed || v.record.LiveBytes == 0 || len(v.aims) > 0 || busy[v.id] {
			continue
		}
		for i, at := range v.at {
			for _, l := range from[at] {
				l.offer(s, v, i)
			}
		}
	}
	taken, given := map[int32]bool{}, map[int32]int{}
	for _, l := range lanes {
		i := slices.IndexFunc(l.best, func(n need) bool { return !busy[n.volume] })
		if i < 0 || taken[l.to] || given[l.from]+s.disks[l.from].leavers >= balancePerDisk {
			continue
		}
		taken[l.to], busy[l.best[i].volume] = true, true
		given[l.from]++
		p.needs = append(p.needs, l.best[i])
	}
}

// offer takes a shard if it is among the longest that may go that way.
func (l *lane) offer(s *scene, v *volumeFacts, shard int) {
	size := v.bytes(shard)
	if size > l.half || size < packBytesMin || len(l.best) == laneShards && size <= l.best[laneShards-1].bytes || !s.disks[l.to].takes(size) || s.count(v).good != uint32(1)<<len(v.at)-1 {
		return
	}
	m := s.domains(s.class(v))
	if _, ok := s.rank(v, shard, l.to, m); !ok || s.crowded(v, m) != 0 {
		return
	}
	n := s.shardNeed(v, granary.TaskCopy, shard, causeBalance, 0)
	n.fixed = l.to
	at, _ := slices.BinarySearchFunc(l.best, n, func(a, b need) int { // behind those that are as long
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), -1)
	})
	l.best = slices.Insert(l.best, at, n)
	l.best = l.best[:min(len(l.best), laneShards)]
}

// lanes pairs full disks with empty ones, the farthest apart first.
func (s *scene) lanes() []*lane {
	classes := map[string][]int32{}
	for i := range s.disks {
		if d := &s.disks[i]; d.here && d.gone == "" && d.state == granary.DiskActive {
			classes[d.class] = append(classes[d.class], int32(i))
		}
	}
	var lanes []*lane
	for _, disks := range classes {
		slices.SortStableFunc(disks, func(a, b int32) int { return cmp.Compare(s.disks[a].will(), s.disks[b].will()) })
		var empty, full []int32
		for _, i := range disks {
			if s.disks[i].tasks == 0 && s.disks[i].takes(0) {
				empty = append(empty, i)
			}
		}
		for _, i := range slices.Backward(disks) {
			if len(empty) > 0 && s.disks[i].will() >= s.disks[empty[0]].will()+balanceDifference {
				full = append(full, i)
			}
		}
		for n := range min(balanceTries, len(empty)) {
			for i, from := range full {
				to := empty[(i+n*len(full))%len(empty)]
				a, b := &s.disks[from], &s.disks[to]
				if a.will() >= b.will()+balanceDifference {
					gone := min(a.used, a.leaving)
					lanes = append(lanes, &lane{from: from, to: to, half: (a.used - gone - min(a.used-gone, b.used)) / 2})
				}
			}
		}
	}
	slices.SortStableFunc(lanes, func(a, b *lane) int {
		return cmp.Or(cmp.Compare(s.disks[b.from].will()-s.disks[b.to].will(), s.disks[a.from].will()-s.disks[a.to].will()), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return lanes
}

// will returns how full the disk is going to be, from 0 to 1, when what is copied from it and to it has been.
func (d *diskFacts) will() float64 {
	if d.used+d.free == 0 {
		return 1
	}
	return float64(d.used+d.coming-min(d.used+d.coming, d.leaving)) / float64(d.used+d.free)
}
