package client

import (
	"context"
	"errors"
	"time"

	"github.com/dsorchard/granary"
)

const (
	// doubtAfter is how long a master may leave a call unanswered before the others are asked who leads. A machine that
	// stands still keeps its connections: from the outside it looks as one that thinks.
	doubtAfter = time.Second
	// doubtWithin bounds the answer of one of the others, doubtPause lies between two rounds.
	doubtWithin = 500 * time.Millisecond
	doubtPause  = 200 * time.Millisecond
)

// pending is a call that a master has not answered yet.
type pending struct{ giveUp context.CancelFunc }

// begin notes a call to a master.
func (m *masters) begin(addr string, giveUp context.CancelFunc) *pending {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &pending{giveUp}
	if m.pending[addr] == nil {
		m.pending[addr] = map[*pending]struct{}{}
	}
	m.pending[addr][p] = struct{}{}
	return p
}

func (m *masters) end(addr string, p *pending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.pending[addr], p); len(m.pending[addr]) == 0 {
		delete(m.pending, addr)
	}
}

// doubt begins to ask the others whether somebody else leads by now, unless it is being asked already.
func (c *Client) doubt(addr string) {
	m := c.masters
	m.mu.Lock()
	begin := len(m.pending[addr]) > 0 && !m.doubted[addr]
	if begin {
		m.doubted[addr] = true
	}
	m.mu.Unlock()
	if begin && !c.spawn(func() { c.watch(addr) }) {
		m.trust(addr)
	}
}

// trust ends the doubt.
func (m *masters) trust(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.doubted, addr)
}

// watch asks around until a call is no longer pending at addr, or there is another leader: then all that wait for
// addr go there instead. What they asked for is as unknown as if their time had run out, and is asked again under
// the same numbers.
func (c *Client) watch(addr string) {
	defer c.masters.trust(addr)
	for c.ctx.Err() == nil {
		others, waits := c.masters.others(addr)
		if !waits {
			return
		}
		for _, other := range others {
			if leader := c.whoLeads(other); leader != "" && leader != addr {
				c.log.Info("a master does not answer, and another leads", "master", addr, "leader", leader)
				c.masters.move(addr, leader)
				return
			}
		}
		sleep(c.ctx, doubtPause)
	}
}

// others returns the masters but one, and whether a call is still pending at that one.
func (m *masters) others(addr string) (others []string, waits bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.addrs {
		if a != addr {
			others = append(others, a)
		}
	}
	return others, len(m.pending[addr]) > 0
}

// whoLeads asks one master who leads; "" if it does not know.
func (c *Client) whoLeads(addr string) string {
	c.masters.mu.Lock()
	m, err := c.masters.connect(addr)
	c.masters.mu.Unlock()
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(c.ctx, doubtWithin)
	defer cancel()
	_, err = m.ReadIndex(ctx)
	var notLeader *granary.NotLeader
	switch {
	case err == nil:
		return addr
	case errors.As(err, &notLeader):
		return notLeader.Leader
	}
	return ""
}

// move makes another master the one to ask, and ends the calls that wait for the first.
func (m *masters) move(from, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == from {
		m.leader = to
	}
	for p := range m.pending[from] {
		p.giveUp()
	}
}
