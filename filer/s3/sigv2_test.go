package s3

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// TestSignatureV2Examples has the examples of https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html, with the
// keys of which the secret one has no backslash, as it was when they were computed.
func TestSignatureV2Examples(t *testing.T) {
	h := fixedHandler(t, time.Date(2007, 3, 27, 19, 40, 0, 0, time.UTC))
	h.domain = "s3.amazonaws.com"
	for _, c := range []struct{ method, host, target, date, contentType, signature string }{
		{"GET", "johnsmith.s3.amazonaws.com", "/photos/puppy.jpg", "Tue, 27 Mar 2007 19:36:42 +0000", "", "bWq2s1WEIj+Ydj0vQ697zp+IXMU="},
		{"PUT", "johnsmith.s3.amazonaws.com", "/photos/puppy.jpg", "Tue, 27 Mar 2007 21:15:45 +0000", "image/jpeg", "MyyxeRY7whkBe+bq8fHCL/2kKUg="},
		{"GET", "johnsmith.s3.amazonaws.com", "/?prefix=photos&max-keys=50&marker=puppy", "Tue, 27 Mar 2007 19:42:41 +0000", "", "htDYFYduRNen8P9ZfE/s9SuKy0U="},
		{"GET", "johnsmith.s3.amazonaws.com", "/?acl", "Tue, 27 Mar 2007 19:44:46 +0000", "", "c2WLPFtWHVgbEmeEG93a4cG37dM="},
		{"GET", "s3.amazonaws.com", "/", "Wed, 28 Mar 2007 01:29:59 +0000", "", "qGdzdERIC03wnaRNKh6OqZehG9s="},
		{"GET", "s3.amazonaws.com", "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re", "Wed, 28 Mar 2007 01:49:49 +0000", "", "DNEZGsoieTZ92F3bUfSPQcbGmlM="},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		r.Host = c.host
		r.Header.Set("Date", c.date)
		r.Header.Set("Content-Type", c.contentType)
		r.Header.Set("Authorization", "AWS "+testAccessKey+":"+c.signature)
		signed, err := parseDateV2(c.date)
		if err != nil {
			t.Fatal(err)
		}
		if got := signV2(testSecretKey, h.stringToSignV2(r, r.URL.Query(), c.date)); got != c.signature {
			t.Errorf("%s %s%s: %s, not %s, of %q", c.method, c.host, c.target, got, c.signature, h.stringToSignV2(r, r.URL.Query(), c.date))
		}
		if !signed.Equal(signed.UTC()) || signed.Year() != 2007 {
			t.Errorf("%s is %s", c.date, signed)
		}
	}
}

// TestSignatureV2 uses the gateway as clients do that sign so.
func TestSignatureV2(t *testing.T) {
	s := newServer(t)
	header := func(method, target, body string, header map[string]string) answer {
		t.Helper()
		r := s.request(t, call{method: method, target: target, body: body, header: header, unsigned: true})
		return s.send(t, signer.SignV2(*r, testAccessKey, testSecretKey, false))
	}
	header("PUT", "/bucket/a%20key", "content", map[string]string{"X-Amz-Meta-Of": "somebody", "Content-Type": "text/plain"}).want(t, 200)
	if got := header("GET", "/bucket/a%20key", "", nil).want(t, 200); got.body != "content" || got.header.Get("X-Amz-Meta-Of") != "somebody" {
		t.Errorf("%q, %v", got.body, got.header)
	}
	header("GET", "/bucket?uploads", "", nil).want(t, 200)
	header("PUT", "/bucket/copy", "", map[string]string{"X-Amz-Copy-Source": "/bucket/a%20key", "X-Amz-Copy-Source-If-Match": md5Hex("content")}).want(t, 200)
	summed := s.request(t, call{method: "PUT", target: "/bucket/summed", body: "content", unsigned: true})
	summed.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	s.send(t, signer.SignV2(*summed, testAccessKey, testSecretKey, false)).wantCode(t, codeContentSHA256)

	host := s.request(t, call{method: "GET", target: "/a%20key", host: "bucket.s3.test", unsigned: true})
	if got := s.send(t, signer.SignV2(*host, testAccessKey, testSecretKey, true)).want(t, 200); got.body != "content" {
		t.Errorf("by the bucket's host: %q", got.body)
	}

	presigned := signer.PreSignV2(*s.request(t, call{method: "GET", target: "/bucket/a%20key?response-content-type=text/csv", unsigned: true}), testAccessKey, testSecretKey, 60, false)
	presigned.Header = http.Header{}
	if got := s.send(t, presigned).want(t, 200); got.body != "content" || got.header.Get("Content-Type") != "text/csv" {
		t.Errorf("presigned: %q, %v", got.body, got.header)
	}
	policy := `{"expiration":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `","conditions":[{"bucket":"bucket"},["starts-with","$key","up/"]]}`
	s.post(t, posting{policy: policy, v2: true, fields: [][2]string{{"key", "up/form"}}, file: "a form"}).want(t, 204)
	s.post(t, posting{policy: policy, v2: true, tamper: true, fields: [][2]string{{"key", "up/form"}}, file: "a form"}).wantCode(t, codeSignature)
}

