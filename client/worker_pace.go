package client

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// paceSaved is how much idle time counts: after it, work goes unhindered for as much.
const paceSaved = 250 * time.Millisecond

// pace keeps what several tasks do together below a rate.
type pace struct {
	mu   sync.Mutex
	free time.Time // when all that was taken is within the rate
}

// take waits until n bytes may be worked on, at a rate of so many bytes a second; 0 is no limit. The rate may be another at
// each call.
func (p *pace) take(ctx context.Context, n int, rate uint64) error {
	if rate > 0 {
		sleep(ctx, p.book(n, rate))
	}
	if ctx.Err() != nil {
		return granary.Errorf(granary.KindCanceled, "work", "", "%w", context.Cause(ctx))
	}
	return nil
}

// book takes n bytes, and returns how long to wait for them.
func (p *pace) book(n int, rate uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if saved := now.Add(-paceSaved); p.free.Before(saved) {
		p.free = saved
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return p.free.Sub(now)
}
