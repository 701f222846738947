package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

const (
	locksPath = "/-/v1/locks"

	lockDocumentMax = 64 << 10 // bytes
	lockTTLDefault  = 30 * time.Second
	lockWaitMax     = time.Hour
)

// locker is what the door needs to lock paths: fsLocks, and one in memory in the tests.
type locker interface {
	LockPath(ctx context.Context, root granary.InodeID, name string, subtree bool) (granary.LockPath, error)
	AcquirePaths(ctx context.Context, cred granary.Cred, op granary.AcquirePaths) (client.Grant, error)
	RenewPaths(ctx context.Context, cred granary.Cred, token granary.FencingToken, ttl, was time.Duration) (time.Time, error)
	ReleasePaths(ctx context.Context, cred granary.Cred, op granary.ReleasePaths) error
	Query(ctx context.Context, q granary.Query) (granary.Answer, error)
}

// fsLocks is the locker over a filer.FS.
type fsLocks struct {
	*client.Client
	fs *filer.FS
}

// LockPath implements locker.
func (s fsLocks) LockPath(ctx context.Context, root granary.InodeID, name string, subtree bool) (granary.LockPath, error) {
	return s.fs.LockPath(ctx, root, name, subtree)
}

// fenceHeader carries the tokens of locks that a change depends on, with commas between them.
const fenceHeader = "Granary-Fence"

// takeFences has the changes of the request depend on the locks whose tokens it carries.
func (q *request) takeFences() error {
	tokens, err := filer.ParseFences(q.r.Header.Values(fenceHeader))
	if err != nil || len(tokens) == 0 {
		return err
	}
	q.r = q.r.WithContext(client.WithFences(q.r.Context(), tokens...))
	return nil
}

type (
	// lockRequest asks for a lock. Durations are as "30s", or a number of seconds.
	lockRequest struct {
		Path        string   `json:"path"`
		Paths       []string `json:"paths"`
		Shared      bool     `json:"shared"`
		Subtree     bool     `json:"subtree"`
		Mandatory   bool     `json:"mandatory"`
		TTL         duration `json:"ttl"`
		Timeout     duration `json:"timeout"`
		Owner       string   `json:"owner"`
		Description string   `json:"description"`
	}

	lockDocument struct {
		Token       granary.FencingToken `json:"token,omitempty"`
		Path        string               `json:"path"`
		Paths       []string             `json:"paths"`
		Subtree     bool                 `json:"subtree,omitempty"`
		Exclusive   bool                 `json:"exclusive"`
		Mandatory   bool                 `json:"mandatory,omitempty"`
		Waiting     bool                 `json:"waiting,omitempty"`
		Owner       string               `json:"owner,omitempty"`
		Description string               `json:"description,omitempty"`
		Client      string               `json:"client,omitempty"`
		Since       *time.Time           `json:"since,omitempty"`
		Expires     *time.Time           `json:"expires,omitempty"`
	}

	locksDocument struct {
		Locks []lockDocument `json:"locks"`
	}
)

// duration is a time.Duration in JSON.
type duration time.Duration

