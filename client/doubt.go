package client

import (
	"context"
	"slices"
	"time"
)

const (
	// doubtAfter is how long a master may leave a call unanswered before the others are asked who leads. A machine that
	// stands still keeps its connections: from the outside it looks as one that thinks. It is shorter than an election,
	// so that the new leader is found as soon as there is one.
	doubtAfter = 300 * time.Millisecond
	// doubtPause lies between two questions to the same of them: most often the first only has much to do.
	doubtPause = 150 * time.Millisecond
)

// pending is a call that a master has not answered yet.
type pending struct {
	since  time.Time
	giveUp context.CancelFunc
	slow   bool // the master may take its time: that it does not answer says nothing about it
}

// begin notes a call to a master.
func (m *masters) begin(addr string, giveUp context.CancelFunc, slow bool) *pending {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &pending{time.Now(), giveUp, slow}
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

// watch asks around until no call waits for long at addr any more, or there is another leader: then all that wait for
// addr go there instead. What they asked for is as unknown as if their time had run out, and is asked again under
// the same numbers.
func (c *Client) watch(addr string) {
	defer c.masters.trust(addr)
	for c.ctx.Err() == nil && c.masters.waits(addr) {
		others := slices.DeleteFunc(c.masters.known(), func(a string) bool { return a == addr })
		ctx, cancel := context.WithTimeout(c.ctx, doubtAfter)
		leader := c.seek(ctx, others, doubtPause, doubtPause)
		if len(others) == 0 {
			<-ctx.Done()
		}
		cancel()
		if leader != "" && leader != addr {
			c.log.Info("a master does not answer, and another leads", "master", addr, "leader", leader)
			c.masters.move(addr, leader)
			return
		}
	}
}

// waits reports whether a call has been waiting at a master for so long that it is in doubt.
func (m *masters) waits(addr string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.pending[addr] {
		if !p.slow && time.Since(p.since) >= doubtAfter {
			return true
		}
	}
	return false
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
