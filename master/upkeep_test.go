package master

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dsorchard/granary"
)

// register makes servers s1, s2, … of one disk each, d1, d2, ….
func (m *machine) register(n int) {
	m.t.Helper()
	for i := 1; i <= n; i++ {
		id := fmt.Sprint(i)
		m.itemOK(&registerServer{granary.Server{ID: granary.ServerID("s" + id), Addr: "a" + id, Disks: []granary.DiskID{granary.DiskID("d" + id)}}})
	}
}

// itemOK is item that must succeed.
func (m *machine) itemOK(it item) granary.Result {
	m.t.Helper()
	r := m.item(it)
	if r.Err != nil {
		m.t.Fatalf("%T: %v", it, r.Err)
	}
	m.check()
	return r
}

// itemFails is item that must fail with a kind.
func (m *machine) itemFails(kind granary.Kind, it item) {
	m.t.Helper()
	if r := m.item(it); kindOf(r) != kind {
		m.t.Fatalf("%T %+v: %v, want %v", it, it, r.Err, kind)
	}
	m.check()
}

// openOn opens a volume of the session on disks.
func (m *machine) openOn(k, parity int, disks ...granary.DiskID) *granary.Volume {
	m.t.Helper()
	r := m.ok(&granary.OpenVolume{Policy: 1, Placement: &granary.Placement{DataShards: k, ParityShards: parity, Disks: disks}})
	return r.Volume
}

func (m *machine) getVolume(id granary.VolumeID) granary.Volume {
	m.t.Helper()
	return ask[*granary.VolumeIs](m, &granary.GetVolume{Volume: id}).Volume
}

func (m *machine) listBlocks(id granary.VolumeID) []granary.StoredBlock {
	m.t.Helper()
	return ask[*granary.Blocks](m, &granary.ListBlocks{Volume: id}).Blocks
}

// put makes a file of one new chunk.
func (m *machine) put(name, text string) granary.InodeID {
	m.t.Helper()
	return m.ok(&granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Content: ptr(m.content(0, []byte(text)))}).Attr.Inode
}

// TestShardIsMadeWhereItWas: a damaged shard may be made anew on its own disk, which holds the volume all along.
func TestShardIsMadeWhereItWas(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(2)
	m.put("f", "one")
	id := m.volume
	m.itemOK(&sealOpen{Volume: id, Epoch: 1})
	m.itemFails(granary.KindStale, &sealOpen{Volume: id, Epoch: 2})
	m.itemOK(&shardsSealed{Volume: id, Epoch: 2, Shards: 3})
	m.itemFails(granary.KindInvalid, &aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d1"})
	m.itemOK(&shardsDamaged{Volume: id, Epoch: 2, Shards: 1})
	m.itemFails(granary.KindInvalid, &aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d2"})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d1"})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0})
	m.fails(granary.KindNotEmpty, &granary.SetDisk{Disk: "d1", State: granary.DiskRetired})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d1"})
	v := m.ok(&granary.PlaceShard{Volume: id, Epoch: 2, Shard: 0, To: "d1"}).Volume
	m.check()
	if v.State != granary.VolumeSealed || v.Shards[0].Disk != "d1" || v.Shards[0].Lost || v.Shards[0].Target != "" {
		t.Fatalf("%+v", v)
	}
	m.fails(granary.KindNotEmpty, &granary.SetDisk{Disk: "d1", State: granary.DiskRetired})
}

