package s3

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// versioned is a gateway whose bucket keeps versions.
func versioned(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`}).want(t, 200)
	return s
}

// listedVersion is a version or delete marker in a listing.
type listedVersion struct {
	XMLName   xml.Name
	Key       string
	VersionID string `xml:"VersionId"`
	IsLatest  bool
}

// versions lists the versions of the bucket in words, page by page.
func (s *server) versions(t *testing.T, query string) []string {
	t.Helper()
	var words []string
	for marker := ""; ; {
		a := s.do(t, call{method: "GET", target: "/bucket?versions" + query + marker}).want(t, 200)
		var page struct {
			IsTruncated         bool
			NextKeyMarker       string
			NextVersionIDMarker string          `xml:"NextVersionIdMarker"`
			Items               []listedVersion `xml:",any"`
		}
		if err := xml.Unmarshal([]byte(a.body), &page); err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Items {
			if i.XMLName.Local == "Version" || i.XMLName.Local == "DeleteMarker" {
				words = append(words, fmt.Sprintf("%s %s %t", i.XMLName.Local, i.Key, i.IsLatest))
			}
		}
		if !page.IsTruncated {
			return words
		}
		marker = "&key-marker=" + page.NextKeyMarker + "&version-id-marker=" + page.NextVersionIDMarker
	}
}

func TestVersions(t *testing.T) {
	s := newServer(t)
	s.put(t, "k", "before")
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`}).want(t, 200)
	one := s.put(t, "k", "one").header.Get("X-Amz-Version-Id")
	two := s.put(t, "k", "two").header.Get("X-Amz-Version-Id")
	s.put(t, "j", "other")
	if one == "" || one == two {
		t.Fatalf("ids %q and %q", one, two)
	}
	for id, want := range map[string]string{one: "one", two: "two", "null": "before"} {
		if a := s.do(t, call{method: "GET", target: "/bucket/k?versionId=" + id}).want(t, 200); a.body != want || a.header.Get("X-Amz-Version-Id") != id {
			t.Errorf("version %s is %q, %v", id, a.body, a.header)
		}
	}
	marker := s.do(t, call{method: "DELETE", target: "/bucket/k"}).want(t, 204)
	if marker.header.Get("X-Amz-Delete-Marker") != "true" {
		t.Fatal(marker.header)
	}
	if a := s.do(t, call{method: "GET", target: "/bucket/k"}).want(t, 404); a.header.Get("X-Amz-Delete-Marker") != "true" {
		t.Fatal(a.header)
	}
	s.do(t, call{method: "GET", target: "/bucket/k?versionId=" + marker.header.Get("X-Amz-Version-Id")}).wantCode(t, codeMethodNotAllowed)
	s.do(t, call{method: "GET", target: "/bucket/k?versionId=0000000000000001"}).wantCode(t, codeNoSuchVersion)
	s.do(t, call{method: "GET", target: "/bucket/k?versionId=x"}).wantCode(t, codeInvalidArgument)
	want := "[Version j true DeleteMarker k true Version k false Version k false Version k false]"
	for _, query := range []string{"", "&max-keys=1", "&max-keys=2"} {
		if got := fmt.Sprint(s.versions(t, query)); got != want {
			t.Errorf("%q lists %s, want %s", query, got, want)
		}
	}
	s.do(t, call{method: "DELETE", target: "/bucket"}).wantCode(t, codeBucketNotEmpty)
	s.do(t, call{method: "DELETE", target: "/bucket/k?versionId=" + marker.header.Get("X-Amz-Version-Id")}).want(t, 204)
	if a := s.do(t, call{method: "GET", target: "/bucket/k"}).want(t, 200); a.body != "two" {
		t.Fatal(a.body)
	}
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"X-Amz-Copy-Source": "bucket/k?versionId=" + one}}).want(t, 200)
	if a := s.do(t, call{method: "GET", target: "/bucket/k"}).want(t, 200); a.body != "one" {
		t.Fatal(a.body)
	}
}

// TestVersionsOfManyWriters: of concurrent PUTs each is a version, and one of them the newest.
func TestVersionsOfManyWriters(t *testing.T) {
	s := versioned(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() { s.put(t, "k", fmt.Sprint(i)) })
	}
	group.Wait()
	latest := 0
	got := s.versions(t, "&max-keys=7")
	for _, v := range got {
		if strings.HasSuffix(v, "true") {
			latest++
		}
	}
	if len(got) != 20 || latest != 1 {
		t.Fatalf("%d versions, %d the newest", len(got), latest)
	}
}

