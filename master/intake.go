package master

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// intakeBytesMax is how much of committed entries may wait to be applied before more are let in.
const intakeBytesMax = 16 << 20

// intake stands between the transport and Raft, and bounds what a node holds of entries that it has yet to apply.
//
// A follower that catches up receives entries quicker than it applies them, and Raft keeps in memory whatever is
// committed, in a queue of 128 batches of any size. So while intakeBytesMax of committed entries wait, more are held
// back here, and the leader waits for the answer as it would for a slow disk. All else passes: heartbeats and votes are not held.
//
// Nothing is held for good: what counts as waiting is committed here, and Raft applies that without being told any more.
type intake struct {
	*witness
	open      chan raft.RPC // to Raft
	mayVote   time.Time     // before that no vote is given but at a leader's own wish: see lease.go
	committed func() uint64 // index of the last entry that Raft knows to be committed here
	applied   func() uint64 // and of the last that is applied
	drained   chan struct{} // says that entries were applied while something was held
	holds     atomic.Bool   // something is held, or about to be

	receipts []receipt // of run alone; ascending

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// receipt is what was let in at once, and reaches the state machine.
type receipt struct {
	last  uint64 // index of its last entry
	bytes int
}

func newIntake(w *witness, committed, applied func() uint64) *intake {
	return &intake{witness: w, open: make(chan raft.RPC), committed: committed, applied: applied, drained: make(chan struct{}, 1)}
}

// Consumer implements raft.Transport.
func (k *intake) Consumer() <-chan raft.RPC { return k.open }

// start begins to pass on what comes, once Raft runs.
func (k *intake) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.running.Go(func() { k.run(ctx) })
}

// close ends that. Raft must have ended before.
func (k *intake) close() {
	if k.cancel != nil {
		k.cancel()
	}
	k.running.Wait()
}

// run passes on what comes until ctx ends. A connection has one call under way, which bounds what is held.
func (k *intake) run(ctx context.Context) {
	var held []raft.RPC
	for {
		if len(held) > 0 && k.waiting() < intakeBytesMax {
			if !k.pass(ctx, held[0]) {
				return
			}
			held = held[1:]
			k.holds.Store(len(held) > 0)
			continue
		}
		select {
		case rpc := <-k.witness.Consumer():
			if k.tooEarly(rpc) {
				continue
			}
			if bytes, _ := sizeOf(rpc); bytes > 0 && (len(held) > 0 || k.waiting() >= intakeBytesMax) {
				held = append(held, rpc)
				k.holds.Store(true) // and then waiting is looked at once more: nothing is missed that was applied before
			} else if !k.pass(ctx, rpc) {
				return
			}
		case <-k.drained:
		case <-ctx.Done():
			return
		}
	}
}

// noteApplied says that entries were applied.
func (k *intake) noteApplied() {
	if k.holds.Load() {
		kick(k.drained)
	}
}

// pass gives a call to Raft, unless ctx ends before.
func (k *intake) pass(ctx context.Context, rpc raft.RPC) bool {
	bytes, last := sizeOf(rpc) // now: once Raft has answered it, who asked may use the request again
	select {
	case k.open <- rpc:
	case <-ctx.Done():
		return false
	}
	if bytes == 0 {
		return true
	}
	for n := len(k.receipts); n > 0 && k.receipts[n-1].last >= last; n-- { // they come once more
		k.receipts = k.receipts[:n-1]
	}
	k.receipts = append(k.receipts, receipt{last: last, bytes: bytes})
	return true
}

// waiting returns how many bytes were let in, are committed, and wait to be applied.
func (k *intake) waiting() (bytes int) {
	applied, committed := k.applied(), k.committed()
	for len(k.receipts) > 0 && k.receipts[0].last <= applied {
		k.receipts = k.receipts[1:]
	}
	for _, r := range k.receipts {
		if r.last <= committed {
			bytes += r.bytes
		}
	}
	return bytes
}

// sizeOf returns what a call brings of entries that reach the state machine, and the index of the last of them. Others,
// which it never sees, do not tell when they are dealt with.
func sizeOf(rpc raft.RPC) (bytes int, last uint64) {
	req, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if !ok {
		return 0, 0
	}
	for _, l := range req.Entries {
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			bytes += len(l.Data)
			last = l.Index
		}
	}
	return bytes, last
}

// tooEarly refuses a vote that is asked for too soon after the start of this node.
func (k *intake) tooEarly(rpc raft.RPC) bool {
	if time.Now().After(k.mayVote) {
		return false
	}
	switch req := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		if req.LeadershipTransfer {
			return false
		}
		rpc.Respond(new(raft.RequestVoteResponse), nil)
	case *raft.RequestPreVoteRequest:
		rpc.Respond(new(raft.RequestPreVoteResponse), nil)
	default:
		return false
	}
	return true
}
