package master

import (
	"context"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dsorchard/granary"
)

// stateOptions says how to open the state.
type stateOptions struct {
	CacheBytes int64        // of the block cache; 0 for 128 MiB
	FS         vfs.FS       // nil for the operating system's
	Log        *slog.Logger // nil for none
}

// state is the state machine: all metadata, in a Pebble store.
type state struct {
	db *pebble.DB
}

// entry is one entry of the Raft log. Data is nil for Raft's own entries: only the index advances.
type entry struct {
	Index, Term uint64
	Data        []byte
}

// sessionRecord is a session as the state keeps it.
type sessionRecord struct {
	ID     granary.SessionID
	Client string
	Nonce  uint64
	Opened granary.Time
}

// liveness is what only the leader knows: heartbeats.
type liveness interface {
	serverUp(granary.ServerID) bool
	usage(granary.DiskID) (granary.DiskUsage, bool)
}

// openState opens the state in a directory, or makes an empty one.
func openState(dir string, o stateOptions) (*state, error) { panic("not yet") }

// close closes the store, without waiting for readers.
func (s *state) close() error { panic("not yet") }

// apply applies entries in order: one batch for all. It returns one slice of results for each entry,
// one result for each item: nil for an entry that was applied before or holds no data. It panics on
// an error of the store and on an entry it cannot decode.
func (s *state) apply(entries []entry) [][]granary.Result { panic("not yet") }

// applied returns the index and term of the last entry applied.
func (s *state) applied() (index, term uint64) { panic("not yet") }

// waitApplied waits until readers see the entry.
func (s *state) waitApplied(ctx context.Context, index uint64) error { panic("not yet") }

// checkpoint writes a copy of the state into a directory that must not exist; the copy is durable
// when it returns.
func (s *state) checkpoint(dir string) error { panic("not yet") }

// sync makes everything applied durable.
func (s *state) sync() error { panic("not yet") }

// query answers a query from one snapshot, whose index it returns.
func (s *state) query(ctx context.Context, q granary.Query, live liveness) (granary.Answer, granary.Index, error) {
	panic("not yet")
}

// sessions returns the open sessions by id.
func (s *state) sessions() []sessionRecord { panic("not yet") }

// session finds one session.
func (s *state) session(id granary.SessionID) (sessionRecord, bool) { panic("not yet") }

// volumesInState returns the volumes in a state, by id. Shards have only Disk and Server.
func (s *state) volumesInState(st granary.VolumeState) []granary.Volume { panic("not yet") }

// shardsSealedOf returns which shards of a sealing volume have been sealed: bit i for shard i.
func (s *state) shardsSealedOf(id granary.VolumeID) uint32 { panic("not yet") }

// servers returns the registered servers by id, with their Disks; Up and SeenAt are not set.
func (s *state) servers() []granary.Server { panic("not yet") }

// pendingReclaim reports whether the queue of removals holds anything.
func (s *state) pendingReclaim() bool { panic("not yet") }

// cluster returns the cluster's id; false before initCluster.
func (s *state) cluster() (granary.ClusterID, bool) { panic("not yet") }

// members returns the gRPC addresses of the nodes of the Raft group, by id.
func (s *state) members() map[string]string { panic("not yet") }

// policy finds a policy.
func (s *state) policy(id granary.PolicyID) (granary.Policy, bool) { panic("not yet") }

// user finds an S3 user by access key.
func (s *state) user(accessKey string) (granary.User, bool) { panic("not yet") }

// rootUser finds the S3 root user; false before initCluster.
func (s *state) rootUser() (granary.User, bool) { panic("not yet") }

// lastTime is the time of the last command applied: the leader's clock starts no earlier.
func (s *state) lastTime() granary.Time { panic("not yet") }
