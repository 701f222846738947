package filer

import (
	"strings"

	"github.com/dsorchard/granary"
)

// What is done in directories that are held. All of this is with mu held, decides as the master would, and refuses in its order.

const modeSticky = 0o1000

// permit refuses an access that the permission bits of a directory do not give. One with an access control list is not held.
func permit(op, subject string, cred *granary.Cred, a *granary.Attr, want granary.Access) error {
	if cred.UID == 0 {
		return nil
	}
	bits := a.Mode
	switch {
	case cred.UID == a.UID:
		bits >>= 6
	case inGroup(cred, a.GID):
		bits >>= 3
	}
	if granary.Access(bits&7)&want == want {
		return nil
	}
	return granary.Errorf(granary.KindPermission, op, subject, "%s of inode %d is needed, which is %d:%d with mode %04o", want, a.Inode, a.UID, a.GID, a.Mode)
}

func inGroup(c *granary.Cred, gid uint32) bool {
	if c.GID == gid {
		return true
	}
	for _, g := range c.Groups {
		if g == gid {
			return true
		}
	}
	return false
}

// mayChange refuses to make or remove names in a directory.
func mayChange(op, name string, cred *granary.Cred, d *heldDir) error {
	return permit(op, name, cred, &d.attr, granary.AccessWrite|granary.AccessExecute)
}

// sticky reports whether it takes to know whose a file is to say whether it may be removed.
func (d *heldDir) sticky(cred *granary.Cred) bool {
	return d.attr.Mode&modeSticky != 0 && cred.UID != 0 && cred.UID != d.attr.UID
}

// find looks for a name: who may not search the directory is refused.
func (h *holdings) find(op string, cred *granary.Cred, d *heldDir, name string) (heldName, bool, error) {
	e, ok := d.names[name]
	return e, ok, permit(op, name, cred, &d.attr, granary.AccessExecute)
}

// escaped reports whether a name may stand for what has no legal one: what it stands for, the master says.
func escaped(name string) bool { return strings.HasPrefix(name, "%") }

// changedAt notes that names of a directory were changed.
func (d *heldDir) changedAt(at granary.Time, entries, subdirs int) {
	d.attr.Mtime, d.attr.Ctime = at, at
	d.attr.Entries += uint64(entries)
	d.attr.Subdirs += uint64(subdirs)
	d.attr.Nlink += uint32(subdirs)
}

// create makes a new inode by a name that is free. The op has its owner.
func (h *holdings) create(cred granary.Cred, d *heldDir, op *granary.Create) (granary.Entry, error) {
	var none granary.Entry
	if err := mayChange("create", op.Name, &cred, d); err != nil {
		return none, err
	}
	if cred.UID != 0 && (op.Type == granary.TypeCharDevice || op.Type == granary.TypeBlockDevice) {
		return none, granary.Errorf(granary.KindNotOwner, "create", op.Name, "only the superuser makes devices")
	}
	if op.Type == granary.TypeSymlink && (op.Target == "" || len(op.Target) > granary.SymlinkMax) {
		kind := granary.KindInvalid
		if op.Target != "" {
			kind = granary.KindNameTooLong
		}
		return none, granary.Errorf(kind, "create", op.Name, "a target of %d bytes", len(op.Target))
	}
	id := h.nextID(d.id.Dataset())
	if id == 0 {
		return none, errNoIDs
	}
	at := h.stamp(d)
	isDir := op.Type == granary.TypeDirectory
	a := granary.Attr{Inode: id, Type: op.Type, Mode: op.Mode & 0o7777, Nlink: 1, UID: op.UID, GID: op.GID, Rdev: op.Rdev, Size: uint64(len(op.Target)),
		Atime: at, Mtime: at, Ctime: at, Btime: at, Version: h.fence, ContentVersion: h.fence, Policy: d.attr.Policy}
	if d.attr.Mode&setgid != 0 {
		a.GID = d.attr.GID
		if isDir {
			a.Mode |= setgid
		}
	}
	if !isDir && a.Mode&runsAsGroup == runsAsGroup && cred.UID != 0 && !inGroup(&cred, a.GID) {
		a.Mode &^= setgid
	}
	if op.Type != granary.TypeSymlink {
		a.Mode &^= op.Umask & 0o777
	}
	if isDir {
		a.Nlink, a.Parent = 2, d.id
	}
	op.Exclusive, op.Inode, op.Delegate, op.Open = true, id, isDir, false
	l := h.add(cred, op, at, id)
	n := h.nodes[id]
	n.birth, n.attr, n.target, n.grouped = l, a, op.Target, d.attr.Mode&setgid != 0
	d.names[op.Name] = heldName{id, op.Type, true}
	subdirs := 0
	if isDir {
		subdirs = 1
		h.dirs[id] = &heldDir{id: id, attr: a, names: map[string]heldName{}, used: d.used}
	}
	d.changedAt(at, 1, subdirs)
	return granary.Entry{Name: op.Name, Attr: a, Target: op.Target}, nil
}

