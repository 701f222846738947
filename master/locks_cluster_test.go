package master

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/dsorchard/granary"
)

// awaitHeld waits for a request of a client, at whoever leads.
func (g *group) awaitHeld(c *testClient, key granary.LockKey, token granary.Index) granary.Index {
	g.t.Helper()
	var held granary.LockOutcome
	g.anywhere("await a lock", func(s *Server) error {
		for {
			o, err := s.AwaitLock(g.t.Context(), &granary.AwaitLock{Session: c.session, Key: key, Token: token})
			if err != nil || o.State != granary.LockWaits {
				held = o
				return err
			}
		}
	})
	if held.State != granary.LockHeld || held.Token < token {
		g.t.Errorf("the request %d of session %d is %+v", token, c.session, held)
	}
	return held.Token
}

// TestLocksExclude has clients add to a counter under an exclusive lock, while the leader is stopped: nothing is lost, and later
// grants have higher tokens.
func TestLocksExclude(t *testing.T) {
	g := newGroup(t, 3, false, electing)
	first := g.client()
	f := g.do(first, createOp("counter")).Attr.Inode
	const clients, rounds = 3, 12
	var wg sync.WaitGroup
	var mu sync.Mutex
	var last granary.Index
	half := make(chan struct{})
	at := &group{t: t, nodes: slices.Clone(g.nodes)} // a node that is stopped refuses, and stays there
	for n := range clients {
		c := g.client()
		key := granary.LockKey{Inode: f, Space: granary.LockWhole, Owner: uint64(n)}
		all := granary.LockRange{End: granary.LockEnd}
		wg.Go(func() {
			for round := range rounds {
				r := at.do(c, &granary.AcquireLock{LockKey: key, LockRange: all, Exclusive: true, Wait: true})
				token := r.Index
				if !r.Created {
					token = at.awaitHeld(c, key, token)
				}
				if !mu.TryLock() {
					t.Error("two hold the lock")
					return
				}
				if token <= last {
					t.Errorf("token %d after %d", token, last)
				}
				last = token
				at.do(c, &granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: "user.n", Value: fmt.Append(nil, at.counter(f)+1)}})
				if n == 0 && round == rounds/2 {
					close(half)
				}
				mu.Unlock()
				at.do(c, &granary.ReleaseLock{LockKey: key, LockRange: all})
			}
		})
	}
	<-half
	stopped := g.leader()
	dir := g.stop(stopped)
	wg.Wait()
	if got := g.counter(f); got != clients*rounds {
		t.Errorf("the counter is %d, not %d", got, clients*rounds)
	}
	g.startAt(stopped, dir, nil)
}

func (g *group) counter(f granary.InodeID) (n int) {
	g.anywhere("read the counter", func(s *Server) error {
		a, _, err := s.Query(context.Background(), &granary.QueryRequest{Query: &granary.Lookup{Base: f, Xattrs: true}})
		if err != nil {
			return err
		}
		n = 0
		for _, x := range a.(*granary.Found).Xattrs {
			if n, err = strconv.Atoi(string(x.Value)); err != nil {
				return err
			}
		}
		return nil
	})
	return n
}

// TestAwaitLockEnds: a wait ends with the session, and is refused by who does not lead.
func TestAwaitLockEnds(t *testing.T) {
	g := newGroup(t, 1, true, nil)
	holder, waiter := g.client(), g.client()
	f := g.do(holder, createOp("f")).Attr.Inode
	key, all := granary.LockKey{Inode: f, Space: granary.LockWhole, Owner: 1}, granary.LockRange{End: granary.LockEnd}
	g.do(holder, &granary.AcquireLock{LockKey: key, LockRange: all, Exclusive: true})
	token := g.do(waiter, &granary.AcquireLock{LockKey: key, LockRange: all, Wait: true}).Index
	outcome := make(chan granary.LockOutcome, 1)
	go func() {
		o, err := g.nodes[0].AwaitLock(t.Context(), &granary.AwaitLock{Session: waiter.session, Key: key, Token: token})
		if err != nil {
			t.Error(err)
		}
		outcome <- o
	}()
	if r := g.do(waiter, &granary.CancelLock{LockKey: key}); r.Created {
		t.Error("withdrawn, it is held")
	}
	if o := <-outcome; o.State != granary.LockGone {
		t.Errorf("%+v after it was withdrawn", o)
	}
	token = g.do(waiter, &granary.AcquireLock{LockKey: key, LockRange: all, Wait: true}).Index
	g.do(holder, &granary.CloseSession{})
	if held := g.awaitHeld(waiter, key, token); held <= token {
		t.Errorf("granted as %d, asked as %d", held, token)
	}
}
