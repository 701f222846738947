package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Resumable uploads: the protocol tus, version 1.0.0 (https://tus.io/protocols/resumable-upload).
//
// An upload is a directory among the uploads in progress of dataset 1, which says what it will be (tus_state.go), and one
// with its parts in the dataset of its file: what has come of it, each piece a file by the name of its offset. A part is made once, and begins where
// another ends: so whoever sends, through whichever filer, parts are always those of one stream. An offset that was told is durable. When all has come, the
// file is composed of the parts and published in one step, in which their directory goes: an upload without one is complete.
const (
	tusPath       = "/-/tus"
	tusVersion    = "1.0.0"
	tusExtensions = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation"
	tusChecksums  = "sha1,sha256,sha512,md5,crc32,crc32c"
	tusBodyType   = "application/offset+octet-stream"

	statusChecksumMismatch = 460
)

// tusUploads are the uploads that are being written to through this filer.
type tusUploads struct {
	mu     sync.Mutex
	active map[string]*tusActive
}

// tusActive is a request that works on an upload.
type tusActive struct {
	stop func()        // has it end soon: its client has come back, and so is not there any more
	done chan struct{} // closed when it has ended
}

// enter waits until no other request works on an upload, having them end. leave must be called.
func (t *tusUploads) enter(ctx context.Context, id string, stop func()) (leave func(), err error) {
	mine := &tusActive{stop, make(chan struct{})}
	for {
		t.mu.Lock()
		other := t.active[id]
		if other == nil {
			t.active[id] = mine
		}
		t.mu.Unlock()
		if other == nil {
			return func() {
				t.mu.Lock()
				delete(t.active, id)
				t.mu.Unlock()
				close(mine.done)
			}, nil
		}
		other.stop()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, granary.Errorf(granary.KindCanceled, "tus", id, "%w", context.Cause(ctx))
		}
	}
}

// serveTus serves what is below /-/tus.
func (q *request) serveTus(id string) error {
	if q.h.fs == nil {
		return granary.Errorf(granary.KindNotSupported, "tus", "", "there are no resumable uploads here")
	}
	method := q.r.Method
	if override := q.r.Header.Get("X-HTTP-Method-Override"); override != "" && method == http.MethodPost {
		method = strings.ToUpper(override)
	}
	q.r = q.r.WithContext(filer.WithCred(q.r.Context(), self())) // what gathers is the door's own
	header := q.w.Header()
	header.Set("Tus-Resumable", tusVersion)
	q.allowOrigin()
	if method == http.MethodOptions {
		return q.tusOptions()
	}
	if v := q.r.Header.Get("Tus-Resumable"); v != tusVersion {
		return &refusal{
			status: http.StatusPreconditionFailed, header: http.Header{"Tus-Version": {tusVersion}},
			err: granary.Errorf(granary.KindNotSupported, "tus", "", "Tus-Resumable is %q; there is %s", v, tusVersion),
		}
	}
	switch {
	case id == "" && method == http.MethodPost:
		return q.tusCreate()
	case id == "":
		return methodNotAllowed(method, "POST, OPTIONS")
	case !validTusID(id):
		return noTusUpload(id)
	}
	leave, err := q.h.tus.enter(q.r.Context(), id, q.interrupt)
	if err != nil {
		return err
	}
	defer leave()
	switch method {
	case http.MethodHead:
		return q.tusHead(id)
	case http.MethodPatch:
		return q.tusPatch(id)
	case http.MethodDelete:
		return q.tusDelete(id)
	}
	return methodNotAllowed(method, "HEAD, PATCH, DELETE, OPTIONS")
}

// loadTus finds an upload that is for who makes the request to go on with.
func (q *request) loadTus(id string) (*tusUpload, error) {
	u, err := q.h.loadTus(q.r.Context(), id)
	if err == nil && !q.mine(u.doc.By) {
		return nil, noTusUpload(id)
	}
	return u, err
}

// interrupt has whoever reads the body of the request see it break off. A connection that cannot be interrupted ends by itself.
func (q *request) interrupt() {
	if err := http.NewResponseController(q.w).SetReadDeadline(time.Now()); err != nil {
		q.h.log.Debug("request not interrupted", "path", q.path, "error", err)
	}
}

// allowOrigin lets pages of the door's own origin, and of those that it allows, read what tus tells in headers. Others get no such header, and their
// requests are refused (invariant 5).
func (q *request) allowOrigin() {
	origin := q.r.Header.Get("Origin")
	q.w.Header().Add("Vary", "Origin")
	if origin == "" || q.h.checkOrigin(q.r) != nil {
		return
	}
	header := q.w.Header()
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Concat, Upload-Expires")
	if q.r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "POST, HEAD, PATCH, DELETE, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Granary-Fence, If-None-Match, Tus-Resumable, Upload-Offset, Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Concat, Upload-Checksum, X-HTTP-Method-Override, X-Requested-With")
		header.Set("Access-Control-Max-Age", "86400")
	}
}

// tusOptions says what there is.
func (q *request) tusOptions() error {
	header := q.w.Header()
	header.Set("Tus-Version", tusVersion)
	header.Set("Tus-Extension", tusExtensions)
	header.Set("Tus-Checksum-Algorithm", tusChecksums)
	header.Set("Tus-Max-Size", strconv.FormatInt(granary.FileSizeMax, 10))
	header.Set("Allow", "POST, HEAD, PATCH, DELETE, OPTIONS")
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// tusHead tells how far an upload is. Of one that has all its bytes, and is not published yet, because the filer died or the file could not be
// made, it is published now: an offset at its end says that the file is there.
func (q *request) tusHead(id string) error {
	u, err := q.loadTus(id)
	if err != nil {
		return err
	}
	if err := q.h.finishTus(q.r.Context(), u); err != nil {
		return err
	}
	q.showTus(u)
	q.w.Header().Set("Cache-Control", "no-store")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// showTus puts what is known of an upload into the answer's header.
func (q *request) showTus(u *tusUpload) {
	header := q.w.Header()
	if !u.doc.Concatenation() || u.complete {
		header.Set("Upload-Offset", strconv.FormatUint(u.offset, 10))
	}
	if u.doc.Length >= 0 {
		header.Set("Upload-Length", strconv.FormatInt(u.doc.Length, 10))
	} else {
		header.Set("Upload-Defer-Length", "1")
	}
	if u.doc.Metadata != "" {
		header.Set("Upload-Metadata", u.doc.Metadata)
	}
	if u.doc.Concat != "" {
		header.Set("Upload-Concat", u.doc.Concat)
	}
	if !u.complete {
		header.Set("Upload-Expires", u.touched.Add(q.h.uploadTTL).UTC().Format(http.TimeFormat))
	}
}

// tusDelete ends an upload. What it has published stays.
func (q *request) tusDelete(id string) error {
	u, err := q.loadTus(id)
	if err != nil {
		return err
	}
	if err := q.h.removeTus(q.r.Context(), u); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}
