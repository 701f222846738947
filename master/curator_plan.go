package master

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

// taskKey names work: there is at most one task for it, and at most one on a volume.
type taskKey struct {
	kind   granary.TaskKind
	volume granary.VolumeID
	shard  uint8
	root   granary.InodeID
}

// cause is why something is to be done.
type cause uint8

const (
	causeLost     cause = iota + 1 // the shard's bytes are gone or damaged
	causeGone                      // its disk is gone
	causeEmptying                  // its disk is emptied
	causeCrowded                   // its failure domain holds too many shards
	causeClass                     // its disk is of another class than the policy wants
	causeAsked                     // somebody wants the volume gone
	causeOverhead                  // the volume takes more room than it should
	causeWider                     // there are more failure domains than when it was written
	causeBalance                   // its disk is much fuller than another
	causeFine                      // windows of the file are cut too finely
	causePolicy                    // the policy of what is below was changed
)

// need is a task that is wanted.
type need struct {
	taskKey
	v      *volumeFacts
	cause  cause
	spare  int     // shards that can be read beyond those that are needed; for TaskRepair
	gain   float64 // share of its space that a move frees; for TaskMove
	bytes  uint64  // that it reads or writes, about
	marked granary.Index
	file   *fineFile // for TaskRewrite
	after  string    // for TaskSweep: where to go on
	fixed  int32     // the only target that it makes sense for, or -1
	policy granary.PolicyID
}

// plan is what is to be done.
type plan struct {
	needs    []need          // the most urgent first
	wanted   map[taskKey]int // where in needs
	seal     []*volumeFacts  // open volumes that are to be sealed
	condemn  []granary.VolumeID
	expired  []*volumeFacts // volumes without live blocks that have stayed for long enough
	barred   []*volumeFacts // volumes that wait for a failing disk to seal a shard
	pointing []*volumeFacts // volumes with targets that no need is behind, some of them
}

// planWork decides what is to be done. It depends on the scene alone.
//
// Repairs come first, of the volumes with the fewest shards left first; then copies of shards that are in the wrong place;
// then moves, of those first that free the largest share of their space; then sweeps, and rewrites of files. There is at most one need for a volume: what
// has lost a shard is not moved, and who has two shards to be made gets them one after the other. Disks are evened out only
// when no shard is to be made for another reason.
func planWork(s *scene) *plan {
	p := &plan{wanted: map[taskKey]int{}}
	s.hasten()
	for _, v := range s.volumes {
		p.volume(s, v)
	}
	if !slices.ContainsFunc(p.needs, func(n need) bool { return n.kind <= granary.TaskCopy }) {
		p.balance(s)
	}
	for _, m := range s.sweeps {
		p.needs = append(p.needs, need{taskKey: taskKey{kind: granary.TaskSweep, root: m.Inode}, cause: causePolicy, marked: m.Marked, after: m.After, fixed: -1})
	}
	for i := range s.fine {
		if f := &s.fine[i]; len(f.Windows) > 0 {
			key := taskKey{kind: granary.TaskRewrite, root: f.Inode}
			p.needs = append(p.needs, need{taskKey: key, cause: causeFine, file: f, bytes: uint64(len(f.Windows)) * windowSize, fixed: -1})
		}
	}
	slices.SortStableFunc(p.needs, compareNeeds)
	for i := range p.needs {
		p.wanted[p.needs[i].taskKey] = i
	}
	return p
}

// compareNeeds orders by urgency.
func compareNeeds(a, b need) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.spare, b.spare), cmp.Compare(a.cause, b.cause), cmp.Compare(b.gain, a.gain),
		cmp.Compare(a.volume, b.volume), cmp.Compare(a.shard, b.shard))
}

// volume adds what is to be done about a volume.
func (p *plan) volume(s *scene, v *volumeFacts) {
	r := v.record
	switch r.State {
	case granary.VolumeDropping:
		if s.now-r.DroppingAt >= s.upkeep.ReclaimGrace {
			p.expired = append(p.expired, v)
		}
	case granary.VolumeOpen:
		if s.endsNow(v) {
			p.seal = append(p.seal, v)
		}
	default:
		if r.LiveBytes == 0 {
			if r.State == granary.VolumeSealed || s.count(v).gone != 0 || s.barred(v) != 0 { // else it is sealed in a moment
				p.condemn = append(p.condemn, v.id)
			}
			return
		}
		if s.barred(v) != 0 {
			p.barred = append(p.barred, v)
		}
		n, ok := s.needOf(v)
		if ok {
			p.needs = append(p.needs, n)
		}
		if len(v.aims) > 0 && s.pointless(v, &n) != 0 {
			p.pointing = append(p.pointing, v)
		}
	}
}

