package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

func TestRestartReplaysNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	c := newClient(t, s)
	for i := range 20 {
		c.do(s, createOp(fmt.Sprintf("f%d", i)))
	}
	root, cluster := s.RootUser(), s.leading.Load().cluster
	if len(root.AccessKey) != 20 || len(root.SecretKey) != 40 || !root.Root {
		t.Errorf("root user %+v", root)
	}
	before := appliedBy(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openAlone(t, dir, nil)
	if got := counterValue(t, s.metrics.applied); got != 0 {
		t.Errorf("%v entries were applied again", got)
	}
	if got := counterValue(t, s.metrics.skipped); got == 0 {
		t.Errorf("no entry was skipped: the test proves nothing")
	}
	if after := appliedBy(s); after != before {
		t.Errorf("applied index %d became %d", before, after)
	}
	if s.RootUser() != root || s.leading.Load().cluster != cluster {
		t.Errorf("another root user or cluster after the restart")
	}
	var id identity
	b, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if err := errors.Join(err, json.Unmarshal(b, &id)); err != nil || id.Cluster != cluster {
		t.Errorf("node.json %s, %v", b, err)
	}
	// The session is alive, and its results are remembered.
	if _, err := c.send(s, 20, createOp("f19")); err != nil {
		t.Errorf("a retry after the restart: %v", err)
	}
	if _, err := c.send(s, 21, createOp("f19")); !granary.IsKind(err, granary.KindExists) {
		t.Errorf("a second file of that name: %v", err)
	}
	for i := range 20 {
		if _, err := lookup(t, s, fmt.Sprintf("f%d", i)); err != nil {
			t.Errorf("f%d: %v", i, err)
		}
	}
}

