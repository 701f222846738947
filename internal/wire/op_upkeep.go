package wire

import "github.com/dsorchard/granary"

// The ops of maintenance.

func (f *fields) placeShard(o *granary.PlaceShard) {
	unsigned(f, 1, &o.Volume)
	unsigned(f, 2, &o.Epoch)
	unsigned(f, 3, &o.Shard)
	text(f, 4, &o.To)
}

func (f *fields) moveBlocks(o *granary.MoveBlocks) { list(f, 1, &o.Moves, (*fields).blockMove) }

func (f *fields) blockMove(m *granary.BlockMove) {
	unsigned(f, 1, &m.Block)
	unlessZero(f, 2, &m.From, (*fields).location)
	unlessZero(f, 3, &m.To, (*fields).location)
	unsigned(f, 4, &m.Watermark)
}

func (f *fields) moveVolume(o *granary.MoveVolume) { unsigned(f, 1, &o.Volume) }

func (f *fields) setDisk(o *granary.SetDisk) {
	text(f, 1, &o.Disk)
	unsigned(f, 2, &o.State)
	text(f, 3, &o.Reason)
	f.optionalText(4, &o.Class)
}

func (f *fields) forgetServer(o *granary.ForgetServer) { text(f, 1, &o.Server) }

func (f *fields) forgetDisk(o *granary.ForgetDisk) { text(f, 1, &o.Disk) }

func (f *fields) setUpkeep(o *granary.SetUpkeep) {
	required(f, 1, &o.Upkeep, (*fields).upkeep, "upkeep")
}

func (f *fields) damageShards(o *granary.DamageShards) {
	unsigned(f, 1, &o.Volume)
	unsigned(f, 2, &o.Epoch)
	unsigned(f, 3, &o.Shards)
}

func (f *fields) adoptVolume(o *granary.AdoptVolume) {
	unsigned(f, 1, &o.Volume)
	unsigned(f, 2, &o.Epoch)
	signed(f, 3, &o.DataShards)
	signed(f, 4, &o.ParityShards)
	unsigned(f, 5, &o.Watermark)
	texts(f, 6, &o.Disks)
	unsigned(f, 7, &o.Lost)
	list(f, 8, &o.Moves, (*fields).blockMove)
}

func (f *fields) upkeep(u *granary.Upkeep) {
	signed(f, 1, &u.RepairGrace)
	signed(f, 2, &u.ReclaimGrace)
	signed(f, 3, &u.YoungAge)
	unsigned(f, 4, &u.RepairRate)
	unsigned(f, 5, &u.MoveRate)
	unsigned(f, 6, &u.MaxOverhead)
	f.flag(7, &u.Paused)
}
