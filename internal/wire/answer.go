package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// answerTo has a case for every Answer.
func answerTo(a granary.Answer) (*pb.Answer, error) {
	p := new(pb.Answer)
	switch a := a.(type) {
	case *granary.Found:
		p.Answer = &pb.Answer_Found{Found: foundTo(a)}
	case *granary.Directory:
		b, err := encode("answer", a, roomForEntry*(len(a.Entries)+1), (*fields).directory)
		p.Answer = &pb.Answer_Directory{Directory: b}
		return p, err
	case *granary.Listing:
		b, err := encode("answer", a, roomForEntry*(len(a.Items)+1), (*fields).listing)
		p.Answer = &pb.Answer_Listing{Listing: b}
		return p, err
	case *granary.ChunksHad:
		p.Answer = &pb.Answer_ChunksHad{ChunksHad: &pb.ChunksHad{Has: a.Has}}
	case *granary.FSStats:
		p.Answer = &pb.Answer_FsStats{FsStats: &pb.FSStats{
			Bytes: a.Bytes, BytesFree: a.BytesFree, Files: a.Files, FilesFree: a.FilesFree}}
	case *granary.PolicyIs:
		p.Answer = &pb.Answer_PolicyIs{PolicyIs: &pb.PolicyIs{Policy: policyTo(&a.Policy)}}
	case *granary.UserIs:
		p.Answer = &pb.Answer_UserIs{UserIs: &pb.UserIs{User: userTo(&a.User)}}
	case *granary.Volumes:
		p.Answer = &pb.Answer_Volumes{Volumes: &pb.Volumes{Volumes: listTo(a.Volumes, fillVolume), More: a.More}}
	case *granary.Disks:
		p.Answer = &pb.Answer_Disks{Disks: &pb.Disks{
			Servers: listTo(a.Servers, fillServer), Disks: listTo(a.Disks, fillDisk)}}
	case *granary.Status:
		p.Answer = &pb.Answer_Status{Status: statusTo(a)}
	case *granary.Datasets:
		p.Answer = &pb.Answer_Datasets{Datasets: &pb.Datasets{Datasets: listTo(a.Datasets, fillDataset), More: a.More}}
	case *granary.Usages:
		p.Answer = &pb.Answer_Usages{Usages: &pb.Usages{Usages: listTo(a.Usages, fillUsage), More: a.More}}
	case *granary.VolumeIs:
		v := new(pb.Volume)
		fillVolume(v, &a.Volume)
		p.Answer = &pb.Answer_VolumeIs{VolumeIs: &pb.VolumeIs{Volume: v}}
	case *granary.Blocks:
		p.Answer = &pb.Answer_Blocks{Blocks: &pb.Blocks{Blocks: listTo(a.Blocks, fillStoredBlock), More: a.More}}
	case *granary.Tasks:
		p.Answer = &pb.Answer_Tasks{Tasks: &pb.Tasks{Tasks: listTo(a.Tasks, fillTaskStatus), More: a.More}}
	case *granary.Durability:
		p.Answer = &pb.Answer_Durability{Durability: &pb.Durability{
			Volumes: listTo(a.Volumes, fillVolumeDurability), More: a.More}}
	case *granary.UpkeepIs:
		p.Answer = &pb.Answer_UpkeepIs{UpkeepIs: &pb.UpkeepIs{Upkeep: upkeepTo(&a.Upkeep)}}
	case *granary.LockIs:
		p.Answer = &pb.Answer_LockIs{LockIs: lockIsTo(a)}
	case *granary.Locks:
		p.Answer = &pb.Answer_Locks{Locks: &pb.Locks{Locks: listTo(a.Locks, fillLock), Next: uint64(a.Next)}}
	case *granary.Returned:
		p.Answer = &pb.Answer_Returned{Returned: new(pb.Returned)}
	case *granary.PathLocks:
		p.Answer = &pb.Answer_PathLocks{PathLocks: &pb.PathLocks{Locks: listTo(a.Locks, fillPathLock), More: a.More}}
	case *granary.IdentityIs:
		b, err := encode("answer", a, roomForIdentity, (*fields).identityIs)
		p.Answer = &pb.Answer_IdentityIs{IdentityIs: b}
		return p, err
	case *granary.Identities:
		b, err := encode("answer", a, roomForIdentity, (*fields).identities)
		p.Answer = &pb.Answer_Identities{Identities: b}
		return p, err
	case *granary.IdentityUses:
		b, err := encode("answer", a, roomForIdentity, (*fields).identityUses)
		p.Answer = &pb.Answer_IdentityUses{IdentityUses: b}
		return p, err
	case *granary.Holder:
		b, err := encode("answer", a, roomForIdentity, (*fields).holder)
		p.Answer = &pb.Answer_Holder{Holder: b}
		return p, err
	case *granary.Changes:
		b, err := encode("answer", a, roomForEntry*(len(a.Changes)+1), (*fields).changes)
		p.Answer = &pb.Answer_Changes{Changes: b}
		return p, err
	case *granary.ChangeLogIs:
		p.Answer = &pb.Answer_ChangeLogIs{ChangeLogIs: &pb.ChangeLogIs{
			Settings: &pb.ChangeLog{Keep: int64(a.Settings.Keep), MaxBytes: a.Settings.MaxBytes}, Oldest: positionTo(a.Oldest), Bytes: a.Bytes}}
	default:
		return nil, granary.Errorf(granary.KindInternal, "encode", "answer", "no encoding for %T", a)
	}
	return p, nil
}

