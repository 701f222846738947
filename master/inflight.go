package master

import (
	"context"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// entryInFlight is an entry that was given to Raft.
type entryInFlight struct {
	batch  []*proposal
	count  int    // of items
	data   []byte // the command
	future raft.ApplyFuture
	alone  bool // no flyer waits for it
	seen   bool // alone, by mind
}

// depart gives an entry to Raft. Nobody waits for what Raft says of it unless that takes long (mind): if all goes well, the
// state machine has it first.
func (p *proposer) depart(e *entryInFlight) {
	future := p.raft.Apply(e.data, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	e.future, e.alone = future, true
	switch {
	case p.flying[unsafe.SliceData(e.data)] == nil:
		p.arrive()
	case p.closed:
		p.escort(e)
	}
}

// arrive makes the place of an entry that was alone another's. p.mu is held.
func (p *proposer) arrive() {
	p.busy--
	p.call()
	p.flyers.Done()
}

// escort has a flyer wait for an entry that is alone. p.mu is held.
func (p *proposer) escort(e *entryInFlight) {
	e.alone = false
	p.summon(e)
	p.flyers.Done()
}

// mind has flyers wait for the entries that were alone when it was called last, and still are; or for all that are alone.
func (p *proposer) mind(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.flying {
		if e.alone && (all || e.seen) {
			p.escort(e)
		}
		e.seen = e.alone
	}
}

// mindUntil minds entries that take long, until ctx ends or Raft is gone.
func (p *proposer) mindUntil(ctx context.Context) {
	tick := time.NewTicker(aloneMax)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.mind(false)
		case <-ctx.Done():
			return
		case <-p.gone:
			return
		}
	}
}

// landed hands out the results of an entry that was applied here, if it is one of those in flight: Raft gives the state
// machine the very bytes that it was given. Raft says the same to land, some wake-ups later.
func (p *proposer) landed(data []byte, results []granary.Result) {
	e := p.takeOff(data)
	if e == nil {
		return
	}
	if len(results) != e.count {
		panic("granary master: an entry of this leader gave no results")
	}
	for _, q := range e.batch {
		n := q.count
		q.done <- outcome{results: results[:n:n]}
		results = results[n:]
	}
}

// takeOff ends an entry's flight, and returns it if it was in flight.
func (p *proposer) takeOff(data []byte) *entryInFlight {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.flying[unsafe.SliceData(data)]
	if e == nil {
		return nil
	}
	delete(p.flying, unsafe.SliceData(data))
	if e.alone {
		p.arrive()
	}
	return e
}

// land waits for what Raft says of an entry, and hands it out if it has not been. Raft forgets some futures when it shuts
// down: then the goroutine stays until the process ends, and abandon has said what is to be said.
func (p *proposer) land(e *entryInFlight) {
	if err := e.future.Error(); err != nil {
		if p.takeOff(e.data) != nil {
			e.fail(proposalError(err))
		}
		return
	}
	results, _ := e.future.Response().([]granary.Result)
	p.landed(e.data, results)
}

// abandon answers for entries whose outcome Raft will not tell any more.
func (p *proposer) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.flying {
		e.fail(proposalError(raft.ErrRaftShutdown))
	}
	clear(p.flying)
}

func (e *entryInFlight) fail(err error) {
	for _, q := range e.batch {
		q.done <- outcome{err: err}
	}
}
