package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// Identify implements wire.Master.
func (s *Server) Identify(context.Context) (*granary.MasterIdentity, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "identify", "", "")
}

// ChangeMember implements wire.Master.
func (s *Server) ChangeMember(context.Context, *granary.MemberChange) error {
	return granary.Errorf(granary.KindNotSupported, "change member", "", "")
}
