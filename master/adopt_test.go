package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

// TestVolumesAreAdopted: a restored state takes in volumes of the time that it knows nothing of, with the blocks that moved there.
func TestVolumesAreAdopted(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(4)
	m.put("f", "one")
	m.put("g", "two")
	old := m.volume
	m.ok(&granary.SealVolume{Volume: old, Epoch: 1})
	head, err := skipAhead(m.s.head) // as Restore does
	if err != nil {
		t.Fatal(err)
	}
	m.s.head.Restored, m.s.head.LastVolume, m.s.head.Incarnation = head.Restored, head.LastVolume, head.Incarnation
	var moves []granary.BlockMove
	for i, b := range m.listBlocks(old) {
		to := granary.Location{Volume: old + 5, Epoch: 3, Offset: uint64(i) * granary.RowAlignment, Length: b.Block.Location.Length}
		moves = append(moves, granary.BlockMove{Block: b.Block.ID, From: b.Block.Location, To: to})
	}
	if len(moves) != 2 {
		t.Fatalf("%+v", moves)
	}
	adopt := func(edit func(*granary.AdoptVolume)) *granary.AdoptVolume {
		op := &granary.AdoptVolume{Volume: old + 5, Epoch: 3, DataShards: 1, ParityShards: 1, Watermark: 8192, Disks: []granary.DiskID{"d3", "d4"}, Moves: moves[:1]}
		edit(op)
		return op
	}
	for name, edit := range map[string]func(*granary.AdoptVolume){
		"known":          func(op *granary.AdoptVolume) { op.Volume = old },
		"not given out":  func(op *granary.AdoptVolume) { op.Volume = head.LastVolume + 1 },
		"one disk":       func(op *granary.AdoptVolume) { op.Disks = []granary.DiskID{"d3", "d3"} },
		"no such disk":   func(op *granary.AdoptVolume) { op.Disks = []granary.DiskID{"d3", "d9"} },
		"too few disks":  func(op *granary.AdoptVolume) { op.Disks = op.Disks[:1] },
		"too much lost":  func(op *granary.AdoptVolume) { op.Lost = 3 },
		"no such shard":  func(op *granary.AdoptVolume) { op.Lost = 4 },
		"nothing in it":  func(op *granary.AdoptVolume) { op.Watermark = 0 },
		"no such volume": func(op *granary.AdoptVolume) { op.DataShards = 0 },
	} {
		if r := m.do(adopt(edit)); r.Err == nil || r.Err.Kind != granary.KindInvalid {
			t.Errorf("%s: %+v", name, r)
		}
	}
	m.fails(granary.KindTooLarge, adopt(func(op *granary.AdoptVolume) { op.Moves = make([]granary.BlockMove, granary.MovesMax+1) }))
	elsewhere := moves[0]
	elsewhere.From.Offset += 8
	outside := moves[0]
	outside.To.Offset = 8192
	m.fails(granary.KindStale, adopt(func(op *granary.AdoptVolume) { op.Moves = []granary.BlockMove{elsewhere, outside} }))
	m.fails(granary.KindStale, adopt(func(op *granary.AdoptVolume) { op.Moves = nil }))

	r := m.ok(adopt(func(op *granary.AdoptVolume) {
		op.Moves, op.Lost = []granary.BlockMove{elsewhere, moves[0], moves[0]}, 2
	}))
	if v := r.Volume; len(r.Missing) != 2 || v.State != granary.VolumeSealed || v.Epoch != 3 || v.LiveBytes != uint64(moves[0].To.Length) || !v.Shards[1].Lost || v.Shards[1].Disk != "d4" {
		t.Fatalf("%+v", r)
	}
	m.check()
	m.fails(granary.KindInvalid, adopt(func(op *granary.AdoptVolume) { op.Watermark = 4096 }))
	there := moves[1]
	there.To.Offset = 0
	if r := m.ok(adopt(func(op *granary.AdoptVolume) { op.Moves = []granary.BlockMove{there, moves[0]} })); len(r.Missing) != 1 || r.Missing[0] != 0 {
		t.Fatalf("%+v", r)
	}
	m.ok(adopt(func(op *granary.AdoptVolume) { op.Moves = moves }))
	m.check()
	if v := ask[*granary.VolumeIs](m, &granary.GetVolume{Volume: old}).Volume; v.LiveBytes != 0 {
		t.Errorf("%+v", v)
	}
	if blocks := m.listBlocks(old + 5); len(blocks) != 2 || blocks[1].Block.Location != moves[1].To {
		t.Errorf("%+v", blocks)
	}
	if v := m.openOn(1, 0, "d1"); v.ID <= head.LastVolume {
		t.Errorf("volume %d was given out", v.ID)
	}
	m.check()
}
