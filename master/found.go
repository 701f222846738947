package master

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	foundingReachDefault    = time.Second            // within which another member answers, if it runs
	foundingPatienceDefault = 20 * time.Second       // for a leader to say who has held data
	foundingPause           = 100 * time.Millisecond // between two questions
)

// mayFound decides whether a node without any Raft state may begin as a founding member.
//
// A member that has stored entries or voted, and comes back with an emptied directory, must not: it
// would vote again, and a candidate that lacks committed entries could win with that vote. So the
// state records each member from its first answer to Raft on (memberJoined), and an empty node
// first asks the others. If one of them belongs to a founded cluster, a leader's word decides: a
// member that has joined is refused, and so is a node that is no member any more; one that comes for the first time
// is welcome. While nobody
// leads, nobody knows, and it waits. Members that do not answer within a second are taken for
// not started yet; else no cluster could be founded.
func (s *Server) mayFound() error {
	if s.ident.Cluster != "" {
		return granary.Errorf(granary.KindCorrupt, "master.open", s.opts.Dir,
			"node %s belongs to cluster %s, but its Raft log is gone", s.id, s.ident.Cluster)
	}
	if len(s.opts.Join) > 0 {
		return s.mayJoin()
	}
	if len(s.opts.Peers) < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.foundingPatience)
	defer cancel()
	for {
		v := s.askPeers(ctx)
		switch {
		case v.joined:
			return granary.Errorf(granary.KindInvalid, "master.open", s.opts.Dir,
				"node %s was a member of cluster %s and has held its data, which are gone from this directory: give it its directory back, "+
					"or remove it (granary cluster member remove %s), start it with --join and add it again; "+
					"as an empty member it could vote committed entries away", s.id, v.cluster, s.id)
		case v.known && !v.member:
			return granary.Errorf(granary.KindInvalid, "master.open", s.opts.Dir,
				"node %s is not a member of cluster %s, which its peers belong to: to have it added, start it with --join", s.id, v.cluster)
		case v.cluster == "" || v.known:
			return nil
		}
		if !pause(ctx, foundingPause) {
			return granary.Errorf(granary.KindUnavailable, "master.open", s.opts.Dir,
				"cluster %s is there, but without a leader nobody can say whether node %s has held its data: start the other masters first",
				v.cluster, s.id)
		}
	}
}

// verdict is what the other members say about this one.
type verdict struct {
	cluster granary.ClusterID // "": nobody who answered knows of a cluster
	known   bool              // a leader answered …
	member  bool              // … that this node is a member …
	joined  bool              // … and has held data of the cluster
}

// askPeers asks all other members at once.
func (s *Server) askPeers(ctx context.Context) verdict {
	ctx, cancel := context.WithTimeout(ctx, s.opts.foundingReach)
	defer cancel()
	var (
		mu  sync.Mutex
		all verdict
		wg  sync.WaitGroup
	)
	for _, p := range s.opts.Peers {
		if p.ID == s.id {
			continue
		}
		wg.Go(func() {
			v := s.askPeer(ctx, p.GRPCAddr)
			mu.Lock()
			defer mu.Unlock()
			if v.cluster != "" {
				all.cluster = v.cluster
			}
			all.known = all.known || v.known
			all.member = all.member || v.member
			all.joined = all.joined || v.joined
		})
	}
	wg.Wait()
	return all
}

// askPeer asks one member until it answers. One that does not lead still knows whether there is a
// cluster, and says so to a heartbeat without disks.
func (s *Server) askPeer(ctx context.Context, addr string) (v verdict) {
	m, hangUp, err := s.opts.Dial(addr)
	if err != nil {
		s.log.Warn("a founding member cannot be asked", "addr", addr, "error", err)
		return v
	}
	defer func() {
		if err := hangUp(); err != nil {
			s.log.Debug("hanging up", "addr", addr, "error", err)
		}
	}()
	for {
		a, _, err := m.Query(ctx, &granary.QueryRequest{Query: &granary.GetStatus{}})
		if st, ok := a.(*granary.Status); ok && err == nil {
			v.cluster, v.known = st.Cluster, true
			for _, member := range st.Masters {
				v.member = v.member || member.ID == s.id
				v.joined = v.joined || member.ID == s.id && member.Joined
			}
			return v
		}
		r, err := m.Heartbeat(ctx, &granary.Heartbeat{Server: granary.ServerID(s.id), Addr: s.opts.GRPCAddr})
		if err == nil {
			v.cluster = r.Cluster
			return v
		}
		if !pause(ctx, foundingPause) {
			return v
		}
	}
}

// recordJoined writes into the state which members have answered Raft.
func (l *leadership) recordJoined(ctx context.Context) {
	for {
		if err := l.joinSeen(ctx); err != nil && ctx.Err() == nil {
			l.s.log.Warn("members that joined were not recorded; trying again", "error", err)
			pause(ctx, time.Second)
			continue
		}
		select {
		case <-l.s.witness.news:
		case <-ctx.Done():
			return
		}
	}
}

func (l *leadership) joinSeen(ctx context.Context) error {
	st := l.s.states.acquire()
	joined := st.joined()
	st.release()
	var items []item
	configuration := l.s.raft.GetConfiguration().Configuration()
	for _, id := range append(l.s.witness.ids(), l.s.id) {
		if _, ok := memberOf(configuration, id); ok && !joined[id] {
			items = append(items, &memberJoined{ID: id})
		}
	}
	if len(items) == 0 {
		return nil
	}
	results, err := l.prop.propose(ctx, items...)
	return failure(err, results)
}
