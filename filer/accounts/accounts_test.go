package accounts

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// memory is a Store in memory, with the rules of the real one that matter here.
type memory struct {
	mu      sync.Mutex
	all     map[granary.IdentityRef]granary.Identity
	version granary.Index
	stale   int // how many changes find another before them
}

func (m *memory) Identity(_ context.Context, kind granary.IdentityKind, name string) (granary.Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.all[granary.IdentityRef{Kind: kind, Name: name}]
	if !ok {
		return i, granary.Errorf(granary.KindNotFound, "identity", name, "")
	}
	return i, nil
}

func (m *memory) Identities(_ context.Context, q *granary.ListIdentities) (*granary.Identities, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &granary.Identities{}
	for ref, i := range m.all {
		if ref.Kind == q.Kind && ref.Name > q.After {
			i.Secret = ""
			a.Identities = append(a.Identities, i)
		}
	}
	slices.SortFunc(a.Identities, func(x, y granary.Identity) int { return strings.Compare(x.Name, y.Name) })
	if q.Limit > 0 && len(a.Identities) > q.Limit {
		a.Identities, a.More = a.Identities[:q.Limit], true
	}
	return a, nil
}

func (m *memory) IdentityUses(_ context.Context, q *granary.ListIdentityUses) (*granary.IdentityUses, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &granary.IdentityUses{}
	for ref, i := range m.all {
		if q.Kind == granary.IdentityUser && i.User == q.Name || q.Kind == granary.IdentityGroup && slices.Contains(i.Groups, q.Name) ||
			q.Kind == granary.IdentityPolicy && slices.Contains(i.Attached, q.Name) {
			a.Uses = append(a.Uses, ref)
		}
	}
	slices.SortFunc(a.Uses, func(x, y granary.IdentityRef) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Name, y.Name))
	})
	return a, nil
}

func (m *memory) PutIdentity(_ context.Context, i granary.Identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ref := granary.IdentityRef{Kind: i.Kind, Name: i.Name}
	old, there := m.all[ref]
	switch {
	case there && i.Version == 0:
		return granary.Errorf(granary.KindExists, "put", i.Name, "")
	case i.Version != old.Version || m.stale > 0 && there:
		m.stale--
		return granary.Errorf(granary.KindStale, "put", i.Name, "")
	}
	if _, ok := m.all[granary.IdentityRef{Kind: granary.IdentityUser, Name: i.User}]; i.User != "" && !ok {
		return granary.Errorf(granary.KindNotFound, "put", i.User, "")
	}
	m.version++
	i.Version = m.version
	m.all[ref] = i
	return nil
}

func (m *memory) DeleteIdentity(ctx context.Context, op *granary.DeleteIdentity) error {
	if uses, err := m.IdentityUses(ctx, &granary.ListIdentityUses{Kind: op.Kind, Name: op.Name}); err != nil || len(uses.Uses) > 0 {
		return errors.Join(err, granary.Errorf(granary.KindNotEmpty, "delete", op.Name, ""))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	ref := granary.IdentityRef{Kind: op.Kind, Name: op.Name}
	if _, ok := m.all[ref]; !ok {
		return granary.Errorf(granary.KindNotFound, "delete", op.Name, "")
	}
	delete(m.all, ref)
	return nil
}

// bench is a service under test, at a time that can be moved.
type bench struct {
	*testing.T
	*Service
	store *memory
	time  time.Time
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, store: &memory{all: map[granary.IdentityRef]granary.Identity{}}, time: time.Now()}
	b.Service = New(b.store, func() time.Time { return b.time })
	return b
}

func rootCaller() *Caller {
	return &Caller{Root: true, ID: AccountID, ARN: "arn:aws:iam::" + AccountID + ":root"}
}

