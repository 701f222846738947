package s3

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// wantRefusal fails a test of which something ended in an error that S3 has no code for.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	var refused *apiError
	if !errors.As(err, &refused) || refused.code.status() < 300 {
		t.Fatalf("%v is no error of S3", err)
	}
}

// FuzzAuthorization holds that whatever an Authorization header has, it is refused in S3's words, or says whole what was signed and by whom.
func FuzzAuthorization(f *testing.F) {
	f.Add(authorization("host;range", "f0e8"))
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x")
	f.Add("AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request,Credential=b,Signature=x")
	f.Fuzz(func(t *testing.T, value string) {
		claim, err := parseAuthorization(value)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		credential := claim.scope.accessKey + "/" + claim.scope.String()
		if claim.scope.accessKey == "" || claim.signature == "" || len(claim.headers) == 0 || !strings.Contains(value, "Credential="+credential) {
			t.Fatalf("%+v", claim)
		}
		again, wrong := parseScope(credential)
		if wrong != "" || again != claim.scope {
			t.Fatalf("%+v, %s", again, wrong)
		}
	})
}

// FuzzSignature holds that a request of somebody is his only if he signed its method, its path, its query and the headers that he says he signed.
func FuzzSignature(f *testing.F) {
	const presigned = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + testAccessKey +
		"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	lifecycle := authorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
	type signed struct{ method, path, query, rangeHeader string }
	valid := []signed{{method: "GET", path: "/", query: "lifecycle="}, {method: "GET", path: "/test.txt"},
		{method: "GET", path: "/test.txt", rangeHeader: "bytes=0-9"}}
	f.Add("GET", "/?lifecycle", lifecycle, emptySHA256, "20130524T000000Z", "")
	f.Add("GET", presigned, "", "", "", "")
	f.Add("GET", "/test.txt", authorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
		emptySHA256, "20130524T000000Z", "bytes=0-9")
	f.Add("GET", "/test.txt?acl", "AWS "+testAccessKey+":qgk2+6Sv9/oM7G3qLEjTH1a1l1g=", "", "20130524T000000Z", "")
	f.Add("GET", "/test.txt?AWSAccessKeyId="+testAccessKey+"&Signature=qgk2%2B6Sv9%2FoM7G3qLEjTH1a1l1g%3D&Expires=1369400000", "", "", "", "")
	h := fixedHandler(f, awsExampleTime)
	f.Fuzz(func(t *testing.T, method, target, authorization, payload, date, rangeHeader string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // the server of HTTP refuses it
		}
		r := &http.Request{Method: method, URL: u, Host: "examplebucket.s3.amazonaws.com", Header: http.Header{}}
		for name, value := range map[string]string{"Authorization": authorization, "X-Amz-Content-Sha256": payload, "X-Amz-Date": date, "Range": rangeHeader} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		query := u.Query()
		id, err := h.authenticate(r, query)
		switch {
		case err != nil:
			wantRefusal(t, err)
			return
		case id.caller.accessKey == "":
			if authorization != "" || query.Has("X-Amz-Signature") || query.Has("Signature") && query.Has("AWSAccessKeyId") {
				t.Fatal("a signature was passed over")
			}
			return
		}
		for name := range query {
			if strings.HasPrefix(name, "X-Amz-") {
				delete(query, name)
			}
		}
		got := signed{method, u.Path, canonicalQuery(query, ""), ""}
		if rangeHeader != "" && strings.Contains(authorization, "range") {
			got.rangeHeader = strings.Join(strings.Fields(rangeHeader), " ")
		}
		if !slices.Contains(valid, got) {
			t.Fatalf("%+v was not signed", got)
		}
	})
}

// FuzzRange holds that what a Range leaves of a file is in the file, and that it is what net/http makes of it, where that serves one range.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"bytes=0-9", "bytes=-5", "bytes=7-", "bytes=0-", "bytes=5-2", "bytes=0-1,3-4", "bytes=99999999999999999999-", " bytes = 1 - 2 ", "bytes=+1-2", "bytes=--1"} {
		f.Add(text, uint16(12))
	}
	f.Fuzz(func(t *testing.T, text string, length uint16) {
		size := int64(length)
		got, err := parseRange(text, size)
		if err != nil {
			wantCode(t, err, codeInvalidRange)
		}
		if got.offset < 0 || got.length < 0 || got.offset+got.length > size || got.partial && got.length == 0 || !got.partial && got != (byteRange{length: size}) {
			t.Fatalf("%q of %d bytes: %+v", text, size, got)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"] = []string{text}
		w := httptest.NewRecorder()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, size)))
		told := w.Header().Get("Content-Range")
		if w.Code != http.StatusPartialContent || w.Body.Len() == 0 || strings.Trim(text, "bytes=-0123456789") != "" { // it takes signs and spaces for parts of numbers
			return
		}
		if want := fmt.Sprintf("bytes %d-%d/%d", got.offset, got.offset+got.length-1, size); !got.partial || told != want {
			t.Fatalf("%q of %d bytes is %+v, and for net/http %s", text, size, got, told)
		}
	})
}