// nextID returns the id of a new inode of a dataset; 0 if some are to be leased first.
func (h *holdings) nextID(dataset granary.DatasetID) granary.InodeID {
	for i := range h.leases {
		if l := &h.leases[i]; l.dataset == dataset && l.next < l.end {
			l.next++
			return l.next - 1
		}
	}
	return 0
}

// unlink removes a name of what is own. The inode has none then.
func (h *holdings) unlink(cred granary.Cred, d *heldDir, op *granary.Unlink) (gone granary.InodeID, done bool, err error) {
	e, ok, err := h.find("unlink", &cred, d, op.Name)
	switch {
	case err != nil:
		return 0, false, err
	case !ok && !escaped(op.Name):
		return 0, false, granary.Errorf(granary.KindNotFound, "unlink", op.Name, "")
	case e.typ == granary.TypeDirectory || !h.own(e) || d.sticky(&cred) || op.Match != nil || escaped(op.Name):
		return 0, false, nil
	}
	if err := mayChange("unlink", op.Name, &cred, d); err != nil {
		return 0, false, err
	}
	at := h.stamp(d)
	h.add(cred, op, at, e.inode)
	delete(d.names, op.Name)
	d.changedAt(at, -1, 0)
	h.nameless(e.inode, at)
	return e.inode, true, nil
}

// nameless notes that an inode that is own has lost its only name.
func (h *holdings) nameless(id granary.InodeID, at granary.Time) {
	if n := h.nodes[id]; n != nil && n.birth != nil {
		n.attr.Nlink, n.attr.Ctime = 0, at
	}
}

// rmdir removes a directory that is held and empty.
func (h *holdings) rmdir(cred granary.Cred, d *heldDir, op *granary.Rmdir) (bool, error) {
	e, ok, err := h.find("rmdir", &cred, d, op.Name)
	switch {
	case err != nil:
		return false, err
	case !ok && !escaped(op.Name):
		return false, granary.Errorf(granary.KindNotFound, "rmdir", op.Name, "")
	}
	child := h.dirs[e.inode]
	if escaped(op.Name) || child == nil || child.frozen || d.sticky(&cred) {
		return false, nil
	}
	if err := mayChange("rmdir", op.Name, &cred, d); err != nil {
		return false, err
	}
	if len(child.names) > 0 {
		return false, granary.Errorf(granary.KindNotEmpty, "rmdir", op.Name, "")
	}
	at := h.stamp(d)
	h.add(cred, op, at, e.inode)
	delete(d.names, op.Name)
	delete(h.dirs, e.inode)
	d.changedAt(at, -1, -1)
	h.nameless(e.inode, at)
	return true, nil
}

