package web

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

const tusHeader = "Tus-Resumable: 1.0.0"

// tusMeta makes Upload-Metadata of keys and values.
func tusMeta(pairs ...string) string {
	var items []string
	for i := 0; i < len(pairs); i += 2 {
		items = append(items, pairs[i]+" "+base64.StdEncoding.EncodeToString([]byte(pairs[i+1])))
	}
	return "Upload-Metadata: " + strings.Join(items, ",")
}

// tus sends a request of the protocol.
func (s *stack) tus(status int, method, target string, body io.Reader, headers ...string) http.Header {
	s.t.Helper()
	w := s.send(method, target, body, append(headers, tusHeader)...)
	if w.Code != status {
		s.t.Fatalf("%s %s %q: status %d, and not %d: %s", method, target, headers, w.Code, status, w.Body)
	}
	if w.Header().Get("Tus-Resumable") != "1.0.0" && status < 400 {
		s.t.Errorf("%s %s: %v", method, target, w.Header())
	}
	return w.Header()
}

// create begins an upload, and returns where it is.
func (s *stack) create(length int, headers ...string) string {
	s.t.Helper()
	return s.tus(201, "POST", "/-/tus/", nil, append(headers, "Upload-Length: "+strconv.Itoa(length))...).Get("Location")
}

func (s *stack) patch(status int, at string, offset int, body io.Reader, headers ...string) http.Header {
	s.t.Helper()
	return s.tus(status, "PATCH", at, body, append(headers, "Content-Type: "+tusBodyType, "Upload-Offset: "+strconv.Itoa(offset))...)
}

// offset returns how far an upload is.
func (s *stack) offset(at string) int {
	s.t.Helper()
	h := s.tus(200, "HEAD", at, nil)
	n, err := strconv.Atoi(h.Get("Upload-Offset"))
	if err != nil || h.Get("Cache-Control") != "no-store" {
		s.t.Errorf("%v: %v", h, err)
	}
	return n
}

func TestTus(t *testing.T) {
	s := newStack(t)
	large := strings.Repeat("0123456789abcdef", 200_000)
	at := s.create(len(large), tusMeta("path", "/dir/", "filename", "f.txt", "filetype", "text/plain", "empty", ""))
	if s.offset(at) != 0 {
		t.Error("it has begun")
	}
	if h := s.patch(204, at, 0, strings.NewReader(large[:1000])); h.Get("Upload-Offset") != "1000" || h.Get("Upload-Expires") == "" {
		t.Error(h)
	}
	s.patch(409, at, 0, strings.NewReader("x"))
	s.patch(409, at, 2000, strings.NewReader("x"))
	s.patch(413, at, 1000, strings.NewReader(large))
	s.patch(413, at, 1000, io.MultiReader(strings.NewReader(large))) // of unknown length
	s.tus(415, "PATCH", at, strings.NewReader("x"), "Upload-Offset: 1000")
	s.patch(400, at, -1, strings.NewReader("x"))
	// a body that breaks off
	s.patch(400, at, 1000, brokenReader{strings.NewReader(large[1000:2000000])})
	s.open() // and a filer that does
	if n := s.offset(at); n != 2000000 {
		t.Errorf("it is at %d", n)
	}
	s.want(404, "GET", "/dir/f.txt", "")
	h := s.patch(204, at, 2000000, strings.NewReader(large[2000000:]))
	if h.Get("Upload-Offset") != strconv.Itoa(len(large)) || h.Get("Upload-Expires") != "" {
		t.Error(h)
	}
	w := s.want(200, "GET", "/dir/f.txt", "")
	if w.Body.String() != large || w.Header().Get("Content-Type") != "text/plain" {
		t.Error(w.Header())
	}
	if s.offset(at) != len(large) { // for a client that did not hear of the end
		t.Error("it is forgotten")
	}
	s.tus(204, "DELETE", at, nil)
	s.tus(404, "HEAD", at, nil)
	s.want(200, "HEAD", "/dir/f.txt", "")

	at = s.create(0, tusMeta("filename", "../x/empty"))
	if s.offset(at) != 0 || s.content("/empty") != "" {
		t.Error("an empty file")
	}
	for i, headers := range [][]string{
		{"Upload-Length: 5"}, {tusMeta("filename", "f")}, {"Upload-Length: x", tusMeta("filename", "f")}, {"Upload-Length: -1", tusMeta("filename", "f")},
		{"Upload-Length: 5", "Upload-Defer-Length: 1", tusMeta("filename", "f")}, {"Upload-Length: 5", tusMeta("filename", "..")},
		{"Upload-Length: 5", "Upload-Metadata: filename !"}, {"Upload-Length: 5", "Upload-Concat: other", tusMeta("filename", "f")},
	} {
		if w := s.send("POST", "/-/tus", nil, append(headers, tusHeader)...); w.Code != 400 {
			t.Errorf("%d: %d %s", i, w.Code, w.Body)
		}
	}
	s.tus(409, "POST", "/-/tus", nil, "Upload-Length: 5", tusMeta("path", "/dir"))
	s.tus(403, "POST", "/-/tus", nil, "Upload-Length: 5", tusMeta("path", "/-/x"))
	s.tus(412, "POST", "/-/tus", nil, "Upload-Length: 5", tusMeta("path", "/empty"), "If-None-Match: *")
	s.tus(413, "POST", "/-/tus", nil, "Upload-Length: 99999999999999999", tusMeta("path", "/x"))
	s.want(412, "POST", "/-/tus", "", "Upload-Length: 5")
	s.want(403, "POST", "/-/tus", "", "Origin: http://elsewhere.example", tusHeader)
	for _, at := range []string{"/-/tus/none", "/-/tus/" + strings.Repeat("a", 26), "/-/tus/x/y"} {
		s.tus(404, "HEAD", at, nil)
	}
	o := s.want(204, "OPTIONS", "/-/tus", "", "Origin: http://elsewhere.example").Header()
	if o.Get("Tus-Version") != "1.0.0" || !strings.Contains(o.Get("Tus-Extension"), "concatenation") || o.Get("Access-Control-Allow-Origin") != "" {
		t.Error(o)
	}
	if o = s.want(204, "OPTIONS", "/-/tus", "", "Origin: http://example.com").Header(); o.Get("Access-Control-Allow-Origin") != "http://example.com" {
		t.Error(o)
	}
}

