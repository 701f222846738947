package wire

import (
	"context"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

const (
	// queriesFlying is how many calls with queries a client has under way. While all are, queries gather for the next
	// call: so many callers share one, as they share entries of the log, and a lone one waits for nothing.
	queriesFlying = 4
	// queriesMax bounds the queries of a call.
	queriesMax = 64
)

// gatherer packs the queries that callers ask at the same time into few calls. For small questions the cost of a call
// is that of the call itself.
type gatherer struct {
	send func(ctx context.Context, batch []*question)

	mu     sync.Mutex
	flying int
	queue  []*question
}

// question is a query that waits for its answer.
type question struct {
	ctx     context.Context
	request *pb.QueryRequest
	done    chan struct{} // closed when reply or err is set
	flight  *flight       // that it is in; under gatherer.mu

	reply *pb.QueryReply
	err   error
}

// flight is a call under way with several questions. It is given up when nobody waits for any of them.
type flight struct {
	waiting int // questions that somebody waits for; under gatherer.mu
	cancel  context.CancelFunc
}

// gathers reports whether a query is small: others would wait long for a large one that they share a call with.
func gathers(q granary.Query) bool {
	switch q.(type) {
	case *granary.Lookup, *granary.StatFS, *granary.GetPolicy, *granary.GetUser, *granary.GetLock, *granary.ResolveIdentity, *granary.GetIdentity:
		return true
	}
	return false
}

// ask waits for the answer to a query, or for the end of ctx.
func (g *gatherer) ask(ctx context.Context, p *pb.QueryRequest) (*pb.QueryReply, error) {
	q := &question{ctx: ctx, request: p, done: make(chan struct{})}
	g.mu.Lock()
	if g.flying == queriesFlying {
		g.queue = append(g.queue, q)
	} else {
		g.flying++
		go g.fly([]*question{q})
	}
	g.mu.Unlock()
	select {
	case <-q.done:
		return q.reply, q.err
	case <-ctx.Done():
		g.leave(q)
		return nil, ctx.Err()
	}
}

// leave says that nobody waits for a question any more.
func (g *gatherer) leave(q *question) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if q.flight == nil {
		return
	}
	if q.flight.waiting--; q.flight.waiting == 0 {
		q.flight.cancel()
	}
}

// fly sends a batch, and then what has gathered meanwhile, until there is nothing left.
func (g *gatherer) fly(batch []*question) {
	for len(batch) > 0 {
		g.sendAll(batch)
		for _, q := range batch {
			close(q.done)
		}
		batch = g.take()
	}
}

// take returns the next batch, without those that were given up; nil ends the flight.
func (g *gatherer) take() []*question {
	g.mu.Lock()
	defer g.mu.Unlock()
	var batch []*question
	n := 0
	for _, q := range g.queue {
		if len(batch) == queriesMax {
			break
		}
		n++
		if q.ctx.Err() == nil {
			batch = append(batch, q)
		}
	}
	g.queue = g.queue[n:]
	if len(batch) == 0 {
		g.flying--
		g.queue = nil
	}
	return batch
}

// sendAll sends a batch, for as long as anybody waits for any of it.
func (g *gatherer) sendAll(batch []*question) {
	if len(batch) == 1 {
		g.send(batch[0].ctx, batch)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := &flight{cancel: cancel}
	g.mu.Lock()
	for _, q := range batch {
		if q.ctx.Err() == nil { // else it has left, or is about to
			q.flight = f
			f.waiting++
		}
	}
	g.mu.Unlock()
	if f.waiting == 0 {
		cancel()
	}
	g.send(ctx, batch)
}

// sendQueries asks the questions of a batch, by one call.
func (c *masterClient) sendQueries(ctx context.Context, batch []*question) {
	if len(batch) == 1 {
		batch[0].reply, batch[0].err = c.rpc.Query(ctx, batch[0].request)
		return
	}
	p := &pb.QueryManyRequest{Requests: make([]*pb.QueryRequest, len(batch))}
	for i, q := range batch {
		p.Requests[i] = q.request
	}
	many, err := c.rpc.QueryMany(ctx, p)
	if err == nil && len(many.Outcomes) != len(batch) {
		err = granary.Errorf(granary.KindInternal, "query", c.addr, "%d answers to %d queries", len(many.Outcomes), len(batch))
	}
	for i, q := range batch {
		if err != nil {
			q.err = err
			continue
		}
		q.reply = many.Outcomes[i].Reply
		if detail := many.Outcomes[i].Err; detail != nil {
			d := decoder{subject: "error"}
			if q.err = d.error(detail); d.err != nil {
				q.err = d.err
			}
		}
	}
}

// ManyQuerier is a Master that answers several queries better together than each for itself. The outcomes are in
// their order.
type ManyQuerier interface {
	QueryMany(ctx context.Context, reqs []*granary.QueryRequest) []QueryOutcome
}

// QueryOutcome is what Query returns.
type QueryOutcome struct {
	Answer granary.Answer
	Index  granary.Index
	Err    error
}

// QueryMany answers each of the queries.
func (s *masterServer) QueryMany(ctx context.Context, p *pb.QueryManyRequest) (*pb.QueryManyReply, error) {
	if n := len(p.Requests); n > queriesMax {
		return nil, statusOf(granary.Errorf(granary.KindTooLarge, "query", "", "%d queries in one call, of %d at most", n, queriesMax))
	}
	reqs := make([]*granary.QueryRequest, len(p.Requests))
	for i, q := range p.Requests {
		d := decoder{subject: "query"}
		if reqs[i] = d.queryRequest(q); d.err != nil {
			return nil, statusOf(d.err)
		}
	}
	reply := &pb.QueryManyReply{Outcomes: make([]*pb.QueryOutcome, len(reqs))}
	for i, o := range s.queryMany(ctx, reqs) {
		reply.Outcomes[i] = outcomeTo(&o)
	}
	return reply, nil
}

// queryMany asks a master that knows no better for all at the same time: they share the question whether it leads.
func (s *masterServer) queryMany(ctx context.Context, reqs []*granary.QueryRequest) []QueryOutcome {
	if m, ok := s.master.(ManyQuerier); ok {
		return m.QueryMany(ctx, reqs)
	}
	outcomes := make([]QueryOutcome, len(reqs))
	var answering sync.WaitGroup
	for i, req := range reqs {
		answering.Go(func() {
			o := &outcomes[i]
			o.Answer, o.Index, o.Err = s.master.Query(ctx, req)
		})
	}
	answering.Wait()
	return outcomes
}

func outcomeTo(o *QueryOutcome) *pb.QueryOutcome {
	err := o.Err
	if err == nil {
		var a *pb.Answer
		if a, err = answerTo(o.Answer); err == nil {
			return &pb.QueryOutcome{Reply: &pb.QueryReply{Index: uint64(o.Index), Answer: a}}
		}
	}
	return &pb.QueryOutcome{Err: errorTo(err)}
}
