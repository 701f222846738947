package master

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	expireMax   = 500 // leases that one entry ends
	expireEvery = 100 * time.Millisecond
)

// leaseNews is what was applied of the lease of a path lock.
type leaseNews struct {
	token   granary.FencingToken
	expires granary.Time // 0: it is no more
	ttl     granary.Time
}

// pathLeases is when the leases of path locks run out, as the state says. The leader looks at it, while entries are applied.
type pathLeases struct {
	mu  sync.Mutex
	end map[granary.FencingToken]leaseNews
}

// note takes in what a batch has changed.
func (p *pathLeases) note(news []leaseNews) {
	if len(news) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = map[granary.FencingToken]leaseNews{}
	}
	for _, n := range news {
		if n.expires == 0 {
			delete(p.end, n.token)
		} else {
			p.end[n.token] = n
		}
	}
}

// due returns leases that have run out, by the clock of a leader that has been one since some time: it leaves each its whole
// time, for nobody could renew it before.
func (p *pathLeases) due(now, since time.Time) []granary.FencingToken {
	at, begun := granary.TimeOf(now), granary.TimeOf(since)
	p.mu.Lock()
	defer p.mu.Unlock()
	var tokens []granary.FencingToken
	for token, n := range p.end {
		if n.expires <= at && begun+n.ttl <= at {
			tokens = append(tokens, token)
		}
	}
	slices.Sort(tokens)
	return tokens[:min(len(tokens), expireMax)]
}

// expirePathLocks proposes the end of leases that have run out. Who renews one in the meantime keeps it: the entry that comes
// first counts.
func (l *leadership) expirePathLocks(ctx context.Context) {
	since := l.s.now()
	for pause(ctx, expireEvery) {
		st := l.s.states.acquire()
		due := st.leases.due(l.s.now(), since)
		st.release()
		if len(due) == 0 {
			continue
		}
		if _, err := l.prop.propose(ctx, &expirePaths{Tokens: due}); err != nil {
			if ctx.Err() == nil {
				l.s.log.Warn("leases of path locks stay for now", "leases", len(due), "error", err)
			}
			continue
		}
		l.s.log.Info("leases of path locks ran out", "tokens", due)
	}
}
