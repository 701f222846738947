package s3

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
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
	if again := s.do(t, call{method: "POST", target: target, body: completion(e1, e2)}).want(t, 200); again.body != done.body {
		t.Fatalf("the completion, repeated: %s, and not %s", again.body, done.body)
	}
	s.do(t, call{method: "POST", target: target, body: completion(e1)}).wantCode(t, codeNoSuchUpload)
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

// TestMultipartChecksums takes uploads with each algorithm and type, and one for which no checksum was asked, from beginning to end.
func TestMultipartChecksums(t *testing.T) {
	big, small := strings.Repeat("abcde", 1<<20), "the end"
	s := newServer(t)
	type upload struct {
		a    algorithm // "": none is asked for
		kind string
	}
	uploads := []upload{{"", ""}, {algorithmCRC32, checksumFullObject}, {algorithmCRC32C, checksumFullObject}, {algorithmCRC64NVME, ""}}
	for _, a := range algorithms() {
		if a != algorithmCRC64NVME {
			uploads = append(uploads, upload{a, checksumComposite})
		}
	}
	for _, c := range uploads {
		t.Run(string(c.a)+c.kind, func(t *testing.T) {
			header := map[string]string{}
			if c.a != "" {
				header["X-Amz-Checksum-Algorithm"] = string(c.a)
			}
			if c.kind != "" {
				header["X-Amz-Checksum-Type"] = c.kind
			}
			id, a := s.initiate(t, "k", header), cmp.Or(c.a, algorithmDefault)
			target := "/bucket/k?uploadId=" + id
			put := func(number int, body string) string {
				r := call{method: "PUT", target: fmt.Sprintf("%s&partNumber=%d", target, number), body: body}
				if c.kind == checksumComposite {
					s.do(t, r).wantCode(t, codeInvalidRequest)
					r.header = map[string]string{a.header(): sumOf(a, []byte(body))}
				}
				got := s.do(t, r).want(t, 200)
				if sum := got.header.Get(a.header()); (sum != "") != (c.a != "") || sum != "" && sum != sumOf(a, []byte(body)) {
					t.Fatalf("the answer to part %d: %q", number, sum)
				}
				return got.header.Get("Etag")
			}
			e1, e2 := put(1, big), put(2, small)
			want, sums := sumOf(a, []byte(big+small)), []string{sumOf(a, []byte(big)), sumOf(a, []byte(small))}
			kind := checksumFullObject
			if c.kind == checksumComposite {
				var err error
				if want, err = compositeChecksum(a, sums); err != nil {
					t.Fatal(err)
				}
				kind = checksumComposite
			}
			complete := func(sums []string, header map[string]string) answer {
				body := completion(e1, e2)
				for _, sum := range sums {
					body = strings.Replace(body, "</ETag></Part>", "</ETag><Checksum"+string(a)+">"+sum+"</Checksum"+string(a)+"></Part>", 1)
				}
				return s.do(t, call{method: "POST", target: target, body: body, header: header})
			}
			complete([]string{sums[1], sums[0]}, nil).wantCode(t, codeInvalidPart)
			complete([]string{"AAA", sums[1]}, nil).wantCode(t, codeInvalidArgument)
			complete(sums, map[string]string{"X-Amz-Checksum-Type": "OTHER"}).wantCode(t, codeInvalidRequest)
			if c.a != "" {
				complete(sums, map[string]string{a.header(): sumOf(a, []byte("x"))}).wantCode(t, codeBadDigest)
			}
			if c.kind == checksumComposite {
				complete(nil, nil).wantCode(t, codeInvalidRequest)
				complete(sums, map[string]string{"X-Amz-Checksum-Type": checksumFullObject}).wantCode(t, codeInvalidRequest)
			}
			for where, target := range map[string]string{"parts": target, "uploads": "/bucket?uploads"} {
				a := s.do(t, call{method: "GET", target: target}).want(t, 200)
				if has := strings.Contains(a.body, "<ChecksumType>"+kind+"<"); has != (c.a != "") || where == "parts" && strings.Contains(a.body, sums[1]) != (c.a != "") {
					t.Fatalf("%s: %s", where, a.body)
				}
			}
			if done := complete(sums, nil).want(t, 200); !strings.Contains(done.body, "<Checksum"+string(a)+">"+want+"<") || !strings.Contains(done.body, kind) {
				t.Fatalf("want %s: %s", want, done.body)
			}
			got := s.do(t, call{method: "HEAD", target: "/bucket/k", header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 200)
			if got.header.Get(a.header()) != want || got.header.Get("X-Amz-Checksum-Type") != kind {
				t.Fatal(got.header)
			}
			if got = s.do(t, call{method: "HEAD", target: "/bucket/k"}).want(t, 200); got.header.Get(a.header()) != "" {
				t.Fatal(got.header)
			}
			s.checkPartSums(t, a, sums, c.a != "")
			s.checkWholeSum(t, a, want, kind)
			list := s.do(t, call{method: "GET", target: "/bucket?list-type=2"}).want(t, 200).body
			if !strings.Contains(list, "<ChecksumAlgorithm>"+string(a)+"</ChecksumAlgorithm><ChecksumType>"+kind+"</ChecksumType>") {
				t.Fatal(list)
			}
		})
	}
}

// checkPartSums looks for the checksums of the parts of the object k.
func (s *server) checkPartSums(t *testing.T, a algorithm, sums []string, kept bool) {
	t.Helper()
	attributes := s.do(t, call{method: "GET", target: "/bucket/k?attributes", header: map[string]string{"X-Amz-Object-Attributes": "ObjectParts,Checksum"}}).want(t, 200)
	for i, sum := range sums {
		if strings.Contains(attributes.body, sum) != kept {
			t.Fatalf("part %d: %s", i+1, attributes.body)
		}
		part := s.do(t, call{method: "HEAD", target: fmt.Sprintf("/bucket/k?partNumber=%d", i+1), header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}}).want(t, 206)
		if (part.header.Get(a.header()) == sum) != kept {
			t.Fatal(part.header)
		}
	}
}

