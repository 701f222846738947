package master

import (
	"github.com/dsorchard/granary"
)

// identity reads an identity; KindNotFound if there is none.
func (v *view) identity(kind granary.IdentityKind, name string) (*identityRecord, error) {
	r, err := read[identityRecord](v, keyIdentity(kind, name))
	if err != nil {
		return nil, err
	}
	if r == nil || r.Name != name {
		return nil, granary.Errorf(granary.KindNotFound, "get identity", name, "there is no such %s", kind)
	}
	return r, nil
}

func (v *view) getIdentity(q *granary.GetIdentity) (granary.Answer, error) {
	r, err := v.identity(q.Kind, q.Name)
	if err != nil {
		return nil, err
	}
	return &granary.IdentityIs{Identity: r.Identity}, nil
}

// identitiesLimit is how many a page has.
func identitiesLimit(asked int) int {
	if asked <= 0 || asked > granary.IdentitiesMax {
		return granary.IdentitiesMax
	}
	return asked
}

// identityPageBytes bounds the texts of a page, which has one identity at least.
const identityPageBytes = 2 << 20

func (v *view) listIdentities(q *granary.ListIdentities) (granary.Answer, error) {
	a, limit, size := &granary.Identities{}, identitiesLimit(q.Limit), 0
	prefix := append(key(tableIdentity), byte(q.Kind))
	lower := prefix
	if q.After != "" {
		lower = append(keyIdentity(q.Kind, q.After), 0)
	}
	err := v.scan(lower, keyEnd(prefix), func(k, b []byte) (bool, error) {
		if len(a.Identities) == limit || size > identityPageBytes {
			a.More = true
			return false, nil
		}
		r, err := unmarshal[identityRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		size += len(b)
		r.Secret = ""
		a.Identities = append(a.Identities, r.Identity)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (v *view) listIdentityUses(q *granary.ListIdentityUses) (granary.Answer, error) {
	if _, err := v.identity(q.Kind, q.Name); err != nil {
		return nil, err
	}
	a, limit := &granary.IdentityUses{}, identitiesLimit(q.Limit)
	to := granary.IdentityRef{Kind: q.Kind, Name: q.Name}
	prefix := prefixIdentityUse(to)
	lower := prefix
	if q.After != (granary.IdentityRef{}) {
		lower = append(keyIdentityUse(to, q.After), 0)
	}
	err := v.scan(lower, keyEnd(prefix), func(k, _ []byte) (bool, error) {
		if len(a.Uses) == limit {
			a.More = true
			return false, nil
		}
		_, from, ok := identityUseOf(k)
		if !ok {
			return false, errStore(k, errFormat)
		}
		a.Uses = append(a.Uses, from)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// resolveIdentity gathers what decides about the holder of a key, or of a role.
func (v *view) resolveIdentity(q *granary.ResolveIdentity) (granary.Answer, error) {
	a := &granary.Holder{}
	changed, err := read[numberRecord](v, keyIdentityChange())
	if err != nil {
		return nil, err
	}
	if changed != nil {
		a.Version = granary.Index(changed.Number)
	}
	if q.AccessKey != "" {
		u, err := read[userRecord](v, keyUser(q.AccessKey))
		if err != nil {
			return nil, err
		}
		if u != nil { // which has no version: it is told each time
			a.Root = u.Root
			a.Key = granary.Identity{Kind: granary.IdentityKey, Name: q.AccessKey, Secret: u.SecretKey, User: u.Name}
			a.Subject = granary.Identity{Kind: granary.IdentityUser, Name: u.Name, Path: "/"}
			return a, nil
		}
	}
	subject := granary.IdentityRef{Kind: granary.IdentityRole, Name: q.Role}
	if q.AccessKey != "" {
		k, err := v.identity(granary.IdentityKey, q.AccessKey)
		if err != nil {
			return nil, err
		}
		a.Key = k.Identity
		subject = granary.IdentityRef{Kind: granary.IdentityUser, Name: k.User}
	}
	s, err := v.identity(subject.Kind, subject.Name)
	if err != nil {
		return nil, err
	}
	if q.Known != 0 && q.Known == a.Version {
		return &granary.Holder{Version: a.Version, Unchanged: true}, nil
	}
	a.Subject = s.Identity
	if err := v.addPolicies(a); err != nil {
		return nil, err
	}
	return a, v.addSession(a, q.Session)
}

// addSession adds the managed policies that bound a session; one that is gone allows nothing.
func (v *view) addSession(a *granary.Holder, names []string) error {
	for _, name := range names {
		p, err := v.identity(granary.IdentityPolicy, name)
		switch {
		case granary.IsKind(err, granary.KindNotFound):
			continue
		case err != nil:
			return err
		}
		p.Versions = nil
		a.Session = append(a.Session, p.Identity)
	}
	return nil
}

// addPolicies adds the groups of a subject, and the policies that it or they have attached.
func (v *view) addPolicies(a *granary.Holder) error {
	attached := a.Subject.Attached
	for _, name := range a.Subject.Groups {
		g, err := v.identity(granary.IdentityGroup, name)
		if err != nil {
			return err
		}
		a.Groups = append(a.Groups, g.Identity)
		attached = append(attached[:len(attached):len(attached)], g.Attached...)
	}
	seen := map[string]bool{}
	for _, name := range attached {
		if seen[name] {
			continue
		}
		seen[name] = true
		p, err := v.identity(granary.IdentityPolicy, name)
		if err != nil {
			return err
		}
		p.Versions = nil
		a.Policies = append(a.Policies, p.Identity)
	}
	return nil
}
