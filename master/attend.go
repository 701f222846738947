package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// Attend implements wire.Master.
func (s *Server) Attend(context.Context, *granary.Attend) (*granary.Notices, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "attend", "", "sessions are not told of changes")
}
