package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"
)

func (s *server) initiate(t *testing.T, key string, header map[string]string) string {
	t.Helper()
	var r initiateResult
	a := s.do(t, call{method: "POST", target: "/bucket/" + key + "?uploads", header: header}).want(t, 200)
	if err := xml.Unmarshal([]byte(a.body), &r); err != nil || r.UploadID == "" || r.Key != key {
		t.Fatal(a.body, err)
	}
	return r.UploadID
}

func (s *server) part(t *testing.T, key, id string, number int, body string) string {
	t.Helper()
	target := fmt.Sprintf("/bucket/%s?partNumber=%d&uploadId=%s", key, number, id)
	return s.do(t, call{method: "PUT", target: target, body: body}).want(t, 200).header.Get("Etag")
}

func completion(etags ...string) string {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for i, e := range etags {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, e)
	}
	return b.String() + "</CompleteMultipartUpload>"
}

func etagOfParts(parts ...string) string {
	h := md5.New()
	for _, p := range parts {
		sum := md5.Sum([]byte(p))
		h.Write(sum[:])
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(h.Sum(nil)), len(parts))
}

func TestMultipart(t *testing.T) {
	s := newServer(t)
	big, small := strings.Repeat("abcde", 1<<20), "the end"
	id := s.initiate(t, "dir/k", map[string]string{"Content-Type": "a/b", "X-Amz-Meta-A": "1"})
	s.part(t, "dir/k", id, 1, "to be replaced")
	e1, e2 := s.part(t, "dir/k", id, 1, big), s.part(t, "dir/k", id, 2, small)
	if keys := s.keys(t); len(keys) != 0 {
		t.Fatalf("parts are seen: %q", keys)
	}
	a := s.do(t, call{method: "GET", target: "/bucket/dir/k?uploadId=" + id}).want(t, 200)
	if !strings.Contains(a.body, "<PartNumber>2</PartNumber>") || !strings.Contains(a.body, fmt.Sprintf("<Size>%d</Size>", len(big))) {
		t.Fatal(a.body)
	}
	target := "/bucket/dir/k?uploadId=" + id
	s.do(t, call{method: "POST", target: target, body: completion(e2, e1)}).wantCode(t, codeInvalidPart)
	s.do(t, call{method: "POST", target: target, body: completion(e1, e2, e2)}).wantCode(t, codeInvalidPart)
	s.do(t, call{method: "POST", target: target, body: completion()}).wantCode(t, codeMalformedXML)
	s.do(t, call{method: "POST", target: target, body: "<a"}).wantCode(t, codeMalformedXML)
	s.do(t, call{method: "POST", target: target, body: strings.Replace(completion(e1, e2), "<PartNumber>2", "<PartNumber>1", 1)}).wantCode(t, codeInvalidPartOrder)
	s.do(t, call{method: "POST", target: "/bucket/other?uploadId=" + id, body: completion(e1, e2)}).wantCode(t, codeNoSuchUpload)
	s.do(t, call{method: "POST", target: target, body: completion(e1, e2), header: map[string]string{"X-Amz-Mp-Object-Size": "7"}}).wantCode(t, codeInvalidRequest)
	done := s.do(t, call{method: "POST", target: target, body: completion(e1, e2)}).want(t, 200)
	if want := etagOfParts(big, small); !strings.Contains(done.body, want) {
		t.Fatalf("%s, want %s", done.body, want)
	}
	got := s.do(t, call{method: "GET", target: "/bucket/dir/k"}).want(t, 200)
	if got.body != big+small || got.header.Get("Content-Type") != "a/b" || got.header.Get("X-Amz-Meta-A") != "1" {
		t.Fatalf("%d bytes, %v", len(got.body), got.header)
	}
	s.do(t, call{method: "POST", target: target, body: completion(e1, e2)}).wantCode(t, codeNoSuchUpload)
	s.do(t, call{method: "PUT", target: target + "&partNumber=3", body: "late"}).wantCode(t, codeNoSuchUpload)
	if a := s.do(t, call{method: "GET", target: "/bucket?uploads"}).want(t, 200); strings.Contains(a.body, "<Upload>") {
		t.Fatal(a.body)
	}
}

