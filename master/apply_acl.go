package master

import (
	"github.com/dsorchard/granary"
)

func isACL(name string) bool { return name == granary.XattrACL || name == granary.XattrDefaultACL }

// allows reports whether an inode's permissions give the caller all of the access wanted.
func (t *txn) allows(r *inodeRecord, want granary.Access) bool {
	var stored []byte
	if byList(&t.cred, &r.Attr) {
		stored = t.xattr(r, granary.XattrACL)
	}
	ok, err := decide(&t.cred, &r.Attr, stored, want)
	if err != nil {
		panic(err)
	}
	return ok
}

// xattr returns the value of an attribute, or nil.
func (t *txn) xattr(r *inodeRecord, name string) []byte {
	x := fetch[bytesRecord](t, keyXattr(r.Inode, name))
	if x == nil {
		return nil
	}
	return x.Bytes
}

// list returns a list that an inode has.
func (t *txn) list(r *inodeRecord, name string) acl {
	l, err := parseACL("acl", name, t.xattr(r, name))
	if err != nil || l == nil {
		panic(granary.Errorf(granary.KindCorrupt, "acl", r.Inode.String(), "%s: %v", name, err))
	}
	return l
}

// mayHaveACL refuses a list that the caller may not set, or that there cannot be.
func (t *txn) mayHaveACL(op, name string, r *inodeRecord) *granary.Error {
	switch {
	case r.Type == granary.TypeSymlink:
		return granary.Errorf(granary.KindNotSupported, op, name, "symbolic links have no access control lists")
	case name == granary.XattrDefaultACL && !r.IsDir():
		return granary.Errorf(granary.KindPermission, op, name, "only directories have default access control lists")
	case !t.owns(r):
		return granary.Errorf(granary.KindNotOwner, op, name, "it is %d's", r.UID)
	}
	return nil
}

// putACL gives an inode a list, or takes it if the new one is empty. An access list sets the permission bits, too.
func (t *txn) putACL(op string, r *inodeRecord, x *granary.Xattr) *granary.Error {
	l, err := parseACL(op, x.Name, x.Value)
	if err != nil {
		return err
	}
	r.Ctime = t.now
	t.touch(r)
	if x.Name == granary.XattrACL && l != nil {
		r.Mode = r.Mode&^modeAccess | l.mode()
		if !t.member(r.GID) {
			r.Mode &^= modeSGID
		}
		if l.minimal() {
			l = nil
		}
	}
	if l == nil {
		t.dropACL(r, x.Name)
		return nil
	}
	return t.storeXattr(op, r, x.Name, l.marshal())
}

// dropACL takes a list, if there is one. The permission bits stay.
func (t *txn) dropACL(r *inodeRecord, name string) {
	if r.Flags&granary.FlagOfXattr(name) != 0 {
		t.dropXattr(r, name)
	}
}

// inheritACL gives a new inode what the default list of its directory says: then its mode is no more than that allows, and the
// umask of who makes it does not count. Without such a list the umask does.
func (t *txn) inheritACL(op string, dir, r *inodeRecord, umask uint32) *granary.Error {
	switch {
	case r.Type == granary.TypeSymlink:
		return nil
	case dir.Flags&granary.FlagDefaultACL == 0:
		r.Mode &^= umask & modeAccess
		return nil
	}
	l := t.list(dir, granary.XattrDefaultACL)
	if r.IsDir() {
		if err := t.storeXattr(op, r, granary.XattrDefaultACL, l.marshal()); err != nil {
			return err
		}
	}
	mode := r.Mode & l.mode()
	l.chmod(mode)
	r.Mode = r.Mode&^modeAccess | mode&modeAccess
	if l.minimal() {
		return nil
	}
	return t.storeXattr(op, r, granary.XattrACL, l.marshal())
}

// keepACL makes the access list stand for permission bits that were just set.
func (t *txn) keepACL(r *inodeRecord) *granary.Error {
	if r.Flags&granary.FlagACL == 0 {
		return nil
	}
	l := t.list(r, granary.XattrACL)
	l.chmod(r.Mode)
	return t.storeXattr("chmod", r, granary.XattrACL, l.marshal())
}

// dropCapability takes from a file the capabilities that it is run with, as a change of its content or owner does.
func (t *txn) dropCapability(r *inodeRecord) {
	if r.Flags&granary.FlagCapability != 0 {
		t.dropXattr(r, granary.XattrCapability)
	}
}
