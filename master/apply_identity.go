package master

import (
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// putIdentity makes or replaces an identity, and keeps the index of what refers to what (table J).
func (t *txn) putIdentity(op *granary.PutIdentity) granary.Result {
	const name = "put identity"
	i := &op.Identity
	if err := t.onlySuper(name, i.Name); err != nil {
		return granary.Result{Err: err}
	}
	if err := checkIdentity(i); err != nil {
		return granary.Result{Err: err}
	}
	k := keyIdentity(i.Kind, i.Name)
	old := fetch[identityRecord](t, k)
	switch {
	case old == nil && i.Version != 0:
		return failed(granary.KindNotFound, name, i.Name, "there is no such %s", i.Kind)
	case old != nil && i.Version == 0, old == nil && i.Kind == granary.IdentityKey && t.get(keyUser(i.Name)) != nil:
		return failed(granary.KindExists, name, i.Name, "there is a %s of that name", i.Kind)
	case old != nil && (old.Version != i.Version || old.Name != i.Name):
		return failed(granary.KindStale, name, i.Name, "it was changed meanwhile")
	}
	if err := keepsKeys(name, old, i.Secret); err != nil {
		return granary.Result{Err: err}
	}
	r := &identityRecord{*i}
	r.Created, r.Changed = t.now, t.now
	if old != nil {
		r.ID, r.Created = old.ID, old.Created
		if r.User != old.User {
			return failed(granary.KindInvalid, name, i.Name, "a key stays with its user")
		}
	}
	if err := t.refer(old, r); err != nil {
		return granary.Result{Err: err}
	}
	store(t, k, r)
	t.identitiesChanged()
	return granary.Result{}
}

// deleteIdentity removes an identity to which nothing refers.
func (t *txn) deleteIdentity(op *granary.DeleteIdentity) granary.Result {
	const name = "delete identity"
	if err := t.onlySuper(name, op.Name); err != nil {
		return granary.Result{Err: err}
	}
	k := keyIdentity(op.Kind, op.Name)
	old := fetch[identityRecord](t, k)
	switch {
	case old == nil || old.Name != op.Name:
		return failed(granary.KindNotFound, name, op.Name, "there is no such %s", op.Kind)
	case op.Version != 0 && op.Version != old.Version:
		return failed(granary.KindStale, name, op.Name, "it was changed meanwhile")
	}
	if err := keepsKeys(name, old, ""); err != nil {
		return granary.Result{Err: err}
	}
	if uses := t.identityUses(granary.IdentityRef{Kind: op.Kind, Name: op.Name}, 1); len(uses) > 0 {
		return failed(granary.KindNotEmpty, name, op.Name, "%s %s refers to it", uses[0].Kind, uses[0].Name)
	}
	self := selfOf(&old.Identity)
	for _, to := range references(&old.Identity) {
		t.del(keyIdentityUse(to, self))
	}
	t.del(k)
	t.identitiesChanged()
	return granary.Result{}
}

// identitiesChanged notes that what gateways have cached may be wrong.
func (t *txn) identitiesChanged() { store(t, keyIdentityChange(), &numberRecord{uint64(t.index)}) }

// refer brings the index from what an identity referred to, to what it is to refer to, all of which must be there.
func (t *txn) refer(old, r *identityRecord) *granary.Error {
	self, next := selfOf(&r.Identity), references(&r.Identity)
	var before []granary.IdentityRef
	if old != nil {
		before = references(&old.Identity)
	}
	for _, to := range next {
		if slices.Contains(before, to) {
			continue
		}
		found := fetch[identityRecord](t, keyIdentity(to.Kind, to.Name))
		if found == nil || found.Name != to.Name {
			return granary.Errorf(granary.KindNotFound, "put identity", to.Name, "there is no such %s", to.Kind)
		}
		if to.Kind == granary.IdentityUser && len(t.identityUses(to, granary.IdentityKeysMax)) == granary.IdentityKeysMax {
			return granary.Errorf(granary.KindTooLarge, "put identity", to.Name, "a user has at most %d access keys", granary.IdentityKeysMax)
		}
	}
	for _, to := range before {
		if !slices.Contains(next, to) {
			t.del(keyIdentityUse(to, self))
		}
	}
	for _, to := range next {
		if !slices.Contains(before, to) {
			store(t, keyIdentityUse(to, self), &numberRecord{})
		}
	}
	return nil
}

// identityUses returns what refers to an identity, as far as it is wanted.
func (t *txn) identityUses(to granary.IdentityRef, limit int) []granary.IdentityRef {
	var uses []granary.IdentityRef
	prefix := prefixIdentityUse(to)
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		if _, from, ok := identityUseOf(k); ok {
			uses = append(uses, from)
		}
		return len(uses) < limit
	})
	return uses
}

func selfOf(i *granary.Identity) granary.IdentityRef {
	return granary.IdentityRef{Kind: i.Kind, Name: i.Name}
}

