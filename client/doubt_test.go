package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// ice says which master stands still, and when the others have elected another.
type ice struct {
	addr    string
	elected time.Time
	next    string
}

// frozen is a master that can stand still: it takes calls and answers none.
type frozen struct {
	wire.Master
	ice  *ice
	addr string
}

// Query implements wire.Master.
func (m *frozen) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	if m.ice.addr == m.addr {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	return m.Master.Query(ctx, req)
}

// ReadIndex implements wire.Master.
func (m *frozen) ReadIndex(ctx context.Context) (granary.Index, error) {
	if m.ice.addr == m.addr {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	leader := m.ice.next
	if time.Now().Before(m.ice.elected) {
		leader = m.ice.addr
	}
	if leader == m.addr {
		return 1, nil
	}
	return 0, granary.Errorf(granary.KindUnavailable, "read index", "", "%w", &granary.NotLeader{Leader: leader})
}

// TestFrozenLeaderIsLeft: calls that wait for a leader that stands still go to the next one as soon as it has been
// elected, not only when their time is over.
func TestFrozenLeaderIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, still := newFakeCluster(1, 3), &ice{}
		c := openClient(t, f, func(o *Options) {
			dial := o.Dial
			o.Dial = func(addr string) (wire.Master, func() error, error) {
				m, hangUp, err := dial(addr)
				return &frozen{m, still, addr}, hangUp, err
			}
		})
		defer closeClient(t, c)
		start := time.Now()
		*still = ice{addr: f.leader, elected: start.Add(1500 * time.Millisecond), next: f.addrs[2]}
		f.mu.Lock()
		f.leader = still.next
		f.mu.Unlock()
		for range 3 {
			if _, err := c.Query(t.Context(), &granary.GetPolicy{Policy: 1}); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took < 1500*time.Millisecond || took > 1500*time.Millisecond+2*doubtPause {
			t.Errorf("the new leader was elected after 1.5 s, and found after %v", took)
		}
	})
}