func TestShardsAreReplaced(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(4)
	m.put("f", "one")
	id := m.volume

	// Damage of an open volume seals it.
	m.itemFails(granary.KindStale, &aimShard{Volume: id, Epoch: 1, Shard: 0, To: "d3"})
	m.itemFails(granary.KindInvalid, &shardsDamaged{Volume: id, Epoch: 1, Shards: 4})
	m.itemFails(granary.KindInvalid, &shardsDamaged{Volume: id, Epoch: 1})
	m.itemFails(granary.KindNotFound, &shardsDamaged{Volume: 9, Epoch: 1, Shards: 1})
	v := m.itemOK(&shardsDamaged{Volume: id, Epoch: 1, Shards: 1}).Volume
	if v.State != granary.VolumeSealing || v.Epoch != 2 || !v.Shards[0].Lost || v.Shards[0].Up || v.Shards[1].Lost || !v.Shards[1].Up || v.SealedAt == 0 {
		t.Fatalf("%+v", v)
	}
	if has := ask[*granary.ChunksHad](m, &granary.HasChunks{Dataset: 1, Hashes: []granary.Hash{m.listBlocks(id)[0].Block.Hash}}).Has; has[0] {
		t.Fatal("what lies in a damaged volume is had")
	}
	m.itemFails(granary.KindStale, &shardsDamaged{Volume: id, Epoch: 1, Shards: 2})

	// A target must be a disk that may take it.
	m.ok(&granary.SetDisk{Disk: "d4", State: granary.DiskDraining, Reason: "out"})
	place := &granary.PlaceShard{Volume: id, Epoch: 2, Shard: 0, To: "d3"}
	m.fails(granary.KindStale, place)
	for _, to := range []granary.DiskID{"d2", "d4", "d9"} {
		m.itemFails(granary.KindInvalid, &aimShard{Volume: id, Epoch: 2, Shard: 0, To: to})
	}
	m.itemFails(granary.KindInvalid, &aimShard{Volume: id, Epoch: 2, Shard: 2, To: "d3"})
	m.itemFails(granary.KindStale, &aimShard{Volume: id, Epoch: 1, Shard: 0, To: "d3"})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d3"})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d3"})
	m.itemFails(granary.KindInvalid, &aimShard{Volume: id, Epoch: 2, Shard: 1, To: "d3"})
	if v := m.getVolume(id); v.Shards[0].Target != "d3" || v.Shards[1].Target != "" {
		t.Fatalf("%+v", v)
	}
	m.fails(granary.KindNotEmpty, &granary.SetDisk{Disk: "d3", State: granary.DiskRetired})

	// The place is taken once, by whom the target says; with the last shard the volume is sealed.
	m.itemOK(&shardsSealed{Volume: id, Epoch: 2, Shards: 2})
	m.fails(granary.KindStale, &granary.PlaceShard{Volume: id, Epoch: 2, Shard: 0, To: "d4"})
	m.fails(granary.KindStale, &granary.PlaceShard{Volume: id, Epoch: 2, Shard: 7, To: "d3"})
	m.fails(granary.KindStale, &granary.PlaceShard{Volume: id, Epoch: 1, Shard: 0, To: "d3"})
	m.fails(granary.KindNotFound, &granary.PlaceShard{Volume: 9, Epoch: 1, Shard: 0, To: "d3"})
	if r := m.doAs(granary.Cred{UID: 5}, place); kindOf(r) != granary.KindNotOwner {
		t.Fatal(r.Err)
	}
	r := m.ok(place)
	m.check()
	if v := r.Volume; v.State != granary.VolumeSealed || v.Shards[0].Disk != "d3" || v.Shards[0].Lost || !v.Shards[0].Sealed || v.Shards[0].Target != "" || !v.Shards[0].Up {
		t.Fatalf("%+v", v)
	}
	m.fails(granary.KindStale, place)

	// What was found out about the old place says nothing about the new one.
	m.itemFails(granary.KindStale, &shardsDamaged{Volume: id, Epoch: 2, Shards: 1, On: []granary.DiskID{"d1", "d2"}})
	if v := m.itemOK(&shardsDamaged{Volume: id, Epoch: 2, Shards: 3, On: []granary.DiskID{"d1", "d2"}}).Volume; v.Shards[0].Lost || !v.Shards[1].Lost {
		t.Fatalf("%+v", v)
	}
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 1, To: "d2"})
	m.ok(&granary.PlaceShard{Volume: id, Epoch: 2, Shard: 1, To: "d2"})
	m.ok(&granary.SetDisk{Disk: "d1", State: granary.DiskRetired})
	m.fails(granary.KindNotEmpty, &granary.SetDisk{Disk: "d3", State: granary.DiskRetired})
	m.ok(&granary.SetDisk{Disk: "d3", State: granary.DiskLost})
	if v := m.getVolume(id); v.Shards[0].Up || v.Shards[0].Lost {
		t.Fatalf("%+v", v)
	}

	// Targets are given up: by the leader, for another, and with the volume.
	m.ok(&granary.SetDisk{Disk: "d4", State: granary.DiskActive})
	m.itemFails(granary.KindInvalid, &aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d1"})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d4"})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0})
	m.itemOK(&aimShard{Volume: id, Epoch: 2, Shard: 0, To: "d4"})
	m.itemFails(granary.KindNotEmpty, &condemn{Volume: id})
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "f"})
	m.drain(0)
	if v := m.itemOK(&condemn{Volume: id}).Volume; v.State != granary.VolumeDropping || v.DroppingAt == 0 || v.Shards[0].Target != "" {
		t.Fatalf("%+v", v)
	}
	m.ok(&granary.SetDisk{Disk: "d4", State: granary.DiskRetired})
	for _, it := range []item{&shardsDamaged{Volume: id, Epoch: 2, Shards: 1}, &aimShard{Volume: id, Epoch: 2, To: "d1"}, &shardsSealed{Volume: id, Epoch: 2, Shards: 1}} {
		m.itemFails(granary.KindStale, it)
	}
}

