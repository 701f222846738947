package master

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

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
// member that has joined is refused, one that comes for the first time is welcome. While nobody
// leads, nobody knows, and it waits. Members that do not answer within a second are taken for
// not started yet; else no cluster could be founded.
func (s *Server) mayFound() error {
	if s.ident.Cluster != "" {
		return granary.Errorf(granary.KindCorrupt, "master.open", s.opts.Dir,
			"node %s belongs to cluster %s, but its Raft log is gone", s.id, s.ident.Cluster)
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
					"for as an empty member it could vote committed entries away", s.id, v.cluster)
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
	joined  bool              // … that this node has held data of the cluster
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

// witness is the transport that Raft uses. It notes which nodes have answered with a promise: that
// they have stored entries, or given a vote. Such a node must not be forgotten by itself.
type witness struct {
	raft.Transport
	news chan struct{} // says that there is a node not seen before

	mu   sync.Mutex
	seen map[string]bool
}

func newWitness(t raft.Transport) *witness {
	return &witness{Transport: t, news: make(chan struct{}, 1), seen: make(map[string]bool)}
}

// AppendEntries implements raft.Transport. Raft begins pipelines only after one of these.
func (w *witness) AppendEntries(id raft.ServerID, addr raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := w.Transport.AppendEntries(id, addr, req, resp)
	if err == nil && resp.Success {
		w.note(id)
	}
	return err
}

// RequestVote implements raft.Transport.
func (w *witness) RequestVote(id raft.ServerID, addr raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	err := w.Transport.RequestVote(id, addr, req, resp)
	if err == nil && resp.Granted {
		w.note(id)
	}
	return err
}

// RequestPreVote implements raft.WithPreVote. What answers it promises nothing.
func (w *witness) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	t, ok := w.Transport.(raft.WithPreVote)
	if !ok {
		return errNoPreVote
	}
	return t.RequestPreVote(id, addr, req, resp)
}

var errNoPreVote = errors.New("the transport does not carry pre-votes")

func (w *witness) note(id raft.ServerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen[string(id)] {
		w.seen[string(id)] = true
		kick(w.news)
	}
}

// ids returns the nodes that were seen to answer.
func (w *witness) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.seen))
	for id := range w.seen {
		ids = append(ids, id)
	}
	return ids
}

func (w *witness) saw(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[id]
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
	for _, id := range append(l.s.witness.ids(), l.s.id) {
		if !joined[id] {
			items = append(items, &memberJoined{ID: id})
		}
	}
	if len(items) == 0 {
		return nil
	}
	results, err := l.prop.propose(ctx, items...)
	return failure(err, results)
}
