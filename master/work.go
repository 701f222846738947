package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// Work implements wire.Master.
func (s *Server) Work(ctx context.Context, req *granary.WorkRequest) (*granary.WorkReply, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("work")
	if err != nil {
		return nil, err
	}
	switch {
	case req.Worker == "" || len(req.Worker) > granary.PathLengthMax:
		return nil, granary.Errorf(granary.KindInvalid, "work", req.Worker, "the worker has no name, or one of more than %d bytes", granary.PathLengthMax)
	case len(req.Reports) > granary.TasksMax:
		return nil, granary.Errorf(granary.KindTooLarge, "work", req.Worker, "%d reports, of %d at most", len(req.Reports), granary.TasksMax)
	}
	return l.curator.work(ctx, req), nil
}

// work takes a worker's reports in, and gives it more to do. Before the leader knows enough to decide, the worker goes on with
// what it has.
func (c *curator) work(ctx context.Context, req *granary.WorkRequest) *granary.WorkReply {
	c.mu.Lock()
	now := c.l.s.now()
	c.look(now, false)
	if c.plan == nil {
		c.mu.Unlock()
		return &granary.WorkReply{}
	}
	swept, unwanted := c.report(req, now)
	if len(req.Reports) > 0 {
		c.look(now, false)
		kick(c.kick)
	}
	offers := c.offers(req, now)
	c.mu.Unlock()
	c.propose(ctx, swept)
	return &granary.WorkReply{Drop: unwanted, Tasks: c.commit(ctx, req.Worker, offers)}
}
