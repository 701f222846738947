package master

import (
	"github.com/dsorchard/granary"
)

// emptyTreeMax bounds how many implicit directories the removal of a bucket looks through.
const emptyTreeMax = 1000

// unlink removes a name that is not a directory's.
func (t *txn) unlink(op *granary.Unlink) granary.Result {
	steps, err := t.unlinkSteps(op)
	if err != nil {
		return granary.Result{Err: err}
	}
	last := steps[len(steps)-1]
	if op.Object != 0 {
		return t.unlinkVersion(op, steps)
	}
	r := t.leadsTo(t.look(last.dir.Inode, last.name), last.dir, last.name, op.Key)
	if err := t.reach("unlink", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch("unlink", op.Name, op.Match, r); err != nil {
		return granary.Result{Err: err}
	}
	keeps := t.versioning(last.dir)
	if r == nil && op.Key && keeps != 0 {
		err := t.mayAdd("unlink", op.Name, last.dir)
		if err == nil {
			err = t.guard("unlink", last.dir, last.name.raw, nil)
		}
		if err != nil {
			return granary.Result{Err: err}
		}
		return t.unlinkedTo(last.dir, last.name.raw, nil, keeps)
	}
	if r == nil {
		return failed(granary.KindNotFound, "unlink", op.Name, "")
	}
	if err := t.mayRemove("unlink", op.Name, last.dir, r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.guard("unlink", last.dir, last.name.raw, r); err != nil {
		return granary.Result{Err: err}
	}
	switch {
	case r == last.dir && keeps != 0:
		r = t.markToFile(last.dir)
	case r == last.dir: // the object is a mark on its directory
		return t.unmark(steps)
	case r.IsDir() && op.Prune && r.Flags&granary.FlagMarker != 0:
		return t.unmark(append(steps, step{dir: r}))
	case r.IsDir():
		return failed(granary.KindIsDir, "unlink", op.Name, "")
	}
	if err := t.mayRetire("unlink", op.Name, last.dir, last.name.raw, r, keeps); err != nil {
		return granary.Result{Err: err}
	}
	t.retire(last.dir, last.name.raw, r, keeps)
	if keeps != 0 && r.Type == granary.TypeRegular {
		return t.unlinkedTo(last.dir, last.name.raw, r, keeps)
	}
	t.noteName(granary.ChangeUnlink, last.dir, last.name.raw, r)
	attr := r.Attr
	if op.Prune {
		t.prune(steps)
	}
	return granary.Result{Attr: attr}
}

// unlinkedTo makes a delete marker the newest version of an object: over a file, or over nothing.
func (t *txn) unlinkedTo(dir *inodeRecord, name string, r *inodeRecord, v versioning) granary.Result {
	attr := t.deleteMarker(dir, name, v)
	var inode granary.InodeID
	if r != nil {
		inode = r.Inode
	}
	t.noteVersion(granary.ChangeDeleteMarker, dir, name, inode, attr.Object)
	return granary.Result{Attr: attr, Marker: true}
}

func (t *txn) unlinkSteps(op *granary.Unlink) ([]step, *granary.Error) {
	if op.Path || op.Key {
		var owner *granary.Attr // of the directories that a delete marker needs
		if op.Key && op.Object == 0 && t.datasets.get(t, op.Parent.Dataset()).Versioning != 0 {
			if base := t.inode(op.Parent); base != nil {
				owner = &base.Attr
			}
		}
		return t.walk("unlink", op.Parent, op.Name, op.Key, owner)
	}
	dir, name, err := t.parentOf("unlink", op.Parent, op.Name, false, false, nil)
	return []step{{dir, name}}, err
}

// unmark removes the object "name/" that S3 put on a directory, and the attributes that the store
// keeps for it; the directory is an implicit one again. The last step is the directory itself.
func (t *txn) unmark(steps []step) granary.Result {
	r := steps[len(steps)-1].dir
	t.clearMark(r)
	t.noteInode(granary.ChangeUnmark, r, "")
	attr := r.Attr
	t.prune(steps)
	return granary.Result{Attr: attr}
}

// clearMark takes the mark of an object, and what the store keeps for it, from a directory.
func (t *txn) clearMark(r *inodeRecord) {
	r.Flags = r.Flags&^granary.FlagMarker | granary.FlagImplicit
	r.Ctime = t.now
	t.touch(r)
	if r.Xattrs > 0 {
		prefix := keyXattr(r.Inode, xattrStore)
		t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
			t.dropXattr(r, string(k[9:]))
			return true
		})
	}
}

// prune removes the implicit directories that are empty, from the end of a path towards its base.
// The base itself stays.
func (t *txn) prune(steps []step) {
	for i := len(steps) - 1; i > 0; i-- {
		dir, above := steps[i].dir, steps[i-1]
		if dir.Entries > 0 || dir.Versions > 0 || dir.Flags&granary.FlagImplicit == 0 || dir.Inode == dir.Inode.Dataset().Root() {
			return
		}
		if t.mayRemove("unlink", above.name.raw, above.dir, dir) != nil || t.guard("unlink", above.dir, above.name.raw, dir) != nil {
			return // it stays, as any other empty directory
		}
		t.removeName(above.dir, above.name.raw, dir)
		t.placesLost(above.dir.Inode, above.name.raw, dir)
		t.noteRemoved(granary.ChangeRmdir, above.dir, above.name.raw, dir)
		t.dispose(dir)
	}
}

