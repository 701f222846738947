package master

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// members is a group whose masters come and go by command.
type members struct{ *group }

// membersPatience is the heartbeat timeout of members: long enough that nobody is elected unasked, and not so long that
// to hear of one takes time.
const membersPatience = 2 * time.Second

// newMembers starts the first of n nodes as founders; the others can join.
func newMembers(t *testing.T, n, founders int, with func(*Options)) *members {
	t.Helper()
	m := &members{newGroupPart(t, n, founders, true, func(o *Options) {
		o.Peers, o.HeartbeatTimeout = o.Peers[:founders], membersPatience
		if with != nil {
			with(o)
		}
	})}
	m.connect(func(i, j int) bool { return true })
	return m
}

// join starts a node that waits to be added, or one that had been added.
func (m *members) join(i int) error {
	o := m.options(i, filepath.Join(m.group.dir, m.peers[i].ID), nil)
	o.Peers, o.foundingReach, o.foundingPatience = nil, time.Second, 5*time.Second
	for _, p := range m.peers {
		if p.GRPCAddr != o.GRPCAddr {
			o.Join = append(o.Join, p.GRPCAddr)
		}
	}
	s, err := Open(o)
	if err != nil {
		return err
	}
	m.run(i, s)
	return nil
}

func (m *members) mustJoin(i int) {
	m.t.Helper()
	if err := m.join(i); err != nil {
		m.t.Fatal(err)
	}
}

// node returns a node for any goroutine; nil if it does not run.
func (m *members) node(i int) *Server {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[i]
}

// wipe empties the directory of a node that does not run.
func (m *members) wipe(i int) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.group.dir, m.peers[i].ID)); err != nil {
		m.t.Fatal(err)
	}
}

// change asks for a change at whoever leads, until it is done or refused.
func (m *members) change(c *granary.MemberChange) error {
	m.t.Helper()
	var refused error
	eventually(m.t, "a change of members", func() (err error) {
		err = fmt.Errorf("no node runs")
		for i := range m.nodes {
			s := m.node(i)
			if s == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(m.t.Context(), 3*time.Second)
			err = s.ChangeMember(ctx, c)
			cancel()
			switch granary.KindOf(err) {
			case granary.KindNone:
				return nil
			case granary.KindUnavailable, granary.KindIndeterminate, granary.KindBusy:
			default:
				refused = err
				return nil
			}
		}
		return err
	})
	return refused
}

