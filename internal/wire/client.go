package wire

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// Reconnecting is quick, because a client has to find a new leader in well under a second.
const (
	reconnectDelayMin = 50 * time.Millisecond
	reconnectDelayMax = 250 * time.Millisecond
	connectTimeout    = time.Second // of one attempt
)

// DialMaster returns the master at an address, HOST:PORT, and a function that closes the connection.
// It connects with the first call, and again whenever the connection is lost; a call while there is
// none fails at once, unless an attempt to connect is under way. Credentials are insecure unless the
// options, which come last, say otherwise.
//
// A call that the master did not answer is KindUnavailable, or KindCanceled when its context was
// done; for Mutate both are KindIndeterminate, because gRPC does not say for certain that a request
// was never sent.
func DialMaster(addr string, opts ...grpc.DialOption) (Master, func() error, error) {
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageSizeMax), grpc.MaxCallSendMsgSize(messageSizeMax)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: reconnectDelayMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectDelayMax},
			MinConnectTimeout: connectTimeout,
		}),
		// Nothing but the address decides where a call goes: no proxy of the environment, no
		// configuration from DNS.
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	}, opts...)
	// passthrough: the name is looked up anew at each attempt to connect.
	conn, err := grpc.NewClient("passthrough:///"+addr, all...)
	if err != nil {
		return nil, nil, granary.Errorf(granary.KindInvalid, "dial", addr, "%w", err)
	}
	c := &masterClient{addr: addr, rpc: pb.NewMasterClient(conn)}
	c.small.send = c.sendQueries
	return c, conn.Close, nil
}

// masterClient is a Master at the other end of a gRPC connection.
type masterClient struct {
	addr  string
	rpc   pb.MasterClient
	small gatherer // of queries
}

// OpenSession implements Master.
func (c *masterClient) OpenSession(ctx context.Context, req *granary.OpenSession) (*granary.SessionInfo, error) {
	p, err := c.rpc.OpenSession(ctx, openSessionTo(req))
	if err != nil {
		return nil, errorOf(ctx, err, "open session", c.addr, false)
	}
	return sessionInfoFrom(p), nil
}

// KeepAlive implements Master.
func (c *masterClient) KeepAlive(ctx context.Context, req *granary.KeepAlive) (*granary.KeepAliveReply, error) {
	p, err := c.rpc.KeepAlive(ctx, keepAliveTo(req))
	if err != nil {
		return nil, errorOf(ctx, err, "keep alive", c.addr, false)
	}
	return keepAliveReplyFrom(p), nil
}

// Mutate implements Master.
func (c *masterClient) Mutate(ctx context.Context, req *granary.MutateRequest) ([]granary.Result, error) {
	p, err := mutateTo(req)
	if err != nil {
		return nil, err
	}
	// Refused here, it certainly has not happened; refused by gRPC, one could not tell.
	if size := proto.Size(p); size > messageSizeMax {
		return nil, granary.Errorf(granary.KindTooLarge, "mutate", c.addr,
			"the requests have %d bytes, above %d", size, messageSizeMax)
	}
	reply, err := c.rpc.Mutate(ctx, p)
	if err != nil {
		return nil, errorOf(ctx, err, "mutate", c.addr, true)
	}
	results, err := resultsFrom(reply)
	if err == nil && len(results) != len(req.Requests) {
		err = granary.Errorf(granary.KindInvalid, "decode", "results", "%d results for %d requests", len(results), len(req.Requests))
	}
	if err != nil {
		return nil, granary.Errorf(granary.KindIndeterminate, "mutate", c.addr, "%w", err)
	}
	return results, nil
}

// Query implements Master.
func (c *masterClient) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	p, err := queryRequestTo(req)
	if err != nil {
		return nil, 0, err
	}
	reply, err := c.query(ctx, req.Query, p)
	if err != nil {
		return nil, 0, err
	}
	d := decoder{subject: "answer"}
	answer := d.answer(reply.Answer)
	if d.err != nil {
		return nil, 0, granary.Errorf(granary.KindInternal, "query", c.addr, "%w", d.err)
	}
	return answer, granary.Index(reply.Index), nil
}

