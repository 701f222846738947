package web

import (
	"context"
	"maps"
	"net/http"
	"path"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// listTree serves ?list: entries of a directory as JSON, in the order of their paths, those that begin with ?prefix=; with ?recursive all
// that is below it. A directory's path ends in '/', and comes before what is in it.
func (q *request) listTree() error {
	recursive, err := q.flag("recursive")
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	ctx := q.r.Context()
	info, err := q.h.store.Stat(ctx, granary.RootInode, q.path, filer.StatOptions{Follow: true})
	switch {
	case err != nil:
		return absent(err)
	case !info.Attr.IsDir():
		return &refusal{status: http.StatusNotFound, err: granary.Errorf(granary.KindNotDir, "list", q.path, "")}
	}
	dir, name := path.Split(q.query.Get("prefix"))
	l := &lister{store: q.h.store, prefix: dir + name, recursive: recursive, limit: limit}
	top := info.Attr.Inode
	if dir != "" { // what is in another directory cannot begin with the prefix
		below, err := q.h.store.Stat(ctx, granary.RootInode, path.Join(q.path, dir), filer.StatOptions{})
		switch {
		case granary.IsKind(err, granary.KindNotFound) || granary.IsKind(err, granary.KindNotDir) || err == nil && !below.Attr.IsDir() || path.Clean("/"+dir)+"/" != "/"+dir:
			return q.sendJSON(http.StatusOK, newListing(q.path, nil, ""))
		case err != nil:
			return err
		}
		top = below.Attr.Inode
	}
	after, ok := strings.CutPrefix(q.query.Get("after"), dir)
	if !ok && q.query.Has("after") {
		return granary.Errorf(granary.KindInvalid, "list", q.path, "the cursor %q is not one of a listing with this prefix", q.query.Get("after"))
	}
	if err := l.walk(ctx, top, dir, name, after); err != nil {
		return err
	}
	next := ""
	if l.more {
		query := maps.Clone(q.query)
		query.Set("after", cursorOf(&l.entries[len(l.entries)-1]))
		next = "?" + query.Encode()
	}
	return q.sendJSON(http.StatusOK, newListing(q.path, l.entries, next))
}

// lister gathers a page of a tree.
type lister struct {
	store     store
	prefix    string
	recursive bool
	limit     int
	entries   []granary.Entry // their names are paths, relative to where the listing began
	more      bool
}

// walk lists a directory, whose path ends in '/' or is "", from the entry after a cursor on: a path relative to it. Names begin with
// name.
func (l *lister) walk(ctx context.Context, dir granary.InodeID, prefix, name, after string) error {
	cursor := ""
	if first, rest, below := strings.Cut(after, "/"); below { // what follows may be in that directory, or after it
		cursor = first + "/"
		if l.recursive {
			below, err := l.store.Stat(ctx, dir, "/"+first, filer.StatOptions{})
			if err == nil && below.Attr.IsDir() {
				err = l.walk(ctx, below.Attr.Inode, prefix+cursor, "", rest)
			}
			if l.more || err != nil && !granary.IsKind(err, granary.KindNotFound) {
				return err
			}
		}
	} else {
		cursor = max(first, before(name))
	}
	for {
		entries, more, err := l.store.Page(ctx, dir, cursor, pageEntriesMax)
		if err != nil {
			return err
		}
		beyond := true // a whole page: what stands under an escape is not where its name would be
		for _, e := range entries {
			cursor = cursorOf(&e)
			if !strings.HasPrefix(e.Name, name) {
				beyond = beyond && e.Name > name
				continue
			}
			beyond = false
			if len(l.entries) == l.limit {
				l.more = true
				return nil
			}
			ino := e.Attr.Inode
			e.Name = prefix + e.Name
			l.entries = append(l.entries, e)
			if !l.recursive || !e.Attr.IsDir() {
				continue
			}
			if err := l.walk(ctx, ino, e.Name+"/", "", ""); err != nil || l.more {
				return err
			}
		}
		if !more || beyond {
			return nil
		}
	}
}

// before returns a cursor that is less than a key, with little between them.
func before(key string) string {
	n := len(key)
	if n == 0 {
		return ""
	}
	last := key[n-1] - 1
	if last == '/' { // no name has one
		last--
	}
	if key[n-1] == 0 || last == 0 {
		return key[:n-1]
	}
	return key[:n-1] + string([]byte{last, 0xff})
}
