package master

import (
	"sync"

	"github.com/hashicorp/raft"
)

// peerTable is what the leader knows of the other nodes: whether its heartbeats reach them.
type peerTable struct {
	mu   sync.Mutex
	down map[raft.ServerID]bool
}

// newPeerTable follows what Raft observes, in Raft's own goroutines: the filter takes note, and
// passes nothing on.
func newPeerTable(r *raftNode) *peerTable {
	t := &peerTable{down: make(map[raft.ServerID]bool)}
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		t.note(o.Data)
		return false
	}))
	return t
}

func (t *peerTable) note(data any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch d := data.(type) {
	case raft.FailedHeartbeatObservation:
		t.down[d.PeerID] = true
	case raft.ResumedHeartbeatObservation:
		delete(t.down, d.PeerID)
	}
}

// reset forgets everything: a new leader takes all to be up until told otherwise, and is told of a
// node that is down at every heartbeat that fails.
func (t *peerTable) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.down)
}

// forget forgets a node that is added: what was known is of the one that was in its place before, and Raft says that
// heartbeats are answered again only of those that it has seen fail since.
func (t *peerTable) forget(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.down, id)
}

func (t *peerTable) up(id raft.ServerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.down[id]
}
