package master

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
	"github.com/dsorchard/granary/internal/wire"
)

// ShardControl is what the leader tells volume servers. cmd supplies it; volume.Client is one.
type ShardControl interface {
	// Seal trims a shard and ends appends to it. Repeating it is harmless.
	Seal(ctx context.Context, addr string, s *granary.Seal) error
	// Sums says in short what the bytes of a sealed shard are.
	Sums(ctx context.Context, addr string, q *granary.SumShard) (*granary.ShardSums, error)
	// Drop deletes a shard, if it is the one that was created at that time; 0 for any. Repeating it is harmless.
	Drop(ctx context.Context, addr string, ref granary.ShardRef, epoch granary.Epoch, created granary.Time) error
	// List lists the shards on a disk.
	List(ctx context.Context, addr string, disk granary.DiskID) ([]granary.ShardInfo, error)
}

// Peer is a founding member of the Raft group.
type Peer struct {
	ID       string // of the node; "" for GRPCAddr
	GRPCAddr string
	RaftAddr string
}

// Options says how to run a node. Validate fills in the defaults.
type Options struct {
	Dir      string       // of this node alone; made if needed
	ID       string       // of this node in the Raft group; default: GRPCAddr at the first start, then what Dir says
	GRPCAddr string       // advertised to clients
	RaftAddr string       // bound and advertised to the other nodes
	Listener net.Listener // for Raft, instead of binding RaftAddr; closed by Close
	Peers    []Peer       // the founding members, this one among them; empty: alone
	Join     []string     // gRPC addresses of masters of a cluster: without data, wait to be added to it instead of founding one
	RootUser granary.User // keys of the S3 root user, whoever it was before; empty: made at random at the first start
	Owner    granary.Cred // uid and gid of / and /buckets in a cluster that this node founds
	Shards   ShardControl // nil: volumes are not sealed at their servers; for tests

	// Dial reaches another master, and returns what hangs up. Only who is alone needs none: the others are asked whether a
	// leader still leads before it answers a query, a node without data asks them whether it had some, and a leader asks
	// a new node who it is.
	Dial func(grpcAddr string) (wire.Master, func() error, error)

	SessionTTL      time.Duration // default 30 s
	ServerDownAfter time.Duration // without a heartbeat; default 4 s
	NotesMax        int           // of what sessions keep that attend, together: some 150 bytes each; default 1,000,000

	// HeartbeatTimeout is Raft's: after so long without a word from the leader the first of the others stands for
	// election, and a leader that reaches no majority for so long gives up. An election lasts as long at least, and
	// twice as long at most, before it is held again. A tenth to a fifth of it lies between two heartbeats. Correctness
	// does not depend on it. The default is 500 ms: stalls of disks do not delay heartbeats, only those of machines do.
	HeartbeatTimeout time.Duration

	SnapshotThreshold uint64        // entries between Raft snapshots; default 30,000
	SnapshotInterval  time.Duration // between checks of that; default 2 min
	TrailingLogs      uint64        // entries kept behind a snapshot; default 30,000

	ClockSkew time.Duration // added to the time; for tests of clocks that are wrong

	CacheBytes int64                 // of the metadata store; 0 for its default
	Registerer prometheus.Registerer // nil: metrics are counted but not exported
	Log        *slog.Logger          // nil: none

	foundingReach, foundingPatience time.Duration // see found.go; shorter in tests

	digestEvery uint64 // entries of a window of the digest; fewer in tests

	transport raft.Transport        // for tests, instead of TCP
	now       func() time.Time      // for tests, instead of time.Now
	applying  func()                // for tests: called before each batch of entries is applied; nil: nothing
	hook      func(string) error    // for tests: called between the steps of snapshots; an error stops there
	logDisk   func(disk.FS) disk.FS // for tests: what the Raft log uses instead of its disk
}

