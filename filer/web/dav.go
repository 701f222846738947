package web

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/webdav"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// WebDAV (RFC 4918, classes 1 and 2) under /-/dav. Properties, locks, MKCOL and DELETE are golang.org/x/net/webdav's business; what
// moves content is done as elsewhere: streamed, published whole or not at all, copied by reference.
//
// A lock is a mandatory lock on the path, with a lease: every door is refused without it, and "granary lock ls" shows it. A
// request carries the tokens of its If header as Granary-Fence would, so the store itself decides whether it may change what it is about to.
const (
	davPath   = "/-/dav"
	lockURN   = "urn:granary:lock:"
	davLocked = "Second-" // begins a Timeout

	davTimeoutDefault = 3600      // seconds
	davTimeoutMax     = 24 * 3600 // seconds
	davTimeoutMin     = 5         // seconds
)

// davRequest is a request on its way through webdav.Handler, which asks its file system and its locks.
type davRequest struct {
	q       *request
	granted []granary.FencingToken // by this request
	known   *davInfo               // what was looked at last, while nothing changes
	err     error                  // the first that the handler has no words for
}

// serveDav serves what is below /-/dav.
func (q *request) serveDav() error {
	if q.h.fs == nil {
		return granary.Errorf(granary.KindNotSupported, "webdav", "", "there is no WebDAV here")
	}
	full := q.path
	clean, _, err := cleanPath(strings.TrimPrefix(full, davPath))
	if err != nil {
		return err
	}
	if err := checkTarget(clean); err != nil {
		return err
	}
	q.path = clean
	if err := q.davFences(); err != nil {
		return err
	}
	switch q.r.Method {
	case http.MethodPut, "COPY", "MOVE":
		if err := q.davConfirm(); err != nil {
			return err
		}
	}
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		return q.davGet()
	case http.MethodPut:
		return q.davPut()
	case "COPY":
		return q.davCopy()
	case "MOVE":
		return q.davMove()
	case "PROPFIND":
		if depth := q.r.Header.Get("Depth"); depth != "0" && depth != "1" {
			return &refusal{status: http.StatusForbidden, err: granary.Errorf(granary.KindNotSupported, "webdav", q.path, "a PROPFIND has a Depth of 0 or 1 (propfind-finite-depth)")}
		}
	case "LOCK":
		q.r.Header.Set("Timeout", davTimeout(q.r.Header.Get("Timeout")))
	}
	d := &davRequest{q: q}
	h := webdav.Handler{Prefix: davPath, FileSystem: davFS{d}, LockSystem: davLocks{d}}
	h.ServeHTTP(&davWriter{responseWriter: q.w, d: d}, q.davSubrequest())
	if d.err != nil && q.w.status < http.StatusBadRequest { // the answer had begun
		return d.err
	}
	return nil
}

// davSubrequest returns the request as webdav.Handler gets it: with a clean path, which it does not make itself.
func (q *request) davSubrequest() *http.Request {
	r := *q.r
	r.URL = &url.URL{Path: path.Join(davPath, q.path)}
	return &r
}

// davFences has the changes of the request depend on those locks of its If header that are held. What the header asks of others, Confirm sees to.
func (q *request) davFences() error {
	if q.r.Method == "LOCK" || q.r.Method == "UNLOCK" {
		return nil
	}
	var held []granary.FencingToken
	for _, token := range lockTokens(q.r.Header.Get("If")) {
		_, err := q.lockOf(token)
		switch {
		case err == nil:
			held = append(held, token)
		case !granary.IsKind(err, granary.KindNotFound):
			return err
		}
	}
	if len(held) > 0 {
		q.r = q.r.WithContext(client.WithFences(q.r.Context(), held...))
	}
	return nil
}

// davWriter answers with the status that an error has, where webdav.Handler has one for all.
type davWriter struct {
	*responseWriter
	d *davRequest
}

// WriteHeader implements http.ResponseWriter.
func (w *davWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status >= http.StatusBadRequest && w.d.err != nil {
		status = statusOf(w.d.err)
	}
	w.responseWriter.WriteHeader(status)
}

// lockTokens returns the tokens of locks that a header names. Those of others mean nothing here.
func lockTokens(header string) (tokens []granary.FencingToken) {
	for _, text := range strings.Split(header, "<"+lockURN)[1:] {
		number, _, _ := strings.Cut(text, ">")
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && n > 0 {
			tokens = append(tokens, granary.FencingToken(n))
		}
	}
	return tokens
}

// davTimeout returns how long a lock lasts, as a Timeout header says it: the first that is asked for, within limits.
func davTimeout(header string) string {
	first, _, _ := strings.Cut(header, ",")
	seconds := davTimeoutDefault
	if text, is := strings.CutPrefix(strings.TrimSpace(first), davLocked); is {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			seconds = int(min(max(n, davTimeoutMin), davTimeoutMax))
		}
	}
	return davLocked + strconv.Itoa(seconds)
}

// davGet serves a file, or the page of a directory.
func (q *request) davGet() error {
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Follow: true})
	if err != nil {
		return absent(err)
	}
	q.slash = info.Attr.IsDir()
	return q.get()
}

// davPut stores the body. The directory must be there: 409, as RFC 4918 has it.
func (q *request) davPut() error {
	if err := q.parentThere(q.path); err != nil {
		return err
	}
	q.slash, q.keepProperties = false, true
	q.ifToMatch()
	return q.put()
}

