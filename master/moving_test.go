package master

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// moveAll seals the session's volume and moves its blocks to a new one, some of them twice, and some that are gone.
func (m *machine) moveAll(rt *rapid.T) {
	from := m.volume
	if from == 0 {
		return
	}
	m.ok(&granary.SealVolume{Volume: from, Epoch: 1})
	blocks := m.listBlocks(from)
	m.openVolume()
	op := &granary.MoveBlocks{}
	left := []uint32(nil)
	for i, b := range blocks {
		if rapid.IntRange(0, 5).Draw(rt, "stays") == 0 {
			continue
		}
		move := granary.BlockMove{Block: b.Block.ID, From: b.Block.Location, To: m.room(b.Block.Location.Length), Watermark: m.rowEnd}
		op.Moves = append(op.Moves, move)
		if rapid.IntRange(0, 5).Draw(rt, "again") == 0 { // where it no longer is
			left = append(left, uint32(len(op.Moves)))
			move.To, move.Watermark = m.room(b.Block.Location.Length), m.rowEnd
			op.Moves = append(op.Moves, move)
		}
		if rapid.IntRange(0, 5).Draw(rt, "never was") == 0 {
			left = append(left, uint32(len(op.Moves)))
			move.Block = blocks[len(blocks)-1].Block.ID + granary.BlockID(i) + 1000
			move.To, move.Watermark = m.room(10), m.rowEnd
			op.Moves = append(op.Moves, move)
		}
	}
	if r := m.ok(op); !slices.Equal(r.Missing, left) {
		rt.Fatalf("left %v, want %v", r.Missing, left)
	}
}

// room is where the next row of the session's volume begins.
func (m *machine) room(length uint32) granary.Location {
	l := granary.Location{Volume: m.volume, Epoch: 1, Offset: m.rowEnd, Length: length}
	m.rowEnd += (uint64(length) + granary.RowAlignment - 1) / granary.RowAlignment * granary.RowAlignment
	return l
}

// rewriteSome stores a run of extents of a file, one behind the other, in one new chunk.
func (m *machine) rewriteSome(rt *rapid.T, chunks contents, id granary.InodeID) {
	found := ask[*granary.Found](m, &granary.Lookup{Base: id, Layout: &granary.Range{Length: 1 << 60}})
	extents := found.Layout.Extents
	if len(extents) == 0 {
		return
	}
	hashes := map[granary.BlockID]granary.Hash{}
	for _, b := range found.Layout.Blocks {
		hashes[b.ID] = b.Hash
	}
	first := rapid.IntRange(0, len(extents)-1).Draw(rt, "first extent")
	var whole []byte
	at := extents[first].Offset
	for _, x := range extents[first:] {
		if x.Offset != at+uint64(len(whole)) {
			break
		}
		whole = append(whole, chunks[hashes[x.Block]][x.ChunkOffset:uint64(x.ChunkOffset)+x.Length]...)
	}
	c := m.content(at, whole)
	chunks[c.Chunks[0].Hash] = whole
	r := m.ok(&granary.Commit{Inode: id, Content: c, Rewrite: found.Entry.Attr.ContentVersion})
	if after := ask[*granary.Found](m, &granary.Lookup{Base: id}); after.Entry != found.Entry || r.Attr != found.Entry.Attr {
		rt.Fatalf("%+v was %+v", after.Entry, found.Entry)
	}
}

// maintain is what a leader and its workers do with volumes, in any order; the outcome is the state machine's business.
func (x *mixed) maintain(s *mixedSession) {
	all := ask[*granary.Volumes](x.m, &granary.ListVolumes{}).Volumes
	if len(all) == 0 {
		return
	}
	v := &all[x.draw(len(all), "volume")]
	disk := granary.DiskID([]string{"d1", "d2", "d3", "d4", ""}[x.draw(5, "disk")])
	shard := uint8(x.draw(2, "shard"))
	switch x.draw(11, "maintain") {
	case 0:
		x.last = "damaged"
		x.m.item(&shardsDamaged{Volume: v.ID, Epoch: v.Epoch, Shards: 1 << shard})
	case 1:
		x.last = "sealed"
		x.m.item(&shardsSealed{Volume: v.ID, Epoch: v.Epoch, Shards: uint32(x.draw(4, "shards"))})
	case 2, 3:
		x.last = "aim"
		x.m.item(&aimShard{Volume: v.ID, Epoch: v.Epoch, Shard: shard, To: disk})
	case 4, 5:
		x.do(s, &granary.PlaceShard{Volume: v.ID, Epoch: v.Epoch, Shard: shard, To: v.Shards[shard].Target})
	case 6:
		x.last = "condemn"
		x.m.item(&condemn{Volume: v.ID})
	case 7:
		x.last = "forget volume"
		x.m.item(&forgetVolume{Volume: v.ID})
	case 8:
		x.do(s, &granary.SetDisk{Disk: disk, State: granary.DiskState(1 + x.draw(5, "state"))})
	case 9:
		x.do(s, &granary.SealVolume{Volume: v.ID, Force: true})
	case 10:
		x.move(s, v.ID)
	}
}

// move moves some blocks of a volume to the session's, or where that was.
func (x *mixed) move(s *mixedSession, from granary.VolumeID) {
	x.volume(s)
	op := &granary.MoveBlocks{}
	for _, b := range x.m.listBlocks(from) {
		move := granary.BlockMove{Block: b.Block.ID, From: b.Block.Location,
			To: granary.Location{Volume: s.volume, Epoch: 1, Offset: s.end, Length: 50}, Watermark: s.end + granary.RowAlignment}
		if x.draw(4, "elsewhere") == 0 {
			move.From.Offset++
		}
		if s.end += granary.RowAlignment; x.draw(9, "twice") != 0 {
			op.Moves = append(op.Moves, move)
		}
	}
	x.do(s, op)
}

// dropVolumes drops all volumes, in which nothing is alive any more; then nothing tells of them.
func (x *mixed) dropVolumes() {
	for _, v := range ask[*granary.Volumes](x.m, &granary.ListVolumes{}).Volumes {
		x.m.itemOK(&condemn{Volume: v.ID})
		x.m.itemOK(&forgetVolume{Volume: v.ID})
	}
	for _, table := range []byte{tableVolume, tableWriting, tablePlace, tableHolds} {
		x.m.s.each([]byte{table}, func(k, _ []byte) { x.rt.Errorf("%q is left", k) })
	}
	for _, disk := range []granary.DiskID{"d1", "d2", "d3", "d4"} {
		x.m.ok(&granary.SetDisk{Disk: disk, State: granary.DiskRetired})
	}
}
