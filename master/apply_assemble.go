package master

import (
	"github.com/dsorchard/granary"
)

// assemble makes one file of the content of others.
func (t *txn) assemble(_ granary.SessionID, op *granary.Assemble) granary.Result {
	return failed(granary.KindNotSupported, "assemble", op.Create.Name, "")
}