// ifToMatch takes the entity tags of an If header as those of If-Match, where it is as simple as that: so they hold when the file is published.
func (q *request) ifToMatch() {
	header := q.r.Header.Get("If")
	if header == "" || q.r.Header.Get("If-Match") != "" || strings.Contains(header, "Not") || strings.Count(header, "(") != 1 {
		return
	}
	var tags []string
	for _, m := range regexp.MustCompile(`\[((?:W/)?"[^"]*")\]`).FindAllStringSubmatch(header, -1) {
		tags = append(tags, m[1])
	}
	if len(tags) > 0 {
		q.r.Header.Set("If-Match", strings.Join(tags, ", "))
	}
}

// parentThere refuses what would need directories to be made.
func (q *request) parentThere(p string) error {
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, path.Dir(p), filer.StatOptions{Follow: true})
	if granary.IsKind(err, granary.KindNotFound) || err == nil && !info.Attr.IsDir() {
		return &refusal{status: http.StatusConflict, err: granary.Errorf(granary.KindNotFound, "webdav", path.Dir(p), "the directory is not there")}
	}
	return err
}

// davDestination returns where a COPY or MOVE leads, and what is there, or nil.
func (q *request) davDestination() (dst string, there *filer.Info, err error) {
	to, err := url.Parse(q.r.Header.Get("Destination"))
	if err != nil || to.Path == "" {
		return "", nil, granary.Errorf(granary.KindInvalid, "webdav", q.path, "the Destination %q", q.r.Header.Get("Destination"))
	}
	rest, below := strings.CutPrefix(to.Path, davPath+"/")
	if !below || to.Host != "" && !strings.EqualFold(to.Host, q.r.Host) {
		return "", nil, &refusal{status: http.StatusBadGateway, err: granary.Errorf(granary.KindNotSupported, "webdav", q.path, "the Destination is elsewhere: %s", to)}
	}
	if dst, _, err = cleanPath(rest); err == nil {
		err = checkTarget(dst)
	}
	switch {
	case err != nil:
		return "", nil, err
	case q.path == "/" || dst == "/" || dst == q.path || under(dst, q.path) || under(q.path, dst):
		return "", nil, &refusal{status: http.StatusForbidden, err: granary.Errorf(granary.KindInvalid, "webdav", q.path, "it cannot become %s", dst)}
	}
	if err := q.parentThere(dst); err != nil {
		return "", nil, err
	}
	there, err = q.h.store.Stat(q.r.Context(), granary.RootInode, dst, filer.StatOptions{})
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		return dst, nil, nil
	case err == nil && strings.EqualFold(q.r.Header.Get("Overwrite"), "F"):
		err = granary.Errorf(granary.KindPrecondition, "webdav", q.path, "there is something at %s", dst)
	}
	return dst, there, err
}

// davDone answers a COPY or MOVE.
func (q *request) davDone(there *filer.Info) error {
	if there != nil {
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	q.w.WriteHeader(http.StatusCreated)
	return nil
}

// davClear removes what a rename or copy does not replace by itself.
func (q *request) davClear(dst string) error {
	err := q.h.store.Remove(q.r.Context(), granary.RootInode, dst, filer.RemoveOptions{Recursive: true, Cred: q.cred})
	if granary.IsKind(err, granary.KindNotFound) {
		return nil
	}
	return err
}

// davMove renames. A file takes the place of a file in one step; a directory that is in the way is removed before.
func (q *request) davMove() error {
	src, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{})
	if err != nil {
		return absent(err)
	}
	dst, there, err := q.davDestination()
	if err != nil {
		return err
	}
	if there != nil && (src.Attr.IsDir() || there.Attr.IsDir()) {
		if err := q.davClear(dst); err != nil {
			return err
		}
	}
	if err := q.h.store.RenamePath(q.r.Context(), q.cred, granary.RootInode, q.path, dst); err != nil {
		return err
	}
	return q.davDone(there)
}

// davCopy copies by reference: a directory with all that is in it, or with Depth: 0 without.
func (q *request) davCopy() error {
	ctx := q.r.Context()
	src, err := q.h.store.Stat(ctx, granary.RootInode, q.path, filer.StatOptions{Follow: true})
	if err != nil {
		return absent(err)
	}
	depth := q.r.Header.Get("Depth")
	if depth != "" && depth != "0" && depth != "infinity" {
		return granary.Errorf(granary.KindInvalid, "webdav", q.path, "the Depth %q of a COPY", depth)
	}
	dst, there, err := q.davDestination()
	if err != nil {
		return err
	}
	if there != nil && (src.Attr.IsDir() && depth == "0" || src.Attr.IsDir() != there.Attr.IsDir()) {
		if err := q.davClear(dst); err != nil {
			return err
		}
	}
	switch {
	case !src.Attr.IsDir():
		err = q.copyFile(dst, false)
	case depth == "0":
		_, err = q.h.store.MkdirAll(ctx, q.cred, granary.RootInode, dst, src.Attr.Mode)
	default:
		_, err = q.h.fs.CopyTree(ctx, src.Attr.Inode, filer.StageOptions{Root: granary.RootInode, Path: dst, Mode: src.Attr.Mode, Cred: q.cred, Replace: true})
	}
	if err != nil {
		return err
	}
	return q.davDone(there)
}
