package master

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

// followerPatience bounds what a follower waits, for the leader's word and for its own state. Who is
// told off after it asks another node.
const followerPatience = time.Second

// ReadIndex implements wire.Master.
func (s *Server) ReadIndex(ctx context.Context) (granary.Index, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	l, err := s.leader("read index")
	if err != nil {
		return 0, err
	}
	if err := l.confirm(ctx); err != nil {
		return 0, err
	}
	st := s.states.acquire()
	defer st.release()
	applied, _ := st.applied()
	if err := l.settle(ctx, granary.Index(applied)); err != nil {
		return 0, err
	}
	return granary.Index(applied), nil
}

// askReadIndex asks the leader for the index that a read begun now must see. Whoever leads vouches for
// it (confirm): it does not matter how this node came to believe in it.
func (s *Server) askReadIndex(ctx context.Context, _ int) (granary.Index, error) {
	addr := s.leaderAddr()
	if addr == "" {
		return 0, s.notLeader("query")
	}
	m, err := s.links.to(addr)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, followerPatience)
	defer cancel()
	return m.ReadIndex(ctx)
}

// follow answers a query at a node that does not lead: as linearizable as at the leader, which was
// confirmed after the query came in, and had by then applied whatever anybody had been told. That a server
// is up this node knows from the heartbeats that it gets itself.
func (s *Server) follow(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	index, err := s.readIndex.wait(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, 0, s.ended(ctx)
	case granary.IsKind(err, granary.KindUnavailable):
		return nil, 0, err
	case err != nil: // such as the end of this node, or of its patience
		return nil, 0, s.notLeader("query")
	}
	st, err := s.acquireAt(ctx, uint64(max(index, req.MinIndex)))
	if err != nil {
		return nil, 0, err
	}
	defer st.release()
	s.metrics.queries.Inc()
	answer, shown, err := s.answer(ctx, st, &view{live: s.heard, cred: req.Cred, asking: req.Session, exact: true}, req.Query)
	if shown <= index {
		return answer, shown, err
	}
	// The state has entries that the leader had not told of: it may still hold them back, until they have been taken in.
	told, askErr := s.readIndex.wait(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, 0, s.ended(ctx)
	case askErr != nil || told < shown:
		return nil, 0, s.notLeader("query")
	}
	return answer, shown, err
}

// acquireAt waits until this node holds an entry, and returns the state that does. A snapshot may take the
// place of the state meanwhile.
func (s *Server) acquireAt(ctx context.Context, index uint64) (*heldState, error) {
	within, cancel := context.WithTimeout(ctx, followerPatience)
	defer cancel()
	for {
		st := s.states.acquire()
		err := st.waitApplied(within, index)
		if err == nil {
			return st, nil
		}
		replaced := st.replaced()
		st.release()
		switch {
		case replaced:
		case ctx.Err() != nil:
			return nil, s.ended(ctx)
		default:
			s.log.Debug("a query came to a follower that lags", "error", err)
			return nil, s.notLeader("query")
		}
	}
}
