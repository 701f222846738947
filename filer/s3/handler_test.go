package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dsorchard/granary"
)

func TestPutThenGet(t *testing.T) {
	s := newServer(t)
	put := s.do(t, call{method: "PUT", target: "/bucket/dir/a%20b%2Bc.txt", body: "hello, world", header: map[string]string{
		"Content-Type": "text/plain", "Content-Encoding": "aws-chunked,gzip", "Cache-Control": "no-cache", "X-Amz-Meta-Some": "thing",
		"Content-Md5": base64.StdEncoding.EncodeToString(func() []byte { m := md5.Sum([]byte("hello, world")); return m[:] }()),
	}}).want(t, 200)
	if put.header.Get("Etag") != `"`+md5Hex("hello, world")+`"` {
		t.Fatalf("ETag is %s", put.header.Get("Etag"))
	}
	for _, method := range []string{"GET", "HEAD"} {
		got := s.do(t, call{method: method, target: "/bucket/dir/a%20b%2Bc.txt"}).want(t, 200)
		if method == "GET" && got.body != "hello, world" {
			t.Fatalf("body is %q", got.body)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/plain", "Content-Encoding": "gzip", "Cache-Control": "no-cache", "X-Amz-Meta-Some": "thing",
			"Etag": put.header.Get("Etag"), "Content-Length": "12", "Accept-Ranges": "bytes",
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got.header.Get(name), want)
			}
		}
		if _, err := http.ParseTime(got.header.Get("Last-Modified")); err != nil {
			t.Error(err)
		}
	}
	part := s.do(t, call{method: "GET", target: "/bucket/dir/a%20b%2Bc.txt?response-content-type=x/y", header: map[string]string{"Range": "bytes=7-"}}).want(t, 206)
	if part.body != "world" || part.header.Get("Content-Range") != "bytes 7-11/12" || part.header.Get("Content-Type") != "x/y" {
		t.Fatalf("%q %v", part.body, part.header)
	}
	beyond := s.do(t, call{method: "GET", target: "/bucket/dir/a%20b%2Bc.txt", header: map[string]string{"Range": "bytes=12-"}})
	beyond.wantCode(t, codeInvalidRange)
	if beyond.header.Get("Content-Range") != "bytes */12" {
		t.Fatal(beyond.header)
	}
	s.do(t, call{method: "GET", target: "/bucket/dir"}).wantCode(t, codeNoSuchKey)
	s.do(t, call{method: "GET", target: "/bucket/dir/"}).wantCode(t, codeNoSuchKey)
	s.do(t, call{method: "GET", target: "/bucket/dir/a%20b%2Bc.txt/x"}).wantCode(t, codeNoSuchKey)
	s.do(t, call{method: "GET", target: "/bucket/dir//a"}).wantCode(t, codeNoSuchKey)
	s.do(t, call{method: "GET", target: "/nobucket/k"}).wantCode(t, codeNoSuchBucket)
	if a := s.do(t, call{method: "HEAD", target: "/bucket/none"}); a.status != 404 || a.body != "" {
		t.Fatal(a)
	}
}

func TestMetadataNamesAreLowerCase(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"X-Amz-Meta-Some-Thing": "x"}}).want(t, 200)
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, s.request(t, call{method: "HEAD", target: "/bucket/k"}))
	const name = "x-amz-meta-some-thing" // as it must be on the wire, not as Go would write it
	if got := map[string][]string(rec.Header())[name]; len(got) != 1 || got[0] != "x" {
		t.Fatal(rec.Header())
	}
}

