package master

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

// attendFor is how long a call of Attend is held when there is nothing to tell.
const attendFor = 5 * time.Second

// recallsOnly is the attendance of a session that is told of recalls alone: it keeps nothing, so that all may have the same.
const recallsOnly = 1

// Attend implements wire.Master. It tells of recalls alone.
func (s *Server) Attend(ctx context.Context, req *granary.Attend) (*granary.Notices, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("attend")
	if err != nil {
		return nil, err
	}
	if err := l.renew("attend", req.Session); err != nil {
		return nil, err
	}
	timer := time.NewTimer(attendFor)
	defer timer.Stop()
	for late := false; ; {
		dirs, more := l.recalls.pending(req.Session)
		if len(dirs) > 0 || late {
			l.recalls.done(req.Session, dirs)
			return &granary.Notices{Attendance: recallsOnly, Number: req.Taken + 1, Recalls: dirs}, nil
		}
		select {
		case <-more:
		case <-timer.C:
			late = true
		case <-l.ctx.Done():
			return nil, s.notLeader("attend")
		case <-ctx.Done():
			return nil, s.ended(ctx)
		}
	}
}