// call makes a call, and gives the text of an element of the answer, or the code of the refusal.
func (b *bench) call(who *Caller, element, action string, params ...string) string {
	b.Helper()
	c := &Call{Action: action, Params: url.Values{}, Caller: who}
	for i := 0; i < len(params); i += 2 {
		c.Params.Set(params[i], params[i+1])
	}
	document, err := b.Serve(b.Context(), c)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			b.Fatalf("%s: %v", action, err)
		}
		return e.Code
	}
	d := xml.NewDecoder(strings.NewReader(strings.ReplaceAll(string(document), RequestIDMark, "id")))
	var found []string
	for {
		t, err := d.Token()
		if err != nil {
			return strings.Join(found, " ")
		}
		if start, ok := t.(xml.StartElement); ok && start.Name.Local == element {
			var text string
			if err := d.DecodeElement(&text, &start); err != nil {
				b.Fatal(err)
			}
			found = append(found, text)
		}
	}
}

const document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`

const others = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`

// TestOperations goes through what aws iam does. Each line: the caller, the call, and what comes of it.
func TestOperations(t *testing.T) {
	b := newBench(t)
	root := rootCaller()
	const arn = "arn:aws:iam::" + AccountID + ":"
	for i, c := range []struct {
		want, element string
		call          []string
	}{
		{"InvalidAction", "", []string{"Dance"}},
		{"ValidationError", "", []string{"CreateUser"}},
		{"ValidationError", "", []string{"CreateUser", "UserName", "ann", "Path", "a"}},
		{arn + "user/a/ann", "Arn", []string{"CreateUser", "UserName", "ann", "Path", "/a/"}},
		{"EntityAlreadyExists", "", []string{"CreateUser", "UserName", "ann"}},
		{"bob", "UserName", []string{"CreateUser", "UserName", "bob"}},
		{"NoSuchEntity", "", []string{"GetUser", "UserName", "eve"}},
		{"ann bob", "UserName", []string{"ListUsers"}},
		{"ann", "UserName", []string{"ListUsers", "PathPrefix", "/a/"}},
		{"ann", "Marker", []string{"ListUsers", "MaxItems", "1"}},
		{"bob", "UserName", []string{"ListUsers", "Marker", "ann"}},
		{"NotImplemented", "", []string{"UpdateUser", "UserName", "ann", "NewUserName", "eve"}},
		{"", "", []string{"UpdateUser", "UserName", "bob", "NewPath", "/b/"}},
		{arn + "user/b/bob", "Arn", []string{"GetUser", "UserName", "bob"}},
		{"", "", []string{"TagUser", "UserName", "ann", "Tags.member.1.Key", "team", "Tags.member.1.Value", "blue"}},
		{"blue", "Value", []string{"ListUserTags", "UserName", "ann"}},
		{"", "", []string{"UntagUser", "UserName", "ann", "TagKeys.member.1", "Team"}},
		{"", "Value", []string{"ListUserTags", "UserName", "ann"}},

		{"NoSuchEntity", "", []string{"CreateAccessKey", "UserName", "eve"}},
		{"Active", "Status", []string{"CreateAccessKey", "UserName", "ann"}},
		{"Active", "Status", []string{"ListAccessKeys", "UserName", "ann"}},
		{"NoSuchEntity", "", []string{"UpdateAccessKey", "UserName", "ann", "AccessKeyId", "AKIA", "Status", "Inactive"}},

		{"staff", "GroupName", []string{"CreateGroup", "GroupName", "staff"}},
		{"NoSuchEntity", "", []string{"AddUserToGroup", "GroupName", "none", "UserName", "ann"}},
		{"", "", []string{"AddUserToGroup", "GroupName", "staff", "UserName", "ann"}},
		{"", "", []string{"AddUserToGroup", "GroupName", "staff", "UserName", "bob"}},
		{"ann bob", "UserName", []string{"GetGroup", "GroupName", "staff"}},
		{"staff", "GroupName", []string{"ListGroupsForUser", "UserName", "ann"}},
		{"DeleteConflict", "", []string{"DeleteGroup", "GroupName", "staff"}},
		{"DeleteConflict", "", []string{"DeleteUser", "UserName", "bob"}},
		{"", "", []string{"RemoveUserFromGroup", "GroupName", "staff", "UserName", "bob"}},
		{"", "", []string{"DeleteUser", "UserName", "bob"}},

		{"MalformedPolicyDocument", "", []string{"PutUserPolicy", "UserName", "ann", "PolicyName", "p", "PolicyDocument", "{}"}},
		{"", "", []string{"PutUserPolicy", "UserName", "ann", "PolicyName", "p", "PolicyDocument", document}},
		{"p", "member", []string{"ListUserPolicies", "UserName", "ann"}},
		{escape(document), "PolicyDocument", []string{"GetUserPolicy", "UserName", "ann", "PolicyName", "p"}},
		{"NoSuchEntity", "", []string{"GetUserPolicy", "UserName", "ann", "PolicyName", "q"}},
		{"", "", []string{"DeleteUserPolicy", "UserName", "ann", "PolicyName", "p"}},
		{"NoSuchEntity", "", []string{"DeleteUserPolicy", "UserName", "ann", "PolicyName", "p"}},

		{arn + "policy/x/all", "Arn", []string{"CreatePolicy", "PolicyName", "all", "Path", "/x/", "PolicyDocument", document}},
		{"NoSuchEntity", "", []string{"AttachUserPolicy", "UserName", "ann", "PolicyArn", arn + "policy/all"}},
		{"NoSuchEntity", "", []string{"AttachUserPolicy", "UserName", "ann", "PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess"}},
		{"", "", []string{"AttachUserPolicy", "UserName", "ann", "PolicyArn", arn + "policy/x/all"}},
		{"", "", []string{"AttachGroupPolicy", "GroupName", "staff", "PolicyArn", arn + "policy/x/all"}},
		{"2", "AttachmentCount", []string{"GetPolicy", "PolicyArn", arn + "policy/x/all"}},
		{"all", "PolicyName", []string{"ListAttachedUserPolicies", "UserName", "ann"}},
		{"staff", "GroupName", []string{"ListEntitiesForPolicy", "PolicyArn", arn + "policy/x/all"}},
		{"DeleteConflict", "", []string{"DeletePolicy", "PolicyArn", arn + "policy/x/all"}},
		{"v2", "VersionId", []string{"CreatePolicyVersion", "PolicyArn", arn + "policy/x/all", "PolicyDocument", others}},
		{"v1", "DefaultVersionId", []string{"GetPolicy", "PolicyArn", arn + "policy/x/all"}},
		{"true", "IsDefaultVersion", []string{"CreatePolicyVersion", "PolicyArn", arn + "policy/x/all", "PolicyDocument", others, "SetAsDefault", "true"}},
		{escape(document), "Document", []string{"GetPolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v1"}},
		{escape(others), "Document", []string{"GetPolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v3"}},
		{"v3 v2 v1", "VersionId", []string{"ListPolicyVersions", "PolicyArn", arn + "policy/x/all"}},
		{"true false false", "IsDefaultVersion", []string{"ListPolicyVersions", "PolicyArn", arn + "policy/x/all"}},
		{"NoSuchEntity", "", []string{"GetPolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v4"}},
		{"DeleteConflict", "", []string{"DeletePolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v3"}},
		{"", "", []string{"SetDefaultPolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v2"}},
		{"v2", "DefaultVersionId", []string{"GetPolicy", "PolicyArn", arn + "policy/x/all"}},
		{"", "", []string{"DeletePolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v3"}},
		{"NoSuchEntity", "", []string{"SetDefaultPolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v3"}},
		{"v4", "VersionId", []string{"CreatePolicyVersion", "PolicyArn", arn + "policy/x/all", "PolicyDocument", document}},
		{"v5", "VersionId", []string{"CreatePolicyVersion", "PolicyArn", arn + "policy/x/all", "PolicyDocument", document}},
		{"v6", "VersionId", []string{"CreatePolicyVersion", "PolicyArn", arn + "policy/x/all", "PolicyDocument", document, "SetAsDefault", "true"}},
		{"LimitExceeded", "", []string{"CreatePolicyVersion", "PolicyArn", arn + "policy/x/all", "PolicyDocument", document}},
		{"v6 v5 v4 v2 v1", "VersionId", []string{"ListPolicyVersions", "PolicyArn", arn + "policy/x/all"}},
		{"DeleteConflict", "", []string{"DeleteUser", "UserName", "ann"}},
		{"", "", []string{"DetachUserPolicy", "UserName", "ann", "PolicyArn", arn + "policy/x/all"}},
		{"", "", []string{"DetachGroupPolicy", "GroupName", "staff", "PolicyArn", arn + "policy/x/all"}},
		{"DeleteConflict", "", []string{"DeletePolicy", "PolicyArn", arn + "policy/x/all"}},
		{"", "", []string{"DeletePolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v1"}},
		{"", "", []string{"DeletePolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v2"}},
		{"", "", []string{"DeletePolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v4"}},
		{"", "", []string{"DeletePolicyVersion", "PolicyArn", arn + "policy/x/all", "VersionId", "v5"}},
		{"", "", []string{"DeletePolicy", "PolicyArn", arn + "policy/x/all"}},
		{AccountID, "Account", []string{"GetCallerIdentity"}},
	} {
		if i%7 == 0 {
			b.store.stale = 2 // others are quicker now and then
		}
		if got := b.call(root, c.element, c.call[0], c.call[1:]...); got != c.want {
			t.Errorf("%v: %q, not %q", c.call, got, c.want)
		}
		b.store.stale = 0
	}
}

