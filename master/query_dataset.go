package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// listDatasets lists datasets by id.
func (v *view) listDatasets(q *granary.ListDatasets) (granary.Answer, error) {
	limit := q.Limit
	if limit <= 0 || limit > granary.ReadDirMax {
		limit = granary.ReadDirMax
	}
	a := &granary.Datasets{}
	err := v.scan(keyDataset(q.After+1), keyEnd(key(tableDataset)), func(k, b []byte) (bool, error) {
		d, err := unmarshal[datasetRecord](b)
		switch {
		case err != nil:
			return false, errStore(k, err)
		case d.Deleted:
			return true, nil
		case len(a.Datasets) == limit:
			a.More = true
			return false, nil
		}
		id := granary.DatasetID(keyID(k, 0))
		root, err := v.child(id.Root())
		if err != nil {
			return false, err
		}
		a.Datasets = append(a.Datasets, granary.Dataset{ID: id, Parent: root.Parent, Name: d.Name, Root: root.Attr, Usage: d.usage()})
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// listUsage lists the owners in a dataset by id: all that own something or have a limit.
func (v *view) listUsage(q *granary.ListUsage) (granary.Answer, error) {
	subject := fmt.Sprint(q.Dataset)
	if q.Scope != granary.QuotaUser && q.Scope != granary.QuotaGroup {
		return nil, granary.Errorf(granary.KindInvalid, "list usage", subject, "by user or by group, not by %s", q.Scope)
	}
	d, err := read[datasetRecord](v, keyDataset(q.Dataset))
	switch {
	case err != nil:
		return nil, err
	case d == nil || d.Deleted:
		return nil, granary.Errorf(granary.KindNotFound, "list usage", subject, "no such dataset")
	}
	limit := q.Limit
	if limit <= 0 || limit > granary.ReadDirMax {
		limit = granary.ReadDirMax
	}
	a := &granary.Usages{}
	from := keyOwner(ownerKey{q.Dataset, q.Scope, q.From})
	err = v.scan(from, keyEnd(key(tableOwner, uint64(q.Dataset), uint64(q.Scope))), func(k, b []byte) (bool, error) {
		if len(a.Usages) == limit {
			a.More = true
			return false, nil
		}
		r, err := unmarshal[ownerRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		a.Usages = append(a.Usages, r.usage(uint32(keyID(k, 2))))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// inodeIDsMax is how many inode ids a dataset has.
const inodeIDsMax = 1 << 40

// statDataset makes the answer to StatFS that of the dataset, where it has less than the cluster.
func (v *view) statDataset(id granary.DatasetID, a *granary.FSStats) error {
	d, err := read[datasetRecord](v, keyDataset(id))
	if err != nil || d == nil {
		return err
	}
	a.FilesFree = inodeIDsMax - min(d.NextInode, inodeIDsMax)
	used := d.usage()
	if used.Limit == (granary.Quota{}) {
		return nil
	}
	a.Files = used.Inodes
	if l := used.Limit.Inodes; l != 0 {
		a.FilesFree = min(a.FilesFree, l-min(l, used.Inodes))
	}
	if l := used.Limit.Bytes; l != 0 {
		a.Bytes, a.BytesFree = min(a.Bytes, l), min(a.BytesFree, l-min(l, used.Bytes))
	}
	return nil
}