// needOf returns what a sealed or sealing volume with live blocks needs most.
func (s *scene) needOf(v *volumeFacts) (need, bool) {
	c := s.count(v)
	if c.gone != 0 {
		// Damaged shards that are still there may help: each page is taken from where it is right.
		spare := bits.OnesCount32(c.good) - v.record.DataShards
		if spare+bits.OnesCount32(c.torn) < 0 {
			return need{}, false
		}
		i := s.first(v, c.gone)
		why := causeGone
		if v.record.Lost&(1<<i) != 0 {
			why = causeLost
		}
		return s.shardNeed(v, granary.TaskRepair, i, why, spare), true
	}
	if v.record.State != granary.VolumeSealed || bits.OnesCount32(c.good) < v.record.DataShards {
		return need{}, false
	}
	if wrong, why := s.misplaced(v, c); wrong != 0 {
		return s.shardNeed(v, granary.TaskCopy, s.first(v, wrong), why, 0), true
	}
	return s.moveNeed(v, c)
}

// pointless returns the shards of a volume that have a target, and are there and not needed elsewhere.
func (s *scene) pointless(v *volumeFacts, n *need) (set uint32) {
	there := s.count(v).there
	for i := range v.aims {
		if v.aims[i] >= 0 && there&(1<<i) != 0 && !(n.kind == granary.TaskCopy && int(n.shard) == i) {
			set |= 1 << i
		}
	}
	return set
}

// first returns the shard of a set that is made first: one that has a target already, or else the lowest.
func (s *scene) first(v *volumeFacts, set uint32) int {
	for i := range v.aims {
		if set&(1<<i) != 0 && v.aims[i] >= 0 {
			return i
		}
	}
	return bits.TrailingZeros32(set)
}

func (s *scene) shardNeed(v *volumeFacts, kind granary.TaskKind, shard int, why cause, spare int) need {
	return need{taskKey: taskKey{kind: kind, volume: v.id, shard: uint8(shard)}, v: v, cause: why, spare: spare, bytes: v.bytes(shard), fixed: -1}
}

// misplaced returns the shards of a whole volume that lie where they should not, if there is a better place at all. Those on
// disks that are emptied are returned in any case.
func (s *scene) misplaced(v *volumeFacts, c shardCount) (wrong uint32, why cause) {
	class := s.class(v)
	var emptying, otherClass uint32
	for i, at := range v.at {
		d := &s.disks[at]
		if d.state.Emptying() {
			emptying |= 1 << i
		}
		if class != "" && d.class != class {
			otherClass |= 1 << i
		}
	}
	if emptying != 0 {
		return emptying, causeEmptying
	}
	crowded := s.mendable(v, s.crowded(v, s.domains(class)))
	if crowded != 0 {
		return crowded, causeCrowded
	}
	if otherClass = s.mendable(v, otherClass); otherClass != 0 {
		return otherClass, causeClass
	}
	return 0, 0
}

// mendsMax bounds the searches for better places in one plan.
const mendsMax = 5000

// mendable leaves the shards of a set that a target exists for, or that have one.
func (s *scene) mendable(v *volumeFacts, set uint32) uint32 {
	var can uint32
	for i := range v.at {
		if set&(1<<i) == 0 {
			continue
		}
		if v.aim(i) < 0 {
			if s.mends++; s.mends > mendsMax || s.target(v, i, "", -1) < 0 {
				continue
			}
		}
		can |= 1 << i
	}
	return can
}

// endsNow reports whether an open volume is to be sealed under its writer, who goes on with another: one of its shards is on a
// disk that is gone or is to be emptied, or nothing was added to it for long, and it is worth packing.
func (s *scene) endsNow(v *volumeFacts) bool {
	for i, at := range v.at {
		if d := &s.disks[at]; d.gone != "" || d.state.Emptying() || v.record.Lost&(1<<i) != 0 {
			return true
		}
	}
	quiet := granary.TimeOf(v.grown) + max(s.upkeep.YoungAge, quietMin)
	return s.now >= quiet && s.now-v.record.OpenedAt >= s.upkeep.YoungAge && s.gain(v) > 0
}

// quietMin is how long nothing was added to an open volume, at least, before it is sealed to be packed.
const quietMin = granary.Time(time.Minute)

// moveNeed says whether the blocks of a whole volume are to be stored anew.
func (s *scene) moveNeed(v *volumeFacts, c shardCount) (need, bool) {
	r := v.record
	if !s.indexed || c.good != uint32(1)<<len(v.at)-1 {
		return need{}, false
	}
	policy, ok := s.policyOf(v)
	if !ok {
		return need{}, false
	}
	n := need{taskKey: taskKey{kind: granary.TaskMove, volume: v.id}, v: v, bytes: r.LiveBytes, fixed: -1, policy: policy}
	if r.Moving {
		n.cause, n.gain = causeAsked, 1
		return n, true
	}
	if gain := s.gain(v); gain > 0 && (s.hurried[v.id] || !s.young(v)) {
		n.cause, n.gain = causeOverhead, gain
		return n, true
	}
	if s.now-r.SealedAt >= s.upkeep.YoungAge && s.wider(v, policy) {
		n.cause = causeWider
		return n, true
	}
	return need{}, false
}

