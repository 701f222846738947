package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// Two tables lead from disks to what is on them: table y has every block by volume, shard and offset, table D every
// volume by the disks that its shards are on, or are to be made on. Who applies keeps them with every change, but for
// commands of before they existed (txn.places), and for what such commands made: that is entered in bounded steps, in
// the order of ids, which the leader proposes. headRecord.IndexVolume and IndexBlock tell how far they are.

// indexKeysMax bounds the keys that one step enters.
const indexKeysMax = 2000

// indexStep is what the leader has to propose for the tables of places to become complete; nil if they are.
func (r *headRecord) indexStep() *indexBlocks {
	switch {
	case r.IndexVolume != 0:
		return &indexBlocks{Volume: r.IndexVolume}
	case r.IndexBlock != 0:
		return &indexBlocks{From: r.IndexBlock}
	}
	return nil
}

// indexBlocks takes the next step; another one has been taken already.
func (t *txn) indexBlocks(it *indexBlocks) granary.Result {
	next := t.head.indexStep()
	if next == nil || *next != *it {
		return failed(granary.KindStale, "index blocks", "", "volume %d, block %d is not the next step: %+v is", it.Volume, it.From, next)
	}
	left := indexKeysMax
	if it.Volume != 0 {
		t.head.IndexVolume = t.indexVolumes(it.Volume, &left)
	} else {
		t.head.IndexBlock = t.indexFrom(it.From, &left)
	}
	return granary.Result{Offset: uint64(indexKeysMax - left)}
}

// indexVolumes enters volumes from one on, and returns the next; 0 if there is none.
func (t *txn) indexVolumes(from granary.VolumeID, left *int) (next granary.VolumeID) {
	t.scan(keyVolume(from), keyEnd(key(tableVolume)), func(k, b []byte) bool {
		id := granary.VolumeID(keyID(k, 0))
		r, err := unmarshal[volumeRecord](b)
		must(err)
		n, _ := r.shards()
		if *left < 2*n {
			next = id
			return false
		}
		for i, disk := range r.Disks {
			t.hold(disk, id)
			t.hold(r.target(i), id)
		}
		*left -= 2 * n
		return true
	})
	return next
}

// indexFrom enters blocks from one on, and returns the next; 0 if there is none.
func (t *txn) indexFrom(from granary.BlockID, left *int) (next granary.BlockID) {
	t.scan(keyBlock(from), keyEnd(key(tableBlock)), func(k, b []byte) bool {
		id := granary.BlockID(keyID(k, 0))
		if *left == 0 {
			next = id
			return false
		}
		r, err := unmarshal[blockRecord](b)
		must(err)
		store(t, keyPlaceOf(&r.Location), &numberRecord{uint64(id)})
		t.volumes.get(t, r.Location.Volume).reach(&r.Location)
		t.volumes.touch(r.Location.Volume)
		*left--
		return true
	})
	return next
}

func keyPlaceOf(l *granary.Location) []byte { return keyPlace(l.Volume, l.Shard, l.Offset) }

// occupied returns the block that lies where a new one is said to, 0 if none does. A volume in which nothing reaches that
// far need not be looked into: so it is with nearly all new blocks.
func (t *txn) occupied(l *granary.Location) granary.BlockID {
	if !t.places || t.volumes.get(t, l.Volume).nothingAt(l) {
		return 0
	}
	if r := fetch[numberRecord](t, keyPlaceOf(l)); r != nil {
		return granary.BlockID(r.Number)
	}
	return 0
}

// errOccupied is the error of a writer that says to have written where something is.
func errOccupied(op string, l *granary.Location, is granary.BlockID) *granary.Error {
	return granary.Errorf(granary.KindInvalid, op, fmt.Sprint(l.Volume), "block %d lies at offset %d of shard %d", is, l.Offset, l.Shard)
}

// enter notes where a block lies.
func (t *txn) enter(id granary.BlockID, l *granary.Location) {
	if t.places {
		store(t, keyPlaceOf(l), &numberRecord{uint64(id)})
	}
}

// leave notes that a block lies there no more.
func (t *txn) leave(l *granary.Location) { t.del(keyPlaceOf(l)) }

// hold notes that a disk has a shard of a volume, or gets one; "" is no disk.
func (t *txn) hold(disk granary.DiskID, v granary.VolumeID) {
	if t.places && disk != "" {
		store(t, keyHolds(disk, v), &numberRecord{})
	}
}

// letGo notes that a disk has none, and gets none.
func (t *txn) letGo(disk granary.DiskID, v granary.VolumeID) {
	if disk != "" {
		t.del(keyHolds(disk, v))
	}
}

// holding returns the first volume that a disk has a shard of, or gets one of; 0 if it has none.
func (t *txn) holding(disk granary.DiskID) (v granary.VolumeID) {
	first := keyHolds(disk, 0)
	t.scan(first, keyEnd(first[:len(first)-8]), func(k, _ []byte) bool {
		_, v = holdsOf(k)
		return false
	})
	return v
}
