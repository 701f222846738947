package master

import (
	"encoding/binary"

	"github.com/dsorchard/granary"
)

// acl is an access control list of POSIX.1e draft 17, in the order of its entries: owner, users, owning group, groups, mask,
// others. It is stored, and given out, as Linux has it in extended attributes (linux/posix_acl_xattr.h): 4 bytes of version, 2,
// and of each entry 2 bytes of tag, 2 of permissions, 4 of uid or gid; all little endian. The mode of an inode with a list is
// that of its owner, mask and others; a list that says no more than a mode is not kept.
type acl []aclEntry

type aclEntry struct {
	tag  uint16
	perm granary.Access
	id   uint32 // of tags that name a user or group; others have aclNobody
}

// Tags of entries.
const (
	aclOwner  = 0x01
	aclUser   = 0x02
	aclGroup  = 0x04 // the owning one
	aclGroups = 0x08 // another
	aclMask   = 0x10
	aclOthers = 0x20
)

const (
	aclVersion   = 2
	aclNobody    = 0xffffffff
	aclBytesMax  = 4096 // what the kernel asks a file system for
	aclMinimal   = 3    // entries that a mode stands for
	modeAccess   = 0o777
	modeForGroup = 0o070
)

// parseACL decodes a list, and refuses what Linux does. One without entries is nil.
func parseACL(op, name string, b []byte) (acl, *granary.Error) {
	bad := func(format string, args ...any) (acl, *granary.Error) {
		return nil, granary.Errorf(granary.KindInvalid, op, name, format, args...)
	}
	switch {
	case len(b) > aclBytesMax:
		return nil, granary.Errorf(granary.KindTooLarge, op, name, "%d bytes, of %d at most", len(b), aclBytesMax)
	case len(b) < 4 || (len(b)-4)%8 != 0 || binary.LittleEndian.Uint32(b) != aclVersion:
		return bad("not an access control list")
	case len(b) == 4:
		return nil, nil
	}
	var l acl
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := aclEntry{binary.LittleEndian.Uint16(b), granary.Access(b[2]), binary.LittleEndian.Uint32(b[4:])}
		if e.perm > 7 || b[3] != 0 {
			return bad("permissions that there are not")
		}
		if e.tag != aclUser && e.tag != aclGroups {
			e.id = aclNobody
		}
		l = append(l, e)
	}
	if !l.valid() {
		return bad("the entries are not those of owner, users, owning group, groups, mask and others, each in its place")
	}
	return l, nil
}

// valid reports whether the entries are in order and complete: with users or groups there is a mask.
func (l acl) valid() bool {
	next, named := 0, false
	order := [...]uint16{aclOwner, aclUser, aclGroup, aclGroups, aclMask, aclOthers}
	for i := range l {
		tag := l[i].tag
		for next < len(order) && order[next] != tag {
			if skip := order[next]; skip == aclOwner || skip == aclGroup || skip == aclMask && named {
				return false
			}
			next++
		}
		switch {
		case next == len(order):
			return false
		case tag == aclUser || tag == aclGroups:
			named = true
			continue // there may be several
		}
		next++
	}
	return next == len(order)
}

func (l acl) marshal() []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+8*len(l)), aclVersion)
	for _, e := range l {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, uint16(e.perm))
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// minimal reports whether a mode says all of it.
func (l acl) minimal() bool { return len(l) == aclMinimal }

// class returns the entry of the mode's bits for the group: the mask, or without one the owning group's.
func (l acl) class() *aclEntry {
	var found *aclEntry
	for i := range l {
		if e := &l[i]; e.tag == aclGroup || e.tag == aclMask {
			found = e
		}
	}
	return found
}

// mode returns the permission bits that the list stands for.
func (l acl) mode() uint32 {
	return uint32(l[0].perm)<<6 | uint32(l.class().perm)<<3 | uint32(l[len(l)-1].perm)
}

// chmod makes the list stand for a mode.
func (l acl) chmod(mode uint32) {
	l[0].perm = granary.Access(mode >> 6 & 7)
	l.class().perm = granary.Access(mode >> 3 & 7)
	l[len(l)-1].perm = granary.Access(mode & 7)
}

// allows reports whether the list gives a caller, who is not the owner, all of the access wanted: as posix_acl_permission
// of Linux has it.
func (l acl) allows(c *granary.Cred, a *granary.Attr, want granary.Access) bool {
	grouped := false
	for i := range l {
		e := &l[i]
		switch {
		case e.tag == aclUser && e.id == c.UID:
			return l.masked(e)&want == want
		case e.tag == aclGroup && inGroup(c, a.GID), e.tag == aclGroups && inGroup(c, e.id):
			if grouped = true; e.perm&want == want {
				return l.masked(e)&want == want
			}
		case e.tag == aclOthers:
			return !grouped && e.perm&want == want
		}
	}
	return false
}

// masked returns what the mask leaves of an entry.
func (l acl) masked(e *aclEntry) granary.Access {
	if mask := l.class(); mask.tag == aclMask {
		return e.perm & mask.perm
	}
	return e.perm
}

// byList reports whether a list, and not the mode alone, says what a caller may do. Of one whose mask, and so the mode of
// the group, gives nothing Linux takes no notice.
func byList(c *granary.Cred, a *granary.Attr) bool {
	return a.Flags&granary.FlagACL != 0 && c.UID != 0 && c.UID != a.UID && a.Mode&modeForGroup != 0
}

// decide is allows for an inode whose list, if byList wants one, is at hand as it is stored.
func decide(c *granary.Cred, a *granary.Attr, stored []byte, want granary.Access) (bool, *granary.Error) {
	if !byList(c, a) {
		return allows(c, a, want), nil
	}
	l, err := parseACL("access", granary.XattrACL, stored)
	if err != nil || l == nil {
		return false, granary.Errorf(granary.KindCorrupt, "access", a.Inode.String(), "its access control list is not one: %v", err)
	}
	return l.allows(c, a, want), nil
}
