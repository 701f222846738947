package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

func TestAppend(t *testing.T) {
	s := newStack(t)
	s.want(201, "POST", "/log?append", "one\n", "Granary-Mode: 600", "Granary-Xattr-user.by: me", "Content-Type: text/plain")
	w := s.want(200, "PUT", "/log?append", "two\n")
	var got patched
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Offset != 4 || got.Size != 8 {
		t.Errorf("%s, %v", w.Body, err)
	}
	w = s.want(200, "GET", "/log", "")
	if w.Body.String() != "one\ntwo\n" || w.Header().Get("Granary-Mode") != "0600" || w.Header().Get("Granary-Xattr-User.by") != "me" || w.Header().Get("Content-Type") != "text/plain" {
		t.Errorf("%q %v", w.Body, w.Header())
	}
	if w.Header().Get("Etag") != quoteETag(got.ETag) {
		t.Errorf("%s was told, and is %s", got.ETag, w.Header())
	}
	large := strings.Repeat("0123456789abcdef", 200_000) // 3.2 MB: staged
	s.want(200, "POST", "/log?append", large)
	s.want(201, "POST", "/large?append", large)
	if s.content("/log") != "one\ntwo\n"+large || s.content("/large") != large {
		t.Error("a long append")
	}
	s.want(200, "POST", "/log?append", "", "If-Match: "+s.do("HEAD", "/log", "").Header().Get("Etag"))
	s.want(412, "POST", "/log?append", "x", `If-Match: "other"`)
	s.want(412, "POST", "/log?append", "x", "If-None-Match: *")
	s.want(400, "POST", "/log?append", "x", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==")
	s.want(400, "POST", "/none?append", large, "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==")
	s.want(404, "GET", "/none", "")
	s.want(400, "POST", "/log?append&offset=3", "x")
	if s.content("/log") != "one\ntwo\n"+large {
		t.Error("what was refused has changed the file")
	}
	s.want(409, "POST", "/?append", "x")
}

// TestAppendersLoseNothing has many append at once, short pieces and long ones, to a file that nobody has made before.
func TestAppendersLoseNothing(t *testing.T) {
	s := newStack(t)
	const appenders, each = 8, 12
	var wg sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			for i := range each {
				piece := fmt.Sprintf("<%d.%d", a, i)
				if a == 0 && i%4 == 0 {
					piece += strings.Repeat(".", 2*1<<20)
				}
				if w := s.do("POST", "/log?append", piece+">"); w.Code > 299 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for piece := range strings.SplitSeq(strings.TrimSuffix(s.content("/log"), ">"), ">") {
		seen[strings.TrimRight(piece, ".")]++
	}
	if len(seen) != appenders*each {
		t.Errorf("%d pieces, of %d", len(seen), appenders*each)
	}
	for piece, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", piece, n)
		}
	}
}

func TestWriteInPlace(t *testing.T) {
	s := newStack(t)
	large := strings.Repeat("0123456789abcdef", 200_000)
	s.want(404, "PUT", "/f?offset=0", "x")
	s.want(201, "PUT", "/f", "hello world")
	s.want(200, "PUT", "/f?offset=6", "there")
	s.want(200, "PUT", "/f?offset=20", "end")
	if got := s.content("/f"); got != "hello there"+strings.Repeat("\x00", 9)+"end" {
		t.Errorf("%q", got)
	}
	s.want(201, "PUT", "/big", large)
	s.want(200, "PUT", "/big?offset=100", strings.ToUpper(large))
	s.want(400, "PUT", "/big?offset=100", large, "Content-Digest: md5=:AAAAAAAAAAAAAAAAAAAAAA==:")
	if got := s.content("/big"); got != large[:100]+strings.ToUpper(large) {
		t.Error("/big differs")
	}
	etag := s.do("HEAD", "/big", "").Header().Get("Etag")
	s.want(200, "PUT", "/big?offset=0", "A", "If-Match: "+etag)
	s.want(412, "PUT", "/big?offset=0", "B", "If-Match: "+etag)
	s.want(400, "PUT", "/big?offset=-1", "B")
	s.want(413, "PUT", "/big?offset=9000000000000000000", "B")
	s.want(501, "PUT", "/big?offset=0", "B", "Repr-Digest: md5=:AAAAAAAAAAAAAAAAAAAAAA==:")
	if got := s.content("/big"); got[:2] != "A1" {
		t.Errorf("%q", got[:2])
	}
}

