package master

import (
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// resolveVersion finds a version of an object, or the delete marker that is the newest; nil where the object is what its name leads to.
func (v *view) resolveVersion(q *granary.Lookup, parent granary.InodeID, name string) (*granary.Found, *inodeRecord, error) {
	dir, err := v.child(parent)
	if err != nil {
		return nil, nil, err
	}
	d, err := v.find(parent, entryName{name, fileName}, true)
	if err != nil {
		return nil, nil, err
	}
	none := granary.Errorf(granary.KindNotFound, "lookup", q.Path, "no such version")
	if q.Object == 0 {
		if d != nil || dir.Versions == 0 {
			return nil, nil, nil
		}
		r, number, err := v.newestVersion(parent, name)
		if err != nil || r == nil {
			return nil, nil, err
		}
		return &granary.Found{Entry: granary.Entry{Name: name, Attr: r.attr(number)}, Parent: parent, Marker: true}, &inodeRecord{}, nil
	}
	if d != nil {
		r, err := v.child(d.Inode)
		switch {
		case err != nil:
			return nil, nil, err
		case q.Object == granary.NoID && r.Unnumbered() || q.Object == r.Object && !r.Unnumbered():
			return nil, nil, nil
		}
	} else if name == "" && q.Object == granary.NoID && dir.Flags&granary.FlagMarker != 0 {
		return nil, nil, nil
	}
	number := q.Object
	if number == granary.NoID {
		n, err := read[numberRecord](v, keyNoID(parent, name))
		switch {
		case err != nil:
			return nil, nil, err
		case n == nil:
			return nil, nil, none
		}
		number = granary.ObjectVersion(n.Number)
	}
	r, err := read[versionRecord](v, keyVersion(parent, name, number))
	switch {
	case err != nil:
		return nil, nil, err
	case r == nil || r.NoID != (q.Object == granary.NoID), r.Inode == 0 && !q.Markers:
		return nil, nil, none
	case r.Inode == 0:
		return &granary.Found{Entry: granary.Entry{Name: name, Attr: r.attr(number)}, Parent: parent, Marker: true}, &inodeRecord{}, nil
	}
	file, err := v.child(r.Inode)
	if err != nil {
		return nil, nil, err
	}
	return &granary.Found{Entry: entryOf(name, file), Parent: parent}, file, v.permit("lookup", q.Path, file, q.Access)
}

// newestVersion reads the newest record of a name in table V; nil if there is none.
func (v *view) newestVersion(dir granary.InodeID, name string) (found *versionRecord, number granary.ObjectVersion, err error) {
	prefix := keyVersionsOf(dir, name)
	err = v.scan(prefix, keyEnd(prefix), func(k, b []byte) (bool, error) {
		var derr error
		if found, derr = unmarshal[versionRecord](b); derr != nil {
			return false, errStore(k, derr)
		}
		_, number, _ = versionName(k)
		return false, nil
	})
	return found, number, err
}

// names goes through what a directory has in two tables, by name: what is there, and earlier versions.
type names struct {
	dir      granary.InodeID
	entries  *pebble.Iterator // table d
	versions *pebble.Iterator // table V; nil if there are none
}

// seek goes to the first name from one on.
func (n *names) seek(name string) {
	n.entries.SeekGE(append(key(tableDentry, uint64(n.dir)), name...))
	if n.versions != nil {
		n.versions.SeekGE(keyVersionName(n.dir, name))
	}
}

// next returns the name that is next, as a directory's with its '/'; what it leads to, or nil; and whether it has earlier versions.
func (n *names) next() (name string, d *dentryRecord, earlier bool, err error) {
	entry, version := "", ""
	if n.entries.Valid() {
		entry = string(n.entries.Key()[9:])
	}
	if n.versions != nil && n.versions.Valid() {
		version, _, _ = versionName(n.versions.Key())
		earlier = true
	}
	if n.entries.Valid() && (!earlier || entry <= version) {
		if d, err = unmarshal[dentryRecord](n.entries.Value()); err != nil {
			return "", nil, false, errStore(n.entries.Key(), err)
		}
		return entry, d, earlier && entry == version, nil
	}
	return version, nil, earlier, nil
}

func (l *lister) names(dir *inodeRecord) (*names, error) {
	n := &names{dir: dir.Inode}
	open := func(table byte) (*pebble.Iterator, error) {
		prefix := key(table, uint64(dir.Inode))
		it, err := l.v.r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
		if err != nil {
			return nil, errStore(prefix, err)
		}
		return it, nil
	}
	var err error
	if n.entries, err = open(tableDentry); err == nil && dir.Versions > 0 {
		if n.versions, err = open(tableVersion); err != nil {
			err = firstError(err, n.entries.Close())
		}
	}
	return n, err
}

func (n *names) close() error {
	err := n.entries.Close()
	if n.versions != nil {
		err = firstError(err, n.versions.Close())
	}
	return err
}

// errListed ends a walk: the page is full, or all that may be looked at has been.
var errListed = granary.Errorf(granary.KindCanceled, "list", "", "enough")

// walkVersions lists the versions of the objects in and below a directory, whose path with its '/' is given.
func (l *lister) walkVersions(dir *inodeRecord, path string) error {
	err := l.walkNames(dir, path)
	if path == "" && err == error(errListed) {
		return nil
	}
	return err
}

func (l *lister) walkNames(dir *inodeRecord, path string) error {
	from, ok := l.from(path)
	if !ok {
		return nil
	}
	n, err := l.names(dir)
	if err != nil {
		return err
	}
	n.seek(from)
	for err == nil {
		var name string
		var d *dentryRecord
		var earlier bool
		if name, d, earlier, err = n.next(); err != nil || d == nil && !earlier {
			break
		}
		full := path + name
		if full > l.q.Prefix && !strings.HasPrefix(full, l.q.Prefix) {
			err = errListed
			break
		}
		var after string
		if after, err = l.visitName(dir, name, full, d, earlier); err == nil {
			err = l.v.done()
			n.seek(after)
		}
	}
	return firstError(err, n.close())
}

// visitName lists a name's versions, the common prefix that they are folded into, or what is below a directory. It returns from which
// name on the walk of the directory goes on.
func (l *lister) visitName(dir *inodeRecord, name, full string, d *dentryRecord, earlier bool) (after string, err error) {
	if !l.look(full) {
		return "", errListed
	}
	after = name + "\x00"
	isDir := d != nil && d.Type == granary.TypeDirectory
	var child *inodeRecord
	if d != nil {
		if child, err = l.v.child(d.Inode); err != nil {
			return "", err
		}
	}
	if folded, ok := l.fold(full); ok {
		resumes := full == l.q.StartAfter && l.q.StartAt != nil
		has := !isDir && (full > l.q.StartAfter || resumes) && (earlier || d.Type == granary.TypeRegular)
		if isDir {
			if has, err = l.holdsVersions(child, full, folded); err != nil {
				return "", err
			}
		}
		if !has {
			return after, nil
		}
		if l.addPrefix(folded) == nextEnd {
			return "", errListed
		}
		return string(keyEnd([]byte(folded[len(full)-len(name):]))), nil
	}
	if isDir {
		if child.Flags&granary.FlagMarker != 0 && l.wanted(full) {
			item, err := l.item(full, child)
			item.Latest = true
			if err != nil || !l.add(item) {
				return "", firstError(err, errListed)
			}
		}
		return after, l.walkNames(child, full)
	}
	return after, l.listVersions(dir, name, full, child, earlier)
}

// holdsVersions reports whether there is a version below a directory that counts: as a listing of one would find.
func (l *lister) holdsVersions(dir *inodeRecord, full, folded string) (bool, error) {
	sub := &lister{v: l.v, q: &granary.List{Prefix: folded, StartAfter: l.q.StartAfter, StartAt: l.q.StartAt, Versions: true}, limit: 1, visits: l.visits}
	if dir.Flags&granary.FlagMarker != 0 && l.wanted(full) {
		return true, nil
	}
	err := sub.walkNames(dir, full)
	l.visits = sub.visits
	if err != nil && err != error(errListed) {
		return false, err
	}
	return len(sub.out.Items) > 0 || sub.out.Truncated, nil
}

// listVersions lists the versions of one key.
func (l *lister) listVersions(dir *inodeRecord, name, full string, newest *inodeRecord, earlier bool) error {
	if !strings.HasPrefix(full, l.q.Prefix) || full < l.q.StartAfter || full == l.q.StartAfter && l.q.StartAt == nil {
		return nil
	}
	before := granary.NoID // only versions with lower numbers count
	resumed := full == l.q.StartAfter
	if resumed {
		before = *l.q.StartAt
	}
	if newest != nil && newest.Type == granary.TypeRegular && (!resumed || newest.Object < before) {
		item, err := l.item(full, newest)
		item.Latest = true
		if err != nil || !l.add(item) {
			return firstError(err, errListed)
		}
	}
	if !earlier {
		return nil
	}
	latest := newest == nil && !resumed
	lower := keyVersionsOf(dir.Inode, name)
	upper := keyEnd(lower)
	if resumed {
		lower = append(keyVersion(dir.Inode, name, before), 0)
	}
	return l.v.scan(lower, upper, func(k, b []byte) (bool, error) {
		r, err := unmarshal[versionRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		_, number, _ := versionName(k)
		item := granary.ListItem{Key: full, Attr: r.attr(number), Marker: true}
		if r.Inode != 0 {
			file, err := l.v.child(r.Inode)
			if err == nil {
				item, err = l.item(full, file)
			}
			if err != nil {
				return false, err
			}
			item.Attr.Object = number
		}
		item.Latest, latest = latest, false
		if !l.add(item) {
			return false, errListed
		}
		return true, nil
	})
}
