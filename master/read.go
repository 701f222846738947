package master

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// confirm establishes that the state here, read from now on, holds everything acknowledged before
// confirm was called, and everything that anybody had been shown by then.
//
// What this leader acknowledged it had applied here first. What earlier leaders acknowledged was
// applied here before it took office. What a later leader acknowledged there cannot be, if a quorum
// says that this node still leads in the term in which it took office; and a term that is not l's any more,
// though this node may lead again in it, is refused. A node that is alone needs nobody's word. What the quorum's
// word proves stands at quorum.
//
// A follower may have shown what has not been applied here: it applies what it hears to be committed, and
// may be the quicker one. It hears it from this leader, which knows it to be committed first. So whatever is
// committed here by now is waited for.
func (l *leadership) confirm(ctx context.Context) error {
	if voters := l.s.voters(); len(voters) != 1 || string(voters[0].ID) != l.s.id {
		if _, err := l.check.wait(ctx); err != nil {
			if ctx.Err() != nil {
				return l.s.ended(ctx)
			}
			return l.s.notLeader("query")
		}
	}
	if l.s.raft.CurrentTerm() != l.term {
		return l.s.notLeader("query")
	}
	commit := l.s.raft.CommitIndex()
	if commit <= l.floor {
		return nil
	}
	st := l.s.states.acquire()
	defer st.release()
	if err := st.waitApplied(ctx, commit); err != nil {
		return l.s.ended(ctx)
	}
	return nil
}

// ended is the answer to a query whose context has ended: with the request, or with this server.
func (s *Server) ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errClosing) {
		return s.notLeader("query")
	}
	return granary.Errorf(granary.KindUnavailable, "query", "", "the request ended: %w", context.Cause(ctx))
}

// Query implements wire.Master.
func (s *Server) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	if q, ok := req.Query.(*granary.AwaitReturn); ok {
		a, err := s.awaitReturn(ctx, req.Session, q)
		if err != nil {
			return nil, 0, err
		}
		return a, req.MinIndex, nil
	}
	if q, ok := req.Query.(*granary.Watch); ok {
		return s.watch(ctx, req, q)
	}
	o := s.QueryMany(ctx, []*granary.QueryRequest{req})[0]
	return o.Answer, o.Index, o.Err
}

// QueryMany implements wire.ManyQuerier. The leader is confirmed once for all of them.
func (s *Server) QueryMany(ctx context.Context, reqs []*granary.QueryRequest) []wire.QueryOutcome {
	outcomes := make([]wire.QueryOutcome, len(reqs))
	fail := func(err error) []wire.QueryOutcome {
		for i := range outcomes {
			outcomes[i].Err = err
		}
		return outcomes
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return fail(err)
	}
	defer done()
	l, err := s.leader("query")
	if err != nil {
		var answering sync.WaitGroup
		for i, req := range reqs {
			answering.Go(func() { outcomes[i] = s.queryFollower(ctx, req, err) })
		}
		answering.Wait()
		return outcomes
	}
	if err := l.confirm(ctx); err != nil {
		return fail(err)
	}
	s.metrics.queries.Add(float64(len(reqs)))
	st := s.states.acquire()
	defer st.release()
	shown := granary.Index(0)
	for i, req := range reqs {
		outcomes[i] = l.query(ctx, st, req)
		shown = max(shown, outcomes[i].Index)
	}
	if err := l.settle(ctx, shown); err != nil {
		return fail(err)
	}
	return outcomes
}

// queryFollower answers at a node that does not lead, if any node may answer; otherwise the outcome is refusal.
func (s *Server) queryFollower(ctx context.Context, req *granary.QueryRequest, refusal error) (o wire.QueryOutcome) {
	if !req.Follower || !granary.AnyNodeAnswers(req.Query) {
		return wire.QueryOutcome{Err: refusal}
	}
	o.Answer, o.Index, o.Err = s.follow(ctx, req)
	return o
}

// query answers at a leader that has been confirmed.
func (l *leadership) query(ctx context.Context, st *heldState, req *granary.QueryRequest) (o wire.QueryOutcome) {
	if o.Err = l.s.reach(ctx, st, uint64(req.MinIndex)); o.Err != nil {
		return o
	}
	o.Answer, o.Index, o.Err = l.answer(ctx, st, req)
	if status, ok := o.Answer.(*granary.Status); ok && o.Err == nil {
		l.s.fillStatus(l, status)
	}
	return o
}

