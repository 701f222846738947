package web

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestPut(t *testing.T) {
	d := newDoor(t)
	w := d.want(d.do("PUT", "/dir/file.txt", "hello", "Content-Type: text/markdown; charset=utf-8"), http.StatusCreated)
	var got stored
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != (stored{"/dir/file.txt", 5, md5Hex("hello")}) {
		t.Errorf("%s: %v", w.Body, err)
	}
	if w.Header().Get("ETag") != `"`+md5Hex("hello")+`"` {
		t.Error(w.Header())
	}
	if d.store.xattr("/dir/file.txt", granary.XattrETag) != md5Hex("hello") ||
		d.store.xattr("/dir/file.txt", "granary.s3.content-type") != "text/markdown; charset=utf-8" {
		t.Error(d.store.nodes["/dir/file.txt"].xattrs)
	}
	d.want(d.do("PUT", "/dir/file.txt", "new"), http.StatusOK)
	if d.store.data("/dir/file.txt") != "new" || d.store.xattr("/dir/file.txt", xattrContentType) != "<absent>" {
		t.Error("the old file shines through")
	}
	d.want(d.do("POST", "/dir/raw", "posted", "Content-Type: application/x-www-form-urlencoded"), http.StatusCreated)
	if d.store.data("/dir/raw") != "posted" || d.store.xattr("/dir/raw", xattrContentType) != "<absent>" {
		t.Error("a plain POST")
	}
	d.want(d.do("PUT", "/dir/empty", ""), http.StatusCreated)
	large := strings.Repeat("0123456789abcdef", 3*filer.CopySize/16+1)
	d.want(d.do("PUT", "/large", large), http.StatusCreated)
	if d.store.data("/large") != large {
		t.Error("/large differs")
	}
}

