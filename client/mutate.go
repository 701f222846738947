package client

import (
	"context"
	"errors"
	"time"

	"github.com/dsorchard/granary"
)

// A request that was answered KindBusy is sent again under a new sequence number after a pause, at
// most busyTries times in all: about 10 s.
const (
	busyTries = 50
	busyPause = 20 * time.Millisecond
)

// Do performs one mutation exactly once, across lost replies and new leaders. The error is the
// result's own (Result.Err), or says why there is none: KindIndeterminate if the mutation may have
// happened all the same, KindExpired if the session ended before the answer came. What a Create with Open has made or
// found is open until Closed is called.
func (c *Client) Do(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, error) {
	for try := 1; ; try++ {
		results, err := c.DoAll(ctx, cred, []granary.Op{op})
		if err != nil {
			return granary.Result{}, err
		}
		r := results[0]
		if r.Err == nil {
			return r, nil
		}
		if r.Err.Kind != granary.KindBusy || try == busyTries || ctx.Err() != nil {
			return r, r.Err
		}
		sleep(ctx, min(busyPause<<min(try, 10), backoffMax))
	}
}

// DoAll sends several mutations in one call; each takes effect for itself, in order. The results
// are in order too; err is set only if the call itself failed, and then says of all of them what
// Do says of one.
func (c *Client) DoAll(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]granary.Result, error) {
	results, _, err := c.doAll(ctx, cred, ops)
	if err != nil {
		return nil, err
	}
	return c.again(ctx, cred, ops, results)
}

// doAll is DoAll, and returns the session that the mutations were sent under.
func (c *Client) doAll(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]granary.Result, *session, error) {
	for {
		s, err := c.live(ctx)
		if err != nil {
			return nil, nil, err
		}
		calls, err := c.callsOf(ctx, cred, ops)
		if err != nil {
			return nil, nil, err
		}
		s.start(ctx, calls)
		results, err := s.await(ctx, calls)
		if errors.Is(err, errNotSent) {
			continue
		}
		if err != nil {
			s.disown(calls)
		}
		return results, s, err
	}
}

// callsOf makes calls of ops. Those that open files wait while a report of what is open is under way.
func (c *Client) callsOf(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]*call, error) {
	calls := make([]*call, len(ops))
	opening, fences, origin := 0, c.fences(ctx), originIn(ctx)
	for i, op := range ops {
		calls[i] = &call{req: granary.Request{Cred: cred, Op: op, Fences: fences, Origin: origin}, size: sizeOf(op), done: make(chan struct{})}
		if create, ok := op.(*granary.Create); ok && create.Open && create.Type == granary.TypeRegular {
			calls[i].opens = c.opens
			opening++
		}
	}
	if opening > 0 {
		if err := c.opens.begin(ctx, opening, c.o.RetryFor); err != nil {
			return nil, err
		}
	}
	for _, q := range calls {
		q.own = c.kept.own(q.req.Op)
	}
	return calls, nil
}

// disown closes what calls have opened whose results the caller does not get: now, or when they are answered.
func (s *session) disown(calls []*call) {
	for _, q := range calls {
		if q.opens == nil || !s.abandon(q) {
			continue
		}
		s.c.spawn(func() { // unless the client is closed, and the session with it
			<-q.done
			if inode := q.opened(); inode != 0 {
				s.c.Closed(inode, false)
			}
		})
	}
}

// await collects the results of calls. The error is errNotSent only if none of them was sent.
func (s *session) await(ctx context.Context, calls []*call) ([]granary.Result, error) {
	results := make([]granary.Result, len(calls))
	for i, q := range calls {
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, s.giveUp(ctx, calls)
		}
		if q.err != nil {
			if i > 0 && errors.Is(q.err, errNotSent) {
				return nil, granary.Errorf(granary.KindExpired, "mutate", "", "the session ended after %d of %d requests", i, len(calls))
			}
			return nil, q.err
		}
		results[i] = q.result
	}
	return results, nil
}

// giveUp withdraws the calls of a caller whose ctx has ended.
func (s *session) giveUp(ctx context.Context, calls []*call) error {
	kind := granary.KindCanceled
	for _, q := range calls {
		if s.abandon(q) {
			kind = granary.KindIndeterminate
		}
	}
	return granary.Errorf(kind, "mutate", "", "%w", ctx.Err())
}

// sizeOf estimates an op's bytes in an entry, a little above the truth.
func sizeOf(op granary.Op) int {
	const base = 256
	switch op := op.(type) {
	case *granary.Create:
		return base + len(op.Name) + len(op.Target) + sizeOfXattrs(op.Xattrs) + sizeOfContent(op.Content)
	case *granary.Commit:
		return base + sizeOfContent(&op.Content)
	case *granary.Link:
		return base + len(op.Name) + sizeOfXattrs(op.Xattrs)
	case *granary.SetXattr:
		return base + len(op.Xattr.Name) + len(op.Xattr.Value)
	case *granary.Rename:
		return base + len(op.SrcName) + len(op.DstName)
	case *granary.MoveBlocks:
		return base + 160*len(op.Moves)
	case *granary.Assemble:
		n := base + len(op.Create.Name) + sizeOfXattrs(op.Create.Xattrs)
		for _, part := range op.Parts {
			n += 24 + len(part)
		}
		return n
	default:
		return 2 * base
	}
}

func sizeOfXattrs(xattrs []granary.Xattr) int {
	n := 0
	for _, x := range xattrs {
		n += 16 + len(x.Name) + len(x.Value)
	}
	return n
}

func sizeOfContent(content *granary.Content) int {
	if content == nil {
		return 0
	}
	return len(content.Inline) + 96*len(content.Chunks) + 32*len(content.Extents) + 32
}
