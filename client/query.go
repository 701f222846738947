package client

import (
	"context"
	"errors"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// callerKey is the key of a context's caller.
type callerKey struct{}

// WithCred returns a context in which queries are on behalf of a caller: the master refuses what the caller may not look
// at. Without it nothing is refused.
func WithCred(ctx context.Context, cred granary.Cred) context.Context {
	return context.WithValue(ctx, callerKey{}, &cred)
}

// CredOf returns the caller that WithCred has put into a context, or nil.
func CredOf(ctx context.Context) *granary.Cred { return credOf(ctx) }

// credOf returns the caller of a context, or nil.
func credOf(ctx context.Context) *granary.Cred {
	cred, _ := ctx.Value(callerKey{}).(*granary.Cred)
	return cred
}

// Query asks the master, for the caller of WithCred if there is one. The answer is no older than any mutation or answer
// that this client has seen. A regular file found by a Lookup with Open is open until Closed is called. What is
// kept (Options.KeepBytes) is not asked for, unless it is for a caller; such an answer is shared, and must not be changed.
func (c *Client) Query(ctx context.Context, q granary.Query) (granary.Answer, error) {
	var waiting patience
	for {
		a, err := c.queryOnce(ctx, q)
		if err == nil || !c.awaitReturn(ctx, err, &waiting) {
			return a, err
		}
	}
}

// queryOnce is Query, but for what others hold.
func (c *Client) queryOnce(ctx context.Context, q granary.Query) (granary.Answer, error) {
	if lookup, ok := q.(*granary.Lookup); ok && lookup.Open {
		return c.open(ctx, lookup)
	}
	if c.kept.limit > 0 && credOf(ctx) == nil && keepable(q) {
		return c.queryKept(ctx, q)
	}
	if c.o.ReadFollowers && granary.AnyNodeAnswers(q) {
		if a, err := c.askNext(ctx, q); err == nil || !again(err) {
			return a, err
		}
	}
	var answer granary.Answer
	err := c.lead(ctx, "query", func(ctx context.Context, m wire.Master) (err error) {
		answer, err = c.askOne(ctx, m, q, c.Session())
		return err
	})
	if granary.IsKind(err, granary.KindIndeterminate) { // a question has no effect to be unsure of
		err = granary.Errorf(granary.KindUnavailable, "query", "", "%w", err)
	}
	return answer, err
}

func (c *Client) askOne(ctx context.Context, m wire.Master, q granary.Query, session granary.SessionID) (granary.Answer, error) {
	a, index, err := m.Query(ctx, &granary.QueryRequest{
		MinIndex: granary.Index(c.index.Load()), Session: session, Cred: credOf(ctx), Follower: c.o.ReadFollowers, Query: q,
	})
	if err == nil {
		c.saw(index)
	}
	return a, err
}

// askNext asks the master whose turn it is, once. What it does not answer is the leader's.
func (c *Client) askNext(ctx context.Context, q granary.Query) (granary.Answer, error) {
	m, addr, err := c.masters.next()
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, attemptFollower)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	a, err := c.askOne(within, m, q, c.Session())
	if err != nil && errors.Is(within.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		c.masters.rest(addr)
	}
	return a, err
}

// Ask is Query with the answer's type, such as *granary.Found.
func Ask[A granary.Answer](ctx context.Context, c *Client, q granary.Query) (A, error) {
	var none A
	answer, err := c.Query(ctx, q)
	if err != nil {
		return none, err
	}
	a, ok := answer.(A)
	if !ok {
		return none, granary.Errorf(granary.KindInternal, "query", "", "answer to %T is a %T", q, answer)
	}
	return a, nil
}

// Policy returns a policy. It is asked for once: what an id stands for never changes.
func (c *Client) Policy(ctx context.Context, id granary.PolicyID) (granary.Policy, error) {
	c.mu.Lock()
	p, ok := c.policies[id]
	c.mu.Unlock()
	if ok {
		return p, nil
	}
	is, err := Ask[*granary.PolicyIs](ctx, c, &granary.GetPolicy{Policy: id})
	if err != nil {
		return granary.Policy{}, err
	}
	c.mu.Lock()
	c.policies[id] = is.Policy
	c.mu.Unlock()
	return is.Policy, nil
}