func TestPutRefuses(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/dir/", ""), http.StatusCreated)
	d.store.add("/file", granary.TypeRegular, []byte("old"))
	d.want(d.do("PUT", "/dir/", "content"), http.StatusBadRequest)
	d.want(d.do("POST", "/dir/", "content"), http.StatusBadRequest)
	d.want(d.do("PUT", "/file", "part", "Content-Range: bytes 0-3/10"), http.StatusNotImplemented)
	d.want(d.do("PUT", "/file", "gz", "Content-Encoding: gzip"), http.StatusUnsupportedMediaType)
	d.want(d.do("PUT", "/file", "x", "Content-MD5: nonsense"), http.StatusBadRequest)
	d.want(d.do("PUT", "/file", "x", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA=="), http.StatusBadRequest)
	for _, w := range []*httptest.ResponseRecorder{d.do("PUT", "/dir", "x"), d.do("PUT", "/file/below", "x"), d.do("PUT", "/file/", "")} {
		if w.Code < 400 || w.Code > 499 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if got := d.store.paths(); !slices.Equal(got, []string{"/", "/dir", "/file"}) || d.store.data("/file") != "old" {
		t.Errorf("%q", got)
	}
	d.store.writeErr = granary.Errorf(granary.KindUnavailable, "write", "", "")
	if w := d.want(d.do("PUT", "/file", "x"), http.StatusServiceUnavailable); w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestPutConditions(t *testing.T) {
	old := `"` + md5Hex("old") + `"`
	for _, c := range []struct {
		name, header string
		exists       bool
		status       int
	}{
		{"create only", "If-None-Match: *", false, 201},
		{"create only, there", "If-None-Match: *", true, 412},
		{"replace only", "If-Match: *", true, 200},
		{"replace only, absent", "If-Match: *", false, 412},
		{"this version", "If-Match: " + old, true, 200},
		{"this version without quotes", "If-Match: " + md5Hex("old"), true, 200},
		{"one of", `If-Match: "a,b", ` + old, true, 200},
		{"another version", `If-Match: "other"`, true, 412},
		{"a weak tag", "If-Match: W/" + old, true, 412},
		{"not this", "If-None-Match: " + old, true, 412},
		{"not this, weakly", "If-None-Match: W/" + old, true, 412},
		{"not another", `If-None-Match: "other"`, true, 200},
		{"not another, absent", `If-None-Match: "other"`, false, 201},
		{"malformed", `If-Match: "open`, true, 400},
		{"unmodified", "If-Unmodified-Since: Sun, 22 Nov 2026 00:00:00 GMT", true, 200},
		{"modified", "If-Unmodified-Since: Sun, 22 Nov 2015 00:00:00 GMT", true, 412},
	} {
		d := newDoor(t)
		if c.exists {
			d.want(d.do("PUT", "/f", "old"), http.StatusCreated)
		}
		w := d.do("PUT", "/f", "new", c.header)
		if w.Code != c.status {
			t.Errorf("%s: %d, and not %d: %s", c.name, w.Code, c.status, w.Body)
		}
		if stored := d.store.data("/f") == "new"; stored != (c.status < 300) {
			t.Errorf("%s: stored %v", c.name, stored)
		}
	}
}

// raceReader is a body during which somebody else stores the same file.
type raceReader struct {
	io.Reader
	meanwhile func()
}

func (r *raceReader) Read(p []byte) (int, error) {
	if r.meanwhile != nil {
		r.meanwhile()
		r.meanwhile = nil
	}
	return r.Reader.Read(p)
}

func TestConditionsHoldWhenTheFileIsPublished(t *testing.T) {
	for _, header := range []string{"If-None-Match: *", `If-None-Match: "x"`} {
		d := newDoor(t)
		body := &raceReader{strings.NewReader("mine"), func() { d.want(d.do("PUT", "/f", "theirs"), http.StatusCreated) }}
		r := httptest.NewRequest("PUT", "/f", body)
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		d.h.ServeHTTP(w, r)
		if w.Code != http.StatusPreconditionFailed || d.store.data("/f") != "theirs" {
			t.Errorf("%s: %d, %q", header, w.Code, d.store.data("/f"))
		}
	}
}

func TestBrokenBodyPublishesNothing(t *testing.T) {
	form := "--b\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\nnew"
	for name, request := range map[string]string{
		"length":    "PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nnew",
		"chunked":   "PUT /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnew\r\n",
		"bad chunk": "PUT /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnewzz\r\n",
		"form":      "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n" + form,
		"form after the part": "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n" +
			form + "\r\n--b\r\nConte",
		"form with a wrong length": fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s",
			len(form), form),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t)
			d.store.add("/f", granary.TypeRegular, []byte("old"))
			s := d.serve()
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", resp.StatusCode)
			}
			s.Close() // waits for the handler
			if d.store.data("/f") != "old" || len(d.store.paths()) != 2 {
				t.Errorf("published %q: %q", d.store.paths(), d.store.data("/f"))
			}
		})
	}
}

