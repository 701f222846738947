package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func fillVolume(p *pb.Volume, v *granary.Volume) {
	p.Id = uint64(v.ID)
	p.Epoch = uint64(v.Epoch)
	p.State = uint32(v.State)
	p.DataShards = int64(v.DataShards)
	p.ParityShards = int64(v.ParityShards)
	p.Owner = uint64(v.Owner)
	p.Watermark = v.Watermark
	p.LiveBytes = v.LiveBytes
	p.DeadBytes = v.DeadBytes
	p.Shards = listTo(v.Shards, fillShardPlace)
	p.Policy = uint32(v.Policy)
	p.Auto = v.Auto
	p.OpenedAt = int64(v.OpenedAt)
	p.SealedAt = int64(v.SealedAt)
	p.DroppingAt = int64(v.DroppingAt)
	p.Ends = v.Ends
	p.Moving = v.Moving
}

func (d *decoder) volume(p *pb.Volume) granary.Volume {
	return granary.Volume{
		ID:           granary.VolumeID(p.Id),
		Epoch:        granary.Epoch(p.Epoch),
		State:        granary.VolumeState(d.uint8(p.State, "volume state")),
		DataShards:   d.int(p.DataShards, "k"),
		ParityShards: d.int(p.ParityShards, "m"),
		Owner:        granary.SessionID(p.Owner),
		Watermark:    p.Watermark,
		LiveBytes:    p.LiveBytes,
		DeadBytes:    p.DeadBytes,
		Shards:       listFrom(p.Shards, shardPlaceFrom),
		Policy:       granary.PolicyID(p.Policy),
		Auto:         p.Auto,
		OpenedAt:     granary.Time(p.OpenedAt),
		SealedAt:     granary.Time(p.SealedAt),
		DroppingAt:   granary.Time(p.DroppingAt),
		Ends:         p.Ends,
		Moving:       p.Moving,
	}
}

func fillShardPlace(p *pb.ShardPlace, s *granary.ShardPlace) {
	p.Disk, p.Server, p.Addr, p.Up = []byte(s.Disk), []byte(s.Server), []byte(s.Addr), s.Up
	p.Lost, p.Sealed, p.Target = s.Lost, s.Sealed, []byte(s.Target)
}

func shardPlaceFrom(p *pb.ShardPlace) granary.ShardPlace {
	return granary.ShardPlace{
		Disk:   granary.DiskID(p.Disk),
		Server: granary.ServerID(p.Server),
		Addr:   string(p.Addr),
		Up:     p.Up,
		Lost:   p.Lost,
		Sealed: p.Sealed,
		Target: granary.DiskID(p.Target),
	}
}

func fillShardInfo(p *pb.ShardInfo, s *granary.ShardInfo) {
	p.Ref = &pb.ShardRef{Disk: []byte(s.Ref.Disk), Volume: uint64(s.Ref.Volume), Shard: uint32(s.Ref.Shard)}
	p.Epoch = uint64(s.Epoch)
	p.DataShards = int64(s.DataShards)
	p.ParityShards = int64(s.ParityShards)
	p.Length = s.Length
	p.Allocated = s.Allocated
	p.Sealed = s.Sealed
	p.Poisoned = []byte(s.Poisoned)
	p.Damaged = []byte(s.Damaged)
	p.Created = int64(s.Created)
}

func (d *decoder) shardInfo(p *pb.ShardInfo) granary.ShardInfo {
	return granary.ShardInfo{
		Ref:          d.shardRef(p.Ref),
		Epoch:        granary.Epoch(p.Epoch),
		DataShards:   d.int(p.DataShards, "k"),
		ParityShards: d.int(p.ParityShards, "m"),
		Length:       p.Length,
		Allocated:    p.Allocated,
		Sealed:       p.Sealed,
		Poisoned:     string(p.Poisoned),
		Damaged:      string(p.Damaged),
		Created:      granary.Time(p.Created),
	}
}