// What somebody says of shards is taken as what their servers say: an open volume is sealed first.
func TestShardsAreSaidToBeDamaged(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(4)
	m.put("f", "one")
	id := m.volume
	m.fails(granary.KindNotFound, &granary.DamageShards{Volume: 99, Epoch: 1, Shards: 1})
	m.fails(granary.KindStale, &granary.DamageShards{Volume: id, Epoch: 2, Shards: 1})
	v := m.ok(&granary.DamageShards{Volume: id, Epoch: 1, Shards: 1}).Volume
	if v.State != granary.VolumeSealing || v.Epoch != 2 || !v.Shards[0].Lost {
		t.Fatalf("%+v", v)
	}
	m.fails(granary.KindInvalid, &granary.DamageShards{Volume: id, Epoch: 2, Shards: 1 << 20})
	m.fails(granary.KindInvalid, &granary.DamageShards{Volume: id, Epoch: 2})
	m.check()
}

func TestVolumesAreDropped(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(2)
	m.put("f", "one")
	id := m.volume
	m.itemFails(granary.KindNotFound, &condemn{Volume: 9})
	m.itemFails(granary.KindNotFound, &forgetVolume{Volume: 9})
	m.itemFails(granary.KindStale, &condemn{Volume: id})
	m.ok(&granary.SealVolume{Volume: id, Epoch: 1})
	m.itemFails(granary.KindNotEmpty, &condemn{Volume: id})
	m.itemFails(granary.KindStale, &forgetVolume{Volume: id})
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "f"})
	m.drain(0)
	m.itemOK(&condemn{Volume: id}) // from sealing, as it is when a disk of it is gone for good
	m.itemOK(&condemn{Volume: id})
	if all := m.s.volumesInState(granary.VolumeDropping); len(all) != 1 || all[0].ID != id {
		t.Fatalf("%+v", all)
	}
	m.fails(granary.KindNotEmpty, &granary.ForgetServer{Server: "s1"})
	m.itemOK(&forgetVolume{Volume: id})
	if _, err := m.query(&granary.GetVolume{Volume: id}); !granary.IsKind(err, granary.KindNotFound) {
		t.Fatal(err)
	}
	m.ok(&granary.ForgetServer{Server: "s1"})
	m.fails(granary.KindNotFound, &granary.ForgetServer{Server: "s1"})
	m.fails(granary.KindNotFound, &granary.SetDisk{Disk: "d1", State: granary.DiskDraining})
	if d := ask[*granary.Disks](m, &granary.ListDisks{}); len(d.Servers) != 1 || len(d.Disks) != 1 {
		t.Fatalf("%+v", d)
	}
	if v := m.openOn(1, 0, "d2"); v.ID <= id {
		t.Fatalf("volume %d after %d", v.ID, id)
	}
	m.check()
}

