package web

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Options configures a handler.
type Options struct {
	FS  *filer.FS
	Log *slog.Logger // default: none

	// UploadTTL is how long a resumable upload to which nothing comes is kept; default a day.
	UploadTTL time.Duration
	// Auth has every request say who makes it, with an access key of a user, and do what that user may; otherwise whoever reaches the
	// door may do everything.
	Auth bool
	// Origins are those besides the door's own, as "https://example.org", whose pages may change things.
	Origins []string
	// Metrics are told of under /-/metrics besides the door's own.
	Metrics []prometheus.Collector
}

// Handler serves the HTTP door. It is safe for concurrent use.
type Handler struct {
	store   store
	log     *slog.Logger
	pages   *pages
	metrics *metrics
	own     http.Handler // what is under /-/
	fs      *filer.FS    // what store is too narrow for; nil in tests of what is not
	locks   locker       // nil: there are none

	buffers   filer.CopyBuffers
	holders   holders // nil: nobody is asked who they are
	tus       tusUploads
	uploadTTL time.Duration
	origins   []string

	stop       context.CancelFunc // of the background
	background sync.WaitGroup

	watchers *watchers
}

// NewHandler returns a handler over a file system. It must see request paths as they came: a ServeMux
// before it would redirect those that are not clean. Close must be called.
func NewHandler(o Options) (*Handler, error) {
	if o.FS == nil {
		return nil, granary.Errorf(granary.KindInvalid, "web.new", "", "Options.FS is nil")
	}
	if o.UploadTTL < 0 {
		return nil, granary.Errorf(granary.KindInvalid, "web.new", "", "Options.UploadTTL is %v", o.UploadTTL)
	}
	h, err := newHandler(fsStore{o.FS}, o.Log)
	if err != nil {
		return nil, err
	}
	for _, c := range o.Metrics {
		if err := h.metrics.registry.Register(c); err != nil {
			return nil, granary.Errorf(granary.KindInvalid, "web.new", "", "%w", err)
		}
	}
	h.locks, h.fs, h.origins = fsLocks{o.FS.Client(), o.FS}, o.FS, o.Origins
	h.watchers.source = fsChanges{o.FS}
	if o.Auth {
		h.holders = o.FS
	}
	h.uploadTTL = cmp.Or(o.UploadTTL, uploadTTLDefault)
	ctx, stop := context.WithCancel(context.Background()) // the background belongs to no caller: it ends with Close
	h.stop = stop
	h.background.Go(func() { h.sweeper(ctx) })
	return h, nil
}

// Close ends what the handler does by itself. Requests are the server's to end.
func (h *Handler) Close() error {
	if h.stop != nil {
		h.stop()
	}
	h.background.Wait()
	return nil
}

func newHandler(s store, log *slog.Logger) (*Handler, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	pages, err := parsePages()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	return &Handler{store: s, log: log, pages: pages, metrics: m, own: m.handler(), watchers: newWatchers(), tus: tusUploads{active: map[string]*tusActive{}}}, nil
}

// request is one request on its way.
type request struct {
	h        *Handler
	w        *responseWriter
	r        *http.Request
	path     string // clean
	slash    bool   // the path was written with a slash at its end, as that of a directory
	query    url.Values
	received *countingBody

	cred granary.Cred // on whose behalf it is done

	keepProperties bool // of a file that is replaced: WebDAV's
}

// responseWriter knows what has been answered.
type responseWriter struct {
	http.ResponseWriter
	status int // 0 until the answer has begun: from then on an error can only cut it off
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// countingBody counts what a request brings.
type countingBody struct {
	io.ReadCloser
	bytes atomic.Int64
}

// Read implements io.Reader.
func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A copy of the request gets the body that counts: net/http looks at the type of its own request's
	// body, to know whether a client still waits for "100 Continue".
	counted := *r
	q := &request{h: h, w: &responseWriter{ResponseWriter: w}, r: &counted, received: &countingBody{ReadCloser: r.Body}}
	if r.Body != nil && r.Body != http.NoBody {
		counted.Body = q.received
	}
	defer h.metrics.observe(q, time.Now()) // also when the connection is cut by a panic
	if err := q.serve(); err != nil {
		q.fail(err)
	}
}

