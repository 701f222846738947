package master

import "github.com/dsorchard/granary"

// Items by which the leader maintains volumes, disks and servers.
type (
	// shardsDamaged says that the bytes of shards are gone or damaged: they are Lost until they are placed anew. A volume
	// that is open is sealed by it. Another epoch, and a volume that is being dropped, is KindStale, and so is it when all
	// of the shards have been placed elsewhere since. Result: Volume.
	shardsDamaged struct {
		Volume granary.VolumeID
		Epoch  granary.Epoch
		Shards uint32           // bit i for shard i
		On     []granary.DiskID // of each shard of the volume, the disk that was looked at; nil for where they are now
	}

	// aimShard sets the target of a shard of a volume that nobody appends to, or clears it: To is "". A target is a disk
	// that is registered and active, has no shard of the volume and is no other shard's target; else it is KindInvalid.
	// KindStale as with shardsDamaged. Result: Volume.
	aimShard struct {
		Volume granary.VolumeID
		Epoch  granary.Epoch
		Shard  uint8
		To     granary.DiskID
	}

	// condemn makes a volume VolumeDropping that nobody appends to and that has no live blocks, else it is KindNotEmpty,
	// or KindStale for one that is open. Result: Volume.
	condemn struct{ Volume granary.VolumeID }

	// forgetVolume takes a volume that is VolumeDropping, else it is KindStale, out of the state.
	forgetVolume struct{ Volume granary.VolumeID }

	// indexBlocks takes one bounded step of entering volumes and blocks of an earlier format into the tables of places:
	// volumes from Volume on, or, if that is 0, blocks from From on. See headRecord.indexStep.
	indexBlocks struct {
		Volume granary.VolumeID
		From   granary.BlockID
	}

	// setDisk is a SetDisk by the leader.
	setDisk struct{ granary.SetDisk }

	// sealOpen ends appends to an open volume, whoever's it is. Another epoch is KindStale. Result: Volume.
	sealOpen struct {
		Volume granary.VolumeID
		Epoch  granary.Epoch
	}

	// sweepDone says that what is below an inode has been looked at since its policy was changed, in entry Marked. If it
	// was changed again, it has no effect.
	sweepDone struct {
		Inode  granary.InodeID
		Marked granary.Index
	}

	// sweepAt says how far a sweep has come: what is below the inode, up to After and with it, in the order of full paths, has been
	// looked at since entry Marked. If the policy was changed again, it has no effect.
	sweepAt struct {
		Inode  granary.InodeID
		Marked granary.Index
		After  string // from the inode on, names separated by "/"; at most granary.PathLengthMax bytes
	}

	// serversAbsent says for how long, all told, leaders have not heard servers, of which they have each time waited for the first
	// word: a leader that follows goes on from there. 0 says that a server has come back. At most curateItems.
	serversAbsent struct{ Servers []absence }

	// adoptShard makes the place of a shard a disk that a whole copy of it was found on, and its old place does not have it any more:
	// after a restore, from a backup that was made before the shard was moved. The leader has compared the copy. It is KindStale if the place is
	// another than From by now, and else as with aimShard. Result: Volume.
	adoptShard struct {
		Volume   granary.VolumeID
		Epoch    granary.Epoch
		Shard    uint8
		From, To granary.DiskID
	}
)

// absence is how long a server has been away.
type absence struct {
	Server granary.ServerID
	For    granary.Time
}

func (*shardsDamaged) item() {}
func (*aimShard) item()      {}
func (*condemn) item()       {}
func (*forgetVolume) item()  {}
func (*indexBlocks) item()   {}
func (*sweepDone) item()     {}
func (*sweepAt) item()       {}
func (*setDisk) item()       {}
func (*sealOpen) item()      {}
func (*serversAbsent) item() {}
func (*adoptShard) item()    {}

