package master

import (
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// allows reports whether the permission bits of an inode without an access control list give a caller all of the access wanted. One set of
// bits counts, the first that fits: the owner's, the group's or the others'. The superuser may do all but
// execute what nobody may.
func allows(c *granary.Cred, a *granary.Attr, want granary.Access) bool {
	if c.UID == 0 {
		return want&granary.AccessExecute == 0 || a.IsDir() || a.Mode&0o111 != 0
	}
	bits := a.Mode
	switch {
	case c.UID == a.UID:
		bits >>= 6
	case inGroup(c, a.GID):
		bits >>= 3
	}
	return granary.Access(bits&7)&want == want
}

// inGroup reports whether a group is one of the caller's.
func inGroup(c *granary.Cred, gid uint32) bool {
	return c.GID == gid || slices.Contains(c.Groups, gid)
}

// refused is the error of an access that permission bits do not give.
func refused(op, subject string, a *granary.Attr, want granary.Access) *granary.Error {
	return granary.Errorf(granary.KindPermission, op, subject, "%s of the %s %s is needed, which is %d:%d with mode %04o",
		want, a.Type, a.Inode, a.UID, a.GID, a.Mode)
}

// super reports whether the caller is refused nothing for want of permission: the superuser, and whoever
// asked before permissions were checked (commands of version 1).
func (t *txn) super() bool { return t.unchecked || t.cred.UID == 0 }

// owns reports whether the caller may do what an inode's owner may.
func (t *txn) owns(r *inodeRecord) bool { return t.super() || t.cred.UID == r.UID }

// member reports whether the caller may give things to a group.
func (t *txn) member(gid uint32) bool { return t.super() || inGroup(&t.cred, gid) }

// permit refuses an access to an inode that its permission bits do not give to the caller.
func (t *txn) permit(op, subject string, r *inodeRecord, want granary.Access) *granary.Error {
	if t.super() || t.allows(r, want) {
		return nil
	}
	return refused(op, subject, &r.Attr, want)
}

// onlySuper refuses what is for the superuser.
func (t *txn) onlySuper(op, subject string) *granary.Error {
	if t.super() {
		return nil
	}
	return granary.Errorf(granary.KindNotOwner, op, subject, "only the superuser may")
}

// mayAdd refuses to make a name in a directory.
func (t *txn) mayAdd(op, name string, dir *inodeRecord) *granary.Error {
	return t.permit(op, name, dir, granary.AccessWrite|granary.AccessExecute)
}

// mayRemove refuses to take a name out of a directory: in a sticky one only the owner of the directory or of
// what the name leads to may.
func (t *txn) mayRemove(op, name string, dir, r *inodeRecord) *granary.Error {
	if err := t.mayAdd(op, name, dir); err != nil {
		return err
	}
	if dir.Mode&modeSticky != 0 && !t.owns(r) && !t.owns(dir) {
		return granary.Errorf(granary.KindNotOwner, op, name, "it is %d's, and the directory is sticky", r.UID)
	}
	return nil
}

// mayLink refuses further names for what the caller neither owns nor could copy: a link to a set-user-id
// program would outlive its removal. It is what Linux calls protected_hardlinks, and has on everywhere.
func (t *txn) mayLink(name string, r *inodeRecord) *granary.Error {
	safe := r.Type == granary.TypeRegular && r.Mode&modeSUID == 0 && r.Mode&runsAsGroup != runsAsGroup
	if t.owns(r) || safe && t.allows(r, granary.AccessRead|granary.AccessWrite) {
		return nil
	}
	return granary.Errorf(granary.KindNotOwner, "link", name, "only the owner, or who may read and write it, may give a file another name")
}

// mayCreate refuses to make what the caller may not own, or may not make.
func (t *txn) mayCreate(op *granary.Create, dir *inodeRecord) *granary.Error {
	bad := func(format string, args ...any) *granary.Error {
		return granary.Errorf(granary.KindNotOwner, "create", op.Name, format, args...)
	}
	switch {
	case t.super():
	case op.Type == granary.TypeCharDevice || op.Type == granary.TypeBlockDevice:
		return bad("only the superuser makes devices")
	case op.UID != t.cred.UID:
		return bad("the owner is %d, and cannot be %d", t.cred.UID, op.UID)
	case dir.Mode&modeSGID == 0 && !t.member(op.GID):
		return bad("user %d is not in group %d", t.cred.UID, op.GID)
	}
	return nil
}

// killSuidgid takes from a file the bits that run it as somebody else, as a change of its content or owner does.
func (t *txn) killSuidgid(r *inodeRecord) {
	if r.IsDir() {
		return
	}
	r.Mode &^= modeSUID
	if r.Mode&runsAsGroup == runsAsGroup || !t.member(r.GID) {
		r.Mode &^= modeSGID
	}
}

// Namespaces of extended attributes.
const (
	xattrUser     = "user."
	xattrTrusted  = "trusted."
	xattrSecurity = "security."
	xattrSystem   = "system."
	xattrStore    = "granary." // the store's own
)

// checkXattrSpace refuses a name that is in no namespace that can be stored.
func checkXattrSpace(op, name string) *granary.Error {
	for _, space := range [...]string{xattrUser, xattrTrusted, xattrSecurity, xattrStore} {
		switch {
		case name == space:
			return granary.Errorf(granary.KindInvalid, op, name, "nothing follows the namespace")
		case strings.HasPrefix(name, space):
			return nil
		}
	}
	return granary.Errorf(granary.KindNotSupported, op, name, "attributes begin with %q, %q or %q, or are access control lists", xattrUser, xattrTrusted, xattrSecurity)
}

// maySetXattr refuses to change an attribute of what has been there before.
func (t *txn) maySetXattr(op, name string, r *inodeRecord) *granary.Error {
	if err := t.mayHaveXattr(op, name, r); err != nil {
		return err
	}
	if !strings.HasPrefix(name, xattrUser) {
		return nil
	}
	return t.permit(op, name, r, granary.AccessWrite)
}

// mayHaveXattr refuses an attribute that the caller could not set on an inode that it may write to.
func (t *txn) mayHaveXattr(op, name string, r *inodeRecord) *granary.Error {
	if t.unchecked {
		return nil
	}
	if t.acls && isACL(name) {
		return t.mayHaveACL(op, name, r)
	}
	if err := checkXattrSpace(op, name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, xattrUser) {
		return t.onlySuper(op, name)
	}
	switch {
	case r.Type != granary.TypeRegular && !r.IsDir():
		return granary.Errorf(granary.KindNotOwner, op, name, "a %s has no attributes of users", r.Type)
	case r.IsDir() && r.Mode&modeSticky != 0 && !t.owns(r):
		return granary.Errorf(granary.KindNotOwner, op, name, "the directory is %d's, and sticky", r.UID)
	}
	return nil
}

// mayReadXattr reports whether a caller gets to know an attribute's value, and whether it gets to know that
// there is one. readable says whether it may read the file.
func mayReadXattr(c *granary.Cred, name string, readable bool) (value, there bool) {
	switch {
	case c == nil || c.UID == 0 || strings.HasPrefix(name, xattrSecurity) || isACL(name):
		return true, true
	case strings.HasPrefix(name, xattrTrusted):
		return false, false
	}
	return readable, true
}
