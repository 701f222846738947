package master

import (
	"github.com/dsorchard/granary"
)

// command is what one Raft log entry holds: items, applied in order, each for itself.
type command struct {
	Time  granary.Time // stamped by the leader; apply uses max(Time, last+1)
	Items []item
}

// item is one step of a command: one of the structs below. Each gives one granary.Result.
type item interface{ item() }

type (
	// mutation is one request of a session.
	mutation struct {
		Session       granary.SessionID
		LowestUnacked uint64
		Request       granary.Request
	}

	// openSession makes a session, or finds the one that the same nonce made. Result.Offset is its
	// id: the entry's index, or the next free number if the entry opens several.
	openSession struct {
		Client string
		Nonce  uint64
	}

	// expireSession ends a session whose lease ran out: as CloseSession, by the leader.
	expireSession struct{ Session granary.SessionID }

	// registerServer records a volume server's address, labels and disks (Server.Disks). Up and
	// SeenAt are not kept. A disk that was another server's moves to this one.
	registerServer struct{ Server granary.Server }

	// shardsSealed says which shards of a sealing volume have been trimmed and sealed. When all
	// have, the volume is sealed. Result: Volume. Another epoch is KindStale.
	shardsSealed struct {
		Volume granary.VolumeID
		Epoch  granary.Epoch
		Shards uint32 // bit i for shard i
	}

	// reclaim takes one bounded step of queued removals. Result.Offset is the number of keys it
	// touched; 0 says that the queue is empty.
	reclaim struct{ Limit int }

	// initCluster is the first entry of a cluster: root, buckets, default policy, root user. In a
	// cluster that has been initialised it has no effect.
	initCluster struct {
		Cluster  granary.ClusterID
		RootUser granary.User
	}

	// setMember records the gRPC address of a node of the Raft group; "" removes it.
	setMember struct{ ID, GRPCAddr string }
)

func (*mutation) item()       {}
func (*openSession) item()    {}
func (*expireSession) item()  {}
func (*registerServer) item() {}
func (*shardsSealed) item()   {}
func (*reclaim) item()        {}
func (*initCluster) item()    {}
func (*setMember) item()      {}

// marshal encodes the command. It fails only for an op that wire cannot encode.
func (c *command) marshal() ([]byte, error) { panic("not yet") }

// unmarshalCommand decodes what marshal made.
func unmarshalCommand(b []byte) (*command, error) { panic("not yet") }
