package master

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// Server is a running node of the master. It implements wire.Master.
type Server struct {
	opts    Options
	id      string
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	lock    *os.File
	states  *states
	snaps   *snapshots
	backups *backups
	trans   raft.Transport
	witness *witness // trans, as Raft sends by it …
	intake  *intake  // … and as it receives
	raft    *raftNode
	budget  *logBudget

	reloading sync.Mutex // held while settings of Raft change

	ctx     context.Context // of the loops: ends when Close begins to stop things
	cancel  context.CancelFunc
	loops   sync.WaitGroup
	serving context.Context // of requests: ends when the loops have ended
	refuse  context.CancelFunc
	leading atomic.Pointer[leadership] // nil while this node does not lead
	links   *links
	heard   *liveTable // from heartbeats, whoever leads
	peers   *peerTable
	leased  leased
	noticed chan struct{} // entries were applied

	readIndex *rounds[granary.Index] // asked of the leader while this node follows

	ident identity // written by watchApplied alone, once the node runs

	mu      sync.Mutex
	closing bool
	calls   sync.WaitGroup // requests being served; added to under mu
}

// Open starts a node. It returns before a leader is known.
func Open(o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, openError(o.Dir, err)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, openError(o.Dir, err)
	}
	s := &Server{opts: o, metrics: m, now: o.now, noticed: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.serving, s.refuse = context.WithCancel(context.Background())
	s.links, s.heard = newLinks(o.Dial), newLiveTable(s.now(), o.ServerDownAfter, s.now)
	s.readIndex = newRounds(s.askReadIndex)
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.peers = newPeerTable(s.raft)
	s.witness.repeat(s.ctx, o.HeartbeatTimeout/askApart, s.asksAgain)
	s.standAtOnce()
	s.loops.Go(func() { s.readIndex.run(s.ctx) })
	s.loops.Go(s.watchLeadership)
	s.loops.Go(s.watchLeader)
	s.loops.Go(s.watchApplied)
	s.loops.Go(s.watchLog)
	s.loops.Go(s.watchMembership)
	s.loops.Go(s.watchDisk)
	s.loops.Go(func() { s.backups.expire(s.ctx) })
	return s, nil
}

// open acquires everything in the order in which release gives it back.
func (s *Server) open() error {
	var err error
	if s.lock, err = lockDir(s.opts.Dir); err != nil {
		return err
	}
	if s.ident, err = loadIdentity(s.opts.Dir, &s.opts); err != nil {
		return err
	}
	s.id = s.ident.ID
	s.log = s.opts.Log.With("node", s.id)
	s.snaps, err = openSnapshots(filepath.Join(s.opts.Dir, "snapshots"), s.opts.hook, s.log)
	if err != nil {
		return err
	}
	if s.backups, err = openBackups(filepath.Join(s.opts.Dir, "backups"), s.log, s.now); err != nil {
		return err
	}
	so := stateOptions{CacheBytes: s.opts.CacheBytes, Log: s.log, DigestEvery: s.opts.digestEvery}
	if s.states, err = openStates(s.opts.Dir, so, s.opts.hook); err != nil {
		return err
	}
	if err := s.checkCluster(); err != nil {
		return err
	}
	if s.trans, err = newTransport(&s.opts, memberAddrs{s}); err != nil {
		return err
	}
	s.budget = newLogBudget(s.opts.TrailingLogs)
	f := &fsm{
		states: s.states, snaps: s.snaps, metrics: s.metrics, budget: s.budget,
		applied: s.noteApplied, results: s.noteResults, applying: s.opts.applying,
	}
	s.witness = newWitness(s.trans, s.now)
	s.intake = newIntake(s.witness, func() uint64 { return s.raft.CommitIndex() }, s.appliedIndex)
	s.raft, err = openRaft(s.id, &s.opts, f, s.intake, s.mayFound, s.refreshSnapshot)
	if err == nil {
		s.beginLeases()
		s.intake.start()
	}
	return err
}

// noteApplied tells who waits for entries to be applied.
func (s *Server) noteApplied() {
	kick(s.noticed)
	s.intake.noteApplied()
}

