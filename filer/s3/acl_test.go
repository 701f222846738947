package s3

import (
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// withACLs lets access control lists count in the bucket.
func (s *server) withACLs(t *testing.T) {
	t.Helper()
	body := "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership></Rule></OwnershipControls>"
	s.do(t, call{method: "PUT", target: "/bucket?ownershipControls", body: body}).want(t, 200)
}

func canned(name string) map[string]string { return map[string]string{"X-Amz-Acl": name} }

func TestNoACLsByDefault(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket/k", body: "x", header: canned("public-read")}).wantCode(t, codeACLNotSupported)
	s.do(t, call{method: "PUT", target: "/bucket/k", body: "x", header: canned("bucket-owner-full-control")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket?acl", header: canned("public-read")}).wantCode(t, codeACLNotSupported)
	s.do(t, call{method: "PUT", target: "/bucket?acl", header: canned("private")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/k?acl", header: canned("nonsense")}).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "PUT", target: "/open", header: canned("public-read")}).wantCode(t, codeACLWithOwnership)
	s.do(t, call{method: "PUT", target: "/open", header: map[string]string{"X-Amz-Acl": "public-read", "X-Amz-Object-Ownership": "ObjectWriter"}}).want(t, 200)
	s.do(t, call{method: "GET", target: "/open", unsigned: true}).want(t, 200)
}

func TestCannedACLs(t *testing.T) {
	s := newServer(t)
	s.withACLs(t)
	ann := s.user(t, "ann", "")
	s.do(t, call{method: "PUT", target: "/bucket/public", body: "x", header: canned("public-read")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/users", body: "x", header: canned("authenticated-read")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/private", body: "x"}).want(t, 200)
	get := func(key string, unsigned bool) call {
		return call{method: "GET", target: "/bucket/" + key, unsigned: unsigned}
	}
	s.do(t, get("public", true)).want(t, 200)
	s.do(t, get("users", true)).wantCode(t, codeAccessDenied)
	ann.try(t, get("users", false)).want(t, 200)
	ann.try(t, get("private", false)).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "PUT", target: "/bucket/public", body: "y", unsigned: true}).wantCode(t, codeAccessDenied)
	if a := s.do(t, call{method: "GET", target: "/bucket/public?acl"}).want(t, 200); !strings.Contains(a.body, groupEverybody) || strings.Count(a.body, "<Grant>") != 2 {
		t.Error(a.body)
	}
	// A copy, and a version that replaces it, are private again.
	s.do(t, call{method: "PUT", target: "/bucket/copy", header: map[string]string{"X-Amz-Copy-Source": "bucket/public"}}).want(t, 200)
	s.do(t, get("copy", true)).wantCode(t, codeAccessDenied)
	s.put(t, "users", "z")
	ann.try(t, get("users", false)).wantCode(t, codeAccessDenied)

	s.do(t, call{method: "PUT", target: "/bucket?acl", header: canned("public-read-write")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/new", body: "y", unsigned: true}).want(t, 200)
	s.do(t, call{method: "GET", target: "/bucket", unsigned: true}).want(t, 200)
	s.do(t, call{method: "GET", target: "/bucket?acl", unsigned: true}).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "DELETE", target: "/bucket/new", unsigned: true}).want(t, 204)

	// What is public can be shut off, and a policy can deny it.
	block := func(settings string) {
		t.Helper()
		s.do(t, call{method: "PUT", target: "/bucket?publicAccessBlock", body: "<PublicAccessBlockConfiguration>" + settings + "</PublicAccessBlockConfiguration>"}).want(t, 200)
	}
	block("<IgnorePublicAcls>true</IgnorePublicAcls>")
	s.do(t, get("public", true)).wantCode(t, codeAccessDenied)
	block("<BlockPublicAcls>true</BlockPublicAcls>")
	s.do(t, get("public", true)).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/k?acl", header: canned("public-read")}).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "PUT", target: "/bucket/k", body: "x", header: canned("public-read")}).wantCode(t, codeAccessDenied)
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/public"}]}`
	s.do(t, call{method: "PUT", target: "/bucket?policy", body: deny}).want(t, 204)
	s.do(t, get("public", true)).wantCode(t, codeAccessDenied)

	// An earlier version has its own list, whoever copies it.
	s.do(t, call{method: "DELETE", target: "/bucket?policy"}).want(t, 204)
	s.do(t, call{method: "DELETE", target: "/bucket?publicAccessBlock"}).want(t, 204)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	id := s.put(t, "v", "secret").header.Get("X-Amz-Version-Id")
	s.do(t, call{method: "PUT", target: "/bucket/v", body: "open", header: canned("public-read")}).want(t, 200)
	take := func(source string) answer {
		return ann.try(t, call{method: "PUT", target: "/bucket/taken", header: map[string]string{"X-Amz-Copy-Source": source}})
	}
	take("bucket/v").want(t, 200)
	take("bucket/v?versionId="+id).wantCode(t, codeAccessDenied)
	ann.try(t, call{method: "GET", target: "/bucket/v?versionId=" + id}).wantCode(t, codeAccessDenied)

	// Lists that say something keep the ownership from being enforced.
	enforced := "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"
	s.do(t, call{method: "PUT", target: "/bucket?ownershipControls", body: enforced}).wantCode(t, codeACLWithOwnership)
	s.do(t, call{method: "PUT", target: "/bucket?acl", header: canned("private")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket?ownershipControls", body: enforced}).want(t, 200)
	s.do(t, get("copy", true)).wantCode(t, codeAccessDenied)
}

func TestGrants(t *testing.T) {
	s := newServer(t)
	s.withACLs(t)
	ann := s.user(t, "ann", "")
	i, err := s.store.Identity(t.Context(), granary.IdentityUser, "ann")
	if err != nil {
		t.Fatal(err)
	}
	grantTo := func(header, to string) call {
		return call{method: "PUT", target: "/bucket/k?acl", header: map[string]string{header: to}}
	}
	s.put(t, "k", "x")
	get, acl := call{method: "GET", target: "/bucket/k"}, call{method: "GET", target: "/bucket/k?acl"}
	s.do(t, grantTo("X-Amz-Grant-Read", `id="`+i.ID+`"`)).want(t, 200)
	ann.try(t, get).want(t, 200)
	ann.try(t, acl).wantCode(t, codeAccessDenied)
	s.do(t, grantTo("X-Amz-Grant-Read-Acp", `id="`+i.ID+`", uri="`+groupUsers+`"`)).want(t, 200)
	ann.try(t, get).wantCode(t, codeAccessDenied)
	told := ann.try(t, acl).want(t, 200).body

	// What is told can be put, and changed.
	changed := strings.Replace(told, "READ_ACP", "FULL_CONTROL", 1)
	s.do(t, call{method: "PUT", target: "/bucket/k?acl", body: changed}).want(t, 200)
	ann.try(t, get).want(t, 200)
	for body, want := range map[string]code{
		"<x/>": codeMalformedXML,
		strings.ReplaceAll(changed, i.ID, "AIDANOBODY"):              codeInvalidArgument,
		strings.ReplaceAll(changed, "FULL_CONTROL", "EVERYTHING"):    codeMalformedXML,
		strings.ReplaceAll(changed, "AuthenticatedUsers", "Cousins"): codeInvalidArgument,
		strings.ReplaceAll(changed, ownerID, i.ID):                   codeAccessDenied,
	} {
		s.do(t, call{method: "PUT", target: "/bucket/k?acl", body: body}).wantCode(t, want)
	}
	s.do(t, grantTo("X-Amz-Grant-Read", `emailAddress="a@b"`)).wantCode(t, codeUnresolvableGrant)
	s.do(t, grantTo("X-Amz-Grant-Read", `somebody`)).wantCode(t, codeInvalidArgument)
	s.do(t, call{method: "PUT", target: "/bucket/k?acl", header: map[string]string{"X-Amz-Acl": "private", "X-Amz-Grant-Read": `id="` + ownerID + `"`}}).wantCode(t, codeInvalidRequest)
	s.do(t, call{method: "PUT", target: "/bucket/k?acl"}).wantCode(t, codeMissingSecurityHeader)
	s.do(t, call{method: "PUT", target: "/bucket/nothing?acl", header: canned("private")}).wantCode(t, codeNoSuchKey)
}
