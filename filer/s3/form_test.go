package s3

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	forms "mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// posting is a form: fields in order, and a file.
type posting struct {
	fields [][2]string
	policy string // signed, if it is not ""
	file   string
	tamper bool
	v2     bool // signed by Signature Version 2
}

func (s *server) post(t *testing.T, p posting) answer {
	t.Helper()
	var b bytes.Buffer
	w := forms.NewWriter(&b)
	field := func(name, value string) {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if p.policy != "" {
		encoded := base64.StdEncoding.EncodeToString([]byte(p.policy))
		if p.tamper {
			field("policy", base64.StdEncoding.EncodeToString([]byte(p.policy+" ")))
		} else {
			field("policy", encoded)
		}
		if p.v2 {
			field("AWSAccessKeyId", testAccessKey)
			field("signature", signer.PostPresignSignatureV2(encoded, testSecretKey))
		} else {
			date := time.Now().UTC().Format(dateTimeFormat)
			sc := scope{accessKey: testAccessKey, date: date[:8], region: "us-east-1", service: "s3"}
			field("x-amz-algorithm", algorithmV4)
			field("X-Amz-Credential", testAccessKey+"/"+sc.String())
			field("x-amz-date", date)
			field("x-amz-signature", hex.EncodeToString(hmacSHA256(signingKey(testSecretKey, sc), encoded)))
		}
	}
	for _, f := range p.fields {
		field(f[0], f[1])
	}
	part, err := w.CreateFormFile("file", `C:\docs\f.txt`)
	if err == nil {
		_, err = part.Write([]byte(p.file))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/bucket", &b)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", w.FormDataContentType())
	return s.send(t, r)
}

// policyFor is a policy that is good for an hour, with conditions besides those that any form needs.
func policyFor(conditions ...string) string {
	all := append([]string{
		`{"bucket":"bucket"}`, `["starts-with","$key","up/"]`, `["eq","$x-amz-algorithm","AWS4-HMAC-SHA256"]`,
		`["starts-with","$x-amz-credential",""]`, `["starts-with","$x-amz-date",""]`,
	}, conditions...)
	return `{"expiration":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `","conditions":[` + strings.Join(all, ",") + `]}`
}

func TestPostForm(t *testing.T) {
	s := newServer(t)
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	key := [2]string{"key", "up/${filename}"}
	s.post(t, posting{fields: [][2]string{key}, policy: policyFor(), file: "content"}).want(t, 204)
	if a := s.do(t, call{method: "GET", target: "/bucket/up/f.txt"}).want(t, 200); a.body != "content" {
		t.Error(a.body)
	}
	meta := `["eq","$x-amz-meta-a","b"],["starts-with","$Content-Type","image/"],["eq","$success_action_status","201"],["starts-with","$tagging",""]`
	a := s.post(t, posting{
		fields: [][2]string{key, {"X-Amz-Meta-A", "b"}, {"Content-Type", "image/png"}, {"success_action_status", "201"},
			{"tagging", "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"}, {"x-ignore-this", "x"}},
		policy: policyFor(meta, `["content-length-range",1,100]`), file: "picture",
	}).want(t, 201)
	if !strings.Contains(a.body, "<Key>up/f.txt</Key>") {
		t.Error(a.body)
	}
	head := s.do(t, call{method: "HEAD", target: "/bucket/up/f.txt"}).want(t, 200)
	if head.header.Get("X-Amz-Meta-A") != "b" || head.header.Get("Content-Type") != "image/png" || head.header.Get("X-Amz-Tagging-Count") != "1" {
		t.Error(head.header)
	}
	a = s.post(t, posting{fields: [][2]string{key, {"success_action_redirect", "http://h/done?x=1"}},
		policy: policyFor(`["eq","$success_action_redirect","http://h/done?x=1"]`), file: "y"}).want(t, 303)
	if to := a.header.Get("Location"); !strings.HasPrefix(to, "http://h/done?bucket=bucket&etag=") || !strings.Contains(to, "key=up%2Ff.txt") || !strings.Contains(to, "x=1") {
		t.Error(to)
	}

	s.put(t, "up/f.txt", "before")
	for name, c := range map[string]struct {
		p    posting
		want code
	}{
		"anonymous":       {posting{fields: [][2]string{key}}, codeAccessDenied},
		"tampered":        {posting{fields: [][2]string{key}, policy: policyFor(), tamper: true}, codeSignature},
		"another key":     {posting{fields: [][2]string{{"key", "down/x"}}, policy: policyFor()}, codeAccessDenied},
		"no key":          {posting{policy: policyFor()}, codeInvalidArgument},
		"extra field":     {posting{fields: [][2]string{key, {"x-amz-meta-a", "b"}}, policy: policyFor()}, codeAccessDenied},
		"twice":           {posting{fields: [][2]string{key, key}, policy: policyFor()}, codeInvalidArgument},
		"condition":       {posting{fields: [][2]string{key, {"x-amz-meta-a", "c"}}, policy: policyFor(`{"x-amz-meta-a":"b"}`)}, codeAccessDenied},
		"missing":         {posting{fields: [][2]string{key}, policy: policyFor(`{"x-amz-meta-a":"b"}`)}, codeAccessDenied},
		"too long":        {posting{fields: [][2]string{key}, policy: policyFor(`["content-length-range",0,3]`), file: "long"}, codeEntityTooLarge},
		"too short":       {posting{fields: [][2]string{key}, policy: policyFor(`["content-length-range",5,"9"]`), file: "long"}, codeEntityTooSmall},
		"another bucket":  {posting{fields: [][2]string{key}, policy: strings.Replace(policyFor(), `{"bucket":"bucket"}`, `{"bucket":"other"}`, 1)}, codeAccessDenied},
		"no bucket":       {posting{fields: [][2]string{key}, policy: strings.Replace(policyFor(), `{"bucket":"bucket"},`, ``, 1)}, codeAccessDenied},
		"expired":         {posting{fields: [][2]string{key}, policy: strings.Replace(policyFor(), "20", "19", 1)}, codeAccessDenied},
		"no policy":       {posting{fields: [][2]string{key}, policy: `{}`}, codeInvalidPolicy},
		"unknown element": {posting{fields: [][2]string{key}, policy: strings.Replace(policyFor(), "{", `{"else":1,`, 1)}, codeInvalidPolicy},
		"unknown check":   {posting{fields: [][2]string{key}, policy: policyFor(`["ends-with","$key","x"]`)}, codeInvalidPolicy},
		"checksum":        {posting{fields: [][2]string{key, {"x-amz-checksum-crc32", "AAAAAA=="}}, policy: policyFor(), file: "x"}, codeBadDigest},
		"no name":         {posting{fields: [][2]string{key, {"", "x"}}, policy: policyFor()}, codeMalformedPOST},
		"long fields":     {posting{fields: [][2]string{{"key", strings.Repeat("k", formFieldsSize)}}}, codeFormTooLong},
	} {
		t.Run(name, func(t *testing.T) { s.post(t, c.p).wantCode(t, c.want) })
	}
	refused := s.post(t, posting{fields: [][2]string{key, {"x-amz-meta-a", "c"}}, policy: policyFor(`{"x-amz-meta-a":"b <&"}`)})
	if !strings.Contains(refused.body, `Policy Condition failed: ["eq", "$x-amz-meta-a", "b &lt;&amp;"]<`) {
		t.Error(refused.body)
	}
	s.do(t, call{method: "POST", target: "/bucket/up/f.txt", body: "a form is posted to a bucket"}).wantCode(t, codeMethodNotAllowed)
	if a := s.do(t, call{method: "GET", target: "/bucket/up/f.txt"}); a.body != "before" {
		t.Error("something that was refused has taken effect")
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/up/*"}]}`
	s.do(t, call{method: "PUT", target: "/bucket?policy", body: policy}).want(t, 204)
	s.post(t, posting{fields: [][2]string{key}, file: "by nobody"}).want(t, 204)
}

// FuzzPostPolicy holds that a policy is taken or refused, and never allows a form of which it does not speak.
func FuzzPostPolicy(f *testing.F) {
	f.Add([]byte(policyFor()))
	f.Add([]byte(policyFor(`["content-length-range",1,"2"]`, `["starts-with","$Content-Type","a,b"]`)))
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := parsePostPolicy(document)
		if err != nil {
			var refused *apiError
			if !errors.As(err, &refused) {
				t.Fatal(err)
			}
			return
		}
		if p.allows(&form{fields: map[string]string{"key": "k", "x-amz-meta-unheard-of": ""}}, "b", "k", time.Now()) == nil &&
			!slices.ContainsFunc(p.conditions, func(c postCondition) bool { return c.field == "x-amz-meta-unheard-of" }) {
			t.Fatalf("%s", document)
		}
	})
}
