package wire

import (
	"context"

	"github.com/dsorchard/granary"
)

// Master is the metadata master as its clients and the volume servers see it: in one process by
// plain calls, between processes by gRPC.
//
// Every method may return a KindUnavailable error caused by *granary.NotLeader: nothing happened,
// ask another master. KindIndeterminate says that a mutation may have happened: retry it with the
// same session and sequence. KindExpired says that the session is gone.
type Master interface {
	OpenSession(ctx context.Context, req *granary.OpenSession) (*granary.SessionInfo, error)
	KeepAlive(ctx context.Context, req *granary.KeepAlive) (*granary.KeepAliveReply, error)
	// Mutate returns one result for each request, in order.
	Mutate(ctx context.Context, req *granary.MutateRequest) ([]granary.Result, error)
	// Query returns the answer and the index of the state that it was read from.
	Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error)
	Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error)
	// Identify is answered by every node, whether it leads or not, and also by one that waits to be added.
	Identify(ctx context.Context) (*granary.MasterIdentity, error)
	// ReadIndex is answered by the leader: every state from this index on holds all that was acknowledged before the call.
	ReadIndex(ctx context.Context) (granary.Index, error)
	// ChangeMember returns when the change is done. KindBusy says that it is on its way, and how far: repeat it, which
	// is harmless at any time.
	ChangeMember(ctx context.Context, req *granary.MemberChange) error
	// ReadBackup is answered by every node of a cluster. An ID that the node no longer keeps is KindNotFound.
	ReadBackup(ctx context.Context, req *granary.ReadBackup) (*granary.BackupPiece, error)
	// Work is answered by the leader.
	Work(ctx context.Context, req *granary.WorkRequest) (*granary.WorkReply, error)
	// AwaitLock is answered by the leader, when the request for a lock is over or after granary.AwaitLockMax.
	AwaitLock(ctx context.Context, req *granary.AwaitLock) (granary.LockOutcome, error)
	// Attend is answered by the leader: at once if there is something to tell, else in time for the lease to be renewed.
	Attend(ctx context.Context, req *granary.Attend) (*granary.Notices, error)
}
