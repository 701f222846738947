package web

import (
	"context"
	"net/http"
	"os"

	"golang.org/x/net/webdav"

	"github.com/dsorchard/granary"
)

// davConfirm evaluates the If header of a request that webdav.Handler does not serve: the handler does so before it looks at the file
// system, and what stands in for one here sees that it got so far.
func (q *request) davConfirm() error {
	if q.r.Header.Get("If") == "" {
		return nil
	}
	d := &davRequest{q: q}
	asked := &askedFS{}
	h := webdav.Handler{Prefix: davPath, FileSystem: asked, LockSystem: davLocks{d}}
	w := &statusOnly{header: http.Header{}}
	h.ServeHTTP(w, q.davSubrequest())
	switch {
	case d.err != nil:
		return d.err
	case asked.is:
		return nil
	}
	return &refusal{status: w.status, err: granary.Errorf(granary.KindPrecondition, "webdav", q.path, "the If header does not hold")}
}

// askedFS is a file system with nothing in it that notes that it was asked.
type askedFS struct{ is bool }

func (f *askedFS) ask() error {
	f.is = true
	return os.ErrNotExist
}

// Mkdir implements webdav.FileSystem.
func (f *askedFS) Mkdir(context.Context, string, os.FileMode) error { return f.ask() }

// OpenFile implements webdav.FileSystem.
func (f *askedFS) OpenFile(context.Context, string, int, os.FileMode) (webdav.File, error) {
	return nil, f.ask()
}

// RemoveAll implements webdav.FileSystem.
func (f *askedFS) RemoveAll(context.Context, string) error { return f.ask() }

// Rename implements webdav.FileSystem.
func (f *askedFS) Rename(context.Context, string, string) error { return f.ask() }

// Stat implements webdav.FileSystem.
func (f *askedFS) Stat(context.Context, string) (os.FileInfo, error) { return nil, f.ask() }

// statusOnly is an answer that nobody gets.
type statusOnly struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (w *statusOnly) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *statusOnly) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
