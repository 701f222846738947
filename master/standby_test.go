package master

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// refusing is a transport to nodes that refuse some pre-votes before they give one.
type refusing struct {
	raft.Transport
	refusals, asked int
}

// RequestPreVote implements raft.WithPreVote.
func (r *refusing) RequestPreVote(_ raft.ServerID, _ raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	r.asked++
	resp.Term, resp.Granted = req.Term-1, r.asked > r.refusals
	return nil
}

// TestPreVotesAreAskedForAgain: who is refused asks again, for as long as that makes sense, and no more often than
// a campaign lasts.
func TestPreVotesAreAskedForAgain(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tt := range []struct {
		name     string
		ctx      context.Context
		may      func() bool
		refusals int
		asked    int
		granted  bool
	}{
		{"given at once", t.Context(), yes, 0, 1, true},
		{"given after a while", t.Context(), yes, 3, 4, true},
		{"never given", t.Context(), yes, 100, asksMax, false},
		{"stands no more", t.Context(), no, 100, 1, false},
		{"closing", ended, yes, 100, 1, false},
	} {
		r := &refusing{refusals: tt.refusals}
		w := newWitness(r, time.Now)
		w.repeat(tt.ctx, time.Millisecond, tt.may)
		var resp raft.RequestPreVoteResponse
		if err := w.RequestPreVote("n", "n", &raft.RequestPreVoteRequest{Term: 7}, &resp); err != nil {
			t.Fatal(err)
		}
		if r.asked != tt.asked || resp.Granted != tt.granted {
			t.Errorf("%s: asked %d times, granted %v", tt.name, r.asked, resp.Granted)
		}
	}
	if asksMax >= askApart {
		t.Error("the questions last longer than a campaign")
	}
}

// stale is a transport with connections to a node that are dead.
type stale struct {
	raft.Transport
	dead int
}

func (s *stale) call() error {
	if s.dead--; s.dead >= 0 {
		return io.EOF
	}
	return nil
}

// RequestVote implements raft.Transport.
func (s *stale) RequestVote(_ raft.ServerID, _ raft.ServerAddress, _ *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	resp.Granted = true
	return s.call()
}

// RequestPreVote implements raft.WithPreVote.
func (s *stale) RequestPreVote(_ raft.ServerID, _ raft.ServerAddress, _ *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	resp.Granted = true
	return s.call()
}

// TestVotesOverDeadConnections: connections from before a node was started again are no refusal of its vote.
func TestVotesOverDeadConnections(t *testing.T) {
	for _, dead := range []int{0, transportPool, transportPool + 1} {
		var vote raft.RequestVoteResponse
		err := newWitness(&stale{dead: dead}, time.Now).RequestVote("n", "n", &raft.RequestVoteRequest{}, &vote)
		var pre raft.RequestPreVoteResponse
		errPre := newWitness(&stale{dead: dead}, time.Now).RequestPreVote("n", "n", &raft.RequestPreVoteRequest{}, &pre)
		if fails := dead > transportPool; (err != nil) != fails || (errPre != nil) != fails {
			t.Errorf("%d dead connections: %v, %v", dead, err, errPre)
		}
	}
}

// TestTurns: when a leader is lost, the others stand one after the other, and all of them do.
func TestTurns(t *testing.T) {
	g := newGroup(t, 3, true, nil)
	leader := g.leader()
	eventually(t, "all know the leader", func() error {
		for i, s := range g.nodes {
			if _, id := s.raft.LeaderWithID(); string(id) != g.peers[leader].ID {
				return fmt.Errorf("node %d believes in %q", i, id)
			}
		}
		return nil
	})
	for i, s := range g.nodes {
		want := (i - leader - 1 + len(g.nodes)) % len(g.nodes)
		if n, votes := s.turn(); n != want || !votes {
			t.Errorf("leader %d: the turn of node %d is %d (votes: %v), not %d", leader, i, n, votes, want)
		}
	}
}
