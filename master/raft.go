package master

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// Raft's settings: ENGINEERING.md sections 3 and 5.
const (
	appendEntriesMax = 64 // also the size of a group commit; 128 times as many wait to be applied at most
	commitTimeout    = 50 * time.Millisecond
	transportTimeout = 10 * time.Second
	transportScale   = 16 << 20 // bytes of a snapshot for each transportTimeout
	transportPool    = 3
	notifyBuffer     = 16

	applyBytesMax = 512 << 10 // of entries in one batch of the state machine, which writes some ten times as much
)

// fsm adapts the state machine to Raft. Raft calls its methods from one goroutine, but Persist and
// Release of a snapshot from another.
//
// The state is durable by itself: its applied index lies in the same batch as what was applied, so a
// restart applies only what came after. It is written without syncs, the Raft log being the journal;
// before Raft may drop entries of that journal, Persist makes them durable in the state.
type fsm struct {
	states  *states
	snaps   *snapshots
	metrics *metrics
	budget  *logBudget
	applied func()                                      // called after a batch, so that the node notices what concerns it
	results func(data []byte, results []granary.Result) // called after that for each entry; nil: nothing

	applying func() // for tests: called before a batch; nil: nothing
}

// Apply implements raft.FSM; only raft.RecoverCluster calls it.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM. The answer to an entry is its []granary.Result.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	if f.applying != nil {
		f.applying()
	}
	st := f.states.acquire()
	defer st.release()
	answers := make([]any, 0, len(logs))
	for len(logs) > 0 {
		n := batchOf(logs)
		answers = append(answers, f.applySome(st, logs[:n])...)
		logs = logs[n:]
	}
	return answers
}

// batchOf returns how many of the entries, at least one, are applied at once. Who catches up gets them by the thousand,
// and what a batch writes is in memory until it is written.
func batchOf(logs []*raft.Log) int {
	bytes := 0
	for i, l := range logs {
		if bytes += len(l.Data); bytes > applyBytesMax && i > 0 {
			return i
		}
	}
	return len(logs)
}

// applySome applies entries in one batch.
func (f *fsm) applySome(st *heldState, logs []*raft.Log) []any {
	start := time.Now()
	answers := make([]any, len(logs))
	first, _ := st.applied()
	entries := make([]entry, 0, len(logs))
	skipped, bytes := 0, 0
	for _, l := range logs {
		bytes += len(l.Data)
		if l.Index <= first {
			skipped++
			continue
		}
		e := entry{Index: l.Index, Term: l.Term}
		if l.Type == raft.LogCommand {
			e.Data = l.Data // of a configuration it is Raft's own
		}
		entries = append(entries, e)
	}
	f.metrics.skipped.Add(float64(skipped))
	if len(entries) > 0 {
		for i, results := range st.apply(entries) {
			answers[skipped+i] = results
		}
	}
	spent := time.Since(start)
	f.budget.add(len(logs), bytes, spent)
	f.metrics.applied.Add(float64(len(entries)))
	f.metrics.appliedIndex.Set(float64(logs[len(logs)-1].Index))
	f.metrics.applySeconds.Observe(spent.Seconds())
	f.applied()
	if f.results != nil {
		for i, e := range entries {
			f.results(e.Data, answers[skipped+i].([]granary.Result))
		}
	}
	return answers
}

// Snapshot implements raft.FSM. The checkpoint is taken here, between two batches, so that it holds
// exactly the entries that Raft says it does.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	start := time.Now()
	st := f.states.acquire()
	dir := filepath.Join(f.snaps.dir, fmt.Sprintf("pending-%x%s", time.Now().UnixNano(), tmpSuffix))
	if err := checkpoint(st.state, dir); err != nil {
		st.release()
		return nil, err
	}
	f.budget.reset()
	f.metrics.snapshotPause.Observe(time.Since(start).Seconds())
	p := &fsmSnapshot{fsm: f, held: st, dir: dir, began: start}
	if err := f.snaps.hook("snapshot: checkpoint"); err != nil {
		p.Release()
		return nil, err
	}
	return p, nil
}

// Restore implements raft.FSM: all state is replaced by the snapshot's.
func (f *fsm) Restore(r io.ReadCloser) error {
	if err := f.snaps.hook("restore: begin"); err != nil {
		return err
	}
	inner := r
	for {
		w, ok := inner.(raft.ReadCloserWrapper)
		if !ok {
			break
		}
		inner = w.WrappedReadCloser()
	}
	own, ok := inner.(*snapshotReader)
	if !ok {
		return granary.Errorf(granary.KindInternal, "master.restore", "", "a snapshot that is not of this store: %T", inner)
	}
	err := f.states.replace(func(dir string) error { return cloneState(own.dir, dir) })
	if err != nil {
		return err
	}
	st := f.states.acquire()
	defer st.release()
	index, _ := st.applied()
	f.metrics.appliedIndex.Set(float64(index))
	f.budget.reset()
	f.applied()
	return nil
}

