package master

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

const (
	proposalItemsMax = 256       // items in one entry
	proposalSizeMax  = 256 << 10 // bytes of an entry of more than one item
	proposalsFlying  = 4         // entries proposed and not yet applied
	proposalsQueued  = 1024      // proposals that wait; more wait to be queued
)

// proposer packs what concurrent callers want to mutate into Raft entries. It has no timer: while
// entries are in flight it gathers, so the entries grow with the load and a lone request waits for
// nothing. It lives as long as its leadership.
type proposer struct {
	raft    applier
	gone    <-chan struct{} // closed when Raft is gone
	now     func() time.Time
	metrics *metrics

	queue   chan *proposal
	slots   chan struct{}
	stopped chan struct{} // closed when every proposal taken from the queue has its outcome
	last    granary.Time  // stamped; used by run alone
}

// applier is the part of raft.Raft that proposes.
type applier interface {
	Apply(data []byte, timeout time.Duration) raft.ApplyFuture
}

// proposal is items that go into the same entry.
type proposal struct {
	count int          // of items
	items []byte       // encoded, in the caller's goroutine
	done  chan outcome // one is sent
}

// outcome is what became of a proposal: one result an item, or an error.
type outcome struct {
	results []granary.Result
	err     error
}

func newProposer(r applier, gone <-chan struct{}, last granary.Time, now func() time.Time, m *metrics) *proposer {
	return &proposer{
		raft: r, gone: gone, now: now, metrics: m, last: last,
		queue:   make(chan *proposal, proposalsQueued),
		slots:   make(chan struct{}, proposalsFlying),
		stopped: make(chan struct{}),
	}
}

// propose has the items applied, in order, and returns a result for each. An error is KindTooLarge
// or KindInvalid (an item cannot be encoded), KindUnavailable (nothing of it happened), or
// KindIndeterminate. What does not fit into one entry goes into several, one after the other.
func (p *proposer) propose(ctx context.Context, items ...item) ([]granary.Result, error) {
	data, ends, err := encodeItems(items)
	if err != nil {
		return nil, err
	}
	results := make([]granary.Result, 0, len(items))
	for at, first := 0, 0; first < len(ends); {
		last := first
		for last+1 < len(ends) && last+1-first < proposalItemsMax && ends[last+1]-at <= proposalSizeMax {
			last++
		}
		end := ends[last]
		r, err := p.submit(ctx, &proposal{count: last + 1 - first, items: data[at:end:end], done: make(chan outcome, 1)})
		if err != nil {
			if len(results) > 0 {
				err = granary.Errorf(granary.KindIndeterminate, "propose", "", "a part was applied: %w", err)
			}
			return nil, err
		}
		results = append(results, r...)
		at, first = end, last+1
	}
	return results, nil
}

// encodeItems encodes the items one after the other, and says where each ends: in the caller's goroutine, not
// in the one that all share.
func encodeItems(items []item) (data []byte, ends []int, err error) {
	e := encoder{b: make([]byte, 0, 128*len(items))}
	ends = make([]int, len(items))
	for i, it := range items {
		begin := len(e.b)
		if err := putItem(&e, it); err != nil {
			return nil, nil, granary.Errorf(granary.KindInvalid, "propose", "", "%w", err)
		}
		if n := len(e.b) - begin + commandHeaderMax; n > granary.EntrySizeMax {
			return nil, nil, granary.Errorf(granary.KindTooLarge, "propose", "", "one request takes %d bytes, more than %d", n, granary.EntrySizeMax)
		}
		ends[i] = len(e.b)
	}
	return e.b, ends, nil
}

func (p *proposer) submit(ctx context.Context, q *proposal) ([]granary.Result, error) {
	select {
	case p.queue <- q:
	case <-p.stopped:
		return nil, errNotProposed("the leader stepped down")
	case <-ctx.Done():
		return nil, errNotProposed("the request ended while it waited: " + ctx.Err().Error())
	}
	select {
	case o := <-q.done:
		return o.results, o.err
	case <-ctx.Done():
		return nil, granary.Errorf(granary.KindIndeterminate, "propose", "", "the request ended before its outcome was known: %w", ctx.Err())
	case <-p.stopped:
	}
	select {
	case o := <-q.done:
		return o.results, o.err
	default: // it was queued after run had looked for the last time
		return nil, errNotProposed("the leader stepped down")
	}
}

