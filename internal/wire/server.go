package wire

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// What both ends of a connection agree on.
const (
	messageSizeMax   = 64 << 20 // bytes of one request or reply
	streamWindow     = 8 << 20  // bytes in flight for one call
	connectionWindow = 16 << 20 // bytes in flight for all calls of a connection
	bufferSize       = 128 << 10
	streamWorkers    = 64               // goroutines that serve calls, and keep their stacks; more are started as needed
	keepaliveTime    = 20 * time.Second // of silence before a ping
	keepaliveTimeout = 10 * time.Second // for the ping's answer before the connection is given up
)

// ServerOptions are those that a gRPC server must be made with for the clients of DialMaster. Its
// Stop waits for the handlers.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(messageSizeMax),
		grpc.MaxSendMsgSize(messageSizeMax),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.ReadBufferSize(bufferSize),
		grpc.WriteBufferSize(bufferSize),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		// Half of what clients use: a ping a little early is no offence.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveTime / 2, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
	}
}

// ServeMaster registers a master with a gRPC server.
func ServeMaster(s grpc.ServiceRegistrar, m Master) {
	pb.RegisterMasterServer(s, &masterServer{master: m})
}

// masterServer turns calls of gRPC into calls of a Master.
type masterServer struct {
	pb.UnimplementedMasterServer
	master Master
}

func (s *masterServer) OpenSession(ctx context.Context, p *pb.OpenSessionRequest) (*pb.SessionInfo, error) {
	info, err := s.master.OpenSession(ctx, openSessionFrom(p))
	if err != nil {
		return nil, statusOf(err)
	}
	return sessionInfoTo(info), nil
}

func (s *masterServer) KeepAlive(ctx context.Context, p *pb.KeepAliveRequest) (*pb.KeepAliveReply, error) {
	reply, err := s.master.KeepAlive(ctx, keepAliveFrom(p))
	if err != nil {
		return nil, statusOf(err)
	}
	return keepAliveReplyTo(reply), nil
}

func (s *masterServer) Mutate(ctx context.Context, p *pb.MutateRequest) (*pb.MutateReply, error) {
	req, err := mutateFrom(p)
	if err != nil {
		return nil, statusOf(err)
	}
	results, err := s.master.Mutate(ctx, req)
	if err != nil {
		return nil, statusOf(err)
	}
	reply, err := resultsTo(results)
	if err != nil {
		return nil, statusOf(err)
	}
	return reply, nil
}

func (s *masterServer) Query(ctx context.Context, p *pb.QueryRequest) (*pb.QueryReply, error) {
	d := decoder{subject: "query"}
	req := d.queryRequest(p)
	if d.err != nil {
		return nil, statusOf(d.err)
	}
	answer, index, err := s.master.Query(ctx, req)
	if err != nil {
		return nil, statusOf(err)
	}
	a, err := answerTo(answer)
	if err != nil {
		return nil, statusOf(err)
	}
	return &pb.QueryReply{Index: uint64(index), Answer: a}, nil
}

func (s *masterServer) Heartbeat(ctx context.Context, p *pb.HeartbeatRequest) (*pb.HeartbeatReply, error) {
	d := decoder{subject: "heartbeat"}
	hb := d.heartbeat(p)
	if d.err != nil {
		return nil, statusOf(d.err)
	}
	reply, err := s.master.Heartbeat(ctx, hb)
	if err != nil {
		return nil, statusOf(err)
	}
	return heartbeatReplyTo(reply), nil
}

func (s *masterServer) Identify(ctx context.Context, _ *pb.IdentifyRequest) (*pb.MasterIdentity, error) {
	m, err := s.master.Identify(ctx)
	if err != nil {
		return nil, statusOf(err)
	}
	return masterIdentityTo(m), nil
}

func (s *masterServer) ReadIndex(ctx context.Context, _ *pb.ReadIndexRequest) (*pb.ReadIndexReply, error) {
	index, err := s.master.ReadIndex(ctx)
	if err != nil {
		return nil, statusOf(err)
	}
	return &pb.ReadIndexReply{Index: uint64(index)}, nil
}

func (s *masterServer) ChangeMember(ctx context.Context, p *pb.MemberChange) (*pb.ChangeMemberReply, error) {
	d := decoder{subject: "member change"}
	req := d.memberChange(p)
	if d.err != nil {
		return nil, statusOf(d.err)
	}
	if err := s.master.ChangeMember(ctx, req); err != nil {
		return nil, statusOf(err)
	}
	return new(pb.ChangeMemberReply), nil
}

func (s *masterServer) ReadBackup(ctx context.Context, p *pb.ReadBackupRequest) (*pb.BackupPiece, error) {
	piece, err := s.master.ReadBackup(ctx, &granary.ReadBackup{ID: string(p.Id), Offset: p.Offset})
	if err != nil {
		return nil, statusOf(err)
	}
	return backupPieceTo(piece), nil
}

func (s *masterServer) Work(ctx context.Context, p *pb.WorkRequest) (*pb.WorkReply, error) {
	d := decoder{subject: "work"}
	req := d.workRequest(p)
	if d.err != nil {
		return nil, statusOf(d.err)
	}
	reply, err := s.master.Work(ctx, req)
	if err != nil {
		return nil, statusOf(err)
	}
	return workReplyTo(reply), nil
}

func (s *masterServer) AwaitLock(ctx context.Context, p *pb.AwaitLockRequest) (*pb.AwaitLockReply, error) {
	d := decoder{subject: "await lock"}
	req := d.awaitLock(p)
	if d.err != nil {
		return nil, statusOf(d.err)
	}
	outcome, err := s.master.AwaitLock(ctx, req)
	if err != nil {
		return nil, statusOf(err)
	}
	return lockOutcomeTo(outcome), nil
}

func (s *masterServer) Attend(ctx context.Context, p *pb.AttendRequest) (*pb.Notices, error) {
	n, err := s.master.Attend(ctx, attendFrom(p))
	if err != nil {
		return nil, statusOf(err)
	}
	return noticesTo(n), nil
}