// fsmSnapshot is a checkpoint on its way into the snapshot store.
type fsmSnapshot struct {
	fsm   *fsm
	held  *heldState
	dir   string
	began time.Time
}

// Persist implements raft.FSMSnapshot. Raft drops log entries once it has returned, so the live state
// is made durable first, not only its copy.
func (p *fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := p.held.sync(); err != nil {
		return err
	}
	own, ok := sink.(*snapshotSink)
	if !ok {
		return granary.Errorf(granary.KindInternal, "master.snapshot", "", "a sink that is not of this store: %T", sink)
	}
	if err := own.adopt(p.dir); err != nil {
		return err
	}
	if err := own.Close(); err != nil {
		return err
	}
	p.fsm.budget.sized(own.meta.Size)
	p.fsm.metrics.snapshotSeconds.Observe(time.Since(p.began).Seconds())
	p.fsm.metrics.snapshotBytes.Set(float64(own.meta.Size))
	return nil
}

// Release implements raft.FSMSnapshot.
func (p *fsmSnapshot) Release() {
	p.held.release()
	_ = os.RemoveAll(p.dir) // what stays is removed at the next start
}

// raftNode is a running Raft node with what it stands on.
type raftNode struct {
	*raft.Raft
	raftStores
	began  bool          // with a state of Raft that was there before
	notify chan bool     // of leadership
	gone   chan struct{} // closed when it has shut down: futures that are left will never be answered
	end    sync.Once
}

// shutdown ends the node, once.
func (n *raftNode) shutdown() (err error) {
	n.end.Do(func() {
		err = n.Raft.Shutdown().Error()
		close(n.gone)
	})
	return err
}

// openRaft starts the node; id is its own. A node without any state asks mayFound before it begins, and one that is
// to join a cluster begins with no configuration at all: it waits to be added.
// On an error nothing is left open but the transport.
// refresh is called when a leader is about to send a snapshot.
func openRaft(id string, o *Options, f *fsm, trans *intake, mayFound func() error, refresh func()) (*raftNode, error) {
	stores, err := openStores(o, f.snaps.covered)
	if err != nil {
		return nil, err
	}
	n := &raftNode{raftStores: stores, notify: make(chan bool, notifyBuffer), gone: make(chan struct{})}
	if err := n.start(id, o, f, trans, mayFound, refresh); err != nil {
		return nil, errors.Join(err, stores.close())
	}
	return n, nil
}

func (n *raftNode) start(id string, o *Options, f *fsm, trans *intake, mayFound func() error, refresh func()) error {
	if err := f.recover(n.logs); err != nil {
		return err
	}
	conf := raftConfig(id, o, n.notify)
	exists, err := raft.HasExistingState(n.logs, n.stable, f.snaps)
	if err != nil {
		return openError(o.Dir, err)
	}
	n.began = exists
	if !exists {
		if err := mayFound(); err != nil {
			return err
		}
		if len(o.Join) == 0 {
			if err := n.found(id, conf, o, f.snaps, trans); err != nil {
				return err
			}
		}
	}
	trans.durable = n.logs.AwaitDurable
	logs := &aheadLog{Log: n.logs}
	n.Raft, err = raft.NewRaft(conf, f, logs, termStore{n.stable, n.logs}, freshSnapshots{f.snaps, refresh}, trans)
	if err != nil {
		return openError(o.Dir, err)
	}
	logs.raft.Store(n.Raft)
	return nil
}

func raftConfig(id string, o *Options, notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout = o.HeartbeatTimeout
	c.ElectionTimeout = o.HeartbeatTimeout
	c.LeaderLeaseTimeout = o.HeartbeatTimeout
	c.CommitTimeout = min(commitTimeout, o.HeartbeatTimeout/4)
	c.MaxAppendEntries = appendEntriesMax
	c.BatchApplyCh = true
	c.SnapshotThreshold = o.SnapshotThreshold
	c.SnapshotInterval = o.SnapshotInterval
	c.TrailingLogs = o.TrailingLogs
	c.NoSnapshotRestoreOnStart = true
	c.NotifyCh = notify
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLogger(o.Log)
	return c
}

