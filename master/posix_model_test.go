package master

import (
	"fmt"
	"slices"

	"github.com/dsorchard/granary"
)

// The errors of system calls, as the kinds that stand for them.
const (
	success   = granary.KindNone
	eacces    = granary.KindPermission
	eperm     = granary.KindNotOwner
	enoent    = granary.KindNotFound
	eexist    = granary.KindExists
	enotdir   = granary.KindNotDir
	eisdir    = granary.KindIsDir
	enotempty = granary.KindNotEmpty
	einval    = granary.KindInvalid
	enodata   = granary.KindNoData
	enotsup   = granary.KindNotSupported
	efbig     = granary.KindFileTooLarge
)

// posixNode is an inode as inode(7) has it.
type posixNode struct {
	id                         granary.InodeID
	typ                        granary.FileType
	mode, uid, gid             uint32
	rdev                       uint32
	names                      int // not of a directory
	size                       uint64
	atime, mtime, ctime, btime granary.Time
	target                     string
	xattrs                     map[string]string
	entries                    map[string]*posixNode // of a directory
	up                         *posixNode            // of a directory
	kept                       bool                  // without a name so far, for its session
	gone                       bool
}

// posixFS is a file system of pointers, written from the manual pages and from what Linux's VFS and ext4 do, with
// protected_hardlinks on. It knows nothing of keys, counters and logs. Its calls name an entry by a directory and a name,
// as openat(2) and its kin do: so path_resolution(7) asks for search permission on that directory.
type posixFS struct {
	root *posixNode
	all  []*posixNode // that ever were
	now  granary.Time
}

// GoString is how a failure shows what was drawn.
func (n *posixNode) GoString() string {
	return fmt.Sprintf("%s %d (%04o %d:%d)", n.typ, n.id&0xff, n.mode, n.uid, n.gid)
}

func (n *posixNode) isDir() bool { return n.typ == granary.TypeDirectory }

func (n *posixNode) inside(top *posixNode) bool {
	for ; n != nil; n = n.up {
		if n == top {
			return true
		}
	}
	return false
}

func belongs(c granary.Cred, gid uint32) bool { return c.GID == gid || slices.Contains(c.Groups, gid) }

// permits is the last section of path_resolution(7).
func (n *posixNode) permits(c granary.Cred, want granary.Access) bool {
	switch {
	case c.UID == 0:
		return want&granary.AccessExecute == 0 || n.isDir() || n.mode&0o111 != 0
	case c.UID == n.uid:
		return uint32(want)&^(n.mode>>6) == 0
	case belongs(c, n.gid):
		return uint32(want)&^(n.mode>>3) == 0
	}
	return uint32(want)&^n.mode == 0
}

func (n *posixNode) ownedBy(c granary.Cred) bool { return c.UID == 0 || c.UID == n.uid }

// search is what precedes every look at a name.
func (d *posixNode) search(c granary.Cred) granary.Kind {
	switch {
	case d.gone:
		return enoent
	case !d.isDir():
		return enotdir
	case !d.permits(c, granary.AccessExecute):
		return eacces
	}
	return success
}

const writeSearch = granary.AccessWrite | granary.AccessExecute

// mayDelete is about taking a name that is there: EACCES, EPERM by the sticky bit, then types.
func (d *posixNode) mayDelete(c granary.Cred, n *posixNode, asDir bool) granary.Kind {
	switch {
	case !d.permits(c, writeSearch):
		return eacces
	case d.mode&0o1000 != 0 && !n.ownedBy(c) && c.UID != d.uid:
		return eperm
	case asDir && !n.isDir():
		return enotdir
	case !asDir && n.isDir():
		return eisdir
	}
	return success
}

// make is a new inode, with the group and mode that inode(7) gives it in its directory.
func (fs *posixFS) make(c granary.Cred, d *posixNode, typ granary.FileType, mode uint32) *posixNode {
	n := &posixNode{typ: typ, mode: mode, uid: c.UID, gid: c.GID, atime: fs.now, mtime: fs.now, ctime: fs.now, btime: fs.now,
		xattrs: map[string]string{}}
	if d.mode&0o2000 != 0 {
		n.gid = d.gid
		switch {
		case n.isDir():
			n.mode |= 0o2000
		case n.mode&0o2010 == 0o2010 && c.UID != 0 && !belongs(c, n.gid):
			n.mode &^= 0o2000
		}
	}
	if n.isDir() {
		n.entries = map[string]*posixNode{}
	}
	fs.all = append(fs.all, n)
	return n
}

func (fs *posixFS) enter(d *posixNode, name string, n *posixNode) {
	d.entries[name] = n
	if n.isDir() {
		n.up = d
	} else {
		n.names++
	}
	d.mtime, d.ctime, n.ctime = fs.now, fs.now, fs.now
}

// leave takes a name. A directory that has none is no more; a file is there for who has it open.
func (fs *posixFS) leave(d *posixNode, name string) *posixNode {
	n := d.entries[name]
	delete(d.entries, name)
	if n.isDir() {
		n.up = nil
	} else {
		n.names--
	}
	d.mtime, d.ctime, n.ctime = fs.now, fs.now, fs.now
	return n
}