// TestWhoMay asks with callers that policies bind.
func TestWhoMay(t *testing.T) {
	b := newBench(t)
	var asked string
	ann := &Caller{User: "ann", ARN: ARN("user", "", "ann"), Decide: func(action, resource string) iam.Decision {
		asked = action + " " + resource
		return iam.Neutral
	}}
	for call, want := range map[string]string{
		"CreateUser UserName bob Path /x/":   "iam:CreateUser " + ARN("user", "/x/", "bob"),
		"ListUsers":                          "iam:ListUsers " + ARN("user", "/", ""),
		"CreateAccessKey":                    "iam:CreateAccessKey " + ARN("user", "/", "ann"),
		"DeletePolicy PolicyArn arn:x":       "iam:DeletePolicy arn:x",
		"PutGroupPolicy GroupName staff":     "iam:PutGroupPolicy " + ARN("group", "/", "staff"),
		"CreateOpenIDConnectProvider Url u":  "iam:CreateOpenIDConnectProvider " + ARN("oidc-provider", "/", ""),
		"GetAccessKeyLastUsed AccessKeyId k": "iam:GetAccessKeyLastUsed *",
	} {
		words := strings.Fields(call)
		if got := b.call(ann, "", words[0], words[1:]...); got != "AccessDenied" || asked != want {
			t.Errorf("%s: %s, asked for %s", call, got, asked)
		}
	}
	for _, action := range []string{"ListUsers", "GetCallerIdentity", "AssumeRole", "GetSessionToken"} {
		if got := b.call(&Caller{Anonymous: true}, "", action); got != "MissingAuthenticationToken" {
			t.Errorf("%s: %s", action, got)
		}
	}
}

