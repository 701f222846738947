package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// checkUsage recounts what datasets and owners have from the inodes, and compares every limit with nothing: a limit may
// be below the usage. The sums are exact only in a state that format 2 began.
func checkUsage(s *state) error {
	owners := map[ownerKey]ownerRecord{}
	datasets := map[granary.DatasetID]granary.Usage{}
	s.each(key(tableInode), func(k, b []byte) {
		r, err := unmarshal[inodeRecord](b)
		must(err)
		if r.Lost != 0 {
			return
		}
		id := granary.InodeID(keyID(k, 0)).Dataset()
		d := datasets[id]
		d.Inodes++
		d.Bytes += uint64(r.charged())
		datasets[id] = d
		for _, owner := range []ownerKey{{id, granary.QuotaUser, r.UID}, {id, granary.QuotaGroup, r.GID}} {
			o := owners[owner]
			o.Inodes++
			o.Bytes += r.charged()
			owners[owner] = o
		}
	})
	var bad error
	s.each(key(tableDataset), func(k, b []byte) {
		r, err := unmarshal[datasetRecord](b)
		must(err)
		id := granary.DatasetID(keyID(k, 0))
		if is := r.usage(); is.Bytes != datasets[id].Bytes || is.Inodes != datasets[id].Inodes || r.Queued < 0 {
			bad = firstError(bad, fmt.Errorf("dataset %d has %+v (%d queued), counted %+v", id, is, r.Queued, datasets[id]))
		}
		if name := rootName(s, id); name != r.Name && !r.Deleted {
			bad = firstError(bad, fmt.Errorf("dataset %d is called %q, its root %q", id, r.Name, name))
		}
	})
	s.each(key(tableOwner), func(k, b []byte) {
		r, err := unmarshal[ownerRecord](b)
		must(err)
		at := ownerKey{granary.DatasetID(keyID(k, 0)), granary.QuotaScope(keyID(k, 1)), uint32(keyID(k, 2))}
		counted := owners[at]
		delete(owners, at)
		if r.Bytes != counted.Bytes || r.Inodes != counted.Inodes {
			bad = firstError(bad, fmt.Errorf("%+v has %+v, counted %+v", at, *r, counted))
		}
		if *r == (ownerRecord{}) {
			bad = firstError(bad, fmt.Errorf("%+v has a record that says nothing", at))
		}
		if one[datasetRecord](s, keyDataset(at.dataset)) == nil && !s.pendingReclaim() {
			bad = firstError(bad, fmt.Errorf("%+v is left of a dataset that is gone", at))
		}
	})
	for at, counted := range owners {
		bad = firstError(bad, fmt.Errorf("%+v has no record, counted %+v", at, counted))
	}
	return bad
}

// rootName finds the name that leads to the root of a dataset.
func rootName(s *state, id granary.DatasetID) (name string) {
	root := one[inodeRecord](s, keyInode(id.Root()))
	if root == nil {
		return ""
	}
	s.each(key(tableDentry, uint64(root.Parent)), func(k, b []byte) {
		r, err := unmarshal[dentryRecord](b)
		must(err)
		if r.Inode == id.Root() {
			name, _ = dentryName(k)
		}
	})
	return name
}

// usages returns all that is kept of usage, by what it is of.
func usages(s *state) map[ownerKey]granary.Usage {
	all := map[ownerKey]granary.Usage{}
	s.each(key(tableDataset), func(k, b []byte) {
		r, err := unmarshal[datasetRecord](b)
		must(err)
		all[ownerKey{dataset: granary.DatasetID(keyID(k, 0))}] = r.usage()
	})
	s.each(key(tableOwner), func(k, b []byte) {
		r, err := unmarshal[ownerRecord](b)
		must(err)
		at := ownerKey{granary.DatasetID(keyID(k, 0)), granary.QuotaScope(keyID(k, 1)), uint32(keyID(k, 2))}
		all[at] = r.usage(at.id)
	})
	return all
}
