package wire

import "github.com/dsorchard/granary"

// The ops of delegations, and what is said of one that was done under them.

func (f *fields) under(u *granary.Under) {
	unsigned(f, 1, &u.Order)
	unsigned(f, 2, &u.Fence)
	signed(f, 3, &u.At)
}

func (f *fields) leaseInodes(o *granary.LeaseInodes) {
	unsigned(f, 1, &o.Dataset)
	unsigned(f, 2, &o.Count)
}

func (f *fields) takeDelegation(o *granary.TakeDelegation) { unsigned(f, 1, &o.Inode) }

func (f *fields) returnDelegation(o *granary.ReturnDelegation) { numbers(f, 1, &o.Inodes) }

func (f *fields) delegated(d *granary.Delegated) { numbers(f, 1, &d.Inodes) }

func inodesTo(ids []granary.InodeID) []uint64 {
	if ids == nil {
		return nil
	}
	all := make([]uint64, len(ids))
	for i, id := range ids {
		all[i] = uint64(id)
	}
	return all
}

func inodesFrom(all []uint64) []granary.InodeID {
	if len(all) == 0 {
		return nil
	}
	ids := make([]granary.InodeID, len(all))
	for i, id := range all {
		ids[i] = granary.InodeID(id)
	}
	return ids
}
