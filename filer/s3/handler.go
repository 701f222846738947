package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/accounts"
	"github.com/dsorchard/granary/filer/notify"
	"github.com/dsorchard/granary/filer/s3/md5lanes"
)

// Options configures a handler.
type Options struct {
	FS     *filer.FS
	Region string // what GetBucketLocation answers; default us-east-1
	// Domain, if set, has requests to BUCKET.Domain address that bucket (virtual-host style), besides
	// the path style that always works.
	Domain string
	Notify *notify.Service // nil: buckets notify nobody
	Log    *slog.Logger
	Now    func() time.Time // default time.Now
	// LogEvery is how often access logs are delivered that are not large enough to be delivered before; default 5 minutes.
	LogEvery time.Duration
	// PlainKeys takes customers' keys (SSE-C) from everywhere over connections that are not encrypted; else only from this machine.
	PlainKeys bool
}

// Handler serves the S3 API. It is safe for concurrent use.
type Handler struct {
	store     store
	region    string
	domain    string
	log       *slog.Logger
	now       func() time.Time
	policies  policies
	accounts  *accounts.Service
	notify    *notify.Service // nil: buckets notify nobody
	plainKeys bool
	keepAlive time.Duration // how often a slow answer sends a space
	logs      *accessLog
	limits    limiter
	lanes     md5lanes.Lanes
	buffers   filer.CopyBuffers
	keys      signingKeys
}

// NewHandler returns a handler over a file system. Close ends it. It must see request paths as they came: a
// ServeMux before it would clean keys.
func NewHandler(o Options) (*Handler, error) {
	if o.FS == nil {
		return nil, granary.Errorf(granary.KindInvalid, "s3.new", "", "Options.FS is nil")
	}
	return newHandler(fsStore{o.FS}, o), nil
}

