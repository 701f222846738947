package web

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

// healthWithin is how long the cluster may take to answer and still count as healthy.
const healthWithin = 2 * time.Second

// serveOwn serves the door's own endpoints.
func (q *request) serveOwn() error {
	if strings.HasPrefix(q.path+"/", locksPath+"/") {
		return q.serveLocks(strings.Trim(strings.TrimPrefix(q.path, locksPath), "/"))
	}
	if q.path == tusPath || strings.HasPrefix(q.path, tusPath+"/") {
		return q.serveTus(strings.Trim(strings.TrimPrefix(q.path, tusPath), "/"))
	}
	if q.path == davPath || strings.HasPrefix(q.path, davPath+"/") {
		return q.serveDav()
	}
	var serve func() error
	if strings.HasPrefix(q.path, uiPath) {
		serve = q.serveUI
	} else {
		serve = q.endpoint()
	}
	if serve == nil {
		return q.sendJSON(http.StatusNotFound, errorDocument{errorBody{
			Kind: granary.KindNotFound.String(), Message: "there is no endpoint " + q.path + "; paths under /-/ are the door's own",
		}})
	}
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		return methodNotAllowed(q.r.Method, "GET, HEAD")
	}
	return serve()
}

// endpoint returns what serves one of the endpoints that are only read, nil if it is none.
func (q *request) endpoint() func() error {
	switch q.path {
	case "/-/health":
		return q.health
	case "/-/metrics":
		return func() error { q.h.own.ServeHTTP(q.w, q.r); return nil }
	case "/-/version":
		return q.version
	case watchPath:
		if !q.superuser() { // whom not everything is shown to that is below a path
			return func() error {
				return granary.Errorf(granary.KindPermission, "watch", "", "changes are told to the superuser")
			}
		}
		return q.serveWatch
	case "/-/v1/openapi.json":
		return q.openAPI
	}
	return nil
}

// health answers 200 when the cluster does.
func (q *request) health() error {
	ctx, cancel := context.WithTimeout(q.r.Context(), healthWithin)
	defer cancel()
	status, text := http.StatusOK, "ok"
	if _, err := q.h.store.StatFS(ctx, 0); err != nil {
		status, text = http.StatusServiceUnavailable, err.Error()
		q.h.log.Debug("not healthy", "error", err)
	}
	header := q.w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	q.w.WriteHeader(status)
	_, err := q.w.Write([]byte(text + "\n"))
	return err
}

func (q *request) version() error {
	return q.sendJSON(http.StatusOK, struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Go      string `json:"go"`
	}{"granary", granary.Version, runtime.Version()})
}
