package master

import (
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// lookup resolves a path and returns what is asked about what it finds.
func (v *view) lookup(q *granary.Lookup) (granary.Answer, error) {
	found, r, err := v.resolve(q)
	if err != nil {
		return nil, err
	}
	if found.Missing {
		return found, nil
	}
	if q.Xattrs && r.Xattrs > 0 {
		if found.Xattrs, err = v.xattrs(r); err != nil {
			return nil, err
		}
	}
	if q.Layout != nil && r.Type == granary.TypeRegular && found.Rest == "" {
		if err := v.unlock(q, found, r); err != nil {
			return nil, err
		}
		if found.Layout, err = v.layout(r, *q.Layout); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// resolve walks a path.
func (v *view) resolve(q *granary.Lookup) (*granary.Found, *inodeRecord, error) {
	r, err := v.inode(q.Base)
	if err != nil {
		return nil, nil, err
	}
	if r == nil {
		return nil, nil, granary.Errorf(granary.KindNotFound, "lookup", q.Base.String(), "no such inode")
	}
	if err := v.reach("lookup", q.Base); err != nil {
		return nil, nil, err
	}
	if q.Path == "" {
		return &granary.Found{Entry: entryOf("", r), Parent: r.Parent}, r, v.permit("lookup", q.Base.String(), r, q.Access)
	}
	if len(q.Path) > granary.PathLengthMax {
		return nil, nil, granary.Errorf(granary.KindNameTooLong, "lookup", q.Path[:64]+"…", "%d bytes, of %d at most", len(q.Path), granary.PathLengthMax)
	}
	if q.Key {
		return v.resolveKey(q, r)
	}
	rest := q.Path
	for {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		parent := r
		entry, err := v.entry("lookup", parent.Inode, name)
		if err == nil {
			r, err = v.step(q, parent, entry, rest == "")
		}
		if err == nil && r.IsDir() {
			err = v.reach("lookup", r.Inode)
		}
		switch {
		case v.keeps && granary.IsKind(err, granary.KindNotFound):
			return &granary.Found{Missing: true, Parent: parent.Inode, Rest: joinName(name, rest)}, nil, nil
		case err != nil:
			return nil, nil, err
		}
		if rest == "" {
			err = v.permit("lookup", q.Path, r, q.Access)
		}
		if rest == "" || r.Type == granary.TypeSymlink {
			return &granary.Found{Entry: entryOf(name, r), Parent: parent.Inode, Rest: rest}, r, err
		}
	}
}

func joinName(name, rest string) string {
	if rest == "" {
		return name
	}
	return name + "/" + rest
}

// resolveKey finds an object, or the last directory on the way to it. A symbolic link in the place of a directory, or of the
// object, is found itself.
func (v *view) resolveKey(q *granary.Lookup, r *inodeRecord) (*granary.Found, *inodeRecord, error) {
	if !r.IsDir() {
		return nil, nil, granary.Errorf(granary.KindNotDir, "lookup", q.Path, "the key is below no directory")
	}
	rest := q.Path
	for {
		name, below, more := strings.Cut(rest, "/")
		parent := r
		if q.Nearest && !more { // whatever there is by the last name
			return v.nearest(q, parent)
		}
		if !more && (q.Object != 0 || q.Markers) {
			if found, file, err := v.resolveVersion(q, parent.Inode, name); found != nil || err != nil {
				return found, file, err
			}
		}
		next, err := v.step(q, parent, entryName{name, partKind(more)}, !more)
		if more && granary.IsKind(err, granary.KindNotFound) {
			next, err = v.step(q, parent, entryName{name, fileName}, true)
			if err == nil && (q.Nearest || next.Type != granary.TypeSymlink) {
				err = granary.Errorf(granary.KindNotFound, "lookup", q.Path, "")
			}
		}
		if err == nil && next.IsDir() {
			err = v.reach("lookup", next.Inode)
		}
		switch {
		case q.Nearest && granary.IsKind(err, granary.KindNotFound):
			return v.nearest(q, parent)
		case !more && name == "" && granary.IsKind(err, granary.KindNotFound):
			parent, err = v.child(parent.Inode)
			if err == nil && parent.Flags&granary.FlagMarker == 0 {
				err = granary.Errorf(granary.KindNotFound, "lookup", q.Path, "")
			}
			return &granary.Found{Entry: entryOf("", parent), Parent: parent.Parent}, parent, err
		case err != nil:
			return nil, nil, err
		case !more:
			return &granary.Found{Entry: entryOf(name, next), Parent: parent.Inode}, next, v.permit("lookup", q.Path, next, q.Access)
		case next.Type == granary.TypeSymlink:
			return &granary.Found{Entry: entryOf(name, next), Parent: parent.Inode, Rest: below}, next, nil
		}
		r, rest = next, below
	}
}

// nearest answers with the last directory on the way to an object. Of those on the way not all was read.
func (v *view) nearest(q *granary.Lookup, dir *inodeRecord) (_ *granary.Found, _ *inodeRecord, err error) {
	if dir.Inode != q.Base {
		if dir, err = v.child(dir.Inode); err != nil {
			return nil, nil, err
		}
	}
	return &granary.Found{Entry: entryOf("", dir), Parent: dir.Parent}, dir, nil
}

// partKind is the kind of a key's component.
func partKind(more bool) nameKind {
	if more {
		return dirName
	}
	return fileName
}

// step goes from a directory to one of its entries. A directory on the way, about which nobody is to be asked for
// permission, is not read: of its record inode and type are set.
func (v *view) step(q *granary.Lookup, dir *inodeRecord, entry entryName, last bool) (*inodeRecord, error) {
	name := entry.raw
	if !dir.IsDir() {
		return nil, granary.Errorf(granary.KindNotDir, "lookup", q.Path, "before %q", name)
	}
	if ok, err := v.allows(dir, granary.AccessExecute); err != nil {
		return nil, err
	} else if !ok {
		return nil, granary.Errorf(granary.KindPermission, "lookup", q.Path, "the directory that holds %q may not be searched: it is %d:%d with mode %04o",
			name, dir.Attr.UID, dir.Attr.GID, dir.Attr.Mode)
	}
	d, err := v.find(dir.Inode, entry, last)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return nil, granary.Errorf(granary.KindNotFound, "lookup", q.Path, "")
	case !last && d.Type == granary.TypeDirectory && (v.cred == nil || v.cred.UID == 0):
		return &inodeRecord{Attr: granary.Attr{Inode: d.Inode, Type: d.Type}}, nil
	}
	return v.child(d.Inode)
}

// find reads what a name in a directory leads to; nil if it leads nowhere. A name on the way is most likely a directory's, and so is one
// among the buckets; the last one is another's.
func (v *view) find(dir granary.InodeID, entry entryName, last bool) (*dentryRecord, error) {
	if entry.kind != anyName {
		return v.dentry(dir, entry.raw, entry.kind == dirName)
	}
	toDir := !last || dir == granary.BucketsInode
	d, err := v.dentry(dir, entry.raw, toDir)
	if err == nil && (d == nil || d.Twin) {
		d, err = v.dentry(dir, entry.raw, !toDir)
	}
	return d, err
}

func entryOf(name string, r *inodeRecord) granary.Entry {
	return granary.Entry{Name: name, Attr: r.Attr, Target: r.Target}
}

// permit refuses an access to an inode that its permission bits do not give to who asks.
func (v *view) permit(op, subject string, r *inodeRecord, want granary.Access) error {
	if want == 0 {
		return nil
	}
	if ok, err := v.allows(r, want); ok || err != nil {
		return err
	}
	return refused(op, subject, &r.Attr, want)
}

// allows reports whether an inode's permissions give who asks all of the access wanted.
func (v *view) allows(r *inodeRecord, want granary.Access) (bool, error) {
	if v.cred == nil {
		return true, nil
	}
	var stored []byte
	if byList(v.cred, &r.Attr) {
		x, err := read[bytesRecord](v, keyXattr(r.Inode, granary.XattrACL))
		if err != nil {
			return false, err
		}
		if x != nil {
			stored = x.Bytes
		}
	}
	if ok, err := decide(v.cred, &r.Attr, stored, want); err != nil {
		return false, err
	} else {
		return ok, nil
	}
}

// xattrs returns the attributes that who asks may know of; values that it may not read are empty.
func (v *view) xattrs(of *inodeRecord) ([]granary.Xattr, error) {
	readable, err := v.allows(of, granary.AccessRead)
	if err != nil {
		return nil, err
	}
	all, err := v.allXattrs(of)
	if err != nil {
		return nil, err
	}
	xs := all[:0]
	for _, x := range all {
		value, there := mayReadXattr(v.cred, x.Name, readable)
		switch {
		case value:
			xs = append(xs, x)
		case there:
			xs = append(xs, granary.Xattr{Name: x.Name})
		}
	}
	return xs, nil
}

// roomFew is how many entries of a listing there is room for at first.
const roomFew = 64

// roomFor returns a listing with room for one more: for a few at first, for all that there may be when there are more.
func roomFor[T any](all []T, limit int) []T {
	switch {
	case len(all) < cap(all):
		return all
	case len(all) == 0:
		return make([]T, 0, min(limit, roomFew))
	}
	return slices.Grow(all, max(limit-len(all), 1))
}

// readDir lists a directory in key order.
func (v *view) readDir(q *granary.ReadDir) (granary.Answer, error) {
	r, err := v.inode(q.Inode)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, granary.Errorf(granary.KindNotFound, "readdir", q.Inode.String(), "no such inode")
	case !r.IsDir():
		return nil, granary.Errorf(granary.KindNotDir, "readdir", q.Inode.String(), "")
	}
	if err := v.reach("readdir", q.Inode); err != nil {
		return nil, err
	}
	if err := v.permit("readdir", q.Inode.String(), r, granary.AccessRead); err != nil {
		return nil, err
	}
	limit := q.Limit
	if limit <= 0 || limit > granary.ReadDirMax {
		limit = granary.ReadDirMax
	}
	prefix := key(tableDentry, uint64(q.Inode))
	lower := prefix
	if q.After != "" {
		if lower, err = v.after(q); err != nil {
			return nil, err
		}
	}
	a := &granary.Directory{}
	var d dentryRecord
	var held []granary.InodeID // directories of which others have the attributes
	err = v.scan(lower, keyEnd(prefix), func(k, b []byte) (bool, error) {
		if len(a.Entries) == limit {
			a.More = true
			return false, nil
		}
		if err := unmarshalInto(b, &d); err != nil {
			return false, errStore(k, err)
		}
		child, err := v.sibling(d.Inode)
		if err != nil {
			return false, err
		}
		if child.IsDir() && v.holders {
			if is, err := v.delegated(d.Inode); err != nil {
				return false, err
			} else if is && q.Ahead {
				a.More = true
				return true, nil
			} else if is {
				held = append(held, d.Inode)
				return len(held) < delegatedNamed, nil
			}
		}
		name, dir := dentryName(k)
		a.Entries = append(roomFor(a.Entries, limit), entryOf(shownName(name, dir, d.Twin), child))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if len(held) > 0 {
		return nil, errDelegated("readdir", held...)
	}
	return a, nil
}

// after returns the first key that may follow an entry of a directory. Of an escape whose entry is gone, the beginning of the
// name still says where it was.
func (v *view) after(q *granary.ReadDir) ([]byte, error) {
	if !isEscape(q.After) {
		return append(keyDentry(q.Inode, q.After, q.AfterDir), 0), nil
	}
	e, err := v.entry("readdir", q.Inode, q.After)
	switch {
	case err == nil:
		return append(keyDentry(q.Inode, e.raw, e.kind == dirName), 0), nil
	case granary.KindOf(err) != granary.KindNotFound:
		return nil, err
	}
	gone, _ := parseEscape(q.After)
	return keyDentry(q.Inode, gone.raw, false), nil
}