func TestTusCreationTakesBytes(t *testing.T) {
	s := newStack(t)
	h := s.tus(201, "POST", "/-/tus/", strings.NewReader("hello "), "Content-Type: "+tusBodyType, "Upload-Defer-Length: 1", tusMeta("path", "/f"))
	if h.Get("Upload-Offset") != "6" || h.Get("Upload-Defer-Length") != "1" {
		t.Error(h)
	}
	at := h.Get("Location")
	s.patch(400, at, 6, strings.NewReader("there"), "Upload-Length: 3")
	sum := sha1.Sum([]byte("there"))
	good := "Upload-Checksum: sha1 " + base64.StdEncoding.EncodeToString(sum[:])
	s.patch(460, at, 6, strings.NewReader("where"), good)
	s.patch(400, at, 6, strings.NewReader("there"), "Upload-Checksum: sha0 AAAA")
	s.patch(400, at, 6, brokenReader{strings.NewReader("there")}, good)
	if s.offset(at) != 6 {
		t.Error("what was not what was announced has been kept")
	}
	s.patch(204, at, 6, strings.NewReader("there"), good, "Upload-Length: 11")
	if s.content("/f") != "hello there" {
		t.Error(s.content("/f"))
	}
	s.tus(204, "POST", s.create(1, tusMeta("path", "/g")), strings.NewReader("x"), "X-HTTP-Method-Override: PATCH", "Upload-Offset: 0", "Content-Type: "+tusBodyType)
	if s.content("/g") != "x" {
		t.Error("/g")
	}
}

func TestTusConcatenation(t *testing.T) {
	s := newStack(t)
	s.want(201, "POST", "/buckets/b?mkdir", "")
	one, two := strings.Repeat("1", 3<<20), strings.Repeat("2", 5)
	a, b := s.create(len(one), "Upload-Concat: partial"), s.create(len(two), "Upload-Concat: partial")
	for _, target := range []string{"/whole", "/buckets/b/whole"} { // the second in another dataset
		final := []string{"Upload-Concat: final;" + a + " http://example.com" + b, tusMeta("path", target)}
		if target == "/whole" {
			s.patch(204, a, 0, strings.NewReader(one))
			s.tus(400, "POST", "/-/tus", nil, final...)
			s.patch(204, b, 0, strings.NewReader(two))
		}
		h := s.tus(201, "POST", "/-/tus", nil, final...)
		at := h.Get("Location")
		if s.content(target) != one+two {
			t.Error(target)
		}
		if n := s.offset(at); n != len(one)+len(two) {
			t.Errorf("it is at %d", n)
		}
		s.patch(403, at, len(one)+len(two), strings.NewReader(""))
	}
	s.tus(404, "POST", "/-/tus", nil, "Upload-Concat: final;/-/tus/"+strings.Repeat("a", 26), tusMeta("path", "/x"))
}