// FuzzXML holds that every document of a request is taken or refused in S3's words, and that what is kept of a configuration is taken again and
// means the same.
func FuzzXML(f *testing.F) {
	for _, document := range []string{
		`<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>`,
		`<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`,
		`<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>`,
		`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`,
		`<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>`,
		`<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`,
		`<CORSConfiguration><CORSRule><AllowedOrigin>http://*.a</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule></CORSConfiguration>`,
		`<LifecycleConfiguration><Rule><ID>i</ID><Status>Enabled</Status><Filter><And><Prefix>p&#xD;</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`,
		`<LifecycleConfiguration><Rule><ID>i</ID><Status>Disabled</Status><Prefix/><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>`,
		`<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>`,
		`<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>`,
		`<AccessControlPolicy><Owner><ID>x</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>x</ID></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`,
		`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><Tagging><TagSet>&b;</TagSet></Tagging>`,
	} {
		f.Add([]byte(document))
	}
	kinds := configurations()
	f.Fuzz(func(t *testing.T, document []byte) {
		for _, asked := range []any{&deleteRequest{}, &completeRequest{}, &versioningConfiguration{}, &retentionDocument{}, &legalHoldDocument{},
			&objectLockConfiguration{}, &accessList{}} {
			if err := readXML(bytes.NewReader(document), documentSizeMax, asked); err != nil {
				wantRefusal(t, err)
			}
		}
		var tags tagging
		if readXML(bytes.NewReader(document), documentSizeMax, &tags) == nil && tags.TagSet != nil && checkTags(tags.TagSet.Tags, tagsObjectMax) == nil {
			kept, err := readTags(storedTags(tags.TagSet.Tags))
			if err != nil || len(kept) != len(tags.TagSet.Tags) || len(kept) > 0 && !reflect.DeepEqual(kept, tags.TagSet.Tags) {
				t.Fatalf("the tags that are kept are others: %v", err)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(kinds)) {
			if kinds[name].check == nil {
				continue
			}
			kept, err := kinds[name].check(document)
			if err != nil {
				wantRefusal(t, err)
				continue
			}
			again, err := kinds[name].check(kept)
			if err != nil || !bytes.Equal(again, kept) {
				t.Fatalf("%s: %s is kept, and read again it is %s: %v", name, kept, again, err)
			}
		}
	})
}

// FuzzForm holds that a form is refused in S3's words, or is within the limits and has a key.
func FuzzForm(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nup/${filename}\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\\\x\\\\f.txt\"\r\n\r\ntext\r\n--b--\r\n"), "b")
	f.Add([]byte("--b\r\n\r\n--b--"), "b")
	f.Fuzz(func(t *testing.T, text []byte, boundary string) {
		r := httptest.NewRequest(http.MethodPost, "/bucket", bytes.NewReader(text))
		r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
		form, err := (&request{r: r}).readForm()
		if err != nil {
			wantRefusal(t, err)
			return
		}
		size := 0
		for name, value := range form.fields {
			size += len(name) + len(value)
		}
		if size > formFieldsSize || len(form.fields) > formFieldsMax || form.file == nil {
			t.Fatalf("%d fields of %d bytes", len(form.fields), size)
		}
		if key, err := form.key(); err != nil {
			wantRefusal(t, err)
		} else if key == "" {
			t.Fatal("no key")
		}
		if _, err := form.request(r); err != nil {
			wantRefusal(t, err)
		}
	})
}

// FuzzTags holds that tags of a header are refused in S3's words, or kept as they came.
func FuzzTags(f *testing.F) {
	f.Add("k=v&l=%20m+n&o")
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := parseTags(header)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		kept, err := readTags(storedTags(tags))
		if err != nil || len(kept) != len(tags) || len(tags) > 0 && !reflect.DeepEqual(kept, tags) {
			t.Fatalf("%d tags are kept as %d: %v", len(tags), len(kept), err)
		}
	})
}
