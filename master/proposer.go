package master

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

const (
	proposalItemsMax = 256       // items in one entry
	proposalSizeMax  = 256 << 10 // bytes of an entry of more than one item
	proposalsFlying  = 2         // entries proposed and not yet applied: one is applied while another becomes durable
	proposalsQueued  = 1024      // proposals that wait; more wait to be queued

	aloneMax = 50 * time.Millisecond // for about so long nobody waits for Raft's word on an entry: at least once, at most twice
)

// proposer packs what concurrent callers want to mutate into Raft entries. It has no timer: while
// entries are in flight it gathers, so the entries grow with the load and a lone request waits for
// nothing. It lives as long as its leadership.
//
// Each goroutine that must be woken takes its time, so a caller who finds nothing under way gives his entry to Raft
// himself, and gets the results from the state machine itself (landed). All else is done by up to proposalsFlying
// goroutines, which are started as they are needed and stay: they propose what has gathered, and wait for Raft's word.
type proposer struct {
	raft    applier
	gone    <-chan struct{} // closed when Raft is gone
	now     func() time.Time
	metrics *metrics

	room    chan struct{}       // holds one for each proposal that waits
	wake    chan *entryInFlight // for each flyer that is to take up work again: what it is to wait for first, or nil
	ended   chan struct{}       // closed when nothing is proposed any more
	stopped chan struct{}       // closed when every proposal has its outcome
	flyers  sync.WaitGroup

	mu     sync.Mutex
	queue  []*proposal
	idle   int                      // flyers that wait for wake
	busy   int                      // flyers that do not
	coming bool                     // a flyer is on its way to the queue: whoever adds to it need not wake another
	flying map[*byte]*entryInFlight // by where their data begins
	last   granary.Time             // stamped
	closed bool                     // nothing more is proposed
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
		room:    make(chan struct{}, proposalsQueued),
		wake:    make(chan *entryInFlight, proposalsFlying),
		ended:   make(chan struct{}),
		stopped: make(chan struct{}),
		flying:  make(map[*byte]*entryInFlight),
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
	room := 0
	for _, it := range items {
		room += roomForItem(it)
	}
	e := encoder{b: make([]byte, 0, room)}
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

// roomForItem returns how many bytes there should be room for to encode an item.
func roomForItem(it item) int {
	const usual = 256
	if m, ok := it.(*mutation); ok {
		if c, ok := m.Request.Op.(*granary.Create); ok && c.Content != nil {
			return usual + len(c.Content.Inline)
		}
	}
	return usual
}

func (p *proposer) submit(ctx context.Context, q *proposal) ([]granary.Result, error) {
	select {
	case p.room <- struct{}{}:
	case <-p.ended:
		return nil, errNotProposed("the leader stepped down")
	case <-ctx.Done():
		return nil, errNotProposed("the request ended while it waited: " + ctx.Err().Error())
	}
	if e := p.enqueue(q); e != nil {
		p.depart(e)
	}
	select {
	case o := <-q.done:
		return o.results, o.err
	case <-ctx.Done():
		return nil, granary.Errorf(granary.KindIndeterminate, "propose", "", "the request ended before its outcome was known: %w", ctx.Err())
	}
}

// enqueue has a proposal taken up, or refuses it. If nothing is under way, it returns the entry, which the caller is to
// let depart.
func (p *proposer) enqueue(q *proposal) *entryInFlight {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, q)
	switch {
	case p.closed:
		p.refuse()
	case p.busy == 0:
		p.busy++
		p.flyers.Add(1) // until there is one for it
		return p.gather()
	default:
		p.call()
	}
	return nil
}

// call has a flyer come for what is queued. p.mu is held.
func (p *proposer) call() {
	if len(p.queue) == 0 || p.coming || p.busy == proposalsFlying {
		return
	}
	p.busy++
	p.coming = true
	p.summon(nil)
}

// summon wakes or starts a flyer, which is to wait for an entry first if there is one. p.mu is held.
func (p *proposer) summon(e *entryInFlight) {
	if p.idle > 0 {
		p.idle--
		p.wake <- e
		return
	}
	p.flyers.Go(func() { p.fly(e) })
}

func errNotProposed(why string) error {
	return granary.Errorf(granary.KindUnavailable, "propose", "", "%s", why)
}

// run lets proposals be made until ctx ends, then refuses what is queued and waits for what is in flight.
func (p *proposer) run(ctx context.Context) {
	defer close(p.stopped)
	p.mindUntil(ctx)
	p.mu.Lock()
	p.closed = true
	p.refuse()
	p.mu.Unlock()
	p.mind(true)
	close(p.ended)
	landed := make(chan struct{})
	go func() {
		p.flyers.Wait()
		close(landed)
	}()
	select {
	case <-landed:
	case <-p.gone:
		p.abandon()
	}
}

// fly waits for an entry that has departed, if there is one, and then proposes one after the other.
func (p *proposer) fly(departed *entryInFlight) {
	for {
		if departed != nil {
			p.land(departed)
		}
		// Whoever is about to propose something does so first: what comes at the same time shares an entry.
		runtime.Gosched()
		for e := p.next(); e != nil; e = p.next() {
			e.future = p.raft.Apply(e.data, 0)
			p.land(e)
			runtime.Gosched()
		}
		select {
		case departed = <-p.wake:
		case <-p.ended:
			var called bool
			if departed, called = p.leave(); !called {
				return
			}
		}
	}
}

// leave ends an idle flyer, unless it has been called: then it returns for what.
func (p *proposer) leave() (departed *entryInFlight, called bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case departed = <-p.wake:
		return departed, true
	default:
		p.idle--
		return nil, false
	}
}

// next makes an entry of what waits, as far as it fits; nil says that the flyer is idle from now on.
func (p *proposer) next() *entryInFlight {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coming = false
	e := p.gather()
	if e == nil {
		p.busy--
		p.idle++
		return nil
	}
	p.call() // another comes for what did not fit
	return e
}

// gather takes an entry's worth from the queue. p.mu is held.
func (p *proposer) gather() *entryInFlight {
	if len(p.queue) == 0 {
		return nil
	}
	n, count, size := 0, 0, commandHeaderMax
	for _, q := range p.queue {
		if n > 0 && (count+q.count > proposalItemsMax || size+len(q.items) > proposalSizeMax+commandHeaderMax) {
			break
		}
		n++
		count += q.count
		size += len(q.items)
	}
	enc := encoder{b: make([]byte, 0, size)}
	putCommand(&enc, p.stamp(), count)
	for _, q := range p.queue[:n] {
		enc.b = append(enc.b, q.items...)
		<-p.room
	}
	e := &entryInFlight{batch: p.queue[:n:n], count: count, data: enc.b}
	p.flying[unsafe.SliceData(e.data)] = e
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	p.metrics.proposals.Inc()
	p.metrics.itemsBatched.Observe(float64(count))
	return e
}

// stamp is the leader's hybrid clock: the wall's time, but never back. p.mu is held.
func (p *proposer) stamp() granary.Time {
	p.last = max(granary.TimeOf(p.now()), p.last+1)
	return p.last
}

// refuse answers whoever is queued: nothing of theirs happened. p.mu is held.
func (p *proposer) refuse() {
	for _, q := range p.queue {
		q.done <- outcome{err: errNotProposed("the leader stepped down")}
		<-p.room
	}
	p.queue = nil
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