// answer has a case for every Answer. It returns nil with an error.
func (d *decoder) answer(p *pb.Answer) granary.Answer {
	switch a := p.GetAnswer().(type) {
	case *pb.Answer_Found:
		return d.found(a.Found)
	case *pb.Answer_Directory:
		return decode(d, a.Directory, (*fields).directory)
	case *pb.Answer_Listing:
		return decode(d, a.Listing, (*fields).listing)
	case *pb.Answer_ChunksHad:
		return &granary.ChunksHad{Has: a.ChunksHad.Has}
	case *pb.Answer_FsStats:
		return &granary.FSStats{
			Bytes:     a.FsStats.Bytes,
			BytesFree: a.FsStats.BytesFree,
			Files:     a.FsStats.Files,
			FilesFree: a.FsStats.FilesFree,
		}
	case *pb.Answer_PolicyIs:
		return &granary.PolicyIs{Policy: d.policy(a.PolicyIs.Policy)}
	case *pb.Answer_UserIs:
		return &granary.UserIs{User: d.user(a.UserIs.User)}
	case *pb.Answer_Volumes:
		return &granary.Volumes{Volumes: listFrom(a.Volumes.Volumes, d.volume), More: a.Volumes.More}
	case *pb.Answer_Disks:
		return &granary.Disks{
			Servers: listFrom(a.Disks.Servers, serverFrom),
			Disks:   listFrom(a.Disks.Disks, d.disk),
		}
	case *pb.Answer_Status:
		return d.status(a.Status)
	case *pb.Answer_Datasets:
		return &granary.Datasets{Datasets: listFrom(a.Datasets.Datasets, d.dataset), More: a.Datasets.More}
	case *pb.Answer_Usages:
		return &granary.Usages{Usages: listFrom(a.Usages.Usages, d.usage), More: a.Usages.More}
	case *pb.Answer_VolumeIs:
		if !d.required(a.VolumeIs.Volume != nil, "volume") {
			return nil
		}
		return &granary.VolumeIs{Volume: d.volume(a.VolumeIs.Volume)}
	case *pb.Answer_Blocks:
		return &granary.Blocks{Blocks: listFrom(a.Blocks.Blocks, d.storedBlock), More: a.Blocks.More}
	case *pb.Answer_Tasks:
		return &granary.Tasks{Tasks: listFrom(a.Tasks.Tasks, d.taskStatus), More: a.Tasks.More}
	case *pb.Answer_Durability:
		return &granary.Durability{Volumes: listFrom(a.Durability.Volumes, d.volumeDurability), More: a.Durability.More}
	case *pb.Answer_UpkeepIs:
		return &granary.UpkeepIs{Upkeep: d.upkeep(a.UpkeepIs.Upkeep)}
	case *pb.Answer_LockIs:
		return d.lockIs(a.LockIs)
	case *pb.Answer_Returned:
		return &granary.Returned{}
	case *pb.Answer_Locks:
		return &granary.Locks{Locks: listFrom(a.Locks.Locks, d.lock), Next: granary.InodeID(a.Locks.Next)}
	case *pb.Answer_PathLocks:
		return &granary.PathLocks{Locks: listFrom(a.PathLocks.Locks, d.pathLock), More: a.PathLocks.More}
	case *pb.Answer_IdentityIs:
		return decode(d, a.IdentityIs, (*fields).identityIs)
	case *pb.Answer_Identities:
		return decode(d, a.Identities, (*fields).identities)
	case *pb.Answer_IdentityUses:
		return decode(d, a.IdentityUses, (*fields).identityUses)
	case *pb.Answer_Holder:
		return decode(d, a.Holder, (*fields).holder)
	case *pb.Answer_Changes:
		return decode(d, a.Changes, (*fields).changes)
	case *pb.Answer_ChangeLogIs:
		if !d.required(a.ChangeLogIs.Settings != nil, "settings") {
			return nil
		}
		return &granary.ChangeLogIs{
			Settings: granary.ChangeLog{Keep: granary.Time(a.ChangeLogIs.Settings.Keep), MaxBytes: a.ChangeLogIs.Settings.MaxBytes},
			Oldest:   d.position(a.ChangeLogIs.Oldest),
			Bytes:    a.ChangeLogIs.Bytes,
		}
	default:
		d.bad("no answer, or one that is not known here")
		return nil
	}
}

