package iam

import (
	"encoding/json"
	"strings"
)

// Policy is a policy document, parsed.
type Policy struct {
	ID         string
	Version    string // "2012-10-17", with variables, or "2008-10-17"
	Statements []Statement
}

// Versions of the language.
const (
	VersionCurrent = "2012-10-17"
	VersionOld     = "2008-10-17"
)

// Statement is one statement of a policy.
type Statement struct {
	SID        string
	Deny       bool
	Principals *Principals // nil in policies of identities
	Actions    []string    // patterns in small letters …
	NotActions bool        // … of what is not meant
	Resources  []string
	NotRes     bool
	Conditions []Condition
}

// Principals say whom a statement of a resource's policy means.
type Principals struct {
	Not       bool
	Everyone  bool     // "*", or {"AWS": "*"}
	AWS       []string // ARNs, numbers of accounts
	Federated []string
	Service   []string
	Canonical []string
}

// Kind says where a policy belongs, and so which elements it has.
type Kind int

// Kinds of policies.
const (
	OfIdentity Kind = iota // of a user, group or role, managed, or of a session: no Principal
	OfResource             // of a bucket: Principal and Resource
	OfTrust                // who may become a role: Principal, and no Resource
)

// SizeMax bounds the documents that Parse takes.
const SizeMax = 20 << 10

