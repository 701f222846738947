package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// ReadIndex implements wire.Master.
func (s *Server) ReadIndex(context.Context) (granary.Index, error) {
	return 0, granary.Errorf(granary.KindNotSupported, "read index", "", "")
}
