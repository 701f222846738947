package master

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// testTimeout bounds what a test waits for: on a busy machine, with the race detector.
const testTimeout = time.Minute

// How long the nodes of a group do without a leader before they elect one. Most tests want no elections but those
// that they ask for, however busy the machine is; those that take the leader away cannot wait so long, and have to
// put up with another leader at any time.
const (
	steady = 10 * time.Second
	hasty  = 300 * time.Millisecond
)

// eventually waits until f returns nil, and fails with its last error if it never does.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		if !pause(ctx, 5*time.Millisecond) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// testOptions are those of a node in a steady group.
func testOptions(dir string) Options {
	return Options{
		Dir: dir, GRPCAddr: "localhost:1", HeartbeatTimeout: steady,
		ServerDownAfter: time.Minute, CacheBytes: 4 << 20,
	}
}

func openNode(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openAlone opens a node that leads by itself.
func openAlone(t *testing.T, dir string, with func(*Options)) *Server {
	t.Helper()
	o := testOptions(dir)
	o.Listener = listen(t, "127.0.0.1:0")
	if with != nil {
		with(&o)
	}
	s := openNode(t, o)
	waitLeader(t, s)
	return s
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// group is several nodes that may stop and start.
type group struct {
	t     *testing.T
	peers []Peer
	with  func(*Options)
	nodes []*Server // nil: stopped
	dir   string    // of the nodes' directories, by their ids
	trans []*raft.InmemTransport

	mu      sync.Mutex
	running []*Server               // as nodes, for other goroutines
	may     func(from, to int) bool // whether a node reaches another
}

// electing are the options of tests that take the leader away.
func electing(o *Options) { o.HeartbeatTimeout = hasty }

// newGroup starts n nodes over TCP, or in memory, where they can be cut off.
func newGroup(t *testing.T, n int, inmem bool, with func(*Options)) *group {
	t.Helper()
	return newGroupPart(t, n, n, inmem, with)
}

// newGroupPart starts the first of n founding members; in memory, the others are not connected yet. The first of all
// leads, unless the machine is too busy.
func newGroupPart(t *testing.T, n, first int, inmem bool, with func(*Options)) *group {
	t.Helper()
	g := &group{t: t, with: with, nodes: make([]*Server, n), running: make([]*Server, n)}
	listeners := make([]net.Listener, n)
	for i := range n {
		p := Peer{ID: fmt.Sprintf("n%d", i), GRPCAddr: fmt.Sprintf("grpc%d", i)}
		if inmem {
			addr, tr := raft.NewInmemTransport("")
			g.trans = append(g.trans, tr)
			p.RaftAddr = string(addr)
		} else {
			listeners[i] = listen(t, "127.0.0.1:0")
			p.RaftAddr = listeners[i].Addr().String()
		}
		g.peers = append(g.peers, p)
	}
	g.connect(func(i, j int) bool { return !inmem || max(i, j) < first })
	dir := t.TempDir()
	g.dir = dir
	for i := range first {
		g.startAt(i, filepath.Join(dir, g.peers[i].ID), listeners[i])
	}
	if first > 1 {
		g.nodes[0].stand()
	}
	t.Cleanup(func() {
		for i := range g.nodes {
			g.stop(i)
		}
	})
	return g
}

// connect lets the nodes reach each other that may: Raft in memory only, calls always.
func (g *group) connect(may func(i, j int) bool) {
	g.mu.Lock()
	g.may = may
	g.mu.Unlock()
	for i, a := range g.trans {
		for j, b := range g.trans {
			if may(i, j) {
				a.Connect(b.LocalAddr(), b)
			} else {
				a.Disconnect(b.LocalAddr())
			}
		}
	}
}

func (g *group) startAt(i int, dir string, l net.Listener) {
	g.t.Helper()
	s, err := Open(g.options(i, dir, l))
	if err != nil {
		g.t.Fatal(err)
	}
	g.run(i, s)
}

// run makes s, or nil, the node that others reach.
func (g *group) run(i int, s *Server) {
	g.nodes[i] = s
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[i] = s
}

// options are those of a node of the group.
func (g *group) options(i int, dir string, l net.Listener) Options {
	o := testOptions(dir)
	o.ID, o.GRPCAddr, o.Peers = g.peers[i].ID, g.peers[i].GRPCAddr, g.peers
	o.RaftAddr, o.Listener = g.peers[i].RaftAddr, l
	o.Dial = func(addr string) (wire.Master, func() error, error) { return g.dial(i, addr) }
	if g.trans != nil {
		o.transport = g.trans[i]
	}
	if g.with != nil {
		g.with(&o)
	}
	return o
}

// dial reaches the nodes that run, by plain calls.
func (g *group) dial(from int, addr string) (wire.Master, func() error, error) {
	for i, p := range g.peers {
		if p.GRPCAddr == addr {
			l := &testLink{g: g, from: from, to: i}
			_, err := l.end()
			return l, func() error { return nil }, err
		}
	}
	return nil, nil, fmt.Errorf("nobody has the address %s", addr)
}

// testLink is a connection between two nodes: to whichever Server runs at its end, unless they are cut off
// from each other.
type testLink struct {
	wire.Master
	g        *group
	from, to int
}

func (l *testLink) end() (*Server, error) {
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	if s := l.g.running[l.to]; s != nil && l.g.may(l.from, l.to) && l.g.may(l.to, l.from) {
		return s, nil
	}
	return nil, granary.Errorf(granary.KindUnavailable, "dial", "", "nobody answers")
}

func (l *testLink) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	s, err := l.end()
	if err != nil {
		return nil, 0, err
	}
	return s.Query(ctx, req)
}

func (l *testLink) Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) {
	s, err := l.end()
	if err != nil {
		return nil, err
	}
	return s.Heartbeat(ctx, hb)
}

