package client

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// Grant is a path lock that was granted.
type Grant struct {
	Token   granary.FencingToken
	Session granary.SessionID // that it ends with, if it is no lease
	// Expires is when a lease ends that is not renewed: by this machine's clock, and no later than the masters have it. Zero for none.
	Expires time.Time
}

// AcquirePaths takes locks on paths, and with Wait waits for them: across new leaders, for as long as the session lives and ctx does
// not end. Then the request is withdrawn, and the error is KindCanceled.
//
// Other errors are those of granary.AcquirePaths; KindExpired if the session ended while the request waited. Who asks for a lease
// renews it (RenewPaths) or has LockPaths do so.
func (c *Client) AcquirePaths(ctx context.Context, cred granary.Cred, op granary.AcquirePaths) (Grant, error) {
	if err := ctx.Err(); err != nil {
		return Grant{}, granary.Errorf(granary.KindCanceled, "lock paths", "", "%w", err)
	}
	sent := time.Now()
	r, s, err := c.doLock(ctx, cred, &op)
	if err != nil {
		return Grant{}, err
	}
	id := granary.LockID(r.Offset)
	if r.Created {
		return Grant{granary.FencingToken(id), s.id, endOf(sent, op.TTL)}, nil
	}
	token, err := s.awaitPaths(ctx, cred, id)
	if err != nil || op.TTL == 0 {
		return Grant{Token: token, Session: s.id}, err
	}
	// When the lease began is not known exactly: now it begins anew.
	expires, err := c.RenewPaths(ctx, cred, token, 0, time.Duration(op.TTL))
	return Grant{token, s.id, expires}, err
}

func endOf(begin time.Time, ttl granary.Time) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	return begin.Add(time.Duration(ttl))
}

// awaitPaths waits until a request is over.
func (s *session) awaitPaths(ctx context.Context, cred granary.Cred, id granary.LockID) (granary.FencingToken, error) {
	key := granary.LockKey{Space: granary.LockPaths, Owner: uint64(id)}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.c.ctx, cancel)()
	for {
		outcome, err := s.askLock(within, key, granary.Index(id))
		switch {
		case err == nil && outcome.State == granary.LockHeld:
			return granary.FencingToken(outcome.Token), nil
		case err == nil && outcome.State == granary.LockGone:
			return 0, granary.Errorf(granary.KindExpired, "lock paths", "", "the request %d was withdrawn, or ended with its session or path", id)
		case granary.IsKind(err, granary.KindExpired):
			s.lose()
			return 0, err
		case ctx.Err() != nil:
			return 0, s.withdrawPaths(ctx, cred, id)
		case err != nil && (within.Err() != nil || !again(err)):
			return 0, err
		}
	}
}

// withdrawPaths ends a request whose caller has gone, granted or not.
func (s *session) withdrawPaths(ctx context.Context, cred granary.Cred, id granary.LockID) error {
	err := s.c.ReleasePaths(context.WithoutCancel(ctx), cred, granary.ReleasePaths{Lock: id})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return err
	}
	return granary.Errorf(granary.KindCanceled, "lock paths", "", "%w", context.Cause(ctx))
}

// RenewPaths begins a lease anew, and returns when it ends: by this machine's clock, and no later than the masters have it. With a ttl of 0 it
// lasts as long as before, which is was. A lock that is not held any more is KindFenced.
func (c *Client) RenewPaths(ctx context.Context, cred granary.Cred, token granary.FencingToken, ttl, was time.Duration) (time.Time, error) {
	sent := time.Now()
	_, _, err := c.doLock(ctx, cred, &granary.RenewPaths{Token: token, TTL: granary.Time(ttl)})
	if ttl == 0 {
		ttl = was
	}
	return sent.Add(ttl), err
}

// ReleasePaths gives up a path lock or a request for one.
func (c *Client) ReleasePaths(ctx context.Context, cred granary.Cred, op granary.ReleasePaths) error {
	_, _, err := c.doLock(ctx, cred, &op)
	return err
}

// PathLocks lists path locks.
func (c *Client) PathLocks(ctx context.Context) ([]granary.PathLock, error) {
	var all []granary.PathLock
	q := granary.ListPathLocks{}
	for {
		a, err := Ask[*granary.PathLocks](ctx, c, &q)
		if err != nil {
			return nil, err
		}
		all = append(all, a.Locks...)
		if !a.More {
			return all, nil
		}
		q.After = a.Locks[len(a.Locks)-1].ID
	}
}

