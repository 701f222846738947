package accounts

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// stsOperation is the table of STS. Each decides itself who may: mostly it is the role that says so.
func stsOperation(action string) operation {
	switch action {
	case "GetCallerIdentity":
		return operation{run: (*Call).getCallerIdentity, open: true}
	case "AssumeRole":
		return operation{run: (*Call).assumeRole, open: true}
	case "AssumeRoleWithWebIdentity":
		return operation{run: (*Call).assumeRoleWithWebIdentity, open: true}
	case "GetSessionToken":
		return operation{run: (*Call).getSessionToken, open: true}
	}
	return operation{}
}

// AccessKeyPrefix begins the access keys of sessions.
const AccessKeyPrefix = "ASIA"

func (c *Call) known() error {
	if c.Caller.Anonymous {
		return fail(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	return nil
}

// getCallerIdentity tells who asks, which nobody can be forbidden.
func (c *Call) getCallerIdentity() ([]element, error) {
	if err := c.known(); err != nil {
		return nil, err
	}
	return []element{el("UserId", c.Caller.ID), el("Account", AccountID), el("Arn", c.Caller.ARN)}, nil
}

// SessionARN is the name of a session of a role.
func SessionARN(role, session string) string {
	return "arn:aws:sts::" + AccountID + ":assumed-role/" + role + "/" + session
}

// begin seals a session that lasts so many seconds.
func (c *Call) begin(session *Session, seconds int) (element, error) {
	session.AccessKey, session.Secret = randomID(AccessKeyPrefix), randomSecret()
	end := c.service.now().Add(time.Duration(seconds) * time.Second)
	session.Expires = end.Unix()
	token, err := c.service.Seal(c.ctx, session)
	if err != nil {
		return element{}, err
	}
	return group("Credentials", el("AccessKeyId", session.AccessKey), el("SecretAccessKey", session.Secret), el("SessionToken", token),
		el("Expiration", end.UTC().Format(time.RFC3339))), nil
}

// What comes with a session is bounded as in AWS: characters of a policy and of the ARNs of managed ones, and how many of those.
const (
	sessionPolicyMax   = 2048
	sessionPoliciesMax = 10
)

// roleSession reads what asks for a session of a role.
func (c *Call) roleSession() (role granary.Identity, session *Session, seconds int, err error) {
	arn, err := c.param("RoleArn")
	if err != nil {
		return role, nil, 0, err
	}
	name, err := c.param("RoleSessionName")
	if err != nil {
		return role, nil, 0, err
	}
	if len(name) < 2 || len(name) > 64 || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-") != "" {
		return role, nil, 0, invalid("1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint", name)
	}
	session = &Session{Name: name}
	if err := c.bounds(session); err != nil {
		return role, nil, 0, err
	}
	path, ok := strings.CutPrefix(arn, ARN("role", "/", ""))
	if !ok {
		return role, nil, 0, invalid("%s is invalid", arn)
	}
	role, err = c.service.store.Identity(c.ctx, granary.IdentityRole, path[strings.LastIndexByte(path, '/')+1:])
	if granary.IsKind(err, granary.KindNotFound) || err == nil && ARN("role", role.Path, role.Name) != arn {
		return role, nil, 0, c.denied("sts:"+c.Action, arn) // as for one that may not be assumed: who asks need not know
	}
	if err != nil {
		return role, nil, 0, err
	}
	session.Role, session.RoleID = role.Name, role.ID
	seconds, err = c.duration("DurationSeconds", min(sessionDefault, int(role.SessionMax)), int(role.SessionMax))
	return role, session, seconds, err
}

// bounds reads the policies that are to bound a session: one of its own, and managed ones.
func (c *Call) bounds(session *Session) (err error) {
	if c.Params.Get("Policy") != "" {
		if session.Policy, err = c.document("Policy", iam.OfIdentity); err != nil {
			return err
		}
	}
	size := len(session.Policy)
	for n := 1; ; n++ {
		arn := c.Params.Get("PolicyArns.member." + strconv.Itoa(n) + ".arn")
		if arn == "" {
			break
		}
		if n > sessionPoliciesMax {
			return invalid("1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", sessionPoliciesMax)
		}
		name, err := c.policyNamed(arn)
		if err != nil {
			return err
		}
		size += len(arn)
		session.Policies = With(session.Policies, name)
	}
	if size > sessionPolicyMax {
		return fail(400, "PackedPolicyTooLarge", "The policy and the ARNs of managed ones have more than %d characters.", sessionPolicyMax)
	}
	return nil
}

// trusted evaluates the trust policy of a role.
func (c *Call) trusted(role *granary.Identity, principal iam.Principal, keys map[string][]string) (iam.Decision, error) {
	trust, err := iam.Parse([]byte(role.Document), iam.OfTrust)
	if err != nil {
		return iam.Denied, granary.Errorf(granary.KindCorrupt, "accounts.trust", role.Name, "%w", err)
	}
	return trust.Evaluate(&iam.Request{Action: "sts:" + c.Action, Resource: ARN("role", role.Path, role.Name), Principal: principal, Keys: keys}), nil
}

// assumed is the answer to who has become a role.
func (c *Call) assumed(role *granary.Identity, session *Session, seconds int) ([]element, error) {
	credentials, err := c.begin(session, seconds)
	if err != nil {
		return nil, err
	}
	return []element{credentials, group("AssumedRoleUser", el("AssumedRoleId", role.ID+":"+session.Name), el("Arn", SessionARN(role.Name, session.Name)))}, nil
}

// assumeRole lets a user, or a session, become a role that trusts it: by name, or by trusting the account, whose policies then must allow it.
func (c *Call) assumeRole() ([]element, error) {
	if err := c.known(); err != nil {
		return nil, err
	}
	role, session, seconds, err := c.roleSession()
	if err != nil {
		return nil, err
	}
	arn := ARN("role", role.Path, role.Name)
	if c.Caller.Root {
		return nil, fail(http.StatusForbidden, "AccessDenied", "Roles may not be assumed by root accounts.")
	}
	if c.Caller.Temporary && c.Caller.User == "" { // chained roles last an hour at most
		seconds = min(seconds, sessionDefault)
	}
	keys := c.Caller.Keys()
	keys["sts:rolesessionname"] = []string{session.Name}
	if id := c.Params.Get("ExternalId"); id != "" {
		keys["sts:externalid"] = []string{id}
	}
	own := c.Caller.Decide("sts:AssumeRole", arn)
	trust, err := c.trusted(&role, c.Caller.Principal, keys)
	if err != nil {
		return nil, err
	}
	if trust == iam.Neutral && own == iam.Allowed {
		delegated := c.Caller.Principal
		delegated.Delegated = true
		if trust, err = c.trusted(&role, delegated, keys); err != nil {
			return nil, err
		}
	}
	if trust != iam.Allowed || own == iam.Denied {
		return nil, c.denied("sts:AssumeRole", arn)
	}
	return c.assumed(&role, session, seconds)
}

// assumeRoleWithWebIdentity lets the bearer of a token of OpenID Connect become a role that trusts its issuer.
func (c *Call) assumeRoleWithWebIdentity() ([]element, error) {
	token, err := c.param("WebIdentityToken")
	if err != nil {
		return nil, err
	}
	claims, provider, err := c.service.verifyWebToken(c.ctx, token)
	if err != nil {
		return nil, err
	}
	role, session, seconds, err := c.roleSession()
	if err != nil {
		return nil, err
	}
	keys := map[string][]string{"sts:rolesessionname": {session.Name}}
	prefix := strings.ToLower(provider.Name) + ":"
	keys[prefix+"sub"], keys[prefix+"aud"] = []string{claims.Subject}, []string{claims.audience(provider.Audiences)}
	session.Federated = providerARN(provider.Name)
	trust, err := c.trusted(&role, iam.Principal{Federated: []string{session.Federated}}, keys)
	if err != nil {
		return nil, err
	}
	if trust != iam.Allowed {
		return nil, fail(http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	result, err := c.assumed(&role, session, seconds)
	if err != nil {
		return nil, err
	}
	return append(result, el("SubjectFromWebIdentityToken", claims.Subject), el("Audience", keys[prefix+"aud"][0]), el("Provider", provider.Name)), nil
}

// getSessionToken gives a user credentials that end.
func (c *Call) getSessionToken() ([]element, error) {
	if err := c.known(); err != nil {
		return nil, err
	}
	if c.Caller.Temporary {
		return nil, fail(http.StatusForbidden, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	otherwise, most := 12*3600, 36*3600
	if c.Caller.Root {
		otherwise, most = 3600, 3600
	}
	seconds, err := c.duration("DurationSeconds", otherwise, most)
	if err != nil {
		return nil, err
	}
	credentials, err := c.begin(&Session{Of: c.Caller.AccessKey}, seconds)
	if err != nil {
		return nil, err
	}
	return []element{credentials}, nil
}
