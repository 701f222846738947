package master

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// TestRoundsShare: readers that arrive during a round share the next one, and never the current; after the end
// there is none.
func TestRoundsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := 0
		release := make(chan struct{})
		v := newRounds(func(context.Context, int) (int, error) { count++; <-release; return count, nil })
		ctx, cancel := context.WithCancel(t.Context())
		var owner, wg sync.WaitGroup
		owner.Go(func() { v.run(ctx) })
		wg.Go(func() { _, _ = v.wait(t.Context()) })
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				if n, err := v.wait(t.Context()); err != nil || n != 2 {
					t.Errorf("round %d, %v", n, err)
				}
			})
		}
		synctest.Wait()
		if count != 1 {
			t.Fatalf("%d rounds before the first ended", count)
		}
		release <- struct{}{}
		synctest.Wait()
		release <- struct{}{}
		wg.Wait()
		cancel()
		owner.Wait()
		if _, err := v.wait(t.Context()); err == nil || count != 2 {
			t.Errorf("%d rounds for 51 readers, want 2; after the end %v", count, err)
		}
	})
}

// liar is a link whose Identify says what the test wants.
type liar struct {
	wire.Master
	say func(ctx context.Context, who *granary.MasterIdentity) error
}

func (l *liar) Identify(ctx context.Context) (*granary.MasterIdentity, error) {
	who, err := l.Master.Identify(ctx)
	if err != nil {
		return nil, err
	}
	return who, l.say(ctx, who)
}

