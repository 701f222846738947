package master

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// sessionTable holds the leases of the sessions, in the leader's memory: renewing one costs no entry
// of the log. A new leader begins with a full TTL for each, so that no session ends because leaders
// changed; one that has ended stays ended, because that is an entry.
type sessionTable struct {
	ttl     time.Duration
	metrics *metrics

	mu  sync.Mutex
	end map[granary.SessionID]time.Time
}

func newSessionTable(ttl time.Duration, m *metrics) *sessionTable {
	return &sessionTable{ttl: ttl, metrics: m, end: make(map[granary.SessionID]time.Time)}
}

func (t *sessionTable) add(id granary.SessionID, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end[id] = now.Add(t.ttl)
	t.metrics.sessions.Set(float64(len(t.end)))
}

// renew extends a session's lease; false if there is no such session.
func (t *sessionTable) renew(id granary.SessionID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.end[id]
	if ok {
		t.end[id] = now.Add(t.ttl)
	}
	return ok
}

func (t *sessionTable) remove(id granary.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.end, id)
	t.metrics.sessions.Set(float64(len(t.end)))
}

// takeExpired removes the sessions whose lease has run out, and returns them: from here on none of
// them is renewed.
func (t *sessionTable) takeExpired(now time.Time) []granary.SessionID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []granary.SessionID
	for id, end := range t.end {
		if now.After(end) && len(ids) < proposalItemsMax {
			ids = append(ids, id)
			delete(t.end, id)
		}
	}
	t.metrics.sessions.Set(float64(len(t.end)))
	return ids
}

// expireSessions proposes the end of sessions whose lease has run out. What could not be proposed
// while still leading gets another lease: it is merely late.
func (l *leadership) expireSessions(ctx context.Context) {
	every := max(l.s.opts.SessionTTL/20, 10*time.Millisecond)
	for pause(ctx, every) {
		ids := l.sessions.takeExpired(l.s.now())
		if len(ids) == 0 {
			continue
		}
		items := make([]item, len(ids))
		for i, id := range ids {
			items[i] = &expireSession{Session: id}
		}
		if _, err := l.prop.propose(ctx, items...); err != nil {
			if ctx.Err() != nil {
				return
			}
			l.s.log.Warn("expired sessions stay for now", "sessions", len(ids), "error", err)
			for _, id := range ids {
				l.sessions.add(id, l.s.now())
			}
			continue
		}
		for _, id := range ids {
			l.opens.forget(id)
			l.recalls.forget(id)
			l.attend.end(id)
		}
		l.s.log.Info("sessions expired", "sessions", ids)
		kick(l.sealNow)
	}
}