func (m *members) add(i int) {
	m.t.Helper()
	if err := m.change(&granary.MemberChange{Action: granary.MemberAdd, GRPCAddr: m.peers[i].GRPCAddr}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *members) remove(i int) {
	m.t.Helper()
	if err := m.change(&granary.MemberChange{Action: granary.MemberRemove, ID: m.peers[i].ID}); err != nil {
		m.t.Fatal(err)
	}
}

// status asks the leader.
func (m *members) status() *granary.Status {
	m.t.Helper()
	var st *granary.Status
	eventually(m.t, "the status", func() error {
		s := m.node(m.leader())
		if s == nil {
			return fmt.Errorf("it is gone")
		}
		a, _, err := s.Query(m.t.Context(), &granary.QueryRequest{Query: &granary.GetStatus{}})
		if err == nil {
			st = a.(*granary.Status)
		}
		return err
	})
	return st
}

// voters checks which nodes vote, as the leader has it.
func (m *members) voters(want ...int) {
	m.t.Helper()
	st := m.status()
	got := map[string]bool{}
	for _, s := range st.Masters {
		if s.Voter {
			got[s.ID] = true
		}
	}
	for _, i := range want {
		if !got[m.peers[i].ID] {
			m.t.Errorf("node %d does not vote: %+v", i, st.Masters)
		}
	}
	if len(got) != len(want) {
		m.t.Errorf("%d nodes vote, not %d: %+v", len(got), len(want), st.Masters)
	}
}

// stream is a client that creates one file after the other, exclusively: each must succeed once, whoever leads.
type stream struct {
	m     *members
	stop  context.CancelFunc
	ended sync.WaitGroup
	count atomic.Int64
	worst atomic.Int64 // nanoseconds of the longest wait for one
}

func (m *members) stream() *stream {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{m: m, stop: cancel}
	c := m.client()
	s.ended.Go(func() {
		for ctx.Err() == nil {
			s.one(c)
		}
	})
	m.t.Cleanup(cancel)
	return s
}

func (s *stream) one(c *testClient) {
	c.seq++
	began := time.Now()
	for i := 0; ; i++ {
		node := s.m.node(i % len(s.m.nodes))
		if node == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		results, err := node.Mutate(ctx, &granary.MutateRequest{Session: c.session, LowestUnacked: c.seq,
			Requests: []granary.Request{{Seq: c.seq, Op: createOp(fmt.Sprint("s", c.seq))}}})
		cancel()
		if k := granary.KindOf(err); k == granary.KindUnavailable || k == granary.KindIndeterminate {
			if time.Since(began) > testTimeout {
				s.m.t.Errorf("no answer: %v", err)
				return
			}
			pause(context.Background(), time.Millisecond)
			continue
		}
		if err != nil {
			s.m.t.Error(err)
		} else if results[0].Err != nil {
			s.m.t.Errorf("create %d: %v", c.seq, results[0].Err)
		}
		break
	}
	s.worst.Store(max(s.worst.Load(), int64(time.Since(began))))
	s.count.Add(1)
}

// advance waits until more was written.
func (s *stream) advance(n int64) {
	s.m.t.Helper()
	from := s.count.Load()
	eventually(s.m.t, "the stream of writes", func() error {
		if s.count.Load() < from+n {
			return fmt.Errorf("%d of %d", s.count.Load()-from, n)
		}
		return nil
	})
}

// finish ends the stream and checks that all of it is there, on every node that runs.
func (s *stream) finish() {
	s.m.t.Helper()
	s.stop()
	s.ended.Wait()
	want := uint64(s.count.Load())
	files := s.m.status().Files
	if files != want {
		s.m.t.Errorf("%d files were acknowledged, and %d are there", want, files)
	}
}

// same waits until the nodes have applied as much as the leader, and have the same files.
func (m *members) same(nodes ...int) {
	m.t.Helper()
	want := m.status().Files
	for _, i := range nodes {
		eventually(m.t, fmt.Sprintf("the state of node %d", i), func() error {
			st := m.node(i).states.acquire()
			defer st.release()
			if got := st.current().Files; got != want {
				return fmt.Errorf("%d files, not %d", got, want)
			}
			return nil
		})
	}
}

// TestMembersAddedAndRemoved grows a group from one to three and shrinks it again, under load, until the founder
// itself is gone.
func TestMembersAddedAndRemoved(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 3, 1, nil)
	m.leader()
	s := m.stream()
	m.mustJoin(1)
	m.add(1)
	m.voters(0, 1)
	if st := m.status(); len(st.Reasons) == 0 {
		t.Error("an even number of voters gives no warning")
	}
	m.mustJoin(2)
	s.advance(20)
	m.add(2)
	m.add(2) // repeated
	m.voters(0, 1, 2)
	s.advance(20)
	m.remove(0)
	m.remove(0)
	m.voters(1, 2)
	m.leader(0)
	s.advance(20)
	s.finish()
	m.same(1, 2)
	if st := m.status(); len(st.Masters) != 2 {
		t.Errorf("the removed node is listed: %+v", st.Masters)
	}
}

