package master

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// intakeTest is an intake whose Raft takes what comes, and whose state machine does as it is told.
type intakeTest struct {
	intake             *intake
	in                 chan raft.RPC
	committed, applied atomic.Uint64
	got                []raft.RPC
	eager              bool // whatever comes is committed
}

// consumer is a transport that only receives.
type consumer struct {
	raft.Transport
	in chan raft.RPC
}

func (c consumer) Consumer() <-chan raft.RPC { return c.in }

// startIntake is for a bubble of synctest, in which it ends with ctx.
func startIntake(ctx context.Context) *intakeTest {
	k := &intakeTest{in: make(chan raft.RPC)}
	k.intake = newIntake(newWitness(consumer{in: k.in}, time.Now), k.committed.Load, k.applied.Load)
	go k.intake.run(ctx)
	go func() {
		for {
			select {
			case rpc := <-k.intake.Consumer():
				k.got = append(k.got, rpc)
				if _, last := sizeOf(rpc); k.eager {
					k.committed.Store(last)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return k
}

// send sends entries of a quarter of what may wait.
func (k *intakeTest) send(kind raft.LogType, indices ...uint64) {
	req := &raft.AppendEntriesRequest{}
	for _, i := range indices {
		req.Entries = append(req.Entries, &raft.Log{Index: i, Type: kind, Data: make([]byte, intakeBytesMax/4)})
	}
	k.in <- raft.RPC{Command: req}
	synctest.Wait()
}

func (k *intakeTest) apply(upTo uint64) {
	k.applied.Store(upTo)
	k.intake.noteApplied()
	synctest.Wait()
}

// TestIntake: entries are held back while too many that are committed wait to be applied, and come in order
// afterwards. Nothing else is held, nor is anything for entries that cannot be applied yet.
func TestIntake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := startIntake(ctx)
		expect := func(n int, why string) {
			t.Helper()
			if len(k.got) != n {
				t.Fatalf("%d calls came through, not %d: %s", len(k.got), n, why)
			}
		}
		k.send(raft.LogCommand, 1, 2, 3)
		k.send(raft.LogCommand, 4, 5, 6)
		k.send(raft.LogCommand, 7)
		expect(3, "nothing is committed, so nothing can be applied")
		k.committed.Store(3)
		k.send(raft.LogCommand, 8)
		expect(4, "three quarters wait")
		k.committed.Store(8)
		k.send(raft.LogCommand, 9)
		k.send(raft.LogCommand, 10)
		expect(4, "too much waits")
		k.in <- raft.RPC{Command: &raft.RequestVoteRequest{}}
		k.in <- raft.RPC{Command: &raft.AppendEntriesRequest{}}
		synctest.Wait()
		expect(6, "a vote and a heartbeat are not held")
		k.apply(3)
		expect(6, "five quarters wait")
		k.apply(6)
		expect(8, "what was held comes through")
		if first := k.got[6].Command.(*raft.AppendEntriesRequest).Entries[0].Index; first != 9 {
			t.Errorf("entry %d comes before entry 9", first)
		}
	})
}

// TestIntakeForgets: entries that come again count once, and those that the state machine never sees do not count: of
// them nobody hears that they are dealt with.
func TestIntakeForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := startIntake(ctx)
		for range 3 {
			k.send(raft.LogCommand, 1, 2)
		}
		k.committed.Store(9)
		k.send(raft.LogNoop, 3, 4, 5, 6)
		k.send(raft.LogCommand, 7)
		if len(k.got) != 5 {
			t.Errorf("%d calls came through, not 5", len(k.got))
		}
	})
}

// TestIntakeHoldsNothingForGood: a node that applies slowly gets every entry, through a queue that is always full.
func TestIntakeHoldsNothingForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := startIntake(ctx)
		k.eager = true
		for i := range uint64(40) {
			k.send(raft.LogCommand, i+1)
			if i%2 == 1 {
				k.apply(k.applied.Load() + 1)
			}
			if waiting := k.committed.Load() - k.applied.Load(); waiting > 5 {
				t.Fatalf("%d entries wait", waiting)
			}
		}
		for len(k.got) < 40 {
			before := len(k.got)
			if k.apply(k.committed.Load()); len(k.got) == before {
				t.Fatalf("after %d calls, no more come through", before)
			}
		}
	})
}
