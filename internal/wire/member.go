package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func keepAliveTo(k *granary.KeepAlive) *pb.KeepAliveRequest {
	return &pb.KeepAliveRequest{
		Session: uint64(k.Session),
		Report:  k.Report,
		Term:    k.Term,
		All:     k.All,
		Opened:  numbersTo(k.Opened),
		Closed:  numbersTo(k.Closed),

		Attendance: k.Attendance,
	}
}

func keepAliveFrom(p *pb.KeepAliveRequest) *granary.KeepAlive {
	return &granary.KeepAlive{
		Session: granary.SessionID(p.Session),
		Report:  p.Report,
		Term:    p.Term,
		All:     p.All,
		Opened:  numbersFrom[granary.InodeID](p.Opened),
		Closed:  numbersFrom[granary.InodeID](p.Closed),

		Attendance: p.Attendance,
	}
}

func keepAliveReplyTo(r *granary.KeepAliveReply) *pb.KeepAliveReply {
	return &pb.KeepAliveReply{Term: r.Term, Masters: textsTo(r.Masters)}
}

func keepAliveReplyFrom(p *pb.KeepAliveReply) *granary.KeepAliveReply {
	return &granary.KeepAliveReply{Term: p.Term, Masters: textsFrom[string](p.Masters)}
}

func masterIdentityTo(m *granary.MasterIdentity) *pb.MasterIdentity {
	return &pb.MasterIdentity{
		Id:       []byte(m.ID),
		GrpcAddr: []byte(m.GRPCAddr),
		RaftAddr: []byte(m.RaftAddr),
		Cluster:  []byte(m.Cluster),
		Term:     m.Term,
		Empty:    m.Empty,
	}
}

func masterIdentityFrom(p *pb.MasterIdentity) *granary.MasterIdentity {
	return &granary.MasterIdentity{
		ID:       string(p.Id),
		GRPCAddr: string(p.GrpcAddr),
		RaftAddr: string(p.RaftAddr),
		Cluster:  granary.ClusterID(p.Cluster),
		Term:     p.Term,
		Empty:    p.Empty,
	}
}

func memberChangeTo(m *granary.MemberChange) *pb.MemberChange {
	return &pb.MemberChange{Action: uint32(m.Action), Id: []byte(m.ID), GrpcAddr: []byte(m.GRPCAddr)}
}

func (d *decoder) memberChange(p *pb.MemberChange) *granary.MemberChange {
	return &granary.MemberChange{
		Action:   granary.MemberAction(d.uint8(p.Action, "action")),
		ID:       string(p.Id),
		GRPCAddr: string(p.GrpcAddr),
	}
}

func backupPieceTo(b *granary.BackupPiece) *pb.BackupPiece {
	return &pb.BackupPiece{
		Id:      []byte(b.ID),
		Cluster: []byte(b.Cluster),
		Index:   uint64(b.Index),
		Size:    b.Size,
		Data:    b.Data,
	}
}

func backupPieceFrom(p *pb.BackupPiece) *granary.BackupPiece {
	return &granary.BackupPiece{
		ID:      string(p.Id),
		Cluster: granary.ClusterID(p.Cluster),
		Index:   granary.Index(p.Index),
		Size:    p.Size,
		Data:    p.Data,
	}
}
