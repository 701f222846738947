package master

import (
	"github.com/dsorchard/granary"
)

const (
	modeMask    = 0o7777
	modeSUID    = 0o4000
	modeSGID    = 0o2000
	modeSticky  = 0o1000
	runsAsGroup = modeSGID | 0o010 // a program with both runs as its group
	nlinkMax    = 1 << 31
)

// addInode puts a new inode, whose attributes are given in part, into the table. It has no name yet.
func (t *txn) addInode(r *inodeRecord, typ granary.FileType) {
	r.Type = typ
	r.Atime, r.Mtime, r.Ctime, r.Btime = t.now, t.now, t.now, t.now
	r.Version, r.ContentVersion = t.index, t.index
	d := t.datasets.get(t, r.Inode.Dataset())
	d.Inodes++
	t.datasets.touch(r.Inode.Dataset())
	if typ == granary.TypeDirectory {
		r.Nlink = 2
	} else {
		d.Files++
		t.head.Files++
	}
	t.charge(r, 1, 0) // setSize counts what it holds
	t.inodes.add(r.Inode, r)
	t.made = r.Inode
}

// nextInode gives out an inode id of a dataset.
func (t *txn) nextInode(id granary.DatasetID) granary.InodeID {
	d := t.datasets.get(t, id)
	n := d.NextInode
	d.NextInode++
	t.datasets.touch(id)
	return id.Inode(n)
}

// setSize changes a regular file's size, and the sums that it is part of.
func (t *txn) setSize(r *inodeRecord, size uint64) {
	if r.Lost != 0 { // it counts for nobody
		if size > r.Size {
			t.grown = append(t.grown, r)
		}
		r.Size = size
		return
	}
	d := t.datasets.get(t, r.Inode.Dataset())
	d.LogicalBytes += size - r.Size
	t.datasets.touch(r.Inode.Dataset())
	t.head.LogicalBytes += size - r.Size
	t.charge(r, 0, int64(size)-int64(r.Size))
	r.Size = size
}

// find returns what a name in a directory leads to, or nil. It is quick where the name is likely to be new.
func (t *txn) find(parent granary.InodeID, name entryName) *dentryRecord {
	if t.pending.recall.names.lacks(parent, name.raw) {
		return nil
	}
	return t.look(parent, name)
}

// look is find where the name is likely to be there. A directory's name and that of anything else have different keys.
func (t *txn) look(parent granary.InodeID, name entryName) *dentryRecord {
	dirs, others := name.kind != fileName, name.kind != dirName
	if p := t.inode(parent); p != nil { // which counts its names: most directories have none of one sort
		dirs, others = dirs && p.Subdirs > 0, others && p.Entries > p.Subdirs
	}
	if others {
		d := fetch[dentryRecord](t, t.dentryKey(parent, name.raw, false))
		if d != nil && !(d.Twin && dirs) {
			return d
		}
	}
	if !dirs {
		return nil
	}
	return fetch[dentryRecord](t, t.dentryKey(parent, name.raw, true))
}

// setTwin says of what has the same name as a directory and is none whether there is that directory.
func (t *txn) setTwin(parent *inodeRecord, name string, twin bool) {
	if parent.Entries == parent.Subdirs || t.pending.recall.names.lacks(parent.Inode, name) {
		return
	}
	d := fetch[dentryRecord](t, t.dentryKey(parent.Inode, name, false))
	if d == nil {
		return
	}
	d.Twin = twin
	store(t, t.dentryKey(parent.Inode, name, false), d)
}

// addName makes a name for an inode, of which the directory has none of this kind.
func (t *txn) addName(parent *inodeRecord, name string, child *inodeRecord) {
	dir := child.IsDir()
	d := dentryRecord{Inode: child.Inode, Type: child.Type}
	if dir {
		t.setTwin(parent, name, true)
	} else {
		d.Twin = t.find(parent.Inode, entryName{name, dirName}) != nil
	}
	store(t, t.dentryKey(parent.Inode, name, dir), &d)
	t.pending.recall.names.add(parent.Inode, name, parent.Entries)
	parent.Entries++
	if dir {
		child.Parent = parent.Inode
		if child.isDatasetRoot() {
			id := child.Inode.Dataset()
			t.datasets.get(t, id).Name = name
			t.datasets.touch(id)
		}
		parent.Subdirs++
		parent.Nlink++
	} else {
		child.Nlink++
		if t.parents {
			child.Parent = parent.Inode
		}
		if parent.isUpload() {
			child.Flags |= granary.FlagPart
		}
	}
	t.stampNames(parent, child)
}

// removeName removes a name of an inode. What becomes of the inode is the caller's to say.
func (t *txn) removeName(parent *inodeRecord, name string, child *inodeRecord) {
	dir := child.IsDir()
	t.del(t.dentryKey(parent.Inode, name, dir))
	if dir {
		t.setTwin(parent, name, false)
	}
	t.pending.recall.names.remove(parent.Inode, name)
	parent.Entries--
	if dir {
		parent.Subdirs--
		parent.Nlink--
	} else {
		child.Nlink--
		if t.parents && child.Parent == parent.Inode {
			child.Parent = 0
		}
		if parent.isUpload() {
			child.Flags &^= granary.FlagPart
		}
	}
	t.stampNames(parent, child)
}

