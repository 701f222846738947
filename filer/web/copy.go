package web

import (
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// copyTo copies what the path names, by reference: a file, or with ?recursive a directory with all that is in it.
func (q *request) copyTo(to string, noReplace bool) error {
	if !strings.HasPrefix(to, "/") {
		return granary.Errorf(granary.KindInvalid, "copy", q.path, "the new path %q does not begin with '/'", to)
	}
	dst, _, err := cleanPath(to)
	if err != nil {
		return err
	}
	if dst == "/" {
		return granary.Errorf(granary.KindPermission, "copy", q.path, "the root stays what it is")
	}
	if err := checkTarget(dst); err != nil {
		return err
	}
	if conditional(q.r) {
		return granary.Errorf(granary.KindNotSupported, "copy", q.path, "conditions; Overwrite: F is one that a copy may have")
	}
	ctx := q.r.Context()
	src, err := q.h.store.Stat(ctx, granary.RootInode, q.path, filer.StatOptions{Follow: true})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if _, err := q.h.store.Stat(ctx, granary.RootInode, dst, filer.StatOptions{}); granary.IsKind(err, granary.KindNotFound) {
		status = http.StatusCreated
	} else if err != nil {
		return err
	} else if noReplace {
		return granary.Errorf(granary.KindPrecondition, "copy", q.path, "there is something at %s", dst)
	}
	if src.Attr.IsDir() {
		err = q.copyTree(src, dst)
		dst += "/"
	} else {
		err = q.copyFile(dst, noReplace)
	}
	if err != nil {
		return err
	}
	q.w.Header().Set("Location", escapePath(dst))
	return q.sendJSON(status, place{dst})
}

func (q *request) copyFile(dst string, noReplace bool) error {
	root, rest, err := q.h.grant(q.r.Context(), q.cred, dst)
	if err != nil {
		return err
	}
	o := filer.CopyOptions{SrcRoot: granary.RootInode, SrcPath: q.path, DstRoot: root, DstPath: rest, Cred: self(), Reader: &q.cred}
	if !q.superuser() {
		o.Owner = &q.cred
	}
	if noReplace {
		o.Match = &granary.Precondition{Absent: true}
	}
	_, err = q.h.fs.Copy(q.r.Context(), o)
	return err
}

func (q *request) copyTree(src *filer.Info, dst string) error {
	recursive, err := q.flag("recursive")
	if err != nil {
		return err
	}
	if !recursive {
		return granary.Errorf(granary.KindIsDir, "copy", q.path, "a directory is copied with ?recursive")
	}
	replace, err := q.flag("replace")
	if err != nil {
		return err
	}
	_, err = q.h.fs.CopyTree(q.r.Context(), src.Attr.Inode, filer.StageOptions{
		Root: granary.RootInode, Path: dst, Mode: src.Attr.Mode, Cred: q.cred, Replace: replace,
	})
	return err
}
