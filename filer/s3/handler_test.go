package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/notify"
)

// server is a gateway over a store in memory, with one bucket "bucket".
type server struct {
	*httptest.Server
	store   *testStore
	handler *Handler
}

func newServer(t *testing.T) *server {
	t.Helper()
	f := newTestStore(t)
	if err := f.CreateBucket(t.Context(), granary.Cred{}, "bucket"); err != nil {
		t.Fatal(err)
	}
	h := newHandler(f, Options{Domain: "s3.test", Notify: notify.New(f.Client(), nil)})
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.Close()
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.Client().Transport.(*http.Transport).DisableCompression = true
	return &server{Server: s, store: f, handler: h}
}

// call is a request to be signed.
type call struct {
	method, target string // path and query, as on the wire
	header         map[string]string
	body           string
	payload        string // x-amz-content-sha256 if not the body's
	access, secret string // if not the root user's
	token          string
	unsigned       bool
	host           string
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func (s *server) request(t *testing.T, c call) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.target, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	if c.host != "" {
		r.Host = c.host
	}
	if c.payload == "" {
		sum := sha256.Sum256([]byte(c.body))
		c.payload = hex.EncodeToString(sum[:])
	}
	r.Header.Set("X-Amz-Content-Sha256", c.payload)
	if c.secret == "" {
		c.secret = testSecretKey
	}
	if c.unsigned {
		r.Header.Del("X-Amz-Content-Sha256")
		return r
	}
	if c.access == "" {
		c.access = testAccessKey
	}
	return signer.SignV4(*r, c.access, c.secret, c.token, "us-east-1")
}

func (s *server) do(t *testing.T, c call) answer {
	t.Helper()
	return s.send(t, s.request(t, c))
}

func (s *server) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b), err: err}
}

func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status is %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

func (a answer) wantCode(t *testing.T, c code) {
	t.Helper()
	var e errorDocument
	if err := xml.Unmarshal([]byte(a.body), &e); err != nil || e.Code != c || a.status != c.status() || e.RequestID == "" || e.RequestID != a.header.Get("X-Amz-Request-Id") {
		t.Fatalf("status %d, want %s: %s (%v)", a.status, c, a.body, err)
	}
}

func (s *server) put(t *testing.T, key, body string) answer {
	t.Helper()
	return s.do(t, call{method: "PUT", target: "/bucket/" + key, body: body}).want(t, 200)
}

func (s *server) keys(t *testing.T) []string {
	t.Helper()
	root, err := s.store.Bucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	listing, err := s.store.List(t.Context(), &granary.List{Root: root, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, i := range listing.Items {
		keys = append(keys, i.Key)
	}
	return keys
}

func md5Hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

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

func TestBuckets(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/other", body: `<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>`}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/other"}).wantCode(t, codeBucketOwned)
	s.do(t, call{method: "PUT", target: "/Other"}).wantCode(t, codeInvalidBucketName)
	s.do(t, call{method: "PUT", target: "/other2?replication"}).wantCode(t, codeNotImplemented)
	s.do(t, call{method: "HEAD", target: "/other2"}).want(t, 404)
	if a := s.do(t, call{method: "GET", target: "/"}).want(t, 200); !strings.Contains(a.body, "<Name>bucket</Name>") || !strings.Contains(a.body, "<Name>other</Name>") {
		t.Fatal(a.body)
	}
	s.put(t, "k", "x")
	s.do(t, call{method: "DELETE", target: "/bucket"}).wantCode(t, codeBucketNotEmpty)
	s.do(t, call{method: "DELETE", target: "/other/"}).want(t, 204)
	s.do(t, call{method: "HEAD", target: "/other"}).want(t, 404)
	for sub, want := range map[string]code{
		"policy": codeNoPolicy, "lifecycle": codeNoLifecycle, "cors": codeNoCORS, "tagging": codeNoTagSet, "encryption": codeNoEncryption,
		"object-lock": codeNoObjectLock, "website": codeNoWebsite, "replication": codeNoReplication, "publicAccessBlock": codeNoPublicBlock,
	} {
		s.do(t, call{method: "GET", target: "/bucket?" + sub}).wantCode(t, want)
		refused := codeNotImplemented
		switch sub {
		case "cors", "tagging", "encryption", "object-lock", "publicAccessBlock", "lifecycle", "website":
			refused = codeMalformedXML
		case "policy":
			refused = codeMalformedPolicy
		}
		s.do(t, call{method: "PUT", target: "/bucket?" + sub, body: "<x/>"}).wantCode(t, refused)
	}
	for _, sub := range []string{"location", "versioning", "acl", "notification", "requestPayment", "logging", "versions"} {
		s.do(t, call{method: "GET", target: "/bucket?" + sub}).want(t, 200)
	}
	s.do(t, call{method: "GET", target: "/bucket/k?acl"}).want(t, 200)
	s.do(t, call{method: "GET", target: "/bucket/k?tagging"}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/k?tagging", body: "<x/>"}).wantCode(t, codeMalformedXML)
	s.do(t, call{method: "GET", target: "/bucket/k?versionId=abc"}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "PATCH", target: "/bucket/k"}).wantCode(t, codeMethodNotAllowed)
	if a := s.do(t, call{method: "GET", target: "/k", host: "bucket.s3.test"}).want(t, 200); a.body != "x" {
		t.Fatal(a.body)
	}
	if a, err := http.Get(s.URL + "/bucket/k"); err != nil || a.StatusCode != 403 {
		t.Fatal(a, err)
	}
}

