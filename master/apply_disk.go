package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

// disk returns what was decided about a disk; of one that nothing was decided about it is active.
func (t *txn) disk(id granary.DiskID) diskRecord {
	if r := fetch[diskRecord](t, keyDisk(id)); r != nil {
		return *r
	}
	return diskRecord{State: granary.DiskActive}
}

// eachServer calls f for all servers by id, until it says false.
func (t *txn) eachServer(f func(granary.ServerID, *serverRecord) bool) {
	t.scan(key(tableServer), keyEnd(key(tableServer)), func(k, b []byte) bool {
		r, err := unmarshal[serverRecord](b)
		must(err)
		return f(granary.ServerID(k[1:]), r)
	})
}

// registered reports whether a server has the disk.
func (t *txn) registered(id granary.DiskID) (found bool) {
	t.eachServer(func(_ granary.ServerID, r *serverRecord) bool {
		found = slices.Contains(r.Disks, id)
		return !found
	})
	return found
}

// setDisk changes what is done with a disk, or its class.
func (t *txn) setDisk(op *granary.SetDisk) granary.Result {
	const name = "set disk"
	subject := string(op.Disk)
	if err := t.onlySuper(name, subject); err != nil {
		return granary.Result{Err: err}
	}
	switch {
	case op.State > granary.DiskLost || op.State == 0 && op.Class == nil:
		return failed(granary.KindInvalid, name, subject, "nothing to change, or state %d, which there is not", op.State)
	case len(op.Reason) > granary.PathLengthMax:
		return failed(granary.KindTooLarge, name, subject, "a reason of %d bytes, of %d at most", len(op.Reason), granary.PathLengthMax)
	case op.Class != nil && len(*op.Class) > granary.ClassLengthMax:
		return failed(granary.KindTooLarge, name, subject, "a class of %d bytes, of %d at most", len(*op.Class), granary.ClassLengthMax)
	case !t.registered(op.Disk) && t.get(keyDisk(op.Disk)) == nil:
		return failed(granary.KindNotFound, name, subject, "no server has had the disk")
	}
	if op.State == granary.DiskRetired {
		if err := t.holdsNothing(name, op.Disk); err != nil {
			return granary.Result{Err: err}
		}
	}
	r := t.disk(op.Disk)
	if op.State != 0 {
		if r.State != op.State {
			r.Since = t.now
		}
		r.State, r.Reason = op.State, op.Reason
	}
	if op.Class != nil {
		r.Class = *op.Class
	}
	store(t, keyDisk(op.Disk), &r)
	t.serversChanged = true
	return granary.Result{}
}

// holdsNothing refuses what is for disks without shards.
func (t *txn) holdsNothing(op string, disk granary.DiskID) *granary.Error {
	if t.head.IndexVolume != 0 {
		return granary.Errorf(granary.KindBusy, op, string(disk), "which disks hold something is still being found out, after an upgrade")
	}
	if v := t.holding(disk); v != 0 {
		return granary.Errorf(granary.KindNotEmpty, op, string(disk), "volume %d, at least, has a shard on it, or a copy of one is being made there", v)
	}
	return nil
}

// forgetServer removes a server that holds nothing, and what was decided about its disks.
func (t *txn) forgetServer(op *granary.ForgetServer) granary.Result {
	const name = "forget server"
	if err := t.onlySuper(name, string(op.Server)); err != nil {
		return granary.Result{Err: err}
	}
	r := fetch[serverRecord](t, keyServer(op.Server))
	if op.Server == "" || r == nil {
		return failed(granary.KindNotFound, name, string(op.Server), "no such server")
	}
	for _, disk := range r.Disks {
		if err := t.holdsNothing(name, disk); err != nil {
			return granary.Result{Err: err}
		}
	}
	for _, disk := range r.Disks {
		t.del(keyDisk(disk))
	}
	t.del(keyServer(op.Server))
	if t.get(keyAbsent(op.Server)) != nil { // or a node of a release without it would have written something else
		t.del(keyAbsent(op.Server))
	}
	t.serversChanged = true
	return granary.Result{}
}

// forgetDisk removes a disk that holds nothing and is out of use, and what was decided about it.
func (t *txn) forgetDisk(op *granary.ForgetDisk) granary.Result {
	const name = "forget disk"
	subject := string(op.Disk)
	if err := t.onlySuper(name, subject); err != nil {
		return granary.Result{Err: err}
	}
	registered := t.registered(op.Disk)
	if op.Disk == "" || !registered && t.get(keyDisk(op.Disk)) == nil {
		return failed(granary.KindNotFound, name, subject, "no such disk")
	}
	if d := t.disk(op.Disk); d.State != granary.DiskRetired && d.State != granary.DiskLost {
		return failed(granary.KindBusy, name, subject, "the disk is %s: only one that is retired or lost is forgotten", d.State)
	}
	if err := t.holdsNothing(name, op.Disk); err != nil {
		return granary.Result{Err: err}
	}
	t.del(keyDisk(op.Disk))
	if registered {
		t.takeDisks(&granary.Server{Disks: []granary.DiskID{op.Disk}})
	}
	t.serversChanged = true
	return granary.Result{}
}

// serversAbsent notes for how long servers have been away. Those that are not known any more are passed over.
func (t *txn) serversAbsent(it *serversAbsent) granary.Result {
	for _, s := range it.Servers {
		switch {
		case t.get(keyServer(s.Server)) == nil:
		case s.For <= 0:
			t.del(keyAbsent(s.Server))
		default:
			store(t, keyAbsent(s.Server), &numberRecord{uint64(s.For)})
		}
	}
	return granary.Result{}
}

// setUpkeep changes how the cluster maintains itself.
func (t *txn) setUpkeep(op *granary.SetUpkeep) granary.Result {
	const name = "set upkeep"
	if err := t.onlySuper(name, ""); err != nil {
		return granary.Result{Err: err}
	}
	if err := op.Upkeep.Validate(); err != nil {
		return failed(granary.KindInvalid, name, "", "%w", err)
	}
	store(t, keyUpkeep(), &upkeepRecord{op.Upkeep})
	return granary.Result{}
}