// policyOf returns the policy that the blocks of a volume are stored under anew. Volumes of an earlier format do not say: they
// get one with their own k and m, or else an automatic one that gives at least their parity.
func (s *scene) policyOf(v *volumeFacts) (granary.PolicyID, bool) {
	if v.record.Policy != 0 {
		_, ok := s.policies[v.record.Policy]
		return v.record.Policy, ok
	}
	best := granary.PolicyID(0)
	for id, p := range s.policies {
		k, m := s.shape(id)
		if p.Class == "" && (k == v.record.DataShards && m == v.record.ParityShards || p.Auto() && m >= v.record.ParityShards) && (best == 0 || id < best) {
			best = id
		}
	}
	return best, best != 0
}

// shape returns what a policy gives now.
func (s *scene) shape(id granary.PolicyID) (k, m int) {
	if shape, ok := s.shapes[id]; ok {
		return shape.k, shape.m
	}
	p := s.policies[id]
	k, m = shardsOf(p, s.takingDomains(p.Class))
	if s.shapes == nil {
		s.shapes = map[granary.PolicyID]policyShape{}
	}
	s.shapes[id] = policyShape{k, m}
	return k, m
}

// wider reports whether an automatic policy gives a volume's blocks more parity now than they have, or wider rows of as
// much, and has done so for as long as a server may be away.
func (s *scene) wider(v *volumeFacts, id granary.PolicyID) bool {
	p := s.policies[id]
	if !v.record.Auto || !p.Auto() || s.now-s.steady[p.Class] < s.upkeep.RepairGrace {
		return false
	}
	k, m := s.shape(id)
	return m > v.record.ParityShards || m == v.record.ParityShards && k > v.record.DataShards
}

const (
	packSlackMax = 1 << 20 // bytes by which the streams of a row differ, about: a chunk
	packThin     = 1.1     // times what full rows take, from which on a volume's rows are thin: that comes back once and for all
	packGainMin  = 0.12    // share of a volume's space that a move has to free
	packBytesMin = 1 << 20 // … and bytes
)

// gain returns which share of its space a volume gives back when its live blocks are stored anew, if that is worth it: else
// 0. It is from MaxOverhead on, and where rows are thin from less: dead blocks come again, and each time it costs to move all others. What a volume takes at best depends on its size: a single block in a row has as many whole copies as there are parity
// shards. Were that left out, a small volume would be moved again and again.
func (s *scene) gain(v *volumeFacts) float64 {
	r := v.record
	live, k, m := float64(r.LiveBytes), float64(r.DataShards), float64(r.ParityShards)
	stored := live + float64(r.DeadBytes) + m*float64(r.Watermark)
	written := live + float64(r.DeadBytes)
	thin := written+m*float64(r.Watermark) > packThin*written*(k+m)/k
	if r.LiveBytes == 0 || !thin && stored*100 <= live*(k+m)/k*float64(s.upkeep.MaxOverhead) {
		return 0
	}
	after := live + m*min(live, live/k*1.05+packSlackMax)
	if stored-after < packBytesMin || (stored-after)/stored < packGainMin {
		return 0
	}
	return (stored - after) / stored
}

// reason tells people why a task is wanted.
func (s *scene) reason(n *need) string {
	switch n.cause {
	case causeLost:
		return fmt.Sprintf("the shard is lost or damaged; %s can be read", more(n.spare))
	case causeGone:
		return fmt.Sprintf("%s; %s can be read", s.disks[n.v.at[n.shard]].gone, more(n.spare))
	case causeEmptying:
		d := &s.disks[n.v.at[n.shard]]
		return fmt.Sprintf("disk %s is %s", d.disk, d.state)
	case causeCrowded:
		m := s.domains(s.class(n.v))
		return fmt.Sprintf("more than %d shards of the volume are in %s %s", n.v.perDomain(), m.level, m.level.label(s.disks[n.v.at[n.shard]].candidate))
	case causeClass:
		return fmt.Sprintf("the policy wants disks of class %s", s.class(n.v))
	case causeAsked:
		return "it was asked for"
	case causeOverhead:
		return fmt.Sprintf("%.0f %% of its space comes back", 100*n.gain)
	case causeWider:
		k, m := s.shape(n.policy)
		return fmt.Sprintf("it is %d+%d, and there are failure domains for %d+%d", n.v.record.DataShards, n.v.record.ParityShards, k, m)
	case causeBalance:
		return fmt.Sprintf("disk %s is much fuller than others", s.disks[n.v.at[n.shard]].disk)
	case causeFine:
		return fmt.Sprintf("%d windows of the file are cut too finely", len(n.file.Windows))
	case causePolicy:
		return "the policy was changed"
	}
	return ""
}

// more says how many shards are left beyond those that are needed.
func more(spare int) string {
	switch {
	case spare == 0:
		return "no shard more than needed"
	case spare == 1:
		return "1 shard more than needed"
	case spare < 0:
		return "fewer whole shards than needed, and parts of others,"
	}
	return fmt.Sprintf("%d shards more than needed", spare)
}