// UnmarshalJSON takes "1m30s" or a number of seconds.
func (d *duration) UnmarshalJSON(b []byte) error {
	var seconds float64
	if json.Unmarshal(b, &seconds) == nil {
		*d = duration(seconds * float64(time.Second))
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = duration(v)
	return err
}

// serveLocks serves what is below /-/v1/locks.
func (q *request) serveLocks(rest string) error {
	if q.h.locks == nil {
		return granary.Errorf(granary.KindNotSupported, "lock", "", "there are no locks here")
	}
	if rest == "" {
		switch q.r.Method {
		case http.MethodGet, http.MethodHead:
			return q.listLocks()
		case http.MethodPost:
			return q.acquireLock()
		}
		return methodNotAllowed(q.r.Method, "GET, HEAD, POST")
	}
	number, verb, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 || verb != "" && verb != "renew" {
		return granary.Errorf(granary.KindNotFound, "lock", q.path, "locks are addressed by their tokens")
	}
	token := granary.FencingToken(n)
	switch {
	case verb == "renew" && q.r.Method == http.MethodPost:
		return q.renewLock(token)
	case verb == "renew":
		return methodNotAllowed(q.r.Method, "POST")
	case q.r.Method == http.MethodGet || q.r.Method == http.MethodHead:
		l, err := q.lockOf(token)
		if err != nil {
			return err
		}
		return q.sendJSON(http.StatusOK, lockDocumentOf(l))
	case q.r.Method == http.MethodDelete:
		breaks, err := q.flag("break")
		if err != nil {
			return err
		}
		if err := q.h.locks.ReleasePaths(q.r.Context(), q.cred, granary.ReleasePaths{Token: token, Break: breaks}); err != nil {
			return err
		}
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return methodNotAllowed(q.r.Method, "GET, HEAD, DELETE")
}

// document reads the JSON of the request's body; an empty body is an empty document.
func (q *request) document(into any) error {
	d := json.NewDecoder(http.MaxBytesReader(q.w, q.r.Body, lockDocumentMax))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && err != io.EOF {
		return granary.Errorf(granary.KindInvalid, "parse", q.path, "the document: %w", err)
	}
	return nil
}

// acquireLock takes a lock: 201, or 423 if it was not to be had in time.
func (q *request) acquireLock() error {
	in := lockRequest{TTL: duration(lockTTLDefault)}
	if err := q.document(&in); err != nil {
		return err
	}
	op := granary.AcquirePaths{
		Exclusive: !in.Shared, Mandatory: in.Mandatory, Wait: in.Timeout > 0, TTL: granary.Time(in.TTL), Owner: in.Owner, Note: in.Description,
	}
	if op.TTL <= 0 {
		return granary.Errorf(granary.KindInvalid, "lock", in.Path, "a lock taken by HTTP is a lease: ttl is how long it lasts without renewal")
	}
	if in.Path != "" {
		in.Paths = append([]string{in.Path}, in.Paths...)
	}
	out := lockDocument{Subtree: in.Subtree, Exclusive: op.Exclusive, Mandatory: in.Mandatory, Owner: in.Owner, Description: in.Description}
	for _, name := range in.Paths {
		clean, _, err := cleanPath(name)
		if err != nil {
			return err
		}
		at, err := q.h.locks.LockPath(q.r.Context(), granary.RootInode, clean, in.Subtree)
		if err != nil {
			return err
		}
		op.Paths = append(op.Paths, at)
		out.Paths = append(out.Paths, clean)
	}
	if len(out.Paths) == 0 {
		return granary.Errorf(granary.KindInvalid, "lock", "", "no path is named")
	}
	waiting, cancel := q.r.Context(), context.CancelFunc(func() {})
	if op.Wait {
		waiting, cancel = context.WithTimeout(waiting, min(time.Duration(in.Timeout), lockWaitMax))
	}
	defer cancel()
	g, err := q.h.locks.AcquirePaths(waiting, q.cred, op)
	if granary.IsKind(err, granary.KindCanceled) && q.r.Context().Err() == nil {
		err = granary.Errorf(granary.KindWouldBlock, "lock", out.Paths[0], "it was not to be had within %s", time.Duration(in.Timeout))
	}
	if err != nil {
		return err
	}
	out.Token, out.Path, out.Expires = g.Token, out.Paths[0], &g.Expires
	q.w.Header().Set("Location", locksPath+"/"+strconv.FormatUint(uint64(g.Token), 10))
	if err := q.sendJSON(http.StatusCreated, out); err != nil || q.r.Context().Err() != nil {
		// Nobody has heard of it.
		rerr := q.h.locks.ReleasePaths(context.WithoutCancel(q.r.Context()), q.cred, granary.ReleasePaths{Token: g.Token})
		if err == nil {
			err = rerr
		}
		return err
	}
	return nil
}

// renewLock begins a lease anew.
func (q *request) renewLock(token granary.FencingToken) error {
	var in struct {
		TTL duration `json:"ttl"`
	}
	if err := q.document(&in); err != nil {
		return err
	}
	l, err := q.lockOf(token)
	if granary.IsKind(err, granary.KindNotFound) {
		return granary.Errorf(granary.KindFenced, "renew lock", "", "the lock with token %d is not held any more", token)
	}
	if err != nil {
		return err
	}
	expires, err := q.h.locks.RenewPaths(q.r.Context(), q.cred, token, time.Duration(in.TTL), time.Duration(l.TTL))
	if err != nil {
		return err
	}
	out := lockDocumentOf(l)
	out.Expires = &expires
	return q.sendJSON(http.StatusOK, out)
}

func (q *request) lockOf(token granary.FencingToken) (*granary.PathLock, error) {
	a, err := q.h.locks.Query(q.r.Context(), &granary.ListPathLocks{Token: token})
	if err != nil {
		return nil, err
	}
	return &a.(*granary.PathLocks).Locks[0], nil
}

// listLocks lists the locks on paths, with ?path= those that concern one.
func (q *request) listLocks() error {
	out := locksDocument{Locks: []lockDocument{}}
	ask, clean := granary.ListPathLocks{}, ""
	if name := q.query.Get("path"); name != "" {
		var err error
		if clean, _, err = cleanPath(name); err != nil {
			return err
		}
	}
	for {
		a, err := q.h.locks.Query(q.r.Context(), &ask)
		if err != nil {
			return err
		}
		page := a.(*granary.PathLocks)
		for i := range page.Locks {
			if clean == "" || concerns(&page.Locks[i], clean) {
				out.Locks = append(out.Locks, lockDocumentOf(&page.Locks[i]))
			}
		}
		if !page.More {
			return q.sendJSON(http.StatusOK, out)
		}
		ask.After = page.Locks[len(page.Locks)-1].ID
	}
}

// concerns reports whether a lock is on a path, on a directory above with all that is below, or on something below.
func concerns(l *granary.PathLock, clean string) bool {
	for _, p := range l.Paths {
		if p.Path == clean || p.Subtree && under(clean, p.Path) || under(p.Path, clean) {
			return true
		}
	}
	return false
}

func under(name, top string) bool { return strings.HasPrefix(name, strings.TrimSuffix(top, "/")+"/") }

func lockDocumentOf(l *granary.PathLock) lockDocument {
	since := l.Since.Std().UTC()
	d := lockDocument{
		Token: l.Token, Exclusive: l.Exclusive, Mandatory: l.Mandatory, Waiting: l.Token == 0, Owner: l.Owner, Description: l.Note,
		Client: l.Client, Since: &since,
	}
	for _, p := range l.Paths {
		d.Paths = append(d.Paths, p.Path)
		d.Subtree = d.Subtree || p.Subtree
	}
	d.Path = d.Paths[0]
	if l.Expires != 0 {
		expires := l.Expires.Std().UTC()
		d.Expires = &expires
	}
	return d
}

//go:embed openapi.json
var openAPIDocument []byte

// openAPI describes the endpoints under /-/v1.
func (q *request) openAPI() error {
	header := q.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	q.w.WriteHeader(http.StatusOK)
	_, err := q.w.Write(openAPIDocument)
	return err
}