// brokenReader is a body that breaks off.
type brokenReader struct{ io.Reader }

func (r brokenReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// TestBrokenBodiesLeaveNothing has clients go away in the middle of all that takes a body.
func TestBrokenBodiesLeaveNothing(t *testing.T) {
	s := newStack(t)
	s.want(201, "PUT", "/old", "old")
	before := s.want(200, "GET", "/?list&recursive", "").Body.String()
	usage := func() uint64 {
		stats, err := s.fs.StatFS(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Files
	}
	files := usage()
	large := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB and some: more than one step could publish
	for _, target := range []string{"/new", "/old", "/old?append", "/new?append", "/old?offset=1", "/tree?extract"} {
		for _, body := range []string{"", "short", large + "more"} {
			if strings.HasSuffix(target, "extract") {
				body = tarOf(t, tarFile("a/b", body))
				body = body[:len(body)-1030] // the end is missing
			}
			w := s.send("PUT", target, brokenReader{strings.NewReader(body)})
			if w.Code != 400 {
				t.Errorf("%s, %d bytes: %d %s", target, len(body), w.Code, w.Body)
			}
		}
	}
	if after := s.want(200, "GET", "/?list&recursive", "").Body.String(); after != before {
		t.Errorf("%s\nis now %s", before, after)
	}
	if names := s.hidden(); len(names) > 0 {
		t.Errorf("left hidden: %q", names)
	}
	if got := s.content("/old"); got != "old" {
		t.Errorf("%q", got)
	}
	for deadline := time.Now().Add(20 * time.Second); usage() != files; { // what is given up is reclaimed in steps
		if time.Now().After(deadline) {
			t.Fatalf("%d inodes, and %d before", usage(), files)
		}
		runtime.Gosched()
	}
}

func TestDigests(t *testing.T) {
	s := newStack(t)
	for header, status := range map[string]int{
		"Digest: SHA-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=":            201,
		"Digest: sha-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=, unixsum=1": 201,
		"Digest: md5=XUFAKrxLKna5cZ2REBfFkg==":                                    201,
		"Digest: crc32c=9a71bb4c":                                                 201,
		"Digest: crc32c=mnG7TA==":                                                 201,
		"Content-Md5: XUFAKrxLKna5cZ2REBfFkg==":                                   201,
		"Repr-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:":     201,
		"Content-Digest: sha-512=:m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==:, crc32c=:mnG7TA==:": 201,
		"Content-Digest: md5=:XUFAKrxLKna5cZ2REBfFkg==:;q=1":                     201,
		"Content-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCU=:": 400,
		"Content-Digest: sha-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=":   400,
		"Content-Digest: sha-256=::":                                             400,
		"Content-Digest: sha-999=:AA==:":                                         400,
		"Digest: nonsense":                                                       400,
		"Content-Md5: XUFAKrxLKna5cZ2REBfFkQ==":                                  400,
	} {
		w := s.do("PUT", "/f", "hello", header)
		if w.Code != status {
			t.Errorf("%s: %d, and not %d: %s", header, w.Code, status, w.Body)
		}
		if _, err := s.fs.Stat(t.Context(), granary.RootInode, "/f", filer.StatOptions{}); (err == nil) != (status == 201) {
			t.Errorf("%s: %v", header, err)
		}
		if status == 201 {
			s.want(204, "DELETE", "/f", "")
		}
	}
}

func TestAttributesAsHeaders(t *testing.T) {
	s := newStack(t)
	s.want(201, "PUT", "/f", "hello", "Granary-Mode: 0640", "Granary-Mtime: 2020-02-03T04:05:06.123456789Z",
		"Granary-Xattr-user.color: light%20blue", "Granary-Xattr-user.%43ase: %00%ff%25")
	h := s.want(200, "HEAD", "/f", "").Header()
	for name, want := range map[string]string{
		"Granary-Mode": "0640", "Granary-Mtime": "2020-02-03T04:05:06.123456789Z", "Last-Modified": "Mon, 03 Feb 2020 04:05:06 GMT",
		"Granary-Xattr-User.color": "light%20blue", "Granary-Xattr-User.%63ase": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, and not %q", name, got, want)
		}
	}
	info, err := s.fs.Stat(t.Context(), granary.RootInode, "/f", filer.StatOptions{Xattrs: true})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := info.Xattr("user.color"); string(v) != "light blue" {
		t.Errorf("%q", v)
	}
	if v, _ := info.Xattr("user.Case"); string(v) != "\x00\xff%" {
		t.Errorf("%q", v)
	}
	for _, header := range []string{"X-OC-Mtime: 1580702706", "Last-Modified: Mon, 03 Feb 2020 04:05:06 GMT", "Granary-Mtime: 1580702706.0"} {
		s.want(200, "PUT", "/f", "hello", header)
		if got := s.do("HEAD", "/f", "").Header().Get("Granary-Mtime"); got != "2020-02-03T04:05:06Z" {
			t.Errorf("%s: %s", header, got)
		}
	}
	for _, header := range []string{
		"Granary-Mode: 4755", "Granary-Mode: 9", "Granary-Mtime: yesterday", "Granary-Mtime: 99999999999999", "Granary-Xattr-granary.etag: x",
		"Granary-Xattr-security.capability: x", "Granary-Xattr-user.: x", "Granary-Xattr-user.a: %zz",
	} {
		s.want(400, "PUT", "/f", "new", header)
	}
	var doc attributesDocument
	if err := json.Unmarshal(s.want(200, "GET", "/f?stat", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Size != 5 || doc.Type != "file" || *doc.Blocks != 0 || doc.UID != 1000 || len(doc.Xattrs) != 0 {
		t.Errorf("%+v", doc)
	}
	s.want(404, "GET", "/none?stat", "")
}

func TestManyRanges(t *testing.T) {
	s := newStack(t)
	large := strings.Repeat("0123456789abcdef", 200_000)
	s.want(201, "PUT", "/f", large)
	w := s.want(206, "GET", "/f", "", "Range: bytes=0-3,1600000-1600003,-2")
	for _, part := range []string{"\r\n\r\n0123\r\n", "bytes 1600000-1600003/3200000", "\r\n\r\nef\r\n"} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("%q is not in %q", part, w.Body)
		}
	}
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/byteranges; boundary=") {
		t.Error(w.Header())
	}
}

