package master

import (
	"strings"

	"github.com/dsorchard/granary"
)

// xattrsMax bounds the extended attributes of one inode.
const xattrsMax = 1000

// setAttr changes what is not nil.
func (t *txn) setAttr(op *granary.SetAttr) granary.Result {
	r := t.inode(op.Inode)
	if r == nil {
		return failed(granary.KindNotFound, "setattr", op.Inode.String(), "no such inode")
	}
	if err := t.reach("setattr", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch("setattr", op.Inode.String(), op.Match, r); err != nil {
		return granary.Result{Err: err}
	}
	switch {
	case op.Size != nil && r.IsDir():
		return failed(granary.KindIsDir, "setattr", op.Inode.String(), "")
	case op.Size != nil && r.Type != granary.TypeRegular:
		return failed(granary.KindInvalid, "setattr", op.Inode.String(), "only regular files have a size to set")
	case r.Flags&granary.FlagPart != 0 && (op.UID != nil && *op.UID != r.UID || op.GID != nil && *op.GID != r.GID):
		return failed(granary.KindInvalid, "setattr", op.Inode.String(), "the part of an upload has the upload's owner")
	}
	err := t.maySetAttr(op, r)
	if err == nil {
		err = t.guardInode("setattr", r)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	if op.Size != nil {
		if err := t.unlocked("setattr", op.Inode.String(), r, false); err != nil {
			return granary.Result{Err: err}
		}
		if err := t.resize(r, *op.Size); err != nil {
			return granary.Result{Err: err}
		}
		r.Mtime = t.now
		t.dropCapability(r)
	}
	if err := t.setMode(op, r); err != nil {
		return granary.Result{Err: err}
	}
	setTime(&r.Atime, op.Atime, op.AtimeNow, t.now)
	setTime(&r.Mtime, op.Mtime, op.MtimeNow, t.now)
	r.Ctime = t.now
	t.touch(r)
	if op.Size != nil {
		t.noteInode(granary.ChangeWrite, r, "")
	}
	if op.Mode != nil || op.UID != nil || op.GID != nil || op.Size == nil && (op.Mtime != nil || op.MtimeNow) {
		t.noteInode(granary.ChangeAttr, r, "") // to have read something is no change
	}
	return granary.Result{Attr: r.Attr}
}

// setMode sets owner, group and permission bits. A change of owner or group takes the set-id bits from a file,
// whoever makes it, and a change of size too, unless the superuser makes it; permission bits set in the same
// operation come after. Those that would run the file as a group that is not the caller's are not set.
func (t *txn) setMode(op *granary.SetAttr, r *inodeRecord) *granary.Error {
	chown := op.UID != nil || op.GID != nil
	if chown && !t.unchecked || op.KillSuidgid || op.Size != nil && !t.super() {
		t.killSuidgid(r)
	}
	if chown && !r.IsDir() {
		t.dropCapability(r)
	}
	uid, gid := r.UID, r.GID
	if op.UID != nil {
		uid = *op.UID
	}
	if op.GID != nil {
		gid = *op.GID
	}
	t.chown(r, uid, gid)
	if op.Mode == nil {
		return nil
	}
	r.Mode = *op.Mode & modeMask
	if !t.member(r.GID) {
		r.Mode &^= modeSGID
	}
	return t.keepACL(r)
}

// maySetAttr refuses a change of attributes as Linux does: setattr_prepare, and what chown(2), chmod(2), truncate(2)
// and utimensat(2) check before.
func (t *txn) maySetAttr(op *granary.SetAttr, r *inodeRecord) *granary.Error {
	bad := func(format string, args ...any) *granary.Error {
		return granary.Errorf(granary.KindNotOwner, "setattr", op.Inode.String(), format, args...)
	}
	touch := op.AtimeNow && op.MtimeNow
	times := op.Atime != nil || op.Mtime != nil || op.AtimeNow || op.MtimeNow
	needsWrite := op.Size != nil && !op.Opened || op.KillSuidgid && op.UID == nil && op.GID == nil && !op.Opened || touch && !t.owns(r)
	switch {
	case t.unchecked:
		return nil
	case op.Mode != nil && r.Type == granary.TypeSymlink:
		return granary.Errorf(granary.KindNotSupported, "setattr", op.Inode.String(), "the permission bits of a symbolic link do not change")
	case t.super():
		return nil
	case op.UID != nil && (!t.owns(r) || *op.UID != r.UID):
		return bad("only the superuser gives what is %d's to %d", r.UID, *op.UID)
	case op.GID != nil && (!t.owns(r) || *op.GID != r.GID && !t.member(*op.GID)):
		return bad("only its owner gives what is %d's to a group, and only to one of its own", r.UID)
	case op.Mode != nil && !t.owns(r):
		return bad("the permission bits are its owner's to change, %d's", r.UID)
	case times && !touch && !t.owns(r):
		return bad("the times are its owner's to set, %d's", r.UID)
	case needsWrite:
		return t.permit("setattr", op.Inode.String(), r, granary.AccessWrite)
	}
	return nil
}

func setTime(at *granary.Time, given *granary.Time, toNow bool, now granary.Time) {
	switch {
	case toNow:
		*at = now
	case given != nil:
		*at = *given
	}
}

// checkXattrName refuses names that no store could keep.
func checkXattrName(op, name string) *granary.Error {
	switch {
	case name == "" || strings.IndexByte(name, 0) >= 0:
		return granary.Errorf(granary.KindInvalid, op, name, "not a name of an attribute")
	case len(name) > granary.XattrNameMax:
		return granary.Errorf(granary.KindNameTooLong, op, name, "%d bytes, of %d at most", len(name), granary.XattrNameMax)
	}
	return nil
}

// putXattr sets an attribute of an inode.
func (t *txn) putXattr(op string, r *inodeRecord, x *granary.Xattr) *granary.Error {
	if err := checkXattrName(op, x.Name); err != nil {
		return err
	}
	if len(x.Value) > granary.XattrValueMax {
		return granary.Errorf(granary.KindTooLarge, op, x.Name, "%d bytes, of %d at most", len(x.Value), granary.XattrValueMax)
	}
	if isACL(x.Name) {
		return t.putACL(op, r, x)
	}
	if x.Name == granary.XattrVersioning || x.Name == granary.XattrObjectLock {
		if err := t.setVersioning(op, r, x); err != nil {
			return err
		}
	}
	if err := t.setClassRule(op, r, x.Name, x.Value); err != nil {
		return err
	}
	r.Ctime = t.now
	return t.storeXattr(op, r, x.Name, x.Value)
}

// storeXattr keeps an attribute of an inode.
func (t *txn) storeXattr(op string, r *inodeRecord, name string, value []byte) *granary.Error {
	k := keyXattr(r.Inode, name)
	if !t.hasXattr(r, k) {
		if r.Xattrs >= xattrsMax {
			return granary.Errorf(granary.KindNoSpace, op, name, "the inode has %d attributes", r.Xattrs)
		}
		r.Xattrs++
		if strings.HasPrefix(name, granary.XattrContentPrefix) {
			r.ContentXattrs++
		}
	}
	if t.acls {
		r.Flags |= granary.FlagOfXattr(name)
	}
	store(t, k, &bytesRecord{value})
	t.touch(r)
	return nil
}

// hasXattr reports whether an inode has the attribute of a key. Of an inode that the item has made, the store has none.
func (t *txn) hasXattr(r *inodeRecord, k []byte) bool {
	switch {
	case r.Xattrs == 0:
		return false
	case r.Inode == t.made:
		return t.pending.has(k)
	}
	return t.get(k) != nil
}

// putXattrs sets attributes that the caller may give to an inode.
func (t *txn) putXattrs(op string, r *inodeRecord, xattrs []granary.Xattr) *granary.Error {
	for i := range xattrs {
		if err := t.mayHaveXattr(op, xattrs[i].Name, r); err != nil {
			return err
		}
		if granary.IsEncryption(xattrs[i].Name) && r.IsDir() {
			continue // the mark of an object on its directory: there is no content
		}
		if err := t.mayRelock(op, r, xattrs[i].Name, &xattrs[i], false); err != nil {
			return err
		}
		if err := t.putXattr(op, r, &xattrs[i]); err != nil {
			return err
		}
	}
	return nil
}

// dropXattr removes an attribute that is there.
func (t *txn) dropXattr(r *inodeRecord, name string) {
	t.del(keyXattr(r.Inode, name))
	r.Xattrs--
	r.Flags &^= granary.FlagOfXattr(name)
	if strings.HasPrefix(name, granary.XattrContentPrefix) {
		r.ContentXattrs--
	}
	t.touch(r)
}

// dropContentXattrs removes what described the content that was.
func (t *txn) dropContentXattrs(r *inodeRecord) {
	if r.ContentXattrs == 0 {
		return
	}
	prefix := keyXattr(r.Inode, granary.XattrContentPrefix)
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		if name := string(k[9:]); !granary.IsEncryption(name) { // that is true of the content as long as there is any
			t.dropXattr(r, name)
		}
		return true
	})
}

