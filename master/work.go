package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// Work implements wire.Master.
func (s *Server) Work(ctx context.Context, req *granary.WorkRequest) (*granary.WorkReply, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "work", req.Worker, "")
}
