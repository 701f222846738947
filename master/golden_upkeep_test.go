package master

import (
	"fmt"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

// leaderItem makes what the leader proposes of itself; nil if the statement is something else.
func (s *script) leaderItem() item {
	switch s.args[0] {
	case "register": // register SERVER DISK…
		server := granary.Server{ID: granary.ServerID(s.args[1]), Addr: s.args[1] + ":7500"}
		for _, d := range s.args[2:] {
			server.Disks = append(server.Disks, granary.DiskID(d))
		}
		return &registerServer{server}
	case "sealed": // sealed VOLUME MASK [epoch=N]
		return &shardsSealed{Volume: s.volumes[s.args[1]], Epoch: s.epoch(), Shards: uint32(s.number(2, 2))}
	case "damaged": // damaged VOLUME MASK [epoch=N]
		return &shardsDamaged{Volume: s.volumes[s.args[1]], Epoch: s.epoch(), Shards: uint32(s.number(2, 2))}
	case "aim": // aim VOLUME SHARD DISK|none [epoch=N]
		it := &aimShard{Volume: s.volumes[s.args[1]], Epoch: s.epoch(), Shard: uint8(s.number(2, 10)), To: granary.DiskID(s.args[3])}
		if it.To == "none" {
			it.To = ""
		}
		return it
	case "adopt": // adopt VOLUME SHARD FROM TO [epoch=N]
		return &adoptShard{Volume: s.volumes[s.args[1]], Epoch: s.epoch(), Shard: uint8(s.number(2, 10)), From: granary.DiskID(s.args[3]), To: granary.DiskID(s.args[4])}
	case "absent": // absent SERVER SECONDS
		return &serversAbsent{[]absence{{granary.ServerID(s.args[1]), granary.Time(s.number(2, 10)) * granary.Time(time.Second)}}}
	case "condemn": // condemn VOLUME
		return &condemn{Volume: s.volumes[s.args[1]]}
	case "forget-volume": // forget-volume VOLUME
		return &forgetVolume{Volume: s.volumes[s.args[1]]}
	case "swept": // swept PATH: the first mark that there is, if it is that of the path
		it := &sweepDone{Inode: s.find(s.args[1])}
		for _, m := range s.m.s.sweeps(1) {
			it.Marked = m.Marked
		}
		return it
	case "swept-to": // swept-to PATH AFTER, as swept
		it := &sweepAt{Inode: s.find(s.args[1]), After: s.args[2], Marked: granary.Index(s.optionNumber("marked", 0))}
		for _, m := range s.m.s.sweeps(1) {
			it.Marked += m.Marked
		}
		return it
	}
	return nil
}

// epoch is the option of that name, or the epoch that the volume named first has.
func (s *script) epoch() granary.Epoch {
	a, err := s.m.query(&granary.GetVolume{Volume: s.volumes[s.args[1]]})
	if err != nil {
		return 1
	}
	return granary.Epoch(s.optionNumber("epoch", uint64(a.(*granary.VolumeIs).Volume.Epoch)))
}

// opOfUpkeep makes the operations by which a cluster is maintained.
func (s *script) opOfUpkeep() granary.Op {
	switch s.args[0] {
	case "place": // place VOLUME SHARD DISK [epoch=N]
		return &granary.PlaceShard{Volume: s.volumes[s.args[1]], Epoch: s.epoch(), Shard: uint8(s.number(2, 10)), To: granary.DiskID(s.args[3])}
	case "empty": // empty VOLUME
		return &granary.MoveVolume{Volume: s.volumes[s.args[1]]}
	case "move": // move VOLUME TO [epoch=N] [shard=N] [many=N], or move again, as the last time, but to where nothing is
		return s.moveOp()
	case "rewrite": // rewrite PATH TEXT,TEXT… [version=N] …, as commit
		attr, _ := s.attr(s.args[1]) // of what is not there, the inode is 0
		return &granary.Commit{Inode: attr.Inode, Content: s.content(), AtEnd: s.has("append"),
			Rewrite: granary.Index(s.optionNumber("version", uint64(max(attr.ContentVersion, 1))))}
	case "say-damaged": // say-damaged VOLUME MASK [epoch=N]
		return &granary.DamageShards{Volume: s.volumes[s.args[1]], Epoch: s.epoch(), Shards: uint32(s.number(2, 2))}
	case "disk": // disk DISK STATE [class=WORD] [reason=WORD]
		op := &granary.SetDisk{Disk: granary.DiskID(s.args[1]), Reason: s.option("reason", "")}
		for state := granary.DiskActive; state <= granary.DiskLost+1; state++ {
			if strings.HasPrefix(s.arg(2), state.String()) || s.arg(2) == "unknown" {
				op.State = state
			}
		}
		if class := s.option("class", "unchanged"); class != "unchanged" {
			op.Class = &class
		}
		return op
	case "forget": // forget SERVER
		return &granary.ForgetServer{Server: granary.ServerID(s.args[1])}
	case "forget-disk": // forget-disk DISK
		return &granary.ForgetDisk{Disk: granary.DiskID(s.args[1])}
	case "keep": // keep SECONDS BYTES
		return &granary.SetChangeLog{Settings: granary.ChangeLog{Keep: granary.Time(s.number(1, 10)) * 1e9, MaxBytes: s.number(2, 10)}}
	case "upkeep": // upkeep OVERHEAD
		u := granary.DefaultUpkeep()
		u.MaxOverhead = uint32(s.number(1, 10))
		return &granary.SetUpkeep{Upkeep: u}
	}
	return nil
}

// moveOp moves all blocks of a volume.
func (s *script) moveOp() granary.Op {
	op := &granary.MoveBlocks{Moves: s.moved}
	if s.args[1] != "again" {
		op.Moves = nil
		for _, b := range s.m.listBlocks(s.volumes[s.args[1]]) {
			to := granary.Location{Volume: s.volumes[s.args[2]], Epoch: granary.Epoch(s.optionNumber("epoch", 1)), Shard: uint8(s.optionNumber("shard", 0)), Length: 90}
			op.Moves = append(op.Moves, granary.BlockMove{Block: b.Block.ID, From: b.Block.Location, To: to})
		}
		s.moved = op.Moves
	}
	for i := range op.Moves {
		op.Moves[i].To.Offset = s.row
		s.row += granary.RowAlignment
		op.Moves[i].Watermark = s.row
	}
	if many := int(s.optionNumber("many", 0)); many > 0 {
		op.Moves = make([]granary.BlockMove, many)
	}
	return op
}

// show answers "show VOLUME", "show disks" and "show blocks VOLUME".
func (s *script) show() string {
	switch s.args[1] {
	case "disks":
		a := ask[*granary.Disks](s.m, &granary.ListDisks{})
		words := []string{fmt.Sprintf("%d servers", len(a.Servers))}
		for _, d := range a.Disks {
			words = append(words, strings.TrimSpace(fmt.Sprintf("%s %s %d volumes %d bytes %s %s", d.ID, d.State, d.Volumes, d.Bytes, d.Class, d.Reason)))
		}
		return strings.Join(words, ", ")
	case "blocks":
		a, err := s.m.query(&granary.ListBlocks{Volume: s.volumes[s.args[2]]})
		if err != nil {
			return granary.KindOf(err).String()
		}
		words := []string{"ok"}
		for _, b := range a.(*granary.Blocks).Blocks {
			words = append(words, fmt.Sprintf("%d at %d.%d+%d refs %d", b.Block.ID, b.Block.Location.Shard, b.Block.Location.Offset, b.Block.Location.Length, b.Refs))
		}
		return strings.Join(words, ", ")
	case "absent":
		words := []string{"ok"}
		for _, a := range s.m.s.absences() {
			words = append(words, fmt.Sprintf("%s %s", a.Server, time.Duration(a.For)))
		}
		return strings.Join(words, ", ")
	case "sweeps": // which there are, and how far they are
		words := []string{"ok"}
		for _, m := range s.m.s.sweeps(10) {
			words = append(words, fmt.Sprintf("%d after %q", m.Inode, m.After))
		}
		return strings.Join(words, ", ")
	case "fine": // files with windows that are cut too finely
		words := []string{"ok"}
		found, _ := s.m.s.fineFiles(0, 100, 100, func(granary.InodeID, *inodeRecord) (uint64, bool) { return 0, true })
		for _, f := range found {
			words = append(words, fmt.Sprintf("%d: %d", f.Inode, f.Windows))
		}
		return strings.Join(words, ", ")
	case "upkeep":
		return fmt.Sprintf("ok, %d %%", ask[*granary.UpkeepIs](s.m, &granary.GetUpkeep{}).Upkeep.MaxOverhead)
	}
	a, err := s.m.query(&granary.GetVolume{Volume: s.volumes[s.args[1]]})
	if err != nil {
		return granary.KindOf(err).String()
	}
	return showVolume(&a.(*granary.VolumeIs).Volume)
}

func showVolume(v *granary.Volume) string {
	words := []string{fmt.Sprintf("%s at epoch %d, %d live %d dead of %d, ends %d", v.State, v.Epoch, v.LiveBytes, v.DeadBytes, v.Watermark, v.Ends)}
	for _, p := range v.Shards {
		word := string(p.Disk)
		if p.Lost {
			word += " lost"
		}
		if p.Sealed {
			word += " sealed"
		}
		if p.Target != "" {
			word += " to " + string(p.Target)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}