// noteResults gives the results of an entry that was applied to whoever proposed it here.
func (s *Server) noteResults(data []byte, results []granary.Result) {
	if l := s.leading.Load(); l != nil {
		l.prop.landed(data, results)
	}
}

// appliedIndex is that of the last entry applied to the state.
func (s *Server) appliedIndex() uint64 {
	st := s.states.acquire()
	defer st.release()
	index, _ := st.applied()
	return index
}

// checkCluster refuses a directory put together from two.
func (s *Server) checkCluster() error {
	st := s.states.acquire()
	defer st.release()
	cluster, ok := st.cluster()
	if ok && s.ident.Cluster != "" && s.ident.Cluster != cluster {
		return granary.Errorf(granary.KindInvalid, "master.open", s.opts.Dir,
			"node.json is of cluster %s, but the state is of cluster %s", s.ident.Cluster, cluster)
	}
	return nil
}

// watchApplied writes the cluster's id into the node file once it is known.
func (s *Server) watchApplied() {
	for {
		if s.noteCluster() {
			return
		}
		select {
		case <-s.noticed:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) noteCluster() (done bool) {
	st := s.states.acquire()
	cluster, ok := st.cluster()
	st.release()
	if !ok || s.ident.Cluster == cluster {
		return ok
	}
	next := s.ident
	next.Cluster = cluster
	if err := saveIdentity(s.opts.Dir, next); err != nil {
		s.log.Warn("the node file lacks the cluster's id", "error", err)
		return true
	}
	s.ident = next
	return true
}

// RootUser returns the S3 root user; empty keys before the cluster has been founded.
func (s *Server) RootUser() granary.User {
	_, done, err := s.begin(s.serving)
	if err != nil {
		return granary.User{}
	}
	defer done()
	st := s.states.acquire()
	defer st.release()
	u, _ := st.rootUser()
	return u
}

// begin admits a request, unless the server is closing. The context also ends when the server does.
func (s *Server) begin(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, nil, s.notLeader("request")
	}
	s.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.serving, func() { cancel(errClosing) })
	return ctx, func() {
		stop()
		cancel(nil)
		s.calls.Done()
	}, nil
}

var errClosing = errors.New("the master is closing")

// transferTimeout bounds the hand-over of leadership at Close.
const transferTimeout = 5 * time.Second

// Close hands the leadership over, if there is somebody to hand it to, and stops the node. Requests
// being served end first: with a result, or as indeterminate.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closing
	s.closing = true
	s.mu.Unlock()
	if again {
		return nil
	}
	if s.raft.State() == raft.Leader && len(s.voters()) > 1 {
		ctx, cancel := context.WithTimeout(s.ctx, transferTimeout)
		if err := s.handOver(ctx); err != nil {
			s.log.Warn("leadership was not handed over; the others will elect", "error", err)
		}
		cancel()
	}
	return s.stop()
}

// stop ends everything without handing anything over.
func (s *Server) stop() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.cancel()
	s.loops.Wait() // what was proposed has its outcome
	s.refuse()
	s.calls.Wait()
	err := s.raft.shutdown()
	return errors.Join(err, s.release())
}

// release gives back what open acquired; the state first becomes durable.
func (s *Server) release() error {
	s.cancel()
	s.refuse()
	errs := []error{s.links.close()}
	if s.intake != nil {
		s.intake.close()
	}
	if s.raft != nil {
		errs = append(errs, s.raft.raftStores.close())
	}
	if c, ok := s.trans.(raft.WithClose); ok {
		errs = append(errs, c.Close())
	} else if s.trans == nil && s.opts.Listener != nil {
		errs = append(errs, s.opts.Listener.Close())
	}
	if s.backups != nil {
		errs = append(errs, s.backups.close())
	}
	if s.states != nil {
		errs = append(errs, s.states.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// awaitRaft waits for a future of Raft, or for the end of ctx.
func (s *Server) awaitRaft(ctx context.Context, f raft.Future) error {
	return awaitContext(ctx, f, s.raft.gone)
}

// voters returns the members of the Raft group that vote.
func (s *Server) voters() []raft.Server {
	return votersOf(s.raft.GetConfiguration().Configuration())
}
