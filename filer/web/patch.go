package web

import (
	"net/http"
	"strconv"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// patched is what is told of bytes that went into a file.
type patched struct {
	Path   string `json:"path"`
	Size   uint64 `json:"size"`
	Offset uint64 `json:"offset"` // where they went
	ETag   string `json:"etag"`
}

// patchAt reads where in a file the body goes, if the request says that it is a part.
func (q *request) patchAt() (offset uint64, is bool, err error) {
	appends, err := q.flag("append")
	switch {
	case err != nil:
		return 0, false, err
	case appends && q.query.Has("offset"):
		return 0, false, granary.Errorf(granary.KindInvalid, "upload", q.path, "?append and ?offset exclude each other")
	case appends:
		return granary.OffsetEnd, true, nil
	case !q.query.Has("offset"):
		return 0, false, nil
	}
	offset, err = strconv.ParseUint(q.query.Get("offset"), 10, 63)
	if err != nil {
		return 0, false, granary.Errorf(granary.KindInvalid, "upload", q.path, "the offset %q", q.query.Get("offset"))
	}
	return offset, true, nil
}

// patch puts the body into a file: at an offset, or at its end. It is seen, and there after any crash, from the answer on; of
// a body that broke off, or is not what was announced, there is nothing.
func (q *request) patch(offset uint64) error {
	if q.slash {
		return granary.Errorf(granary.KindIsDir, "upload", q.path, "")
	}
	if err := q.refuseParts(); err != nil {
		return err
	}
	if q.r.Header.Get("Repr-Digest") != "" {
		return granary.Errorf(granary.KindNotSupported, "upload", q.path, "a Repr-Digest of a part: Content-Digest is that of the body")
	}
	attributes, err := q.attributes()
	if err != nil {
		return err
	}
	sums, err := announced(q.r)
	if err != nil {
		return err
	}
	match, err := q.matchFile()
	if err != nil {
		return err
	}
	ctx := q.r.Context()
	kind := typeXattr(bodyType(q.r))
	o := filer.PatchOptions{
		Root: granary.RootInode, Path: q.path, Offset: offset, Cred: q.cred, Match: match, Mode: attributes.mode, Xattrs: attributes.xattrs,
	}
	if q.superuser() {
		o.Xattrs = append(o.Xattrs, kind...)
	}
	up, err := q.h.fs.Patch(ctx, o)
	if err != nil {
		return err
	}
	defer up.Abort()
	if a := up.Attr(); a != nil && attributes.mtime != nil && !q.superuser() && a.UID != q.cred.UID {
		return granary.Errorf(granary.KindNotOwner, "upload", q.path, "its time is the owner's to set")
	}
	n, err := copyBody(&q.h.buffers, up, sums, &incoming{path: q.path, body: q.r.Body, size: q.r.ContentLength})
	if err == nil && q.r.ContentLength >= 0 && n != q.r.ContentLength {
		err = granary.Errorf(granary.KindInvalid, "upload", q.path, "the body has %d bytes, and not the %d announced", n, q.r.ContentLength)
	}
	if err == nil {
		err = sums.check(q.path)
	}
	if err != nil {
		return err
	}
	done, err := up.Commit()
	if err != nil {
		return err
	}
	if done.Made && !q.superuser() { // whose attributes the store's are not
		for _, x := range kind {
			if err := q.h.fs.SetXattr(ctx, self(), &granary.SetXattr{Inode: done.Attr.Inode, Xattr: x}); err != nil {
				return err
			}
		}
	}
	if attributes.mtime != nil {
		if done.Attr, err = q.h.fs.SetAttr(ctx, q.cred, &granary.SetAttr{Inode: done.Attr.Inode, Mtime: attributes.mtime}); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if done.Made {
		status = http.StatusCreated
	}
	etag := granary.ETagOf(&done.Attr, "")
	q.w.Header().Set("ETag", quoteETag(etag))
	return q.sendJSON(status, patched{Path: q.path, Size: done.Attr.Size, Offset: done.Offset, ETag: etag})
}

// matchFile checks the conditions of a request against the file that its path leads to.
func (q *request) matchFile() (*granary.Precondition, error) {
	if !conditional(q.r) {
		return nil, nil
	}
	current, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Follow: true, Xattrs: true})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return nil, err
	}
	return precondition(q.r, q.path, current)
}

// typeXattr returns the attribute that keeps a Content-Type.
func typeXattr(contentType string) []granary.Xattr {
	if contentType == "" {
		return nil
	}
	return []granary.Xattr{{Name: xattrContentType, Value: []byte(contentType)}}
}
