package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// pathOp is an operation of a client on the one lock: it takes it, gives it up, or writes under a token.
type pathOp struct {
	kind  pathOpKind
	token granary.FencingToken // of a release or write
}

type pathOpKind int

const (
	pathTake pathOpKind = iota
	pathWrite
	pathRelease
)

// pathOutcome is what came of it: the token of a grant, and the kind of the error.
type pathOutcome struct {
	token granary.FencingToken
	kind  granary.Kind
}

// pathState is the last token that was granted, and whether that lock was given up. Its lease may have run out unseen.
type pathState struct {
	last granary.FencingToken
	free bool
}

// pathModel is a lock whose tokens grow, and writes of which none under an earlier token comes after a later grant.
func pathModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return pathState{free: true} },
		Step: func(state, input, output any) (bool, any) {
			s, op, out := state.(pathState), input.(pathOp), output.(pathOutcome)
			switch {
			case op.kind == pathTake && out.kind == granary.KindNone:
				return out.token > s.last, pathState{last: out.token}
			case op.kind == pathTake: // somebody holds it
				return out.kind == granary.KindWouldBlock && !s.free, s
			case op.kind == pathWrite && out.kind == granary.KindNone:
				return op.token == s.last && !s.free, s
			case op.kind == pathWrite: // it was lost
				return out.kind == granary.KindFenced, s
			case out.kind == granary.KindNone:
				return op.token == s.last && !s.free, pathState{last: s.last, free: true}
			}
			return out.kind == granary.KindNotFound, s
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
	}
}

// pathClient takes the lock again and again, and writes under its token, also when it should not any more.
type pathClient struct {
	c     *testClient
	nodes []*Server
	began time.Time
	id    int
	note  func(porcupine.Operation)
}

// do retries the op until it is known what came of it.
func (p *pathClient) do(op pathOp) pathOutcome {
	request := granary.Request{}
	switch op.kind {
	case pathTake:
		request.Op = &granary.AcquirePaths{Paths: []granary.LockPath{{Base: granary.RootInode, Path: "the/one"}}, Exclusive: true, TTL: granary.LockTTLMin}
	case pathWrite:
		request.Op = &granary.SetXattr{Inode: granary.RootInode, Xattr: granary.Xattr{Name: "user.x", Value: []byte("x")}}
		request.Fences = []granary.FencingToken{op.token}
	case pathRelease:
		request.Op = &granary.ReleasePaths{Token: op.token}
	}
	p.c.seq++
	request.Seq = p.c.seq
	start := time.Since(p.began)
	for {
		for _, s := range p.nodes {
			results, err := s.Mutate(p.c.t.Context(), &granary.MutateRequest{Session: p.c.session, Requests: []granary.Request{request}})
			switch granary.KindOf(err) {
			case granary.KindNone:
				out := pathOutcome{kind: kindOf(results[0])}
				if op.kind == pathTake {
					out.token = granary.FencingToken(results[0].Offset)
				}
				p.note(porcupine.Operation{ClientId: p.id, Input: op, Output: out, Call: int64(start), Return: int64(time.Since(p.began))})
				return out
			case granary.KindUnavailable, granary.KindIndeterminate:
			default:
				p.c.t.Errorf("%+v: %v", op, err)
				return pathOutcome{kind: granary.KindInternal}
			}
		}
		if !pause(p.c.t.Context(), time.Millisecond) {
			return pathOutcome{kind: granary.KindCanceled}
		}
	}
}

func (p *pathClient) run(rounds int) {
	var old granary.FencingToken
	for n := range rounds {
		out := p.do(pathOp{kind: pathTake})
		if out.kind != granary.KindNone {
			if old != 0 {
				p.do(pathOp{pathWrite, old})
			}
			pause(p.c.t.Context(), 5*time.Millisecond)
			continue
		}
		p.do(pathOp{pathWrite, out.token})
		if old = out.token; (n+p.id)%3 > 0 { // or it is left to run out
			p.do(pathOp{pathRelease, out.token})
		}
	}
}

