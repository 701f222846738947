package master

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// quorum asks the other voters in which term of Raft they are, on behalf of one leadership.
//
// What a majority says, this node included, proves that no later leader had been elected when the
// question was put. An election takes the votes of a majority in a higher term, and a voter raises
// its own term before it votes, durably and in memory (raft.setCurrentTerm before persistVote; a
// candidate raises its own first of all). Terms never fall, not by a restart either, and a member whose
// disk was emptied does not come back by itself (mayFound). So had there been an election before the
// question, a majority would have been in a higher term by then, every other majority would have a
// member in common with it, and that member's answer, given after the question, would say so.
//
// The majorities are of the same group, or of two that differ by one voter, which overlap too: Raft
// changes one member at a time, each change only after the one before is committed, and a leader
// serves only after an entry of its own term is committed, so whoever is elected after it has all
// changes but perhaps the last. That the voters are still the same after the answers rules out more.
//
// Raft's own VerifyLeader proves less: it counts answers to heartbeats that were under way when it was
// asked.
type quorum struct {
	l      *leadership
	voters map[raft.ServerID]*voter // that were asked at some time; of the goroutine that asks
	quick  raft.ServerID            // who answered well last
}

// voter is another member, asked by a goroutine of its own: a slow one has one call under way and
// holds nobody up.
type voter struct {
	id   raft.ServerID
	poll chan *poll // of one place: the newest
}

// poll is one question. Everybody asked answers it once, unless a newer one comes first.
type poll struct{ answers chan vote }

// vote is an answer.
type vote struct {
	id  raft.ServerID
	err error
}

const (
	voterPatience = 2 * time.Second // bounds one call to a voter

	// When takersMany or more wait for one round, the leader is busy, and only as many voters are asked as must answer, the one
	// first who did last time; the others are if that takes longer than pollPatience. Else all are asked, and
	// the quickest counts.
	takersMany   = 2
	pollPatience = 3 * time.Millisecond
)

func newQuorum(l *leadership) *quorum {
	return &quorum{l: l, voters: make(map[raft.ServerID]*voter)}
}

// confirm asks once. It returns as soon as a majority has answered well, or enough have not.
func (q *quorum) confirm(ctx context.Context, takers int) (struct{}, error) {
	s := q.l.s
	for {
		s.metrics.verified.Inc()
		group := s.voters()
		if err := q.poll(ctx, group, takers >= takersMany); err != nil {
			return struct{}{}, err
		}
		if slices.Equal(group, s.voters()) {
			return struct{}{}, nil
		}
	}
}

func (q *quorum) poll(ctx context.Context, group []raft.Server, busy bool) error {
	p := &poll{answers: make(chan vote, len(group))}
	need := len(group)/2 + 1
	others := make([]raft.ServerID, 0, len(group))
	for _, m := range group {
		switch {
		case string(m.ID) == q.l.s.id:
			need-- // confirm of leadership looks at this node's own term last
		case m.ID == q.quick:
			others = slices.Insert(others, 0, m.ID)
		default:
			others = append(others, m.ID)
		}
	}
	may, asked := len(others), 0
	ask := func(n int) {
		for ; asked < min(n, len(others)); asked++ {
			q.voter(others[asked]).put(p)
		}
	}
	var patience <-chan time.Time
	if busy {
		t := time.NewTimer(pollPatience)
		defer t.Stop()
		patience = t.C
		ask(need)
	} else {
		ask(len(others))
	}
	for need > 0 {
		if need > may {
			return q.l.s.notLeader("query")
		}
		select {
		case v := <-p.answers:
			may--
			if v.err == nil {
				q.quick = v.id
				need--
				continue
			}
			if ctx.Err() == nil {
				q.l.s.log.Debug("a voter did not confirm the leader", "error", v.err)
			}
			ask(len(others))
		case <-patience:
			ask(len(others))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// voter returns a member's voter, with its goroutine.
func (q *quorum) voter(id raft.ServerID) *voter {
	v := q.voters[id]
	if v == nil {
		v = &voter{id: id, poll: make(chan *poll, 1)}
		q.voters[id] = v
		q.l.tasks.Go(func() { v.run(q.l) })
	}
	return v
}

// put makes p the question to be asked next. Only one goroutine puts.
func (v *voter) put(p *poll) {
	select {
	case <-v.poll:
	default:
	}
	v.poll <- p
}

// run asks the member what it is told to, until the leadership ends.
func (v *voter) run(l *leadership) {
	addr := ""
	for {
		select {
		case p := <-v.poll:
			if addr == "" {
				addr = l.s.memberAddr(string(v.id))
			}
			err := l.askTerm(v.id, addr)
			if err != nil {
				addr = "" // it may have another by now
			}
			p.answers <- vote{v.id, err}
		case <-l.ctx.Done():
			return
		}
	}
}

// askTerm returns nil if the member is in the leadership's term.
func (l *leadership) askTerm(id raft.ServerID, addr string) error {
	m, err := l.s.links.to(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.ctx, voterPatience)
	defer cancel()
	who, err := m.Identify(ctx)
	switch {
	case err != nil:
		return err
	case who.ID != string(id) || who.Cluster != l.cluster:
		return granary.Errorf(granary.KindUnavailable, "identify", addr, "node %q of cluster %s answers in place of node %q", who.ID, who.Cluster, id)
	case who.Term != l.term:
		return granary.Errorf(granary.KindUnavailable, "identify", addr, "node %s is in term %d, and this leader's is %d", id, who.Term, l.term)
	}
	return nil
}
