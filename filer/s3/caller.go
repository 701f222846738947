package s3

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/accounts"
	"github.com/dsorchard/granary/filer/iam"
)

// accountID is the number of the one account there is.
const accountID = accounts.AccountID

// caller is who makes a request, with what decides about it.
type caller struct {
	accessKey string
	secret    string
	root      bool
	name      string // of the user; "" for sessions of roles
	id        string
	principal iam.Principal
	tags      []granary.Tag
	policies  []*iam.Policy
	session   []*iam.Policy // of temporary credentials that are bounded; nil for others
	temporary bool          // the credentials are
	limits    granary.Limits
	cred      *granary.Cred // who it is in the file system; nil: the gateway's own authority holds
}

// anonymous is the caller of a request that is not signed.
func anonymous() *caller {
	return &caller{principal: iam.Principal{Anonymous: true}}
}

// kind is what aws:PrincipalType tells.
func (c *caller) kind() string {
	switch {
	case c.principal.Anonymous:
		return "Anonymous"
	case c.root:
		return "Account"
	case c.temporary && c.name == "":
		return "AssumedRole"
	}
	return "User"
}

// callerOf finds who holds an access key. With temporary credentials comes a token, which says all about them.
func (h *Handler) callerOf(ctx context.Context, accessKey, token string) (*caller, error) {
	if token != "" && strings.HasPrefix(accessKey, accounts.AccessKeyPrefix) {
		return h.sessionCaller(ctx, accessKey, token)
	}
	holder, err := h.store.Holder(ctx, accessKey, "")
	if granary.IsKind(err, granary.KindNotFound) || err == nil && holder.Key.Disabled {
		return nil, refuse(codeInvalidAccessKey, "The AWS Access Key Id you provided does not exist in our records.").with("AWSAccessKeyId", accessKey)
	}
	if err != nil {
		return nil, err
	}
	if token != "" {
		return nil, invalidToken()
	}
	return h.userCaller(holder)
}

func invalidToken() *apiError {
	return refuse(codeInvalidToken, "The provided token is malformed or otherwise invalid.")
}

// sessionCaller finds who holds temporary credentials: what their user or role may do now, within what the session was bounded to.
func (h *Handler) sessionCaller(ctx context.Context, accessKey, token string) (*caller, error) {
	session, err := h.accounts.Open(ctx, token, accessKey)
	var refused *accounts.Error
	if errors.As(err, &refused) {
		return nil, refuse(code(refused.Code), "%s", refused.Message)
	}
	if err != nil {
		return nil, err
	}
	holder, err := h.store.Holder(ctx, session.Of, session.Role, session.Policies...)
	if granary.IsKind(err, granary.KindNotFound) || err == nil && (holder.Key.Disabled || session.Role != "" && holder.Subject.ID != session.RoleID) {
		return nil, invalidToken()
	}
	if err != nil {
		return nil, err
	}
	c, err := h.userCaller(holder)
	if err != nil {
		return nil, err
	}
	c.accessKey, c.secret, c.temporary = session.AccessKey, session.Secret, true
	if session.Role != "" {
		role := &holder.Subject
		c.name, c.id = "", role.ID+":"+session.Name
		c.principal = iam.Principal{Account: accountID, ARNs: []string{accounts.SessionARN(role.Name, session.Name), accounts.ARN("role", role.Path, role.Name)}}
		if session.Federated != "" {
			c.principal.Federated = []string{session.Federated}
		}
	}
	c.session, err = h.policies.session(session, holder)
	return c, err
}

// session returns the policies that bound a session; nil for none. Managed ones that are gone allow nothing.
func (p *policies) session(s *accounts.Session, holder *granary.Holder) ([]*iam.Policy, error) {
	if s.Policy == "" && len(s.Policies) == 0 {
		return nil, nil
	}
	bounds := []*iam.Policy{}
	var documents []string
	if s.Policy != "" {
		documents = append(documents, s.Policy)
	}
	for i := range holder.Session {
		documents = append(documents, holder.Session[i].Document)
	}
	for _, document := range documents {
		parsed, err := p.parse(iam.OfIdentity, document)
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, parsed)
	}
	return bounds, nil
}

// userCaller makes the caller that a user is.
func (h *Handler) userCaller(holder *granary.Holder) (*caller, error) {
	u := &holder.Subject
	c := &caller{
		accessKey: holder.Key.Name, secret: holder.Key.Secret, root: holder.Root, name: u.Name, id: u.ID, tags: u.Tags, cred: u.Cred, limits: u.Limits,
		principal: iam.Principal{Account: accountID, Root: holder.Root, ARNs: []string{accounts.ARN("user", u.Path, u.Name)}, Canonical: u.ID},
	}
	if c.root {
		c.id, c.principal.ARNs, c.principal.Canonical = accountID, []string{"arn:aws:iam::" + accountID + ":root"}, ownerID
	}
	var err error
	c.policies, err = h.policies.of(holder)
	return c, err
}

// policies keeps documents parsed, for a document is parsed once and evaluated with every request.
type policies struct {
	mu     sync.Mutex
	parsed map[policyKey]*iam.Policy
}

type policyKey struct {
	kind     iam.Kind
	document string
}

// policiesMax is how many documents are kept.
const policiesMax = 1024

// parse returns a stored document. One that is not understood is KindCorrupt: nothing may be allowed in its place.
func (p *policies) parse(kind iam.Kind, document string) (*iam.Policy, error) {
	key := policyKey{kind, document}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.parsed[key]; known != nil {
		return known, nil
	}
	parsed, err := iam.Parse([]byte(document), kind)
	if err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "s3.policy", "", "%w", err)
	}
	if p.parsed == nil || len(p.parsed) >= policiesMax {
		p.parsed = map[policyKey]*iam.Policy{}
	}
	p.parsed[key] = parsed
	return parsed, nil
}

// of returns the policies of a user or role: its own, its groups', and those that they have attached.
func (p *policies) of(holder *granary.Holder) ([]*iam.Policy, error) {
	var all []*iam.Policy
	add := func(document string) error {
		parsed, err := p.parse(iam.OfIdentity, document)
		if err == nil {
			all = append(all, parsed)
		}
		return err
	}
	for _, d := range holder.Subject.Inline {
		if err := add(d.Document); err != nil {
			return nil, err
		}
	}
	for i := range holder.Groups {
		for _, d := range holder.Groups[i].Inline {
			if err := add(d.Document); err != nil {
				return nil, err
			}
		}
	}
	for i := range holder.Policies {
		if err := add(holder.Policies[i].Document); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// actor returns on whose behalf the store is asked to act.
func (q *request) actor() granary.Cred {
	if c := q.identity.caller.cred; c != nil {
		return *c
	}
	return granary.Cred{}
}
