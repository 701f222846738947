package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// ownerKey names what a user or group owns in a dataset.
type ownerKey struct {
	dataset granary.DatasetID
	scope   granary.QuotaScope
	id      uint32
}

func keyOwner(k ownerKey) []byte {
	return key(tableOwner, uint64(k.dataset), uint64(k.scope), uint64(k.id))
}

// charged is how many bytes an inode counts for: the size of a regular file, holes included.
func (r *inodeRecord) charged() int64 {
	if r.Type != granary.TypeRegular {
		return 0
	}
	return int64(r.Size)
}

// charge adds to what the owners of an inode have in its dataset; the dataset's own sums are the caller's.
func (t *txn) charge(r *inodeRecord, inodes, bytes int64) {
	id := r.Inode.Dataset()
	t.chargeOwner(ownerKey{id, granary.QuotaUser, r.UID}, inodes, bytes)
	t.chargeOwner(ownerKey{id, granary.QuotaGroup, r.GID}, inodes, bytes)
}

func (t *txn) chargeOwner(k ownerKey, inodes, bytes int64) {
	o := t.owners.get(t, k)
	o.Inodes += inodes
	o.Bytes += bytes
	t.owners.touch(k)
}

// chown gives an inode to others, with what it counts for.
func (t *txn) chown(r *inodeRecord, uid, gid uint32) {
	if r.Lost != 0 {
		r.UID, r.GID = uid, gid // it counts for nobody
		return
	}
	move := func(scope granary.QuotaScope, from, to uint32) {
		if from == to {
			return
		}
		id := r.Inode.Dataset()
		t.chargeOwner(ownerKey{id, scope, from}, -1, -r.charged())
		t.chargeOwner(ownerKey{id, scope, to}, 1, r.charged())
	}
	move(granary.QuotaUser, r.UID, uid)
	move(granary.QuotaGroup, r.GID, gid)
	r.UID, r.GID = uid, gid
}

// checkQuotas refuses what the item did so far, if it brought a usage above its limit. Only the sum of all that the item
// does counts; a usage that did not grow is never refused, even above a limit that was set below it.
func (t *txn) checkQuotas(op string) *granary.Error {
	for _, id := range t.datasets.changed {
		a := t.datasets.held[id]
		if what := exceeded(a.kept.usage(), a.now.usage()); what != "" {
			return t.overQuota(op, ownerKey{dataset: id}, what)
		}
	}
	for _, k := range t.owners.changed {
		a := t.owners.held[k]
		if what := exceeded(a.kept.usage(k.id), a.now.usage(k.id)); what != "" {
			return t.overQuota(op, k, what)
		}
	}
	for _, r := range t.grown {
		if err := t.checkGrown(op, r); err != nil {
			return err
		}
	}
	return nil
}

// checkGrown refuses the growth of a file without a name beyond what quotas leave for one file. It counts for nobody, so
// that what takes a last name gives back space at once; but who has it open must not put into it what has no place in
// the dataset.
func (t *txn) checkGrown(op string, r *inodeRecord) *granary.Error {
	id := r.Inode.Dataset()
	for _, k := range [...]ownerKey{{dataset: id}, {id, granary.QuotaUser, r.UID}, {id, granary.QuotaGroup, r.GID}} {
		was := t.datasets.get(t, id).usage()
		if k.scope != granary.QuotaDataset {
			was = t.owners.get(t, k).usage(k.id)
		}
		is := was
		is.Bytes += r.Size
		if what := exceeded(was, is); what != "" {
			return t.overQuota(op, k, what+", with the file that has no name any more")
		}
	}
	return nil
}

func (t *txn) overQuota(op string, k ownerKey, what string) *granary.Error {
	whose := "dataset " + t.datasetName(k.dataset)
	if k.scope != granary.QuotaDataset {
		whose = fmt.Sprintf("%s %d in %s", k.scope, k.id, whose)
	}
	return granary.Errorf(granary.KindQuota, op, "", "%s would have %s", whose, what)
}

// exceeded says which limit a change of usage breaks; "" for none.
func exceeded(was, is granary.Usage) string {
	switch {
	case is.Limit.Bytes != 0 && is.Bytes > was.Bytes && is.Bytes > is.Limit.Bytes:
		return fmt.Sprintf("%d bytes, of %d at most", is.Bytes, is.Limit.Bytes)
	case is.Limit.Inodes != 0 && is.Inodes > was.Inodes && is.Inodes > is.Limit.Inodes:
		return fmt.Sprintf("%d inodes, of %d at most", is.Inodes, is.Limit.Inodes)
	}
	return ""
}

// datasetName is how errors call a dataset.
func (t *txn) datasetName(id granary.DatasetID) string {
	if id == granary.RootDataset {
		return "/"
	}
	if name := t.datasets.get(t, id).Name; name != "" {
		return name
	}
	return fmt.Sprint(id)
}

// ownersForgottenMax bounds the records of owners that the end of a dataset deletes itself; reclaim does the rest.
const ownersForgottenMax = 500

// endDataset removes a dataset whose last inode is gone: its record, and the limits of its owners.
func (t *txn) endDataset(id granary.DatasetID) {
	t.datasets.remove(t, id)
	left := ownersForgottenMax
	if !t.forgetOwners(id, &left) {
		enqueue(t, queueOwners, uint64(id), &numberRecord{})
	}
}

// forgetOwners deletes the records of the owners in a dataset that is gone, as many as are left to delete.
func (t *txn) forgetOwners(id granary.DatasetID, left *int) bool {
	for k := range t.owners.held { // or they would be written again
		if k.dataset == id {
			t.owners.forget(k)
		}
	}
	return t.deleteRange(key(tableOwner, uint64(id)), left)
}
