package s3

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// visit asks the website of a bucket for something.
func (s *server) visit(t *testing.T, method, host, target string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://"+host+target, nil)
	rec := httptest.NewRecorder()
	s.handler.Website("site.test").ServeHTTP(rec, r)
	return answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
}

func (s *server) website(t *testing.T, body string) {
	t.Helper()
	s.do(t, call{method: "PUT", target: "/bucket?website", body: "<WebsiteConfiguration>" + body + "</WebsiteConfiguration>"}).want(t, 200)
}

const publicBucket = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}]}`

func TestWebsite(t *testing.T) {
	s := newServer(t)
	const host = "bucket.site.test"
	for key, body := range map[string]string{"index.html": "home", "docs/index.html": "docs", "page.html": "page", "error.html": "sorry", "a%20b": "spaced"} {
		s.do(t, call{method: "PUT", target: "/bucket/" + key, body: body, header: map[string]string{"Content-Type": "text/html"}}).want(t, 200)
	}
	s.do(t, call{method: "PUT", target: "/bucket/moved", header: map[string]string{"X-Amz-Website-Redirect-Location": "/page.html"}}).want(t, 200)
	if a := s.visit(t, "GET", host, "/"); a.status != 404 || !strings.Contains(a.body, "NoSuchWebsiteConfiguration") {
		t.Fatal(a)
	}
	s.website(t, `<IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>error.html</Key></ErrorDocument><RoutingRules>
		<RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>docs/</ReplaceKeyPrefixWith></Redirect></RoutingRule>
		<RoutingRule><Condition><KeyPrefixEquals>app/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>
			<Redirect><Protocol>https</Protocol><HostName>example.org</HostName><ReplaceKeyWith>lost</ReplaceKeyWith><HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule></RoutingRules>`)
	if a := s.visit(t, "GET", host, "/"); a.status != 403 || a.header.Get("X-Amz-Error-Code") != "AccessDenied" || !strings.Contains(a.body, "<li>Code: AccessDenied</li>") {
		t.Fatal("a bucket that is not public is served: ", a)
	}
	if a := s.visit(t, "GET", host, "/old/x?y=z"); a.status != 301 || a.header.Get("Location") != "http://"+host+"/docs/x?y=z" {
		t.Fatal(a)
	}
	s.do(t, call{method: "PUT", target: "/bucket?policy", body: publicBucket}).want(t, 204)
	for _, c := range []struct {
		target       string
		status       int
		body, header string
	}{
		{"/", 200, "home", ""}, {"/index.html", 200, "home", ""}, {"/docs/", 200, "docs", ""}, {"/docs", 302, "", "/docs/"}, {"/page.html?versionId=null", 200, "page", ""},
		{"/a%20b", 200, "spaced", ""}, {"/none", 404, "sorry", ""}, {"/moved", 301, "", "/page.html"}, {"/app/x", 307, "", "https://example.org/lost"},
		{"/old/x", 301, "", "http://" + host + "/docs/x"}, {"/none/", 404, "sorry", ""},
	} {
		a := s.visit(t, "GET", host, c.target)
		if a.status != c.status || a.body != c.body || a.header.Get("Location") != c.header {
			t.Errorf("%s: %d %q %q", c.target, a.status, a.body, a.header.Get("Location"))
		}
		if head := s.visit(t, "HEAD", host, c.target); head.status != c.status || head.body != "" || head.header.Get("Location") != c.header {
			t.Errorf("HEAD %s: %v", c.target, head)
		}
	}
	if a := s.visit(t, "GET", host, "/none"); a.header.Get("X-Amz-Error-Code") != "NoSuchKey" || a.header.Get("Content-Type") != "text/html" {
		t.Error(a)
	}
	if a := s.visit(t, "GET", "bucket:8080", "/page.html"); a.body != "page" {
		t.Error("by the name of the bucket alone: ", a)
	}
	if a := s.visit(t, "PUT", host, "/page.html"); a.status != 405 || a.header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Error(a)
	}
	if a := s.visit(t, "GET", "other.site.test", "/"); a.status != 404 || a.header.Get("X-Amz-Error-Code") != "NoSuchBucket" {
		t.Error(a)
	}
	s.website(t, `<RedirectAllRequestsTo><HostName>example.org</HostName></RedirectAllRequestsTo>`)
	if a := s.visit(t, "GET", host, "/a%20b?c=d"); a.status != 301 || a.header.Get("Location") != "http://example.org/a%20b?c=d" {
		t.Error(a)
	}
	s.do(t, call{method: "GET", target: "/bucket?website"}).want(t, http.StatusOK)
	s.do(t, call{method: "DELETE", target: "/bucket?website"}).want(t, 204)
	s.do(t, call{method: "GET", target: "/bucket?website"}).wantCode(t, codeNoWebsite)
}

func TestWebsiteConfigurations(t *testing.T) {
	s := newServer(t)
	index := "<IndexDocument><Suffix>i</Suffix></IndexDocument>"
	rule := func(text string) string {
		return index + "<RoutingRules><RoutingRule>" + text + "</RoutingRule></RoutingRules>"
	}
	for body, want := range map[string]code{
		"": codeInvalidArgument, "<IndexDocument><Suffix>a/b</Suffix></IndexDocument>": codeInvalidArgument, index + "<ErrorDocument><Key></Key></ErrorDocument>": codeInvalidArgument,
		"<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>" + index:                 codeMalformedXML,
		"<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>": codeInvalidRequest,
		rule("<Redirect></Redirect>"): codeMalformedXML,
		rule("<Condition></Condition><Redirect><HostName>h</HostName></Redirect>"):                                                                                 codeMalformedXML,
		rule("<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>"):                                              codeInvalidRequest,
		rule("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>"):                                                                                      codeInvalidRequest,
		rule("<Redirect><HttpRedirectCode>x</HttpRedirectCode></Redirect>"):                                                                                        codeMalformedXML,
		rule("<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>"):                   codeInvalidRequest,
		index + "<RoutingRules>" + strings.Repeat("<RoutingRule><Redirect><HostName>h</HostName></Redirect></RoutingRule>", websiteRulesMax+1) + "</RoutingRules>": codeInvalidRequest,
		index + strings.Repeat(" ", websiteSizeMax):                                                                                                                codeMessageTooLong,
	} {
		s.do(t, call{method: "PUT", target: "/bucket?website", body: "<WebsiteConfiguration>" + body + "</WebsiteConfiguration>"}).wantCode(t, want)
	}
}
