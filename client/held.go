package client

import (
	"context"
	"errors"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// awaitReturn waits for what stood in the way of a request or question, and reports whether to send it again.
func (c *Client) awaitReturn(ctx context.Context, err error, patience *patience) bool {
	var held *granary.Delegated
	if !granary.IsKind(err, granary.KindDelegated) || !errors.As(err, &held) || ctx.Err() != nil || patience.over(c.o.RetryFor) {
		return false
	}
	q := &granary.AwaitReturn{Inodes: held.Inodes}
	err = c.leadSlowly(ctx, "await return", returnWithin, func(ctx context.Context, m wire.Master) error {
		_, err := c.askOne(ctx, m, q, c.Session())
		return err
	})
	return err == nil || granary.IsKind(err, granary.KindUnavailable) || granary.IsKind(err, granary.KindIndeterminate)
}

// again sends requests once more that others' delegations stood in the way of, each for itself.
func (c *Client) again(ctx context.Context, cred granary.Cred, ops []granary.Op, results []granary.Result) ([]granary.Result, error) {
	for i := range results {
		var waiting patience
		for results[i].Err != nil && c.awaitReturn(ctx, results[i].Err, &waiting) {
			r, _, err := c.doAll(ctx, cred, ops[i:i+1])
			if err != nil {
				return nil, err
			}
			results[i] = r[0]
		}
	}
	return results, nil
}

// DoIn sends requests in one session, in their order: what follows one that fails is not sent. With Under they count as done
// already. The results are those of the requests that were answered. The error says why others were not: KindExpired if the
// session is over, and else what Do says. They are not given up when ctx ends.
func (c *Client) DoIn(ctx context.Context, id granary.SessionID, requests []granary.Request) ([]granary.Result, error) {
	ctx = context.WithoutCancel(ctx)
	c.mu.Lock()
	s := c.sess
	c.mu.Unlock()
	if s == nil || s.id != id {
		return nil, errNotSent
	}
	var done []granary.Result
	for len(requests) > 0 {
		calls, n, err := c.callsIn(ctx, requests)
		if err != nil {
			return done, err
		}
		s.start(ctx, calls)
		results, err := s.await(ctx, calls)
		if err != nil {
			s.disown(calls)
			return done, err
		}
		done = append(done, results...)
		for i := range results {
			if results[i].Err != nil {
				return done, nil
			}
		}
		requests = requests[n:]
	}
	return done, nil
}

// callsIn makes calls of the first requests, as many as share an entry of the log.
func (c *Client) callsIn(ctx context.Context, requests []granary.Request) (calls []*call, n int, err error) {
	size, opening := 0, 0
	for n < min(len(requests), granary.RequestsMax) {
		q := &call{req: requests[n], size: sizeOf(requests[n].Op), done: make(chan struct{})}
		if n > 0 && size+q.size > batchBytesMax {
			break
		}
		if create, ok := q.req.Op.(*granary.Create); ok && create.Open && create.Type == granary.TypeRegular {
			q.opens = c.opens
			opening++
		}
		calls = append(calls, q)
		size += q.size
		n++
	}
	if opening > 0 {
		err = c.opens.begin(ctx, opening, c.o.RetryFor)
	}
	return calls, n, err
}

// returnWithin is how long the leader may take to answer AwaitReturn.
const returnWithin = time.Duration(granary.AwaitReturnMax)

// patience bounds how long something is tried.
type patience struct{ since time.Time }

// over reports whether that has been going on for so long; the first call begins it.
func (p *patience) over(most time.Duration) bool {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.Since(p.since) > most
}

// Held returns the session, and until when it certainly lives: nobody else does what it holds before. Without a session it is 0.
func (c *Client) Held() (granary.SessionID, time.Time) {
	c.mu.Lock()
	s := c.sess
	c.mu.Unlock()
	if s == nil {
		return 0, time.Time{}
	}
	return s.id, s.born.Add(time.Duration(s.renewed.Load()) + s.ttl - s.ttl/8)
}
