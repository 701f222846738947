package master

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/dsorchard/granary"
)

// adoptVolume takes in a volume that a cluster before this one made after the backup, with blocks that moved there. Its id was
// skipped by the restore, so this state never gave it out and never will. It comes with a block that lives, so that it is not
// dropped as empty; and that a block is given another place loses nothing, for the caller has verified what lies there.
func (t *txn) adoptVolume(op *granary.AdoptVolume) granary.Result {
	const name = "adopt volume"
	if err := t.onlySuper(name, fmt.Sprint(op.Volume)); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.mayAdopt(name, op); err != nil {
		return granary.Result{Err: err}
	}
	left, live := t.adoptable(op)
	v := t.volumes.get(t, op.Volume)
	switch {
	case live == 0 && v == nil:
		return failed(granary.KindStale, name, fmt.Sprint(op.Volume), "none of the blocks is where it was")
	case v == nil:
		_, all := (&volumeRecord{DataShards: op.DataShards, ParityShards: op.ParityShards}).shards()
		v = &volumeRecord{Epoch: op.Epoch, State: granary.VolumeSealed, DataShards: op.DataShards, ParityShards: op.ParityShards,
			Watermark: op.Watermark, Sealed: all, Disks: slices.Clone(op.Disks), Lost: op.Lost, OpenedAt: t.now, SealedAt: t.now}
		for _, disk := range v.Disks {
			t.hold(disk, op.Volume)
		}
		t.volumes.add(op.Volume, v)
	}
	for i := range op.Moves {
		m := &op.Moves[i]
		if !slices.Contains(left, uint32(i)) && t.blocks.get(t, m.Block).Location == m.From {
			v.reach(&m.To)
			t.relocate(m.Block, &m.To)
		}
	}
	t.missing = left
	return granary.Result{Volume: t.volumeResult(op.Volume, v)}
}

// mayAdopt refuses a volume that cannot be, or that is known otherwise.
func (t *txn) mayAdopt(name string, op *granary.AdoptVolume) *granary.Error {
	bad := func(format string, args ...any) *granary.Error {
		return granary.Errorf(granary.KindInvalid, name, fmt.Sprint(op.Volume), format, args...)
	}
	n := op.DataShards + op.ParityShards
	sorted := slices.Sorted(slices.Values(op.Disks))
	switch v := t.volumes.get(t, op.Volume); {
	case !t.places:
		return granary.Errorf(granary.KindNotSupported, name, fmt.Sprint(op.Volume), "a master is of an earlier release")
	case op.DataShards < 1 || op.DataShards > granary.DataShardsMax || op.ParityShards < 0 || op.ParityShards > granary.ParityShardsMax || len(op.Disks) != n:
		return bad("%d disks for %d+%d shards", len(op.Disks), op.DataShards, op.ParityShards)
	case op.Lost>>n != 0 || bits.OnesCount32(op.Lost) > op.ParityShards:
		return bad("shards %b of %d+%d are lost", op.Lost, op.DataShards, op.ParityShards)
	case op.Epoch == 0 || op.Watermark == 0 || op.Watermark > granary.ShardSizeMax:
		return bad("epoch %d, %d bytes", op.Epoch, op.Watermark)
	case len(op.Moves) > granary.MovesMax:
		return granary.Errorf(granary.KindTooLarge, name, fmt.Sprint(op.Volume), "%d blocks, of %d at most", len(op.Moves), granary.MovesMax)
	case len(slices.Compact(sorted)) != n || sorted[0] == "":
		return bad("the disks of a volume must differ")
	case v == nil && (t.head.made(op.Volume) || op.Volume == 0 || op.Volume > t.head.LastVolume):
		return bad("it is not of the time between a backup and its restore")
	case v == nil:
		return t.mayPlaceAdopted(name, op)
	case t.head.made(op.Volume) || v.State != granary.VolumeSealed || v.DataShards != op.DataShards || v.ParityShards != op.ParityShards || v.Watermark != op.Watermark:
		return bad("it is known as %s, %d+%d, %d bytes", v.State, v.DataShards, v.ParityShards, v.Watermark)
	}
	return nil
}

func (t *txn) mayPlaceAdopted(name string, op *granary.AdoptVolume) *granary.Error {
	if err := t.mayPlace(name, op.Disks); err != nil {
		return err
	}
	for _, disk := range op.Disks {
		if !t.registered(disk) {
			return granary.Errorf(granary.KindInvalid, name, string(disk), "no server has the disk")
		}
	}
	return nil
}

// adoptable returns which moves are not to be made, and how many are.
func (t *txn) adoptable(op *granary.AdoptVolume) (left []uint32, live int) {
	taken := map[granary.Location]bool{}
	seen := map[granary.BlockID]bool{}
	for i := range op.Moves {
		m := &op.Moves[i]
		b := t.blocks.get(t, m.Block)
		at := granary.Location{Shard: m.To.Shard, Offset: m.To.Offset}
		end := m.To.Offset + uint64(m.To.Length)
		switch {
		case b != nil && b.Location == m.To: // by an earlier try
			live++
		case b == nil || b.Location != m.From || seen[m.Block] || taken[at],
			m.To.Volume != op.Volume || int(m.To.Shard) >= op.DataShards || m.To.Length == 0 || end < m.To.Offset || end > op.Watermark,
			t.volumes.get(t, op.Volume) != nil && t.occupied(&m.To) != 0:
			left = append(left, uint32(i))
		default:
			live++
			seen[m.Block], taken[at] = true, true
		}
	}
	return left, live
}