// Parse parses and validates a document. What is wrong with it is an *Error.
func Parse(document []byte, kind Kind) (*Policy, error) {
	if len(document) > SizeMax {
		return nil, malformed("The policy is longer than %d bytes.", SizeMax)
	}
	top, err := object(document, "policy")
	if err != nil {
		return nil, err
	}
	p := &Policy{Version: VersionOld}
	for _, m := range top {
		switch m.name {
		case "Version":
			if p.Version, err = text(m.value, m.name); err == nil && p.Version != VersionCurrent && p.Version != VersionOld {
				err = malformed("The policy must contain a valid version string.")
			}
		case "Id":
			p.ID, err = text(m.value, m.name)
		case "Statement":
			p.Statements, err = statements(m.value, kind)
		default:
			err = malformed("Unknown field %q.", m.name)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(p.Statements) == 0 {
		return nil, malformed("Missing required field Statement.")
	}
	return p, p.check()
}

// check looks at what concerns several elements.
func (p *Policy) check() error {
	sids := map[string]bool{}
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.SID != "" && sids[s.SID] {
			return malformed("Statement IDs (SID) in a single policy must be unique.")
		}
		sids[s.SID] = true
		if p.Version != VersionCurrent {
			continue
		}
		for _, r := range s.Resources {
			if err := checkVariables(r); err != nil {
				return err
			}
		}
		for _, c := range s.Conditions {
			for _, v := range c.values {
				if err := checkVariables(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func statements(value json.RawMessage, kind Kind) ([]Statement, error) {
	list, err := oneOrMore(value)
	if err != nil || len(list) == 0 {
		return nil, malformed("Missing required field Statement.")
	}
	all := make([]Statement, len(list))
	for i, raw := range list {
		if all[i], err = statement(raw, kind); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func statement(raw json.RawMessage, kind Kind) (Statement, error) {
	var s Statement
	members, err := object(raw, "statement")
	if err != nil {
		return s, err
	}
	seen := map[string]bool{}
	for _, m := range members {
		seen[m.name] = true
		switch m.name {
		case "Sid":
			if s.SID, err = text(m.value, m.name); err == nil {
				err = checkSID(s.SID, kind)
			}
		case "Effect":
			var effect string
			effect, err = text(m.value, m.name)
			if s.Deny = effect == "Deny"; err == nil && effect != "Allow" && effect != "Deny" {
				err = malformed("Invalid effect: %q.", effect)
			}
		case "Principal", "NotPrincipal":
			s.Principals, err = principals(m.value, m.name == "NotPrincipal")
		case "Action", "NotAction":
			s.NotActions = m.name == "NotAction"
			s.Actions, err = actions(m.value)
		case "Resource", "NotResource":
			s.NotRes = m.name == "NotResource"
			s.Resources, err = resources(m.value)
		case "Condition":
			s.Conditions, err = conditions(m.value)
		default:
			err = malformed("Unknown field %q.", m.name)
		}
		if err != nil {
			return s, err
		}
	}
	return s, required(seen, kind)
}

// required checks that a statement has the elements that its kind must have, and no others.
func required(seen map[string]bool, kind Kind) error {
	one := func(a, b string) error {
		if seen[a] && seen[b] {
			return malformed("A statement has %s or %s, not both.", a, b)
		}
		if !seen[a] && !seen[b] {
			return malformed("Missing required field %s.", a)
		}
		return nil
	}
	if !seen["Effect"] {
		return malformed("Missing required field Effect.")
	}
	if err := one("Action", "NotAction"); err != nil {
		return err
	}
	principal := seen["Principal"] || seen["NotPrincipal"]
	resource := seen["Resource"] || seen["NotResource"]
	switch {
	case kind == OfIdentity && principal:
		return malformed("Policy document should not specify a principal.")
	case kind == OfTrust && resource:
		return malformed("Has prohibited field Resource.")
	}
	if kind != OfTrust {
		if err := one("Resource", "NotResource"); err != nil {
			return err
		}
	}
	if kind != OfIdentity {
		return one("Principal", "NotPrincipal")
	}
	return nil
}

// checkSID refuses what no statement is called: identities' policies are stricter.
func checkSID(sid string, kind Kind) error {
	if kind != OfIdentity {
		return nil
	}
	for _, c := range sid {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
		}
	}
	return nil
}

func actions(value json.RawMessage) ([]string, error) {
	list, err := texts(value, "Action")
	if err != nil {
		return nil, err
	}
	for i, a := range list {
		service, name, ok := strings.Cut(a, ":")
		if a != "*" && (!ok || service == "" || name == "" || strings.ContainsAny(service, "*?")) {
			return nil, malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: %q.", a)
		}
		list[i] = strings.ToLower(a)
	}
	return list, nil
}

func resources(value json.RawMessage) ([]string, error) {
	list, err := texts(value, "Resource")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r != "*" && (!strings.HasPrefix(r, "arn:") || strings.Count(r, ":") < 5) {
			return nil, malformed("Resource %s must be in ARN format or \"*\".", r)
		}
	}
	return list, nil
}

func principals(value json.RawMessage, not bool) (*Principals, error) {
	p := &Principals{Not: not}
	if s, err := text(value, "Principal"); err == nil {
		if s != "*" {
			return nil, malformed("Invalid principal in policy.")
		}
		p.Everyone = true
		return p, nil
	}
	members, err := object(value, "Principal")
	if err != nil || len(members) == 0 {
		return nil, malformed("Invalid principal in policy.")
	}
	for _, m := range members {
		list, err := texts(m.value, "Principal")
		if err != nil {
			return nil, malformed("Invalid principal in policy.")
		}
		switch m.name {
		case "AWS":
			for _, s := range list {
				switch {
				case s == "*":
					p.Everyone = true
				case !validPrincipal(s):
					return nil, malformed("Invalid principal in policy.")
				default:
					p.AWS = append(p.AWS, s)
				}
			}
		case "Federated":
			p.Federated = append(p.Federated, list...)
		case "Service":
			p.Service = append(p.Service, list...)
		case "CanonicalUser":
			p.Canonical = append(p.Canonical, list...)
		default:
			return nil, malformed("Invalid principal in policy.")
		}
	}
	return p, nil
}

// validPrincipal reports whether a text names an account, or somebody in it.
func validPrincipal(s string) bool {
	if len(s) == 12 && strings.Trim(s, "0123456789") == "" {
		return true
	}
	parts := strings.SplitN(s, ":", 6)
	return len(parts) == 6 && parts[0] == "arn" && (parts[2] == "iam" || parts[2] == "sts") && parts[5] != "" && !strings.ContainsAny(s, "*?")
}
