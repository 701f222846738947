package client

import (
	"context"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// Query asks the master. The answer is no older than any mutation or answer that this client has seen.
func (c *Client) Query(ctx context.Context, q granary.Query) (granary.Answer, error) {
	var answer granary.Answer
	err := c.lead(ctx, "query", func(ctx context.Context, m wire.Master) error {
		a, index, err := m.Query(ctx, &granary.QueryRequest{MinIndex: granary.Index(c.index.Load()), Query: q})
		if err != nil {
			return err
		}
		c.saw(index)
		answer = a
		return nil
	})
	if granary.IsKind(err, granary.KindIndeterminate) { // a question has no effect to be unsure of
		err = granary.Errorf(granary.KindUnavailable, "query", "", "%w", err)
	}
	return answer, err
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