func (d *decoder) shardRef(p *pb.ShardRef) granary.ShardRef {
	if !d.required(p != nil, "shard reference") {
		return granary.ShardRef{}
	}
	return granary.ShardRef{
		Disk:   granary.DiskID(p.Disk),
		Volume: granary.VolumeID(p.Volume),
		Shard:  d.uint8(p.Shard, "shard"),
	}
}

func fillDiskUsage(p *pb.DiskUsage, u *granary.DiskUsage) {
	p.Disk = []byte(u.Disk)
	p.Path = []byte(u.Path)
	p.Total = u.Total
	p.Free = u.Free
	p.Used = u.Used
	p.Shards = int64(u.Shards)
	p.ReadOnly = []byte(u.ReadOnly)
	p.Failing = []byte(u.Failing)
	p.Class = []byte(u.Class)
	p.Scrub = &pb.Scrub{
		Began: int64(u.Scrub.Began), Ended: int64(u.Scrub.Ended), Bytes: u.Scrub.Bytes, Total: u.Scrub.Total, Findings: u.Scrub.Findings,
	}
}

func (d *decoder) diskUsage(p *pb.DiskUsage) granary.DiskUsage {
	if !d.required(p != nil, "disk usage") {
		return granary.DiskUsage{}
	}
	return granary.DiskUsage{
		Disk:     granary.DiskID(p.Disk),
		Path:     string(p.Path),
		Total:    p.Total,
		Free:     p.Free,
		Used:     p.Used,
		Shards:   d.int(p.Shards, "shards"),
		ReadOnly: string(p.ReadOnly),
		Failing:  string(p.Failing),
		Class:    string(p.Class),
		Scrub:    d.scrub(p.Scrub),
	}
}

func (d *decoder) scrub(p *pb.Scrub) granary.Scrub {
	if !d.required(p != nil, "scrub") {
		return granary.Scrub{}
	}
	return granary.Scrub{
		Began: granary.Time(p.Began), Ended: granary.Time(p.Ended), Bytes: p.Bytes, Total: p.Total, Findings: p.Findings,
	}
}

func fillDisk(p *pb.Disk, k *granary.Disk) {
	p.Id, p.Server, p.Usage, p.Up = []byte(k.ID), []byte(k.Server), new(pb.DiskUsage), k.Up
	fillDiskUsage(p.Usage, &k.Usage)
	p.State, p.Reason, p.Class, p.Since = uint32(k.State), []byte(k.Reason), []byte(k.Class), int64(k.Since)
	p.Volumes, p.Bytes = int64(k.Volumes), k.Bytes
}

func (d *decoder) disk(p *pb.Disk) granary.Disk {
	return granary.Disk{
		ID:     granary.DiskID(p.Id),
		Server: granary.ServerID(p.Server),
		Usage:  d.diskUsage(p.Usage),
		Up:     p.Up,
		State:  granary.DiskState(d.uint8(p.State, "disk state")),
		Reason: string(p.Reason),
		Class:  string(p.Class),
		Since:  granary.Time(p.Since),

		Volumes: d.int(p.Volumes, "volumes"),
		Bytes:   p.Bytes,
	}
}

func fillServer(p *pb.Server, s *granary.Server) {
	p.Id = []byte(s.ID)
	p.Addr = []byte(s.Addr)
	p.Zone = []byte(s.Zone)
	p.Rack = []byte(s.Rack)
	p.Up = s.Up
	p.Disks = textsTo(s.Disks)
	p.SeenAt = int64(s.SeenAt)
}

func serverFrom(p *pb.Server) granary.Server {
	return granary.Server{
		ID:     granary.ServerID(p.Id),
		Addr:   string(p.Addr),
		Zone:   string(p.Zone),
		Rack:   string(p.Rack),
		Up:     p.Up,
		Disks:  textsFrom[granary.DiskID](p.Disks),
		SeenAt: granary.Time(p.SeenAt),
	}
}