// references returns what an identity refers to.
func references(i *granary.Identity) []granary.IdentityRef {
	var refs []granary.IdentityRef
	if i.User != "" {
		refs = append(refs, granary.IdentityRef{Kind: granary.IdentityUser, Name: i.User})
	}
	for _, g := range i.Groups {
		refs = append(refs, granary.IdentityRef{Kind: granary.IdentityGroup, Name: g})
	}
	for _, p := range i.Attached {
		refs = append(refs, granary.IdentityRef{Kind: granary.IdentityPolicy, Name: p})
	}
	return refs
}

// checkIdentity refuses what no identity looks like.
func checkIdentity(i *granary.Identity) *granary.Error {
	bad := func(kind granary.Kind, format string, args ...any) *granary.Error {
		return granary.Errorf(kind, "put identity", i.Name, format, args...)
	}
	holder := i.Kind == granary.IdentityUser || i.Kind == granary.IdentityGroup || i.Kind == granary.IdentityRole
	switch {
	case i.Kind < granary.IdentityUser || i.Kind > granary.IdentitySecret:
		return bad(granary.KindInvalid, "no kind of identity: %d", i.Kind)
	case !identityName(i.Kind, i.Name):
		return bad(granary.KindInvalid, "a name has 1 to %d letters, digits and _+=,.@-", granary.IdentityNameMax)
	case len(i.ID) > granary.IdentityNameMax || len(i.Path) > granary.IdentityPathMax:
		return bad(granary.KindTooLarge, "its id or its path is too long")
	case (i.User != "") != (i.Kind == granary.IdentityKey):
		return bad(granary.KindInvalid, "a key, and nothing else, has a user")
	case len(i.Groups) > 0 && i.Kind != granary.IdentityUser, i.Cred != nil && i.Kind != granary.IdentityUser:
		return bad(granary.KindInvalid, "only a user is in groups, or somebody in the file system")
	case (len(i.Attached) > 0 || len(i.Inline) > 0) && !holder:
		return bad(granary.KindInvalid, "a %s has no policies", i.Kind)
	case len(i.Attached) > granary.IdentityAttachedMax:
		return bad(granary.KindTooLarge, "%d policies attached, of %d at most", len(i.Attached), granary.IdentityAttachedMax)
	case len(i.Groups) > granary.IdentityGroupsMax:
		return bad(granary.KindTooLarge, "in %d groups, of %d at most", len(i.Groups), granary.IdentityGroupsMax)
	case len(i.Tags) > granary.IdentityTagsMax:
		return bad(granary.KindTooLarge, "%d tags, of %d at most", len(i.Tags), granary.IdentityTagsMax)
	case repeats(i.Attached) || repeats(i.Groups):
		return bad(granary.KindInvalid, "it names a policy or a group twice")
	case len(i.Versions) > 0 && i.Kind != granary.IdentityPolicy:
		return bad(granary.KindInvalid, "a %s has no versions", i.Kind)
	case len(i.Versions) >= granary.PolicyVersionsMax:
		return bad(granary.KindTooLarge, "%d versions, of %d at most", len(i.Versions)+1, granary.PolicyVersionsMax)
	case i.Limits != granary.Limits{} && i.Kind != granary.IdentityUser:
		return bad(granary.KindInvalid, "only a user has limits")
	case i.Cred != nil && len(i.Cred.Groups) > 1024:
		return bad(granary.KindTooLarge, "%d groups in the file system", len(i.Cred.Groups))
	}
	size := len(i.Description) + len(i.Secret)
	for _, t := range i.Tags {
		size += len(t.Key) + len(t.Value)
	}
	documents := append([]granary.NamedDocument{{Document: i.Document}}, i.Inline...)
	for _, v := range i.Versions {
		documents = append(documents, granary.NamedDocument{Document: v.Document})
	}
	for _, d := range documents {
		if len(d.Document) > granary.IdentityDocumentMax || len(d.Name) > granary.IdentityNameMax {
			return bad(granary.KindTooLarge, "a document of %d bytes, of %d at most", len(d.Document), granary.IdentityDocumentMax)
		}
		size += len(d.Name) + len(d.Document)
	}
	for _, list := range [...][]string{i.Audiences, i.Thumbprints} {
		for _, s := range list {
			size += len(s) + 1
		}
	}
	if size > granary.IdentitySizeMax {
		return bad(granary.KindTooLarge, "%d bytes of text, of %d at most", size, granary.IdentitySizeMax)
	}
	return nil
}

func repeats(list []string) bool {
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			return true
		}
	}
	return false
}

// identityName reports whether a kind of identity may have a name.
func identityName(kind granary.IdentityKind, name string) bool {
	if name == "" || len(name) > granary.IdentityNameMax {
		return false
	}
	more := "_+=,.@-"
	if kind == granary.IdentityProvider {
		more += "/:%"
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune(more, r)
	})
}
