package master

import (
	"github.com/dsorchard/granary"
)

// allocate changes a range of a file as fallocate(2) does.
func (t *txn) allocate(op *granary.Allocate) granary.Result {
	return failed(granary.KindNotSupported, "allocate", op.Inode.String(), "")
}
