package master

import (
	"fmt"
	"slices"

	"github.com/dsorchard/granary"
)

// openVolume makes a volume on the disks that the leader chose.
func (t *txn) openVolume(session granary.SessionID, op *granary.OpenVolume) granary.Result {
	const name = "open volume"
	p := op.Placement
	switch {
	case p == nil:
		return failed(granary.KindInvalid, name, "", "the leader left no placement")
	case p.DataShards < 1 || p.DataShards > granary.DataShardsMax || p.ParityShards < 0 || p.ParityShards > granary.ParityShardsMax:
		return failed(granary.KindInvalid, name, "", "%d+%d shards are not possible", p.DataShards, p.ParityShards)
	case len(p.Disks) != p.DataShards+p.ParityShards:
		return failed(granary.KindInvalid, name, "", "%d disks for %d+%d shards", len(p.Disks), p.DataShards, p.ParityShards)
	}
	if sorted := slices.Sorted(slices.Values(p.Disks)); len(slices.Compact(sorted)) != len(p.Disks) || sorted[0] == "" {
		return failed(granary.KindInvalid, name, "", "the disks of a volume must differ")
	}
	t.head.LastVolume++
	id := t.head.LastVolume
	v := &volumeRecord{Epoch: 1, State: granary.VolumeOpen, DataShards: p.DataShards, ParityShards: p.ParityShards,
		Owner: session, LastOwner: session, Disks: p.Disks}
	t.volumes.add(id, v)
	store(t, keyWriting(session, id), &numberRecord{})
	return granary.Result{Volume: t.volumeResult(id, v)}
}

// volumeResult is a volume as a result shows it: with addresses as registered. The leader gave it
// disks that were up.
func (t *txn) volumeResult(id granary.VolumeID, v *volumeRecord) *granary.Volume {
	at := newPlaces()
	t.scan(key(tableServer), keyEnd(key(tableServer)), func(k, b []byte) bool {
		r, err := unmarshal[serverRecord](b)
		must(err)
		at.add(granary.ServerID(k[1:]), r)
		return true
	})
	return at.volume(id, v, func(granary.ServerID, granary.DiskID) bool { return true })
}

// sealVolume ends appends to a volume of the session.
func (t *txn) sealVolume(session granary.SessionID, op *granary.SealVolume) granary.Result {
	const name = "seal volume"
	subject := fmt.Sprint(op.Volume)
	v := t.volumes.get(t, op.Volume)
	switch {
	case v == nil:
		return failed(granary.KindNotFound, name, subject, "")
	case v.State != granary.VolumeOpen && v.LastOwner == session && v.Epoch == op.Epoch+1:
		// Sealed already, by this very request or by an earlier one of its kind.
	case v.State != granary.VolumeOpen || v.Owner != session || v.Epoch != op.Epoch:
		return failed(granary.KindStale, name, subject, "it is %s at epoch %d", v.State, v.Epoch)
	default:
		t.seal(op.Volume)
	}
	return granary.Result{Volume: t.volumeResult(op.Volume, v)}
}

// seal moves an open volume to sealing: the epoch rises, so no commit of its writer counts any more.
func (t *txn) seal(id granary.VolumeID) {
	v := t.volumes.get(t, id)
	t.del(keyWriting(v.Owner, id))
	store(t, keyWriting(0, id), &numberRecord{})
	v.State, v.Owner = granary.VolumeSealing, 0
	v.Epoch++
	t.volumes.touch(id)
}

// shardsSealed notes shards that their servers have sealed.
func (t *txn) shardsSealed(it *shardsSealed) granary.Result {
	const name = "shards sealed"
	v := t.volumes.get(t, it.Volume)
	if v == nil {
		return failed(granary.KindNotFound, name, fmt.Sprint(it.Volume), "")
	}
	if v.State == granary.VolumeOpen || v.Epoch != it.Epoch {
		return failed(granary.KindStale, name, fmt.Sprint(it.Volume), "it is %s at epoch %d", v.State, v.Epoch)
	}
	all := uint32(1)<<(v.DataShards+v.ParityShards) - 1
	v.Sealed |= it.Shards & all
	if v.Sealed == all && v.State == granary.VolumeSealing {
		v.State = granary.VolumeSealed
		t.del(keyWriting(0, it.Volume))
	}
	t.volumes.touch(it.Volume)
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}
