package granary

import (
	"fmt"
	"strings"
)

// FileType is the type of an inode. The values are stored.
type FileType uint8

// File types.
const (
	TypeRegular FileType = iota + 1
	TypeDirectory
	TypeSymlink
	TypeFifo
	TypeSocket
	TypeCharDevice
	TypeBlockDevice
)

// String returns the type in words, as listings show it.
func (t FileType) String() string {
	switch t {
	case TypeRegular:
		return "file"
	case TypeDirectory:
		return "directory"
	case TypeSymlink:
		return "symlink"
	case TypeFifo:
		return "fifo"
	case TypeSocket:
		return "socket"
	case TypeCharDevice:
		return "char device"
	case TypeBlockDevice:
		return "block device"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Flags of an inode. The values are stored.
type Flags uint32

const (
	// FlagImplicit marks a directory that an upload made on its way (MakeParents). It is removed
	// again when a removal with Prune empties it.
	FlagImplicit Flags = 1 << iota
	// FlagMarker marks a directory that S3 created as an object "name/": it lists as one.
	FlagMarker
	// FlagAssembling marks a file of which Assemble has made one of many, while their extents become its own: a change
	// of its content is KindBusy, and Allocated counts as if it had no holes.
	FlagAssembling
	// FlagPart marks a file in the directory of an upload, which is written once and linked nowhere else.
	FlagPart
	// FlagMoved marks a part whose content has become that of an assembled file: it can be read no more, and goes.
	FlagMoved
	// FlagPolicy marks what was given a policy of its own. What has none follows the nearest directory above that has.
	FlagPolicy
	// FlagACL marks what has an access control list (XattrACL) that says more than its mode.
	FlagACL
	// FlagDefaultACL marks a directory with a list for what is made in it (XattrDefaultACL).
	FlagDefaultACL
	// FlagCapability marks a file with XattrCapability.
	FlagCapability
	// FlagVersions marks a file that has a number among the versions of its object, and a directory that holds earlier versions.
	FlagVersions
	// FlagNoID marks a version of an object that has a number, and no id.
	FlagNoID
	// FlagRetention marks a file with XattrRetention.
	FlagRetention
	// FlagLegalHold marks a file with XattrLegalHold.
	FlagLegalHold
	// FlagEncrypted marks a file with XattrEncryption: what is stored of its content is ciphertext.
	FlagEncrypted
)

// Attr is what stat returns, and a little more.
type Attr struct {
	Inode          InodeID
	Type           FileType
	Mode           uint32 // permission bits, 07777
	Nlink          uint32
	UID, GID       uint32
	Rdev           uint32
	Flags          Flags
	Size           uint64 // bytes
	Allocated      uint64 // bytes of the file that extents or inline content cover
	Atime          Time
	Mtime          Time
	Ctime          Time
	Btime          Time
	Version        Index // of the entry that last changed anything of the inode
	ContentVersion Index // of the entry that last changed its content
	Policy         PolicyID
	Parent         InodeID // the directory that holds it; of a file with several names that of the last one it got, 0 if that went or is not known
	Entries        uint64  // directories only: number of entries
	Subdirs        uint64  // directories only: number of entries that are directories
	Object         ObjectVersion
}

// IsDir reports whether the inode is a directory.
func (a *Attr) IsDir() bool { return a.Type == TypeDirectory }

// Entry is one name in a directory.
type Entry struct {
	Name   string // without the trailing '/' that the stored key of a directory carries
	Attr   Attr
	Target string // symlinks only
}

// Xattr is one extended attribute. Names starting with "granary." belong to the store: mounts do
// not show them. A change of content removes those that start with XattrContentPrefix.
type Xattr struct {
	Name  string
	Value []byte
}

// XattrContentPrefix begins the names of attributes that describe a file's content (an ETag, a
// checksum), and go when the content changes.
const XattrContentPrefix = "granary.content."

// XattrEncryption says how the content of a file is encrypted (package filer/seal); what does not fit continues in attributes whose names begin
// with it. A file has them from the op on that makes it, as long as it has any content: they are not set, changed or removed otherwise. As soon
// as such a file has a name its content changes no more; it can be emptied, and is a plain file then.
const XattrEncryption = XattrContentPrefix + "encryption"

// IsEncryption reports whether an attribute is XattrEncryption, or continues it.
func IsEncryption(name string) bool { return strings.HasPrefix(name, XattrEncryption) }

// Attributes that Linux gives a meaning. The two lists are in the form of linux/posix_acl_xattr.h. One that says no more than
// a mode is not kept: setting it sets the mode.
const (
	XattrACL        = "system.posix_acl_access"
	XattrDefaultACL = "system.posix_acl_default"
	XattrCapability = "security.capability" // goes with every change of content or owner
)

// Cred is who asks. The store's own gateways ask as uid 0.
type Cred struct {
	UID, GID uint32
	Groups   []uint32
}

// FlagOfXattr returns the flag that says that an inode has an attribute; 0 for the many that have none.
func FlagOfXattr(name string) Flags {
	switch name {
	case XattrACL:
		return FlagACL
	case XattrDefaultACL:
		return FlagDefaultACL
	case XattrCapability:
		return FlagCapability
	case XattrRetention:
		return FlagRetention
	case XattrLegalHold:
		return FlagLegalHold
	case XattrEncryption:
		return FlagEncrypted
	}
	return 0
}
