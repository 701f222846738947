package s3

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

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
