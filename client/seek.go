package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	// seekFirst and seekMax are what lies between two questions to the same master: short in the time that an election
	// takes, and not so short that many clients together keep the masters from it.
	seekFirst = 15 * time.Millisecond
	seekMax   = 75 * time.Millisecond
	// seekAnswer bounds the answer to one question.
	seekAnswer = 500 * time.Millisecond
	// searchMax bounds a search. Whoever still needs a leader then begins another.
	searchMax = 2 * time.Second
)

// awaitLeader waits until a master is found that leads, but no longer than most. All calls share one search.
func (c *Client) awaitLeader(ctx context.Context, most time.Duration) {
	m := c.masters
	m.mu.Lock()
	found, begin := m.found, m.found == nil
	if begin {
		found = make(chan struct{})
		m.found = found
	}
	m.mu.Unlock()
	if begin && !c.spawn(c.search) {
		m.searched("")
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-found:
	case <-t.C:
	case <-ctx.Done():
	}
}

// search looks for the leader once.
func (c *Client) search() {
	ctx, cancel := context.WithTimeout(c.ctx, searchMax)
	defer cancel()
	c.masters.searched(c.seek(ctx, c.masters.known(), seekFirst, seekMax))
}

// searched ends the search. The leader, if one was found, is asked next.
func (m *masters) searched(leader string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if leader != "" {
		m.leader = leader
	}
	close(m.found)
	m.found = nil
}

// seek asks masters again and again until one says of itself that it leads, or ctx ends: then the answer is "". They
// are asked at the same time, so that one that does not answer holds nothing up; and whom they name is asked, too.
// The pause between two questions to one of them grows from first to most.
func (c *Client) seek(ctx context.Context, addrs []string, first, most time.Duration) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu     sync.Mutex
		asked  = slices.Clone(addrs)
		leader string
		asking sync.WaitGroup
		ask    func(addr string)
	)
	ask = func(addr string) {
		for pause := first; ctx.Err() == nil; pause = min(pause*3/2, most) {
			leads, named := c.leads(ctx, addr)
			mu.Lock()
			if leads {
				leader = addr
				cancel()
			} else if named != "" && !slices.Contains(asked, named) {
				asked = append(asked, named)
				asking.Go(func() { ask(named) })
			}
			mu.Unlock()
			sleep(ctx, pause/2+rand.N(pause))
		}
	}
	for _, addr := range addrs {
		asking.Go(func() { ask(addr) })
	}
	asking.Wait()
	return leader
}

// leads asks a master whether it leads. If not, it may name the one that it believes to lead.
func (c *Client) leads(ctx context.Context, addr string) (leads bool, named string) {
	c.masters.mu.Lock()
	m, err := c.masters.connect(addr)
	c.masters.mu.Unlock()
	if err != nil {
		return false, ""
	}
	ctx, cancel := context.WithTimeout(ctx, seekAnswer)
	defer cancel()
	_, err = m.ReadIndex(ctx)
	var notLeader *granary.NotLeader
	if errors.As(err, &notLeader) {
		return false, notLeader.Leader
	}
	return err == nil, ""
}