// putUpkeepItem encodes the items by which the leader maintains volumes.
func putUpkeepItem(e *encoder, it item) error {
	switch it := it.(type) {
	case *shardsDamaged:
		e.u8(tagShardsDamaged)
		e.u64(uint64(it.Volume))
		e.u64(uint64(it.Epoch))
		e.u64(uint64(it.Shards))
		e.u64(uint64(len(it.On)))
		for _, disk := range it.On {
			e.str(string(disk))
		}
	case *aimShard:
		e.u8(tagAimShard)
		e.u64(uint64(it.Volume))
		e.u64(uint64(it.Epoch))
		e.u8(it.Shard)
		e.str(string(it.To))
	case *condemn:
		e.u8(tagCondemn)
		e.u64(uint64(it.Volume))
	case *forgetVolume:
		e.u8(tagForgetVolume)
		e.u64(uint64(it.Volume))
	case *indexBlocks:
		e.u8(tagIndexBlocks)
		e.u64(uint64(it.Volume))
		e.u64(uint64(it.From))
	case *sweepDone:
		e.u8(tagSweepDone)
		e.u64(uint64(it.Inode))
		e.u64(uint64(it.Marked))
	case *sweepAt:
		e.u8(tagSweepAt)
		e.u64(uint64(it.Inode))
		e.u64(uint64(it.Marked))
		e.str(it.After)
	case *setDisk:
		e.u8(tagSetDisk)
		putSetDisk(e, &it.SetDisk)
	case *sealOpen:
		e.u8(tagSealOpen)
		e.u64(uint64(it.Volume))
		e.u64(uint64(it.Epoch))
	case *serversAbsent:
		e.u8(tagServersAbsent)
		e.u64(uint64(len(it.Servers)))
		for _, s := range it.Servers {
			e.str(string(s.Server))
			e.i64(int64(s.For))
		}
	case *adoptShard:
		e.u8(tagAdoptShard)
		e.u64(uint64(it.Volume))
		e.u64(uint64(it.Epoch))
		e.u8(it.Shard)
		e.str(string(it.From))
		e.str(string(it.To))
	default:
		return putChangesItem(e, it)
	}
	return nil
}

// takeUpkeepItem decodes what putUpkeepItem made.
func takeUpkeepItem(d *decoder, tag uint8) (item, error) {
	switch tag {
	case tagShardsDamaged:
		it := &shardsDamaged{Volume: granary.VolumeID(d.u64()), Epoch: granary.Epoch(d.u64()), Shards: d.u32()}
		for range d.count() {
			it.On = append(it.On, granary.DiskID(d.str()))
		}
		return it, nil
	case tagAimShard:
		return &aimShard{Volume: granary.VolumeID(d.u64()), Epoch: granary.Epoch(d.u64()), Shard: d.u8(), To: granary.DiskID(d.str())}, nil
	case tagCondemn:
		return &condemn{granary.VolumeID(d.u64())}, nil
	case tagForgetVolume:
		return &forgetVolume{granary.VolumeID(d.u64())}, nil
	case tagIndexBlocks:
		return &indexBlocks{Volume: granary.VolumeID(d.u64()), From: granary.BlockID(d.u64())}, nil
	case tagSweepDone:
		return &sweepDone{Inode: granary.InodeID(d.u64()), Marked: granary.Index(d.u64())}, nil
	case tagSweepAt:
		return &sweepAt{Inode: granary.InodeID(d.u64()), Marked: granary.Index(d.u64()), After: d.str()}, nil
	case tagSetDisk:
		return &setDisk{takeSetDisk(d)}, nil
	case tagSealOpen:
		return &sealOpen{Volume: granary.VolumeID(d.u64()), Epoch: granary.Epoch(d.u64())}, nil
	case tagServersAbsent:
		it := &serversAbsent{}
		for range d.count() {
			it.Servers = append(it.Servers, absence{granary.ServerID(d.str()), granary.Time(d.i64())})
		}
		return it, nil
	case tagAdoptShard:
		return &adoptShard{Volume: granary.VolumeID(d.u64()), Epoch: granary.Epoch(d.u64()), Shard: d.u8(),
			From: granary.DiskID(d.str()), To: granary.DiskID(d.str())}, nil
	default:
		return takeChangesItem(d, tag)
	}
}

func putSetDisk(e *encoder, op *granary.SetDisk) {
	e.str(string(op.Disk))
	e.u8(uint8(op.State))
	e.str(op.Reason)
	e.bool(op.Class != nil)
	if op.Class != nil {
		e.str(*op.Class)
	}
}

func takeSetDisk(d *decoder) granary.SetDisk {
	op := granary.SetDisk{Disk: granary.DiskID(d.str()), State: granary.DiskState(d.u8()), Reason: d.str()}
	if d.bool() {
		class := d.str()
		op.Class = &class
	}
	return op
}