func TestMultipartRefused(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "k", nil)
	e1, e2 := s.part(t, "k", id, 1, "small"), s.part(t, "k", id, 2, "small")
	s.do(t, call{method: "POST", target: "/bucket/k?uploadId=" + id, body: completion(e1, e2)}).wantCode(t, codeEntityTooSmall)
	s.do(t, call{method: "PUT", target: "/bucket/k?partNumber=0&uploadId=" + id, body: "x"}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "PUT", target: "/bucket/k?partNumber=10001&uploadId=" + id, body: "x"}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "PUT", target: "/bucket/k?partNumber=1", body: "x"}).wantCode(t, codeInvalidRequest)
	for _, bad := range []string{"..", "x", "../../x", strings.ToUpper(id), strings.Repeat("0", 32), ""} {
		s.do(t, call{method: "PUT", target: "/bucket/k?partNumber=1&uploadId=" + bad, body: "x"}).wantCode(t, codeNoSuchUpload)
	}
	s.put(t, "k", "there")
	s.do(t, call{method: "POST", target: "/bucket/k?uploadId=" + id, body: completion(e1), header: map[string]string{"If-None-Match": "*"}}).wantCode(t, codePrecondition)
	s.do(t, call{method: "DELETE", target: "/bucket/k?uploadId=" + id}).want(t, 204)
	s.do(t, call{method: "DELETE", target: "/bucket/k?uploadId=" + id}).wantCode(t, codeNoSuchUpload)
	id = s.initiate(t, "k/below", nil)
	e1 = s.part(t, "k/below", id, 1, "x")
	s.do(t, call{method: "POST", target: "/bucket/k/below?uploadId=" + id, body: completion(e1)}).want(t, 200)
	s.do(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
}

func TestMultipartChecksums(t *testing.T) {
	big, small := strings.Repeat("abcde", 1<<20), "the end"
	for _, c := range []struct {
		a    algorithm
		kind string
	}{
		{algorithmCRC64NVME, ""}, {algorithmCRC32, checksumFullObject}, {algorithmCRC32C, ""}, {algorithmSHA256, checksumComposite},
	} {
		t.Run(string(c.a), func(t *testing.T) {
			s := newServer(t)
			header := map[string]string{"X-Amz-Checksum-Algorithm": string(c.a)}
			if c.kind != "" {
				header["X-Amz-Checksum-Type"] = c.kind
			}
			id := s.initiate(t, "k", header)
			e1, e2 := s.part(t, "k", id, 1, big), s.part(t, "k", id, 2, small)
			want := sumOf(c.a, []byte(big+small))
			if c.kind == checksumComposite || c.a == algorithmCRC32C {
				var err error
				if want, err = compositeChecksum(c.a, []string{sumOf(c.a, []byte(big)), sumOf(c.a, []byte(small))}); err != nil {
					t.Fatal(err)
				}
			}
			target := "/bucket/k?uploadId=" + id
			wrong := strings.Replace(completion(e1, e2), "</ETag>", "</ETag><Checksum"+string(c.a)+">AAAA</Checksum"+string(c.a)+">", 1)
			s.do(t, call{method: "POST", target: target, body: wrong}).wantCode(t, codeInvalidPart)
			s.do(t, call{method: "POST", target: target, body: completion(e1, e2), header: map[string]string{c.a.header(): sumOf(c.a, []byte("x"))}}).wantCode(t, codeBadDigest)
			if a := s.do(t, call{method: "GET", target: target}).want(t, 200); !strings.Contains(a.body, sumOf(c.a, []byte(small))) {
				t.Fatal(a.body)
			}
			done := s.do(t, call{method: "POST", target: target, body: completion(e1, e2), header: map[string]string{c.a.header(): want}}).want(t, 200)
			if !strings.Contains(done.body, "<Checksum"+string(c.a)+">"+want+"<") {
				t.Fatalf("want %s: %s", want, done.body)
			}
			got := s.do(t, call{method: "HEAD", target: "/bucket/k", header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 200)
			if got.header.Get(c.a.header()) != want {
				t.Fatal(got.header)
			}
		})
	}
}

func TestUploadPartCopy(t *testing.T) {
	s := newServer(t)
	big := strings.Repeat("abcde", 1<<20)
	s.put(t, "src", big)
	id := s.initiate(t, "k", nil)
	put := func(number int, byteRange string) answer {
		return s.do(t, call{method: "PUT", target: fmt.Sprintf("/bucket/k?partNumber=%d&uploadId=%s", number, id), header: map[string]string{
			"X-Amz-Copy-Source": "/bucket/src", "X-Amz-Copy-Source-Range": byteRange,
		}})
	}
	var r1, r2 copyResult
	for _, c := range []struct {
		r         *copyResult
		number    int
		byteRange string
	}{{&r1, 1, fmt.Sprintf("bytes=0-%d", len(big)-1)}, {&r2, 2, "bytes=1-3"}} {
		a := put(c.number, c.byteRange).want(t, 200)
		if err := xml.Unmarshal([]byte(a.body), c.r); err != nil {
			t.Fatal(err)
		}
	}
	put(3, "bytes=1-").wantCode(t, codeInvalidArgument)
	put(3, fmt.Sprintf("bytes=%d-%d", len(big), len(big)+1)).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "POST", target: "/bucket/k?uploadId=" + id, body: completion(r1.ETag, r2.ETag)}).want(t, 200)
	if got := s.do(t, call{method: "GET", target: "/bucket/k"}); got.body != big+"bcd" {
		t.Fatalf("%d bytes", len(got.body))
	}
}