func listed(t *testing.T, a answer) (r listBucketResult, names []string) {
	t.Helper()
	if err := xml.Unmarshal([]byte(a.want(t, 200).body), &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Contents {
		names = append(names, c.Key)
	}
	for _, p := range r.CommonPrefixes {
		names = append(names, "<"+p.Prefix+">")
	}
	return r, names
}

func TestListings(t *testing.T) {
	s := newServer(t)
	keys := []string{"a-1", "a-2", "a/1", "a/2", "b", "c-1", "c/x/y", "d e+f", "z"}
	for _, k := range keys {
		s.put(t, url.PathEscape(k)[:0]+strings.ReplaceAll(url.PathEscape(k), "%2F", "/"), "x")
	}
	for _, version := range []string{"", "&list-type=2"} {
		for query, want := range map[string]string{
			"":                             fmt.Sprint(keys),
			"prefix=a":                     "[a-1 a-2 a/1 a/2]",
			"prefix=a/":                    "[a/1 a/2]",
			"delimiter=/":                  "[a-1 a-2 b c-1 d e+f z <a/> <c/>]",
			"delimiter=-":                  "[a/1 a/2 b c/x/y d e+f z <a-> <c->]",
			"prefix=c/&delimiter=/":        "[<c/x/>]",
			"prefix=d&encoding-type=url":   "[d%20e%2Bf]",
			"max-keys=0":                   "[]",
			"prefix=nothing&delimiter=/":   "[]",
			"delimiter=1&prefix=a":         "[a-2 a/2 <a-1> <a/1>]",
			"prefix=a-1&delimiter=/":       "[a-1]",
			"prefix=d%20e%2B&max-keys=100": "[d e+f]",
		} {
			if _, got := listed(t, s.do(t, call{method: "GET", target: "/bucket?" + query + version})); fmt.Sprint(got) != want {
				t.Errorf("%q%s: got %v, want %v", query, version, got, want)
			}
		}
	}
	s.do(t, call{method: "GET", target: "/bucket?max-keys=x"}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "GET", target: "/bucket?list-type=2&continuation-token=x"}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "GET", target: "/bucket?encoding-type=x"}).wantCode(t, codeInvalidArgument)
}