// found writes the founding configuration into the log of a node that has no state yet. All
// founding members write the same one, so it does not matter who is first.
func (n *raftNode) found(id string, conf *raft.Config, o *Options, snaps raft.SnapshotStore, trans raft.Transport) error {
	peers := o.Peers
	if len(peers) == 0 {
		peers = []Peer{{ID: id, GRPCAddr: o.GRPCAddr, RaftAddr: string(trans.LocalAddr())}}
	}
	var c raft.Configuration
	for _, p := range peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.RaftAddr)})
	}
	if err := raft.BootstrapCluster(conf, n.logs, n.stable, snaps, trans, c); err != nil {
		return openError(o.Dir, err)
	}
	return nil
}

// recover brings the state to where the newest snapshot is, if it lies behind, and refuses a state
// that does not fit the log. It lies behind when the node died between receiving a snapshot and
// restoring it, or lost power after its log was cut; Raft itself would go on after the snapshot and
// leave a hole.
func (f *fsm) recover(logs raft.LogStore) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return openError(f.states.dir, err)
	}
	last, err := logs.LastIndex()
	if err != nil {
		return openError(f.states.dir, err)
	}
	metas, err := f.snaps.List()
	if err != nil {
		return err
	}
	var snapIndex, snapTerm uint64
	if len(metas) > 0 {
		snapIndex, snapTerm = metas[0].Index, metas[0].Term
		f.budget.sized(metas[0].Size)
		if err := f.catchUp(metas[0].ID); err != nil {
			return err
		}
	}
	st := f.states.acquire()
	defer st.release()
	applied, _ := st.applied()
	switch {
	case applied > max(last, snapIndex):
		return granary.Errorf(granary.KindCorrupt, "master.open", f.states.dir,
			"the state holds entry %d, but log and snapshots end at %d: the Raft log was lost or replaced", applied, max(last, snapIndex))
	case first > snapIndex+1:
		return granary.Errorf(granary.KindCorrupt, "master.open", f.states.dir,
			"the log begins at entry %d, but the newest snapshot is of %d: a snapshot was lost", first, snapIndex)
	}
	return dropConflict(logs, snapIndex, snapTerm)
}

// dropConflict empties a log that has another entry where a snapshot ends. The snapshot's is committed, so the log's is not,
// nor is any after it; what lies before it the snapshot holds. Raft keeps such a log when it installs the
// snapshot, and then refuses all that the leader sends, since the entry before it does not match.
func dropConflict(logs raft.LogStore, snapIndex, snapTerm uint64) error {
	var l raft.Log
	switch err := logs.GetLog(snapIndex, &l); {
	case errors.Is(err, raft.ErrLogNotFound):
		return nil
	case err != nil:
		return openError("log", err)
	case l.Term == snapTerm:
		return nil
	}
	first, err := logs.FirstIndex()
	if err != nil {
		return openError("log", err)
	}
	last, err := logs.LastIndex()
	if err != nil {
		return openError("log", err)
	}
	if err := logs.DeleteRange(first, last); err != nil {
		return openError("log", err)
	}
	return nil
}

// catchUp restores a snapshot if the state has applied less than it holds.
func (f *fsm) catchUp(id string) error {
	info, err := f.snaps.info(id)
	if err != nil {
		return err
	}
	st := f.states.acquire()
	applied, _ := st.applied()
	st.release()
	if applied >= info.Index {
		return nil
	}
	_, r, err := f.snaps.Open(id)
	if err != nil {
		return err
	}
	defer r.Close()
	return f.Restore(r)
}

// newTransport listens for the other nodes.
func newTransport(o *Options, addrs raft.ServerAddressProvider) (raft.Transport, error) {
	if o.transport != nil {
		return o.transport, nil
	}
	l := o.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", o.RaftAddr); err != nil {
			return nil, openError(o.RaftAddr, err)
		}
	}
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addrs,
		Logger:                newRaftLogger(o.Log),
		Stream:                &streamLayer{Listener: l, advertised: o.RaftAddr},
		MaxPool:               transportPool,
		Timeout:               transportTimeout,
	})
	t.TimeoutScale = transportScale
	return t, nil
}

// streamLayer is plain TCP.
type streamLayer struct {
	net.Listener
	advertised string
}

// Dial implements raft.StreamLayer.
func (s *streamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(addr), timeout)
}

// Addr implements net.Listener: the address that others reach this node at.
func (s *streamLayer) Addr() net.Addr { return advertisedAddr(s.advertised) }

type advertisedAddr string

func (a advertisedAddr) Network() string { return "tcp" }
func (a advertisedAddr) String() string  { return string(a) }