func TestTokens(t *testing.T) {
	b := newBench(t)
	other := newBench(t)
	other.Service.store = b.store // another gateway
	s := &Session{AccessKey: "ASIA1", Secret: "s", Expires: b.time.Unix() + 60, Role: "r", Policies: []string{"p"}}
	token, err := b.Seal(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := other.Open(t.Context(), token, "ASIA1"); err != nil || !reflect.DeepEqual(got, s) {
		t.Fatal(got, err)
	}
	if _, err := other.Open(t.Context(), token, "ASIA2"); err != errToken {
		t.Error(err)
	}
	for i := range token {
		changed := []byte(token)
		if changed[i]++; i == len(token)-1 || string(changed) == token {
			continue // the last letter may hold bits that are nobody's
		}
		if _, err := b.Open(t.Context(), string(changed), "ASIA1"); err != errToken {
			t.Fatalf("changed at %d: %v", i, err)
		}
	}
	stranger := newBench(t)
	if _, err := stranger.Open(t.Context(), token, "ASIA1"); err != errToken {
		t.Error(err)
	}
	b.time = b.time.Add(time.Minute)
	if _, err := b.Open(t.Context(), token, "ASIA1"); err != errExpired {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, token string) {
		b := newBench(t)
		if s, err := b.Open(t.Context(), token, ""); err == nil {
			t.Fatalf("%+v", s)
		}
	})
}
