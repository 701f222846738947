package master

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

// delegated reports whether an inode is a directory that another session than the asking one holds, in this state.
func (v *view) delegated(id granary.InodeID) (bool, error) {
	if !v.holders {
		return false, nil
	}
	d, err := read[delegationRecord](v, keyDelegation(id))
	if err != nil || d == nil || d.Session == v.asking {
		return false, err
	}
	s, err := read[sessionRecord](v, keySession(d.Session))
	return s != nil, err
}

// reach refuses to look at an inode that is a directory which another session holds.
func (v *view) reach(op string, id granary.InodeID) error {
	held, err := v.delegated(id)
	if err == nil && held {
		return errDelegated(op, id)
	}
	return err
}

// delegatedNamed bounds the directories that one answer names as held by others.
const delegatedNamed = 256

// heldByOthers returns which of some directories others hold, and by whom.
func (s *state) heldByOthers(ids []granary.InodeID, asking granary.SessionID) map[granary.InodeID]granary.SessionID {
	held := map[granary.InodeID]granary.SessionID{}
	for _, id := range ids {
		d := one[delegationRecord](s, keyDelegation(id))
		if d != nil && d.Session != asking && one[sessionRecord](s, keySession(d.Session)) != nil {
			held[id] = d.Session
		}
	}
	return held
}

// awaitReturn has directories given back by the sessions that hold them, and waits for it. It tells what this node sees: who asks
// again afterwards gets his answer by the usual way.
func (s *Server) awaitReturn(ctx context.Context, asking granary.SessionID, q *granary.AwaitReturn) (*granary.Returned, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("await return")
	if err != nil {
		return nil, err
	}
	if len(q.Inodes) > delegatedNamed {
		return nil, granary.Errorf(granary.KindTooLarge, "await return", "", "%d directories, of %d at most", len(q.Inodes), delegatedNamed)
	}
	timeout := time.NewTimer(time.Duration(granary.AwaitReturnMax))
	defer timeout.Stop()
	for {
		st := s.states.acquire()
		advanced, retired := st.next(), st.retired // before the look, or it might be missed that something was given back
		held := st.heldByOthers(q.Inodes, asking)
		st.release()
		if len(held) == 0 {
			return &granary.Returned{}, nil
		}
		l.recalls.add(held)
		select {
		case <-advanced:
		case <-timeout.C:
			return &granary.Returned{}, nil
		case <-retired:
			return nil, s.notLeader("await return")
		case <-l.ctx.Done():
			return nil, s.notLeader("await return")
		case <-ctx.Done():
			return nil, s.ended(ctx)
		}
	}
}

// next returns a channel that is closed when the state has advanced.
func (s *state) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.advanced
}
