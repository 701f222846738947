package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func openSessionTo(o *granary.OpenSession) *pb.OpenSessionRequest {
	return &pb.OpenSessionRequest{Client: []byte(o.Client), Nonce: o.Nonce}
}

func openSessionFrom(p *pb.OpenSessionRequest) *granary.OpenSession {
	return &granary.OpenSession{Client: string(p.Client), Nonce: p.Nonce}
}

func sessionInfoTo(s *granary.SessionInfo) *pb.SessionInfo {
	return &pb.SessionInfo{Session: uint64(s.Session), Cluster: []byte(s.Cluster), Ttl: int64(s.TTL)}
}

func sessionInfoFrom(p *pb.SessionInfo) *granary.SessionInfo {
	return &granary.SessionInfo{
		Session: granary.SessionID(p.Session),
		Cluster: granary.ClusterID(p.Cluster),
		TTL:     granary.Time(p.Ttl),
	}
}

func heartbeatTo(h *granary.Heartbeat) *pb.HeartbeatRequest {
	return &pb.HeartbeatRequest{
		Server:   []byte(h.Server),
		Cluster:  []byte(h.Cluster),
		Addr:     []byte(h.Addr),
		Zone:     []byte(h.Zone),
		Rack:     []byte(h.Rack),
		Disks:    listTo(h.Disks, fillDiskUsage),
		Poisoned: listTo(h.Poisoned, fillShardInfo),
		Damaged:  listTo(h.Damaged, fillShardInfo),
	}
}

func (d *decoder) heartbeat(p *pb.HeartbeatRequest) *granary.Heartbeat {
	return &granary.Heartbeat{
		Server:   granary.ServerID(p.Server),
		Cluster:  granary.ClusterID(p.Cluster),
		Addr:     string(p.Addr),
		Zone:     string(p.Zone),
		Rack:     string(p.Rack),
		Disks:    listFrom(p.Disks, d.diskUsage),
		Poisoned: listFrom(p.Poisoned, d.shardInfo),
		Damaged:  listFrom(p.Damaged, d.shardInfo),
	}
}

func heartbeatReplyTo(r *granary.HeartbeatReply) *pb.HeartbeatReply {
	return &pb.HeartbeatReply{Cluster: []byte(r.Cluster), Leader: r.Leader, Masters: textsTo(r.Masters)}
}

func heartbeatReplyFrom(p *pb.HeartbeatReply) *granary.HeartbeatReply {
	return &granary.HeartbeatReply{Cluster: granary.ClusterID(p.Cluster), Leader: p.Leader, Masters: textsFrom[string](p.Masters)}
}
