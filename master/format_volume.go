package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

// volumeRecord is a volume.
type volumeRecord struct {
	Epoch        granary.Epoch
	State        granary.VolumeState
	DataShards   int
	ParityShards int
	Owner        granary.SessionID // 0 once sealing
	LastOwner    granary.SessionID
	Watermark    uint64
	LiveBytes    uint64
	DeadBytes    uint64
	Sealed       uint32 // bit i: shard i is sealed
	Disks        []granary.DiskID

	// Since format 4.
	Lost       uint32           // bit i: the bytes of shard i are gone or damaged
	Targets    []granary.DiskID // of each shard the disk that a copy of it is being made on, "" for none; empty: of none
	Ends       []uint64         // of each data shard, where its last committed block ends; empty: 0
	Policy     granary.PolicyID // under which it was opened; 0 for a volume of an earlier format
	Auto       bool             // … and that left k and m to the cluster
	OpenedAt   granary.Time
	SealedAt   granary.Time // when nobody could append any more
	DroppingAt granary.Time
	Moving     bool // its blocks are to be stored anew elsewhere
}

// shards is the number of its shards, and all of them as a mask.
func (r *volumeRecord) shards() (n int, all uint32) {
	n = r.DataShards + r.ParityShards
	return n, 1<<n - 1
}

// target is the disk that a copy of a shard is being made on, "" for none.
func (r *volumeRecord) target(shard int) granary.DiskID {
	if shard < len(r.Targets) {
		return r.Targets[shard]
	}
	return ""
}

// aim sets the target of a shard.
func (r *volumeRecord) aim(shard int, to granary.DiskID) {
	if len(r.Targets) == 0 {
		r.Targets = make([]granary.DiskID, len(r.Disks))
	}
	r.Targets[shard] = to
	if !slices.ContainsFunc(r.Targets, func(d granary.DiskID) bool { return d != "" }) {
		r.Targets = nil
	}
}

// reach notes that something committed ends there.
func (r *volumeRecord) reach(l *granary.Location) {
	if len(r.Ends) == 0 {
		r.Ends = make([]uint64, r.DataShards)
	}
	r.Ends[l.Shard] = max(r.Ends[l.Shard], l.Offset+uint64(l.Length))
}

// nothingAt reports whether nothing that was committed can lie in a place, or after it in its shard.
func (r *volumeRecord) nothingAt(l *granary.Location) bool {
	return len(r.Ends) == 0 || l.Offset >= r.Ends[l.Shard]
}

func (r *volumeRecord) put(e *encoder) {
	e.u8(uint8(r.State))
	for _, v := range [...]uint64{uint64(r.Epoch), uint64(r.DataShards), uint64(r.ParityShards), uint64(r.Owner),
		uint64(r.LastOwner), r.Watermark, r.LiveBytes, r.DeadBytes, uint64(r.Sealed), uint64(len(r.Disks))} {
		e.u64(v)
	}
	for _, disk := range r.Disks {
		e.str(string(disk))
	}
	e.u64(uint64(r.Lost))
	e.u64(uint64(len(r.Targets)))
	for _, disk := range r.Targets {
		e.str(string(disk))
	}
	e.u64(uint64(len(r.Ends)))
	for _, end := range r.Ends {
		e.u64(end)
	}
	e.u64(uint64(r.Policy))
	e.bool(r.Auto)
	e.i64(int64(r.OpenedAt))
	e.i64(int64(r.SealedAt))
	e.i64(int64(r.DroppingAt))
	e.bool(r.Moving)
}

func (r *volumeRecord) take(d *decoder) {
	r.State = granary.VolumeState(d.u8())
	r.Epoch = granary.Epoch(d.u64())
	r.DataShards, r.ParityShards = int(d.u32()), int(d.u32())
	r.Owner, r.LastOwner = granary.SessionID(d.u64()), granary.SessionID(d.u64())
	r.Watermark, r.LiveBytes, r.DeadBytes = d.u64(), d.u64(), d.u64()
	r.Sealed = d.u32()
	for range d.count() {
		r.Disks = append(r.Disks, granary.DiskID(d.str()))
	}
	if d.version < 4 {
		return
	}
	r.Lost = d.u32()
	for range d.count() {
		r.Targets = append(r.Targets, granary.DiskID(d.str()))
	}
	for range d.count() {
		r.Ends = append(r.Ends, d.u64())
	}
	r.Policy, r.Auto = granary.PolicyID(d.u32()), d.bool()
	r.OpenedAt, r.SealedAt, r.DroppingAt = granary.Time(d.i64()), granary.Time(d.i64()), granary.Time(d.i64())
	r.Moving = d.bool()
}

// serverRecord is a volume server and the disks last seen in it.
type serverRecord struct {
	Addr, Zone, Rack string
	Disks            []granary.DiskID
}

func (r *serverRecord) put(e *encoder) {
	e.str(r.Addr)
	e.str(r.Zone)
	e.str(r.Rack)
	e.u64(uint64(len(r.Disks)))
	for _, disk := range r.Disks {
		e.str(string(disk))
	}
}

func (r *serverRecord) take(d *decoder) {
	r.Addr, r.Zone, r.Rack = d.str(), d.str(), d.str()
	for range d.count() {
		r.Disks = append(r.Disks, granary.DiskID(d.str()))
	}
}

// diskRecord is what was decided about a disk; one without a record is active and has no class.
type diskRecord struct {
	State  granary.DiskState
	Reason string
	Class  string // given by command; "" for what the server says
	Since  granary.Time
}

func (r *diskRecord) put(e *encoder) {
	e.u8(uint8(r.State))
	e.str(r.Reason)
	e.str(r.Class)
	e.i64(int64(r.Since))
}

func (r *diskRecord) take(d *decoder) {
	r.State, r.Reason, r.Class, r.Since = granary.DiskState(d.u8()), d.str(), d.str(), granary.Time(d.i64())
}

// upkeepRecord is how the cluster maintains itself; without one it is granary.DefaultUpkeep.
type upkeepRecord struct{ granary.Upkeep }

func (r *upkeepRecord) put(e *encoder) {
	e.i64(int64(r.RepairGrace))
	e.i64(int64(r.ReclaimGrace))
	e.i64(int64(r.YoungAge))
	e.u64(r.RepairRate)
	e.u64(r.MoveRate)
	e.u64(uint64(r.MaxOverhead))
	e.bool(r.Paused)
}

func (r *upkeepRecord) take(d *decoder) {
	r.RepairGrace, r.ReclaimGrace, r.YoungAge = granary.Time(d.i64()), granary.Time(d.i64()), granary.Time(d.i64())
	r.RepairRate, r.MoveRate, r.MaxOverhead, r.Paused = d.u64(), d.u64(), d.u32(), d.bool()
}
