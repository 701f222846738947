package master

import (
	"bytes"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// listVisitsMax bounds the entries that one List looks at: a tree of empty directories is long, and
// its listing short.
const listVisitsMax = 20000

// pastPrefix is greater than every key that begins with a prefix, and than no other key that is greater than the prefix:
// of what follows a prefix, the first component has at most NameLengthMax bytes.
func pastPrefix(prefix string) string {
	return prefix + strings.Repeat("\xff", granary.NameLengthMax+1)
}

// lister walks a tree in the order of full paths. A directory's key in its parent ends in '/', so
// the order of keys is the order of paths.
//
// Keys are those of regular files, and of directories with FlagMarker. One counts if it begins with the prefix and is
// greater than the start, and are what the keys of the table say, without escapes. Those in which the delimiter follows the prefix are folded into one common prefix, which is
// listed if any of them counts; what it covers is not looked at any more.
type lister struct {
	v      *view
	q      *granary.List
	it     *pebble.Iterator
	limit  int
	visits int
	xattrs *pebble.Iterator // with q.Content: of the table of attributes, once one was wanted
	last   string           // what was visited before: a listing that goes on after it misses nothing
	out    granary.Listing
	d      dentryRecord // the last that was decoded
}

// list walks the files below a directory.
func (v *view) list(q *granary.List) (granary.Answer, error) {
	root, err := v.inode(q.Root)
	switch {
	case err != nil:
		return nil, err
	case root == nil:
		return nil, granary.Errorf(granary.KindNotFound, "list", q.Root.String(), "no such inode")
	case !root.IsDir():
		return nil, granary.Errorf(granary.KindNotDir, "list", q.Root.String(), "")
	}
	it, err := v.r.NewIter(&pebble.IterOptions{LowerBound: []byte{tableDentry}, UpperBound: []byte{tableDentry + 1}})
	if err != nil {
		return nil, errStore([]byte{tableDentry}, err)
	}
	l := &lister{v: v, q: q, it: it, limit: q.Limit}
	if l.limit <= 0 || l.limit > granary.ListMax {
		l.limit = granary.ListMax
	}
	if q.Versions {
		err = l.walkVersions(root, "")
	} else {
		_, err = l.walk(root.Inode, "")
	}
	err = firstError(err, it.Close())
	if l.xattrs != nil {
		err = firstError(err, l.xattrs.Close())
	}
	if err != nil {
		return nil, err
	}
	return &l.out, nil
}

// walk lists the entries of a directory whose path, with its '/', is given. It reports whether to
// go on.
func (l *lister) walk(dir granary.InodeID, path string) (bool, error) {
	seek, ok := l.from(path)
	if !ok {
		return true, nil
	}
	if err := l.v.reach("list", dir); err != nil {
		return false, err
	}
	prefix := key(tableDentry, uint64(dir))
	for valid := l.it.SeekGE(append(bytes.Clone(prefix), seek...)); valid; {
		if !bytes.HasPrefix(l.it.Key(), prefix) {
			break
		}
		full, d, err := l.entry(path, prefix)
		if err != nil {
			return false, err
		}
		if full > l.q.Prefix && !strings.HasPrefix(full, l.q.Prefix) {
			return false, nil // all that follows is beyond the prefix, too
		}
		n, err := l.visit(full, d)
		if err != nil {
			return false, err
		}
		switch n {
		case nextKey:
			valid = l.it.Next()
		case nextSeek:
			valid = l.it.SeekGE(append(append(bytes.Clone(prefix), full[len(path):]...), 0))
		case nextSkip:
			folded, _ := l.fold(full)
			valid = l.it.SeekGE(keyEnd(append(bytes.Clone(prefix), folded[len(path):]...)))
		case nextEnd:
			return false, nil
		}
	}
	if err := l.it.Error(); err != nil {
		return false, errStore(prefix, err)
	}
	return true, nil
}

// entry returns what the iterator is at: its path, in a directory whose keys have a prefix, and what it leads to.
func (l *lister) entry(path string, prefix []byte) (full string, d dentryRecord, err error) {
	k := l.it.Key()
	if err := unmarshalInto(l.it.Value(), &l.d); err != nil {
		return "", d, errStore(k, err)
	}
	full = string(k[len(prefix):])
	if path != "" {
		full = path + full
	}
	return full, l.d, l.v.done()
}

// from returns where the walk of a directory begins: the first component of what is left, below
// path, of the greater of prefix and start; false if the whole directory lies before.
func (l *lister) from(path string) (string, bool) {
	start := max(l.q.Prefix, l.q.StartAfter)
	if !strings.HasPrefix(start, path) {
		return "", start < path
	}
	rest := start[len(path):]
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest = rest[:i+1]
	}
	return rest, true
}

