package master

import (
	"cmp"
	"slices"

	"github.com/dsorchard/granary"
)

// What dies mostly dies young, so blocks that are moved soon after they were written are often moved for nothing, and a young volume is
// left alone. But what is overwritten all the time would leave volumes behind, for as long as YoungAge, of which little is alive. So the
// time for which one is left alone falls with what there is to move; and when more is dead in the store than alive, it is not
// asked for any more.

// hurriedFrom is how many bytes may be dead in volumes beyond those that are alive, before volumes are moved however young they are: a
// small store is not worth the hurry.
const hurriedFrom = 1 << 30

// young reports whether a volume is left alone because of its age: for YoungAge, or if more of it is dead than alive, for as much of
// that as it has live bytes to a dead one.
func (s *scene) young(v *volumeFacts) bool {
	r := v.record
	asked := float64(s.upkeep.YoungAge)
	if r.DeadBytes > r.LiveBytes {
		asked *= float64(r.LiveBytes) / float64(r.DeadBytes)
	}
	return float64(s.now-r.SealedAt) < asked
}

// hasten finds the volumes that are moved however young they are: of those of which more is dead than alive, the deadest, as many as it
// takes for no more than hurriedFrom to be dead in the store beyond what is alive. What is about to be dropped does not count.
func (s *scene) hasten() {
	var live, dead uint64
	var most []*volumeFacts
	for _, v := range s.volumes {
		r := v.record
		if r.State == granary.VolumeDropping {
			continue
		}
		live += r.LiveBytes
		if r.State != granary.VolumeSealed || r.LiveBytes == 0 {
			continue
		}
		dead += r.DeadBytes
		if r.DeadBytes > r.LiveBytes {
			most = append(most, v)
		}
	}
	s.hurried = nil
	if dead <= live+hurriedFrom {
		return
	}
	excess := dead - live - hurriedFrom
	slices.SortStableFunc(most, func(a, b *volumeFacts) int { return cmp.Compare(a.liveShare(), b.liveShare()) })
	s.hurried = map[granary.VolumeID]bool{}
	for _, v := range most {
		if excess == 0 {
			return
		}
		s.hurried[v.id] = true
		excess -= min(excess, v.record.DeadBytes)
	}
}

// liveShare returns how much of what was written to a volume is alive, from 0 to 1.
func (v *volumeFacts) liveShare() float64 {
	return float64(v.record.LiveBytes) / float64(v.record.LiveBytes+v.record.DeadBytes)
}
