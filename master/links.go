package master

import (
	"errors"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// links are the connections to other masters, by gRPC address. They stay open until the node closes.
type links struct {
	dial func(grpcAddr string) (wire.Master, func() error, error) // nil: nobody can be reached

	mu     sync.Mutex
	open   map[string]link
	closed bool
}

type link struct {
	wire.Master
	hangUp func() error
}

func newLinks(dial func(string) (wire.Master, func() error, error)) *links {
	return &links{dial: dial, open: make(map[string]link)}
}

// to returns the master at an address.
func (c *links) to(addr string) (wire.Master, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.open[addr]; ok {
		return l, nil
	}
	if c.dial == nil || addr == "" || c.closed {
		return nil, granary.Errorf(granary.KindUnavailable, "dial", addr, "this node cannot reach other masters")
	}
	m, hangUp, err := c.dial(addr)
	if err != nil {
		return nil, granary.Errorf(granary.KindUnavailable, "dial", addr, "%w", err)
	}
	c.open[addr] = link{m, hangUp}
	return m, nil
}

func (c *links) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, l := range c.open {
		errs = append(errs, l.hangUp())
	}
	clear(c.open)
	return errors.Join(errs...)
}
