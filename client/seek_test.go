package client

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// interregnum says which master is dead, which one is elected, and when.
type interregnum struct {
	mu         sync.Mutex
	dead, next string
	elected    time.Time
	asked      map[string]int // questions who leads
}

// bereft is a master of a cluster that has lost its leader. Until another is elected the survivors name the dead one.
type bereft struct {
	wire.Master
	*interregnum
	addr string
}

func (m *bereft) refusal(op string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.addr == m.dead:
		return granary.Errorf(granary.KindUnavailable, op, m.addr, "connection refused")
	case m.dead == "" || m.addr == m.next && !time.Now().Before(m.elected):
		return nil
	}
	return granary.Errorf(granary.KindUnavailable, op, "", "%w", &granary.NotLeader{Leader: m.dead})
}

// Query implements wire.Master.
func (m *bereft) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	if err := m.refusal("query"); err != nil {
		return nil, 0, err
	}
	return m.Master.Query(ctx, req)
}

// ReadIndex implements wire.Master.
func (m *bereft) ReadIndex(context.Context) (granary.Index, error) {
	m.mu.Lock()
	m.asked[m.addr]++
	m.mu.Unlock()
	return 1, m.refusal("read index")
}

// TestNewLeaderIsFoundAtOnce: while there is no leader one search serves all calls, and they go on as soon as somebody
// has been elected, whoever that is.
func TestNewLeaderIsFoundAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, state := newFakeCluster(1, 5), &interregnum{asked: map[string]int{}}
		c := openClient(t, f, func(o *Options) {
			dial := o.Dial
			o.Dial = func(addr string) (wire.Master, func() error, error) {
				m, hangUp, err := dial(addr)
				return &bereft{m, state, addr}, hangUp, err
			}
		})
		defer closeClient(t, c)
		start := time.Now()
		const election = 3 * time.Second // longer than one search
		f.mu.Lock()
		state.mu.Lock()
		state.dead, state.next, state.elected = f.leader, f.addrs[4], start.Add(election)
		f.leader = state.next
		state.mu.Unlock()
		f.mu.Unlock()
		took := make(chan time.Duration)
		const calls = 20
		for range calls {
			go func() {
				if _, err := c.Query(t.Context(), &granary.GetPolicy{Policy: 1}); err != nil {
					t.Error(err)
				}
				took <- time.Since(start)
			}()
		}
		for range calls {
			if d := <-took; d < election || d > election+2*seekMax {
				t.Errorf("the new leader was elected after %v, and found after %v", election, d)
			}
		}
		state.mu.Lock()
		defer state.mu.Unlock()
		for addr, n := range state.asked {
			if most := int(2 * election / seekMax); n > most {
				t.Errorf("%s was asked %d times in %v", addr, n, election)
			}
		}
	})
}