func TestListUploads(t *testing.T) {
	s := newServer(t)
	ids := map[string]bool{}
	for _, k := range []string{"a/1", "a/2", "b", "b", "c"} {
		ids[s.initiate(t, k, nil)] = true
	}
	list := func(query string) (r listUploadsResult) {
		a := s.do(t, call{method: "GET", target: "/bucket?uploads" + query}).want(t, 200)
		if err := xml.Unmarshal([]byte(a.body), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := list(""); len(r.Uploads) != 5 || r.IsTruncated {
		t.Fatal(r)
	}
	if r := list("&delimiter=/"); len(r.Uploads) != 3 || len(r.CommonPrefixes) != 1 {
		t.Fatal(r)
	}
	if r := list("&prefix=a/"); len(r.Uploads) != 2 {
		t.Fatal(r)
	}
	seen, query := 0, ""
	for {
		r := list("&max-uploads=2" + query)
		for _, u := range r.Uploads {
			if !ids[u.UploadID] {
				t.Fatalf("%s again", u.UploadID)
			}
			delete(ids, u.UploadID)
			seen++
		}
		if !r.IsTruncated {
			break
		}
		query = "&key-marker=" + r.NextKeyMarker + "&upload-id-marker=" + r.NextUploadIDMarker
	}
	if seen != 5 {
		t.Fatalf("%d uploads in pages", seen)
	}
	s.put(t, "object", "x")
	s.do(t, call{method: "DELETE", target: "/bucket"}).wantCode(t, codeBucketNotEmpty)
	if r := list(""); len(r.Uploads) != 5 {
		t.Fatal("a bucket that stays has lost its uploads")
	}
	s.do(t, call{method: "DELETE", target: "/bucket/object"}).want(t, 204)
	s.do(t, call{method: "DELETE", target: "/bucket"}).want(t, 204)
}

// A completion that takes long keeps the connection alive with spaces before its document, and has
// its errors in it.
func TestSlowCompletion(t *testing.T) {
	s := newServer(t)
	s.handler.keepAlive = time.Millisecond
	s.store.slow = make(chan struct{})
	id := s.initiate(t, "k", nil)
	e1 := s.part(t, "k", id, 1, "x")
	resp, err := s.Client().Do(s.request(t, call{method: "POST", target: "/bucket/k?uploadId=" + id, body: completion(e1)}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len(xml.Header)+3)
	for n := 0; n < len(first); {
		m, err := resp.Body.Read(first[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if string(first) != xml.Header+"   " {
		t.Fatalf("%q", first)
	}
	close(s.store.slow)
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	var r completeResult
	if err := xml.Unmarshal(b.Bytes(), &r); err != nil || r.Key != "k" {
		t.Fatal(b.String(), err)
	}
}

// TestPartDuringCompletion uploads a part again between the check of the parts and the step that makes the object: the
// parts are checked again.
func TestPartDuringCompletion(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "k", nil)
	e1 := s.part(t, "k", id, 1, "x")
	uploads := 0
	s.store.beforeCompose = func() {
		if uploads++; uploads == 1 {
			s.part(t, "k", id, 1, "x") // the same content
		}
	}
	complete := call{method: "POST", target: "/bucket/k?uploadId=" + id, body: completion(e1)}
	s.do(t, complete).want(t, 200)
	if uploads != 2 {
		t.Fatalf("%d tries", uploads)
	}
	s.do(t, complete).wantCode(t, codeNoSuchUpload)

	id = s.initiate(t, "other", nil)
	e1 = s.part(t, "other", id, 1, "x")
	s.store.beforeCompose = func() { s.part(t, "other", id, 1, "y") }
	s.do(t, call{method: "POST", target: "/bucket/other?uploadId=" + id, body: completion(e1)}).wantCode(t, codeInvalidPart)
}
