package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// AwaitLock implements wire.Master.
func (s *Server) AwaitLock(_ context.Context, req *granary.AwaitLock) (granary.LockOutcome, error) {
	return granary.LockOutcome{}, granary.Errorf(granary.KindNotSupported, "await lock", req.Key.Inode.String(), "this master keeps no locks")
}
