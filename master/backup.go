package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// ReadBackup implements wire.Master.
func (s *Server) ReadBackup(context.Context, *granary.ReadBackup) (*granary.BackupPiece, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "read backup", "", "")
}
