package master

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// What a node does while it follows, so that a leader that is lost is replaced soon and by one election.
//
// Raft's own clock is coarse: a follower looks at intervals of one to two timeouts whether its leader has been silent
// for one, so it may take three to notice; and a follower that has not noticed yet refuses its vote to one that has,
// who then waits one to two timeouts more. So each node watches the silence itself and has Raft look when it is due
// (watchLeader), one after the other, so that they do not split the votes; and who is refused asks again soon
// (witness.RequestPreVote), because the others notice a moment later. None of it touches what makes Raft safe: it only
// changes when a candidate stands, and a pre-vote changes nothing at who gives it.
const (
	standApart   = 4  // the next in turn stands this part of the timeout later: longer than two heartbeats may lie apart
	askApart     = 16 // part of the timeout between two pre-votes that are asked of the same node
	asksMax      = 14 // of those: together a little less than the shortest campaign lasts
	asksLateness = 4  // times the timeout without a leader after which a candidate asks only as often as Raft does
)

// watchLeader has this node stand for election as soon as its leader has been silent for long enough.
func (s *Server) watchLeader() {
	started := time.Now()
	timeout := s.opts.HeartbeatTimeout
	for {
		wait := timeout / 2
		if turn, votes := s.turn(); votes && s.raft.State() == raft.Follower {
			wait = timeout + time.Duration(turn)*timeout/standApart - s.silence(started)
			if wait <= 0 {
				s.stand()
				wait = timeout / standApart
			}
		}
		if !pause(s.ctx, wait) {
			return
		}
	}
}

// silence is how long this node has not heard from a leader, though it ran.
func (s *Server) silence(started time.Time) time.Duration {
	last := s.raft.LastContact()
	if last.Before(started) {
		last = started
	}
	return time.Since(last)
}

// turn is how many of the voters stand before this one when the leader is lost: they are ordered by id, beginning
// after the leader. votes is false if this node must not stand at all.
func (s *Server) turn() (n int, votes bool) {
	_, leader := s.raft.LeaderWithID()
	voters := s.voters()
	slices.SortFunc(voters, func(a, b raft.Server) int { return strings.Compare(string(a.ID), string(b.ID)) })
	place := func(id string) int {
		return slices.IndexFunc(voters, func(m raft.Server) bool { return string(m.ID) == id })
	}
	own, after := place(s.id), place(string(leader)) // -1 if there is none
	if own < 0 {
		return 0, false
	}
	return (own - after - 1 + len(voters)) % len(voters), true
}

// standAtOnce makes a node that is alone lead at once: there is nobody to hear from.
func (s *Server) standAtOnce() {
	if voters := s.voters(); len(voters) == 1 && string(voters[0].ID) == s.id {
		s.stand()
	}
}

// stand has this node stand for election now, unless it has heard from a leader within the timeout. Raft looks at its
// timer anew when the timeout shrinks.
func (s *Server) stand() {
	usual := s.opts.HeartbeatTimeout
	set := func(timeout time.Duration) error {
		return s.reloadRaft(func(c *raft.ReloadableConfig) { c.HeartbeatTimeout, c.ElectionTimeout = timeout, timeout })
	}
	if err := errors.Join(set(2*usual), set(usual)); err != nil {
		s.log.Warn("an election takes its usual time", "error", err)
	}
}

// reloadRaft changes settings of Raft.
func (s *Server) reloadRaft(change func(*raft.ReloadableConfig)) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	c := s.raft.ReloadableConfig()
	change(&c)
	return s.raft.ReloadConfig(c)
}

// asksAgain reports whether a pre-vote that was refused is worth another question: this node still stands, and the
// leader was lost a moment ago, so that the others may be about to notice.
func (s *Server) asksAgain() bool {
	return s.raft.State() == raft.Candidate && time.Since(s.raft.LastContact()) < asksLateness*s.opts.HeartbeatTimeout
}
