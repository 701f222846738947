package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func upkeepTo(u *granary.Upkeep) *pb.Upkeep {
	return &pb.Upkeep{
		RepairGrace:  int64(u.RepairGrace),
		ReclaimGrace: int64(u.ReclaimGrace),
		YoungAge:     int64(u.YoungAge),
		RepairRate:   u.RepairRate,
		MoveRate:     u.MoveRate,
		MaxOverhead:  u.MaxOverhead,
		Paused:       u.Paused,
	}
}

func (d *decoder) upkeep(p *pb.Upkeep) granary.Upkeep {
	if !d.required(p != nil, "upkeep") {
		return granary.Upkeep{}
	}
	return granary.Upkeep{
		RepairGrace:  granary.Time(p.RepairGrace),
		ReclaimGrace: granary.Time(p.ReclaimGrace),
		YoungAge:     granary.Time(p.YoungAge),
		RepairRate:   p.RepairRate,
		MoveRate:     p.MoveRate,
		MaxOverhead:  p.MaxOverhead,
		Paused:       p.Paused,
	}
}

func taskTo(t *granary.Task) *pb.Task {
	p := new(pb.Task)
	fillTask(p, t)
	return p
}

func fillTask(p *pb.Task, t *granary.Task) {
	p.Id = uint64(t.ID)
	p.Kind = uint32(t.Kind)
	p.Volume = uint64(t.Volume)
	p.Epoch = uint64(t.Epoch)
	p.Shard = uint32(t.Shard)
	p.Target = new(pb.ShardPlace)
	fillShardPlace(p.Target, &t.Target)
	p.Policy = uint32(t.Policy)
	p.Root = uint64(t.Root)
	p.Reason = []byte(t.Reason)
	p.Rate = t.Rate
	p.After = []byte(t.After)
	p.Windows = t.Windows
}

func (d *decoder) task(p *pb.Task) granary.Task {
	if !d.required(p != nil && p.Target != nil, "task") {
		return granary.Task{}
	}
	return granary.Task{
		ID:      granary.TaskID(p.Id),
		Kind:    granary.TaskKind(d.uint8(p.Kind, "kind of task")),
		Volume:  granary.VolumeID(p.Volume),
		Epoch:   granary.Epoch(p.Epoch),
		Shard:   d.uint8(p.Shard, "shard"),
		Target:  shardPlaceFrom(p.Target),
		Policy:  granary.PolicyID(p.Policy),
		Root:    granary.InodeID(p.Root),
		Reason:  string(p.Reason),
		Rate:    p.Rate,
		After:   string(p.After),
		Windows: p.Windows,
	}
}

func fillTaskReport(p *pb.TaskReport, r *granary.TaskReport) {
	p.Task, p.Done, p.Total, p.Ended, p.Error = taskTo(&r.Task), r.Done, r.Total, r.Ended, []byte(r.Error)
	p.After = []byte(r.After)
}

func (d *decoder) taskReport(p *pb.TaskReport) granary.TaskReport {
	return granary.TaskReport{Task: d.task(p.Task), Done: p.Done, Total: p.Total, Ended: p.Ended, Error: string(p.Error), After: string(p.After)}
}

func workRequestTo(r *granary.WorkRequest) *pb.WorkRequest {
	return &pb.WorkRequest{
		Worker: []byte(r.Worker), Server: []byte(r.Server), Reports: listTo(r.Reports, fillTaskReport), Room: int64(r.Room),
	}
}

func (d *decoder) workRequest(p *pb.WorkRequest) *granary.WorkRequest {
	return &granary.WorkRequest{
		Worker:  string(p.Worker),
		Server:  granary.ServerID(p.Server),
		Reports: listFrom(p.Reports, d.taskReport),
		Room:    d.int(p.Room, "room"),
	}
}

func workReplyTo(r *granary.WorkReply) *pb.WorkReply {
	p := &pb.WorkReply{Tasks: listTo(r.Tasks, fillTask)}
	for _, id := range r.Drop {
		p.Drop = append(p.Drop, uint64(id))
	}
	return p
}

func (d *decoder) workReply(p *pb.WorkReply) *granary.WorkReply {
	r := &granary.WorkReply{Tasks: listFrom(p.Tasks, d.task)}
	for _, id := range p.Drop {
		r.Drop = append(r.Drop, granary.TaskID(id))
	}
	return r
}

func fillTaskStatus(p *pb.TaskStatus, s *granary.TaskStatus) {
	p.Task, p.Worker, p.Began, p.Done, p.Total = taskTo(&s.Task), []byte(s.Worker), int64(s.Began), s.Done, s.Total
	p.Tries, p.Error = int64(s.Tries), []byte(s.Error)
}

func (d *decoder) taskStatus(p *pb.TaskStatus) granary.TaskStatus {
	return granary.TaskStatus{
		Task:   d.task(p.Task),
		Worker: string(p.Worker),
		Began:  granary.Time(p.Began),
		Done:   p.Done,
		Total:  p.Total,
		Tries:  d.int(p.Tries, "tries"),
		Error:  string(p.Error),
	}
}

func fillVolumeDurability(p *pb.VolumeDurability, v *granary.VolumeDurability) {
	p.Volume, p.State, p.DataShards, p.ParityShards = uint64(v.Volume), uint32(v.State), int64(v.DataShards), int64(v.ParityShards)
	p.LiveBytes, p.Losses, p.DomainLosses, p.Domain = v.LiveBytes, int64(v.Losses), int64(v.DomainLosses), []byte(v.Domain)
	p.Misplaced, p.Doing, p.Eta = v.Misplaced, []byte(v.Doing), int64(v.Eta)
}

func (d *decoder) volumeDurability(p *pb.VolumeDurability) granary.VolumeDurability {
	return granary.VolumeDurability{
		Volume:       granary.VolumeID(p.Volume),
		State:        granary.VolumeState(d.uint8(p.State, "volume state")),
		DataShards:   d.int(p.DataShards, "k"),
		ParityShards: d.int(p.ParityShards, "m"),
		LiveBytes:    p.LiveBytes,
		Losses:       d.int(p.Losses, "losses"),
		DomainLosses: d.int(p.DomainLosses, "losses of domains"),
		Domain:       string(p.Domain),
		Misplaced:    p.Misplaced,
		Doing:        string(p.Doing),
		Eta:          granary.Time(p.Eta),
	}
}

func fillStoredBlock(p *pb.StoredBlock, b *granary.StoredBlock) {
	p.Block, p.Dataset, p.Refs = new(pb.BlockInfo), uint32(b.Dataset), b.Refs
	fillBlockInfo(p.Block, &b.Block)
}

func (d *decoder) storedBlock(p *pb.StoredBlock) granary.StoredBlock {
	if !d.required(p.Block != nil, "block") {
		return granary.StoredBlock{}
	}
	return granary.StoredBlock{Block: d.blockInfo(p.Block), Dataset: granary.DatasetID(p.Dataset), Refs: p.Refs}
}
