package master

import (
	"fmt"
	"slices"

	"github.com/dsorchard/granary"
)

// volumeAt returns a volume that nobody appends to and that is not being dropped, at an epoch; else why not.
func (t *txn) volumeAt(op string, id granary.VolumeID, epoch granary.Epoch) (*volumeRecord, *granary.Error) {
	v := t.volumes.get(t, id)
	switch {
	case v == nil:
		return nil, granary.Errorf(granary.KindNotFound, op, fmt.Sprint(id), "no such volume")
	case v.State != granary.VolumeSealing && v.State != granary.VolumeSealed || v.Epoch != epoch:
		return nil, granary.Errorf(granary.KindStale, op, fmt.Sprint(id), "it is %s at epoch %d", v.State, v.Epoch)
	}
	return v, nil
}

// shardsDamaged notes that the bytes of shards are gone or damaged. Nothing more is appended to such a volume: what its
// writer adds to a row is to be on k+m disks.
func (t *txn) shardsDamaged(it *shardsDamaged) granary.Result {
	const name = "shards damaged"
	v := t.volumes.get(t, it.Volume)
	if v != nil && v.State == granary.VolumeOpen && v.Epoch == it.Epoch {
		t.seal(it.Volume)
	} else if _, err := t.volumeAt(name, it.Volume, it.Epoch); err != nil {
		return granary.Result{Err: err}
	}
	_, all := v.shards()
	if it.Shards == 0 || it.Shards&^all != 0 {
		return failed(granary.KindInvalid, name, fmt.Sprint(it.Volume), "shards %b of %d+%d", it.Shards, v.DataShards, v.ParityShards)
	}
	damaged := it.Shards
	for i, disk := range v.Disks {
		if i < len(it.On) && it.On[i] != disk { // what was looked at does not count any more
			damaged &^= 1 << i
		}
	}
	if damaged == 0 {
		return failed(granary.KindStale, name, fmt.Sprint(it.Volume), "the shards %b are on other disks now: %q", it.Shards, v.Disks)
	}
	if v.Lost|damaged != v.Lost {
		v.Lost |= damaged
		t.volumes.touch(it.Volume)
	}
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}

// damageShards is shardsDamaged by somebody's word.
func (t *txn) damageShards(op *granary.DamageShards) granary.Result {
	if err := t.onlySuper("damage shards", fmt.Sprint(op.Volume)); err != nil {
		return granary.Result{Err: err}
	}
	return t.shardsDamaged(&shardsDamaged{Volume: op.Volume, Epoch: op.Epoch, Shards: op.Shards})
}

// aimShard sets or clears the target of a shard. It is committed before a byte is built there: what is on a disk and is
// neither the place nor the target of a shard is dropped.
func (t *txn) aimShard(it *aimShard) granary.Result {
	const name = "aim shard"
	v, err := t.volumeAt(name, it.Volume, it.Epoch)
	if err != nil {
		return granary.Result{Err: err}
	}
	if n, _ := v.shards(); int(it.Shard) >= n {
		return failed(granary.KindInvalid, name, fmt.Sprint(it.Volume), "shard %d of %d+%d", it.Shard, v.DataShards, v.ParityShards)
	}
	was := v.target(int(it.Shard))
	if was == it.To {
		return granary.Result{Volume: t.volumeResult(it.Volume, v)}
	}
	if err := t.mayTarget(name, it.To, v, int(it.Shard)); err != nil {
		return granary.Result{Err: err}
	}
	t.letGoTarget(was, it.Volume, v)
	t.hold(it.To, it.Volume)
	v.aim(int(it.Shard), it.To)
	t.volumes.touch(it.Volume)
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}

// letGoTarget notes that nothing is made on a disk any more. It may have the shard that was to be replaced.
func (t *txn) letGoTarget(disk granary.DiskID, id granary.VolumeID, v *volumeRecord) {
	if !slices.Contains(v.Disks, disk) {
		t.letGo(disk, id)
	}
}

// mayTarget refuses a disk that may not take a shard of a volume. A shard that is Lost may be made anew where it was.
func (t *txn) mayTarget(op string, to granary.DiskID, v *volumeRecord, shard int) *granary.Error {
	bad := func(format string, args ...any) *granary.Error {
		return granary.Errorf(granary.KindInvalid, op, string(to), format, args...)
	}
	switch {
	case to == "":
		return nil
	case slices.Contains(v.Disks, to) && (v.Disks[shard] != to || v.Lost&(1<<shard) == 0):
		return bad("it has another shard of the volume")
	case slices.Contains(v.Targets, to):
		return bad("it is another shard's target")
	case !t.registered(to):
		return bad("no server has the disk")
	}
	if d := t.disk(to); d.State != granary.DiskActive {
		return bad("the disk is %s", d.State)
	}
	return nil
}

