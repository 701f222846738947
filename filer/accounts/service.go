package accounts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// AccountID is the number of the one account there is.
const AccountID = "000000000000"

// ARN is the name of somebody or something of the account: ARN("user", "/a/", "ann").
func ARN(kind, path, name string) string {
	if path == "" {
		path = "/"
	}
	return "arn:aws:iam::" + AccountID + ":" + kind + path + name
}

// Store keeps identities; a filer.FS is one.
type Store interface {
	Identity(ctx context.Context, kind granary.IdentityKind, name string) (granary.Identity, error)
	Identities(ctx context.Context, q *granary.ListIdentities) (*granary.Identities, error)
	IdentityUses(ctx context.Context, q *granary.ListIdentityUses) (*granary.IdentityUses, error)
	PutIdentity(ctx context.Context, i granary.Identity) error
	DeleteIdentity(ctx context.Context, op *granary.DeleteIdentity) error
}

// Service serves the operations. It is safe for concurrent use.
type Service struct {
	store  Store
	now    func() time.Time
	client *http.Client // for the keys of OIDC issuers
	sealer sealer
	keys   issuerKeys
}

// New returns a service over a store.
func New(store Store, now func() time.Time) *Service {
	return &Service{store: store, now: now, client: &http.Client{Timeout: 10 * time.Second}}
}

// Caller is who asks.
type Caller struct {
	Anonymous bool
	Root      bool
	Temporary bool   // with credentials of a session
	User      string // name; "" for sessions of roles, and the root user
	ID        string
	ARN       string
	AccessKey string
	Principal iam.Principal
	// Decide tells what the caller's policies say of an action on a resource.
	Decide func(action, resource string) iam.Decision
	// Keys returns what conditions look at.
	Keys func() map[string][]string
}

// Error is a refusal.
type Error struct {
	Code    string
	Message string
	Status  int
}

// Error returns "code: message".
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func fail(status int, code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...), status}
}

func invalid(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, "ValidationError", format, args...)
}

func noSuch(kind granary.IdentityKind, name string) *Error {
	return fail(http.StatusNotFound, "NoSuchEntity", "The %s with name %s cannot be found.", kind, name)
}

// explain turns an error of the store about an identity into a refusal; one that is none of the caller's doing stays.
func explain(err error, kind granary.IdentityKind, name string) error {
	switch granary.KindOf(err) {
	case granary.KindNone:
		return nil
	case granary.KindNotFound:
		return noSuch(kind, name)
	case granary.KindExists:
		return fail(http.StatusConflict, "EntityAlreadyExists", "The %s with name %s already exists.", kind, name)
	case granary.KindNotEmpty:
		return fail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must detach or delete what refers to it first: %v.", err)
	case granary.KindStale:
		return fail(http.StatusConflict, "ConcurrentModification", "The %s with name %s was changed at the same time. Please try again.", kind, name)
	case granary.KindTooLarge:
		return fail(http.StatusConflict, "LimitExceeded", "Cannot exceed quota: %v.", err)
	case granary.KindInvalid:
		return invalid("%v.", err)
	}
	return err
}

// Call is one request.
type Call struct {
	Action string
	Params url.Values
	Caller *Caller

	ctx     context.Context
	service *Service
}

// operation is one of the API: what it does, and on which resource it must be allowed.
type operation struct {
	run      func(*Call) ([]element, error)
	resource func(*Call) (string, error)
	open     bool // it decides itself who may
}