func TestListTree(t *testing.T) {
	s := newStack(t)
	for _, name := range []string{"/d/a", "/d/a.b/c", "/d/a.b/d/e", "/d/ab/x", "/d/ab/y z", "/d/b"} {
		s.want(201, "PUT", strings.ReplaceAll(name, " ", "%20"), "x")
	}
	list := func(query string) (names []string) {
		next := "?list" + query
		for next != "" {
			var l listing
			if err := json.Unmarshal(s.want(200, "GET", "/d"+next, "").Body.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			for _, e := range l.Entries {
				name := e.Name
				if e.Type == "directory" {
					name += "/"
				}
				names = append(names, name)
			}
			if l.More != (l.Next != "") {
				t.Errorf("%+v", l)
			}
			next = l.Next
		}
		return names
	}
	all := []string{"a", "a.b/", "a.b/c", "a.b/d/", "a.b/d/e", "ab/", "ab/x", "ab/y z", "b"}
	for query, want := range map[string][]string{
		"":                             {"a", "a.b/", "ab/", "b"},
		"&prefix=a.":                   {"a.b/"},
		"&prefix=a":                    {"a", "a.b/", "ab/"},
		"&prefix=ab/":                  {"ab/x", "ab/y z"},
		"&prefix=ab/y":                 {"ab/y z"},
		"&prefix=no/x":                 nil,
		"&prefix=a/x":                  nil,
		"&prefix=../d":                 nil,
		"&recursive":                   all,
		"&recursive&prefix=a.b/":       {"a.b/c", "a.b/d/", "a.b/d/e"},
		"&recursive&prefix=a.":         {"a.b/", "a.b/c", "a.b/d/", "a.b/d/e"},
		"&recursive&after=a.b/d/zzz":   {"ab/", "ab/x", "ab/y z", "b"},
		"&recursive&after=a.b/gone/zz": {"ab/", "ab/x", "ab/y z", "b"},
	} {
		for _, limit := range []string{"", "&limit=1", "&limit=2"} {
			if got := list(query + limit); !slices.Equal(got, want) {
				t.Errorf("%s: %q, and not %q", query+limit, got, want)
			}
		}
	}
	s.want(404, "GET", "/d/a?list", "")
	s.want(400, "GET", "/d?list&prefix=ab/&after=b", "")
}

// TestCopy copies a file and a tree; nothing of it is stored anew.
func TestCopy(t *testing.T) {
	s := newStack(t)
	large := strings.Repeat("0123456789abcdef", 200_000)
	s.want(201, "PUT", "/d/a/large", large, "Granary-Xattr-user.k: v", "Granary-Mode: 600")
	s.want(201, "PUT", "/d/small", "small")
	if _, err := s.fs.Symlink(t.Context(), self(), inodeOf(s, "/d"), "link", "a/large"); err != nil {
		t.Fatal(err)
	}
	s.want(201, "POST", "/d/a/large?cp=/copy", "")
	s.want(200, "POST", "/d/small?cp=/copy", "")
	s.want(412, "POST", "/d/small?cp=/copy", "", "Overwrite: F")
	if s.content("/copy") != "small" {
		t.Error("/copy")
	}
	s.want(409, "POST", "/d?cp=/e", "")
	s.want(201, "POST", "/d?cp=/new/e&recursive", "")
	w := s.want(200, "GET", "/new/e/a/large", "")
	if w.Body.String() != large || w.Header().Get("Granary-Xattr-User.k") != "v" || w.Header().Get("Granary-Mode") != "0600" || s.content("/new/e/link") != large || s.content("/new/e/small") != "small" {
		t.Error("the copy differs")
	}
	s.want(409, "POST", "/d?cp=/new/e&recursive", "")
	s.want(201, "POST", "/d?cp=/d/inside&recursive", "")
	s.want(200, "POST", "/d/a?cp=/new/e&recursive&replace", "")
	s.want(404, "GET", "/new/e/small", "")
	if s.content("/new/e/large") != large {
		t.Error("the copy that replaced another")
	}
	for _, to := range []string{"/", "/-/x", "relative"} {
		if w := s.do("POST", "/d?cp="+to+"&recursive", ""); w.Code < 400 || w.Code > 499 {
			t.Errorf("%s: %d", to, w.Code)
		}
	}
	s.want(201, "POST", "/new/e/large?mv=/moved", "")
	s.want(412, "POST", "/copy?mv=/moved", "", "Overwrite: F")
	if names := s.hidden(); len(names) > 0 {
		t.Errorf("left hidden: %q", names)
	}
}

// TestDisconnect is a client that goes away while it sends.
func TestDisconnect(t *testing.T) {
	s := newStack(t)
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		s.h.ServeHTTP(w, r)
	}))
	defer server.Close()
	body, in := io.Pipe()
	r, err := http.NewRequest("PUT", server.URL+"/f", body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 100 << 20
	answered := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(r)
		answered <- err
	}()
	if _, err := in.Write(make([]byte, 40<<20)); err != nil {
		t.Fatal(err)
	}
	in.CloseWithError(io.ErrClosedPipe)
	if err := <-answered; err == nil {
		t.Error("a broken request was answered")
	}
	<-ended
	s.want(404, "GET", "/f", "")
	if names := s.hidden(); len(names) > 0 {
		t.Errorf("left hidden: %q", names)
	}
}