// Listing page by page gives the same as listing at once, for every size of page.
func TestPages(t *testing.T) {
	s := newServer(t)
	for _, k := range []string{"a", "b/1", "b/2", "b/3", "c", "d/e/f", "d/g", "e-1", "e-2", "f"} {
		s.put(t, k, "x")
	}
	for _, delimiter := range []string{"", "/", "-", "b/"} {
		_, whole := listed(t, s.do(t, call{method: "GET", target: "/bucket?delimiter=" + delimiter}))
		for _, v2 := range []bool{false, true} {
			for size := 1; size <= 4; size++ {
				var got, gotPrefixes []string
				query := ""
				for pages := 0; ; pages++ {
					if pages > 20 {
						t.Fatal("no end")
					}
					target := fmt.Sprintf("/bucket?max-keys=%d&delimiter=%s%s", size, delimiter, query)
					if v2 {
						target += "&list-type=2"
					}
					r, _ := listed(t, s.do(t, call{method: "GET", target: target}))
					if len(r.Contents)+len(r.CommonPrefixes) > size {
						t.Fatalf("more than %d", size)
					}
					last := ""
					for _, c := range r.Contents {
						got, last = append(got, c.Key), c.Key
					}
					for _, p := range r.CommonPrefixes {
						gotPrefixes = append(gotPrefixes, "<"+p.Prefix+">")
					}
					if !r.IsTruncated {
						break
					}
					switch {
					case v2:
						query = "&continuation-token=" + url.QueryEscape(r.NextContinuationToken)
					case r.NextMarker != "":
						query = "&marker=" + url.QueryEscape(r.NextMarker)
					default:
						query = "&marker=" + url.QueryEscape(last)
					}
				}
				if all := append(got, gotPrefixes...); fmt.Sprint(all) != fmt.Sprint(whole) {
					t.Errorf("delimiter %q, v2 %v, %d a page: got %v, want %v", delimiter, v2, size, all, whole)
				}
			}
		}
	}
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

// TestBucketsAreMade looks at what a new bucket has: tags, if it is to have them, and ownership controls as AWS's.
func TestBucketsAreMade(t *testing.T) {
	s := newServer(t)
	made := s.do(t, call{method: "PUT", target: "/tagged", body: "<CreateBucketConfiguration><Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags></CreateBucketConfiguration>"}).want(t, 200)
	if made.header.Get("X-Amz-Bucket-Arn") != "arn:aws:s3:::tagged" {
		t.Error(made.header)
	}
	if a := s.do(t, call{method: "GET", target: "/tagged?tagging"}).want(t, 200); !strings.Contains(a.body, "<Key>k</Key><Value>v</Value>") {
		t.Error(a.body)
	}
	if a := s.do(t, call{method: "GET", target: "/tagged?ownershipControls"}).want(t, 200); !strings.Contains(a.body, ownerEnforced) {
		t.Error(a.body)
	}
	tags := strings.Repeat("<Tag><Key>k</Key><Value>v</Value></Tag>", 2)
	s.do(t, call{method: "PUT", target: "/twice", body: "<CreateBucketConfiguration><Tags>" + tags + "</Tags></CreateBucketConfiguration>"}).wantCode(t, codeInvalidTag)
	s.do(t, call{method: "HEAD", target: "/twice"}).want(t, 404)
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

// TestForeignVersions names versions as other stores do: there are none such, and to delete one is no error.
func TestForeignVersions(t *testing.T) {
	s := newServer(t)
	s.put(t, "k", "x")
	for id, want := range map[string]code{
		"01KF2YVN948NAZ4JJR4X1AAVRA": codeNoSuchVersion, "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH": codeNoSuchVersion, "non_existing_version_id": codeInvalidArgument,
	} {
		s.do(t, call{method: "GET", target: "/bucket/k?versionId=" + id}).wantCode(t, want)
		if a := s.do(t, call{method: "DELETE", target: "/bucket/k?versionId=" + id}); (a.status == 204) != (want == codeNoSuchVersion) {
			t.Errorf("DELETE of %s: %d", id, a.status)
		}
	}
	s.do(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
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

// TestBucketsInPages lists the buckets a few at a time.
func TestBucketsInPages(t *testing.T) {
	s := newServer(t)
	for _, name := range []string{"aaa", "bbb", "ccc"} {
		s.do(t, call{method: "PUT", target: "/" + name}).want(t, 200)
	}
	var got []string
	for token, pages := "", 0; ; pages++ {
		var list listAllMyBuckets
		a := s.do(t, call{method: "GET", target: "/?max-buckets=3&continuation-token=" + token}).want(t, 200)
		if err := xml.Unmarshal([]byte(a.body), &list); err != nil || pages > 1 {
			t.Fatal(err, pages)
		}
		for _, b := range list.Buckets {
			got = append(got, b.Name)
		}
		if token = list.ContinuationToken; token == "" {
			break
		}
	}
	if want := []string{"aaa", "bbb", "bucket", "ccc"}; !slices.Equal(got, want) {
		t.Error(got)
	}
	s.do(t, call{method: "GET", target: "/?max-buckets=0"}).wantCode(t, codeInvalidArgument)
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
