package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// witness is the transport that Raft uses. It notes which nodes have answered with a promise, that they have
// stored entries or given a vote: such a node must not be forgotten by itself. And it notes how far each has come.
type witness struct {
	raft.Transport
	now  func() time.Time
	news chan struct{} // says that there is a node not seen before
	// durable waits until an entry is durable here, or for stop, with an error: aheadLog. Set before Raft runs.
	durable func(entry uint64, stop <-chan struct{}) error

	again atomic.Pointer[askAgain]

	mu    sync.Mutex
	nodes map[string]*witnessed
}

// askAgain says when a pre-vote that was refused is asked for once more.
type askAgain struct {
	ctx   context.Context // no more when it ends
	pause time.Duration
	may   func() bool
}

// witnessed is what is known of a node from its answers.
type witnessed struct {
	promised bool
	progress progress

	ackedTerm uint64    // of Raft, in which the node took entries or a heartbeat …
	ackedSent time.Time // … that this node sent then, by its monotonic clock: the latest
}

// progress says how far a node has come with the log.
type progress struct {
	Heard    time.Time // when it last answered anything
	Moved    time.Time // when any of the following last grew, or the node was first waited for
	Last     uint64    // index of the newest entry that it has
	Received int64     // bytes of a snapshot on its way to it …
	Size     int64     // … out of so many; 0: none is
}

// lastSign is when the node was last seen to live.
func (p progress) lastSign() time.Time {
	if p.Moved.After(p.Heard) {
		return p.Moved
	}
	return p.Heard
}

// text says it for people; of is the newest entry of the log.
func (p progress) text(of uint64) string {
	switch {
	case p.Heard.IsZero():
		return "has not answered Raft yet"
	case p.Size > 0:
		return fmt.Sprintf("received %d of %d bytes of a snapshot", p.Received, p.Size)
	}
	return fmt.Sprintf("has entry %d of %d", p.Last, of)
}

func newWitness(t raft.Transport, now func() time.Time) *witness {
	return &witness{Transport: t, now: now, news: make(chan struct{}, 1), nodes: make(map[string]*witnessed)}
}

// AppendEntries implements raft.Transport. Raft begins pipelines only after one of these, and its heartbeats never
// are in pipelines, so every node is heard of here at a fraction of the time for an election.
func (w *witness) AppendEntries(id raft.ServerID, addr raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	term, sent := req.Term, time.Now()
	err := w.Transport.AppendEntries(id, addr, req, resp)
	if err != nil {
		w.update(id, func(*witnessed) {}) // from now on it is waited for
		return err
	}
	w.note(id, resp.Success, func(p *progress) {
		if resp.LastLog > p.Last {
			p.Moved = p.Heard
		}
		p.Last = resp.LastLog
	})
	if resp.Success {
		w.update(id, func(n *witnessed) { n.ack(term, sent) })
	}
	return w.awaitDurable(req, resp, nil)
}

// awaitDurable waits until what another node says to have stored is durable here. Until then Raft must not hear of it.
func (w *witness) awaitDurable(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, stop <-chan struct{}) error {
	if !resp.Success || len(req.Entries) == 0 {
		return nil
	}
	return w.durable(req.Entries[len(req.Entries)-1].Index, stop)
}

// ack notes that the node follows this one: it took what was sent then.
func (n *witnessed) ack(term uint64, sent time.Time) {
	if term > n.ackedTerm || term == n.ackedTerm && sent.After(n.ackedSent) {
		n.ackedTerm, n.ackedSent = term, sent
	}
}

// acked returns when this node last sent, in a term, what the other took from it; zero for never.
func (w *witness) acked(id string, term uint64) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.nodes[id]; n != nil && n.ackedTerm == term {
		return n.ackedSent
	}
	return time.Time{}
}

// RequestVote implements raft.Transport.
func (w *witness) RequestVote(id raft.ServerID, addr raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	err := afresh(func() error { return w.Transport.RequestVote(id, addr, req, resp) })
	if err == nil {
		w.note(id, resp.Granted, func(*progress) {})
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (w *witness) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	sent := int64(0)
	counted := readerFunc(func(b []byte) (int, error) {
		n, err := data.Read(b)
		sent += int64(n)
		w.update(id, func(n *witnessed) { n.progress.Moved, n.progress.Received, n.progress.Size = w.now(), sent, req.Size })
		return n, err
	})
	err := w.Transport.InstallSnapshot(id, addr, req, resp, counted)
	w.update(id, func(n *witnessed) { n.progress.Received, n.progress.Size = 0, 0 })
	if err == nil {
		w.note(id, resp.Success, func(p *progress) {
			if resp.Success {
				p.Moved, p.Last = p.Heard, max(p.Last, req.LastLogIndex)
			}
		})
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// repeat has pre-votes that are refused asked for again, each after a pause, while may allows it and ctx lasts.
func (w *witness) repeat(ctx context.Context, pause time.Duration, may func() bool) {
	w.again.Store(&askAgain{ctx, pause, may})
}

// RequestPreVote implements raft.WithPreVote. What answers it promises nothing, so it may be asked for again: a node
// refuses while it believes in its leader, and may be about to lose it.
func (w *witness) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	t, ok := w.Transport.(raft.WithPreVote)
	if !ok {
		return errNoPreVote
	}
	for ask := 1; ; ask++ {
		var r raft.RequestPreVoteResponse
		err := afresh(func() error { return t.RequestPreVote(id, addr, req, &r) })
		if err == nil {
			*resp = r
		}
		a := w.again.Load()
		if err != nil || r.Granted || r.Term > req.Term || ask == asksMax || a == nil || !pause(a.ctx, a.pause) || !a.may() {
			return err
		}
	}
}

// afresh repeats a call that fails at once: the transport keeps connections, and those to a node that was started again
// since are dead. An election must not take them for a refusal. It repeats a vote only to the same candidate.
func afresh(call func() error) error {
	for try := 0; ; try++ {
		began := time.Now()
		if err := call(); err == nil || try == transportPool || time.Since(began) > afreshWithin {
			return err
		}
	}
}

// afreshWithin tells a dead connection from a node that does not answer.
const afreshWithin = 100 * time.Millisecond

var errNoPreVote = errors.New("the transport does not carry pre-votes")

// note records an answer.
func (w *witness) note(id raft.ServerID, promise bool, f func(*progress)) {
	w.update(id, func(n *witnessed) {
		n.progress.Heard = w.now()
		f(&n.progress)
		if promise && !n.promised {
			n.promised = true
			kick(w.news)
		}
	})
}

func (w *witness) update(id raft.ServerID, f func(*witnessed)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[string(id)]
	if n == nil {
		n = &witnessed{progress: progress{Moved: w.now()}}
		w.nodes[string(id)] = n
	}
	f(n)
}

// ids returns the nodes that were seen to promise.
func (w *witness) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.nodes))
	for id, n := range w.nodes {
		if n.promised {
			ids = append(ids, id)
		}
	}
	return ids
}

func (w *witness) saw(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[id]
	return n != nil && n.promised
}

// progressOf returns what is known of a node; false if nothing is.
func (w *witness) progressOf(id string) (progress, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[id]
	if n == nil {
		return progress{}, false
	}
	return n.progress, true
}

// forget drops a node that is no longer a member.
func (w *witness) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.nodes, id)
}