func TestBlocksAreMoved(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(4)
	for i, text := range []string{"one", "two", "three", "four"} {
		m.put(fmt.Sprint(i), text)
	}
	old := m.volume
	m.ok(&granary.SealVolume{Volume: old, Epoch: 1})
	blocks := m.listBlocks(old)
	if len(blocks) != 4 {
		t.Fatalf("%+v", blocks)
	}
	v := m.openOn(2, 1, "d1", "d2", "d3")
	move := func(i int, shard uint8, at uint64) granary.BlockMove {
		l := blocks[i].Block.Location
		to := granary.Location{Volume: v.ID, Epoch: v.Epoch, Shard: shard, Offset: at, Length: l.Length + 10}
		return granary.BlockMove{Block: blocks[i].Block.ID, From: l, To: to, Watermark: at + granary.RowAlignment}
	}
	moves := []granary.BlockMove{move(0, 1, 0), move(1, 0, 4096), move(2, 0, 0)}
	if r := m.doAs(granary.Cred{UID: 5}, &granary.MoveBlocks{Moves: moves}); kindOf(r) != granary.KindNotOwner {
		t.Fatal(r.Err)
	}
	m.fails(granary.KindTooLarge, &granary.MoveBlocks{Moves: make([]granary.BlockMove, granary.MovesMax+1)})
	bad := slices.Clone(moves)
	bad[1].To.Epoch = 2
	if r := m.fails(granary.KindStale, &granary.MoveBlocks{Moves: bad}); !slices.Equal(r.Missing, []uint32{1}) {
		t.Fatal(r.Missing)
	}
	bad[1] = moves[1]
	bad[2].To.Shard = 2
	m.fails(granary.KindInvalid, &granary.MoveBlocks{Moves: bad})
	bad[2] = moves[2]
	bad[2].To = moves[0].To
	m.fails(granary.KindInvalid, &granary.MoveBlocks{Moves: bad})
	m.check()

	// One that has died meanwhile, and one that has moved, are left, and the new copies are dead.
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "1"})
	m.drain(0)
	if r := m.ok(&granary.MoveBlocks{Moves: moves}); !slices.Equal(r.Missing, []uint32{1}) {
		t.Fatal(r.Missing)
	}
	m.check()
	now := m.getVolume(v.ID)
	if now.LiveBytes != uint64(moves[0].To.Length+moves[2].To.Length) || now.DeadBytes != uint64(moves[1].To.Length) || now.Watermark != 8192 ||
		!slices.Equal(now.Ends, []uint64{4096 + uint64(moves[1].To.Length), uint64(moves[0].To.Length)}) {
		t.Fatalf("%+v", now)
	}
	again := move(0, 0, 8192)
	if r := m.ok(&granary.MoveBlocks{Moves: []granary.BlockMove{again, moves[2]}}); !slices.Equal(r.Missing, []uint32{0}) {
		t.Fatal(r.Missing)
	}
	m.check()
	if now := m.getVolume(v.ID); now.LiveBytes != uint64(moves[0].To.Length+moves[2].To.Length) || now.DeadBytes != uint64(moves[1].To.Length+again.To.Length) {
		t.Fatalf("%+v", now)
	}
	if left := m.listBlocks(old); len(left) != 1 || left[0].Block.ID != blocks[3].Block.ID || left[0].Refs != 1 || left[0].Dataset != 1 {
		t.Fatalf("%+v", left)
	}
	listed := m.listBlocks(v.ID)
	if len(listed) != 2 || listed[0].Block.Location != moves[2].To || listed[1].Block.Location != moves[0].To {
		t.Fatalf("%+v", listed)
	}
	page := ask[*granary.Blocks](m, &granary.ListBlocks{Volume: v.ID, Limit: 1})
	if len(page.Blocks) != 1 || !page.More {
		t.Fatalf("%+v", page)
	}
	page = ask[*granary.Blocks](m, &granary.ListBlocks{Volume: v.ID, Shard: 0, From: 1})
	if len(page.Blocks) != 1 || page.More || page.Blocks[0].Block.Location.Shard != 1 {
		t.Fatalf("%+v", page)
	}

	// What is not the session's is not moved to, whatever the rest says.
	m.ok(&granary.SealVolume{Volume: v.ID, Epoch: 1})
	m.fails(granary.KindStale, &granary.MoveBlocks{Moves: []granary.BlockMove{move(3, 0, 16384)}})
	m.ok(&granary.MoveBlocks{})
}

