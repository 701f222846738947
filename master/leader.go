package master

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// establishPause is how long a new leader waits before it tries again to take office.
const establishPause = 50 * time.Millisecond

// leadership is what a node has only while it leads, from one election to the loss. Its goroutines
// end with it.
type leadership struct {
	s        *Server
	ctx      context.Context // ends with the leadership
	term     uint64
	floor    uint64 // the last entry before this leader's own: all up to it was applied when it took office
	cluster  granary.ClusterID
	prop     *proposer
	check    *rounds[struct{}] // whether this node still leads; shared by readers
	sessions *sessionTable
	opens    *openTable
	attend   *attendTable
	live     *liveTable
	curator  *curator
	recalls  *recallTable
	sealNow  chan struct{} // says that there may be something to seal
	changing chan struct{} // held by the change of members under way
	tasks    sync.WaitGroup
}

// watchLeadership follows Raft's word on who leads, until the server closes. It never blocks for
// long, because Raft waits for it.
func (s *Server) watchLeadership() {
	stop := func() {}
	for {
		select {
		case leads := <-s.raft.notify:
			stop()
			stop = func() {}
			if leads {
				stop = s.startLeading()
			}
		case <-s.ctx.Done():
			stop()
			return
		}
	}
}

// startLeading returns the function that ends the leadership and waits for that.
func (s *Server) startLeading() func() {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.lead(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// lead takes office, serves, and leaves when ctx ends.
func (s *Server) lead(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.tryLead(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log.Warn("elected, but could not take office; trying again", "error", err)
		pause(ctx, establishPause)
	}
}

// tryLead serves from the moment that this node's state holds all that earlier leaders acknowledged.
func (s *Server) tryLead(ctx context.Context) error {
	l, err := s.takeOffice(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	l.ctx = ctx
	proposing := make(chan struct{})
	go func() {
		defer close(proposing)
		l.prop.run(ctx)
	}()
	defer func() {
		s.leading.Store(nil)
		s.metrics.leading.Set(0)
		cancel()
		l.tasks.Wait()
		<-proposing
		l.endAttendance()
	}()
	if !s.leased.pause(ctx) {
		return ctx.Err()
	}
	if err := l.inaugurate(ctx); err != nil {
		return err
	}
	l.tasks.Go(func() { l.check.run(ctx) })
	s.leading.Store(l)
	s.metrics.leading.Set(1)
	s.log.Info("leading", "term", l.term, "cluster", l.cluster)
	l.tasks.Go(func() { l.expireSessions(ctx) })
	l.tasks.Go(func() { l.expirePathLocks(ctx) })
	l.tasks.Go(func() { l.tidyAttendance(ctx) })
	l.tasks.Go(func() { l.sealVolumes(ctx) })
	l.tasks.Go(func() { l.reclaim(ctx) })
	l.tasks.Go(func() { l.recordJoined(ctx) })
	l.tasks.Go(func() { l.verifyDigests(ctx) })
	l.tasks.Go(func() { l.indexPlaces(ctx) })
	l.tasks.Go(func() { l.trimChangeLog(ctx) })
	if s.opts.Shards != nil {
		l.tasks.Go(func() { l.curator.run(ctx) })
		l.tasks.Go(func() { l.curator.tidy(ctx) })
	}
	<-ctx.Done()
	s.log.Info("no longer leading", "term", l.term)
	return nil
}

// takeOffice waits until everything before this term is applied here. The term is that of the
// barrier: it was the same before and after, and a term has one leader.
func (s *Server) takeOffice(ctx context.Context) (*leadership, error) {
	term := s.raft.CurrentTerm()
	if err := s.awaitRaft(ctx, s.raft.Barrier(0)); err != nil {
		return nil, err
	}
	if s.raft.State() != raft.Leader || s.raft.CurrentTerm() != term {
		return nil, granary.Errorf(granary.KindUnavailable, "lead", "", "the term changed meanwhile")
	}
	st := s.states.acquire()
	defer st.release()
	now := s.now()
	s.peers.reset()
	l := &leadership{
		s: s, term: term, floor: s.raft.CommitIndex(),
		prop:     newProposer(s.raft, s.raft.gone, st.lastTime(), s.now, s.metrics),
		sessions: newSessionTable(s.opts.SessionTTL, s.metrics),
		opens:    newOpenTable(firstAttendance(term)),
		recalls:  newRecallTable(),
		attend:   newAttendTable(term, s.opts.NotesMax, s.metrics.attend),
		live:     newLiveTable(now, s.opts.ServerDownAfter, s.now),
		sealNow:  make(chan struct{}, 1),
		changing: make(chan struct{}, 1),
	}
	l.attend.lapsed = l.opens.silence
	l.check = newRounds(newQuorum(l).confirm)
	l.curator = newCurator(l)
	for _, rec := range st.sessions() {
		l.sessions.add(rec.ID, now)
		l.opens.add(rec.ID, true)
	}
	l.live.setRegistered(st.servers())
	return l, nil
}

// inaugurate writes what a leader finds missing: the cluster itself, the root user that it was given, and
// who the members are.
func (l *leadership) inaugurate(ctx context.Context) error {
	st := l.s.states.acquire()
	cluster, founded := st.cluster()
	members := st.members()
	root, _ := st.rootUser()
	logged := st.changeLog().Set
	st.release()
	var items []item
	given := l.s.opts.RootUser
	setDefault(&given.Name, "root")
	given.Root = true
	switch {
	case !founded:
		cluster = granary.ClusterID(randomHex(16))
		if given.AccessKey == "" {
			given.AccessKey, given.SecretKey = randomKey(20), randomKey(40)
		}
		items = append(items, &initCluster{Cluster: cluster, RootUser: given, UID: l.s.opts.Owner.UID, GID: l.s.opts.Owner.GID})
	case given.AccessKey != "" && given != root:
		items = append(items, &setRoot{given})
		l.s.log.Info("the root user is replaced by the one given", "access key", given.AccessKey)
	}
	l.cluster = cluster
	known := l.s.knownMembers()
	for _, m := range l.s.raft.GetConfiguration().Configuration().Servers {
		id := string(m.ID)
		if addr := known[id]; addr != "" && addr != members[id].GRPCAddr && (id == l.s.id || !members[id].Added) {
			items = append(items, &setMember{ID: id, GRPCAddr: addr})
		}
	}
	if !logged {
		items = append(items, &beginChangeLog{granary.DefaultChangeLog()})
	}
	if len(items) == 0 {
		return nil
	}
	results, err := l.prop.propose(ctx, items...)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// knownMembers is what this node was told about gRPC addresses, by node id. Of nodes that were removed, or added by
// command, it may be wrong.
func (s *Server) knownMembers() map[string]string {
	m := make(map[string]string)
	for _, p := range s.opts.Peers {
		m[p.ID] = p.GRPCAddr
	}
	m[s.id] = s.opts.GRPCAddr
	return m
}

// reclaimLimit is how many keys one entry reclaims: the hard bound of an entry's work.
const reclaimLimit = 2000

// reclaimEvery is how often an idle queue of removals is looked at.
const reclaimEvery = 100 * time.Millisecond

// reclaim drops inodes that have neither name nor user, and works off the queue of removals, one bounded step of each
// at a time. It rests after them as long as they took, so that at most half of the log is its own.
func (l *leadership) reclaim(ctx context.Context) {
	d := dropper{l: l}
	for pause(ctx, reclaimEvery) {
		for more := true; more; {
			start := l.s.now()
			dropping, err := d.step(ctx)
			if err == nil {
				more, err = l.reclaimStep(ctx)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				l.s.log.Warn("a step of reclamation was not applied", "error", err)
				break
			}
			more = more || dropping
			if more && !pause(ctx, l.s.now().Sub(start)) {
				return
			}
		}
	}
}

// reclaimStep takes a step of the queue, if it holds anything.
func (l *leadership) reclaimStep(ctx context.Context) (more bool, err error) {
	st := l.s.states.acquire()
	pending := st.pendingReclaim()
	st.release()
	if !pending {
		return false, nil
	}
	results, err := l.prop.propose(ctx, &reclaim{Limit: reclaimLimit})
	return true, failure(err, results)
}

// failure returns err, or the error of the first of the results that has one.
func failure(err error, results []granary.Result) error {
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// pause waits; false says that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// kick says something to who receives from a channel of one place, unless it has been said already.
func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// randomKey returns letters and digits that cannot be mistaken for each other.
func randomKey(length int) string {
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789" // 32: a byte's low bits choose evenly
	b := make([]byte, length)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[b[i]%byte(len(alphabet))]
	}
	return string(b)
}
