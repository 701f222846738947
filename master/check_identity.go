package master

import (
	"github.com/dsorchard/granary"
)

// identityUse is an entry of the index of what refers to what.
type identityUse struct{ to, from granary.IdentityRef }

func (a *audit) loadIdentity(k, b []byte) {
	r := decoded[identityRecord](a, k, b)
	if string(keyIdentity(r.Kind, r.Name)) != string(k) {
		a.bad("key %q is of %s %q", k, r.Kind, r.Name)
	}
	a.identities = append(a.identities, r)
}

func (a *audit) loadIdentityUse(k []byte) {
	if to, from, ok := identityUseOf(k); ok {
		a.identityUses[identityUse{to, from}] = true
	}
}

// checkIdentities verifies that the index says exactly what the records refer to, all of which is there.
func (a *audit) checkIdentities() {
	known := map[granary.IdentityRef]bool{}
	for _, r := range a.identities {
		known[granary.IdentityRef{Kind: r.Kind, Name: foldIdentity(r.Kind, r.Name)}] = true
	}
	uses := 0
	for _, r := range a.identities {
		for _, to := range references(&r.Identity) {
			uses++
			to.Name = foldIdentity(to.Kind, to.Name)
			if !known[to] {
				a.bad("%s %q refers to %s %q, which does not exist", r.Kind, r.Name, to.Kind, to.Name)
			}
			if !a.identityUses[identityUse{to, selfOf(&r.Identity)}] {
				a.bad("it is not indexed that %s %q refers to %s %q", r.Kind, r.Name, to.Kind, to.Name)
			}
		}
	}
	if uses != len(a.identityUses) {
		a.bad("%d references of identities are indexed, there are %d", len(a.identityUses), uses)
	}
}
