package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// door is a handler under test and the store behind it.
type door struct {
	t     *testing.T
	store *fakeStore
	h     *Handler
}

func newDoor(t *testing.T) *door {
	t.Helper()
	store := newFakeStore()
	h, err := newHandler(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.open != 0 {
			t.Errorf("%d files or uploads were not given up", store.open)
		}
	})
	return &door{t: t, store: store, h: h}
}

// do sends a request; headers are "Name: value".
func (d *door) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, header := range headers {
		name, value, ok := strings.Cut(header, ": ")
		if !ok {
			d.t.Fatalf("header %q", header)
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	return w
}

// want fails the test unless the answer has the status.
func (d *door) want(w *httptest.ResponseRecorder, status int) *httptest.ResponseRecorder {
	d.t.Helper()
	if w.Code != status {
		d.t.Fatalf("status %d, and not %d: %s", w.Code, status, w.Body)
	}
	return w
}

func errorOf(t *testing.T, w *httptest.ResponseRecorder) errorBody {
	t.Helper()
	var doc errorDocument
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return doc.Error
}

func TestPathsNeverEscape(t *testing.T) {
	for target, want := range map[string]string{
		"/../../etc/passwd":       "/etc/passwd",
		"/a/%2e%2e/%2e%2e/b":      "/b",
		"/a%2f..%2f..%2f..%2fc":   "/c",
		"//x///y":                 "/x/y",
		"/./d/./e":                "/d/e",
		"/%E4%FF":                 "/\xe4\xff",
		"/100%25%20sure%3F":       "/100% sure?",
		"/%5c..%5cf":              "/\\..\\f",
		"/buckets/photos/cat.jpg": "/buckets/photos/cat.jpg",
	} {
		d := newDoor(t)
		d.want(d.do("PUT", target, "x"), http.StatusCreated)
		if got := d.store.data(want); got != "x" {
			t.Errorf("PUT %s: there are %q", target, d.store.paths())
		}
		if w := d.do("GET", target, ""); w.Body.String() != "x" {
			t.Errorf("GET %s: %d", target, w.Code)
		}
	}
	d := newDoor(t)
	for _, method := range []string{"GET", "PUT", "DELETE", "MKCOL", "POST"} {
		d.want(d.do(method, "/a%00b", ""), http.StatusBadRequest)
	}
	if w := d.do("PUT", "/"+strings.Repeat("n", 256), "x"); w.Code < 400 || w.Code > 499 {
		t.Errorf("a name that is too long: %d", w.Code)
	}
	if paths := d.store.paths(); len(paths) != 1 {
		t.Errorf("made %q", paths)
	}
}

func TestForeignPagesChangeNothing(t *testing.T) {
	for _, method := range []string{"PUT", "POST", "DELETE", "MKCOL", "MOVE"} {
		for _, header := range []string{
			"Origin: http://evil.example", "Origin: null", "Origin: http://example.com:81", "Origin: ::", "Origin: file://",
			"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
		} {
			d := newDoor(t)
			d.store.add("/file", granary.TypeRegular, []byte("old"))
			w := d.do(method, "/file", "new", header, "Destination: /other")
			d.want(w, http.StatusForbidden)
			if d.store.data("/file") != "old" || len(d.store.paths()) != 2 {
				t.Errorf("%s with %s made %q", method, header, d.store.paths())
			}
		}
	}
	d := newDoor(t)
	d.want(d.do("PUT", "/file", "new", "Origin: http://example.com", "Sec-Fetch-Site: same-origin"), http.StatusCreated)
	d.want(d.do("GET", "/file", "", "Origin: http://evil.example"), http.StatusOK)
}

func TestMethods(t *testing.T) {
	d := newDoor(t)
	for _, method := range []string{"PATCH", "TRACE", "BREW"} {
		w := d.want(d.do(method, "/a", ""), http.StatusMethodNotAllowed)
		if w.Header().Get("Allow") != methodsAllowed {
			t.Errorf("%s: Allow %q", method, w.Header().Get("Allow"))
		}
	}
	w := d.want(d.do("OPTIONS", "/a", ""), http.StatusNoContent)
	if w.Header().Get("Allow") != methodsAllowed {
		t.Errorf("Allow %q", w.Header().Get("Allow"))
	}
}

func TestErrorsForProgramsAndPeople(t *testing.T) {
	d := newDoor(t)
	w := d.want(d.do("GET", "/no<b>such", ""), http.StatusNotFound)
	if e := errorOf(t, w); e.Kind != "not found" || !strings.Contains(e.Message, "/no<b>such") {
		t.Errorf("%+v", e)
	}
	w = d.want(d.do("GET", "/no<b>such", "", "Accept: text/html,application/xhtml+xml;q=0.9"), http.StatusNotFound)
	if body := w.Body.String(); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") ||
		!strings.Contains(body, "/no&lt;b&gt;such") || strings.Contains(body, "<b>") {
		t.Errorf("%s", body)
	}
	d.want(d.do("GET", "/?a=%zz", ""), http.StatusBadRequest)
	d.want(d.do("GET", "/?limit=none", ""), http.StatusBadRequest)
	d.want(d.do("GET", "/?format=xml", ""), http.StatusBadRequest)
}

func TestOwnEndpoints(t *testing.T) {
	d := newDoor(t)
	if w := d.want(d.do("GET", "/-/health", ""), http.StatusOK); w.Body.String() != "ok\n" {
		t.Errorf("%q", w.Body)
	}
	var v struct{ Name, Version string }
	w := d.want(d.do("GET", "/-/version", ""), http.StatusOK)
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || v.Name != "granary" || v.Version != granary.Version {
		t.Errorf("%s: %v", w.Body, err)
	}
	if e := errorOf(t, d.want(d.do("POST", "/-/v1/locks", ""), http.StatusNotImplemented)); e.Kind != granary.KindNotSupported.String() {
		t.Errorf("%+v", e)
	}
	if w := d.want(d.do("GET", "/-/v1/openapi.json", ""), http.StatusOK); !json.Valid(w.Body.Bytes()) {
		t.Errorf("%s", w.Body)
	}
	for _, target := range []string{"/-", "/-/", "/-/nothing", "//-//nothing", "/a/../-/nothing"} {
		if e := errorOf(t, d.want(d.do("PUT", target, "x"), http.StatusNotFound)); e.Kind != "not found" {
			t.Errorf("%+v", e)
		}
	}
	d.want(d.do("DELETE", "/-/health", ""), http.StatusMethodNotAllowed)
	d.want(d.do("POST", "/?mkdir", "name=-", "Content-Type: application/x-www-form-urlencoded"), http.StatusForbidden)
	d.want(d.do("MKCOL", "/a", ""), http.StatusCreated)
	d.want(d.do("MOVE", "/a", "", "Destination: /-/b"), http.StatusForbidden)
}

func TestHealthHasADeadline(t *testing.T) {
	d := newDoor(t)
	d.store.statFS = func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		return granary.Errorf(granary.KindUnavailable, "statfs", "", "no master answers")
	}
	w := d.want(d.do("GET", "/-/health", ""), http.StatusServiceUnavailable)
	if !strings.Contains(w.Body.String(), "no master answers") {
		t.Errorf("%q", w.Body)
	}
}

