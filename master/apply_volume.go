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
	if err := t.mayPlace(name, p.Disks); err != nil {
		return granary.Result{Err: err}
	}
	if sorted := slices.Sorted(slices.Values(p.Disks)); len(slices.Compact(sorted)) != len(p.Disks) || sorted[0] == "" {
		return failed(granary.KindInvalid, name, "", "the disks of a volume must differ")
	}
	t.head.LastVolume++
	id := t.head.LastVolume
	v := &volumeRecord{Epoch: 1, State: granary.VolumeOpen, DataShards: p.DataShards, ParityShards: p.ParityShards,
		Owner: session, LastOwner: session, Disks: p.Disks}
	if t.places {
		v.Policy, v.OpenedAt = op.Policy, t.now
		if policy := fetch[policyRecord](t, keyPolicy(op.Policy)); policy != nil {
			v.Auto = policy.Auto()
		}
	}
	for _, disk := range p.Disks {
		t.hold(disk, id)
	}
	t.volumes.add(id, v)
	store(t, keyWriting(session, id), &numberRecord{})
	return granary.Result{Volume: t.volumeResult(id, v)}
}

// mayPlace refuses disks that were decided about since the leader chose them, and ids that no disk has.
func (t *txn) mayPlace(op string, disks []granary.DiskID) *granary.Error {
	for _, id := range disks {
		if len(id) > granary.NameLengthMax {
			return granary.Errorf(granary.KindInvalid, op, "", "the id of a disk has %d bytes", len(id))
		}
		if s := t.disk(id).State; s == granary.DiskRetired || s == granary.DiskLost {
			return granary.Errorf(granary.KindNoSpace, op, string(id), "the disk is %s", s)
		}
	}
	return nil
}

// volumeResult is a volume as a result shows it: with addresses as registered. The leader gave it
// disks that were up.
func (t *txn) volumeResult(id granary.VolumeID, v *volumeRecord) *granary.Volume {
	at := newPlaces()
	t.eachServer(func(id granary.ServerID, r *serverRecord) bool {
		at.add(id, r)
		return true
	})
	return at.volume(id, v, func(granary.ServerID, granary.DiskID) bool { return true })
}

// sealVolume ends appends to a volume of the session, or by force of another's.
func (t *txn) sealVolume(session granary.SessionID, op *granary.SealVolume) granary.Result {
	const name = "seal volume"
	subject := fmt.Sprint(op.Volume)
	v := t.volumes.get(t, op.Volume)
	if op.Force {
		if err := t.onlySuper(name, subject); err != nil {
			return granary.Result{Err: err}
		}
	}
	switch {
	case v == nil:
		return failed(granary.KindNotFound, name, subject, "")
	case op.Force && v.State != granary.VolumeOpen:
		// What was to be had.
	case op.Force:
		t.seal(op.Volume)
	case v.State != granary.VolumeOpen && v.LastOwner == session && v.Epoch == op.Epoch+1:
		// Sealed already, by this very request or by an earlier one of its kind.
	case v.State != granary.VolumeOpen || v.Owner != session || v.Epoch != op.Epoch:
		return failed(granary.KindStale, name, subject, "it is %s at epoch %d", v.State, v.Epoch)
	default:
		t.seal(op.Volume)
	}
	return granary.Result{Volume: t.volumeResult(op.Volume, v)}
}

// sealOpen ends appends to a volume for the leader.
func (t *txn) sealOpen(it *sealOpen) granary.Result {
	v := t.volumes.get(t, it.Volume)
	if v == nil || v.State != granary.VolumeOpen || v.Epoch != it.Epoch {
		return failed(granary.KindStale, "seal open volume", fmt.Sprint(it.Volume), "it is not open at epoch %d", it.Epoch)
	}
	t.seal(it.Volume)
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}

// seal moves an open volume to sealing: the epoch rises, so no commit of its writer counts any more.
func (t *txn) seal(id granary.VolumeID) {
	v := t.volumes.get(t, id)
	t.del(keyWriting(v.Owner, id))
	store(t, keyWriting(0, id), &numberRecord{})
	v.State, v.Owner = granary.VolumeSealing, 0
	v.Epoch++
	if t.places {
		v.SealedAt = t.now
	}
	t.volumes.touch(id)
}

// shardsSealed notes shards that their servers have sealed.
func (t *txn) shardsSealed(it *shardsSealed) granary.Result {
	const name = "shards sealed"
	v := t.volumes.get(t, it.Volume)
	if v == nil {
		return failed(granary.KindNotFound, name, fmt.Sprint(it.Volume), "")
	}
	if v.State != granary.VolumeSealing && v.State != granary.VolumeSealed || v.Epoch != it.Epoch {
		return failed(granary.KindStale, name, fmt.Sprint(it.Volume), "it is %s at epoch %d", v.State, v.Epoch)
	}
	t.sealed(it.Volume, it.Shards)
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}
