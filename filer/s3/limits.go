package s3

import (
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// limiter holds users to their limits, as far as this gateway serves them. Requests beyond a user's rate, or beyond how many may be under way,
// are refused with SlowDown; bodies flow at the rate that its bytes have, and while so many are owed that others would wait long, new
// requests are refused, too.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	users map[string]*allowance // by id
}

// allowance is what a user has left.
type allowance struct {
	mu       sync.Mutex
	limits   granary.Limits
	at       time.Time // when requests and bytes were right
	requests float64   // that may begin now
	bytes    float64   // that may pass now; negative if some are owed
	inFlight uint64
}

const (
	// limitedUsersMax is how many users are known at once; those with nothing under way are forgotten beyond it.
	limitedUsersMax = 10000
	// owedMax is how long bytes may be owed until requests are refused.
	owedMax = 2 * time.Second
	// pacedBytesMax is how much of a body passes before its bytes are counted.
	pacedBytesMax = 64 << 10
)

// passage is a request of a limited user on its way.
type passage struct {
	*allowance
	l *limiter
}

// admit lets a request of a user begin, or refuses it. The passage is nil if the user has no limits, and ends with end.
func (l *limiter) admit(c *caller) (*passage, error) {
	if c.limits == (granary.Limits{}) {
		return nil, nil
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.users[c.id]
	if a == nil {
		if l.users == nil {
			l.users = map[string]*allowance{}
		}
		if len(l.users) >= limitedUsersMax {
			l.forget()
		}
		a = &allowance{at: now, requests: math.Inf(1), bytes: math.Inf(1)}
		l.users[c.id] = a
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = c.limits
	a.refill(now)
	var wait time.Duration
	switch {
	case a.limits.InFlight > 0 && a.inFlight >= a.limits.InFlight:
		wait = time.Second
	case a.limits.Requests > 0 && a.requests < 1:
		wait = seconds((1 - a.requests) / float64(a.limits.Requests))
	case a.owed() > owedMax:
		wait = a.owed()
	default:
		a.requests--
		a.inFlight++
		return &passage{a, l}, nil
	}
	e := refuse(codeSlowDown, "Please reduce your request rate.")
	e.header = http.Header{"Retry-After": {strconv.FormatInt(int64(math.Ceil(max(wait, time.Second).Seconds())), 10)}}
	return nil, e
}

// forget forgets the users that have nothing under way. The caller holds l.mu.
func (l *limiter) forget() {
	for id, a := range l.users {
		a.mu.Lock()
		if a.inFlight == 0 {
			delete(l.users, id)
		}
		a.mu.Unlock()
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// refill gives what the time has brought: a second's worth at most is saved up. The caller holds a.mu.
func (a *allowance) refill(now time.Time) {
	passed := max(now.Sub(a.at), 0).Seconds()
	a.at = now
	a.requests = min(a.requests+passed*float64(a.limits.Requests), max(float64(a.limits.Requests), 1))
	a.bytes = min(a.bytes+passed*float64(a.limits.Bytes), max(float64(a.limits.Bytes), pacedBytesMax))
}

// owed is how long it takes until no bytes are owed any more. The caller holds a.mu.
func (a *allowance) owed() time.Duration {
	if a.limits.Bytes == 0 || a.bytes >= 0 {
		return 0
	}
	return seconds(-a.bytes / float64(a.limits.Bytes))
}

// end is the end of the request.
func (p *passage) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.inFlight--
	p.mu.Unlock()
}

// pass counts bytes of a body, and waits until they may pass.
func (p *passage) pass(ctx context.Context, n int) error {
	if p == nil || n == 0 {
		return nil
	}
	p.mu.Lock()
	p.refill(p.l.now())
	p.bytes -= float64(n)
	wait := p.owed()
	p.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return granary.Errorf(granary.KindCanceled, "s3.pace", "", "%w", ctx.Err())
	}
}

// pacedReader lets the bytes of a body pass at the rate of their user.
type pacedReader struct {
	ctx context.Context
	in  io.Reader
	p   *passage
}

// Read implements io.Reader.
func (r *pacedReader) Read(b []byte) (int, error) {
	n, err := r.in.Read(b[:min(len(b), pacedBytesMax)])
	if perr := r.p.pass(r.ctx, n); perr != nil {
		return n, perr
	}
	return n, err
}

// pacedWriter is an answer that flows at the rate of its user.
type pacedWriter struct {
	http.ResponseWriter
	ctx context.Context
	p   *passage
}

// Write implements http.ResponseWriter.
func (w *pacedWriter) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := w.ResponseWriter.Write(b[done:min(len(b), done+pacedBytesMax)])
		if done += n; err != nil {
			return done, err
		}
		if err := w.p.pass(w.ctx, n); err != nil {
			return done, err
		}
	}
	return done, nil
}

// Unwrap lets http.ResponseController flush.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