func TestMultipartVersions(t *testing.T) {
	s := versioned(t)
	s.put(t, "k", "small")
	id := s.initiate(t, "k", map[string]string{"X-Amz-Tagging": "a=b"})
	e1, e2 := s.part(t, "k", id, 1, strings.Repeat("x", partSizeMin)), s.part(t, "k", id, 2, "rest")
	done := s.do(t, call{method: "POST", target: "/bucket/k?uploadId=" + id, body: completion(e1, e2)}).want(t, 200)
	if done.header.Get("X-Amz-Version-Id") == "" || len(s.versions(t, "")) != 2 {
		t.Fatal(done.header, s.versions(t, ""))
	}
	a := s.do(t, call{method: "GET", target: "/bucket/k?partNumber=2"}).want(t, 206)
	if a.body != "rest" || a.header.Get("X-Amz-Mp-Parts-Count") != "2" || a.header.Get("X-Amz-Tagging-Count") != "1" {
		t.Fatal(a.body, a.header)
	}
	a = s.do(t, call{method: "GET", target: "/bucket/k?attributes", header: map[string]string{"X-Amz-Object-Attributes": "ObjectParts,ObjectSize,ETag"}}).want(t, 200)
	if !strings.Contains(a.body, "<PartsCount>2</PartsCount>") || !strings.Contains(a.body, fmt.Sprintf("<ObjectSize>%d</ObjectSize>", partSizeMin+4)) {
		t.Fatal(a.body)
	}
}

func TestTagging(t *testing.T) {
	s := versioned(t)
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"X-Amz-Tagging": "a=1&b=%20x"}}).want(t, 200)
	a := s.do(t, call{method: "GET", target: "/bucket/k?tagging"}).want(t, 200)
	if !strings.Contains(a.body, "<Key>a</Key><Value>1</Value>") || !strings.Contains(a.body, "<Key>b</Key><Value> x</Value>") {
		t.Fatal(a.body)
	}
	s.do(t, call{method: "PUT", target: "/bucket/k?tagging", body: `<Tagging><TagSet><Tag><Key>c</Key><Value>2</Value></Tag></TagSet></Tagging>`}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "bucket/k"}}).want(t, 200)
	if a := s.do(t, call{method: "HEAD", target: "/bucket/copy"}).want(t, 200); a.header.Get("X-Amz-Tagging-Count") != "1" {
		t.Fatal(a.header)
	}
	s.do(t, call{method: "DELETE", target: "/bucket/k?tagging"}).want(t, 204)
	s.do(t, call{method: "PUT", target: "/bucket/k?tagging", body: `<Tagging><TagSet><Tag><Key>c</Key><Value>2</Value></Tag><Tag><Key>c</Key><Value>2</Value></Tag></TagSet></Tagging>`}).wantCode(t, codeInvalidTag)
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"X-Amz-Tagging": "a?=1"}}).wantCode(t, codeInvalidTag)
}

