package master

import (
	"github.com/dsorchard/granary"
)

// createDataset makes the root directory of a new dataset.
func (t *txn) createDataset(op *granary.CreateDataset) granary.Result {
	return failed(granary.KindNotSupported, "create dataset", op.Name, "")
}

// setQuota limits a dataset, or what somebody owns in it.
func (t *txn) setQuota(*granary.SetQuota) granary.Result {
	return failed(granary.KindNotSupported, "set quota", "", "")
}