// TestRefusalSparesTheBody holds that a client which waits for "100 Continue" gets a refusal at once: the
// body never comes here, so anything else would hang.
func TestRefusalSparesTheBody(t *testing.T) {
	d := newDoor(t)
	conn, err := net.Dial("tcp", d.serve().Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PUT /f HTTP/1.1\r\nHost: h\r\nIf-Match: *\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusPreconditionFailed {
		t.Fatal(resp, err)
	}
}

// formPart is a part of a form as curl -F sends it.
type formPart struct{ field, name, contentType, body string }

func (d *door) postForm(target string, parts []formPart, headers ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name="%s"`, p.field)
		if p.name != "-" {
			disposition += fmt.Sprintf(`; filename="%s"`, p.name)
		}
		h.Set("Content-Disposition", disposition)
		if p.contentType != "" {
			h.Set("Content-Type", p.contentType)
		}
		part, err := w.CreatePart(h)
		if err != nil {
			d.t.Fatal(err)
		}
		if _, err := io.WriteString(part, p.body); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		d.t.Fatal(err)
	}
	return d.do("POST", target, body.String(), append(headers, "Content-Type: "+w.FormDataContentType())...)
}

func TestFormIntoDirectory(t *testing.T) {
	d := newDoor(t)
	w := d.want(d.postForm("/new/dir/", []formPart{
		{"comment", "-", "", "a field"},
		{"file", "a.txt", "text/x-own", "A"},
		{"file", "../../up/b b.bin", "application/octet-stream", "BB"},
		{"file", "", "", ""},
	}), http.StatusCreated)
	var got struct{ Files []stored }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := []stored{{"/new/dir/a.txt", 1, md5Hex("A")}, {"/new/dir/b b.bin", 2, md5Hex("BB")}}; !slices.Equal(got.Files, want) {
		t.Errorf("%+v", got.Files)
	}
	if got := d.store.paths(); !slices.Equal(got, []string{"/", "/new", "/new/dir", "/new/dir/a.txt", "/new/dir/b b.bin"}) {
		t.Errorf("%q", got)
	}
	if d.store.xattr("/new/dir/a.txt", xattrContentType) != "text/x-own" || d.store.xattr("/new/dir/b b.bin", xattrContentType) != "<absent>" {
		t.Error("content types")
	}
	w = d.want(d.postForm("/new/dir", []formPart{{"f", "c", "", "C"}}, "Accept: text/html"), http.StatusSeeOther)
	if w.Header().Get("Location") != "/new/dir/" || d.store.data("/new/dir/c") != "C" {
		t.Error(w.Header(), d.store.paths())
	}
}

func TestFormRefusesNames(t *testing.T) {
	for _, name := range []string{".", "..", "a/..", "a/", "\\0"} {
		d := newDoor(t)
		if name == "\\0" {
			name = "a\x00b"
		}
		w := d.postForm("/", []formPart{{"file", name, "", "x"}})
		if w.Code != http.StatusBadRequest || len(d.store.paths()) != 1 {
			t.Errorf("%q: %d %s, made %q", name, w.Code, w.Body, d.store.paths())
		}
	}
	d := newDoor(t)
	d.want(d.postForm("/", []formPart{{"file", "-", "", "x"}}), http.StatusBadRequest) // a field
	d.want(d.postForm("/", []formPart{{"file", "x/-", "", "x"}}), http.StatusForbidden)
	d.want(d.postForm("/", nil), http.StatusBadRequest)
	d.want(d.do("POST", "/", "x", "Content-Type: multipart/form-data"), http.StatusBadRequest)
}

func TestFormToOnePath(t *testing.T) {
	d := newDoor(t)
	d.want(d.postForm("/dir/name", []formPart{{"file", "other", "", "one"}}), http.StatusCreated)
	if d.store.data("/dir/name") != "one" {
		t.Errorf("%q", d.store.paths())
	}
	w := d.postForm("/dir/name", []formPart{{"file", "x", "", "two"}, {"file", "y", "", "three"}})
	if w.Code != http.StatusBadRequest || d.store.data("/dir/name") != "one" {
		t.Errorf("%d, %q", w.Code, d.store.data("/dir/name"))
	}
	w = d.want(d.postForm("/dir/name", []formPart{{"file", "x", "", "four"}}, "Accept: text/html"), http.StatusSeeOther)
	if w.Header().Get("Location") != "/dir/" {
		t.Error(w.Header())
	}
}

func TestFormSaysWhatWasStoredBeforeItFailed(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("MKCOL", "/dir/taken", ""), http.StatusCreated)
	w := d.postForm("/dir/", []formPart{{"f", "first", "", "1"}, {"f", "taken", "", "2"}, {"f", "third", "", "3"}})
	e := errorOf(t, w)
	if w.Code < 400 || e.Kind != granary.KindIsDir.String() || !strings.Contains(e.Message, "/dir/first") {
		t.Errorf("%d %+v", w.Code, e)
	}
	if got := d.store.paths(); !slices.Equal(got, []string{"/", "/dir", "/dir/first", "/dir/taken"}) {
		t.Errorf("%q", got)
	}
}