func TestMetrics(t *testing.T) {
	d := newDoor(t)
	d.do("PUT", "/a", "12345")
	d.do("GET", "/a", "")
	d.do("GET", "/b", "")
	d.do("BREW", "/b", "")
	body := d.want(d.do("GET", "/-/metrics", ""), http.StatusOK).Body.String()
	for _, line := range []string{
		`granary_web_requests_total{method="PUT",status="201"} 1`,
		`granary_web_requests_total{method="GET",status="200"} 1`,
		`granary_web_requests_total{method="GET",status="404"} 1`,
		`granary_web_requests_total{method="other",status="405"} 1`,
		`granary_web_request_seconds_count{method="PUT",status="201"} 1`,
		`granary_web_received_bytes_total 5`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

func TestNewHandlerNeedsAFileSystem(t *testing.T) {
	if _, err := NewHandler(Options{}); !granary.IsKind(err, granary.KindInvalid) {
		t.Error(err)
	}
}

// serve starts a real server, for what only a connection shows.
func (d *door) serve() *httptest.Server {
	s := httptest.NewServer(d.h)
	d.t.Cleanup(s.Close)
	return s
}

// get fetches over a connection, and returns what came and how it ended.
func get(t *testing.T, url string, headers ...string) (status int, body string, err error) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), errors.Join(err, resp.Body.Close())
}
