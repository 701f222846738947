package s3

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dsorchard/granary"
)

// asUser makes calls as a user.
type asUser struct {
	*server
	access, secret, token string
}

func (u asUser) try(t *testing.T, c call) answer {
	t.Helper()
	c.access, c.secret, c.token = u.access, u.secret, u.token
	return u.do(t, c)
}

// ask sends a request to IAM or STS, and decodes the answer into v.
func (u asUser) ask(t *testing.T, action string, v any, params ...string) answer {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(t.Context(), "POST", u.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if u.access != "" {
		sum := sha256.Sum256([]byte(body))
		r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		if u.token != "" {
			r.Header.Set("X-Amz-Security-Token", u.token)
		}
		r = signer.SignV4STS(*r, u.access, u.secret, "us-east-1")
	}
	a := u.send(t, r)
	if v != nil {
		if err := xml.Unmarshal([]byte(a.body), v); err != nil {
			t.Fatalf("%s: %v: %s", action, err, a.body)
		}
	}
	return a
}

func (u asUser) wantError(t *testing.T, want, action string, params ...string) {
	t.Helper()
	var e struct {
		Error struct{ Code, Message string }
	}
	if a := u.ask(t, action, &e, params...); e.Error.Code != want || a.status < 400 {
		t.Fatalf("%s %v: status %d, %+v, want %s", action, params, a.status, e, want)
	}
}

func (s *server) asRoot() asUser { return asUser{s, testAccessKey, testSecretKey, ""} }

// user makes a user with a key and an inline policy, unless that is "".
func (s *server) user(t *testing.T, name, policy string) asUser {
	t.Helper()
	root := s.asRoot()
	root.ask(t, "CreateUser", nil, "UserName", name).want(t, 200)
	var made struct {
		Key struct{ AccessKeyId, SecretAccessKey string } `xml:"CreateAccessKeyResult>AccessKey"`
	}
	root.ask(t, "CreateAccessKey", &made, "UserName", name).want(t, 200)
	if policy != "" {
		root.ask(t, "PutUserPolicy", nil, "UserName", name, "PolicyName", "p", "PolicyDocument", policy).want(t, 200)
	}
	return asUser{s, made.Key.AccessKeyId, made.Key.SecretAccessKey, ""}
}

func allow(actions, resources string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":` + resources + `}]}`
}

func TestUsersAreBound(t *testing.T) {
	s := newServer(t)
	s.put(t, "a/1", "one")
	s.put(t, "b/1", "two")
	ann := s.user(t, "ann", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::bucket/a/*"},
		{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":["a/*","a/"]}}},
		{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket/a/secret"}]}`)
	bob := s.user(t, "bob", "")

	ann.try(t, call{method: "GET", target: "/bucket/a/1"}).want(t, 200)
	ann.try(t, call{method: "PUT", target: "/bucket/a/2", body: "x"}).want(t, 200)
	ann.try(t, call{method: "GET", target: "/bucket?list-type=2&prefix=a/"}).want(t, 200)
	ann.try(t, call{method: "GET", target: "/bucket/a/none"}).wantCode(t, codeAccessDenied) // the bucket may not be listed as a whole
	for _, c := range []call{
		{method: "GET", target: "/bucket/b/1"}, {method: "GET", target: "/bucket"}, {method: "GET", target: "/"}, {method: "PUT", target: "/another"},
		{method: "PUT", target: "/bucket/a/secret", body: "x"}, {method: "DELETE", target: "/bucket"}, {method: "GET", target: "/bucket?policy"},
		{method: "PUT", target: "/bucket/a/3", header: map[string]string{"X-Amz-Copy-Source": "bucket/b/1"}},
		{method: "PUT", target: "/bucket/a/3", header: map[string]string{"X-Amz-Tagging": "k=v"}, body: "x"},
		{method: "PUT", target: "/bucket/b/3?partNumber=1&uploadId=x", body: "x"}, {method: "POST", target: "/bucket/b/3?uploads"},
		{method: "GET", target: "/bucket/a/1?versionId=null"}, {method: "PUT", target: "/bucket?versioning", body: "<x/>"},
	} {
		ann.try(t, c).wantCode(t, codeAccessDenied)
	}
	ann.try(t, call{method: "PUT", target: "/bucket/a/3", header: map[string]string{"X-Amz-Copy-Source": "bucket/a/1"}}).want(t, 200)
	bob.try(t, call{method: "GET", target: "/bucket/a/1"}).wantCode(t, codeAccessDenied)
	bob.try(t, call{method: "GET", target: "/nowhere/a/1"}).wantCode(t, codeNoSuchBucket)

	both := `<Delete><Object><Key>a/2</Key></Object><Object><Key>b/1</Key></Object></Delete>`
	if a := ann.try(t, call{method: "POST", target: "/bucket?delete", body: both}).want(t, 200); !strings.Contains(a.body, "<Deleted><Key>a/2</Key>") ||
		!strings.Contains(a.body, "<Error><Key>b/1</Key><Code>AccessDenied</Code>") {
		t.Error(a.body)
	}

	// What a group allows comes and goes, and so does a key.
	root := s.asRoot()
	root.ask(t, "CreateGroup", nil, "GroupName", "staff").want(t, 200)
	root.ask(t, "PutGroupPolicy", nil, "GroupName", "staff", "PolicyName", "p", "PolicyDocument", allow(`"s3:Get*"`, `"*"`)).want(t, 200)
	root.ask(t, "AddUserToGroup", nil, "GroupName", "staff", "UserName", "bob").want(t, 200)
	bob.try(t, call{method: "GET", target: "/bucket/b/1"}).want(t, 200)
	root.ask(t, "RemoveUserFromGroup", nil, "GroupName", "staff", "UserName", "bob").want(t, 200)
	bob.try(t, call{method: "GET", target: "/bucket/b/1"}).wantCode(t, codeAccessDenied)
	root.ask(t, "UpdateAccessKey", nil, "UserName", "ann", "AccessKeyId", ann.access, "Status", "Inactive").want(t, 200)
	ann.try(t, call{method: "GET", target: "/bucket/a/1"}).wantCode(t, codeInvalidAccessKey)
}

func TestBucketPolicy(t *testing.T) {
	s := newServer(t)
	s.put(t, "a/1", "one")
	ann := s.user(t, "ann", "")
	get, anonymous := call{method: "GET", target: "/bucket/a/1"}, call{method: "GET", target: "/bucket/a/1", unsigned: true}
	s.do(t, anonymous).wantCode(t, codeAccessDenied)
	put := func(statement string) answer {
		return s.do(t, call{method: "PUT", target: "/bucket?policy", body: `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`})
	}
	for _, wrong := range []string{
		`"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::another/*"`,
		`"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket2/*"`,
		`"Effect":"Allow","Principal":"*","Action":"iam:GetUser","Resource":"arn:aws:s3:::bucket/*"`,
		`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"`,
		`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/nobody"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"`,
	} {
		put(wrong).wantCode(t, codeMalformedPolicy)
	}
	put(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"`).want(t, 204)
	ann.try(t, get).want(t, 200)
	s.do(t, anonymous).wantCode(t, codeAccessDenied)
	if a := s.do(t, call{method: "GET", target: "/bucket?policyStatus"}).want(t, 200); !strings.Contains(a.body, "<IsPublic>false") {
		t.Error(a.body)
	}
	put(`"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/a/*"`).want(t, 204)
	s.do(t, anonymous).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/a/2", body: "x", unsigned: true}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/b", body: "x", unsigned: true}).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "GET", target: "/bucket", unsigned: true}).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "GET", target: "/", unsigned: true}).wantCode(t, codeAccessDenied)
	if a := s.do(t, call{method: "GET", target: "/bucket?policyStatus"}).want(t, 200); !strings.Contains(a.body, "<IsPublic>true") {
		t.Error(a.body)
	}

	block := func(settings string) {
		t.Helper()
		s.do(t, call{method: "PUT", target: "/bucket?publicAccessBlock", body: "<PublicAccessBlockConfiguration>" + settings + "</PublicAccessBlockConfiguration>"}).want(t, 200)
	}
	block("<RestrictPublicBuckets>true</RestrictPublicBuckets>")
	s.do(t, anonymous).wantCode(t, codeAccessDenied)
	ann.try(t, get).want(t, 200)
	block("<BlockPublicPolicy>true</BlockPublicPolicy>")
	s.do(t, anonymous).want(t, 200)
	put(`"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/a/*"`).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "DELETE", target: "/bucket?publicAccessBlock"}).want(t, 204)

	// A denial counts for the root user, too, which can always take the policy away.
	put(`"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]`).want(t, 204)
	s.do(t, get).wantCode(t, codeAccessDenied)
	s.do(t, call{method: "GET", target: "/bucket?policy"}).want(t, 200)
	s.do(t, call{method: "DELETE", target: "/bucket?policy"}).want(t, 204)
	s.do(t, get).want(t, 200)
	s.do(t, call{method: "GET", target: "/bucket?policy"}).wantCode(t, codeNoPolicy)
}

// TestPolicyOfTags looks at the tags that an object has, and at those that a new one is to have.
func TestPolicyOfTags(t *testing.T) {
	s := newServer(t)
	ann := s.user(t, "ann", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"blue"}}},
		{"Effect":"Allow","Action":["s3:PutObject","s3:PutObjectTagging"],"Resource":"*","Condition":{"StringEquals":{"s3:RequestObjectTag/team":"blue"}}}]}`)
	tagged := func(team string) map[string]string { return map[string]string{"X-Amz-Tagging": "team=" + team} }
	ann.try(t, call{method: "PUT", target: "/bucket/k", body: "x", header: tagged("red")}).wantCode(t, codeAccessDenied)
	ann.try(t, call{method: "PUT", target: "/bucket/k", body: "x", header: tagged("blue")}).want(t, 200)
	ann.try(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/k", body: "x", header: tagged("red")}).want(t, 200)
	ann.try(t, call{method: "GET", target: "/bucket/k"}).wantCode(t, codeAccessDenied)

	// What may not be read may not be copied, nor removed with others.
	bob := s.user(t, "bob", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},
		{"Effect":"Deny","Action":["s3:GetObject","s3:DeleteObject"],"Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"red"}}}]}`)
	copying := map[string]string{"X-Amz-Copy-Source": "bucket/k"}
	bob.try(t, call{method: "PUT", target: "/bucket/k2", header: copying}).wantCode(t, codeAccessDenied)
	if a := bob.try(t, call{method: "POST", target: "/bucket?delete", body: "<Delete><Object><Key>k</Key></Object></Delete>"}); !strings.Contains(a.body, "AccessDenied") {
		t.Error(a.body)
	}
}

// TestFileSystemPermissions has users that are somebody in the file system bound by its permissions, too, and own what they make.
func TestFileSystemPermissions(t *testing.T) {
	s := newServer(t)
	all := allow(`"s3:*"`, `"*"`)
	ann, bob := s.user(t, "ann", all), s.user(t, "bob", all)
	for uid, name := range map[uint32]string{1001: "ann", 1002: "bob"} {
		i, err := s.store.Identity(t.Context(), granary.IdentityUser, name)
		if err != nil {
			t.Fatal(err)
		}
		i.Cred = &granary.Cred{UID: uid, GID: uid}
		if err := s.store.PutIdentity(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	ann.try(t, call{method: "PUT", target: "/anns"}).want(t, 200)
	ann.try(t, call{method: "PUT", target: "/anns/d/k", body: "x"}).want(t, 200)
	bob.try(t, call{method: "GET", target: "/anns/d/k"}).want(t, 200)
	bob.try(t, call{method: "PUT", target: "/anns/d/k", body: "y"}).wantCode(t, codeAccessDenied)
	bob.try(t, call{method: "DELETE", target: "/anns/d/k"}).wantCode(t, codeAccessDenied)
	bob.try(t, call{method: "PUT", target: "/anns/e/f/k", body: "y"}).wantCode(t, codeAccessDenied)
	ann.try(t, call{method: "PUT", target: "/bucket/k", body: "x"}).wantCode(t, codeAccessDenied) // which is root's
	root, err := s.store.Bucket(t.Context(), "anns")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := s.store.Lookup(t.Context(), root, "d")
	if err != nil {
		t.Fatal(err)
	}
	file, err := s.store.Lookup(t.Context(), dir.Attr.Inode, "k")
	if err != nil || file.Attr.UID != 1001 || dir.Attr.GID != 1001 {
		t.Fatalf("%+v, in %+v: %v", file.Attr, dir.Attr, err)
	}
	mode := uint32(0o600)
	if _, err := s.store.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: file.Attr.Inode, Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	bob.try(t, call{method: "GET", target: "/anns/d/k"}).wantCode(t, codeAccessDenied)
	ann.try(t, call{method: "GET", target: "/anns/d/k"}).want(t, 200)
	s.do(t, call{method: "GET", target: "/anns/d/k"}).want(t, 200)
}

// TestEveryOperationHasAnAction holds that nothing is served that no policy speaks of.
func TestEveryOperationHasAnAction(t *testing.T) {
	var methods = []string{"GET", "HEAD", "PUT", "POST", "DELETE"}
	for _, sub := range append(subresources(), "") {
		for _, method := range methods {
			call := method + " " + sub
			ops := map[string]operation{}
			if op, ok := bucketOperation(call); ok {
				ops["bucket"] = op
			}
			for _, copies := range []bool{false, true} {
				if op, ok := objectOperation(call, copies); ok {
					ops["object"] = op
				}
			}
			for of, op := range ops {
				if len(op.actions) == 0 && call != "POST delete" && call != "POST " {
					t.Errorf("%s of a %s needs no permission", call, of)
				}
				for _, a := range append(op.actions, op.version...) {
					if !strings.HasPrefix(a, "s3:") {
						t.Errorf("%s of a %s: %q", call, of, a)
					}
				}
			}
		}
	}
}

func TestRoles(t *testing.T) {
	s := newServer(t)
	now := time.Now()
	s.handler.now = func() time.Time { return now }
	s.put(t, "k", "x")
	root, ann, bob := s.asRoot(), s.user(t, "ann", ""), s.user(t, "bob", "")
	trust := func(principal string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"` + principal + `"}}]}`
	}
	root.wantError(t, "MalformedPolicyDocument", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", allow(`"*"`, `"*"`))
	root.ask(t, "CreateRole", nil, "RoleName", "r", "AssumeRolePolicyDocument", trust("arn:aws:iam::000000000000:user/ann")).want(t, 200)
	root.ask(t, "PutRolePolicy", nil, "RoleName", "r", "PolicyName", "p", "PolicyDocument", allow(`"s3:*Object"`, `"*"`)).want(t, 200)
	const arn = "arn:aws:iam::000000000000:role/r"
	bob.wantError(t, "AccessDenied", "AssumeRole", "RoleArn", arn, "RoleSessionName", "ss")
	ann.wantError(t, "AccessDenied", "AssumeRole", "RoleArn", arn+"2", "RoleSessionName", "ss")
	root.wantError(t, "AccessDenied", "AssumeRole", "RoleArn", arn, "RoleSessionName", "ss")
	ann.wantError(t, "ValidationError", "AssumeRole", "RoleArn", arn, "RoleSessionName", "ss", "DurationSeconds", "3601")
	become := func(u asUser, params ...string) asUser {
		t.Helper()
		var made struct {
			C struct{ AccessKeyId, SecretAccessKey, SessionToken string } `xml:"AssumeRoleResult>Credentials"`
		}
		u.ask(t, "AssumeRole", &made, append([]string{"RoleArn", arn, "RoleSessionName", "ss"}, params...)...).want(t, 200)
		return asUser{s, made.C.AccessKeyId, made.C.SecretAccessKey, made.C.SessionToken}
	}
	session := become(ann)
	session.try(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
	session.try(t, call{method: "GET", target: "/bucket"}).wantCode(t, codeAccessDenied)
	bounded := become(ann, "Policy", allow(`"s3:GetObject"`, `"*"`))
	bounded.try(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
	bounded.try(t, call{method: "PUT", target: "/bucket/k2", body: "x"}).wantCode(t, codeAccessDenied)
	// Managed policies bound a session as they are at the time; all that bound it allow together.
	const policies = "arn:aws:iam::000000000000:policy/"
	root.ask(t, "CreatePolicy", nil, "PolicyName", "readers", "PolicyDocument", allow(`"s3:GetObject"`, `"*"`)).want(t, 200)
	root.ask(t, "CreatePolicy", nil, "PolicyName", "writers", "PolicyDocument", allow(`"s3:PutObject"`, `"*"`)).want(t, 200)
	ann.wantError(t, "NoSuchEntity", "AssumeRole", "RoleArn", arn, "RoleSessionName", "ss", "PolicyArns.member.1.arn", policies+"none")
	ann.wantError(t, "PackedPolicyTooLarge", "AssumeRole", "RoleArn", arn, "RoleSessionName", "ss", "PolicyArns.member.1.arn", policies+"readers",
		"Policy", allow(`"s3:GetObject"`, `"arn:aws:s3:::`+strings.Repeat("x", 1950)+`"`))
	managed := become(ann, "PolicyArns.member.1.arn", policies+"readers")
	managed.try(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
	managed.try(t, call{method: "PUT", target: "/bucket/k2", body: "x"}).wantCode(t, codeAccessDenied)
	both := become(ann, "PolicyArns.member.1.arn", policies+"writers", "Policy", allow(`"s3:GetObject"`, `"*"`))
	both.try(t, call{method: "GET", target: "/bucket/k"}).want(t, 200)
	both.try(t, call{method: "PUT", target: "/bucket/k2", body: "x"}).want(t, 200)
	both.try(t, call{method: "DELETE", target: "/bucket/k2"}).wantCode(t, codeAccessDenied)
	root.ask(t, "CreatePolicyVersion", nil, "PolicyArn", policies+"readers", "PolicyDocument", allow(`"s3:PutObject"`, `"*"`), "SetAsDefault", "true").want(t, 200)
	managed.try(t, call{method: "GET", target: "/bucket/k"}).wantCode(t, codeAccessDenied)
	managed.try(t, call{method: "PUT", target: "/bucket/k2", body: "x"}).want(t, 200)
	root.ask(t, "DeletePolicyVersion", nil, "PolicyArn", policies+"readers", "VersionId", "v1").want(t, 200)
	root.ask(t, "DeletePolicy", nil, "PolicyArn", policies+"readers").want(t, 200)
	managed.try(t, call{method: "PUT", target: "/bucket/k2", body: "x"}).wantCode(t, codeAccessDenied)
	var who struct {
		Arn string `xml:"GetCallerIdentityResult>Arn"`
	}
	if session.ask(t, "GetCallerIdentity", &who).want(t, 200); who.Arn != "arn:aws:sts::000000000000:assumed-role/r/ss" {
		t.Error(who)
	}

	// A token that is another's, was changed, or has none of its key.
	get := call{method: "GET", target: "/bucket/k"}
	asUser{s, session.access, session.secret, bounded.token}.try(t, get).wantCode(t, codeInvalidToken)
	changed := []byte(session.token)
	changed[len(changed)-2] ^= 1
	asUser{s, session.access, session.secret, string(changed)}.try(t, get).wantCode(t, codeInvalidToken)
	asUser{s, session.access, session.secret, ""}.try(t, get).wantCode(t, codeInvalidAccessKey)
	asUser{s, session.access, bounded.secret, session.token}.try(t, get).wantCode(t, codeSignature)

	// Who trusts the account leaves it to the account's policies.
	root.ask(t, "UpdateAssumeRolePolicy", nil, "RoleName", "r", "PolicyDocument", trust("000000000000")).want(t, 200)
	bob.wantError(t, "AccessDenied", "AssumeRole", "RoleArn", arn, "RoleSessionName", "ss")
	root.ask(t, "PutUserPolicy", nil, "UserName", "bob", "PolicyName", "p", "PolicyDocument", allow(`"sts:AssumeRole"`, `"`+arn+`"`)).want(t, 200)
	become(bob).try(t, get).want(t, 200)

	// The session of a role that was made anew is over.
	root.wantError(t, "DeleteConflict", "DeleteRole", "RoleName", "r")
	root.ask(t, "DeleteRolePolicy", nil, "RoleName", "r", "PolicyName", "p").want(t, 200)
	session.try(t, get).wantCode(t, codeAccessDenied)
	root.ask(t, "DeleteRole", nil, "RoleName", "r").want(t, 200)
	session.try(t, get).wantCode(t, codeInvalidToken)
	root.ask(t, "CreateRole", nil, "RoleName", "r", "AssumeRolePolicyDocument", trust("000000000000")).want(t, 200)
	session.try(t, get).wantCode(t, codeInvalidToken)
}
