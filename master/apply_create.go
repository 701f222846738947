package master

import "github.com/dsorchard/granary"

// inheritGroup applies a set-group-id directory to what is made in it.
func inheritGroup(dir, child *inodeRecord, isDir bool) {
	if dir.Mode&modeSGID == 0 {
		return
	}
	child.GID = dir.GID
	if isDir {
		child.Mode |= modeSGID
	}
}

// create makes an inode and its name.
func (t *txn) create(session granary.SessionID, op *granary.Create) granary.Result {
	return t.createSized(session, op, 0)
}

// createSized is create of a file that will have the size that is given, if it is not what the content has.
func (t *txn) createSized(session granary.SessionID, op *granary.Create, size uint64) granary.Result {
	if err := checkCreate(op); err != nil {
		return granary.Result{Err: err}
	}
	if op.Anonymous {
		return t.createAnonymous(session, op)
	}
	dir, entry, err := t.createIn(op)
	if err != nil {
		return granary.Result{Err: err}
	}
	name := entry.raw
	old := t.target(dir, entry, op.Key)
	if err := t.reach("create", old); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch("create", op.Name, op.Match, old); err != nil {
		return granary.Result{Err: err}
	}
	marked := old == dir // the object is a mark on its directory
	switch {
	case marked && t.versioning(dir) != 0:
		marked, old = false, t.markToFile(dir)
	case t.versioning(dir) != 0:
	case marked || old == nil && op.Key && name == "":
		if empty(op.Content) {
			return t.markAgain(op, dir, marked)
		}
		old = nil
	}
	if old != nil && !mayReplace(op, old) {
		return t.createOver(op, old)
	}
	keeps := t.versioning(dir)
	if err := t.mayRetire("create", op.Name, dir, name, old, keeps); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.mayPut(op, name, dir, old); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.guard("create", dir, name, old); err != nil {
		return granary.Result{Err: err}
	}
	if op.Type == granary.TypeDirectory && t.depth(dir) >= granary.PathDepthMax {
		return failed(granary.KindInvalid, "create", op.Name, "more than %d directories deep", granary.PathDepthMax)
	}
	r, err := t.createInode(session, op, dir)
	if err != nil {
		return granary.Result{Err: err}
	}
	if old != nil {
		t.retire(dir, name, old, keeps)
	}
	if marked {
		t.clearMark(dir)
	}
	t.supersede(dir, name, keeps)
	t.enumerate(r, keeps)
	t.addName(dir, name, r)
	t.placesMade(dir.Inode, name)
	t.noteMade(granary.ChangeCreate, dir, name, r, max(size, r.Size), op.Xattrs, old != nil || marked)
	return granary.Result{Attr: r.Attr, Created: true, Replaced: old != nil || marked}
}

// target returns what is there under a name, or nil. The object of a key that ends in "/" may be a mark on the directory that
// it would be in: then it is that directory.
func (t *txn) target(dir *inodeRecord, name entryName, isKey bool) *inodeRecord {
	return t.leadsTo(t.find(dir.Inode, name), dir, name, isKey)
}

// leadsTo returns what a name is of that was looked for, or nil.
func (t *txn) leadsTo(d *dentryRecord, dir *inodeRecord, name entryName, isKey bool) *inodeRecord {
	if d != nil {
		return t.inode(d.Inode)
	}
	if isKey && name.raw == "" && dir.Flags&granary.FlagMarker != 0 {
		return dir
	}
	return nil
}

// empty reports whether a content is none.
func empty(c *granary.Content) bool {
	return c == nil || len(c.Inline) == 0 && len(c.Extents) == 0 && c.Size == 0
}

// markAgain makes a directory the object "name/", or another one.
func (t *txn) markAgain(op *granary.Create, dir *inodeRecord, marked bool) granary.Result {
	if err := t.mayAdd("create", op.Name, dir); err != nil {
		return granary.Result{Err: err}
	}
	if marked {
		t.clearMark(dir)
	}
	r := t.mark(op, dir)
	r.Created, r.Replaced = !marked, marked
	return r
}

// mayPut refuses to make a name, or to replace one, if the caller may not.
func (t *txn) mayPut(op *granary.Create, name string, dir, old *inodeRecord) *granary.Error {
	err := t.mayAdd("create", name, dir)
	if old != nil {
		err = t.mayRemove("create", name, dir, old)
	}
	if err == nil {
		err = t.mayCreate(op, dir)
	}
	return err
}

// checkCreate refuses what is wrong in itself.
func checkCreate(op *granary.Create) *granary.Error {
	bad := func(kind granary.Kind, format string, args ...any) *granary.Error {
		return granary.Errorf(kind, "create", op.Name, format, args...)
	}
	switch {
	case op.Type < granary.TypeRegular || op.Type > granary.TypeBlockDevice:
		return bad(granary.KindInvalid, "file type %d is unknown", op.Type)
	case op.Content != nil && op.Type != granary.TypeRegular:
		return bad(granary.KindInvalid, "only regular files have content")
	case op.Anonymous && op.Type != granary.TypeRegular:
		return bad(granary.KindInvalid, "only regular files can be without a name")
	case op.Type == granary.TypeSymlink && op.Target == "":
		return bad(granary.KindInvalid, "the target is empty")
	case len(op.Target) > granary.SymlinkMax:
		return bad(granary.KindNameTooLong, "the target has %d bytes, of %d at most", len(op.Target), granary.SymlinkMax)
	}
	return nil
}

