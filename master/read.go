package master

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// verifier shares one question "do I still lead?" among all readers that wait for it. A round is put
// only after all who take part in it have arrived, so its answer holds for each of them.
type verifier struct {
	verify func() error

	mu      sync.Mutex
	next    *verifyRound
	running bool
}

type verifyRound struct {
	done chan struct{}
	err  error
}

// wait takes part in the next round.
func (v *verifier) wait(ctx context.Context) error {
	v.mu.Lock()
	if v.next == nil {
		v.next = &verifyRound{done: make(chan struct{})}
	}
	r := v.next
	if !v.running {
		v.running = true
		go v.run()
	}
	v.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run puts rounds until nobody waits.
func (v *verifier) run() {
	for {
		v.mu.Lock()
		r := v.next
		v.next = nil
		if r == nil {
			v.running = false
			v.mu.Unlock()
			return
		}
		v.mu.Unlock()
		r.err = v.verify()
		close(r.done)
	}
}

// verifyLeader asks a quorum whether this node leads. The server's end is an answer too.
func (s *Server) verifyLeader() error {
	s.metrics.verified.Inc()
	return s.awaitRaft(s.ctx, s.raft.VerifyLeader())
}

// confirm establishes that the state here, read from now on, holds everything acknowledged before
// confirm was called.
//
// What this leader acknowledged it had applied here first. What earlier leaders acknowledged was
// applied here before it took office. What a later leader acknowledged there cannot be, if a quorum
// says that this node still leads in the term in which it took office. So no read index has to
// be waited for; and a term that is not l's any more, though this node may lead again in it, is
// refused. A node that is alone needs nobody's word.
//
// Raft also counts the answer to a heartbeat that was under way when it was asked. Such an answer is older
// than the question by less than the time for an election, unless it was held up for longer than that and
// met a leader that had not noticed, such as one whose machine had stood still.
func (l *leadership) confirm(ctx context.Context) error {
	if voters := l.s.voters(); len(voters) != 1 || string(voters[0].ID) != l.s.id {
		if err := l.s.check.wait(ctx); err != nil {
			if ctx.Err() != nil {
				return granary.Errorf(granary.KindUnavailable, "query", "", "the request ended: %w", context.Cause(ctx))
			}
			return l.s.notLeader("query")
		}
	}
	if l.s.raft.CurrentTerm() != l.term {
		return l.s.notLeader("query")
	}
	return nil
}

// Query implements wire.Master.
func (s *Server) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	l, err := s.leader("query")
	if err != nil {
		return nil, 0, err
	}
	if err := l.confirm(ctx); err != nil {
		return nil, 0, err
	}
	s.metrics.queries.Inc()
	st := s.states.acquire()
	defer st.release()
	if err := s.reach(ctx, st, uint64(req.MinIndex)); err != nil {
		return nil, 0, err
	}
	answer, index, err := st.query(ctx, req.Query, l.live)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) && errors.Is(context.Cause(ctx), errClosing) {
			return nil, 0, s.notLeader("query")
		}
		return nil, 0, err
	}
	if status, ok := answer.(*granary.Status); ok {
		s.fillStatus(l, status)
	}
	return answer, index, nil
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
	status.EffectiveK, status.EffectiveM, status.FailureDomain = effective(status.Policy, l.live.candidates())
	status.Masters = nil
	st := s.states.acquire()
	joined := st.joined()
	st.release()
	for _, m := range s.raft.GetConfiguration().Configuration().Servers {
		self := string(m.ID) == s.id
		master := granary.MasterStatus{
			ID: string(m.ID), Addr: s.memberAddr(string(m.ID)), Leader: self, Voter: m.Suffrage == raft.Voter, Up: self,
			Joined: self || joined[string(m.ID)] || s.witness.saw(string(m.ID)),
		}
		if self {
			master.Applied = status.AppliedIndex
		} else {
			master.Up = s.peers.up(m.ID)
		}
		status.Masters = append(status.Masters, master)
	}
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