// TestObjectLock: what is locked cannot be taken away through any door.
func TestObjectLock(t *testing.T) {
	s := newServer(t)
	now := time.Now()
	s.do(t, call{method: "PUT", target: "/locked", header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}}).want(t, 200)
	until := now.Add(time.Hour).UTC().Format(time.RFC3339)
	a := s.do(t, call{method: "PUT", target: "/locked/k", body: "kept", header: map[string]string{
		"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": until, "X-Amz-Object-Lock-Legal-Hold": "ON",
	}}).want(t, 200)
	version := "/locked/k?versionId=" + a.header.Get("X-Amz-Version-Id")
	s.do(t, call{method: "DELETE", target: version, header: map[string]string{"X-Amz-Bypass-Governance-Retention": "true"}}).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "PUT", target: "/locked/k?legal-hold", body: "<LegalHold><Status>OFF</Status></LegalHold>"}).want(t, 200)
	s.do(t, call{method: "DELETE", target: version}).wantCode(t, codeAccessDenied)
	err := s.store.FS.Unlink(t.Context(), granary.Cred{}, s.root(t, "locked"), "k") // as a mount does: a delete marker
	if err != nil {
		t.Fatal(err)
	}
	if a := s.do(t, call{method: "GET", target: version}).want(t, 200); a.body != "kept" || a.header.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" {
		t.Fatal(a.body, a.header)
	}
	s.do(t, call{method: "DELETE", target: version, header: map[string]string{"X-Amz-Bypass-Governance-Retention": "true"}}).want(t, 204)

	s.do(t, call{method: "PUT", target: "/locked?object-lock", body: `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`}).want(t, 200)
	a = s.do(t, call{method: "PUT", target: "/locked/c", body: strings.Repeat("large", 100000)}).want(t, 200)
	version = "/locked/c?versionId=" + a.header.Get("X-Amz-Version-Id")
	s.do(t, call{method: "DELETE", target: version, header: map[string]string{"X-Amz-Bypass-Governance-Retention": "true"}}).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "PUT", target: strings.Replace(version, "?", "?retention&", 1), header: map[string]string{"X-Amz-Bypass-Governance-Retention": "true"},
		body: "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>" + until + "</RetainUntilDate></Retention>"}).wantCode(t, codeAccessDenied)
	id := s.store.stat(t, s.root(t, "locked"), "c")
	size := uint64(0)
	if _, err := s.store.FS.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: id, Size: &size}); !granary.IsKind(err, granary.KindNotOwner) {
		t.Fatalf("truncated by another door: %v", err)
	}
	s.do(t, call{method: "PUT", target: "/locked?versioning", body: `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`}).wantCode(t, codeInvalidBucketState)
	s.do(t, call{method: "PUT", target: "/bucket/k", header: map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}}).wantCode(t, codeInvalidRequest)
}

func (s *server) root(t *testing.T, bucket string) granary.InodeID {
	t.Helper()
	return s.store.stat(t, granary.BucketsInode, bucket)
}

func (s *testStore) stat(t *testing.T, dir granary.InodeID, name string) granary.InodeID {
	t.Helper()
	e, err := s.Lookup(context.WithoutCancel(t.Context()), dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return e.Attr.Inode
}

// preflight is what a browser asks before a request.
func (s *server) preflight(t *testing.T, origin, method, headers string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.URL+"/bucket/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", method)
	r.Header.Set("Access-Control-Request-Headers", headers)
	return r
}

func TestCORS(t *testing.T) {
	s := newServer(t)
	ask := func(origin, method, headers string) answer {
		r, err := s.Client().Do(s.preflight(t, origin, method, headers))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return answer{status: r.StatusCode, header: r.Header}
	}
	if a := ask("https://a.example", "GET", ""); a.status != 403 {
		t.Fatal(a.status)
	}
	s.do(t, call{method: "PUT", target: "/bucket?cors", body: `<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule></CORSConfiguration>`}).want(t, 200)
	if a := ask("https://a.example", "GET", "X-Amz-Date"); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://a.example" || a.header.Get("Access-Control-Max-Age") != "5" {
		t.Fatal(a.status, a.header)
	}
	for _, refused := range [][3]string{{"http://a.example", "GET", ""}, {"https://a.example", "PUT", ""}, {"https://a.example", "GET", "X-Other"}} {
		if a := ask(refused[0], refused[1], refused[2]); a.status != 403 {
			t.Error(refused, a.status)
		}
	}
	s.put(t, "k", "x")
	if a := s.do(t, call{method: "GET", target: "/bucket/k", header: map[string]string{"Origin": "https://b.example"}}).want(t, 200); a.header.Get("Access-Control-Expose-Headers") != "ETag" {
		t.Fatal(a.header)
	}
	for _, c := range []struct{ send, method, headers, want string }{ // what is said to be asked counts, not what is sent
		{"PUT", "GET", "X-Amz-Date", "https://b.example"}, {"GET", "PUT", "", ""}, {"GET", "GET", "X-Other", ""},
	} {
		header := map[string]string{"Origin": "https://b.example", "Access-Control-Request-Method": c.method, "Access-Control-Request-Headers": c.headers}
		if a := s.do(t, call{method: c.send, target: "/bucket/k", header: header}).want(t, 200); a.header.Get("Access-Control-Allow-Origin") != c.want {
			t.Error(c, a.header)
		}
	}
	s.do(t, call{method: "DELETE", target: "/bucket?cors"}).want(t, 204)
	s.do(t, call{method: "GET", target: "/bucket?cors"}).wantCode(t, codeNoCORS)
}
