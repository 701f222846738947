package fsck

import (
	"cmp"
	"slices"

	"github.com/dsorchard/granary"
)

// Problem is what is wrong with a shard.
type Problem string

// Problems of shards.
const (
	ShardMissing     Problem = "missing"     // it is not on its disk
	ShardShort       Problem = "short"       // its file ends before what was committed
	ShardUnsealed    Problem = "unsealed"    // the state says that it is sealed, its server that it is not
	ShardDamaged     Problem = "damaged"     // it does not hold what was written
	ShardPoisoned    Problem = "poisoned"    // a write or sync of it has failed, or it cannot be read
	ShardForeign     Problem = "foreign"     // it says that it belongs to a volume of another k+m
	ShardAhead       Problem = "ahead"       // it has seen a higher epoch than the volume has
	ShardLost        Problem = "lost"        // the masters know that it is to be rebuilt
	ShardUnreachable Problem = "unreachable" // nobody could be asked
)

// tellable reports whether to tell the masters helps: they rebuild the shard. What cannot be reached is rebuilt when its time has
// come, and a shard that is ahead belongs to a later state than this one.
func (p Problem) tellable() bool {
	switch p {
	case ShardMissing, ShardShort, ShardUnsealed, ShardDamaged, ShardPoisoned, ShardForeign:
		return true
	}
	return false
}

// ShardFault is a shard that is not as it should be.
type ShardFault struct {
	Ref     granary.ShardRef
	Addr    string // of its server
	Problem Problem
	Detail  string
	Mended  bool // by Repair
}

// LostBlock is a block that cannot be read, by whatever choice of shards.
type LostBlock struct {
	Block   granary.BlockInfo
	Dataset granary.DatasetID
	Refs    uint64
	Detail  string // what each shard said
}

// FileFault is a file that cannot be read whole.
type FileFault struct {
	Path   string // from "/"; of an upload in progress, in words
	Inode  granary.InodeID
	Size   uint64
	Ranges []granary.Range // that cannot be read; none if the layout itself cannot
	Detail string
}

// RefFault is a block that files refer to more often than the state counts: it would go too early.
type RefFault struct {
	Block   granary.BlockID
	Counted uint64 // pieces of files' extents
	Refs    uint64 // as the state has it; 0 if the block is in no volume
}

// Orphan is a shard that the state does not have. The leader drops it, unless its volume is not known at all.
type Orphan struct {
	Info    granary.ShardInfo
	Addr    string
	Unknown bool // of a volume newer than all that the state has: it was made after a backup that this state comes from
}

// Report is what a check found.
type Report struct {
	Volumes  uint64
	Shards   uint64
	Blocks   uint64 // live; 0 if they were not looked at
	Bytes    uint64 // read and verified
	Files    uint64 // walked
	Faults   []ShardFault
	Lost     []LostBlock
	Damaged  []FileFault // files that are hit
	Refs     []RefFault
	Orphans  []Orphan
	Salvaged []Salvage // by Rebuild
	// Held is how many blocks have more references than the files that have a name make: by files that are open without a name, by
	// what is removed but not reclaimed yet, or when they were counted.
	Held uint64
}

// Clean reports whether nothing is wrong, or everything was mended. Orphans are not wrong, but those of unknown volumes are.
func (r *Report) Clean() bool {
	unmended := func(f ShardFault) bool { return !f.Mended }
	unknown := func(o Orphan) bool { return o.Unknown }
	return len(r.Lost) == 0 && len(r.Damaged) == 0 && len(r.Refs) == 0 &&
		!slices.ContainsFunc(r.Faults, unmended) && !slices.ContainsFunc(r.Orphans, unknown)
}

func (r *Report) sort() {
	slices.SortFunc(r.Faults, func(a, b ShardFault) int { return compareRefs(a.Ref, b.Ref) })
	slices.SortFunc(r.Lost, func(a, b LostBlock) int { return cmp.Compare(a.Block.ID, b.Block.ID) })
	slices.SortFunc(r.Damaged, func(a, b FileFault) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(r.Refs, func(a, b RefFault) int { return cmp.Compare(a.Block, b.Block) })
	slices.SortFunc(r.Orphans, func(a, b Orphan) int { return compareRefs(a.Info.Ref, b.Info.Ref) })
}

func compareRefs(a, b granary.ShardRef) int {
	return cmp.Or(cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Disk, b.Disk))
}
