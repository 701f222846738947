package master

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// lockWaiter is one who waits for a lock.
type lockWaiter struct {
	session granary.SessionID
	key     granary.LockKey
}

// lockWatch tells those who wait at this node that something happened to their requests. It is of one state.
type lockWatch struct {
	mu      sync.Mutex
	waiting map[lockWaiter]map[chan struct{}]struct{}
}

// watch returns a channel that is closed by the next news of a waiter, and a function that ends the watch.
func (w *lockWatch) watch(k lockWaiter) (news <-chan struct{}, end func()) {
	c := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[lockWaiter]map[chan struct{}]struct{}{}
	}
	if w.waiting[k] == nil {
		w.waiting[k] = map[chan struct{}]struct{}{}
	}
	w.waiting[k][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.waiting[k], c); len(w.waiting[k]) == 0 {
			delete(w.waiting, k)
		}
	}
}

// tell tells the news of what was applied.
func (w *lockWatch) tell(news []lockWaiter) {
	if len(news) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range news {
		for c := range w.waiting[k] {
			close(c)
		}
		delete(w.waiting, k)
	}
}

// AwaitLock implements wire.Master. That a request still waits is told as this node sees it; that it is over, from a state that was
// current at some moment since the question came: either a majority has said since then that this node leads, before the state was
// read, or an entry was applied here that is newer than all that was committed when a majority said so. Such an entry was committed
// since then, whoever leads by now, so news of a grant is passed on without asking again.
func (s *Server) AwaitLock(ctx context.Context, req *granary.AwaitLock) (granary.LockOutcome, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return granary.LockOutcome{}, err
	}
	defer done()
	l, err := s.leader("await lock")
	if err != nil {
		return granary.LockOutcome{}, err
	}
	timeout := time.NewTimer(time.Duration(granary.AwaitLockMax))
	defer timeout.Stop()
	if err := l.confirm(ctx); err != nil {
		return granary.LockOutcome{}, err
	}
	for {
		outcome, waited, err := l.lookLock(ctx, req, timeout.C)
		if err == nil && !waited {
			err = l.settle(ctx, granary.Index(l.s.appliedIndex()))
		}
		if err != nil || !waited {
			return outcome, err
		}
	}
}

// lookLock answers if the request is over, and otherwise waits until there is news of it, or its time is up. waited says that
// there may be another answer now.
func (l *leadership) lookLock(ctx context.Context, req *granary.AwaitLock, timeout <-chan time.Time) (o granary.LockOutcome, waited bool, err error) {
	st := l.s.states.acquire()
	who := lockWaiter{req.Session, req.Key}
	if req.Key.Space == granary.LockPaths {
		who.session = 0 // what is asked for has an id of its own
	}
	news, end := st.lockWatch.watch(who) // before the look, or news might come between
	retired := st.retired
	o, err = st.lockOutcome(req)
	st.release()
	defer end()
	if err != nil || o.State != granary.LockWaits {
		return o, false, err
	}
	select {
	case <-news:
		return o, true, nil
	case <-timeout:
		return o, false, nil
	case <-retired:
	case <-l.ctx.Done():
	case <-ctx.Done():
		return o, false, l.s.ended(ctx)
	}
	return o, false, l.s.notLeader("await lock")
}
