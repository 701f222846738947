package web

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// place is what is told of a path that is no file.
type place struct {
	Path string `json:"path"`
}

// mkdir makes the directory that the path names, or one in it, with its missing parents.
func (q *request) mkdir(name string) error {
	ctx, dir := q.r.Context(), path.Join(q.path, name)
	if err := checkTarget(dir); err != nil {
		return err
	}
	status := http.StatusCreated
	info, err := q.h.store.Stat(ctx, granary.RootInode, dir, filer.StatOptions{Follow: true})
	switch {
	case err == nil && !info.Attr.IsDir():
		return granary.Errorf(granary.KindExists, "mkdir", dir, "what is there is no directory")
	case err == nil:
		status = http.StatusOK
	case !granary.IsKind(err, granary.KindNotFound):
		return err
	default:
		if _, err := q.h.store.MkdirAll(ctx, q.cred, granary.RootInode, dir, directoryMode); err != nil {
			return err
		}
	}
	if q.browser() && q.r.Method == http.MethodPost {
		return q.seeOther(parentOf(dir))
	}
	return q.sendJSON(status, place{strings.TrimSuffix(dir, "/") + "/"})
}

// remove removes what the path names.
func (q *request) remove() error {
	if q.path == "/" {
		return granary.Errorf(granary.KindPermission, "remove", q.path, "the root stays")
	}
	recursive, err := q.flag("recursive")
	if err != nil {
		return err
	}
	o := filer.RemoveOptions{Recursive: recursive, Cred: q.cred}
	if q.slash || conditional(q.r) {
		if o.Match, err = q.matchRemoval(); err != nil {
			return absent(err)
		}
	}
	if err := q.h.store.Remove(q.r.Context(), granary.RootInode, q.path, o); err != nil {
		return absent(err)
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// matchRemoval checks the conditions of a removal, and that a path written as a directory's is one's.
func (q *request) matchRemoval() (*granary.Precondition, error) {
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Xattrs: true})
	if err != nil && !(granary.IsKind(err, granary.KindNotFound) && conditional(q.r)) {
		return nil, err
	}
	if info != nil && q.slash && !info.Attr.IsDir() {
		return nil, granary.Errorf(granary.KindNotDir, "remove", q.path, "")
	}
	match, err := precondition(q.r, q.path, info)
	if err != nil {
		return nil, err
	}
	if info != nil && info.Attr.IsDir() {
		return nil, nil // If-Match: * has been checked; a directory has nothing else to match
	}
	return match, nil
}

// move is WebDAV's MOVE: RFC 4918, section 9.9.
func (q *request) move() error {
	to, err := url.Parse(q.r.Header.Get("Destination"))
	if err != nil || to.Path == "" {
		return granary.Errorf(granary.KindInvalid, "rename", q.path, "the Destination %q", q.r.Header.Get("Destination"))
	}
	if to.Host != "" && !strings.EqualFold(to.Host, q.r.Host) {
		return &refusal{
			status: http.StatusBadGateway,
			err:    granary.Errorf(granary.KindNotSupported, "rename", q.path, "the Destination is another host: %s", to.Host),
		}
	}
	return q.rename(to.Path, strings.EqualFold(q.r.Header.Get("Overwrite"), "F"))
}

// rename gives what the path names another one.
func (q *request) rename(to string, noReplace bool) error {
	if !strings.HasPrefix(to, "/") {
		return granary.Errorf(granary.KindInvalid, "rename", q.path, "the new path %q does not begin with '/'", to)
	}
	dst, _, err := cleanPath(to)
	if err != nil {
		return err
	}
	if dst == "/" || q.path == "/" {
		return granary.Errorf(granary.KindPermission, "rename", q.path, "the root stays what it is")
	}
	if err := checkTarget(dst); err != nil {
		return err
	}
	ctx := q.r.Context()
	if conditional(q.r) {
		return granary.Errorf(granary.KindNotSupported, "rename", q.path, "conditions; Overwrite: F is one that a MOVE may have")
	}
	status := http.StatusOK
	_, err = q.h.store.Stat(ctx, granary.RootInode, dst, filer.StatOptions{})
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		status = http.StatusCreated
	case err != nil:
		return err
	}
	if noReplace {
		err = q.renameNoReplace(dst)
	} else {
		err = q.h.store.RenamePath(ctx, q.cred, granary.RootInode, q.path, dst)
	}
	if err != nil {
		return err
	}
	q.w.Header().Set("Location", escapePath(dst))
	return q.sendJSON(status, place{dst})
}

// renameNoReplace renames unless the destination exists: KindPrecondition, as RFC 4918 has it.
func (q *request) renameNoReplace(dst string) error {
	ctx := q.r.Context()
	src, err := q.h.store.Stat(ctx, granary.RootInode, path.Dir(q.path), filer.StatOptions{Follow: true})
	if err != nil {
		return err
	}
	into, err := q.h.store.Stat(ctx, granary.RootInode, path.Dir(dst), filer.StatOptions{Follow: true})
	if err != nil {
		return err
	}
	err = q.h.store.Rename(ctx, q.cred, src.Attr.Inode, path.Base(q.path), into.Attr.Inode, path.Base(dst), filer.RenameFlags{NoReplace: true})
	if granary.IsKind(err, granary.KindExists) {
		return granary.Errorf(granary.KindPrecondition, "rename", q.path, "there is something at %s", dst)
	}
	return err
}