func newHandler(s store, o Options) *Handler {
	h := &Handler{
		store: s, region: o.Region, domain: strings.ToLower(strings.Trim(o.Domain, ".")), log: o.Log, now: o.Now, notify: o.Notify,
		plainKeys: o.PlainKeys, keepAlive: 5 * time.Second,
	}
	if h.region == "" {
		h.region = "us-east-1"
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	h.limits.now = h.now
	h.accounts = accounts.New(s, h.now)
	every := o.LogEvery
	if every <= 0 {
		every = 5 * time.Minute
	}
	h.logs = newAccessLog(s, h.region, every, h.log, h.now)
	return h
}

// Close delivers the access logs that there are, within ctx. No requests are being served any more.
func (h *Handler) Close(ctx context.Context) error {
	h.logs.close(ctx)
	return nil
}

// request is one request on its way.
type request struct {
	h        *Handler
	w        *responseWriter
	r        *http.Request
	id       string
	query    url.Values
	bucket   string
	key      string
	identity identity
	body     *body
	info     *filer.Info // of the bucket, once it has been looked up
	began    time.Time
	site     bool // it asks for a website
	passage  *passage

	objectSize int64 // of the object that is answered with; -1 for none
}

// responseWriter knows whether an answer has begun: from then on an error can only cut it off.
type responseWriter struct {
	http.ResponseWriter
	began  bool
	status int       // 0 until it is known
	code   string    // of the error that is answered
	sent   int64     // bytes of the body
	first  time.Time // when the answer began
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	w.began = true
	w.note(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(p []byte) (int, error) {
	w.began = true
	w.note(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		// net/http says it when the body is read, and there is none. But botocore remembers that its
		// last request on the connection got no 100, and misreads the answer to the next one.
		w.WriteHeader(http.StatusContinue)
	}
	q := h.newRequest(w, r)
	defer q.logged()
	defer func() { q.passage.end() }()
	if err := q.serve(); err != nil {
		q.fail(err)
	}
}

// newRequest begins a request: it gets its id.
func (h *Handler) newRequest(w http.ResponseWriter, r *http.Request) *request {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand
	q := &request{
		h: h, w: &responseWriter{ResponseWriter: w}, r: r, id: strings.ToUpper(hex.EncodeToString(random[:])), began: time.Now(), objectSize: -1,
	}
	w.Header().Set("X-Amz-Request-Id", q.id)
	w.Header().Set("Server", "Granary")
	return q
}

func (q *request) serve() error {
	var err error
	if q.query, err = url.ParseQuery(q.r.URL.RawQuery); err != nil {
		return refuse(codeInvalidURI, "Couldn't parse the specified URI: %v.", err)
	}
	q.bucket, q.key = q.h.split(q.r)
	if q.r.Method == http.MethodOptions && q.bucket != "" {
		return q.preflight()
	}
	if q.asksAccounts() {
		q.serveAccounts()
		return nil
	}
	if q.postsForm() {
		return q.postForm()
	}
	if q.identity, err = q.h.authenticate(q.r, q.query); err != nil {
		return err
	}
	if service := q.identity.scope.service; service != "" && service != scopeService {
		return refuse(codeAuthMalformed, "The authorization header is malformed; incorrect service %q. This endpoint belongs to %q.", service, scopeService)
	}
	if err := q.limit(); err != nil {
		return err
	}
	fences, err := filer.ParseFences(q.r.Header.Values(fenceHeader))
	if err != nil {
		return refuse(codeInvalidArgument, "%v.", err)
	}
	q.r = q.r.WithContext(client.WithFences(q.r.Context(), fences...))
	completes := q.r.Method == http.MethodPost && q.query.Has("uploadId")
	if q.body, err = newBody(q.r, q.identity, completes, &q.h.lanes); err != nil {
		return err
	}
	if err := q.checkOwner(); err != nil {
		return err
	}
	q.allowOrigin()
	op, ok := q.route()
	if !ok {
		return refuse(codeMethodNotAllowed, "The specified method is not allowed against this resource.")
	}
	if err := q.authorize(op); err != nil {
		return err
	}
	if !op.takesBody && q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		if err := q.body.drain(documentSizeMax); err != nil {
			return err
		}
	}
	return op.serve(q)
}

// limit holds the request to the limits of who makes it.
func (q *request) limit() error {
	p, err := q.h.limits.admit(q.identity.caller)
	if p == nil || err != nil {
		return err
	}
	q.passage = p
	if p.limits.Bytes > 0 {
		ctx := q.r.Context()
		q.w.ResponseWriter = &pacedWriter{q.w.ResponseWriter, ctx, p}
		q.r.Body = struct {
			io.Reader
			io.Closer
		}{&pacedReader{ctx, q.r.Body, p}, q.r.Body}
	}
	return nil
}

// from has what the request changes say how it came about, to those who watch.
func (q *request) from(o granary.Origin) {
	q.r = q.r.WithContext(client.WithOrigin(q.r.Context(), o))
}

// checkOwner refuses requests for buckets that are to be another's: all are the cluster's.
func (q *request) checkOwner() error {
	for _, name := range []string{"X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner"} {
		if owner := q.r.Header.Get(name); owner != "" && owner != ownerID && owner != accountID && owner != q.identity.caller.accessKey {
			return accessDenied()
		}
	}
	return nil
}

// fenceHeader carries the tokens of path locks that a change depends on, with commas between them.
const fenceHeader = "X-Granary-Fence"

// documentSizeMax bounds a small document in a request's body.
const documentSizeMax = 1 << 20

// split finds the bucket and the key that a request addresses.
func (h *Handler) split(r *http.Request) (bucket, key string) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if bucket, ok := h.hostBucket(r); ok {
		return bucket, path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// hostBucket returns the bucket that a request names by its host.
func (h *Handler) hostBucket(r *http.Request) (string, bool) {
	if h.domain == "" {
		return "", false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	bucket, ok := strings.CutSuffix(strings.ToLower(host), "."+h.domain)
	return bucket, ok && bucket != ""
}

// objectURL is where the request's object is to be had, by the address that the client has used.
func (q *request) objectURL() string {
	scheme, path := "http://", "/"+uriEncode(q.key, true)
	if q.r.TLS != nil {
		scheme = "https://"
	}
	if bucket, _, _ := strings.Cut(strings.TrimPrefix(q.r.URL.Path, "/"), "/"); bucket == q.bucket && !strings.HasPrefix(strings.ToLower(q.r.Host), q.bucket+".") { // path style
		path = "/" + q.bucket + path
	}
	return scheme + q.r.Host + path
}

// fail answers with an error; an answer that has begun is cut off, so that it never looks whole.
func (q *request) fail(err error) {
	notFound := codeNoSuchKey
	if q.key == "" {
		notFound = codeNoSuchBucket
	}
	e := explain(err, notFound)
	status := e.code.status()
	q.w.code = string(e.code)
	q.logFailure(e, status, err)
	if q.w.began {
		panic(http.ErrAbortHandler)
	}
	header := q.w.Header()
	for name := range header { // what was meant for the answer that is not coming
		if name != "X-Amz-Request-Id" && name != "Server" && name != "Vary" && !strings.HasPrefix(name, "Access-Control-") && !(name == "Content-Range" && status == http.StatusRequestedRangeNotSatisfiable) {
			delete(header, name)
		}
	}
	for name, values := range e.header {
		header[name] = values
	}
	if q.r.Method == http.MethodHead {
		q.w.WriteHeader(status)
		return
	}
	if (e.code == codeUnavailable || e.code == codeSlowDown) && header.Get("Retry-After") == "" {
		header.Set("Retry-After", "1")
	}
	if werr := writeXML(q.w, status, q.errorDocument(e)); werr != nil {
		panic(http.ErrAbortHandler)
	}
}

// logFailure tells the log of a request that is not answered as it asks.
func (q *request) logFailure(e *apiError, status int, err error) {
	attrs := []any{"request_id", q.id, "method", q.r.Method, "bucket", q.bucket, "key", q.key, "code", string(e.code), "error", err}
	switch {
	case q.r.Context().Err() != nil: // nobody is there to answer
		q.h.log.Debug("client went away", attrs...)
	case status >= 500 && e.code != codeNotImplemented:
		q.h.log.Warn("request failed", attrs...)
	default:
		q.h.log.Debug("request refused", attrs...)
	}
}

func (q *request) errorDocument(e *apiError) *errorDocument {
	return &errorDocument{
		Code: e.code, Message: messageText(e.message), Details: e.details, Key: q.key, Bucket: q.bucket, Resource: q.r.URL.Path, RequestID: q.id, HostID: hostID,
	}
}

// slowly runs an operation that may take long, and answers with its document. Once it has taken
// longer than keepAlive, the answer begins with status 200 and a space is sent now and then, so that
// nobody on the way gives up; an error is then the document, as in AWS.
func (q *request) slowly(run func() (document any, err error)) error {
	type outcome struct {
		document any
		err      error
	}
	done := make(chan outcome, 1)
	go func() {
		document, err := run()
		done <- outcome{document, err}
	}()
	ticker := time.NewTicker(q.h.keepAlive)
	defer ticker.Stop()
	flush := http.NewResponseController(q.w).Flush
	for {
		select {
		case o := <-done:
			if !q.w.began {
				if o.err != nil {
					return o.err
				}
				return writeXML(q.w, http.StatusOK, o.document)
			}
			if o.err != nil {
				o.document = q.errorDocument(explain(o.err, codeNoSuchKey))
				q.h.log.Warn("slow request failed", "request_id", q.id, "bucket", q.bucket, "key", q.key, "error", o.err)
			}
			return xml.NewEncoder(q.w).Encode(o.document)
		case <-ticker.C:
			text := " "
			if !q.w.began {
				q.w.Header().Set("Content-Type", "application/xml")
				text = xml.Header
			}
			// If the client is gone, its context ends run; there is nothing to do but wait for it.
			_, werr := io.WriteString(q.w, text)
			if err := errors.Join(werr, flush()); err != nil {
				q.h.log.Debug("client went away", "request_id", q.id, "error", err)
			}
		}
	}
}