// rmdir removes an empty directory, or a dataset without content.
func (t *txn) rmdir(op *granary.Rmdir) granary.Result {
	dir, r, name, err := t.victim("rmdir", op.Parent, op.Name)
	if err == nil {
		err = t.mayRemove("rmdir", op.Name, dir, r)
	}
	if err == nil {
		err = t.guard("rmdir", dir, name, r)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	switch {
	case !r.IsDir():
		return failed(granary.KindNotDir, "rmdir", op.Name, "")
	case r.isDatasetRoot():
		return t.removeDataset(dir, r, name)
	case r.Entries > 0:
		return failed(granary.KindNotEmpty, "rmdir", op.Name, "")
	case r.Versions > 0:
		return failed(granary.KindNotEmpty, "rmdir", op.Name, "it holds %d earlier versions of objects", r.Versions)
	}
	t.removeName(dir, name, r)
	t.placesLost(dir.Inode, name, r)
	t.noteRemoved(granary.ChangeRmdir, dir, name, r)
	t.dispose(r)
	return granary.Result{}
}

// victim finds an entry that shall be removed or moved, and its name as the directory has it.
func (t *txn) victim(op string, parent granary.InodeID, shown string) (dir, r *inodeRecord, name string, err *granary.Error) {
	dir, entry, err := t.parentOf(op, parent, shown, false, false, nil)
	if err != nil {
		return nil, nil, "", err
	}
	d := t.look(parent, entry)
	if d == nil {
		return nil, nil, "", granary.Errorf(granary.KindNotFound, op, shown, "")
	}
	if d.Inode == granary.BucketsInode {
		return nil, nil, "", granary.Errorf(granary.KindNotOwner, op, shown, "the directory of buckets stays where it is")
	}
	r = t.inode(d.Inode)
	return dir, r, entry.raw, t.reach(op, r)
}

// emptyTree reports whether a directory holds implicit directories only, all the way down. More of
// them than left count as content.
func (t *txn) emptyTree(r *inodeRecord, left *int) bool {
	if r.Entries > r.Subdirs || r.Versions > 0 {
		return false
	}
	empty := true
	prefix := key(tableDentry, uint64(r.Inode))
	t.scan(prefix, keyEnd(prefix), func(_, v []byte) bool {
		d, err := unmarshal[dentryRecord](v)
		must(err)
		child := t.inode(d.Inode)
		*left--
		empty = *left > 0 && child.Flags&granary.FlagImplicit != 0 && t.emptyTree(child, left)
		return empty
	})
	return empty
}

// removeTree unlinks whatever the name leads to; what is below goes by way of the queue, and counts for its owners and
// the dataset until reclaim comes to it. A dataset is not removed so: nothing but its own removal may end it. Nobody looks
// at what is below, so a directory that holds something is the superuser's to remove so: others remove entry by entry.
func (t *txn) removeTree(op *granary.RemoveTree) granary.Result {
	dir, r, name, err := t.victim("remove tree", op.Parent, op.Name)
	if err == nil {
		err = t.mayRemove("remove tree", op.Name, dir, r)
	}
	if err == nil && r.IsDir() {
		err = t.reachBelow("remove tree", r.Inode)
	}
	switch {
	case err != nil:
		return granary.Result{Err: err}
	case r.isDatasetRoot():
		return failed(granary.KindNotOwner, "remove tree", op.Name, "a bucket or dataset is removed when it is empty: remove what is in it first")
	case r.IsDir() && r.Entries+r.Versions > 0 && t.versioning(dir) != 0:
		return failed(granary.KindNotOwner, "remove tree", op.Name, "the bucket keeps versions: what is in it is removed entry by entry")
	case r.IsDir() && r.Entries > 0 && !t.super():
		return failed(granary.KindNotOwner, "remove tree", op.Name, "only the superuser removes a directory with all that is in it")
	}
	if err = t.guard("remove tree", dir, name, r); err == nil && r.IsDir() {
		err = t.guardBelow("remove tree", op.Name, r)
	}
	if err == nil && r.IsDir() {
		err = t.endPlacesBelow("remove tree", op.Name, r)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	if r.IsDir() {
		t.removeName(dir, name, r)
		t.placesLost(dir.Inode, name, r)
		t.noteRemoved(granary.ChangeRemoveTree, dir, name, r)
		t.dispose(r)
		return granary.Result{}
	}
	keeps := t.versioning(dir)
	if err := t.mayRetire("remove tree", op.Name, dir, name, r, keeps); err != nil {
		return granary.Result{Err: err}
	}
	t.retire(dir, name, r, keeps)
	if keeps != 0 && r.Type == granary.TypeRegular {
		t.unlinkedTo(dir, name, r, keeps)
	} else {
		t.noteName(granary.ChangeUnlink, dir, name, r)
	}
	return granary.Result{}
}

// release gives up an inode without a name that the session kept.
func (t *txn) release(session granary.SessionID, op *granary.Release) granary.Result {
	k := keyOrphan(session, op.Inode)
	if t.get(k) == nil {
		return failed(granary.KindNotFound, "release", op.Inode.String(), "the session keeps no such inode")
	}
	t.del(k)
	t.lose(t.inode(op.Inode))
	return granary.Result{}
}
