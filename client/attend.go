package client

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// attend asks what the session is to give back, until it is lost or ctx ends.
func (s *session) attend(ctx context.Context) {
	req := granary.Attend{Session: s.id}
	for ctx.Err() == nil && !s.isLost() {
		var n *granary.Notices
		var sent time.Time
		err := s.c.leadSlowly(ctx, "attend", 10*time.Second, func(ctx context.Context, m wire.Master) (err error) {
			sent = time.Now()
			n, err = m.Attend(ctx, &req)
			return err
		})
		switch {
		case granary.IsKind(err, granary.KindExpired):
			s.lose()
			return
		case err != nil:
			sleep(ctx, backoffMax)
			continue
		}
		s.lives(sent)
		req.Attendance, req.Taken = n.Attendance, n.Number
		if len(n.Recalls) > 0 {
			s.c.o.OnRecall(n.Recalls)
		}
	}
}