// PathLock is a path lock that is held, and kept so until Release or the loss of it.
type PathLock struct {
	c    *Client
	cred granary.Cred
	ttl  time.Duration // 0: it lasts as long as the session
	stop context.CancelFunc
	done chan struct{} // closed when nobody renews it any more
	lost chan struct{}

	token granary.FencingToken

	mu    sync.Mutex
	cause error
}

// LockPaths takes a lock as AcquirePaths does, and keeps it: a lease is renewed. Lost tells when it is not held any more.
func (c *Client) LockPaths(ctx context.Context, cred granary.Cred, op granary.AcquirePaths) (*PathLock, error) {
	g, err := c.AcquirePaths(ctx, cred, op)
	if err != nil {
		return nil, err
	}
	keeping, stop := context.WithCancel(c.ctx)
	l := &PathLock{
		c: c, cred: cred, ttl: time.Duration(op.TTL), stop: stop, token: g.Token,
		done: make(chan struct{}), lost: make(chan struct{}),
	}
	if !c.spawn(func() { defer close(l.done); l.keep(keeping, g) }) {
		stop()
		return nil, errClosed
	}
	return l, nil
}

// Token returns the fencing token of the lock.
func (l *PathLock) Token() granary.FencingToken { return l.token }

// Lost is closed when the lock is lost: its lease could not be renewed in time, its session has ended, or somebody has broken it. What
// is done with its token after that is refused.
func (l *PathLock) Lost() <-chan struct{} { return l.lost }

// Err says why the lock is lost; nil while it is not.
func (l *PathLock) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Context returns a context in which mutations carry the lock's token, and which ends when the lock is lost.
func (l *PathLock) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(WithFences(ctx, l.token))
	end := make(chan struct{})
	if !l.c.spawn(func() {
		select {
		case <-l.lost:
			cancel(l.Err())
		case <-ctx.Done():
		case <-end:
		}
	}) {
		cancel(errClosed)
	}
	var once sync.Once
	return ctx, func() { once.Do(func() { close(end) }); cancel(context.Canceled) }
}

// Release gives the lock up. That it was lost before is an error of KindFenced.
func (l *PathLock) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	err := l.c.ReleasePaths(ctx, l.cred, granary.ReleasePaths{Token: l.token})
	if granary.IsKind(err, granary.KindNotFound) {
		err = granary.Errorf(granary.KindFenced, "release lock", "", "the lock with token %d was lost before", l.token)
	}
	return err
}

func (l *PathLock) lose(err error) {
	l.mu.Lock()
	l.cause = err
	l.mu.Unlock()
	close(l.lost)
}

// keep renews the lock until it is released or lost.
func (l *PathLock) keep(ctx context.Context, g Grant) {
	defer l.stop()
	every := l.ttl / 3
	if l.ttl == 0 {
		every = sessionLockEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	gone := make(<-chan struct{})
	if l.ttl == 0 {
		gone = l.c.lostOf(g.Session)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-gone:
			l.lose(granary.Errorf(granary.KindFenced, "lock paths", "", "session %d ended, and with it the lock", g.Session))
			return
		case <-tick.C:
		}
		until := g.Expires
		renewing, cancel := ctx, context.CancelFunc(func() {})
		if !until.IsZero() {
			renewing, cancel = context.WithDeadline(ctx, until)
		}
		expires, err := l.renew(renewing)
		cancel()
		switch {
		case err == nil && l.ttl != 0:
			g.Expires = expires
		case err == nil || ctx.Err() != nil:
		case granary.IsKind(err, granary.KindFenced), !until.IsZero() && !time.Now().Before(until):
			l.lose(granary.Errorf(granary.KindFenced, "lock paths", "", "the lock with token %d was not renewed: %w", l.token, err))
			return
		}
	}
}

// sessionLockEvery is how often a lock that lasts as long as its session is looked after: somebody may have broken it.
const sessionLockEvery = 10 * time.Second

// renew renews the lease, as long as ctx lasts: the master is asked again until it answers.
func (l *PathLock) renew(ctx context.Context) (expires time.Time, err error) {
	type answer struct {
		expires time.Time
		err     error
	}
	answered := make(chan answer, 1)
	if !l.c.spawn(func() { // a request that is sent is not given up
		expires, err := l.c.RenewPaths(ctx, l.cred, l.token, 0, l.ttl)
		answered <- answer{expires, err}
	}) {
		return time.Time{}, errClosed
	}
	select {
	case a := <-answered:
		return a.expires, a.err
	case <-ctx.Done():
		return time.Time{}, granary.Errorf(granary.KindCanceled, "renew lock", "", "%w", context.Cause(ctx))
	}
}

// lostOf returns a channel that is closed when a session is gone.
func (c *Client) lostOf(id granary.SessionID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sess != nil && c.sess.id == id {
		return c.sess.lost
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}
