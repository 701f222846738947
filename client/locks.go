package client

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// Held is a lock that the master has granted.
type Held struct {
	Token   granary.Index     // of the grant: later grants have higher ones
	Session granary.SessionID // the lock ends with it, at Options.OnExpired if not before
}

// Lock acquires a lock, and with Wait waits for it: across new leaders, for as long as the session lives and ctx does
// not end. Then the request is withdrawn before Lock returns KindCanceled; if it was granted just before, the lock is
// held, and the error is nil all the same. (To release it would also release what the owner had there before.)
//
// Other errors are those of granary.AcquireLock; KindExpired if the session ended while the request waited, KindStale
// if it or the lock were given up by another call for the same owner meanwhile. After KindIndeterminate the owner may come
// to hold the lock: Unlock what it is not to have.
//
// The request itself is not given up when ctx ends: whether it took effect would be unknown.
func (c *Client) Lock(ctx context.Context, cred granary.Cred, op granary.AcquireLock) (Held, error) {
	if err := ctx.Err(); err != nil {
		return Held{}, granary.Errorf(granary.KindCanceled, "lock", op.Inode.String(), "%w", err)
	}
	for {
		r, s, err := c.doLock(ctx, cred, &op)
		switch {
		case granary.IsKind(err, granary.KindBusy) && op.Wait: // another thread of the owner waits
			sleep(ctx, backoffMax)
			if ctx.Err() != nil {
				return Held{}, granary.Errorf(granary.KindCanceled, "lock", op.Inode.String(), "%w", ctx.Err())
			}
		case granary.IsKind(err, granary.KindIndeterminate) && op.Wait && s != nil:
			c.spawn(func() { s.cancelLock(c.ctx, cred, op.LockKey) })
			return Held{}, err
		case err != nil:
			return Held{}, err
		case r.Created:
			return Held{r.Index, s.id}, nil
		default:
			return s.awaitLock(ctx, cred, op.LockKey, r.Index)
		}
	}
}

// doLock sends an op of locks, and returns the session that it was sent under. It is not given up when ctx ends.
func (c *Client) doLock(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, *session, error) {
	results, s, err := c.doAll(context.WithoutCancel(ctx), cred, []granary.Op{op})
	switch {
	case err != nil:
		return granary.Result{}, s, err
	case results[0].Err != nil:
		return granary.Result{}, s, results[0].Err
	}
	return results[0], s, nil
}

// Unlock gives up what an owner holds in a range. What is not held is no error, nor is a session that has ended.
func (c *Client) Unlock(ctx context.Context, cred granary.Cred, op granary.ReleaseLock) error {
	_, _, err := c.doLock(ctx, cred, &op)
	return err
}

// TestLock returns a lock that keeps an owner of this client from one, or nil: F_GETLK. Session of the question is filled in.
func (c *Client) TestLock(ctx context.Context, q granary.GetLock) (*granary.Lock, error) {
	s, err := c.live(ctx)
	if err != nil {
		return nil, err
	}
	q.Session = s.id
	is, err := Ask[*granary.LockIs](ctx, c, &q)
	if err != nil {
		return nil, err
	}
	return is.Lock, nil
}

// awaitLock waits until a request of the session is over.
func (s *session) awaitLock(ctx context.Context, cred granary.Cred, key granary.LockKey, token granary.Index) (Held, error) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.c.ctx, cancel)()
	for {
		outcome, err := s.askLock(within, key, token)
		switch {
		case err == nil && outcome.State == granary.LockHeld:
			return Held{outcome.Token, s.id}, nil
		case err == nil && outcome.State == granary.LockGone:
			return Held{}, s.lockGone(key)
		case granary.IsKind(err, granary.KindExpired):
			s.lose()
			return Held{}, s.lockGone(key)
		case ctx.Err() != nil:
			return s.withdraw(ctx, cred, key)
		case err != nil && (within.Err() != nil || !again(err)):
			return Held{}, err
		}
		select {
		case <-s.lost:
			return Held{}, s.lockGone(key)
		default:
		}
	}
}

func (s *session) askLock(ctx context.Context, key granary.LockKey, token granary.Index) (outcome granary.LockOutcome, err error) {
	err = s.c.leadSlowly(ctx, "await lock", time.Duration(granary.AwaitLockMax), func(ctx context.Context, m wire.Master) (err error) {
		outcome, err = m.AwaitLock(ctx, &granary.AwaitLock{Session: s.id, Key: key, Token: token})
		return err
	})
	return outcome, err
}

// lockGone says why there is neither a lock nor a request for one.
func (s *session) lockGone(key granary.LockKey) error {
	select {
	case <-s.lost:
		return granary.Errorf(granary.KindExpired, "lock", key.Inode.String(), "session %d ended while the request waited", s.id)
	default:
		return granary.Errorf(granary.KindStale, "lock", key.Inode.String(), "the request was withdrawn, or the lock released, meanwhile")
	}
}

// withdraw ends a request whose caller has gone. It may have been granted by now: then the lock is held.
func (s *session) withdraw(ctx context.Context, cred granary.Cred, key granary.LockKey) (Held, error) {
	r, err := s.cancelLock(context.WithoutCancel(ctx), cred, key)
	switch {
	case err != nil:
		return Held{}, err
	case r.Created:
		return Held{granary.Index(r.Offset), s.id}, nil
	}
	return Held{}, granary.Errorf(granary.KindCanceled, "lock", key.Inode.String(), "%w", context.Cause(ctx))
}

// cancelLock ends that an owner waits. If the session has ended, so has that.
func (s *session) cancelLock(ctx context.Context, cred granary.Cred, key granary.LockKey) (granary.Result, error) {
	q := &call{req: granary.Request{Cred: cred, Op: &granary.CancelLock{LockKey: key}}, done: make(chan struct{})}
	q.size = sizeOf(q.req.Op)
	s.start(ctx, []*call{q})
	results, err := s.await(ctx, []*call{q})
	switch {
	case granary.IsKind(err, granary.KindExpired):
		return granary.Result{}, s.lockGone(key)
	case err != nil:
		return granary.Result{}, err
	case results[0].Err != nil:
		return granary.Result{}, results[0].Err
	}
	return results[0], nil
}