// TestPathLocksAreLinearizable: while leaders come and go and clocks jump beyond leases, so that holders lose them without knowing,
// clients take one lock, write under its tokens and those that they had before, and give it up: the history that they saw is one
// of a lock, and no write under a token comes after the grant of a later one.
func TestPathLocksAreLinearizable(t *testing.T) {
	clocks := &jumpyClocks{}
	g := newGroup(t, 3, false, func(o *Options) {
		electing(o)
		o.SessionTTL = 100 * time.Hour
		o.now = clocks.now
	})
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		wg      sync.WaitGroup
	)
	nodes, began := slices.Clone(g.nodes), time.Now()
	done := make(chan struct{})
	for id := range 4 {
		p := &pathClient{c: g.client(), nodes: nodes, began: began, id: id, note: func(op porcupine.Operation) {
			mu.Lock()
			defer mu.Unlock()
			history = append(history, op)
		}}
		wg.Go(func() { p.run(100) })
	}
	go func() { wg.Wait(); close(done) }()
	jumpAlong(t, g, clocks, done)
	if result := porcupine.CheckOperationsTimeout(pathModel(), history, 20*time.Second); result != porcupine.Ok {
		t.Errorf("the history is no lock's: %v", result)
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range history {
			t.Logf("%d %12d %12d %+v %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
		}
	}
	granted := 0
	for _, op := range history {
		if in := op.Input.(pathOp); in.kind == pathTake && op.Output.(pathOutcome).kind == granary.KindNone {
			granted++
		}
	}
	if granted < 5 {
		t.Errorf("the lock was granted %d times", granted)
	}
}

// jumpAlong has the clock run ahead, and the leader change, until all is done.
func jumpAlong(t *testing.T, g *group, clocks *jumpyClocks, done <-chan struct{}) {
	t.Helper()
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		case <-time.After(20 * time.Millisecond):
		}
		clocks.offset.Add(int64(granary.LockTTLMin))
		if n%40 == 20 {
			if err := g.nodes[g.leader()].raft.LeadershipTransfer().Error(); err != nil && !errors.Is(err, raft.ErrNotLeader) {
				t.Logf("transfer: %v", err)
			}
		}
	}
}

// TestLeasesOutliveLeaders: a new leader leaves every lease its whole time, and ends it then; who waits gets the lock.
func TestLeasesOutliveLeaders(t *testing.T) {
	clocks := &jumpyClocks{}
	g := newGroup(t, 1, true, func(o *Options) {
		o.SessionTTL = 100 * time.Hour
		o.now = clocks.now
	})
	c := g.client()
	take := &granary.AcquirePaths{Paths: []granary.LockPath{{Base: granary.RootInode, Path: "p"}}, Exclusive: true, TTL: 600e9}
	held := g.do(c, take)
	waits := *take
	waits.Wait = true
	next := g.do(c, &waits)
	if next.Err != nil || next.Created {
		t.Fatalf("%+v", next)
	}
	clocks.offset.Add(int64(590 * time.Second))
	if r := g.do(c, &granary.RenewPaths{Token: granary.FencingToken(held.Offset)}); r.Err != nil {
		t.Fatal(r.Err)
	}
	clocks.offset.Add(int64(590 * time.Second))
	if r := g.do(c, &granary.RenewPaths{Token: granary.FencingToken(held.Offset)}); r.Err != nil {
		t.Fatal(r.Err)
	}
	clocks.offset.Add(int64(601 * time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	key := granary.LockKey{Space: granary.LockPaths, Owner: next.Offset}
	o, err := g.nodes[0].AwaitLock(ctx, &granary.AwaitLock{Session: c.session, Key: key})
	if err != nil || o.State != granary.LockHeld || uint64(o.Token) <= next.Offset {
		t.Fatalf("%+v, %v", o, err)
	}
	c.seq++
	if _, err := c.send(g.nodes[0], c.seq, &granary.RenewPaths{Token: granary.FencingToken(held.Offset)}); !granary.IsKind(err, granary.KindFenced) {
		t.Errorf("the lease that ran out was renewed: %v", err)
	}
	if p := (&pathLeases{}); true { // and one that a leader before has begun gets its time under this one
		p.note([]leaseNews{{token: 1, expires: granary.Time(100e9), ttl: 30e9}})
		at := func(s int64) time.Time { return time.Unix(s, 0) }
		if p.due(at(120), at(95)) != nil || len(p.due(at(125), at(95))) != 1 || p.due(at(99), at(0)) != nil || len(p.due(at(100), at(0))) != 1 {
			t.Error("a lease ends too early or too late")
		}
	}
}
