package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// TestLinearizable: clients write and read one value while leaders come and go, and some read from whichever
// node, and clocks jump an hour to and fro; the history they saw is one that a single register could have had, and the
// times that it was written at only grow.
func TestLinearizable(t *testing.T) {
	clocks := &jumpyClocks{}
	g := newGroup(t, 3, false, func(o *Options) {
		electing(o)
		o.SessionTTL = 100 * time.Hour // or it ends with a jump
		o.now = clocks.now
	})
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		wg      sync.WaitGroup
	)
	nodes := append([]*Server(nil), g.nodes...)
	began := time.Now()
	for id := range 4 {
		c := g.client()
		wg.Go(func() {
			for n := range 40 {
				op := registerOp{write: id < 2, follower: id == 3, value: fmt.Sprintf("%d-%d", id, n)}
				first := 0
				if op.follower {
					first = n % len(nodes)
				}
				start := time.Since(began)
				known := c.onRegister(slices.Concat(nodes[first:], nodes[:first]), uint64(n+1), &op)
				end := time.Since(began)
				if !known {
					end = time.Hour
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: id, Input: op, Output: op.value, Call: int64(start), Return: int64(end)})
				mu.Unlock()
			}
		})
	}
	for range 3 {
		clocks.jump()
		at := g.leader()
		if err := g.nodes[at].raft.LeadershipTransfer().Error(); err != nil && !errors.Is(err, raft.ErrNotLeader) {
			t.Logf("transfer: %v", err)
		}
		g.leader()
	}
	wg.Wait()
	if !porcupine.CheckOperations(registerModel(), history) {
		t.Error("the history is not linearizable:")
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range history {
			w := op.Input.(registerOp)
			t.Logf("%d %12d %12d write %v follower %v %q entry %d", op.ClientId, op.Call, op.Return, w.write, w.follower, w.value, w.result.Index)
		}
	}
	var writes []registerOp
	for _, op := range history {
		if w := op.Input.(registerOp); w.write && w.result.Err == nil {
			writes = append(writes, w)
		}
	}
	slices.SortFunc(writes, func(a, b registerOp) int { return cmp.Compare(a.result.Index, b.result.Index) })
	for i := 1; i < len(writes); i++ {
		a, b := &writes[i-1].result, &writes[i].result
		if a.Index < b.Index && a.Attr.Ctime >= b.Attr.Ctime {
			t.Errorf("entry %d is of %d, entry %d of %d", a.Index, a.Attr.Ctime, b.Index, b.Attr.Ctime)
		}
	}
}

// jumpyClocks is the wall clock of a group, which jumps. It has nothing monotonic about it.
type jumpyClocks struct{ offset atomic.Int64 }

func (c *jumpyClocks) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(c.offset.Load()))
}

func (c *jumpyClocks) jump() { c.offset.Store(rand.Int64N(int64(2*time.Hour)) - int64(time.Hour)) }

// registerOp sets an attribute of the root directory, or reads it.
type registerOp struct {
	write    bool
	follower bool // any node may answer
	value    string
	result   granary.Result // of a write
}

const registerName = "user.register"

// onRegister retries the op until it is known to have happened.
func (c *testClient) onRegister(nodes []*Server, seq uint64, op *registerOp) (known bool) {
	for {
		for _, s := range nodes {
			var err error
			if op.write {
				x := granary.Xattr{Name: registerName, Value: []byte(op.value)}
				op.result, err = c.send(s, seq, &granary.SetXattr{Inode: granary.RootInode, Xattr: x})
			} else {
				op.value, err = readRegister(c.t.Context(), s, op.follower)
			}
			switch granary.KindOf(err) {
			case granary.KindNone:
				return true
			case granary.KindUnavailable, granary.KindIndeterminate:
			default:
				c.t.Errorf("register: %v", err)
				return false
			}
		}
		if !pause(c.t.Context(), time.Millisecond) {
			return false
		}
	}
}

func readRegister(ctx context.Context, s *Server, follower bool) (string, error) {
	a, _, err := s.Query(ctx, &granary.QueryRequest{Follower: follower, Query: &granary.Lookup{Base: granary.RootInode, Xattrs: true}})
	if err != nil {
		return "", err
	}
	for _, x := range a.(*granary.Found).Xattrs {
		if x.Name == registerName {
			return string(x.Value), nil
		}
	}
	return "", nil
}

func registerModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			if op := input.(registerOp); op.write {
				return true, op.value
			}
			return output.(string) == state.(string), state
		},
	}
}