func TestConditionalReads(t *testing.T) {
	s := newServer(t)
	etag := s.put(t, "k", "x").header.Get("Etag")
	modified := s.do(t, call{method: "HEAD", target: "/bucket/k"}).header.Get("Last-Modified")
	for _, c := range []struct {
		header map[string]string
		status int
	}{
		{map[string]string{"If-Match": etag}, 200},
		{map[string]string{"If-Match": `"no"`}, 412},
		{map[string]string{"If-Match": "*"}, 200},
		{map[string]string{"If-None-Match": etag}, 304},
		{map[string]string{"If-None-Match": `"a", W/` + etag}, 304},
		{map[string]string{"If-None-Match": `"no"`}, 200},
		{map[string]string{"If-Modified-Since": modified}, 304},
		{map[string]string{"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200},
		{map[string]string{"If-Unmodified-Since": modified}, 200},
		{map[string]string{"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412},
		{map[string]string{"If-Match": etag, "If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200},
		{map[string]string{"If-None-Match": `"no"`, "If-Modified-Since": modified}, 200},
		{map[string]string{"Range": "bytes=0-0", "If-Range": `"no"`}, 200},
		{map[string]string{"Range": "bytes=0-0", "If-Range": etag}, 206},
	} {
		if a := s.do(t, call{method: "GET", target: "/bucket/k", header: c.header}); a.status != c.status {
			t.Errorf("%v: status is %d, want %d", c.header, a.status, c.status)
		}
	}
}

// Whatever a request claims about its body and does not hold, nothing of it is published.
func TestNothingPublishedUnverified(t *testing.T) {
	s := newServer(t)
	wrong := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name string
		call call
		want code
	}{
		{"body hash", call{body: "hello", payload: wrong}, codeContentSHA256},
		{"secret", call{body: "hello", secret: "other"}, codeSignature},
		{"Content-MD5", call{body: "hello", header: map[string]string{"Content-Md5": "XrY7u+Ae7tCTyyK7j1rNww=="}}, codeBadDigest},
		{"Content-MD5 malformed", call{body: "hello", header: map[string]string{"Content-Md5": "x"}}, codeInvalidDigest},
		{"checksum", call{body: "hello", header: map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA=="}}, codeBadDigest},
		{"checksum malformed", call{body: "hello", header: map[string]string{"X-Amz-Checksum-Sha256": "AAAAAA=="}}, codeInvalidRequest},
		{"trailer checksum", call{
			body: "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", payload: payloadUnsignedT,
			header: map[string]string{"X-Amz-Decoded-Content-Length": "5", "X-Amz-Trailer": "x-amz-checksum-crc32"},
		}, codeBadDigest},
		{"trailer missing", call{
			body: "5\r\nhello\r\n0\r\n\r\n", payload: payloadUnsignedT,
			header: map[string]string{"X-Amz-Decoded-Content-Length": "5", "X-Amz-Trailer": "x-amz-checksum-crc32"},
		}, codeMalformedTrailer},
		{"chunk signature", call{
			body: "5;chunk-signature=" + wrong + "\r\nhello\r\n0;chunk-signature=" + wrong + "\r\n\r\n", payload: payloadChunked,
			header: map[string]string{"X-Amz-Decoded-Content-Length": "5"},
		}, codeSignature},
		{"decoded length", call{
			body: "5\r\nhello\r\n0\r\n\r\n", payload: payloadUnsignedT, header: map[string]string{"X-Amz-Decoded-Content-Length": "6"},
		}, codeIncompleteBody},
		{"no decoded length", call{body: "0\r\n\r\n", payload: payloadUnsignedT}, codeMissingLength},
		{"encryption", call{body: "hello", header: map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"}}, codeNotImplemented},
		{"public", call{body: "hello", header: map[string]string{"X-Amz-Acl": "public-read"}}, codeACLNotSupported},
		{"metadata", call{body: "hello", header: map[string]string{"X-Amz-Meta-A": strings.Repeat("x", 2049)}}, codeMetadataTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.call.method, c.call.target = "PUT", "/bucket/k"
			s.do(t, c.call).wantCode(t, c.want)
			if keys := s.keys(t); len(keys) != 0 {
				t.Fatalf("published %q", keys)
			}
		})
	}
}

func TestTrailingChecksums(t *testing.T) {
	s := newServer(t)
	for _, a := range algorithms() {
		sum := sumOf(a, []byte("hello"))
		put := s.do(t, call{
			method: "PUT", target: "/bucket/" + string(a), payload: payloadUnsignedT,
			body:   "3\r\nhel\r\n2\r\nlo\r\n0\r\n" + a.header() + ":" + sum + "\r\n\r\n",
			header: map[string]string{"X-Amz-Decoded-Content-Length": "5", "X-Amz-Trailer": a.header(), "Content-Encoding": "aws-chunked"},
		}).want(t, 200)
		if put.header.Get(a.header()) != sum {
			t.Errorf("%s: PUT says %v", a, put.header)
		}
		got := s.do(t, call{method: "GET", target: "/bucket/" + string(a), header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 200)
		if got.body != "hello" || got.header.Get(a.header()) != sum || got.header.Get("X-Amz-Checksum-Type") != checksumFullObject || got.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %q %v", a, got.body, got.header)
		}
		plain := s.do(t, call{method: "GET", target: "/bucket/" + string(a)}).want(t, 200)
		if plain.header.Get(a.header()) != "" {
			t.Errorf("%s: checksum without being asked", a)
		}
	}
}

func TestConditionalWrites(t *testing.T) {
	s := newServer(t)
	const writers = 16
	var won, lost sync.Map
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			body := fmt.Sprintf("writer %d", i)
			a := s.do(t, call{method: "PUT", target: "/bucket/lock", body: body, header: map[string]string{"If-None-Match": "*"}})
			switch a.status {
			case 200:
				won.Store(i, body)
			case 412:
				lost.Store(i, body)
			default:
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	group.Wait()
	winners := 0
	won.Range(func(_, body any) bool {
		winners++
		if got := s.do(t, call{method: "GET", target: "/bucket/lock"}); got.body != body {
			t.Errorf("the object is %q, the winner wrote %q", got.body, body)
		}
		return true
	})
	if winners != 1 {
		t.Fatalf("%d winners", winners)
	}
	etag := s.do(t, call{method: "HEAD", target: "/bucket/lock"}).header.Get("Etag")
	s.do(t, call{method: "PUT", target: "/bucket/lock", body: "2", header: map[string]string{"If-Match": etag}}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/lock", body: "3", header: map[string]string{"If-Match": etag}}).wantCode(t, codePrecondition)
	s.do(t, call{method: "PUT", target: "/bucket/none", body: "3", header: map[string]string{"If-Match": etag}}).wantCode(t, codeNoSuchKey)
	s.do(t, call{method: "DELETE", target: "/bucket/lock", header: map[string]string{"If-Match": etag}}).wantCode(t, codePrecondition)
	s.do(t, call{method: "DELETE", target: "/bucket/lock", header: map[string]string{"If-Match": "*"}}).want(t, 204)
}

// TestAnyKey: a key is a key, whatever a path could make of it.
func TestAnyKey(t *testing.T) {
	s := newServer(t)
	keys := []string{
		"a", "a/b", "a/", "a//b", "a//", "/", "//", "/b", ".", "./x", "..", "../x", "a/../b", "a!", "%file:a", "%25", "n\x00l", "c\x01\x1f", "ü/ß",
		strings.Repeat("x", 1024), strings.Repeat("x/", 512), strings.Repeat("/", 1024),
	}
	for _, key := range keys {
		s.do(t, call{method: "PUT", target: "/bucket/" + uriEncode(key, true), body: "of " + key}).want(t, 200)
	}
	for _, key := range keys {
		if a := s.do(t, call{method: "GET", target: "/bucket/" + uriEncode(key, true)}).want(t, 200); a.body != "of "+key {
			t.Errorf("%q holds %q", key, a.body)
		}
		if a := s.do(t, call{method: "HEAD", target: "/bucket/" + uriEncode(key, true)}).want(t, 200); a.header.Get("Content-Length") != strconv.Itoa(len("of "+key)) {
			t.Errorf("%q: %v", key, a.header)
		}
	}
	slices.Sort(keys)
	if got := s.keys(t); !slices.Equal(got, keys) {
		t.Errorf("listed %q", got)
	}
	s.do(t, call{method: "PUT", target: "/bucket/" + strings.Repeat("x", 1025)}).wantCode(t, codeKeyTooLong)
	s.do(t, call{method: "PUT", target: "/bucket/copy/../", header: map[string]string{"X-Amz-Copy-Source": "bucket/a/%2E%2E/b"}}).want(t, 200)
	if a := s.do(t, call{method: "GET", target: "/bucket/copy/../"}).want(t, 200); a.body != "of a/../b" {
		t.Error(a.body)
	}
	for _, key := range append(keys, "copy/../", "never/was") {
		s.do(t, call{method: "DELETE", target: "/bucket/" + uriEncode(key, true)}).want(t, 204)
	}
	if got := s.keys(t); len(got) != 0 {
		t.Errorf("left %q", got)
	}
	s.do(t, call{method: "DELETE", target: "/bucket"}).want(t, 204)
}

// TestDirectoriesAreNoObjects: what other doors make of directories is not seen, and is not in the way.
func TestDirectoriesAreNoObjects(t *testing.T) {
	s := newServer(t)
	if _, err := s.store.MkdirAll(t.Context(), granary.Cred{}, granary.RootInode, "/buckets/bucket/made/below", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/bucket/made", "/bucket/made/", "/bucket/made/below/"} {
		s.do(t, call{method: "HEAD", target: target}).want(t, 404)
	}
	s.put(t, "made", "an object")
	if got := s.keys(t); fmt.Sprint(got) != "[made]" {
		t.Fatal(got)
	}
	s.do(t, call{method: "DELETE", target: "/bucket/made/"}).want(t, 204)
	s.do(t, call{method: "HEAD", target: "/bucket/made"}).want(t, 200)
}

func TestMarkers(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket/dir/", header: map[string]string{"X-Amz-Meta-A": "b"}}).want(t, 200)
	s.put(t, "dir/sub/file", "x")
	if a := s.do(t, call{method: "HEAD", target: "/bucket/dir/"}).want(t, 200); a.header.Get("X-Amz-Meta-A") != "b" || a.header.Get("Content-Length") != "0" {
		t.Fatal(a.header)
	}
	if got := fmt.Sprint(s.keys(t)); got != "[dir/ dir/sub/file]" {
		t.Fatal(got)
	}
	s.do(t, call{method: "PUT", target: "/bucket/dir/"}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/dir/sub/"}).want(t, 200)
	s.do(t, call{method: "HEAD", target: "/bucket/dir/sub/"}).want(t, 200)
	s.do(t, call{method: "DELETE", target: "/bucket/dir/sub/"}).want(t, 204)
	s.do(t, call{method: "HEAD", target: "/bucket/dir/sub/"}).want(t, 404)
	s.do(t, call{method: "PUT", target: "/bucket/dir/sub/", header: map[string]string{"If-None-Match": "*"}}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/dir/sub/", header: map[string]string{"If-None-Match": "*"}}).wantCode(t, codePrecondition)
	s.do(t, call{method: "DELETE", target: "/bucket/dir/"}).want(t, 204)
	if got := fmt.Sprint(s.keys(t)); got != "[dir/sub/ dir/sub/file]" {
		t.Fatal(got)
	}
	body := `<Delete><Quiet>true</Quiet><Object><Key>dir/sub/</Key></Object><Object><Key>dir/</Key></Object><Object><Key>dir/sub/file</Key></Object><Object><Key>none</Key></Object></Delete>`
	if a := s.do(t, call{method: "POST", target: "/bucket/?delete", body: body}).want(t, 200); strings.Contains(a.body, "<Deleted>") || strings.Contains(a.body, "<Error>") {
		t.Fatal(a.body)
	}
	if got := s.keys(t); len(got) != 0 {
		t.Fatal(got)
	}
	s.do(t, call{method: "DELETE", target: "/bucket"}).want(t, 204)
}

func TestCopy(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket/src%2Bx", body: "content", header: map[string]string{"X-Amz-Meta-A": "1", "X-Amz-Checksum-Crc32": sumOf(algorithmCRC32, []byte("content"))}}).want(t, 200)
	from := func(extra ...string) map[string]string {
		h := map[string]string{"X-Amz-Copy-Source": "/bucket/src%2Bx"}
		for i := 0; i < len(extra); i += 2 {
			h[extra[i]] = extra[i+1]
		}
		return h
	}
	a := s.do(t, call{method: "PUT", target: "/bucket/copy", header: from()}).want(t, 200)
	if !strings.Contains(a.body, md5Hex("content")) || !strings.Contains(a.body, "CopyObjectResult") {
		t.Fatal(a.body)
	}
	got := s.do(t, call{method: "GET", target: "/bucket/copy", header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 200)
	if got.body != "content" || got.header.Get("X-Amz-Meta-A") != "1" || got.header.Get("X-Amz-Checksum-Crc32") == "" {
		t.Fatalf("%q %v", got.body, got.header)
	}
	s.do(t, call{method: "PUT", target: "/bucket/src%2Bx", header: from()}).wantCode(t, codeInvalidRequest)
	s.do(t, call{method: "PUT", target: "/bucket/src%2Bx", header: from("X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-B", "2")}).want(t, 200)
	got = s.do(t, call{method: "GET", target: "/bucket/src%2Bx"}).want(t, 200)
	if got.body != "content" || got.header.Get("X-Amz-Meta-A") != "" || got.header.Get("X-Amz-Meta-B") != "2" || got.header.Get("Etag") != `"`+md5Hex("content")+`"` {
		t.Fatalf("%q %v", got.body, got.header)
	}
	s.do(t, call{method: "PUT", target: "/bucket/c2", header: from("X-Amz-Copy-Source-If-Match", `"no"`)}).wantCode(t, codePrecondition)
	s.do(t, call{method: "PUT", target: "/bucket/c2", header: from("X-Amz-Copy-Source-If-None-Match", `"`+md5Hex("content")+`"`)}).wantCode(t, codePrecondition)
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: from("If-None-Match", "*")}).wantCode(t, codePrecondition)
	s.do(t, call{method: "PUT", target: "/bucket/c2", header: map[string]string{"X-Amz-Copy-Source": "bucket/none"}}).wantCode(t, codeNoSuchKey)
	s.do(t, call{method: "PUT", target: "/bucket/c2", header: map[string]string{"X-Amz-Copy-Source": "none/none"}}).wantCode(t, codeNoSuchBucket)
	s.do(t, call{method: "PUT", target: "/bucket/c2", header: map[string]string{"X-Amz-Copy-Source": "bucket"}}).wantCode(t, codeInvalidArgument)
}

// A read that fails after its answer has begun is cut off; one that fails before is a proper error.
func TestFailingReads(t *testing.T) {
	s := newServer(t)
	s.put(t, "k", strings.Repeat("x", 1<<20))
	s.store.failRead = func(_ string, off int64) error {
		if off >= 512<<10 {
			return granary.Errorf(granary.KindCorrupt, "read", "block 7", "")
		}
		return nil
	}
	a := s.do(t, call{method: "GET", target: "/bucket/k"})
	if a.err == nil || len(a.body) >= 1<<20 {
		t.Fatalf("%d bytes, error %v", len(a.body), a.err)
	}
	s.store.failRead = func(string, int64) error { return granary.Errorf(granary.KindCorrupt, "read", "block 7", "") }
	a = s.do(t, call{method: "GET", target: "/bucket/k"})
	a.wantCode(t, codeInternal)
	if !strings.Contains(a.body, "block 7") || a.header.Get("Etag") != "" {
		t.Fatal(a.body, a.header)
	}
	stale := 0
	s.store.failRead = func(string, int64) error {
		if stale++; stale == 1 {
			return granary.Errorf(granary.KindStale, "read", "", "")
		}
		return nil
	}
	s.do(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
}

func TestPresigned(t *testing.T) {
	s := newServer(t)
	presign := func(method, target string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		if method == "GET" {
			r.Body, r.ContentLength = nil, 0
		}
		return signer.PreSignV4(*r, testAccessKey, testSecretKey, "", "us-east-1", 60)
	}
	s.send(t, presign("PUT", "/bucket/k%20l")).want(t, 200)
	if a := s.send(t, presign("GET", "/bucket/k%20l?response-content-type=a/b")).want(t, 200); a.body != "body" || a.header.Get("Content-Type") != "a/b" {
		t.Fatal(a)
	}
	for sum, want := range map[string]code{hexSHA256("body"): codeSignature, "nonsense": codeSignature, payloadUnsigned: ""} { // the URL was signed for any body
		r := presign("PUT", "/bucket/summed")
		r.Header.Set("X-Amz-Content-Sha256", sum)
		if a := s.send(t, r); want != "" {
			a.wantCode(t, want)
		} else {
			a.want(t, 200)
		}
	}
	r := presign("GET", "/bucket/k%20l")
	r.URL.Path = "/bucket/other"
	r.URL.RawPath = ""
	s.send(t, r).wantCode(t, codeSignature)
	r = presign("PUT", "/bucket/new")
	r.Header.Set("X-Amz-Copy-Source", "/bucket/k%20l")
	s.send(t, r).wantCode(t, codeAccessDenied)
}

func TestExpectContinue(t *testing.T) {
	s := newServer(t)
	r := s.request(t, call{method: "PUT", target: "/bucket/k", body: strings.Repeat("x", 1<<16), header: map[string]string{"Expect": "100-continue"}})
	s.send(t, r).want(t, 200)
	r = s.request(t, call{method: "PUT", target: "/bucket/k", body: strings.Repeat("x", 1<<16), header: map[string]string{"Expect": "100-continue", "If-None-Match": "*"}})
	s.send(t, r).wantCode(t, codePrecondition)
}

// An empty body that waits for 100 gets it, too: botocore counts on it.
func TestExpectContinueOfNothing(t *testing.T) {
	s := newServer(t)
	r := s.request(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"Expect": "100-continue"}})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for _, want := range []int{100, 200} {
		resp, err := http.ReadResponse(in, r)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%v, %v; want %d", resp, err, want)
		}
		resp.Body.Close()
	}
}

func TestErrorsAreNotMistakenForAnswers(t *testing.T) {
	for kind := granary.KindNotFound; kind <= granary.KindNotOwner; kind++ {
		e := explain(granary.Errorf(kind, "op", "subject", ""), codeNoSuchKey)
		if status := e.code.status(); status < 400 || e.message == "" {
			t.Errorf("%s is %s, %d", kind, e.code, status)
		}
	}
	if e := explain(context.Canceled, codeNoSuchKey); e.code != codeRequestTimeout {
		t.Error(e)
	}
	if e := explain(granary.Errorf(granary.KindNotFound, "op", "subject", ""), codeNoSuchBucket); e.message != "The specified bucket does not exist" { // SDKs compare it
		t.Error(e.message)
	}
	var b bytes.Buffer
	if err := xml.NewEncoder(&b).Encode(&errorDocument{Code: codeNoSuchKey}); err != nil || !strings.HasPrefix(b.String(), "<Error><Code>NoSuchKey</Code>") {
		t.Error(b.String(), err)
	}
}

// TestLongMetadata keeps user metadata whose name is longer than an attribute's, through copies and uploads in parts.
func TestLongMetadata(t *testing.T) {
	s := newServer(t)
	long := "X-Amz-Meta-" + strings.Repeat("a", 300)
	header := map[string]string{long: "value & more", "X-Amz-Meta-Short": "s"}
	s.do(t, call{method: "PUT", target: "/bucket/k", header: header}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "bucket/k"}}).want(t, 200)
	id := s.initiate(t, "parts", header)
	s.do(t, call{method: "POST", target: "/bucket/parts?uploadId=" + id, body: completion(s.part(t, "parts", id, 1, "x"))}).want(t, 200)
	for _, key := range []string{"k", "copy", "parts"} {
		got := s.do(t, call{method: "HEAD", target: "/bucket/" + key}).want(t, 200)
		if got.header.Get(long) != "value & more" || got.header.Get("X-Amz-Meta-Short") != "s" {
			t.Errorf("%s: %v", key, got.header)
		}
	}
}

// TestArgumentsAreNamed has refusals say which argument is wrong.
func TestArgumentsAreNamed(t *testing.T) {
	s := newServer(t)
	a := s.do(t, call{method: "GET", target: "/bucket?max-keys=-1"})
	a.wantCode(t, codeInvalidArgument)
	if !strings.Contains(a.body, "<ArgumentName>max-keys</ArgumentName><ArgumentValue>-1</ArgumentValue>") {
		t.Error(a.body)
	}
	s.put(t, "k", "x")
	s.do(t, call{method: "HEAD", target: "/bucket/none?partNumber=0"}).want(t, 400)
	s.do(t, call{method: "GET", target: "/bucket/k?response-content-type=a", unsigned: true}).want(t, 403)
	s.do(t, call{method: "PUT", target: "/bucket?policy", body: publicBucket}).want(t, 204)
	s.do(t, call{method: "GET", target: "/bucket/k?response-content-type=a", unsigned: true}).wantCode(t, codeInvalidRequest)
}

// TestRedirectIsNotCopied copies an object that redirects: where to stays behind, and the copy redirects as its request says.
func TestRedirectIsNotCopied(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{redirectHeader: "/a", "X-Amz-Meta-M": "m"}}).want(t, 200)
	for to, want := range map[string]string{"": "", "/b": "/b"} {
		header := map[string]string{"X-Amz-Copy-Source": "bucket/k"}
		if to != "" {
			header[redirectHeader] = to
		}
		s.do(t, call{method: "PUT", target: "/bucket/copy", header: header}).want(t, 200)
		if got := s.do(t, call{method: "HEAD", target: "/bucket/copy"}).want(t, 200); got.header.Get(redirectHeader) != want || got.header.Get("X-Amz-Meta-M") != "m" {
			t.Error(got.header)
		}
	}
}