// TestRewriteChangesNothing stores anew what a file has, in one chunk instead of many, and at every byte of which there
// is something.
func TestRewriteChangesNothing(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Mode: 0o6755}).Attr.Inode
	const pieces = 100
	chunks, whole := contents{}, []byte{}
	start := windowSize - pieces/2
	for i := range pieces {
		b := []byte{byte(i + 1)}
		c := m.content(start+uint64(i), b)
		chunks[c.Chunks[0].Hash] = b
		whole = append(whole, b...)
		m.ok(&granary.Commit{Inode: f, Content: c})
	}
	m.ok(&granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: granary.XattrETag, Value: []byte("etag")}})
	before := ask[*granary.Found](m, &granary.Lookup{Base: f, Xattrs: true})
	bytes := readBack(m, chunks, f)
	c := m.content(start, whole)
	chunks[c.Chunks[0].Hash] = whole
	op := &granary.Commit{Inode: f, Content: c, Rewrite: before.Entry.Attr.ContentVersion}
	m.failsAs(granary.KindNotOwner, granary.Cred{UID: 1000}, op)
	for _, wrong := range []func(*granary.Commit){
		func(op *granary.Commit) { op.AtEnd = true },
		func(op *granary.Commit) { op.Mtime = ptr(granary.Time(1)) },
		func(op *granary.Commit) { op.Content.Inline = []byte("inline") },
		func(op *granary.Commit) { op.Content.Extents = []granary.ExtentWrite{{Offset: start - 1, Length: 2}} },
		func(op *granary.Commit) {
			op.Content.Extents = []granary.ExtentWrite{{Offset: start + 1, Length: pieces}}
		},
		func(op *granary.Commit) { op.Content.Extents = []granary.ExtentWrite{{Offset: 5, Length: 1}} },
	} {
		bad := *op
		wrong(&bad)
		m.fails(granary.KindInvalid, &bad)
		m.check()
	}
	if r := m.ok(op); r.Attr != before.Entry.Attr {
		t.Fatalf("%+v, before %+v", r.Attr, before.Entry.Attr)
	}
	m.check()
	after := ask[*granary.Found](m, &granary.Lookup{Base: f, Xattrs: true, Layout: &granary.Range{Length: 1 << 60}})
	if after.Entry != before.Entry || len(after.Xattrs) != 1 || len(after.Layout.Extents) != 2 {
		t.Fatalf("%+v, before %+v", after, before)
	}
	if now := readBack(m, chunks, f); now.size != bytes.size || !equalBytes(now.bytes, bytes.bytes) {
		t.Fatal("the file reads otherwise")
	}
	m.ok(&granary.Commit{Inode: f, Content: granary.Content{Size: windowSize * 3}})
	m.fails(granary.KindStale, op)
}

// TestVolumesKnowTheirPolicy: when a volume was opened, and under what, is known as long as it is there.
func TestVolumesKnowTheirPolicy(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	auto := m.openOn(1, 1, "d1", "d2")
	if auto.Policy != 1 || !auto.Auto || auto.OpenedAt == 0 || auto.SealedAt != 0 {
		t.Fatalf("%+v", auto)
	}
	fixed := granary.Policy{DataShards: 1, ParityShards: 1, Class: "ssd"}
	p := m.ok(&granary.SetPolicy{Inode: granary.RootInode, Policy: fixed}).Attr.Policy
	if is := ask[*granary.PolicyIs](m, &granary.GetPolicy{Policy: p}).Policy; is != fixed {
		t.Fatalf("%+v", is)
	}
	fixed.Class = "hdd"
	if other := m.ok(&granary.SetPolicy{Inode: granary.RootInode, Policy: fixed}).Attr.Policy; other == p {
		t.Fatal("policies of different classes are one")
	}
	v := m.ok(&granary.OpenVolume{Policy: p, Placement: &granary.Placement{DataShards: 1, ParityShards: 1, Disks: []granary.DiskID{"d1", "d2"}}}).Volume
	if v.Policy != p || v.Auto {
		t.Fatalf("%+v", v)
	}

	// The mark of a sweep stays when the policy changes again while it is on.
	marks := m.s.sweeps(10)
	if len(marks) != 1 || marks[0].Inode != granary.RootInode {
		t.Fatalf("%+v", marks)
	}
	m.ok(&granary.SetPolicy{Inode: granary.RootInode, Policy: fixed})
	m.itemFails(granary.KindStale, &sweepDone{Inode: granary.RootInode, Marked: marks[0].Marked})
	m.itemOK(&sweepDone{Inode: granary.RootInode, Marked: m.s.sweeps(10)[0].Marked})
	if left := m.s.sweeps(10); len(left) != 0 {
		t.Fatalf("%+v", left)
	}
}