// TestMemberReplaced: a node whose directory was lost is removed and added again, under the same id, while writes go on;
// until it has been removed it may not come back.
func TestMemberReplaced(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 3, 3, nil)
	lost := (m.leader() + 1) % 3
	m.awaitJoined(lost)
	s := m.stream()
	s.advance(20)
	m.stop(lost)
	m.wipe(lost)
	s.advance(20)
	if err := m.join(lost); !granary.IsKind(err, granary.KindInvalid) {
		t.Fatalf("an emptied member joined: %v", err)
	}
	m.wipe(lost)
	m.remove(lost)
	if _, err := Open(m.asking(lost)); !granary.IsKind(err, granary.KindInvalid) {
		t.Fatalf("a removed member founded: %v", err)
	}
	m.wipe(lost)
	m.mustJoin(lost)
	down := raft.FailedHeartbeatObservation{PeerID: raft.ServerID(m.peers[lost].ID)}
	m.node(m.leader()).peers.note(down) // heartbeats of the one that was lost have failed
	m.add(lost)
	m.voters(0, 1, 2)
	s.advance(20)
	s.finish()
	m.same(0, 1, 2)
	// The new one is not down because the one before was.
	if err := m.change(&granary.MemberChange{Action: granary.MemberLead, ID: m.peers[lost].ID}); err != nil {
		t.Error(err)
	}
}

// TestMemberCatchesUpFromSnapshot: a node that joins after the log was cut gets a checkpoint.
func TestMemberCatchesUpFromSnapshot(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 2, 1, func(o *Options) {
		o.SnapshotThreshold, o.SnapshotInterval, o.TrailingLogs = 50, 20*time.Millisecond, 5
	})
	m.leader()
	s := m.stream()
	s.advance(200)
	eventually(t, "a cut of the log", func() error {
		first, err := m.node(0).raft.logs.FirstIndex()
		if err == nil && first < 50 {
			err = fmt.Errorf("it begins at %d", first)
		}
		return err
	})
	m.mustJoin(1)
	m.add(1)
	m.voters(0, 1)
	s.advance(20)
	s.finish()
	m.same(0, 1)
	if metas, err := m.node(1).snaps.List(); err != nil || len(metas) == 0 {
		t.Errorf("the new node has no snapshot: %v", err)
	}
}

// TestLeaderChangesWhileAdding: the leader goes away at every stage of an addition; its successor goes on.
func TestLeaderChangesWhileAdding(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 4, 3, nil)
	s := m.stream()
	m.mustJoin(3)
	if err := m.change(&granary.MemberChange{Action: granary.MemberLead}); err != nil {
		t.Fatal(err)
	}
	// Recorded and admitted, and then the leader hands over before the promotion.
	l := m.node(m.leader()).leading.Load()
	who, err := l.identify(t.Context(), &granary.MemberChange{GRPCAddr: m.peers[3].GRPCAddr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.admit(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	before := m.leader()
	if err := m.change(&granary.MemberChange{Action: granary.MemberLead, ID: m.peers[(before+1)%3].ID}); err != nil {
		t.Fatal(err)
	}
	m.add(3)
	m.voters(0, 1, 2, 3)
	m.remove(before)
	s.advance(20)
	s.finish()
	m.same((before+1)%3, (before+2)%3, 3)
}

// TestLeaderWithoutNews: a leader that has not heard of the others yet, as it was elected a moment ago, hands over once it
// has.
func TestLeaderWithoutNews(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 3, 3, nil)
	at := m.leader()
	for _, to := range []string{m.peers[(at+1)%3].ID, ""} {
		l := m.node(m.leader())
		for _, p := range m.peers {
			l.witness.forget(p.ID)
		}
		if err := m.change(&granary.MemberChange{Action: granary.MemberLead, ID: to}); err != nil {
			t.Errorf("to %q: %v", to, err)
		}
	}
}

// TestLostAdditionIsRepeated: the new node got entries of a leader that was lost before its addition was committed.
// It is not empty and no member; that it is recorded lets it in.
func TestLostAdditionIsRepeated(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 4, 3, nil)
	m.leader()
	m.mustJoin(3)
	l := m.node(m.leader()).leading.Load()
	if results, err := l.prop.propose(t.Context(), &addMember{ID: m.peers[3].ID, GRPCAddr: m.peers[3].GRPCAddr}); failure(err, results) != nil {
		t.Fatal(failure(err, results))
	}
	who := &granary.MasterIdentity{ID: m.peers[3].ID, GRPCAddr: m.peers[3].GRPCAddr, RaftAddr: m.peers[3].RaftAddr, Cluster: l.cluster}
	if _, err := l.admit(t.Context(), who); err != nil {
		t.Errorf("a node that was being added: %v", err)
	}
	m.remove(3)
	if _, err := l.admit(t.Context(), who); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("a node that was removed, with its data: %v", err)
	}
}