// TestGivenRootUser: the keys that a leader was given replace those of an existing cluster.
func TestGivenRootUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	old := s.RootUser()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	given := granary.User{AccessKey: "zz-given", SecretKey: "given-secret"}
	want := given
	want.Name, want.Root = "root", true
	for _, with := range []func(*Options){func(o *Options) { o.RootUser = given }, nil} {
		s = openAlone(t, dir, with)
		if got := s.RootUser(); got != want {
			t.Errorf("root user %+v", got)
		}
		a, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.GetUser{AccessKey: want.AccessKey}})
		if err != nil || a.(*granary.UserIs).User != want {
			t.Errorf("the given user: %+v, %v", a, err)
		}
		_, _, err = s.Query(t.Context(), &granary.QueryRequest{Query: &granary.GetUser{AccessKey: old.AccessKey}})
		if !granary.IsKind(err, granary.KindNotFound) {
			t.Errorf("the user before: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFoundingOwner: the first directories are whose the founding node's options say, and a later node's change nothing.
func TestFoundingOwner(t *testing.T) {
	dir := t.TempDir()
	for _, owner := range []granary.Cred{{UID: 1000, GID: 100}, {UID: 7, GID: 8}} {
		s := openAlone(t, dir, func(o *Options) { o.Owner = owner })
		for _, name := range []string{"", granary.BucketsName} {
			f, err := lookup(t, s, name)
			if err != nil || f.Entry.Attr.UID != 1000 || f.Entry.Attr.GID != 100 || f.Entry.Attr.Mode != 0o755 {
				t.Errorf("%q: %+v, %v", name, f, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	again := testOptions(dir)
	again.RaftAddr = "127.0.0.1:0"
	if _, err := Open(again); !granary.IsKind(err, granary.KindBusy) {
		t.Errorf("a directory in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again.ID = "somebody-else"
	if _, err := Open(again); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("another node's directory: %v", err)
	}
	again.ID = ""
	node := filepath.Join(dir, "node.json")
	original, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		content string
		kind    granary.Kind
	}{
		"a newer format":  {`{"format":3,"id":"localhost:1"}`, granary.KindNotSupported},
		"another cluster": {`{"format":1,"id":"localhost:1","cluster":"00112233445566778899aabbccddeeff"}`, granary.KindInvalid},
		"not a node file": {`{}`, granary.KindCorrupt},
	} {
		if err := os.WriteFile(node, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(again); !granary.IsKind(err, tt.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(node, original, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "raft.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(again); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("a lost log: %v", err)
	}
}

func TestOptionsRefuse(t *testing.T) {
	ok := func() Options {
		return Options{Dir: "d", GRPCAddr: "a", RaftAddr: "b"}
	}
	for name, change := range map[string]func(*Options){
		"no directory":     func(o *Options) { o.Dir = "" },
		"no address":       func(o *Options) { o.RaftAddr = "" },
		"two masters":      func(o *Options) { o.Peers = []Peer{{GRPCAddr: "a", RaftAddr: "b"}, {GRPCAddr: "c", RaftAddr: "d"}} },
		"half a root user": func(o *Options) { o.RootUser.AccessKey = "k" },
		"twins": func(o *Options) {
			o.Peers = []Peer{{GRPCAddr: "a", RaftAddr: "b"}, {GRPCAddr: "c", RaftAddr: "b"}, {GRPCAddr: "e", RaftAddr: "f"}}
		},
	} {
		o := ok()
		change(&o)
		if err := o.Validate(); !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFailover: a new leader answers a retry with the first result, and names itself to who asks
// another node.
func TestFailover(t *testing.T) {
	g := newGroup(t, 3, false, electing)
	c := g.client()
	made := g.do(c, createOp("once"))
	first := 0
	eventually(t, "a follower's word", func() error {
		first = g.leader()
		follower := g.nodes[(first+1)%3]
		var notLeader *granary.NotLeader
		_, err := c.send(follower, 1, createOp("once"))
		if !granary.IsKind(err, granary.KindUnavailable) || !errors.As(err, &notLeader) || notLeader.Leader != g.peers[first].GRPCAddr {
			return fmt.Errorf("a follower answered %w", err)
		}
		if _, err := lookup(t, follower, "once"); !granary.IsKind(err, granary.KindUnavailable) {
			return fmt.Errorf("a follower answered a query with %w", err)
		}
		return nil
	})
	dir := g.stop(first)
	again := g.again(c, createOp("once"))
	if again.Index != made.Index || again.Attr.Inode != made.Attr.Inode {
		t.Errorf("the retry gave %+v; first was %+v", again, made)
	}
	g.find("once")
	checkStatus(t, g, first)
	g.startAt(first, dir, nil)
	if g.nodes[first].RootUser() != g.nodes[(first+1)%3].RootUser() {
		t.Error("two root users")
	}
}

func checkStatus(t *testing.T, g *group, down int) {
	t.Helper()
	eventually(t, "status", func() error {
		leader := g.leader()
		a, _, err := g.nodes[leader].Query(t.Context(), &granary.QueryRequest{Query: &granary.GetStatus{}})
		if err != nil {
			return err
		}
		st := a.(*granary.Status)
		if st.Leader != g.peers[leader].GRPCAddr || len(st.Masters) != 3 {
			return fmt.Errorf("leader %s of %d masters", st.Leader, len(st.Masters))
		}
		for i, m := range st.Masters {
			if m.ID != g.peers[i].ID || m.Addr != g.peers[i].GRPCAddr || m.Leader != (i == leader) || m.Up != (i != down) {
				return fmt.Errorf("master %+v", m)
			}
		}
		return nil
	})
}

// TestCloseHandsOver: requests that meet a closing leader are refused or answered, and the session
// goes on with another.
func TestCloseHandsOver(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, false, nil)
	first := g.leader()
	c := newClient(t, g.nodes[first])
	closing := g.nodes[first]
	var wg sync.WaitGroup
	for n := range uint64(50) {
		wg.Go(func() {
			for at := closing; ; {
				_, err := c.send(at, n+1, createOp(fmt.Sprintf("f%d", n)))
				if err == nil {
					return
				}
				if k := granary.KindOf(err); k != granary.KindUnavailable && k != granary.KindIndeterminate {
					t.Errorf("f%d: %v", n, err)
					return
				}
				for i, s := range g.nodes {
					if s != closing && s.leading.Load() != nil {
						at = g.nodes[i]
					}
				}
				if !pause(t.Context(), time.Millisecond) {
					return
				}
			}
		})
	}
	if err := closing.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	g.nodes[first] = nil
	for n := range 50 {
		g.find(fmt.Sprintf("f%d", n))
	}
}

// TestLogBudget: big entries shorten what is kept behind a snapshot, and so do those that take long to apply, where a
// snapshot is quicker sent; others do not.
func TestLogBudget(t *testing.T) {
	b := newLogBudget(30_000)
	b.add(1000, 1000*300, time.Millisecond)
	if keep, exceeded := b.keep(); keep != 30_000 || exceeded {
		t.Errorf("small entries: %d are kept, exceeded is %v", keep, exceeded)
	}
	b.reset()
	b.add(1100, 1100*256<<10, time.Millisecond)
	if keep, exceeded := b.keep(); keep != 1024 || !exceeded || len(b.over) != 1 {
		t.Errorf("big entries: %d are kept, exceeded is %v", keep, exceeded)
	}
	b.reset()
	b.add(1100, 1100, 22*time.Second)
	if keep, exceeded := b.keep(); keep != 500 || !exceeded || !b.stale() {
		t.Errorf("slow entries: %d are kept, exceeded is %v", keep, exceeded)
	}
	b.sized(40 * installBytes)
	if keep, exceeded := b.keep(); keep != 1000 || exceeded {
		t.Errorf("slow entries of a large state: %d are kept, exceeded is %v", keep, exceeded)
	}
	b.reset()
	if b.stale() {
		t.Error("a snapshot that was just taken is old")
	}
}

// TestSnapshotCatchesUp: a node that was away longer than the log reaches back gets a snapshot.
func TestSnapshotCatchesUp(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, false, func(o *Options) {
		o.SnapshotThreshold, o.TrailingLogs, o.SnapshotInterval = 20, 5, 50*time.Millisecond
	})
	leader := g.leader()
	away := (leader + 1) % 3
	c := g.client()
	g.do(c, createOp("before"))
	dir := g.stop(away)
	for i := range 60 {
		g.do(c, createOp(fmt.Sprintf("f%d", i)))
	}
	eventually(t, "cut logs", func() error {
		// Entries keep coming, as the threshold counts them.
		g.do(c, &granary.SetAttr{Inode: granary.RootInode, MtimeNow: true})
		for i, s := range g.nodes {
			if s == nil {
				continue
			}
			if first, err := s.raft.logs.FirstIndex(); err != nil || first < 40 {
				return fmt.Errorf("that of node %d begins at %d, %w", i, first, err)
			}
		}
		return nil
	})
	g.startAt(away, dir, nil)
	want := appliedBy(g.nodes[leader])
	eventually(t, "the snapshot", func() error {
		st := g.nodes[away].states.acquire()
		defer st.release()
		if got, _ := st.applied(); got < want || st.seq == 1 {
			return fmt.Errorf("applied %d of %d, in %s", got, want, st.dir)
		}
		return nil
	})
	// It can lead, and knows everything.
	g.handOver(away)
	for _, name := range []string{"before", "f0", "f59"} {
		g.find(name)
	}
}

// TestFreshSnapshotIsSent: a node that needs a snapshot gets a new one, where it would have to apply a lot after
// the old one.
func TestFreshSnapshotIsSent(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, false, func(o *Options) { o.TrailingLogs = 1 })
	leader := g.nodes[g.leader()]
	away := (g.leader() + 1) % 3
	c := g.client()
	dir := g.stop(away)
	snapshot := func() uint64 {
		index, err := leader.snaps.covered()
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	g.do(c, createOp("a"))
	g.do(c, createOp("b"))
	if err := leader.awaitRaft(t.Context(), leader.raft.Snapshot()); err != nil {
		t.Fatal(err)
	}
	old := snapshot()
	g.do(c, createOp("c"))
	want := appliedBy(leader)
	leader.budget.add(1, 1, 2*freshReplayMin)
	g.startAt(away, dir, nil)
	eventually(t, "the snapshot", func() error {
		if got := appliedBy(g.nodes[away]); got < want {
			return fmt.Errorf("applied %d of %d", got, want)
		}
		if got := gaugeOf(t, g.nodes[away].metrics.appliedIndex); got < float64(want) {
			return fmt.Errorf("the metric says that %v entries are applied, not %d", got, want)
		}
		return nil
	})
	if got := snapshot(); got <= old || got < want {
		t.Errorf("the snapshot that was sent is of entry %d; the one before is of %d, and %d were applied", got, old, want)
	}
}

// TestNoStaleReads: a leader that has been cut off answers no reads, even before it knows.
func TestNoStaleReads(t *testing.T) {
	g := newGroup(t, 3, true, electing)
	c := g.client()
	g.do(c, createOp("a"))
	old := g.leader()
	g.connect(func(i, j int) bool { return (i == old) == (j == old) })
	if _, err := lookup(t, g.nodes[old], "a"); err == nil {
		t.Error("a leader without a majority answered a query")
	}
	next := g.leader(old)
	g.do(c, createOp("b"))
	if _, err := lookup(t, g.nodes[old], "b"); !granary.IsKind(err, granary.KindUnavailable) {
		t.Errorf("the old leader answered %v", err)
	}
	g.connect(func(i, j int) bool { return true })
	eventually(t, "the old leader's state", func() error {
		st := g.nodes[old].states.acquire()
		defer st.release()
		want := appliedBy(g.nodes[next])
		if got, _ := st.applied(); got < want {
			return fmt.Errorf("applied %d of %d", got, want)
		}
		return nil
	})
}

func TestSessionExpiry(t *testing.T) {
	t.Parallel()
	const ttl = 200 * time.Millisecond
	clock := stopClock()
	s := openAlone(t, t.TempDir(), func(o *Options) { o.SessionTTL, o.now = ttl, clock.now })
	idle, busy := newClient(t, s), newClient(t, s)
	for range 2 {
		clock.pass(ttl * 3 / 5)
		if _, err := s.KeepAlive(t.Context(), &granary.KeepAlive{Session: busy.session}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end of the idle session", func() error {
		st := s.states.acquire()
		defer st.release()
		for _, open := range st.sessions() {
			if open.ID == idle.session {
				return errors.New("it is open")
			}
		}
		return nil
	})
	if _, err := idle.send(s, 1, createOp("late")); !granary.IsKind(err, granary.KindExpired) {
		t.Errorf("a request of an expired session: %v", err)
	}
	if _, err := s.KeepAlive(t.Context(), &granary.KeepAlive{Session: idle.session}); !granary.IsKind(err, granary.KindExpired) {
		t.Errorf("keeping an expired session alive: %v", err)
	}
	if _, err := busy.send(s, 1, createOp("timely")); err != nil {
		t.Error(err)
	}
}

// fakeShards notes which shards were sealed at what length.
type fakeShards struct {
	mu     sync.Mutex
	sealed map[granary.ShardRef]uint64
	fail   error // of the first call
}

func (f *fakeShards) Seal(_ context.Context, _ string, seal *granary.Seal) error {
	ref, length := seal.Ref, seal.Length
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail; err != nil {
		f.fail = nil
		return err
	}
	f.sealed[ref] = length
	return nil
}

func (f *fakeShards) Drop(context.Context, string, granary.ShardRef, granary.Epoch, granary.Time) error {
	return nil
}

func (f *fakeShards) Sums(_ context.Context, _ string, q *granary.SumShard) (*granary.ShardSums, error) {
	return &granary.ShardSums{Sums: make([]byte, erasure.SumsLength(q.Length))}, nil
}

func (f *fakeShards) List(context.Context, string, granary.DiskID) ([]granary.ShardInfo, error) {
	return nil, nil
}

// beat sends the heartbeat of a server with one disk.
func beat(t *testing.T, s *Server, name string) *granary.HeartbeatReply {
	t.Helper()
	st := s.states.acquire()
	cluster, _ := st.cluster()
	st.release()
	r, err := s.Heartbeat(t.Context(), &granary.Heartbeat{
		Server: granary.ServerID(name), Cluster: cluster, Addr: name + ":7500",
		Disks: []granary.DiskUsage{{Disk: granary.DiskID(name + "-d"), Total: 10 << 30, Free: 9 << 30}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVolumeLife: servers register, a volume is placed on them, and it is sealed when asked.
func TestVolumeLife(t *testing.T) {
	t.Parallel()
	shards := &fakeShards{sealed: make(map[granary.ShardRef]uint64), fail: errors.New("try again")}
	s := openAlone(t, t.TempDir(), func(o *Options) { o.Shards = shards })
	c := newClient(t, s)
	if _, err := c.send(s, 1, &granary.OpenVolume{Policy: 1}); !granary.IsKind(err, granary.KindNoSpace) {
		t.Errorf("a volume without servers: %v", err)
	}
	c.seq = 1
	for _, name := range []string{"s1", "s2", "s3"} {
		if r := beat(t, s, name); !r.Leader || r.Cluster != s.leading.Load().cluster {
			t.Errorf("reply %+v", r)
		}
	}
	_, err := s.Heartbeat(t.Context(), &granary.Heartbeat{Server: "x", Addr: "x", Cluster: "another"})
	if !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("a server of another cluster: %v", err)
	}
	if r, err := s.Heartbeat(t.Context(), &granary.Heartbeat{Server: "x", Addr: "x"}); err != nil || r.Cluster == "" {
		t.Errorf("a server of no cluster: %+v, %v", r, err)
	}
	v := c.do(s, &granary.OpenVolume{Policy: 1}).Volume
	if v == nil || v.DataShards != 2 || v.ParityShards != 1 || len(v.Shards) != 3 || v.State != granary.VolumeOpen {
		t.Fatalf("volume %+v", v)
	}
	retry, err := c.send(s, c.seq, &granary.OpenVolume{Policy: 1})
	if err != nil || retry.Volume == nil || retry.Volume.ID != v.ID {
		t.Errorf("the retry gave %+v, %v", retry.Volume, err)
	}
	c.do(s, &granary.SealVolume{Volume: v.ID, Epoch: v.Epoch})
	eventually(t, "the sealed volume", func() error {
		for _, name := range []string{"s1", "s2", "s3"} {
			beat(t, s, name)
		}
		a, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListVolumes{}})
		if err != nil {
			return err
		}
		if got := a.(*granary.Volumes).Volumes; len(got) != 1 || got[0].State < granary.VolumeSealed { // nothing is in it: it is dropped next
			return fmt.Errorf("volumes %+v", got)
		}
		return nil
	})
	if len(shards.sealed) != 3 {
		t.Errorf("sealed %v", shards.sealed)
	}
}

// TestHeartbeatsProposeNothing: a server that has been registered is not registered again, though
// disks were replaced under it or are not there.
func TestHeartbeatsProposeNothing(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	cluster := s.leading.Load().cluster
	beat := func(disks ...granary.DiskID) uint64 {
		t.Helper()
		hb := &granary.Heartbeat{Server: "s1", Cluster: cluster, Addr: "s1:7500"}
		for _, d := range disks {
			hb.Disks = append(hb.Disks, granary.DiskUsage{Disk: d, Total: 10 << 30, Free: 9 << 30})
		}
		if _, err := s.Heartbeat(t.Context(), hb); err != nil {
			t.Fatal(err)
		}
		return appliedBy(s)
	}
	beat("a", "b")
	replaced := beat("c", "b")
	for _, disks := range [][]granary.DiskID{{"b", "c"}, {"c"}, {"a", "b", "c"}, {"c", "b"}} {
		if applied := beat(disks...); applied != replaced {
			t.Errorf("disks %v: entry %d was applied after %d", disks, applied, replaced)
		}
	}
	live := s.leading.Load().live
	if got := live.candidates(newPlaces()); len(got) != 2 || got[0].disk != "b" || got[1].disk != "c" {
		t.Errorf("of a, b and c, where a is not there, volumes may go to %+v", got)
	}
	if _, ok := live.usage("a"); ok {
		t.Error("a disk that is not there is up")
	}
	if applied := beat("d"); applied == replaced {
		t.Error("a new disk was not registered")
	}
}

// TestReclaimRuns: the leader works off a removed tree.
func TestReclaimRuns(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	c := newClient(t, s)
	d := c.do(s, &granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o755})
	for i := range 10 {
		op := createOp(fmt.Sprintf("f%d", i))
		op.Parent = d.Attr.Inode
		c.do(s, op)
	}
	c.do(s, &granary.RemoveTree{Parent: granary.RootInode, Name: "d"})
	eventually(t, "reclamation", func() error {
		st := s.states.acquire()
		defer st.release()
		if st.pendingReclaim() {
			return errors.New("the queue is not empty")
		}
		return nil
	})
}

// TestForgottenServerRegistersAnew: a server that comes back after it was forgotten is a new one.
func TestForgottenServerRegistersAnew(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	c := newClient(t, s)
	beat(t, s, "s1")
	c.do(s, &granary.SetDisk{Disk: "s1-d", State: granary.DiskDraining})
	c.do(s, &granary.ForgetServer{Server: "s1"})
	shown := func() *granary.Disks {
		a, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListDisks{}})
		if err != nil {
			t.Fatal(err)
		}
		return a.(*granary.Disks)
	}
	if d := shown(); len(d.Servers) != 0 || len(d.Disks) != 0 {
		t.Errorf("%+v", d)
	}
	beat(t, s, "s1")
	if d := shown(); len(d.Servers) != 1 || len(d.Disks) != 1 || d.Disks[0].State != granary.DiskActive || !d.Disks[0].Up {
		t.Errorf("%+v", d)
	}
}