// placeShard makes the target of a shard its place.
func (t *txn) placeShard(op *granary.PlaceShard) granary.Result {
	const name = "place shard"
	subject := granary.ShardRef{Disk: op.To, Volume: op.Volume, Shard: op.Shard}.String()
	if err := t.onlySuper(name, subject); err != nil {
		return granary.Result{Err: err}
	}
	v, err := t.volumeAt(name, op.Volume, op.Epoch)
	if err != nil {
		return granary.Result{Err: err}
	}
	if to := v.target(int(op.Shard)); op.To == "" || to != op.To {
		return failed(granary.KindStale, name, subject, "the shard's target is %q", to)
	}
	if v.Disks[op.Shard] != op.To {
		t.letGo(v.Disks[op.Shard], op.Volume) // the target is held already
	}
	v.aim(int(op.Shard), "")
	v.Disks[op.Shard] = op.To
	v.Lost &^= 1 << op.Shard
	t.volumes.touch(op.Volume)
	t.sealed(op.Volume, 1<<op.Shard)
	return granary.Result{Volume: t.volumeResult(op.Volume, v)}
}

// adoptShard makes the place of a shard where a copy of it was found.
func (t *txn) adoptShard(it *adoptShard) granary.Result {
	const name = "adopt shard"
	subject := granary.ShardRef{Disk: it.To, Volume: it.Volume, Shard: it.Shard}.String()
	v, err := t.volumeAt(name, it.Volume, it.Epoch)
	if err != nil {
		return granary.Result{Err: err}
	}
	n, _ := v.shards()
	switch {
	case int(it.Shard) >= n || it.To == "":
		return failed(granary.KindInvalid, name, subject, "shard %d of %d+%d", it.Shard, v.DataShards, v.ParityShards)
	case v.Disks[it.Shard] != it.From:
		return failed(granary.KindStale, name, subject, "its place is disk %s", v.Disks[it.Shard])
	case slices.Contains(v.Disks, it.To):
		return failed(granary.KindInvalid, name, subject, "the disk has another shard of the volume")
	}
	if was := v.target(int(it.Shard)); was != it.To {
		if err := t.mayTarget(name, it.To, v, int(it.Shard)); err != nil {
			return granary.Result{Err: err}
		}
		if was != "" {
			t.letGoTarget(was, it.Volume, v)
		}
		t.hold(it.To, it.Volume)
	}
	v.aim(int(it.Shard), "")
	t.letGo(it.From, it.Volume)
	v.Disks[it.Shard] = it.To
	v.Lost &^= 1 << it.Shard
	t.sealed(it.Volume, 1<<it.Shard)
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}

// sealed notes that shards are sealed, and with the last of them the volume.
func (t *txn) sealed(id granary.VolumeID, shards uint32) {
	v := t.volumes.get(t, id)
	_, all := v.shards()
	v.Sealed |= shards & all
	if v.Sealed == all && v.State == granary.VolumeSealing {
		v.State = granary.VolumeSealed
		t.del(keyWriting(0, id))
	}
	t.volumes.touch(id)
}

// moveVolume notes that the blocks of a volume are to be stored anew in others, and ends appends to it.
func (t *txn) moveVolume(op *granary.MoveVolume) granary.Result {
	const name = "move volume"
	subject := fmt.Sprint(op.Volume)
	if err := t.onlySuper(name, subject); err != nil {
		return granary.Result{Err: err}
	}
	v := t.volumes.get(t, op.Volume)
	switch {
	case v == nil:
		return failed(granary.KindNotFound, name, subject, "no such volume")
	case v.State == granary.VolumeDropping:
		return failed(granary.KindStale, name, subject, "it holds nothing any more, and is %s", v.State)
	case v.State == granary.VolumeOpen:
		t.seal(op.Volume)
	}
	v.Moving = true
	t.volumes.touch(op.Volume)
	return granary.Result{Volume: t.volumeResult(op.Volume, v)}
}

// condemn begins the end of a volume without live blocks. Nothing is ever added to it: nobody appends, and a copy that is
// being made of one of its shards is wanted no more.
func (t *txn) condemn(it *condemn) granary.Result {
	const name = "condemn"
	v := t.volumes.get(t, it.Volume)
	switch {
	case v == nil:
		return failed(granary.KindNotFound, name, fmt.Sprint(it.Volume), "no such volume")
	case v.State == granary.VolumeOpen:
		return failed(granary.KindStale, name, fmt.Sprint(it.Volume), "it is %s at epoch %d", v.State, v.Epoch)
	case v.LiveBytes > 0:
		return failed(granary.KindNotEmpty, name, fmt.Sprint(it.Volume), "%d bytes in it are alive", v.LiveBytes)
	case v.State != granary.VolumeDropping:
		t.del(keyWriting(0, it.Volume))
		for _, disk := range v.Targets {
			t.letGoTarget(disk, it.Volume, v)
		}
		v.State, v.Targets, v.DroppingAt = granary.VolumeDropping, nil, t.now
		t.volumes.touch(it.Volume)
	}
	return granary.Result{Volume: t.volumeResult(it.Volume, v)}
}

// forgetVolume ends a volume. Its id is never given out again.
func (t *txn) forgetVolume(it *forgetVolume) granary.Result {
	const name = "forget volume"
	v := t.volumes.get(t, it.Volume)
	switch {
	case v == nil:
		return failed(granary.KindNotFound, name, fmt.Sprint(it.Volume), "no such volume")
	case v.State != granary.VolumeDropping:
		return failed(granary.KindStale, name, fmt.Sprint(it.Volume), "it is %s", v.State)
	}
	for _, disk := range v.Disks {
		t.letGo(disk, it.Volume)
	}
	t.volumes.remove(it.Volume)
	return granary.Result{}
}