// TestTusPublishesInTheEnd: an offset at the end is told only when the file is there.
func TestTusPublishesInTheEnd(t *testing.T) {
	s := newStack(t)
	at := s.create(5, tusMeta("path", "/f"))
	s.want(201, "POST", "/f?mkdir", "")
	s.patch(409, at, 0, strings.NewReader("hello"))
	s.tus(409, "HEAD", at, nil)
	s.want(204, "DELETE", "/f", "")
	if s.offset(at) != 5 || s.content("/f") != "hello" {
		t.Error("it is not there")
	}
}

func TestTusExpires(t *testing.T) {
	s := newStack(t)
	at := s.create(5, tusMeta("path", "/f"))
	s.patch(204, at, 0, strings.NewReader("he"))
	done := s.create(1, tusMeta("path", "/g"))
	s.patch(204, done, 0, strings.NewReader("g"))
	if _, err := s.fs.Stage(t.Context(), stageAt("/t")); err != nil { // of a filer that died
		t.Fatal(err)
	}
	for _, c := range []struct {
		after  time.Duration
		hidden int
	}{{0, 4}, {uploadTTLDefault - time.Minute, 4}, {uploadTTLDefault + time.Minute, 1}, {stageTTL + time.Minute, 0}} {
		if err := s.h.sweep(t.Context(), time.Now().Add(c.after)); err != nil {
			t.Fatal(err)
		}
		if names := s.hidden(); len(names) != c.hidden {
			t.Errorf("after %v there are %q", c.after, names)
		}
	}
	s.tus(404, "HEAD", at, nil)
	s.patch(404, at, 2, strings.NewReader("llo"))
	if s.content("/g") != "g" {
		t.Error("/g")
	}
}

// TestTusComesBack: a client whose connection hangs comes back with another, and goes on from what has come of the first.
func TestTusComesBack(t *testing.T) {
	s := newStack(t)
	server := httptest.NewServer(s.h)
	defer server.Close()
	at := s.create(1<<20, tusMeta("path", "/f"))
	body, in := io.Pipe()
	r, err := http.NewRequest("PATCH", server.URL+at, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 1 << 20
	for name, value := range map[string]string{"Tus-Resumable": tusVersion, "Upload-Offset": "0", "Content-Type": tusBodyType} {
		r.Header.Set(name, value)
	}
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	if _, err := in.Write(make([]byte, 600<<10)); err != nil {
		t.Fatal(err)
	}
	n := s.offset(at)
	s.patch(204, at, n, strings.NewReader(strings.Repeat("x", 1<<20-n)))
	in.CloseWithError(io.ErrClosedPipe)
	<-hung
	if got := s.content("/f"); len(got) != 1<<20 || strings.Count(got, "x") != 1<<20-n {
		t.Errorf("%d bytes, of which %d came last", len(got), 1<<20-n)
	}
}

// FuzzTusHeaders: whatever a client sends, a target is a clean path that is not the door's own, and a size is one.
func FuzzTusHeaders(f *testing.F) {
	for _, seed := range []string{"filename Zg==", "path L2Rpci8=,filename Zg==", "filename", " , ", "path Ly0veA==", "filename Li4=", "5", "+5"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, metadata, text string) {
		if fields, err := parseMetadata(metadata); err == nil {
			if target, err := tusTarget(fields); err == nil {
				clean, slash, err := cleanPath(target)
				if err != nil || clean != target || slash || own(target) || target == "/" {
					t.Fatalf("%q leads to %q", metadata, target)
				}
			}
		}
		if text != "" {
			if n, err := parseSize("x", text); err == nil && (n < 0 || n > granary.FileSizeMax || strings.TrimLeft(text, "0") != strings.TrimLeft(strconv.FormatInt(n, 10), "0")) {
				t.Fatalf("%q is %d", text, n)
			}
		}
		if c, err := tusChecksum(text); err == nil && c != nil && len(c.want) != c.Size() {
			t.Fatalf("%q", text)
		}
	})
}