// createIn finds the directory of a new entry, and makes those on the way with MakeParents.
func (t *txn) createIn(op *granary.Create) (*inodeRecord, entryName, *granary.Error) {
	dir, name, err := t.parentOf("create", op.Parent, op.Name, op.MakeParents, op.Key, &granary.Attr{UID: op.UID, GID: op.GID})
	switch {
	case err != nil:
	case dir.Inode == granary.BucketsInode && op.Type != granary.TypeDirectory:
		err = granary.Errorf(granary.KindNotOwner, "create", op.Name, "only directories can be made among the buckets")
	default:
		err = checkKind("create", name, op.Type == granary.TypeDirectory)
	}
	return dir, name, err
}

// checkKind refuses a directory under the escape of what is none, and the reverse.
func checkKind(op string, name entryName, dir bool) *granary.Error {
	if name.kind == anyName || (name.kind == dirName) == dir {
		return nil
	}
	return granary.Errorf(granary.KindInvalid, op, name.raw, "the escape is of a name of another kind")
}

// parentOf resolves (parent, name): a path whose directories are made if parents is set, or a key.
func (t *txn) parentOf(op string, parent granary.InodeID, name string, parents, isKey bool, owner *granary.Attr) (*inodeRecord, entryName, *granary.Error) {
	if !parents && !isKey {
		if err := checkName(op, name); err != nil {
			return nil, entryName{}, err
		}
		dir, err := t.directory(op, parent)
		if err != nil {
			return nil, entryName{}, err
		}
		entry, err := t.entry(op, dir, name)
		return dir, entry, err
	}
	steps, err := t.walk(op, parent, name, isKey, owner)
	if err != nil {
		return nil, entryName{}, err
	}
	last := steps[len(steps)-1]
	return last.dir, last.name, nil
}

func mayReplace(op *granary.Create, old *inodeRecord) bool {
	return op.Replace && !op.Exclusive && op.Type != granary.TypeDirectory && !old.IsDir()
}

// createOver answers a Create whose name is taken.
func (t *txn) createOver(op *granary.Create, old *inodeRecord) granary.Result {
	marker := op.Type == granary.TypeDirectory && op.Flags&granary.FlagMarker != 0
	switch {
	case op.Exclusive:
	case marker && old.IsDir() && old.Flags&granary.FlagMarker == 0:
		return t.mark(op, old)
	case op.Type == granary.TypeRegular && old.IsDir():
		return failed(granary.KindIsDir, "create", op.Name, "")
	case op.Type == granary.TypeRegular && old.Type == granary.TypeRegular && op.Content == nil:
		return granary.Result{Attr: old.Attr}
	}
	return failed(granary.KindExists, "create", op.Name, "")
}

// mark makes a directory that is there an object "name/" as well.
func (t *txn) mark(op *granary.Create, r *inodeRecord) granary.Result {
	switch {
	case !t.owns(r):
		return failed(granary.KindNotOwner, "create", op.Name, "the directory is %d's", r.UID)
	case r.isDatasetRoot():
		return failed(granary.KindInvalid, "create", op.Name, "the root of a dataset is no object")
	}
	if err := t.guardInode("create", r); err != nil {
		return granary.Result{Err: err}
	}
	r.Flags = r.Flags&^granary.FlagImplicit | granary.FlagMarker
	r.Ctime = t.now
	t.touch(r)
	if err := t.putXattrs("create", r, op.Xattrs); err != nil {
		return granary.Result{Err: err}
	}
	t.noteInode(granary.ChangeMark, r, "")
	return granary.Result{Attr: r.Attr}
}

// createInode makes the inode of a Create, without a name.
func (t *txn) createInode(session granary.SessionID, op *granary.Create, dir *inodeRecord) (*inodeRecord, *granary.Error) {
	r := &inodeRecord{Attr: granary.Attr{Mode: op.Mode & modeMask, UID: op.UID, GID: op.GID, Rdev: op.Rdev,
		Flags: op.Flags & granary.FlagMarker, Policy: dir.Policy}}
	if err := t.choosePolicy(op, r); err != nil {
		return nil, err
	}
	isDir := op.Type == granary.TypeDirectory
	inheritGroup(dir, r, isDir)
	if !isDir && r.Mode&runsAsGroup == runsAsGroup && !t.member(r.GID) {
		r.Mode &^= modeSGID
	}
	switch {
	case isDir && dir.Inode == granary.BucketsInode:
		if err := t.newDataset("create", r); err != nil {
			return nil, err
		}
	default:
		id, err := t.newInode(session, op, dir.Inode.Dataset())
		if err != nil {
			return nil, err
		}
		r.Inode = id
		t.addInode(r, op.Type)
	}
	if err := t.inheritACL("create", dir, r, op.Umask); err != nil {
		return nil, err
	}
	if op.Type == granary.TypeSymlink {
		r.Target, r.Size = op.Target, uint64(len(op.Target))
	}
	if op.Content != nil {
		if err := t.addContent("create", session, r, op.Content, 0); err != nil {
			return nil, err
		}
	}
	if err := t.putXattrs("create", r, op.Xattrs); err != nil {
		return nil, err
	}
	return r, nil
}

// createAnonymous makes a file that belongs to the session until it gets a name.
func (t *txn) createAnonymous(session granary.SessionID, op *granary.Create) granary.Result {
	dir, err := t.directory("create", op.Parent)
	if err != nil {
		return granary.Result{Err: err}
	}
	if dir.Inode == granary.BucketsInode {
		return failed(granary.KindNotOwner, "create", op.Name, "only directories can be made among the buckets")
	}
	if err := t.mayPut(op, op.Name, dir, nil); err != nil {
		return granary.Result{Err: err}
	}
	r, err := t.createInode(session, op, dir)
	if err != nil {
		return granary.Result{Err: err}
	}
	store(t, keyOrphan(session, r.Inode), &numberRecord{})
	return granary.Result{Attr: r.Attr, Created: true}
}
