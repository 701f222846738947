package master

import (
	"github.com/dsorchard/granary"
)

func (v *view) listDatasets(*granary.ListDatasets) (granary.Answer, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "list datasets", "", "")
}

func (v *view) listUsage(*granary.ListUsage) (granary.Answer, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "list usage", "", "")
}
