package filer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
)

const (
	stallMin  = 50 * time.Millisecond // pauses between two tries of what volume servers do not answer
	stallMax  = time.Second
	stallWarn = time.Minute // stalls are logged at most so often
)

// stalls is how a FS bears it that volume servers do not answer: what cannot go on without them waits, up to a set time, and
// then fails.
type stalls struct {
	patience time.Duration
	over     chan struct{} // closed when the FS is: nothing waits from then on
	waiting  atomic.Int64
	warned   atomic.Int64 // when that was last logged, in nanoseconds of Unix time
}

// stall is one wait.
type stall struct {
	fs    *FS
	until time.Time
	pause time.Duration
	began bool
}

// newStall begins a wait that counts from a time on.
func (fs *FS) newStall(since time.Time) stall {
	return stall{fs: fs, until: since.Add(fs.stalls.patience), pause: stallMin}
}

// again pauses after an error and reports whether to try again: if volume servers may answer later, and there is time left.
func (s *stall) again(ctx context.Context, what string, err error) bool {
	if !granary.IsKind(err, granary.KindUnavailable) || !time.Now().Add(s.pause).Before(s.until) {
		return false
	}
	st := &s.fs.stalls
	if !s.began {
		s.began = true
		st.waiting.Add(1)
	}
	now := time.Now().UnixNano()
	if last := st.warned.Load(); now-last > int64(stallWarn) && st.warned.CompareAndSwap(last, now) {
		s.fs.log.Warn("volume servers do not answer: waiting for them", "doing", what, "patience", st.patience, "err", err)
	}
	timer := time.NewTimer(s.pause)
	defer timer.Stop()
	s.pause = min(2*s.pause, stallMax)
	ctx, done := killable(ctx)
	defer done()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-st.over:
	}
	return false
}

// end ends the wait, whatever came of it.
func (s *stall) end() {
	if s.began {
		s.fs.stalls.waiting.Add(-1)
	}
}

// Killable is a context whose caller may be killed, and is not to wait any longer then. To look out for that costs something: it is done where a
// wait begins that may be long.
type Killable interface {
	context.Context
	// Killable returns a context that ends with this one and when the caller is killed, until done is called.
	Killable() (ctx context.Context, done func())
}

// killable returns the context for a long wait.
func killable(ctx context.Context) (context.Context, func()) {
	if k, ok := ctx.(Killable); ok {
		return k.Killable()
	}
	return ctx, func() {}
}
