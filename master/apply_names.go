package master

import (
	"strings"

	"github.com/dsorchard/granary"
)

// step is one directory on the way of a relative path.
type step struct {
	dir  *inodeRecord
	name entryName // of the next component in dir
}

// walk follows all but the last component of a relative path, or of a key. With owner set, it makes the
// directories that are missing, for the owner of the entry that shall be made.
func (t *txn) walk(op string, base granary.InodeID, path string, isKey bool, owner *granary.Attr) ([]step, *granary.Error) {
	dir, err := t.directory(op, base)
	if err != nil {
		return nil, err
	}
	if len(path) > granary.PathLengthMax {
		return nil, granary.Errorf(granary.KindNameTooLong, op, path[:64]+"…", "%d bytes, of %d at most", len(path), granary.PathLengthMax)
	}
	names := strings.Split(path, "/")
	if len(names) > granary.PathDepthMax+1 || !isKey && len(names) > granary.PathDepthMax {
		return nil, granary.Errorf(granary.KindNameTooLong, op, path[:64]+"…", "more than %d components", granary.PathDepthMax)
	}
	if isKey && path == "" {
		return nil, granary.Errorf(granary.KindInvalid, op, "", "the key is empty")
	}
	steps := make([]step, 0, len(names))
	w := descent{owner: owner}
	for i, raw := range names {
		name := entryName{raw, fileName}
		switch {
		case isKey && i < len(names)-1:
			name.kind = dirName
		case !isKey:
			if name, err = t.entry(op, dir, raw); err != nil {
				return nil, err
			}
		}
		steps = append(steps, step{dir, name})
		if i == len(names)-1 {
			break
		}
		if dir, err = t.descend(op, dir, name, &w); err == nil {
			err = t.reach(op, dir)
		}
		if err != nil {
			return nil, err
		}
		if err := t.permit(op, path, dir, granary.AccessExecute); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// descent is what a walk knows on its way down.
type descent struct {
	owner *granary.Attr // of directories that it makes; nil: it makes none
	made  int           // the depth of the directory that it made last; 0: none yet
}

// descend goes down one component, which it makes if there is an owner for it.
func (t *txn) descend(op string, dir *inodeRecord, name entryName, w *descent) (*inodeRecord, *granary.Error) {
	d := t.find(dir.Inode, name)
	if d == nil && w.owner != nil && dir.Inode != granary.BucketsInode {
		return t.addImplicit(op, dir, name, w)
	}
	if d == nil {
		return nil, granary.Errorf(granary.KindNotFound, op, name.raw, "")
	}
	if d.Type != granary.TypeDirectory {
		return nil, granary.Errorf(granary.KindNotDir, op, name.raw, "")
	}
	return t.inode(d.Inode), nil
}

func (t *txn) addImplicit(op string, dir *inodeRecord, entry entryName, w *descent) (*inodeRecord, *granary.Error) {
	owner, name := w.owner, entry.raw
	if entry.kind == fileName {
		return nil, granary.Errorf(granary.KindNotDir, op, name, "the escape is not of a directory")
	}
	if w.made == 0 {
		w.made = t.depth(dir)
	}
	if w.made++; w.made > granary.PathDepthMax {
		return nil, granary.Errorf(granary.KindInvalid, op, name, "more than %d directories deep", granary.PathDepthMax)
	}
	if err := t.mayAdd(op, name, dir); err != nil {
		return nil, err
	}
	if err := t.guard(op, dir, name, nil); err != nil {
		return nil, err
	}
	uid, gid := owner.UID, owner.GID
	if !t.owns(&inodeRecord{Attr: *owner}) { // a link to what is another's
		uid, gid = t.cred.UID, t.cred.GID
	}
	child := &inodeRecord{Attr: granary.Attr{Inode: t.nextInode(dir.Inode.Dataset()), Mode: 0o755,
		UID: uid, GID: gid, Flags: granary.FlagImplicit, Policy: dir.Policy}}
	inheritGroup(dir, child, true)
	t.addInode(child, granary.TypeDirectory)
	if err := t.inheritACL(op, dir, child, 0); err != nil {
		return nil, err
	}
	t.addName(dir, name, child)
	t.placesMade(dir.Inode, name)
	return child, nil
}

// depth counts the directories from a dataset's root down to r, the root not counted.
func (t *txn) depth(r *inodeRecord) int {
	dataset, n := r.Inode.Dataset(), 0
	for r != nil && r.Inode != dataset.Root() && r.Inode != dataset.System() && n <= granary.PathDepthMax {
		r = t.inode(r.Parent)
		n++
	}
	return n
}

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
	return granary.Result{Attr: r.Attr, Created: true, Replaced: old != nil || marked}
}

// target returns what is there under a name, or nil. The object of a key that ends in "/" may be a mark on the directory that
// it would be in: then it is that directory.
func (t *txn) target(dir *inodeRecord, name entryName, isKey bool) *inodeRecord {
	if d := t.find(dir.Inode, name); d != nil {
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
	return granary.Result{Attr: r.Attr}
}

// createInode makes the inode of a Create, without a name.
func (t *txn) createInode(session granary.SessionID, op *granary.Create, dir *inodeRecord) (*inodeRecord, *granary.Error) {
	r := &inodeRecord{Attr: granary.Attr{Mode: op.Mode & modeMask, UID: op.UID, GID: op.GID, Rdev: op.Rdev,
		Flags: op.Flags & granary.FlagMarker, Policy: dir.Policy}}
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

// link gives an inode a name.
func (t *txn) link(session granary.SessionID, op *granary.Link) granary.Result {
	r := t.inode(op.Inode)
	if r == nil {
		return failed(granary.KindNotFound, "link", op.Inode.String(), "no such inode")
	}
	orphan := keyOrphan(session, op.Inode)
	if !r.IsDir() && r.Nlink == 0 && t.get(orphan) == nil {
		return failed(granary.KindNotFound, "link", op.Inode.String(), "the inode has no name and belongs to another session")
	}
	dir, entry, err := t.parentOf("link", op.Parent, op.Name, op.MakeParents, op.Key, &r.Attr)
	if err != nil {
		return granary.Result{Err: err}
	}
	name, keeps := entry.raw, t.versioning(dir)
	old, err := t.linkOver(op, dir, entry)
	marked := old == dir
	switch {
	case marked && keeps != 0:
		marked, old = false, t.markToFile(dir)
	case marked:
		old = nil
	}
	if err == nil {
		err = t.mayRetire("link", op.Name, dir, name, old, keeps)
	}
	if err == nil {
		err = t.checkLink(op, dir, r, old)
	}
	if err == nil {
		err = t.guard("link", dir, name, old)
	}
	if err == nil && r.Nlink > 0 {
		err = t.guardInode("link", r)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	for i := range op.Xattrs {
		if err = t.maySetXattr("link", op.Xattrs[i].Name, r); err != nil {
			return granary.Result{Err: err}
		}
	}
	if err := t.putXattrs("link", r, op.Xattrs); err != nil {
		return granary.Result{Err: err}
	}
	if old == r {
		return granary.Result{Attr: r.Attr}
	}
	first := r.Nlink == 0
	if first {
		t.del(orphan)
	}
	if old != nil {
		t.retire(dir, name, old, keeps)
	}
	if marked {
		t.clearMark(dir)
	}
	t.supersede(dir, name, keeps)
	if first {
		t.enumerate(r, keeps)
	}
	t.addName(dir, name, r)
	t.placesMade(dir.Inode, name)
	return granary.Result{Attr: r.Attr, Created: true, Replaced: old != nil || marked}
}

// linkOver returns what a Link replaces: nil for nothing, the directory itself for a mark on it.
func (t *txn) linkOver(op *granary.Link, dir *inodeRecord, name entryName) (*inodeRecord, *granary.Error) {
	if err := checkKind("link", name, false); err != nil {
		return nil, err
	}
	old := t.target(dir, name, op.Key)
	if err := t.checkMatch("link", op.Name, op.Match, old); err != nil {
		return nil, err
	}
	switch {
	case old == nil || old == dir:
	case !op.Replace:
		return nil, granary.Errorf(granary.KindExists, "link", op.Name, "")
	case old.IsDir():
		return nil, granary.Errorf(granary.KindIsDir, "link", op.Name, "")
	}
	return old, nil
}

// checkLink refuses what link(2) refuses, and in its order, once it is known that the name is free or may be replaced.
func (t *txn) checkLink(op *granary.Link, dir, r, old *inodeRecord) *granary.Error {
	switch {
	case dir.Inode == granary.BucketsInode:
		return granary.Errorf(granary.KindNotOwner, "link", op.Name, "only directories can be made among the buckets")
	case dir.Inode.Dataset() != op.Inode.Dataset():
		return granary.Errorf(granary.KindCrossDataset, "link", op.Name, "")
	}
	err := t.mayLink(op.Name, r)
	switch {
	case err != nil:
	case old != nil:
		err = t.mayRemove("link", op.Name, dir, old)
	default:
		err = t.mayAdd("link", op.Name, dir)
	}
	switch {
	case err != nil:
		return err
	case r.IsDir():
		return granary.Errorf(granary.KindNotOwner, "link", op.Name, "directories have one name")
	case r.Flags&granary.FlagPart != 0:
		return granary.Errorf(granary.KindInvalid, "link", op.Inode.String(), "the part of an upload has one name")
	case dir.isUpload() && r.Nlink > 0:
		return granary.Errorf(granary.KindInvalid, "link", op.Name, "the directory of an upload takes files that have no name yet")
	case r.Nlink >= nlinkMax:
		return granary.Errorf(granary.KindTooManyLinks, "link", op.Name, "")
	}
	return nil
}