func (q *request) serve() error {
	if err := q.parse(); err != nil {
		return err
	}
	if !safe(q.r.Method) {
		if err := q.h.checkOrigin(q.r); err != nil {
			return err
		}
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	if err := q.takeFences(); err != nil {
		return err
	}
	if own(q.path) {
		return q.serveOwn()
	}
	switch q.r.Method {
	case http.MethodGet, http.MethodHead:
		return q.get()
	case http.MethodPut:
		return q.put()
	case http.MethodPost:
		return q.post()
	case http.MethodDelete:
		return q.remove()
	case "MKCOL":
		return q.mkdir("")
	case "MOVE":
		return q.move()
	case http.MethodOptions:
		q.w.Header().Set("Allow", methodsAllowed)
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return methodNotAllowed(q.r.Method, methodsAllowed)
	}
}

const methodsAllowed = "GET, HEAD, PUT, POST, DELETE, MKCOL, MOVE, OPTIONS"

// parse finds what the request addresses.
func (q *request) parse() error {
	var err error
	if q.query, err = url.ParseQuery(q.r.URL.RawQuery); err != nil {
		return granary.Errorf(granary.KindInvalid, "parse", q.r.URL.RawQuery, "the query: %w", err)
	}
	q.path, q.slash, err = cleanPath(q.r.URL.Path)
	return err
}

// cleanPath returns a decoded path clean, and whether it was written as a directory's.
func cleanPath(decoded string) (clean string, slash bool, err error) {
	if clean, err = filer.CleanPath(decoded); err != nil {
		return "", false, err
	}
	last := decoded[strings.LastIndexByte(decoded, '/')+1:]
	return clean, last == "" || last == "." || last == "..", nil
}

// own reports whether a clean path is the door's own.
func own(clean string) bool { return clean == "/-" || strings.HasPrefix(clean, "/-/") }

// checkTarget refuses a path, put together of clean ones and names, at which nothing can be made.
func checkTarget(clean string) error {
	if own(clean) {
		return granary.Errorf(granary.KindPermission, "make", clean, "paths under /-/ are the door's own")
	}
	_, err := filer.CleanPath(clean)
	return err
}

// safe reports whether a method changes nothing.
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// checkOrigin refuses a change that a page of another origin has had a browser ask for. A browser says
// so in Origin, and in Sec-Fetch-Site; programs send neither. A sandboxed page has the origin "null".
func (h *Handler) checkOrigin(r *http.Request) error {
	refused := granary.Errorf(granary.KindPermission, "check", "", "a page of another origin may not change anything here")
	if origin := r.Header.Get("Origin"); origin != "" {
		if slices.Contains(h.origins, origin) {
			return nil
		}
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return &refusal{status: http.StatusForbidden, err: refused}
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return nil
	default:
		return &refusal{status: http.StatusForbidden, err: refused}
	}
}

// flag reads a parameter of the query that is true or false; "?name" alone is true.
func (q *request) flag(name string) (bool, error) {
	if !q.query.Has(name) {
		return false, nil
	}
	text := q.query.Get(name)
	if text == "" {
		return true, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, granary.Errorf(granary.KindInvalid, "parse", name, "%q is neither true nor false", text)
	}
	return v, nil
}

// accepts reports whether the client names a media type among those it accepts.
func (q *request) accepts(mediaType string) bool {
	for _, value := range q.r.Header.Values("Accept") {
		for item := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), mediaType) {
				weight, given := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
				return !given || strings.Trim(weight, "0.") != ""
			}
		}
	}
	return false
}

// browser reports whether a person is looking.
func (q *request) browser() bool { return q.accepts("text/html") }
