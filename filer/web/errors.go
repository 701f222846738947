package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// refusal is an error with a status of its own, which filer.HTTPStatus would not give its kind.
type refusal struct {
	status int
	header http.Header // sent with the answer; may be nil
	err    error
}

// Error returns the text of the cause.
func (e *refusal) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *refusal) Unwrap() error { return e.err }

func methodNotAllowed(method, allowed string) error {
	return &refusal{
		status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {allowed}},
		err: granary.Errorf(granary.KindNotSupported, "serve", "", "the method %s; allowed are %s", method, allowed),
	}
}

func statusOf(err error) int {
	var e *refusal
	if errors.As(err, &e) {
		return e.status
	}
	return filer.HTTPStatus(err)
}

// fail answers with an error; an answer that has begun is cut off, so that it never looks whole
// (invariant 3).
func (q *request) fail(err error) {
	status := statusOf(err)
	attrs := []any{"method", q.r.Method, "path", q.path, "status", status, "error", err}
	switch {
	case q.r.Context().Err() != nil: // nobody is there to answer
		q.h.log.Debug("client went away", attrs...)
	case status >= 500 && status != http.StatusNotImplemented:
		q.h.log.Warn("request failed", attrs...)
	default:
		q.h.log.Debug("request refused", attrs...)
	}
	if q.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	header := q.w.Header()
	clear(header) // what was meant for the answer that is not coming
	var e *refusal
	if errors.As(err, &e) {
		for name, values := range e.header {
			header[name] = values
		}
	}
	if status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	if werr := q.sendError(status, err); werr != nil {
		panic(http.ErrAbortHandler)
	}
}

func (q *request) sendError(status int, err error) error {
	message := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if q.browser() {
		return q.sendPage(status, "error.html", &errorPage{
			Status: status, Title: http.StatusText(status), Message: message, Up: len(q.path) > 1,
		})
	}
	return q.sendJSON(status, errorDocument{errorBody{Kind: granary.KindOf(err).String(), Message: message}})
}

type (
	errorDocument struct {
		Error errorBody `json:"error"`
	}
	errorBody struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	errorPage struct {
		Nonce   string
		Base    string
		Status  int
		Title   string
		Message string
		Up      bool
	}
)

func (p *errorPage) setNonce(nonce, base string) { p.Nonce, p.Base = nonce, base }

// sendJSON answers with a document.
func (q *request) sendJSON(status int, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	header := q.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	q.w.WriteHeader(status)
	_, err = q.w.Write(append(body, '\n'))
	return err
}
