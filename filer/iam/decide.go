package iam

import (
	"slices"
	"strings"
)

// Request is what is asked for.
type Request struct {
	Action    string // "s3:GetObject"
	Resource  string // ARN
	Principal Principal
	Keys      map[string][]string // what conditions and variables look at, by names in small letters
}

// Principal is who asks.
type Principal struct {
	Anonymous bool
	Root      bool // the account's own user
	Account   string
	ARNs      []string // of the user; of a session its own and its role's
	Federated []string // providers that vouch for it
	Canonical string   // id that stands for it in ACLs
	// Delegated has a statement that allows something to the account allow it to the caller: the account's policies are asked apart.
	Delegated bool
}

// Decision is what comes of policies.
type Decision int

// Decisions. Neutral says nothing, which is a refusal where nothing else allows.
const (
	Neutral Decision = iota
	Allowed
	Denied
)

// Policies are all that apply to a request.
type Policies struct {
	Identity []*Policy
	Resource *Policy   // nil: none
	Session  []*Policy // what all the others allow is bounded by what one of these does; nil: it is not
	Root     bool      // the caller may do what is not denied
	// Granted says that something else than a policy allows it, such as an ACL.
	Granted bool
}

// Decide tells whether a request is allowed.
func Decide(p Policies, r *Request) bool {
	identity := Neutral
	for _, policy := range p.Identity {
		identity = max(identity, policy.Evaluate(r))
	}
	resource, session := Neutral, Allowed
	if p.Resource != nil {
		resource = p.Resource.Evaluate(r)
	}
	if p.Session != nil {
		session = Bound(p.Session, r)
	}
	if max(identity, resource, session) == Denied {
		return false
	}
	return session == Allowed && (p.Root || identity == Allowed || resource == Allowed || p.Granted)
}

// Bound tells what the policies of a session say together.
func Bound(session []*Policy, r *Request) Decision {
	decision := Neutral
	for _, policy := range session {
		decision = max(decision, policy.Evaluate(r))
	}
	return decision
}

// Evaluate tells what one policy says of a request.
func (p *Policy) Evaluate(r *Request) Decision {
	decision := Neutral
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.applies(r, p.Version == VersionCurrent) {
			if s.Deny {
				return Denied
			}
			decision = Allowed
		}
	}
	return decision
}

func (s *Statement) applies(r *Request, variables bool) bool {
	if matchesAny(s.Actions, strings.ToLower(r.Action)) == s.NotActions {
		return false
	}
	if s.Resources != nil && s.meansResource(r, variables) == s.NotRes {
		return false
	}
	if s.Principals != nil && s.Principals.mean(&r.Principal, s.Deny) == s.Principals.Not {
		return false
	}
	for i := range s.Conditions {
		if !s.Conditions[i].holds(r, variables) {
			return false
		}
	}
	return true
}

func (s *Statement) meansResource(r *Request, variables bool) bool {
	return slices.ContainsFunc(s.Resources, func(pattern string) bool {
		if !variables {
			return match(pattern, r.Resource, nil)
		}
		pattern, literal, ok := expand(pattern, r)
		return ok && match(pattern, r.Resource, literal)
	})
}

// mean reports whether a caller is among the principals. The account stands for all in it where something is denied; where something is
// allowed, it is allowed to the account, which decides by its own policies whom it lets do so. A NotPrincipal names those who are spared, each for itself.
func (p *Principals) mean(who *Principal, deny bool) bool {
	if p.Everyone {
		return true
	}
	if who.Anonymous {
		return false
	}
	account := deny && !p.Not || who.Root || who.Delegated
	for _, name := range p.AWS {
		if slices.Contains(who.ARNs, name) || account && (name == who.Account || name == "arn:aws:iam::"+who.Account+":root") {
			return true
		}
	}
	for _, name := range p.Federated {
		if name == "*" || slices.Contains(who.Federated, name) {
			return true
		}
	}
	return who.Canonical != "" && slices.Contains(p.Canonical, who.Canonical)
}

// Public reports whether the policy allows something to everybody, in the sense of S3's public access block: a principal of "*" that no
// condition narrows to fixed addresses, accounts, or others that name somebody.
func (p *Policy) Public() bool {
	return slices.ContainsFunc(p.Statements, func(s Statement) bool {
		if s.Deny || s.Principals == nil {
			return false
		}
		if !s.Principals.Everyone && !s.Principals.Not {
			return false
		}
		return !slices.ContainsFunc(s.Conditions, func(c Condition) bool { return c.narrows() })
	})
}

// Mentions reports whether a condition or a variable looks at a key that begins with a prefix, in small letters.
func (p *Policy) Mentions(prefix string) bool {
	return slices.ContainsFunc(p.Statements, func(s Statement) bool {
		variable := func(v string) bool { return strings.Contains(strings.ToLower(v), "${"+prefix) }
		return slices.ContainsFunc(s.Resources, variable) || slices.ContainsFunc(s.Conditions, func(c Condition) bool {
			return strings.HasPrefix(c.key, prefix) || slices.ContainsFunc(c.values, variable)
		})
	})
}

// narrows reports whether a condition bounds who is meant, by fixed values.
func (c *Condition) narrows() bool {
	switch c.key {
	case "aws:sourceip", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:userid",
		"aws:principalarn", "aws:principalaccount", "aws:principalorgid", "s3:x-amz-server-side-encryption-aws-kms-key-id", "aws:username":
	default:
		return false
	}
	_, negated, ok := operators(c.operator)
	if !ok || negated || c.ifExists || c.set == setAll {
		return false
	}
	return !slices.ContainsFunc(c.values, func(v string) bool {
		return strings.ContainsAny(v, "*?") || strings.Contains(v, "${") || v == "0.0.0.0/0" || v == "::/0"
	})
}