// rename moves a name of what is own and no directory, to where there is nothing or likewise.
func (h *holdings) rename(cred granary.Cred, from, to *heldDir, op *granary.Rename) (replaced granary.InodeID, done bool, err error) {
	src, ok, err := h.find("rename", &cred, from, op.SrcName)
	switch {
	case err != nil:
		return 0, false, err
	case escaped(op.SrcName) || escaped(op.DstName):
		return 0, false, nil
	case !ok:
		return 0, false, granary.Errorf(granary.KindNotFound, "rename", op.SrcName, "")
	}
	dst, there, err := h.find("rename", &cred, to, op.DstName)
	switch {
	case err != nil:
		return 0, false, err
	case op.Exchange || src.typ == granary.TypeDirectory || !h.own(src) || from.sticky(&cred):
		return 0, false, nil
	case there && op.NoReplace:
		return 0, false, granary.Errorf(granary.KindExists, "rename", op.DstName, "")
	case there && (dst.typ == granary.TypeDirectory || !h.own(dst) || to.sticky(&cred)):
		return 0, false, nil
	case from.attr.Inode.Dataset() != to.attr.Inode.Dataset():
		return 0, false, nil
	}
	if there && src.inode == dst.inode {
		return 0, true, nil
	}
	err = mayChange("rename", op.SrcName, &cred, from)
	if err == nil {
		err = mayChange("rename", op.DstName, &cred, to)
	}
	if err != nil {
		return 0, false, err
	}
	at := max(h.stamp(from), h.stamp(to))
	if there {
		h.add(cred, op, at, src.inode, dst.inode)
		h.nameless(dst.inode, at)
		to.changedAt(at, -1, 0)
		replaced = dst.inode
	} else {
		h.add(cred, op, at, src.inode)
	}
	delete(from.names, op.SrcName)
	to.names[op.DstName] = src
	from.changedAt(at, -1, 0)
	to.changedAt(at, 1, 0)
	if n := h.nodes[src.inode]; n.birth != nil {
		n.attr.Ctime = at
	}
	return replaced, true, nil
}

// setDir changes permission bits, owner or times of a directory that is held.
func (h *holdings) setDir(cred granary.Cred, d *heldDir, op *granary.SetAttr) (granary.Attr, bool) {
	if cred.UID != 0 || op.Size != nil || op.Match != nil {
		return granary.Attr{}, false
	}
	at := h.stamp(d)
	h.setTimes(&d.attr, op, at)
	setOwner(&d.attr, op)
	if op.Mode != nil {
		d.attr.Mode = *op.Mode & 0o7777
	}
	h.add(cred, op, at, d.id)
	if n := h.nodes[d.id]; n.birth != nil {
		n.attr = d.attr
	}
	return d.attr, true
}

func setOwner(a *granary.Attr, op *granary.SetAttr) {
	if op.UID != nil {
		a.UID = *op.UID
	}
	if op.GID != nil {
		a.GID = *op.GID
	}
}

// setUnborn changes owner, permission bits or times of a file that the master has not been told of: it will be made with them.
func (h *holdings) setUnborn(cred granary.Cred, op *granary.SetAttr) (granary.Attr, bool) {
	n := h.nodes[op.Inode]
	const special = 0o7000
	switch {
	case n == nil || n.birth == nil || n.birth.in == nil || n.flying || n.attr.Nlink == 0,
		op.Size != nil || op.Match != nil,
		cred.UID != 0 && (cred.UID != n.attr.UID || op.KillSuidgid || op.UID != nil || op.GID != nil),
		(op.UID != nil || op.GID != nil) && (n.birth.Cred.UID != 0 || n.grouped),
		n.attr.Mode&special != 0 || op.Mode != nil && *op.Mode&special != 0:
		return granary.Attr{}, false
	}
	h.last = max(h.last+1, n.attr.Ctime+1)
	h.setTimes(&n.attr, op, h.last)
	setOwner(&n.attr, op)
	if op.Mode != nil {
		n.attr.Mode = *op.Mode & 0o7777
	}
	return n.attr, true
}

func (h *holdings) setTimes(a *granary.Attr, op *granary.SetAttr, at granary.Time) {
	for _, x := range [...]struct {
		to    *granary.Time
		given *granary.Time
		now   bool
	}{{&a.Atime, op.Atime, op.AtimeNow}, {&a.Mtime, op.Mtime, op.MtimeNow}} {
		switch {
		case x.now:
			*x.to = at
		case x.given != nil:
			*x.to = *x.given
		}
	}
	a.Ctime = at
}

// renamed notes what a rename as usual has done.
func (h *holdings) renamed(from, to *heldDir, op *granary.Rename) {
	src, dst := from.names[op.SrcName], to.names[op.DstName]
	for _, e := range [...]heldName{src, dst} {
		if d := h.dirs[e.inode]; d != nil {
			d.stale = true
		}
	}
	switch {
	case src.inode == dst.inode:
		return
	case op.Exchange:
		from.names[op.SrcName] = dst
	default:
		delete(h.dirs, dst.inode)
		delete(from.names, op.SrcName)
	}
	to.names[op.DstName] = src
}

// share notes that an inode gets another name: it is not own any more.
func (h *holdings) share(id granary.InodeID) {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.shared[id] = struct{}{}
	h.mu.Unlock()
	h.unshow([]granary.InodeID{id}, false)
}