// TestUpkeepIsKept reads back how the cluster maintains itself.
func TestUpkeepIsKept(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	if u := m.s.upkeep(); u != granary.DefaultUpkeep() {
		t.Fatalf("%+v", u)
	}
	u := granary.Upkeep{RepairGrace: 1, ReclaimGrace: 2, YoungAge: 3, RepairRate: 4, MoveRate: 5, MaxOverhead: 106, Paused: true}
	m.ok(&granary.SetUpkeep{Upkeep: u})
	if is := ask[*granary.UpkeepIs](m, &granary.GetUpkeep{}).Upkeep; is != u || m.s.upkeep() != u {
		t.Fatalf("%+v", is)
	}
	u.YoungAge = -1
	m.fails(granary.KindInvalid, &granary.SetUpkeep{Upkeep: u})
}

// TestCheckFindsWrongPlaces breaks what the tables of places and the volumes say, one thing at a time.
func TestCheckFindsWrongPlaces(t *testing.T) {
	for name, breakIt := range map[string]func(*txn, granary.VolumeID, *blockRecord){
		"a block is not entered":   func(t *txn, _ granary.VolumeID, b *blockRecord) { t.leave(&b.Location) },
		"a block is entered twice": func(t *txn, v granary.VolumeID, _ *blockRecord) { t.enter(1, &granary.Location{Volume: v, Offset: 99}) },
		"a place of nothing":       func(t *txn, v granary.VolumeID, b *blockRecord) { t.leave(&b.Location); t.enter(9, &b.Location) },
		"a disk holds more":        func(t *txn, v granary.VolumeID, _ *blockRecord) { t.hold("d3", v) },
		"a disk holds less":        func(t *txn, v granary.VolumeID, _ *blockRecord) { t.letGo("d1", v) },
		"a disk in use is retired": func(t *txn, _ granary.VolumeID, _ *blockRecord) {
			store(t, keyDisk("d1"), &diskRecord{State: granary.DiskRetired})
		},
		"an end before a block's":   func(t *txn, v granary.VolumeID, _ *blockRecord) { t.volumes.get(t, v).Ends[0]-- },
		"an end behind the last":    func(t *txn, v granary.VolumeID, _ *blockRecord) { t.volumes.get(t, v).Ends[0] += granary.RowAlignment },
		"a lost shard of an open":   func(t *txn, v granary.VolumeID, _ *blockRecord) { t.volumes.get(t, v).Lost = 1 },
		"a shard that there is not": func(t *txn, v granary.VolumeID, _ *blockRecord) { t.volumes.get(t, v).Sealed = 4 },
		"a target of an open":       func(t *txn, v granary.VolumeID, _ *blockRecord) { t.volumes.get(t, v).aim(0, "d3"); t.hold("d3", v) },
		"two shards on one disk":    func(t *txn, v granary.VolumeID, _ *blockRecord) { t.volumes.get(t, v).Disks[1] = "d1" },
		"blocks of a dropping one": func(t *txn, v granary.VolumeID, _ *blockRecord) {
			t.seal(v)
			t.del(keyWriting(0, v))
			t.volumes.get(t, v).State = granary.VolumeDropping
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			defer m.close()
			m.put("f", "text")
			m.check()
			x := newTxn(m.s)
			x.places = true
			breakIt(x, m.volume, x.blocks.get(x, 1))
			x.volumes.get(x, m.volume)
			x.volumes.touch(m.volume)
			x.keep()
			x.pending.commit()
			if err := m.s.check(); !granary.IsKind(err, granary.KindCorrupt) {
				t.Error(err)
			}
		})
	}
}