func errNotProposed(why string) error {
	return granary.Errorf(granary.KindUnavailable, "propose", "", "%s", why)
}

// run proposes until ctx ends, then refuses what is queued and waits for what is in flight.
func (p *proposer) run(ctx context.Context) {
	defer close(p.stopped)
	var flying sync.WaitGroup
	defer flying.Wait()
	var next *proposal
	for {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			p.refuse(next)
			return
		}
		if next == nil {
			select {
			case next = <-p.queue:
			case <-ctx.Done():
				p.refuse(nil)
				return
			}
		}
		var batch []*proposal
		batch, next = p.gather(next)
		p.fly(batch, &flying)
	}
}

// gather adds to first what waits and fits; it returns the first that does not.
func (p *proposer) gather(first *proposal) (batch []*proposal, next *proposal) {
	batch = append(batch, first)
	count, size := first.count, len(first.items)
	for {
		select {
		case q := <-p.queue:
			if count+q.count > proposalItemsMax || size+len(q.items) > proposalSizeMax {
				return batch, q
			}
			batch = append(batch, q)
			count += q.count
			size += len(q.items)
		default:
			return batch, nil
		}
	}
}

// fly proposes one entry and leaves the rest to a goroutine.
func (p *proposer) fly(batch []*proposal, flying *sync.WaitGroup) {
	count, size := 0, commandHeaderMax
	for _, q := range batch {
		count += q.count
		size += len(q.items)
	}
	e := encoder{b: make([]byte, 0, size)}
	putCommand(&e, p.stamp(), count)
	for _, q := range batch {
		e.b = append(e.b, q.items...)
	}
	p.metrics.proposals.Inc()
	p.metrics.itemsBatched.Observe(float64(count))
	future := p.raft.Apply(e.b, 0)
	flying.Go(func() {
		defer func() { <-p.slots }()
		p.land(batch, count, future)
	})
}

// land waits for an entry's outcome and hands it out.
func (p *proposer) land(batch []*proposal, count int, future raft.ApplyFuture) {
	if err := await(future, p.gone); err != nil {
		for _, q := range batch {
			q.done <- outcome{err: proposalError(err)}
		}
		return
	}
	results, ok := future.Response().([]granary.Result)
	if !ok || len(results) != count {
		panic("granary master: an entry of this leader gave no results")
	}
	for _, q := range batch {
		n := q.count
		q.done <- outcome{results: results[:n:n]}
		results = results[n:]
	}
}

// stamp is the leader's hybrid clock: the wall's time, but never back.
func (p *proposer) stamp() granary.Time {
	p.last = max(granary.TimeOf(p.now()), p.last+1)
	return p.last
}

// refuse answers whoever is queued: nothing of theirs happened.
func (p *proposer) refuse(next *proposal) {
	err := errNotProposed("the leader stepped down")
	if next != nil {
		next.done <- outcome{err: err}
	}
	for {
		select {
		case q := <-p.queue:
			q.done <- outcome{err: err}
		default:
			return
		}
	}
}

// proposalError says what is known of an entry that Raft did not report as applied.
func proposalError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		// Raft refused it before it reached its log.
		return granary.Errorf(granary.KindUnavailable, "propose", "", "%w", err)
	default:
		return granary.Errorf(granary.KindIndeterminate, "propose", "", "%w", err)
	}
}

// await waits for a future of Raft. Raft forgets some futures when it shuts down: then the error is
// ErrRaftShutdown, and the goroutine that waits for the future stays until the process ends.
func await(f raft.Future, gone <-chan struct{}) error {
	result := make(chan error, 1)
	go func() { result <- f.Error() }()
	select {
	case err := <-result:
		return err
	case <-gone:
	}
	select {
	case err := <-result:
		return err
	default:
		return raft.ErrRaftShutdown
	}
}