// stampNames sets the times that a change of a directory's entries changes.
func (t *txn) stampNames(parent, child *inodeRecord) {
	parent.Mtime, parent.Ctime, child.Ctime = t.now, t.now, t.now
	t.touch(parent)
	t.touch(child)
}

// directory returns a directory in which names may be made and removed, and which the caller may search.
func (t *txn) directory(op string, id granary.InodeID) (*inodeRecord, *granary.Error) {
	r := t.inode(id)
	switch {
	case r == nil:
		return nil, granary.Errorf(granary.KindNotFound, op, id.String(), "no such inode")
	case !r.IsDir():
		return nil, granary.Errorf(granary.KindNotDir, op, id.String(), "")
	case !t.alive(r):
		return nil, granary.Errorf(granary.KindNotFound, op, id.String(), "the directory is being removed")
	}
	if err := t.reach(op, r); err != nil {
		return nil, err
	}
	if !t.super() && !t.allows(r, granary.AccessExecute) {
		return nil, refused(op, id.String(), &r.Attr, granary.AccessExecute)
	}
	return r, nil
}

// alive reports whether a directory is still reachable from the root of its dataset. It is not, if
// it lies in a tree that was removed and is being reclaimed; only then does this look at all.
func (t *txn) alive(r *inodeRecord) bool {
	if t.head.DyingDirs == 0 {
		return true
	}
	dataset := r.Inode.Dataset()
	for {
		if r.Inode == dataset.Root() || r.Inode == dataset.System() {
			return true
		}
		if r = t.inode(r.Parent); r == nil {
			return false
		}
	}
}

// uncount ends that an inode counts in the usage of its dataset and of its owners: what takes its last name gives
// back the space at once, however long it is open and its content is there.
func (t *txn) uncount(r *inodeRecord) {
	d := t.datasets.get(t, r.Inode.Dataset())
	t.datasets.touch(r.Inode.Dataset())
	d.Queued++
	t.charge(r, -1, -r.charged())
	if r.IsDir() {
		return
	}
	d.Files--
	t.head.Files--
	if r.Type == granary.TypeRegular {
		d.LogicalBytes -= r.Size
		t.head.LogicalBytes -= r.Size
	}
}

// dispose removes an inode that nothing leads to any more: a directory, or what drop found to be open nowhere. What
// hangs on it and is more than one key goes by way of the queue.
func (t *txn) dispose(r *inodeRecord) {
	id := r.Inode
	if r.Lost == 0 {
		t.uncount(r)
	}
	t.inodes.remove(id)
	t.pending.recall.names.forget(id)
	t.forgetLocks(id)
	t.forgetDelegation(r)
	if r.ExtentBytes == 0 && r.Trim == 0 && r.Xattrs == 0 && r.Entries == 0 {
		if r.Inline > 0 {
			t.del(keyInline(id))
		}
		t.forgetInode(id)
		return
	}
	enqueue(t, queueInode, uint64(id), r)
	if r.IsDir() {
		t.head.DyingDirs++
	}
}

// forgetInode ends the accounting of an inode; that of the last one of a deleted dataset, also of
// the dataset.
func (t *txn) forgetInode(id granary.InodeID) {
	d := t.datasets.get(t, id.Dataset())
	d.Inodes--
	d.Queued--
	t.datasets.touch(id.Dataset())
	if d.Deleted && d.Inodes == 0 {
		t.endDataset(id.Dataset())
	}
}

// keyLength of a name, and what it may hold.
func checkName(op, name string) *granary.Error {
	switch {
	case name == "" || name == "." || name == "..":
		return granary.Errorf(granary.KindInvalid, op, name, "a name cannot be empty, %q or %q", ".", "..")
	case len(name) > granary.NameLengthMax:
		return granary.Errorf(granary.KindNameTooLong, op, name, "%d bytes, of %d at most", len(name), granary.NameLengthMax)
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return granary.Errorf(granary.KindInvalid, op, name, "a name cannot hold %q", name[i])
		}
	}
	return nil
}

// checkMatch checks a precondition against the inode that is there, or nil.
func (t *txn) checkMatch(op, name string, m *granary.Precondition, r *inodeRecord) *granary.Error {
	if m == nil {
		return nil
	}
	fail := func(format string, args ...any) *granary.Error {
		return granary.Errorf(granary.KindPrecondition, op, name, format, args...)
	}
	switch {
	case m.Absent && r != nil:
		return fail("it exists")
	case r == nil && (m.Present || m.ETag != "" || m.Version != 0):
		return fail("it does not exist")
	case r == nil:
		return nil
	case m.Version != 0 && m.Version != r.Version:
		return fail("its version is %d", r.Version)
	}
	if m.ETag != "" {
		if etag := granary.ETagOf(&r.Attr, t.storedETag(r)); etag != m.ETag {
			return fail("its ETag is %q", etag)
		}
	}
	return nil
}

func (t *txn) storedETag(r *inodeRecord) string {
	if r.ContentXattrs == 0 {
		return ""
	}
	x := fetch[bytesRecord](t, keyXattr(r.Inode, granary.XattrETag))
	if x == nil {
		return ""
	}
	return string(x.Bytes)
}