func (l *testLink) Identify(ctx context.Context) (*granary.MasterIdentity, error) {
	s, err := l.end()
	if err != nil {
		return nil, err
	}
	return s.Identify(ctx)
}

func (l *testLink) ReadIndex(ctx context.Context) (granary.Index, error) {
	s, err := l.end()
	if err != nil {
		return 0, err
	}
	return s.ReadIndex(ctx)
}

// stop ends a node without a word to the others.
func (g *group) stop(i int) (dir string) {
	g.t.Helper()
	s := g.nodes[i]
	if s == nil {
		return ""
	}
	g.run(i, nil)
	if err := s.stop(); err != nil {
		g.t.Error(err)
	}
	return s.opts.Dir
}

// leader waits for a leader that serves, other than the nodes named.
func (g *group) leader(except ...int) int {
	g.t.Helper()
	found := -1
	eventually(g.t, "a leader", func() error {
		for i, s := range g.nodes {
			if s != nil && s.leading.Load() != nil && s.raft.VerifyLeader().Error() == nil && !contains(except, i) {
				found = i
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
	return found
}

// appliedBy returns the last entry that a node has applied.
func appliedBy(s *Server) uint64 {
	st := s.states.acquire()
	defer st.release()
	at, _ := st.applied()
	return at
}

func contains(s []int, i int) bool {
	for _, v := range s {
		if v == i {
			return true
		}
	}
	return false
}

func waitLeader(t *testing.T, s *Server) {
	t.Helper()
	eventually(t, "leadership", func() error {
		if s.leading.Load() == nil {
			return fmt.Errorf("does not lead")
		}
		return nil
	})
}

// stoppedClock goes on only when it is told to, however slow the machine is.
type stoppedClock struct {
	began  time.Time
	passed atomic.Int64
}

func stopClock() *stoppedClock { return &stoppedClock{began: time.Now()} }

func (c *stoppedClock) now() time.Time { return c.began.Add(time.Duration(c.passed.Load())) }

func (c *stoppedClock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// testClient is a session that numbers its requests.
type testClient struct {
	t       testing.TB
	session granary.SessionID
	seq     uint64
}

func newClient(t testing.TB, s *Server) *testClient {
	t.Helper()
	info, err := s.OpenSession(t.Context(), &granary.OpenSession{Client: "test", Nonce: uint64(time.Now().UnixNano())})
	if err != nil {
		t.Fatal(err)
	}
	return &testClient{t: t, session: info.Session}
}

// client opens a session at whichever node leads.
func (g *group) client() (c *testClient) {
	g.t.Helper()
	open := &granary.OpenSession{Client: "test", Nonce: uint64(time.Now().UnixNano())}
	g.anywhere("a session", func(s *Server) error {
		info, err := s.OpenSession(g.t.Context(), open)
		if err == nil {
			c = &testClient{t: g.t, session: info.Session}
		}
		return err
	})
	return c
}

// anywhere calls f with one running node after the other, until one that leads has done what f asks of it.
func (g *group) anywhere(what string, f func(s *Server) error) {
	g.t.Helper()
	eventually(g.t, what, func() error {
		err := fmt.Errorf("no node runs")
		for _, s := range g.nodes {
			if s == nil {
				continue
			}
			if err = f(s); err == nil {
				return nil
			}
			if k := granary.KindOf(err); k != granary.KindUnavailable && k != granary.KindIndeterminate {
				g.t.Fatalf("%s: %v", what, err)
			}
		}
		return err
	})
}

// handOver has a node lead.
func (g *group) handOver(to int) {
	g.t.Helper()
	id, addr := raft.ServerID(g.peers[to].ID), raft.ServerAddress(g.peers[to].RaftAddr)
	eventually(g.t, "another leader", func() error {
		if at := g.leader(); at != to {
			return cmp.Or(g.nodes[at].raft.LeadershipTransferToServer(id, addr).Error(), fmt.Errorf("node %d does not lead yet", to))
		}
		return nil
	})
}

// do sends one op, which must succeed. While the node has lost its office, or an outcome is not known, it tries
// again: under load a leader may be deposed for a moment.
func (c *testClient) do(s *Server, op granary.Op) (r granary.Result) {
	c.t.Helper()
	c.seq++
	eventually(c.t, "an op", func() (err error) {
		r, err = c.send(s, c.seq, op)
		if k := granary.KindOf(err); err != nil && k != granary.KindUnavailable && k != granary.KindIndeterminate {
			c.t.Fatal(err)
		}
		return err
	})
	return r
}

// do is testClient.do at whichever node leads.
func (g *group) do(c *testClient, op granary.Op) granary.Result {
	g.t.Helper()
	c.seq++
	return g.again(c, op)
}

// again sends the op under the number that was the last.
func (g *group) again(c *testClient, op granary.Op) (r granary.Result) {
	g.t.Helper()
	g.anywhere("an op", func(s *Server) (err error) {
		r, err = c.send(s, c.seq, op)
		return err
	})
	return r
}

// find looks an entry of the root directory up, at whichever node leads.
func (g *group) find(name string) {
	g.t.Helper()
	g.anywhere(name, func(s *Server) error {
		_, err := lookup(g.t, s, name)
		return err
	})
}

// send sends one op under a sequence number.
func (c *testClient) send(s *Server, seq uint64, op granary.Op) (granary.Result, error) {
	results, err := s.Mutate(c.t.Context(), &granary.MutateRequest{
		Session: c.session, Requests: []granary.Request{{Seq: seq, Op: op}},
	})
	if err != nil {
		return granary.Result{}, err
	}
	if results[0].Err != nil {
		return results[0], results[0].Err
	}
	return results[0], nil
}

func createOp(name string) *granary.Create {
	return &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Mode: 0o644, Exclusive: true}
}

// lookup asks for an entry of the root directory.
func lookup(t *testing.T, s *Server, name string) (*granary.Found, error) {
	a, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.Lookup{Base: granary.RootInode, Path: name}})
	if err != nil {
		return nil, err
	}
	return a.(*granary.Found), nil
}

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.Counter.GetValue()
}

func gaugeOf(t *testing.T, c prometheus.Gauge) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.Gauge.GetValue()
}