// TestQuorumsWord: a majority in the leader's own term confirms it, without waiting for the rest; anything less
// does not, though Raft's heartbeats go on.
func TestQuorumsWord(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	say := map[string]func(context.Context, *granary.MasterIdentity) error{}
	silence := make(chan struct{}) // closed at its end
	g := newGroup(t, 3, false, func(o *Options) {
		dial := o.Dial
		o.Dial = func(addr string) (wire.Master, func() error, error) {
			m, hangUp, err := dial(addr)
			return &liar{m, func(ctx context.Context, who *granary.MasterIdentity) error {
				mu.Lock()
				f := say[addr]
				mu.Unlock()
				if f == nil {
					return nil
				}
				return f(ctx, who)
			}}, hangUp, err
		}
	})
	g.do(g.client(), createOp("a"))
	lies := map[string]func(context.Context, *granary.MasterIdentity) error{
		"a later term":    func(_ context.Context, who *granary.MasterIdentity) error { who.Term++; return nil },
		"another cluster": func(_ context.Context, who *granary.MasterIdentity) error { who.Cluster = "x"; return nil },
		"another node":    func(_ context.Context, who *granary.MasterIdentity) error { who.ID = "x"; return nil },
		"no answer": func(ctx context.Context, _ *granary.MasterIdentity) error {
			mu.Lock()
			end := silence
			mu.Unlock()
			select {
			case <-end:
				return errors.New("nothing to say")
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
	ask := func(lie func(context.Context, *granary.MasterIdentity) error, liars int, within time.Duration) error {
		leader := g.leader()
		mu.Lock()
		silence = make(chan struct{})
		end := silence
		for i := range liars {
			say[g.peers[(leader+1+i)%3].GRPCAddr] = lie
		}
		mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, _, err := g.nodes[leader].Query(ctx, &granary.QueryRequest{Query: &granary.Lookup{Base: granary.RootInode, Path: "a"}})
		mu.Lock()
		clear(say)
		mu.Unlock()
		close(end)
		return err
	}
	for name, lie := range lies {
		// An election may come between, and then another leader is asked.
		eventually(t, name+", of one", func() error { return ask(lie, 1, testTimeout) })
		if err := ask(lie, 2, 100*time.Millisecond); !granary.IsKind(err, granary.KindUnavailable) {
			t.Errorf("%s, of both: %v", name, err)
		}
	}
}

func askAny(t *testing.T, s *Server, q granary.Query) (granary.Answer, granary.Index, error) {
	return s.Query(t.Context(), &granary.QueryRequest{Follower: true, Query: q})
}

// TestFollowerReads: a follower answers from a state that holds all that was acknowledged, and sends away what only
// the leader knows.
func TestFollowerReads(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, true, nil)
	leader := g.leader()
	f := g.nodes[(leader+1)%3]
	eventually(t, "word of the leader", func() error {
		if f.leaderAddr() == "" {
			return errors.New("the follower has not heard of it")
		}
		return nil
	})
	c := newClient(t, g.nodes[leader])
	for _, name := range []string{"a", "b", "c", "d"} {
		made := c.do(g.nodes[leader], createOp(name))
		var (
			a     granary.Answer
			index granary.Index
			err   error
		)
		eventually(t, "an answer", func() error { // the follower may lose its patience
			a, index, err = askAny(t, f, &granary.Lookup{Base: granary.RootInode, Path: name})
			if granary.IsKind(err, granary.KindUnavailable) {
				return err
			}
			return nil
		})
		if err != nil || a.(*granary.Found).Entry.Attr.Inode != made.Attr.Inode || index < made.Index {
			t.Fatalf("%s: %+v at %d, %v", name, a, index, err)
		}
	}
	for _, s := range g.nodes {
		beat(t, s, "s1")
	}
	if !f.heard.up("s1") {
		t.Error("a follower does not know who is up")
	}
	var notLeader *granary.NotLeader
	for _, q := range []granary.Query{&granary.GetStatus{}, &granary.ListDisks{}, &granary.StatFS{}, &granary.GetUser{AccessKey: "k"},
		&granary.Lookup{Base: granary.RootInode, Open: true}} {
		if _, _, err := askAny(t, f, q); !errors.As(err, &notLeader) || notLeader.Leader != g.peers[leader].GRPCAddr {
			t.Errorf("%T: %v", q, err)
		}
	}
	if _, err := f.ReadIndex(t.Context()); !errors.As(err, &notLeader) {
		t.Errorf("a follower's read index: %v", err)
	}
}

// TestFollowerCutOff: neither a follower that is cut off nor a deposed leader answers; joined again, they know
// what came meanwhile.
func TestFollowerCutOff(t *testing.T) {
	g := newGroup(t, 3, true, electing)
	c := g.client()
	g.do(c, createOp("a"))
	old := g.leader()
	q := &granary.Lookup{Base: granary.RootInode, Path: "b"}
	all := func(i, j int) bool { return true }
	for _, out := range []int{(old + 1) % 3, old} { // a follower first, then the leader
		g.connect(func(i, j int) bool { return (i == out) == (j == out) })
		leader := g.leader(out)
		g.do(c, createOp("b"))
		if a, _, err := askAny(t, g.nodes[out], q); !granary.IsKind(err, granary.KindUnavailable) {
			t.Errorf("node %d, cut off, answered %+v, %v", out, a, err)
		}
		g.connect(all)
		eventually(t, "an answer", func() error {
			_, _, err := askAny(t, g.nodes[out], q)
			if err != nil && !granary.IsKind(err, granary.KindUnavailable) {
				t.Fatal(err)
			}
			return err
		})
		g.do(c, &granary.Unlink{Parent: granary.RootInode, Name: "b"})
		old = leader
	}
}

// TestWaitAcrossSnapshot: who waits for an entry while a snapshot takes the state's place goes on with the new one.
func TestWaitAcrossSnapshot(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	c := newClient(t, s)
	c.do(s, createOp("a"))
	applied := appliedBy(s)
	var waiting atomic.Bool
	got := make(chan error, 1)
	go func() {
		waiting.Store(true)
		st, err := s.acquireAt(t.Context(), applied+1)
		if err == nil {
			st.release()
		}
		got <- err
	}()
	eventually(t, "the waiter", func() error {
		if !waiting.Load() {
			return errors.New("it has not begun")
		}
		return nil
	})
	old := s.states.acquire()
	if err := s.states.replace(func(dir string) error {
		copied := dir + "-copy"
		if err := errors.Join(os.Mkdir(copied, 0o700), old.checkpoint(filepath.Join(copied, "state"))); err != nil {
			return err
		}
		return cloneState(copied, dir)
	}); err != nil {
		t.Fatal(err)
	}
	old.release()
	c.do(s, createOp("b"))
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestFollowerIsQuickerThanLeader: what a follower has shown, because it had applied it already, the leader and the
// other followers do not take back, though the leader is still applying it.
func TestFollowerIsQuickerThanLeader(t *testing.T) {
	t.Parallel()
	var gates [3]sync.RWMutex // held for writing: the node applies nothing
	n := 0
	g := newGroup(t, 3, false, func(o *Options) {
		gate := &gates[n]
		n++
		o.applying = func() { gate.RLock(); gate.RUnlock() }
	})
	at := g.leader()
	leader, quick := g.nodes[at], g.nodes[(at+1)%3]
	c := newClient(t, leader)
	c.do(leader, &granary.SetXattr{Inode: granary.RootInode, Xattr: granary.Xattr{Name: registerName, Value: []byte("old")}})

	gates[at].Lock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.do(leader, &granary.SetXattr{Inode: granary.RootInode, Xattr: granary.Xattr{Name: registerName, Value: []byte("new")}})
	}()
	eventually(t, "the follower applies", func() error {
		st := quick.states.acquire()
		defer st.release()
		a, _, err := st.query(t.Context(), &granary.Lookup{Base: granary.RootInode, Xattrs: true}, quick.heard)
		if err != nil {
			return err
		}
		if x := a.(*granary.Found).Xattrs; len(x) == 0 || string(x[0].Value) != "new" {
			return errors.New("not yet")
		}
		return nil
	})
	value := func(s *Server, within time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return readRegister(ctx, s, true)
	}
	for _, s := range g.nodes {
		if v, err := value(s, 50*time.Millisecond); err == nil && v != "new" {
			t.Errorf("node %s shows %q after a follower could show what came later", s.id, v)
		}
	}
	gates[at].Unlock()
	<-written
	for _, s := range g.nodes {
		eventually(t, "a read", func() error {
			v, err := value(s, time.Minute)
			if err == nil && v != "new" {
				t.Errorf("node %s shows %q", s.id, v)
			}
			return err
		})
	}
}