// answer answers from a state.
func (s *Server) answer(ctx context.Context, st *heldState, v *view, q granary.Query) (granary.Answer, granary.Index, error) {
	answer, index, err := st.queryView(ctx, v, q)
	if err != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), errClosing) {
			return nil, index, s.notLeader("query")
		}
		return nil, index, err
	}
	return answer, index, nil
}

// answer answers a query at the leader, which knows what is open, and who keeps what.
func (l *leadership) answer(ctx context.Context, st *heldState, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	v := &view{live: l.live, cred: req.Cred, asking: req.Session}
	switch q := req.Query.(type) {
	case *granary.Lookup:
		if l.mayKeep(req) {
			return l.answerKept(ctx, st, v, req)
		}
		if q.Open {
			return l.open(ctx, st, req.Session, v, q)
		}
	case *granary.ReadDir:
		if l.mayKeep(req) {
			return l.answerKept(ctx, st, v, req)
		}
	case *granary.ListTasks:
		return l.curator.listTasks(q), granary.Index(st.current().Applied), nil
	case *granary.GetDurability:
		a, err := l.curator.durability(q)
		if err != nil {
			return nil, 0, err
		}
		return a, granary.Index(st.current().Applied), nil
	}
	return l.s.answer(ctx, st, v, req.Query)
}

// reach waits until the state holds the entry. A leader holds every entry that a client can name;
// an index beyond the log is from another cluster, or from a disk that forgot.
func (s *Server) reach(ctx context.Context, st *heldState, index uint64) error {
	if applied, _ := st.applied(); applied >= index {
		return nil
	}
	if last := s.raft.LastIndex(); index > last {
		return granary.Errorf(granary.KindInvalid, "query", "", "index %d is asked for, but the log ends at %d", index, last)
	}
	if err := st.waitApplied(ctx, index); err != nil {
		return granary.Errorf(granary.KindUnavailable, "query", "", "index %d is not applied yet: %w", index, err)
	}
	return nil
}

// fillStatus adds what only the leader's node knows.
func (s *Server) fillStatus(l *leadership, status *granary.Status) {
	status.Cluster = l.cluster
	status.Leader = s.memberAddr(s.id)
	status.Masters = nil
	st := s.states.acquire()
	joined, at := st.joined(), st.places.Load()
	st.release()
	status.EffectiveK, status.EffectiveM, status.FailureDomain = effective(status.Policy, l.live.candidates(at))
	for _, m := range s.raft.GetConfiguration().Configuration().Servers {
		self := string(m.ID) == s.id
		master := granary.MasterStatus{
			ID: string(m.ID), Addr: s.memberAddr(string(m.ID)), Leader: self, Voter: m.Suffrage == raft.Voter, Up: self,
			Raft: string(m.Address), Joined: self || joined[string(m.ID)] || s.witness.saw(string(m.ID)),
		}
		if self {
			master.Applied = status.AppliedIndex
		} else {
			p, _ := s.witness.progressOf(string(m.ID))
			master.Up, master.Applied = s.peers.up(m.ID), min(granary.Index(p.Last), status.AppliedIndex)
		}
		status.Masters = append(status.Masters, master)
	}
	status.Reasons = slices.Concat(masterReasons(status.Masters), l.curator.reasons(), status.Reasons)
}

// masterReasons says what is not as it should be with the Raft group.
func masterReasons(masters []granary.MasterStatus) []string {
	var reasons []string
	voters := 0
	for _, m := range masters {
		switch {
		case !m.Up:
			reasons = append(reasons, fmt.Sprintf("master %s at %s is down", m.ID, m.Addr))
		case !m.Voter:
			reasons = append(reasons, fmt.Sprintf("master %s at %s does not vote yet: 'granary cluster member add %s' waits for it to catch up", m.ID, m.Addr, m.Addr))
		}
		if m.Voter {
			voters++
		}
	}
	if voters%2 == 0 {
		reasons = append(reasons, fmt.Sprintf("%d masters vote: an even number survives no more failures than one less", voters))
	}
	return reasons
}

// awaitContext is await that also ends with ctx.
func awaitContext(ctx context.Context, f raft.Future, gone <-chan struct{}) error {
	result := make(chan error, 1)
	go func() { result <- await(f, gone) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
