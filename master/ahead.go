package master

import (
	"sync/atomic"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/dsorchard/granary/internal/raftlog"
)

// A leader sends entries to the others while its own disk still writes them: then an entry takes as long as the slowest of these
// instead of one after the other. Raft counts what StoreLogs has stored as the leader's own vote for it, so nothing may
// follow from that vote before it is true. These see to it:
//
//   - Entries are stored ahead only while the node leads, and another vote is needed for each (aheadLog.may). That one is another
//     node's, and Raft hears of it only once the entries are durable here, too (witness.awaitDurable: of single calls, and of those in a
//     pipeline). So what Raft takes for committed is durable on a majority, as ever.
//   - Configurations are stored only when all before them is durable, and so are they.
//   - What a node says as anything but a leader, it says in a later term: a leader hears of no other in its own. Before a node enters a term,
//     all that it has stored is durable (termStore). So whatever it promises, as a follower or as a voter, holds.
//
// If an entry cannot be written after all, the log fails, and with it the node (watchDisk).

// aheadLog is the log as Raft writes it.
type aheadLog struct {
	*raftlog.Log
	raft atomic.Pointer[raft.Raft] // once it runs
}

// StoreLog implements raft.LogStore.
func (l *aheadLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l *aheadLog) StoreLogs(entries []*raft.Log) error {
	if l.may(entries) {
		return l.StoreAhead(entries)
	}
	return l.Log.StoreLogs(entries)
}

// may reports whether nothing follows from the entries' being stored here before another node has stored them. It is called by Raft's
// main goroutine, in which state and configuration change.
func (l *aheadLog) may(entries []*raft.Log) bool {
	r := l.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return false
	}
	for _, e := range entries {
		if e.Type == raft.LogConfiguration {
			return false
		}
	}
	voters := 0
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters > 1
}

// termStore is the store of term and vote as Raft writes it.
type termStore struct {
	*raftboltdb.BoltStore
	logs *raftlog.Log
}

// SetUint64 implements raft.StableStore.
func (s termStore) SetUint64(key []byte, value uint64) error {
	if err := s.logs.Sync(); err != nil {
		return err
	}
	return s.BoltStore.SetUint64(key, value)
}
