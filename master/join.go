package master

import (
	"context"
	"errors"
	"time"

	"github.com/dsorchard/granary"
)

// mayJoin decides whether a node without any Raft state may run and wait to be added.
//
// It must not stand where a member is expected: the leader would find it under that member's address or id, give it
// entries and count its answers as the member's. So a leader is asked first. A member that does not vote yet is welcome
// without data: nothing that it answered has counted.
func (s *Server) mayJoin() error {
	if len(s.opts.Peers) > 0 {
		return optionsError("a node without data either founds a cluster with its peers or waits to be added to one: give peers or masters to join, not both")
	}
	if s.opts.Dial == nil {
		return optionsError("a node that is to join a cluster needs Dial")
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.foundingPatience)
	defer cancel()
	for {
		st, err := s.askLeader(ctx, s.opts.Join)
		if err == nil {
			if err := s.checkPlace(st); err != nil {
				return err
			}
			s.log.Warn("waiting to be added to the cluster: granary cluster member add "+s.opts.GRPCAddr, "cluster", st.Cluster)
			return nil
		}
		if !pause(ctx, foundingPause) {
			return granary.Errorf(granary.KindUnavailable, "master.open", s.opts.Dir,
				"no leading master of the cluster was found through %v: %w", s.opts.Join, err)
		}
	}
}

// checkPlace refuses this node if a voting member is expected in its place.
func (s *Server) checkPlace(st *granary.Status) error {
	for _, m := range st.Masters {
		switch {
		case m.ID == s.id && !m.Voter:
			return nil
		case m.ID == s.id, m.Raft == s.opts.RaftAddr, m.Addr == s.opts.GRPCAddr:
			return granary.Errorf(granary.KindInvalid, "master.open", s.opts.Dir,
				"node %s at %s is a member of cluster %s, and this directory has none of its data: give it its directory back, "+
					"or remove it first (granary cluster member remove %s); in its place an empty node could vote committed entries away",
				m.ID, m.Addr, st.Cluster, m.ID)
		}
	}
	return nil
}

// askLeader finds the leader through the masters at some addresses, and asks it for the state of the cluster.
func (s *Server) askLeader(ctx context.Context, addrs []string) (st *granary.Status, err error) {
	for _, addr := range addrs {
		st, err = s.statusAt(ctx, addr)
		var notLeader *granary.NotLeader
		if errors.As(err, &notLeader) && notLeader.Leader != "" {
			st, err = s.statusAt(ctx, notLeader.Leader)
		}
		if err == nil {
			return st, nil
		}
	}
	return nil, err
}

// statusAt asks one master, which answers only if it leads.
func (s *Server) statusAt(ctx context.Context, addr string) (*granary.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.foundingReach)
	defer cancel()
	m, hangUp, err := s.opts.Dial(addr)
	if err != nil {
		return nil, err
	}
	answer, _, err := m.Query(ctx, &granary.QueryRequest{Query: &granary.GetStatus{}})
	if cerr := hangUp(); cerr != nil {
		s.log.Debug("hanging up", "addr", addr, "error", cerr)
	}
	if err != nil {
		return nil, err
	}
	st, ok := answer.(*granary.Status)
	if !ok {
		return nil, granary.Errorf(granary.KindInternal, "join", addr, "%T answers a question for the state", answer)
	}
	return st, nil
}

// A node that has had no leader for so long asks whether it still is a member, and again every time.
const membershipDoubt = 10 // times the time of Raft for an election

// watchMembership says clearly when this node is no longer a member of its cluster: it may have been removed while
// it did not run, and then nobody sends it the news.
func (s *Server) watchMembership() {
	every := membershipDoubt * s.opts.HeartbeatTimeout
	removed := false
	for pause(s.ctx, every) {
		if s.leading.Load() != nil || s.raft.LastIndex() == 0 || removed || time.Since(s.raft.LastContact()) < every {
			continue
		}
		configuration := s.raft.GetConfiguration().Configuration()
		_, member := memberOf(configuration, s.id)
		if member && s.opts.Dial != nil {
			member = s.askMembership()
		}
		if removed = !member; removed {
			s.log.Error("this node is no longer a member of the cluster: stop it; its directory is of no more use", "dir", s.opts.Dir)
		}
	}
}

// askMembership asks the leader, if one can be found; without its word this node is a member.
func (s *Server) askMembership() bool {
	var others []string
	for _, addr := range s.masterAddrs() {
		if addr != s.opts.GRPCAddr {
			others = append(others, addr)
		}
	}
	st, err := s.askLeader(s.ctx, append(others, s.opts.Join...))
	if err != nil || !s.sameCluster(st.Cluster) {
		return true
	}
	for _, m := range st.Masters {
		if m.ID == s.id {
			return true
		}
	}
	return false
}

func (s *Server) sameCluster(id granary.ClusterID) bool {
	st := s.states.acquire()
	defer st.release()
	cluster, _ := st.cluster()
	return cluster == id
}
