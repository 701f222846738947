package web

import (
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

const digits = "0123456789"

func TestGet(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/page.html", digits), http.StatusCreated)
	for _, method := range []string{"GET", "HEAD"} {
		w := d.want(d.do(method, "/page.html", ""), http.StatusOK)
		for name, want := range map[string]string{
			"Content-Type":            "text/html; charset=utf-8",
			"Content-Length":          "10",
			"Accept-Ranges":           "bytes",
			"ETag":                    `"` + md5Hex(digits) + `"`,
			"Last-Modified":           testTime.Std().UTC().Format(http.TimeFormat),
			"X-Content-Type-Options":  "nosniff",
			"Content-Security-Policy": "sandbox",
			"Content-Disposition":     "",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, and not %q", method, name, got, want)
			}
		}
		if want := map[string]string{"GET": digits, "HEAD": ""}[method]; w.Body.String() != want {
			t.Errorf("%s: %q", method, w.Body)
		}
	}
	d.want(d.do("GET", "/none", ""), http.StatusNotFound)
	d.want(d.do("HEAD", "/none", ""), http.StatusNotFound)
	d.want(d.do("GET", "/page.html/", ""), http.StatusNotFound)
	d.want(d.do("GET", "/page.html/below", ""), http.StatusNotFound)
	d.want(d.do("PUT", "/empty", ""), http.StatusCreated)
	if w := d.want(d.do("GET", "/empty", ""), http.StatusOK); w.Body.Len() != 0 || w.Header().Get("Content-Length") != "0" {
		t.Error(w.Header())
	}
}

func TestContentTypes(t *testing.T) {
	d := newDoor(t)
	d.store.add("/a.unknown", granary.TypeRegular, []byte("<html>"))
	d.store.add("/b.TXT", granary.TypeRegular, nil)
	d.store.add("/c.txt", granary.TypeRegular, nil, granary.Xattr{Name: xattrContentType, Value: []byte("image/x-own")})
	d.store.link("/link", "c.txt")
	for target, want := range map[string]string{
		"/a.unknown": "application/octet-stream", "/b.TXT": "text/plain; charset=utf-8", "/c.txt": "image/x-own", "/link": "image/x-own",
	} {
		if got := d.do("GET", target, "").Header().Get("Content-Type"); got != want {
			t.Errorf("%s: %q", target, got)
		}
	}
}

func TestHeadersThatS3Keeps(t *testing.T) {
	d := newDoor(t)
	d.store.add("/f", granary.TypeRegular, []byte(digits),
		granary.Xattr{Name: "granary.s3.content-encoding", Value: []byte("gzip")},
		granary.Xattr{Name: "granary.s3.cache-control", Value: []byte("max-age=60")},
		granary.Xattr{Name: "granary.s3.content-security-policy", Value: []byte("none")})
	for span, length := range map[string]string{"": "10", "bytes=1-3": "3"} {
		w := d.do("GET", "/f", "", "Range: "+span)
		h := w.Header()
		if h.Get("Content-Encoding") != "gzip" || h.Get("Cache-Control") != "max-age=60" || h.Get("Content-Security-Policy") != "sandbox" ||
			h.Get("Content-Length") != length {
			t.Errorf("%q: %d %v", span, w.Code, h)
		}
	}
}

func TestDownloadNames(t *testing.T) {
	for _, name := range []string{"plain.txt", `qu"ote.txt`, "new\r\nX-Evil: 1", "ünï.txt"} {
		d := newDoor(t)
		d.store.add("/"+name, granary.TypeRegular, []byte("x"))
		w := d.want(d.do("GET", escapePath("/"+name)+"?download", ""), http.StatusOK)
		kind, parameters, err := mime.ParseMediaType(w.Header().Get("Content-Disposition"))
		if err != nil || kind != "attachment" || parameters["filename"] != name {
			t.Errorf("%q: %q, %v", name, w.Header().Get("Content-Disposition"), err)
		}
	}
}