// setXattr sets one attribute.
func (t *txn) setXattr(op *granary.SetXattr) granary.Result {
	r := t.inode(op.Inode)
	if r == nil {
		return failed(granary.KindNotFound, "setxattr", op.Inode.String(), "no such inode")
	}
	if err := t.reach("setxattr", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.maySetXattr("setxattr", op.Xattr.Name, r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.guardInode("setxattr", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := keepsEncryption("setxattr", op.Xattr.Name); err != nil {
		return granary.Result{Err: err}
	}
	there := t.get(keyXattr(op.Inode, op.Xattr.Name)) != nil
	switch {
	case op.CreateOnly && there:
		return failed(granary.KindExists, "setxattr", op.Xattr.Name, "")
	case op.ReplaceOnly && !there:
		return failed(granary.KindNoData, "setxattr", op.Xattr.Name, "")
	}
	if err := t.mayRelock("setxattr", r, op.Xattr.Name, &op.Xattr, op.Bypass); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.putXattr("setxattr", r, &op.Xattr); err != nil {
		return granary.Result{Err: err}
	}
	t.noteInode(granary.ChangeXattr, r, op.Xattr.Name)
	return granary.Result{Attr: r.Attr}
}

// removeXattr removes one attribute.
func (t *txn) removeXattr(op *granary.RemoveXattr) granary.Result {
	r := t.inode(op.Inode)
	if r == nil {
		return failed(granary.KindNotFound, "removexattr", op.Inode.String(), "no such inode")
	}
	if err := t.reach("removexattr", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.maySetXattr("removexattr", op.Name, r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.guardInode("removexattr", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := keepsEncryption("removexattr", op.Name); err != nil {
		return granary.Result{Err: err}
	}
	if t.get(keyXattr(op.Inode, op.Name)) == nil && !isACL(op.Name) {
		return failed(granary.KindNoData, "removexattr", op.Name, "")
	}
	if op.Name == granary.XattrVersioning || op.Name == granary.XattrObjectLock {
		return failed(granary.KindInvalid, "removexattr", op.Name, "it is never removed")
	}
	if err := t.mayRelock("removexattr", r, op.Name, nil, op.Bypass); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.setClassRule("removexattr", r, op.Name, []byte("{}")); err != nil {
		return granary.Result{Err: err}
	}
	if isACL(op.Name) {
		t.dropACL(r, op.Name)
	} else {
		t.dropXattr(r, op.Name)
	}
	r.Ctime = t.now
	t.touch(r)
	t.noteInode(granary.ChangeXattr, r, op.Name)
	return granary.Result{Attr: r.Attr}
}

// setPolicy gives an inode a policy: its own, or that of the directory above it. Equal policies have one id.
func (t *txn) setPolicy(op *granary.SetPolicy) granary.Result {
	if t.classes && op.Inode == 0 && op.Policy.StorageClass != "" {
		return t.classPolicy(op.Policy)
	}
	r := t.inode(op.Inode)
	if r == nil {
		return failed(granary.KindNotFound, "set policy", op.Inode.String(), "no such inode")
	}
	if err := t.reach("set policy", r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.onlySuper("set policy", op.Inode.String()); err != nil {
		return granary.Result{Err: err}
	}
	if err := op.Policy.Validate(); err != nil {
		return failed(granary.KindInvalid, "set policy", op.Inode.String(), "%w", err)
	}
	if op.Policy.StorageClass != "" && r.Type != granary.TypeRegular {
		return failed(granary.KindInvalid, "set policy", op.Inode.String(), "only files are in a storage class")
	}
	if op.Inherited && r.Flags&granary.FlagPolicy != 0 && !t.sameClass(r, op.Policy) {
		return failed(granary.KindStale, "set policy", op.Inode.String(), "it has a policy of its own")
	}
	if !op.Inherited {
		if err := t.guardInode("set policy", r); err != nil {
			return granary.Result{Err: err}
		}
	}
	r.Policy = t.internPolicy(op.Policy)
	if !op.Inherited {
		t.markSweep(op.Inode)
		if t.places { // else the command is of a release that did not know of the flag
			r.Flags |= granary.FlagPolicy
		}
	}
	r.Ctime = t.now
	t.touch(r)
	if !op.Inherited {
		t.noteInode(granary.ChangeAttr, r, "")
	}
	return granary.Result{Attr: r.Attr}
}

func (t *txn) internPolicy(p granary.Policy) granary.PolicyID {
	var found granary.PolicyID
	t.scan(key(tablePolicy), keyEnd(key(tablePolicy)), func(k, v []byte) bool {
		r, err := unmarshal[policyRecord](v)
		must(err)
		if r.Policy == p {
			found = granary.PolicyID(keyID(k, 0))
		}
		return found == 0
	})
	if found != 0 {
		return found
	}
	t.head.LastPolicy++
	store(t, keyPolicy(t.head.LastPolicy), &policyRecord{p})
	return t.head.LastPolicy
}

// policyOf returns the policy of an inode.
func (t *txn) policyOf(r *inodeRecord) granary.Policy {
	if p := fetch[policyRecord](t, keyPolicy(r.Policy)); p != nil {
		return p.Policy
	}
	return granary.DefaultPolicy()
}
