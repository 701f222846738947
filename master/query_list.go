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

// lister walks a tree in the order of full paths. A directory's key in its parent ends in '/', so
// the order of keys is the order of paths.
type lister struct {
	v      *view
	q      *granary.List
	it     *pebble.Iterator
	limit  int
	visits int
	last   string // path of the entry visited before
	out    granary.Listing
}

// list walks the files below a directory.
func (v *view) list(q *granary.List) (granary.Answer, error) {
	if q.Delimiter != "" && q.Delimiter != "/" {
		return nil, granary.Errorf(granary.KindNotSupported, "list", q.Delimiter, "the only delimiter is %q", "/")
	}
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
	_, err = l.walk(root.Inode, "")
	if err := firstError(err, it.Close()); err != nil {
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
	prefix := key(tableDentry, uint64(dir))
	for valid := l.it.SeekGE(append(bytes.Clone(prefix), seek...)); valid; {
		k := bytes.Clone(l.it.Key())
		if !bytes.HasPrefix(k, prefix) {
			break
		}
		d, err := unmarshal[dentryRecord](l.it.Value())
		if err != nil {
			return false, errStore(k, err)
		}
		if err := l.v.done(); err != nil {
			return false, err
		}
		full := path + string(k[len(prefix):])
		if full > l.q.Prefix && !strings.HasPrefix(full, l.q.Prefix) {
			return false, nil // all that follows is beyond the prefix, too
		}
		descended, more, err := l.visit(full, d)
		if err != nil || !more {
			return false, err
		}
		if descended {
			valid = l.it.SeekGE(append(k, 0))
		} else {
			valid = l.it.Next()
		}
	}
	if err := l.it.Error(); err != nil {
		return false, errStore(prefix, err)
	}
	return true, nil
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

// visit lists one entry, and goes down into it if it is a directory that is not a common prefix.
func (l *lister) visit(full string, d *dentryRecord) (descended, more bool, err error) {
	if l.visits++; l.visits > listVisitsMax {
		l.out.Truncated, l.out.Next = true, l.last
		return false, false, nil
	}
	l.last = full
	if d.Type != granary.TypeDirectory {
		if d.Type != granary.TypeRegular || !l.wanted(full) {
			return false, true, nil
		}
		more, err = l.emit(full, d.Inode)
		return false, more, err
	}
	dir, err := l.v.child(d.Inode)
	if err != nil {
		return false, false, err
	}
	if l.q.Delimiter != "" && len(full) > len(l.q.Prefix) {
		if full <= l.q.StartAfter || dir.Entries == 0 && dir.Flags&granary.FlagMarker == 0 {
			return false, true, nil
		}
		return false, l.add(granary.ListItem{Key: full, IsPrefix: true}), nil
	}
	if dir.Flags&granary.FlagMarker != 0 && l.wanted(full) {
		if more, err := l.emit(full, d.Inode); err != nil || !more {
			return false, false, err
		}
	}
	more, err = l.walk(d.Inode, full)
	return true, more, err
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
	item := granary.ListItem{Key: full, Attr: r.Attr}
	if r.ContentXattrs > 0 {
		x, err := read[bytesRecord](l.v, keyXattr(id, granary.XattrETag))
		if err != nil {
			return false, err
		}
		if x != nil {
			item.ETag = string(x.Bytes)
		}
	}
	return l.add(item), nil
}

// add appends an item, or notes that there is one more than may be listed.
func (l *lister) add(item granary.ListItem) bool {
	if n := len(l.out.Items); n == l.limit {
		l.out.Truncated, l.out.Next = true, l.out.Items[n-1].Key
		return false
	}
	l.out.Items = append(l.out.Items, item)
	return true
}