func foundTo(a *granary.Found) *pb.Found {
	p := &pb.Found{
		Entry:  new(pb.Entry),
		Parent: uint64(a.Parent),
		Rest:   []byte(a.Rest),
		Xattrs: listTo(a.Xattrs, fillXattr),
		Layout: layoutTo(a.Layout),

		Missing:    a.Missing,
		Attendance: a.Attendance,
		Marker:     a.Marker,
	}
	fillEntry(p.Entry, &a.Entry)
	return p
}

func (d *decoder) found(p *pb.Found) *granary.Found {
	return &granary.Found{
		Entry:  d.entry(p.Entry),
		Parent: granary.InodeID(p.Parent),
		Rest:   string(p.Rest),
		Xattrs: listFrom(p.Xattrs, d.xattr),
		Layout: d.layout(p.Layout),

		Missing:    p.Missing,
		Attendance: p.Attendance,
		Marker:     p.Marker,
	}
}

func fillMasterStatus(p *pb.MasterStatus, m *granary.MasterStatus) {
	p.Id = []byte(m.ID)
	p.Addr = []byte(m.Addr)
	p.Raft = []byte(m.Raft)
	p.Leader = m.Leader
	p.Voter = m.Voter
	p.Up = m.Up
	p.Applied = uint64(m.Applied)
	p.Joined = m.Joined
}

func masterStatusFrom(p *pb.MasterStatus) granary.MasterStatus {
	return granary.MasterStatus{
		ID:      string(p.Id),
		Addr:    string(p.Addr),
		Raft:    string(p.Raft),
		Leader:  p.Leader,
		Voter:   p.Voter,
		Up:      p.Up,
		Applied: granary.Index(p.Applied),
		Joined:  p.Joined,
	}
}

func statusTo(a *granary.Status) *pb.Status {
	return &pb.Status{
		Cluster:       []byte(a.Cluster),
		Leader:        []byte(a.Leader),
		Masters:       listTo(a.Masters, fillMasterStatus),
		Servers:       int64(a.Servers),
		ServersUp:     int64(a.ServersUp),
		Disks:         int64(a.Disks),
		DisksUp:       int64(a.DisksUp),
		Volumes:       int64(a.Volumes),
		Files:         a.Files,
		LogicalBytes:  a.LogicalBytes,
		UniqueBytes:   a.UniqueBytes,
		StoredBytes:   a.StoredBytes,
		BlockBytes:    a.BlockBytes,
		Sessions:      int64(a.Sessions),
		Policy:        policyTo(&a.Policy),
		EffectiveK:    int64(a.EffectiveK),
		EffectiveM:    int64(a.EffectiveM),
		FailureDomain: []byte(a.FailureDomain),
		Health:        uint32(a.Health),
		Reasons:       textsTo(a.Reasons),
		AppliedIndex:  uint64(a.AppliedIndex),
		Incarnation:   a.Incarnation,
	}
}

func (d *decoder) status(p *pb.Status) *granary.Status {
	return &granary.Status{
		Cluster:       granary.ClusterID(p.Cluster),
		Leader:        string(p.Leader),
		Masters:       listFrom(p.Masters, masterStatusFrom),
		Servers:       d.int(p.Servers, "servers"),
		ServersUp:     d.int(p.ServersUp, "servers up"),
		Disks:         d.int(p.Disks, "disks"),
		DisksUp:       d.int(p.DisksUp, "disks up"),
		Volumes:       d.int(p.Volumes, "volumes"),
		Files:         p.Files,
		LogicalBytes:  p.LogicalBytes,
		UniqueBytes:   p.UniqueBytes,
		StoredBytes:   p.StoredBytes,
		BlockBytes:    p.BlockBytes,
		Sessions:      d.int(p.Sessions, "sessions"),
		Policy:        d.policy(p.Policy),
		EffectiveK:    d.int(p.EffectiveK, "k"),
		EffectiveM:    d.int(p.EffectiveM, "m"),
		FailureDomain: string(p.FailureDomain),
		Health:        granary.Health(d.uint8(p.Health, "health")),
		Reasons:       textsFrom[string](p.Reasons),
		AppliedIndex:  granary.Index(p.AppliedIndex),
		Incarnation:   p.Incarnation,
	}
}
