package master

import (
	"github.com/dsorchard/granary"
)

// loadOwner takes the record of an owner in a dataset.
func (a *audit) loadOwner(k, b []byte) {
	at := ownerKey{granary.DatasetID(keyID(k, 0)), granary.QuotaScope(keyID(k, 1)), uint32(keyID(k, 2))}
	r := decoded[ownerRecord](a, k, b)
	a.owners[at] = r
	if *r == (ownerRecord{}) {
		a.bad("%s %d in dataset %d has a record that says nothing", at.scope, at.id, at.dataset)
	}
}

// checkUsage recounts what datasets and owners have, which is exact in a state that format 2 began. A usage may be above
// its limit: that may have been set later.
func (a *audit) checkUsage() {
	datasets := map[granary.DatasetID]granary.Usage{}
	owners := map[ownerKey]ownerRecord{}
	for id, r := range a.inodes {
		if r.Lost != 0 {
			continue // it counts for nobody
		}
		d := datasets[id.Dataset()]
		d.Inodes++
		d.Bytes += uint64(r.charged())
		datasets[id.Dataset()] = d
		for _, at := range [...]ownerKey{{id.Dataset(), granary.QuotaUser, r.UID}, {id.Dataset(), granary.QuotaGroup, r.GID}} {
			o := owners[at]
			o.Inodes++
			o.Bytes += r.charged()
			owners[at] = o
			if a.owners[at] == nil {
				a.bad("%s %d in dataset %d has no record, and owns inode %d", at.scope, at.id, at.dataset, id)
			}
		}
	}
	for id, r := range a.assemblies {
		n := a.unmoved(id)
		d := datasets[id.Dataset()]
		d.Bytes -= n
		datasets[id.Dataset()] = d
		for _, at := range [...]ownerKey{{id.Dataset(), granary.QuotaUser, r.Dir.UID}, {id.Dataset(), granary.QuotaGroup, r.Dir.GID}} {
			o := owners[at]
			o.Bytes -= int64(n)
			owners[at] = o
		}
	}
	for id, r := range a.datasets {
		if is, counted := r.usage(), datasets[id]; is.Bytes != counted.Bytes || is.Inodes != counted.Inodes || r.Queued < 0 {
			a.bad("dataset %d has %d bytes and %d inodes, %d queued; counted %d and %d", id, is.Bytes, is.Inodes, r.Queued, counted.Bytes, counted.Inodes)
		}
		if name := a.rootNames[id]; name != r.Name && !r.Deleted {
			a.bad("dataset %d is called %q, its root %q", id, r.Name, name)
		}
	}
	for at, r := range a.owners {
		counted := owners[at]
		if r.Bytes != counted.Bytes || r.Inodes != counted.Inodes {
			a.bad("%s %d in dataset %d has %d bytes and %d inodes, counted %d and %d", at.scope, at.id, at.dataset, r.Bytes, r.Inodes, counted.Bytes, counted.Inodes)
		}
		if a.datasets[at.dataset] == nil && !a.forgotten[at.dataset] {
			a.bad("%s %d has a record in dataset %d, which is gone", at.scope, at.id, at.dataset)
		}
	}
}
