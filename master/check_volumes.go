package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

func (a *audit) loadPlace(k, b []byte) {
	volume := granary.VolumeID(keyID(k, 0))
	shard, offset := shardAndOffset(k)
	id := granary.BlockID(decoded[numberRecord](a, k, b).Number)
	a.placed++
	switch block := a.blocks[id]; {
	case block == nil:
		a.bad("block %d, which does not exist, is entered at %d of shard %d of volume %d", id, offset, shard, volume)
	case block.Location.Volume != volume || block.Location.Shard != shard || block.Location.Offset != offset:
		a.bad("block %d lies at %+v, and is entered at %d of shard %d of volume %d", id, block.Location, offset, shard, volume)
	}
}

func (a *audit) loadHolds(k []byte) {
	disk, id := holdsOf(k)
	a.holds[disk]++
	if v := a.volumes[id]; v == nil || !slices.Contains(v.Disks, disk) && !slices.Contains(v.Targets, disk) {
		a.bad("disk %q is said to hold a shard of volume %d", disk, id)
	}
}

// checkReach verifies that the end of a block's shard, as it is kept, is not before the block's end. Of what earlier
// formats made it is kept from the time on that the block is entered by place.
func (a *audit) checkReach(id granary.BlockID, b *blockRecord) {
	if next := a.head.IndexBlock; next != 0 && id >= next {
		return
	}
	v := a.volumes[b.Location.Volume]
	if v == nil {
		return // told already
	}
	if end := b.Location.Offset + uint64(b.Location.Length); int(b.Location.Shard) >= len(v.Ends) || v.Ends[b.Location.Shard] < end {
		a.bad("block %d ends at %d of shard %d of volume %d, whose ends are %d", id, end, b.Location.Shard, b.Location.Volume, v.Ends)
	}
}

// checkVolume verifies what a volume tells of itself.
func (a *audit) checkVolume(id granary.VolumeID, v *volumeRecord, live uint64) {
	n, all := v.shards()
	if v.LiveBytes != live {
		a.bad("volume %d has %d live bytes, counted %d", id, v.LiveBytes, live)
	}
	owner, listed := a.writing[id]
	if listed != (v.State == granary.VolumeOpen || v.State == granary.VolumeSealing) || owner != v.Owner || owner != 0 && !a.sessions[owner] {
		a.bad("volume %d is %s of %d, listed %t under %d", id, v.State, v.Owner, listed, owner)
	}
	on, aimed := slices.Clone(v.Disks), false
	for i, disk := range v.Targets {
		aimed = aimed || disk != ""
		if again := i < n && disk == v.Disks[i] && v.Lost&(1<<i) != 0; disk != "" && !again { // a lost shard may be made where it was
			on = append(on, disk)
		}
	}
	slices.Sort(on)
	switch {
	case n == 0 || len(v.Disks) != n || on[0] == "" || len(slices.Compact(on)) != len(on):
		a.bad("volume %d, %d+%d, has its shards on the disks %q and targets %q", id, v.DataShards, v.ParityShards, v.Disks, v.Targets)
	case len(v.Targets) != 0 && (len(v.Targets) != n || !aimed || v.State != granary.VolumeSealing && v.State != granary.VolumeSealed):
		a.bad("volume %d is %s, and has the targets %q", id, v.State, v.Targets)
	case (v.Lost|v.Sealed)&^all != 0 || v.Lost != 0 && v.State == granary.VolumeOpen:
		a.bad("volume %d, %d+%d, is %s, its shards %b are lost and %b sealed", id, v.DataShards, v.ParityShards, v.State, v.Lost, v.Sealed)
	case v.State == granary.VolumeSealed && v.Sealed != all, v.State == granary.VolumeSealing && v.Sealed == all, v.State == granary.VolumeOpen && v.Sealed != 0:
		a.bad("volume %d is %s, its shards %b are sealed", id, v.State, v.Sealed)
	case v.State == granary.VolumeDropping && live != 0:
		a.bad("volume %d is %s, and %d bytes in it are alive", id, v.State, live)
	case len(v.Ends) != 0 && (len(v.Ends) != v.DataShards || slices.Max(v.Ends) > v.Watermark):
		a.bad("volume %d, %d+%d, up to %d, has the ends %d", id, v.DataShards, v.ParityShards, v.Watermark, v.Ends)
	}
	a.checkHolds(id, v)
}

// checkHolds takes a volume's disks off those that were counted to hold shards: none may be left over, as loadHolds has
// told already, and none may be missing.
func (a *audit) checkHolds(id granary.VolumeID, v *volumeRecord) {
	if next := a.head.IndexVolume; next != 0 && id >= next {
		return
	}
	for i, disk := range slices.Concat(v.Disks, v.Targets) {
		if disk == "" || i >= len(v.Disks) && slices.Contains(v.Disks, disk) {
			continue
		}
		if r := a.disks[disk]; r != nil && r.State == granary.DiskRetired {
			a.bad("disk %q is retired, and has a shard of volume %d, or gets one", disk, id)
		}
		if a.holds[disk] == 0 {
			a.bad("disk %q is not said to hold a shard of volume %d", disk, id)
			continue
		}
		a.holds[disk]--
	}
}

// checkPlaces verifies that all blocks are entered by place. Those that are were compared with their blocks.
func (a *audit) checkPlaces() {
	if blocks := uint64(len(a.blocks)); a.placed != blocks && (a.head.IndexBlock == 0 || a.placed > blocks) {
		a.bad("%d of %d blocks are entered by place", a.placed, blocks)
	}
}