// TestNewMemberCrashes: the new node dies, with its directory or without, before it votes, and goes on afterwards.
func TestNewMemberCrashes(t *testing.T) {
	t.Parallel()
	for _, wiped := range []bool{false, true} {
		t.Run(fmt.Sprint("wiped ", wiped), func(t *testing.T) {
			m := newMembers(t, 2, 1, nil)
			m.leader()
			s := m.stream()
			s.advance(10)
			m.mustJoin(1)
			m.stop(1)
			m.mustJoin(1) // it had not been heard of
			l := m.node(0).leading.Load()
			who, err := l.identify(t.Context(), &granary.MemberChange{GRPCAddr: m.peers[1].GRPCAddr})
			if err != nil {
				t.Fatal(err)
			}
			if voter, err := l.admit(t.Context(), who); voter || err != nil {
				t.Fatal(voter, err)
			}
			if err := l.awaitCaughtUp(t.Context(), who.ID); err != nil {
				t.Fatal(err)
			}
			m.stop(1)
			if wiped {
				m.wipe(1)
			}
			s.advance(10)
			m.mustJoin(1)
			m.add(1)
			m.stop(1)
			m.mustJoin(1) // a member, with its data: the flag does nothing
			m.voters(0, 1)
			s.advance(10)
			s.finish()
			m.same(0, 1)
		})
	}
}

// TestMemberRefusals: what would leave no quorum, and who may not be added.
func TestMemberRefusals(t *testing.T) {
	t.Parallel()
	// A member that is down is told by its silence.
	m := newMembers(t, 4, 3, func(o *Options) { o.HeartbeatTimeout = time.Second })
	leader := m.leader()
	down, up := (leader+1)%3, (leader+2)%3
	term := m.node(down).raft.CurrentTerm()
	m.stop(down)
	remove := func(i int) error {
		return m.change(&granary.MemberChange{Action: granary.MemberRemove, ID: m.peers[i].ID})
	}
	if err := remove(up); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("a removal that leaves no quorum: %v", err)
	}
	m.remove(down)
	m.voters(leader, up)
	m.mustJoin(3)
	wrong := &granary.MemberChange{Action: granary.MemberAdd, ID: "other", GRPCAddr: m.peers[3].GRPCAddr}
	if err := m.change(wrong); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("another id than the node's: %v", err)
	}
	// The removed node, back with its data, is told from a new one; it disturbs nobody.
	m.startAt(down, filepath.Join(m.group.dir, m.peers[down].ID), nil)
	back := &granary.MemberChange{Action: granary.MemberAdd, GRPCAddr: m.peers[down].GRPCAddr}
	if err := m.change(back); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("a removed node with its data: %v", err)
	}
	eventually(t, "the removed node's insight", func() error {
		if m.node(down).askMembership() {
			return fmt.Errorf("it takes itself for a member")
		}
		return nil
	})
	if now := m.node(down).raft.CurrentTerm(); now != term {
		t.Errorf("the removed node moved the term from %d to %d", term, now)
	}
	alone := newMembers(t, 1, 1, nil)
	alone.leader()
	if err := alone.change(&granary.MemberChange{Action: granary.MemberRemove, ID: alone.peers[0].ID}); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("the removal of the last master: %v", err)
	}
}

// TestCloseUnderLoad: a leader that is closed hands over, and no write waits for an election.
func TestCloseUnderLoad(t *testing.T) {
	m := newMembers(t, 3, 3, func(o *Options) { o.HeartbeatTimeout = steady })
	leader := m.leader()
	s := m.stream()
	s.advance(20)
	s.worst.Store(0)
	node := m.node(leader)
	m.run(leader, nil)
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	s.advance(20)
	s.finish()
	if worst := time.Duration(s.worst.Load()); worst >= steady {
		t.Errorf("a write waited for %v", worst)
	} else {
		t.Logf("a write waited for %v at most", worst)
	}
}