const (
	sessionTTLDefault        = 30 * time.Second
	serverDownAfterDefault   = 4 * time.Second
	heartbeatTimeoutDefault  = 500 * time.Millisecond
	snapshotThresholdDefault = 30_000
	snapshotIntervalDefault  = 2 * time.Minute
	trailingLogsDefault      = 30_000
	notesMaxDefault          = 1_000_000
)

// Validate checks the options and fills in the defaults.
func (o *Options) Validate() error {
	switch {
	case o.Dir == "":
		return optionsError("Dir is empty")
	case o.GRPCAddr == "":
		return optionsError("GRPCAddr is empty")
	case o.RaftAddr == "" && o.Listener == nil && o.transport == nil:
		return optionsError("neither RaftAddr nor Listener is given")
	case len(o.Peers) > 0 && len(o.Peers)%2 == 0:
		return optionsError("%d masters: an even number survives no more failures than one less; use 1, 3 or 5", len(o.Peers))
	case len(o.Peers) > 1 && o.Dial == nil:
		return optionsError("Dial is not given, and there are %d masters, which have to reach each other", len(o.Peers))
	case (o.RootUser.AccessKey == "") != (o.RootUser.SecretKey == ""):
		return optionsError("the root user needs both an access key and a secret key")
	case o.NotesMax < 0:
		return optionsError("NotesMax is negative")
	case o.SessionTTL < 0 || o.ServerDownAfter < 0 || o.HeartbeatTimeout < 0 || o.SnapshotInterval < 0:
		return optionsError("a duration is negative")
	}
	o.setDefaults()
	return o.validatePeers()
}

func (o *Options) setDefaults() {
	if o.RaftAddr == "" && o.Listener != nil {
		o.RaftAddr = o.Listener.Addr().String()
	}
	if o.RaftAddr == "" && o.transport != nil {
		o.RaftAddr = string(o.transport.LocalAddr())
	}
	setDefault(&o.SessionTTL, sessionTTLDefault)
	setDefault(&o.ServerDownAfter, serverDownAfterDefault)
	setDefault(&o.HeartbeatTimeout, heartbeatTimeoutDefault)
	setDefault(&o.SnapshotInterval, snapshotIntervalDefault)
	setDefault(&o.foundingReach, foundingReachDefault)
	setDefault(&o.foundingPatience, foundingPatienceDefault)
	setDefault(&o.SnapshotThreshold, snapshotThresholdDefault)
	setDefault(&o.TrailingLogs, trailingLogsDefault)
	setDefault(&o.NotesMax, notesMaxDefault)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		skew := o.ClockSkew
		o.now = func() time.Time { return time.Now().Add(skew) }
	}
	if o.hook == nil {
		o.hook = func(string) error { return nil }
	}
	peers := make([]Peer, len(o.Peers))
	for i, p := range o.Peers {
		setDefault(&p.ID, p.GRPCAddr)
		peers[i] = p
	}
	o.Peers = peers
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// validatePeers checks that the founding members are told apart by every name they have.
func (o *Options) validatePeers() error {
	seen := make(map[string]string)
	for _, p := range o.Peers {
		if p.GRPCAddr == "" || p.RaftAddr == "" {
			return optionsError("peer %q lacks an address", p.ID)
		}
		for _, name := range []string{"id " + p.ID, "gRPC address " + p.GRPCAddr, "Raft address " + p.RaftAddr} {
			if other, ok := seen[name]; ok {
				return optionsError("peers %s and %s both have the %s", other, p.ID, name)
			}
			seen[name] = p.ID
		}
	}
	return nil
}

// self finds this node among the founding members, by id or by gRPC address.
func (o *Options) self(id string) (Peer, bool) {
	for _, p := range o.Peers {
		if p.ID == id || (id == "" && p.GRPCAddr == o.GRPCAddr) {
			return p, true
		}
	}
	return Peer{}, false
}

func optionsError(format string, args ...any) error {
	return granary.Errorf(granary.KindInvalid, "master.options", "", format, args...)
}