// next says where a walk goes on after an entry.
type next int

const (
	nextKey  next = iota // at the next key, where the iterator is
	nextSeek             // at the next key, to which the iterator has to come back
	nextSkip             // at the first key that is not folded as the entry's is
	nextEnd              // nowhere
)

// look counts a visit, and reports whether there may be another.
func (l *lister) look(full string) bool {
	if l.visits++; l.visits > listVisitsMax {
		l.out.Truncated, l.out.Next = true, l.last
		return false
	}
	l.last = full
	return true
}

// visit lists one entry, or the common prefix that it is folded into, or goes down into a directory.
func (l *lister) visit(full string, d dentryRecord) (next, error) {
	if !l.look(full) {
		return nextEnd, nil
	}
	folded, isFolded := l.fold(full)
	if d.Type != granary.TypeDirectory {
		switch {
		case d.Type != granary.TypeRegular || !l.wanted(full):
			return nextKey, nil
		case isFolded:
			return l.addPrefix(folded), nil
		}
		more, err := l.emit(full, d.Inode)
		return nextUnless(!more, nextKey), err
	}
	dir, err := l.v.child(d.Inode)
	if err != nil {
		return nextEnd, err
	}
	if isFolded {
		return l.visitFolded(full, folded, dir)
	}
	if err := l.v.reach("list", d.Inode); err != nil {
		return nextEnd, err
	}
	if dir.Flags&granary.FlagMarker != 0 && l.wanted(full) {
		if more, err := l.emit(full, d.Inode); err != nil || !more {
			return nextEnd, err
		}
	}
	more, err := l.walk(d.Inode, full)
	return nextUnless(!more, nextSeek), err
}

func nextUnless(end bool, n next) next {
	if end {
		return nextEnd
	}
	return n
}

// visitFolded lists the common prefix that all keys of a directory are folded into, if one of them counts. To find
// that out is bounded like the listing itself: then the prefix is shown, and the listing ends there.
func (l *lister) visitFolded(full, folded string, dir *inodeRecord) (next, error) {
	has, err := l.holds(dir, full)
	switch {
	case err != nil:
		return nextEnd, err
	case !has:
		return nextSeek, nil
	}
	exhausted := l.out.Truncated
	l.out.Truncated, l.out.Next = false, ""
	n := l.addPrefix(folded)
	if exhausted && n != nextEnd {
		l.out.Truncated, l.out.Next = true, l.last
		n = nextEnd
	}
	return n, nil
}

// holds reports whether a key that counts lies in a directory, at any depth; it says so, too, when it may look no
// further, and the listing is truncated then.
func (l *lister) holds(dir *inodeRecord, path string) (bool, error) {
	if dir.Flags&granary.FlagMarker != 0 && l.wanted(path) {
		return true, nil
	}
	seek, ok := l.from(path)
	if !ok {
		return false, nil
	}
	if err := l.v.reach("list", dir.Inode); err != nil || dir.Entries == 0 {
		return false, err
	}
	prefix := key(tableDentry, uint64(dir.Inode))
	for valid := l.it.SeekGE(append(bytes.Clone(prefix), seek...)); valid && bytes.HasPrefix(l.it.Key(), prefix); {
		full, d, err := l.entry(path, prefix)
		if err != nil {
			return false, err
		}
		if !l.look(full) || d.Type == granary.TypeRegular && l.wanted(full) {
			return true, nil
		}
		if d.Type != granary.TypeDirectory {
			valid = l.it.Next()
			continue
		}
		child, err := l.v.child(d.Inode)
		if err != nil {
			return false, err
		}
		if has, err := l.holds(child, full); has || err != nil {
			return has, err
		}
		valid = l.it.SeekGE(append(append(bytes.Clone(prefix), full[len(path):]...), 0))
	}
	if err := l.it.Error(); err != nil {
		return false, errStore(prefix, err)
	}
	return false, nil
}