// checkWholeSum looks for the checksum of the object k among its attributes, where it does not tell the number of parts.
func (s *server) checkWholeSum(t *testing.T, a algorithm, sum, kind string) {
	t.Helper()
	attributes := s.do(t, call{method: "GET", target: "/bucket/k?attributes", header: map[string]string{"X-Amz-Object-Attributes": "Checksum"}}).want(t, 200)
	value, _, _ := strings.Cut(sum, "-")
	if want := fmt.Sprintf("<Checksum%s>%s</Checksum%s><ChecksumType>%s<", a, value, a, kind); !strings.Contains(attributes.body, want) {
		t.Fatalf("want %s: %s", want, attributes.body)
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
	s.do(t, complete).want(t, 200)
	s.put(t, "k", "x")
	s.do(t, complete).wantCode(t, codeNoSuchUpload)

	id = s.initiate(t, "other", nil)
	e1 = s.part(t, "other", id, 1, "x")
	s.store.beforeCompose = func() { s.part(t, "other", id, 1, "y") }
	s.do(t, call{method: "POST", target: "/bucket/other?uploadId=" + id, body: completion(e1)}).wantCode(t, codeInvalidPart)
}

// TestAbortIfBegunThen aborts an upload if it was begun at a time.
func TestAbortIfBegunThen(t *testing.T) {
	s := newServer(t)
	id := s.initiate(t, "k", nil)
	var uploads listUploadsResult
	if err := xml.Unmarshal([]byte(s.do(t, call{method: "GET", target: "/bucket?uploads"}).want(t, 200).body), &uploads); err != nil || len(uploads.Uploads) != 1 {
		t.Fatal(err, uploads)
	}
	begun, err := time.Parse(timeFormat, uploads.Uploads[0].Initiated)
	if err != nil {
		t.Fatal(err)
	}
	abort := func(at time.Time) answer {
		return s.do(t, call{method: "DELETE", target: "/bucket/k?uploadId=" + id, header: map[string]string{"X-Amz-If-Match-Initiated-Time": at.UTC().Format(http.TimeFormat)}})
	}
	abort(begun.Add(-time.Hour)).wantCode(t, codePrecondition)
	abort(begun).want(t, 204)
}