// TestSignatureV2Covers changes one thing of a signed request each: none of them is taken.
func TestSignatureV2Covers(t *testing.T) {
	s := newServer(t)
	s.put(t, "key", "content")
	query := func(add string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery += "&" + add } }
	head := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	changes := map[string]func(*http.Request){
		"method":                  func(r *http.Request) { r.Method = "DELETE" },
		"path":                    func(r *http.Request) { r.URL.Path = "/bucket/other" },
		"a version":               query("versionId=null"),
		"a part":                  query("partNumber=1"),
		"an overridden header":    query("response-content-type=text/html"),
		"a parameter for x-amz-":  query("x-amz-acl=public-read"),
		"one in capitals":         query("X-Amz-Acl=public-read"),
		"a header x-amz-":         head("X-Amz-Copy-Source", "bucket/key"),
		"content type":            head("Content-Type", "text/html"),
		"Content-MD5":             head("Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
		"a payload in chunks":     head("X-Amz-Content-Sha256", payloadUnsignedT),
		"both ways of signing it": query("X-Amz-Signature=00"),
	}
	for _, name := range subresources() {
		changes["subresource "+name] = query(url.QueryEscape(name))
	}
	sign := map[string]func(r *http.Request) *http.Request{
		"header": func(r *http.Request) *http.Request { return signer.SignV2(*r, testAccessKey, testSecretKey, false) },
		"query": func(r *http.Request) *http.Request {
			r = signer.PreSignV2(*r, testAccessKey, testSecretKey, 60, false)
			r.Header = http.Header{}
			return r
		},
	}
	for how, signed := range sign {
		s.send(t, signed(s.request(t, call{method: "GET", target: "/bucket/key?x=y", unsigned: true}))).want(t, 200)
		for what, change := range changes {
			r := signed(s.request(t, call{method: "GET", target: "/bucket/key?x=y", unsigned: true}))
			change(r)
			if a := s.send(t, r); a.status/100 != 4 {
				t.Errorf("signed in the %s, and then changed in %s: status %d", how, what, a.status)
			}
		}
	}
	for what, r := range map[string]*http.Request{
		"another key":    signer.SignV2(*s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true}), testAccessKey, "not the secret", false),
		"an unknown key": signer.SignV2(*s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true}), "NOBODY", testSecretKey, false),
		"an old date": signer.SignV2(*s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true, header: map[string]string{
			"Date": time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}), testAccessKey, testSecretKey, false),
		"no date":        s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true, header: map[string]string{"Authorization": "AWS " + testAccessKey + ":c2ln"}}),
		"no signature":   s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true, header: map[string]string{"Authorization": "AWS " + testAccessKey}}),
		"an expired URL": signer.PreSignV2(*s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true}), testAccessKey, testSecretKey, -1, false),
		"a later end": func() *http.Request {
			r := signer.PreSignV2(*s.request(t, call{method: "GET", target: "/bucket/key", unsigned: true}), testAccessKey, testSecretKey, 60, false)
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=", "Expires=9", 1)
			return r
		}(),
		"no end": s.request(t, call{method: "GET", target: fmt.Sprintf("/bucket/key?AWSAccessKeyId=%s&Signature=c2ln", testAccessKey), unsigned: true}),
	} {
		if a := s.send(t, r); a.status/100 != 4 {
			t.Errorf("with %s: status %d", what, a.status)
		}
	}
}
