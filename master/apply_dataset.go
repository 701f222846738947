package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// datasetMax is the highest id of a dataset that inode ids have room for.
const datasetMax granary.DatasetID = 1<<24 - 1

// isDatasetRoot reports whether an inode is the root directory of a dataset.
func (r *inodeRecord) isDatasetRoot() bool { return r.Inode == r.Inode.Dataset().Root() }

// createDataset makes the root directory of a new dataset, in "/" or among the buckets. Deeper, a move of a directory
// above would take it to where nobody looks for a dataset, and each walk towards a root would have to cross it.
func (t *txn) createDataset(op *granary.CreateDataset) granary.Result {
	const name = "create dataset"
	if op.Parent != granary.RootInode && op.Parent != granary.BucketsInode {
		return failed(granary.KindInvalid, name, op.Name, "datasets can be made in / and in /%s only", granary.BucketsName)
	}
	if err := checkName(name, op.Name); err != nil {
		return granary.Result{Err: err}
	}
	dir, err := t.directory(name, op.Parent)
	if err != nil {
		return granary.Result{Err: err}
	}
	if t.find(dir.Inode, entryName{raw: op.Name}) != nil {
		return failed(granary.KindExists, name, op.Name, "")
	}
	err = t.mayAdd(name, op.Name, dir)
	if err == nil {
		err = t.guard(name, dir, op.Name, nil)
	}
	if err == nil {
		err = t.mayCreate(&granary.Create{Name: op.Name, Type: granary.TypeDirectory, UID: op.UID, GID: op.GID}, dir)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	root := &inodeRecord{Attr: granary.Attr{Mode: op.Mode & modeMask, UID: op.UID, GID: op.GID, Policy: dir.Policy}}
	inheritGroup(dir, root, true)
	if err := t.newDataset(name, root); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.inheritACL(name, dir, root, 0); err != nil {
		return granary.Result{Err: err}
	}
	t.addName(dir, op.Name, root)
	t.placesMade(dir.Inode, op.Name)
	t.noteMade(granary.ChangeCreate, dir, op.Name, root, 0, nil, false)
	return granary.Result{Attr: root.Attr, Created: true}
}

// newDataset makes a dataset with the next id. Its root has no name yet.
func (t *txn) newDataset(op string, root *inodeRecord) *granary.Error {
	if t.head.LastDataset >= datasetMax {
		return granary.Errorf(granary.KindTooLarge, op, "", "all ids of datasets have been used: there are %d", datasetMax)
	}
	t.head.LastDataset++
	t.addDataset(t.head.LastDataset, root)
	return nil
}

// addDataset makes a dataset with its root, whose attributes are given in part, and its hidden
// directory.
func (t *txn) addDataset(id granary.DatasetID, root *inodeRecord) *inodeRecord {
	t.datasets.get(t, id).NextInode = granary.InodeCounterFirst
	t.datasets.touch(id)
	root.Inode = id.Root()
	t.addInode(root, granary.TypeDirectory)
	system := &inodeRecord{Attr: granary.Attr{Inode: id.System(), Mode: 0o700, Policy: root.Policy, Parent: id.Root()}}
	t.addInode(system, granary.TypeDirectory)
	return root
}

// removeDataset removes a dataset that is empty. A bucket is, too, when it holds nothing but implicit directories: S3
// knows of none.
func (t *txn) removeDataset(dir, root *inodeRecord, name string) granary.Result {
	id := root.Inode.Dataset()
	if err := t.reachDataset("rmdir", id); err != nil {
		return granary.Result{Err: err}
	}
	system := t.inode(id.System())
	if system.Entries > 0 {
		return failed(granary.KindNotEmpty, "rmdir", name, "uploads are in progress")
	}
	left := emptyTreeMax
	empty := root.Entries == 0 && root.Versions == 0 || dir.Inode == granary.BucketsInode && t.emptyTree(root, &left)
	if !empty {
		return failed(granary.KindNotEmpty, "rmdir", name, "")
	}
	err := t.guardBelow("rmdir", name, root)
	if err == nil {
		err = t.endPlacesBelow("rmdir", name, root)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	t.removeName(dir, name, root)
	t.placesLost(dir.Inode, name, root)
	t.noteRemoved(granary.ChangeRmdir, dir, name, root)
	t.datasets.get(t, id).Deleted = true
	t.datasets.touch(id)
	t.dispose(root)
	t.dispose(system)
	return granary.Result{}
}

// setQuota limits a dataset, or what somebody owns in it. A limit below the usage is one that stops all growth.
func (t *txn) setQuota(cred *granary.Cred, op *granary.SetQuota) granary.Result {
	const name = "set quota"
	subject := fmt.Sprint(op.Dataset)
	d := t.datasets.get(t, op.Dataset)
	switch {
	case cred.UID != 0:
		return failed(granary.KindPermission, name, subject, "only the superuser sets quotas")
	case d.NextInode == 0 || d.Deleted:
		return failed(granary.KindNotFound, name, subject, "no such dataset")
	}
	if op.Limit != (granary.Quota{}) { // who holds a directory does not know of it
		if err := t.reachDataset(name, op.Dataset); err != nil {
			return granary.Result{Err: err}
		}
	}
	switch op.Scope {
	case granary.QuotaDataset:
		if op.ID != 0 {
			return failed(granary.KindInvalid, name, subject, "the quota of a dataset names no owner, but %d", op.ID)
		}
		d.Limit = op.Limit
		t.datasets.touch(op.Dataset)
	case granary.QuotaUser, granary.QuotaGroup:
		k := ownerKey{op.Dataset, op.Scope, op.ID}
		t.owners.get(t, k).Limit = op.Limit
		t.owners.touch(k)
	default:
		return failed(granary.KindInvalid, name, subject, "%s is not known", op.Scope)
	}
	return granary.Result{}
}