func TestRanges(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("PUT", "/f", digits), http.StatusCreated)
	etag := `"` + md5Hex(digits) + `"`
	for _, c := range []struct {
		headers []string
		status  int
		body    string
		span    string
	}{
		{[]string{"Range: bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{[]string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range: bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range: bytes=8-99"}, 206, "89", "bytes 8-9/10"},
		{[]string{"Range: bytes=0-9"}, 206, digits, "bytes 0-9/10"},
		{[]string{"Range: bytes=2-4", "If-Range: " + etag}, 206, "234", "bytes 2-4/10"},
		{[]string{"Range: bytes=2-4", `If-Range: "old"`}, 200, digits, ""},
		{[]string{"If-None-Match: " + etag}, 304, "", ""},
		{[]string{`If-None-Match: "old"`}, 200, digits, ""},
		{[]string{"If-Modified-Since: " + testTime.Std().UTC().Format(http.TimeFormat)}, 304, "", ""},
		{[]string{"If-Modified-Since: Sun, 22 Nov 2015 00:00:00 GMT"}, 200, digits, ""},
	} {
		w := d.do("GET", "/f", "", c.headers...)
		if w.Code != c.status || w.Body.String() != c.body || w.Header().Get("Content-Range") != c.span {
			t.Errorf("%q: %d %q %q", c.headers, w.Code, w.Body, w.Header().Get("Content-Range"))
		}
	}
	w := d.want(d.do("GET", "/f", "", "Range: bytes=10-"), http.StatusRequestedRangeNotSatisfiable)
	if w.Header().Get("Content-Range") != "bytes */10" || errorOf(t, w).Kind != "invalid" {
		t.Error(w.Header(), w.Body)
	}
	w = d.want(d.do("GET", "/f", "", `If-Match: "old"`), http.StatusPreconditionFailed)
	if errorOf(t, w).Kind != granary.KindPrecondition.String() || w.Header().Get("ETag") != "" {
		t.Error(w.Header(), w.Body)
	}
}

func TestSeveralRanges(t *testing.T) {
	d := newDoor(t)
	long := strings.Repeat(digits, 1000)
	d.want(d.do("PUT", "/f.txt", long), http.StatusCreated)
	w := d.want(d.do("GET", "/f.txt", "", "Range: bytes=0-2,5000-5009,-1"), http.StatusPartialContent)
	_, parameters, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(w.Body, parameters["boundary"])
	for _, want := range []string{"012", digits, "9"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(p); err != nil || string(body) != want {
			t.Errorf("%q, %v", body, err)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Error(err)
	}
}

func TestUnreadableFilesNeverLookWhole(t *testing.T) {
	long := strings.Repeat(digits, 100_000)
	failAt := func(at int64) func(int64) error {
		return func(off int64) error {
			if off >= at {
				return granary.Errorf(granary.KindCorrupt, "read", "block 7", "")
			}
			return nil
		}
	}
	for _, headers := range [][]string{nil, {"Range: bytes=0-899999"}, {"Range: bytes=0-99,100000-899999"}} {
		for _, at := range []int64{1000, 500_000, 899_999} {
			d := newDoor(t)
			d.store.add("/f", granary.TypeRegular, []byte(long))
			d.store.readFail = failAt(at)
			status, body, err := get(t, d.serve().URL+"/f", headers...)
			if err == nil && status < 300 {
				t.Errorf("%q at %d: %d bytes came with status %d and looked whole", headers, at, len(body), status)
			}
		}
	}
	d := newDoor(t)
	d.store.add("/f", granary.TypeRegular, []byte(long))
	d.store.readFail = failAt(0)
	w := d.want(d.do("GET", "/f", ""), http.StatusInternalServerError)
	if e := errorOf(t, w); e.Kind != "corrupt" || !strings.Contains(e.Message, "block 7") || w.Header().Get("ETag") != "" {
		t.Error(w.Header(), w.Body)
	}
}

func TestShrunkFileNeverLooksWhole(t *testing.T) {
	d := newDoor(t)
	n := d.store.add("/f", granary.TypeRegular, []byte(digits))
	n.attr.Size = 20
	if status, body, err := get(t, d.serve().URL+"/f"); err == nil && status < 300 {
		t.Errorf("%d %q", status, body)
	}
	if status, body, err := get(t, d.serve().URL+"/f", "Range: bytes=0-0,5-19"); err == nil && status < 300 {
		t.Errorf("%d %q", status, body)
	}
}
