package master

import (
	"strings"

	"github.com/dsorchard/granary"
)

// dropSetID is what a write, and a chown(2) by anybody, does to the set-id bits of what is no directory.
func (n *posixNode) dropSetID(c granary.Cred) {
	if n.isDir() {
		return
	}
	n.mode &^= 0o4000
	if n.mode&0o010 != 0 || c.UID != 0 && !belongs(c, n.gid) {
		n.mode &^= 0o2000
	}
}

func (fs *posixFS) chmod(c granary.Cred, n *posixNode, mode uint32) granary.Kind {
	switch {
	case n.gone:
		return enoent
	case n.typ == granary.TypeSymlink:
		return enotsup
	case !n.ownedBy(c):
		return eperm
	}
	if c.UID != 0 && !belongs(c, n.gid) {
		mode &^= 0o2000
	}
	n.mode, n.ctime = mode, fs.now
	return success
}

// chown is chown(2); nil is -1.
func (fs *posixFS) chown(c granary.Cred, n *posixNode, uid, gid *uint32) granary.Kind {
	switch {
	case n.gone:
		return enoent
	case c.UID == 0:
	case uid != nil && (*uid != n.uid || c.UID != n.uid):
		return eperm
	case gid != nil && (c.UID != n.uid || *gid != n.gid && !belongs(c, *gid)):
		return eperm
	}
	n.dropSetID(c)
	if uid != nil {
		n.uid = *uid
	}
	if gid != nil {
		n.gid = *gid
	}
	n.ctime = fs.now
	return success
}

// truncate is truncate(2), or ftruncate(2) of what was opened for writing.
func (fs *posixFS) truncate(c granary.Cred, n *posixNode, size uint64, opened bool) granary.Kind {
	switch {
	case n.gone:
		return enoent
	case n.isDir():
		return eisdir
	case n.typ != granary.TypeRegular:
		return einval
	case !opened && !n.permits(c, granary.AccessWrite):
		return eacces
	case size > granary.FileSizeMax:
		return efbig
	}
	fs.changed(c, n)
	n.size = size
	return success
}

// changed is what a change of content does besides.
func (fs *posixFS) changed(c granary.Cred, n *posixNode) {
	n.mtime, n.ctime = fs.now, fs.now
	if c.UID != 0 {
		n.dropSetID(c)
	}
}

// write is write(2) or, with the offset -1, an append, to what was opened for it; beyond the policy's inline limit it takes
// another form.
func (fs *posixFS) write(c granary.Cred, n *posixNode, offset, length int) (at uint64, k granary.Kind) {
	at = uint64(max(offset, 0))
	if offset < 0 {
		at = n.size
	}
	switch {
	case n.gone:
		return at, enoent
	case n.isDir():
		return at, eisdir
	case n.typ == granary.TypeRegular && at+uint64(length) > granary.FileSizeMax:
		return at, efbig
	case n.typ != granary.TypeRegular || at+uint64(length) > uint64(granary.DefaultPolicy().InlineMax):
		return at, einval
	}
	fs.changed(c, n)
	n.size = max(n.size, at+uint64(length))
	return at, success
}

// utimes is utimensat(2): nil with no "now" is UTIME_OMIT.
func (fs *posixFS) utimes(c granary.Cred, n *posixNode, atime, mtime *granary.Time, atimeNow, mtimeNow bool) granary.Kind {
	switch both := atimeNow && mtimeNow; {
	case n.gone:
		return enoent
	case !both && !n.ownedBy(c):
		return eperm
	case both && !n.ownedBy(c) && !n.permits(c, granary.AccessWrite):
		return eacces
	}
	for _, x := range []struct {
		at    *granary.Time
		given *granary.Time
		now   bool
	}{{&n.atime, atime, atimeNow}, {&n.mtime, mtime, mtimeNow}} {
		if x.now {
			*x.at = fs.now
		} else if x.given != nil {
			*x.at = *x.given
		}
	}
	n.ctime = fs.now
	return success
}

// xattr is setxattr(2), or removexattr(2) for a nil value, as xattr(7) has it.
func (fs *posixFS) xattr(c granary.Cred, n *posixNode, name string, value []byte, create, replace bool) granary.Kind {
	space, _, _ := strings.Cut(name, ".")
	_, there := n.xattrs[name]
	switch {
	case n.gone:
		return enoent
	case (space == "trusted" || space == "security") && c.UID != 0:
		return eperm
	case space == "user" && n.typ != granary.TypeRegular && !n.isDir():
		return eperm
	case space == "user" && n.isDir() && n.mode&0o1000 != 0 && !n.ownedBy(c):
		return eperm
	case space == "user" && !n.permits(c, granary.AccessWrite):
		return eacces
	case create && there:
		return eexist
	case (replace || value == nil) && !there:
		return enodata
	}
	if value == nil {
		delete(n.xattrs, name)
	} else {
		n.xattrs[name] = string(value)
	}
	n.ctime = fs.now
	return success
}

// visible is what listxattr(2) and getxattr(2) give: a value that may not be read is empty.
func (n *posixNode) visible(c granary.Cred) map[string]string {
	seen := map[string]string{}
	for name, value := range n.xattrs {
		space, _, _ := strings.Cut(name, ".")
		switch {
		case space == "trusted" && c.UID != 0:
		case space == "user" && !n.permits(c, granary.AccessRead):
			seen[name] = ""
		default:
			seen[name] = value
		}
	}
	return seen
}