// create is open(2) with O_CREAT, mkdir(2), mknod(2) and symlink(2). What the open of an existing file then asks for is not
// looked at here; existing symbolic links and special files are EEXIST, for who asked to open them itself.
func (fs *posixFS) create(c granary.Cred, d *posixNode, name string, typ granary.FileType, mode uint32, exclusive bool) (*posixNode, granary.Kind) {
	if k := d.search(c); k != success {
		return nil, k
	}
	old := d.entries[name]
	switch {
	case old != nil && (exclusive || typ != granary.TypeRegular):
		return nil, eexist
	case old != nil && old.isDir():
		return nil, eisdir
	case old != nil && old.typ != granary.TypeRegular:
		return nil, eexist
	case old != nil:
		return old, success
	case !d.permits(c, writeSearch):
		return nil, eacces
	case (typ == granary.TypeCharDevice || typ == granary.TypeBlockDevice) && c.UID != 0:
		return nil, eperm
	}
	n := fs.make(c, d, typ, mode)
	fs.enter(d, name, n)
	return n, success
}

// tmpfile is open(2) with O_TMPFILE.
func (fs *posixFS) tmpfile(c granary.Cred, d *posixNode, mode uint32) (*posixNode, granary.Kind) {
	if k := d.search(c); k != success {
		return nil, k
	}
	if !d.permits(c, writeSearch) {
		return nil, eacces
	}
	n := fs.make(c, d, granary.TypeRegular, mode)
	n.kept = true
	return n, success
}

// release closes what tmpfile opened.
func (fs *posixFS) release(n *posixNode) granary.Kind {
	if n.gone || !n.kept {
		return enoent
	}
	n.kept = false
	return success
}

// reclaim is the end of what has no name and is not open.
func (fs *posixFS) reclaim() {
	for _, n := range fs.all {
		n.gone = n.gone || !n.isDir() && n.names == 0 && !n.kept
	}
}

// link is link(2): the order is that of may_linkat and vfs_link.
func (fs *posixFS) link(c granary.Cred, n, d *posixNode, name string) granary.Kind {
	if n.gone || !n.isDir() && n.names == 0 && !n.kept {
		return enoent
	}
	if k := d.search(c); k != success {
		return k
	}
	safe := n.typ == granary.TypeRegular && n.mode&0o4000 == 0 && n.mode&0o2010 != 0o2010 && n.permits(c, granary.AccessRead|granary.AccessWrite)
	switch {
	case d.entries[name] != nil:
		return eexist
	case !n.ownedBy(c) && !safe:
		return eperm
	case !d.permits(c, writeSearch):
		return eacces
	case n.isDir():
		return eperm
	}
	n.kept = false
	fs.enter(d, name, n)
	return success
}

// remove is unlink(2) and rmdir(2).
func (fs *posixFS) remove(c granary.Cred, d *posixNode, name string, asDir bool) granary.Kind {
	if k := d.search(c); k != success {
		return k
	}
	n := d.entries[name]
	if n == nil {
		return enoent
	}
	if k := d.mayDelete(c, n, asDir); k != success {
		return k
	}
	if len(n.entries) > 0 {
		return enotempty
	}
	fs.leave(d, name)
	n.gone = asDir
	return success
}

// rename is renameat2(2).
func (fs *posixFS) rename(c granary.Cred, d *posixNode, a string, e *posixNode, b string, noReplace, exchange bool) granary.Kind {
	if noReplace && exchange {
		return einval
	}
	if k := d.search(c); k != success {
		return k
	}
	if k := e.search(c); k != success {
		return k
	}
	n, old := d.entries[a], e.entries[b]
	switch {
	case n == nil, exchange && old == nil:
		return enoent
	case noReplace && old != nil:
		return eexist
	case d != e && e.inside(n):
		return einval
	case d != e && old != nil && d.inside(old) && exchange:
		return einval
	case d != e && old != nil && d.inside(old):
		return enotempty
	case n == old:
		return success
	}
	if k := fs.mayRename(c, d, n, e, old, exchange); k != success {
		return k
	}
	if old != nil && !exchange && len(old.entries) > 0 {
		return enotempty
	}
	if old != nil {
		fs.leave(e, b)
		old.gone = old.isDir() && !exchange
	}
	fs.leave(d, a)
	fs.enter(e, b, n)
	if exchange {
		fs.enter(d, a, old)
	}
	return success
}

func (fs *posixFS) mayRename(c granary.Cred, d, n, e, old *posixNode, exchange bool) granary.Kind {
	if k := d.mayDelete(c, n, n.isDir()); k != success {
		return k
	}
	if old == nil {
		if !e.permits(c, writeSearch) {
			return eacces
		}
	} else if k := e.mayDelete(c, old, exchange && old.isDir() || !exchange && n.isDir()); k != success {
		return k
	}
	// ".." changes.
	if d != e && (n.isDir() && !n.permits(c, granary.AccessWrite) || exchange && old.isDir() && !old.permits(c, granary.AccessWrite)) {
		return eacces
	}
	return success
}

// lookup follows names from a directory, and returns what is there and what is left behind a symbolic link. Then access(2)
// is asked.
func (fs *posixFS) lookup(c granary.Cred, n *posixNode, names []string, want granary.Access) (*posixNode, []string, granary.Kind) {
	if n.gone {
		return nil, nil, enoent
	}
	for i, name := range names {
		if n.typ == granary.TypeSymlink && i > 0 {
			return n, names[i:], success
		}
		if k := n.search(c); k != success {
			return nil, nil, k
		}
		if n = n.entries[name]; n == nil {
			return nil, nil, enoent
		}
	}
	if !n.permits(c, want) {
		return nil, nil, eacces
	}
	return n, nil, success
}