// Serve does what a call asks for. The result is the document to answer with.
func (s *Service) Serve(ctx context.Context, c *Call) ([]byte, error) {
	c.ctx, c.service = ctx, s
	op, namespace, service := c.operation()
	if op.run == nil {
		return nil, fail(http.StatusBadRequest, "InvalidAction", "Could not find operation %s.", c.Action)
	}
	if !op.open {
		if c.Caller.Anonymous {
			return nil, fail(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
		}
		if err := c.authorize(service+":"+c.Action, op.resource); err != nil {
			return nil, err
		}
	}
	result, err := op.run(c)
	if err != nil {
		return nil, err
	}
	return answer(namespace, c.Action, result), nil
}

func (c *Call) authorize(action string, resource func(*Call) (string, error)) error {
	if c.Caller.Root {
		return nil
	}
	name := "*"
	if resource != nil {
		var err error
		if name, err = resource(c); err != nil {
			return err
		}
	}
	if c.Caller.Decide(action, name) != iam.Allowed {
		return c.denied(action, name)
	}
	return nil
}

func (c *Call) denied(action, resource string) error {
	return fail(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s", c.Caller.ARN, action, resource)
}

// param returns a parameter that must be there.
func (c *Call) param(name string) (string, error) {
	if v := c.Params.Get(name); v != "" {
		return v, nil
	}
	return "", invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", strings.ToLower(name[:1])+name[1:])
}

// members returns a list parameter: NAME.member.1, NAME.member.2 …
func (c *Call) members(name string) []string {
	var all []string
	for i := 1; ; i++ {
		key := fmt.Sprintf("%s.member.%d", name, i)
		if !c.Params.Has(key) {
			return all
		}
		all = append(all, c.Params.Get(key))
	}
}

// change changes an identity, which is put back.
func (c *Call) change(kind granary.IdentityKind, name string, f func(*granary.Identity) error) error {
	err := Change(c.ctx, c.service.store, kind, name, f)
	var refused *Error
	if errors.As(err, &refused) {
		return refused
	}
	return explain(err, kind, name)
}

func (c *Call) find(kind granary.IdentityKind, name string) (granary.Identity, error) {
	i, err := c.service.store.Identity(c.ctx, kind, name)
	return i, explain(err, kind, name)
}

// target finds the identity that a parameter of a call names.
func (c *Call) target(kind granary.IdentityKind, param string) (granary.Identity, error) {
	name, err := c.param(param)
	if err != nil {
		return granary.Identity{}, err
	}
	return c.find(kind, name)
}

// changeTarget changes the identity that a parameter of a call names.
func (c *Call) changeTarget(kind granary.IdentityKind, param string, f func(*granary.Identity) error) ([]element, error) {
	name, err := c.param(param)
	if err != nil {
		return nil, err
	}
	return nil, c.change(kind, name, f)
}

// create makes an identity, and returns it as it is.
func (c *Call) create(i granary.Identity) (granary.Identity, error) {
	if i.Path == "" {
		i.Path = "/"
	}
	if !validPath(i.Path) {
		return i, invalid("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	if err := c.service.store.PutIdentity(c.ctx, i); err != nil {
		return i, explain(err, i.Kind, i.Name)
	}
	return c.find(i.Kind, i.Name)
}

func (c *Call) remove(kind granary.IdentityKind, name string, version granary.Index) error {
	return explain(c.service.store.DeleteIdentity(c.ctx, &granary.DeleteIdentity{Kind: kind, Name: name, Version: version}), kind, name)
}

func validPath(path string) bool {
	if path[0] != '/' || path[len(path)-1] != '/' {
		return false
	}
	return !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' })
}

// page is a page of a listing, as IAM pages.
func (c *Call) page() (after string, limit int, err error) {
	limit = 100
	if text := c.Params.Get("MaxItems"); text != "" {
		if _, err := fmt.Sscan(text, &limit); err != nil || limit < 1 || limit > granary.IdentitiesMax {
			return "", 0, invalid("Value '%s' at 'maxItems' failed to satisfy constraint: Member must be between 1 and %d", text, granary.IdentitiesMax)
		}
	}
	return c.Params.Get("Marker"), limit, nil
}

// paged says whether a listing goes on.
func paged(more bool, marker string) []element {
	if more {
		return []element{el("IsTruncated", "true"), el("Marker", marker)}
	}
	return []element{el("IsTruncated", "false")}
}

// list lists a kind of identities with a path prefix, each as show does.
func (c *Call) list(kind granary.IdentityKind, name string, show func(*granary.Identity) element) ([]element, error) {
	after, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := c.service.store.Identities(c.ctx, &granary.ListIdentities{Kind: kind, After: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	marker := ""
	var shown []element
	for i := range all.Identities {
		if marker = all.Identities[i].Name; strings.HasPrefix(all.Identities[i].Path, c.Params.Get("PathPrefix")) {
			shown = append(shown, show(&all.Identities[i]))
		}
	}
	return append([]element{list(name, shown)}, paged(all.More, marker)...), nil
}

// uses returns all that refers to an identity, of a kind.
func (c *Call) uses(kind granary.IdentityKind, name string, by granary.IdentityKind) ([]string, error) {
	names, err := Users(c.ctx, c.service.store, kind, name, by)
	return names, explain(err, kind, name)
}

// letters are those of ids and access keys.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// randomID makes up an id: a prefix that tells what it is of, and letters, 20 in all.
func randomID(prefix string) string { return prefix + randomText(letters, 20-len(prefix)) }

func randomText(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			panic(err) // never: crypto/rand does not fail
		}
		b[i] = alphabet[k.Int64()]
	}
	return string(b)
}

// randomSecret makes up a secret key: 40 characters, as AWS's.
func randomSecret() string {
	return randomText("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40)
}