// fold returns the common prefix of a key, or of all keys in a directory; false if there is none.
func (l *lister) fold(full string) (string, bool) {
	if l.q.Delimiter == "" || !strings.HasPrefix(full, l.q.Prefix) {
		return "", false
	}
	i := strings.Index(full[len(l.q.Prefix):], l.q.Delimiter)
	if i < 0 {
		return "", false
	}
	return full[:len(l.q.Prefix)+i+len(l.q.Delimiter)], true
}

// addPrefix lists a common prefix.
func (l *lister) addPrefix(folded string) next {
	if !l.add(granary.ListItem{Key: folded, IsPrefix: true}) {
		return nextEnd
	}
	l.last = pastPrefix(folded)
	return nextSkip
}

// wanted reports whether a key is within prefix and start.
func (l *lister) wanted(full string) bool {
	return full > l.q.StartAfter && strings.HasPrefix(full, l.q.Prefix)
}

// emit lists a key with its attributes.
func (l *lister) emit(full string, id granary.InodeID) (bool, error) {
	if len(l.out.Items) == l.limit {
		return l.add(granary.ListItem{}), nil
	}
	r, err := l.v.sibling(id)
	if err != nil {
		return false, err
	}
	item, err := l.item(full, r)
	if err != nil {
		return false, err
	}
	return l.add(item), nil
}

// item is what is listed of a file, or of a directory that is an object.
func (l *lister) item(full string, r *inodeRecord) (granary.ListItem, error) {
	item := granary.ListItem{Key: full, Attr: r.Attr}
	if r.ContentXattrs == 0 {
		return item, nil
	}
	if l.q.Content && r.ContentXattrs > 1 {
		return item, l.describe(&item)
	}
	x, err := read[bytesRecord](l.v, keyXattr(r.Inode, granary.XattrETag))
	if x != nil {
		item.ETag = string(x.Bytes)
	}
	return item, err
}

// describe completes an item with what describes the content: its attributes lie together, so that one seek
// finds them all.
func (l *lister) describe(item *granary.ListItem) error {
	if l.xattrs == nil {
		var err error
		if l.xattrs, err = l.v.r.NewIter(&pebble.IterOptions{LowerBound: []byte{tableXattr}, UpperBound: []byte{tableXattr + 1}}); err != nil {
			return errStore([]byte{tableXattr}, err)
		}
	}
	prefix := keyXattr(item.Attr.Inode, granary.XattrContentPrefix)
	for valid := l.xattrs.SeekGE(prefix); valid && bytes.HasPrefix(l.xattrs.Key(), prefix); valid = l.xattrs.Next() {
		name := l.xattrs.Key()[len(prefix)-len(granary.XattrContentPrefix):]
		x, err := unmarshal[bytesRecord](l.xattrs.Value())
		switch {
		case err != nil:
			return errStore(l.xattrs.Key(), err)
		case string(name) == granary.XattrETag:
			item.ETag = string(x.Bytes)
		case len(x.Bytes) <= granary.ListContentMax:
			item.Content = append(item.Content, granary.Xattr{Name: string(name), Value: x.Bytes})
		}
	}
	if err := l.xattrs.Error(); err != nil {
		return errStore(prefix, err)
	}
	return nil
}

// add appends an item, or notes that there is one more than may be listed.
func (l *lister) add(item granary.ListItem) bool {
	if n := len(l.out.Items); n == l.limit {
		l.out.Truncated, l.out.Next = true, l.out.Items[n-1].Key
		if l.out.Items[n-1].IsPrefix {
			l.out.Next = pastPrefix(l.out.Next)
		} else if l.q.Versions {
			at := l.out.Items[n-1].Attr.Object
			l.out.NextAt = &at
		}
		return false
	}
	l.out.Items = append(roomFor(l.out.Items, l.limit), item)
	return true
}