func (c *masterClient) query(ctx context.Context, q granary.Query, p *pb.QueryRequest) (reply *pb.QueryReply, err error) {
	if gathers(q) {
		reply, err = c.small.ask(ctx, p)
	} else {
		reply, err = c.rpc.Query(ctx, p)
	}
	var own *granary.Error
	if err != nil && !errors.As(err, &own) {
		err = errorOf(ctx, err, "query", c.addr, false)
	}
	return reply, err
}

// Heartbeat implements Master.
func (c *masterClient) Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) {
	p, err := c.rpc.Heartbeat(ctx, heartbeatTo(hb))
	if err != nil {
		return nil, errorOf(ctx, err, "heartbeat", c.addr, false)
	}
	return heartbeatReplyFrom(p), nil
}

// Identify implements Master.
func (c *masterClient) Identify(ctx context.Context) (*granary.MasterIdentity, error) {
	p, err := c.rpc.Identify(ctx, new(pb.IdentifyRequest))
	if err != nil {
		return nil, errorOf(ctx, err, "identify", c.addr, false)
	}
	return masterIdentityFrom(p), nil
}

// ReadIndex implements Master.
func (c *masterClient) ReadIndex(ctx context.Context) (granary.Index, error) {
	p, err := c.rpc.ReadIndex(ctx, new(pb.ReadIndexRequest))
	if err != nil {
		return 0, errorOf(ctx, err, "read index", c.addr, false)
	}
	return granary.Index(p.Index), nil
}

// ChangeMember implements Master.
func (c *masterClient) ChangeMember(ctx context.Context, req *granary.MemberChange) error {
	if _, err := c.rpc.ChangeMember(ctx, memberChangeTo(req)); err != nil {
		return errorOf(ctx, err, "change member", c.addr, true)
	}
	return nil
}

// ReadBackup implements Master.
func (c *masterClient) ReadBackup(ctx context.Context, req *granary.ReadBackup) (*granary.BackupPiece, error) {
	p, err := c.rpc.ReadBackup(ctx, &pb.ReadBackupRequest{Id: []byte(req.ID), Offset: req.Offset})
	if err != nil {
		return nil, errorOf(ctx, err, "read backup", c.addr, false)
	}
	return backupPieceFrom(p), nil
}

// Work implements Master.
func (c *masterClient) Work(ctx context.Context, req *granary.WorkRequest) (*granary.WorkReply, error) {
	p, err := c.rpc.Work(ctx, workRequestTo(req))
	if err != nil {
		return nil, errorOf(ctx, err, "work", c.addr, false)
	}
	d := decoder{subject: "work reply"}
	reply := d.workReply(p)
	if d.err != nil {
		return nil, granary.Errorf(granary.KindInternal, "work", c.addr, "%w", d.err)
	}
	return reply, nil
}

// AwaitLock implements Master.
func (c *masterClient) AwaitLock(ctx context.Context, req *granary.AwaitLock) (granary.LockOutcome, error) {
	p, err := c.rpc.AwaitLock(ctx, awaitLockTo(req))
	if err != nil {
		return granary.LockOutcome{}, errorOf(ctx, err, "await lock", c.addr, false)
	}
	d := decoder{subject: "outcome of a lock"}
	outcome := d.lockOutcome(p)
	if d.err != nil {
		return granary.LockOutcome{}, granary.Errorf(granary.KindInternal, "await lock", c.addr, "%w", d.err)
	}
	return outcome, nil
}

// Attend implements Master.
func (c *masterClient) Attend(ctx context.Context, req *granary.Attend) (*granary.Notices, error) {
	p, err := c.rpc.Attend(ctx, attendTo(req))
	if err != nil {
		return nil, errorOf(ctx, err, "attend", c.addr, false)
	}
	return noticesFrom(p), nil
}
