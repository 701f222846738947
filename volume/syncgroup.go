package volume

import "sync"

// syncGroup lets one sync of a file serve everybody who wrote before it began: group commit. After a
// failed sync it never syncs again, and everybody gets that error.
type syncGroup struct {
	mu      sync.Mutex
	cond    sync.Cond
	written uint64 // tickets given out
	synced  uint64 // tickets up to this one are durable
	running bool
	err     error
}

// wrote takes note of a completed write and returns its ticket.
func (g *syncGroup) wrote() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written++
	return g.written
}

// wait returns when the ticket's write is durable, after calling sync itself or while another caller does.
func (g *syncGroup) wait(sync func() error, ticket uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		switch {
		case g.synced >= ticket:
			return nil
		case g.err != nil:
			return g.err
		case g.running:
			g.cond.Wait()
			continue
		}
		g.running = true
		covered := g.written
		g.mu.Unlock()
		err := sync()
		g.mu.Lock()
		g.running = false
		if err != nil {
			g.err = err
		} else {
			g.synced = covered
		}
		g.cond.Broadcast()
	}
}
