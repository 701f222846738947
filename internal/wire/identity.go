package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// roomForIdentity is what many answers about identities fit into.
const roomForIdentity = 4 << 10

func (f *fields) putIdentity(o *granary.PutIdentity) {
	required(f, 1, &o.Identity, (*fields).identity, "identity")
}

func (f *fields) deleteIdentity(o *granary.DeleteIdentity) {
	unsigned(f, 1, &o.Kind)
	text(f, 2, &o.Name)
	unsigned(f, 3, &o.Version)
}

func (f *fields) identity(i *granary.Identity) {
	unsigned(f, 1, &i.Kind)
	text(f, 2, &i.Name)
	text(f, 3, &i.ID)
	text(f, 4, &i.Path)
	signed(f, 5, &i.Created)
	signed(f, 6, &i.Changed)
	unsigned(f, 7, &i.Version)
	text(f, 8, &i.Description)
	list(f, 9, &i.Tags, (*fields).identityTag)
	list(f, 10, &i.Inline, (*fields).namedDocument)
	texts(f, 11, &i.Attached)
	texts(f, 12, &i.Groups)
	optional(f, 13, &i.Cred, (*fields).cred)
	text(f, 14, &i.Document)
	unsigned(f, 15, &i.SessionMax)
	text(f, 16, &i.User)
	text(f, 17, &i.Secret)
	f.flag(18, &i.Disabled)
	texts(f, 19, &i.Audiences)
	texts(f, 20, &i.Thumbprints)
	unsigned(f, 21, &i.Revision)
	unlessZero(f, 22, &i.Limits, (*fields).limits)
	list(f, 23, &i.Versions, (*fields).policyVersion)
	signed(f, 24, &i.Since)
	unsigned(f, 25, &i.Revisions)
}

func (f *fields) policyVersion(v *granary.PolicyVersion) {
	unsigned(f, 1, &v.Revision)
	signed(f, 2, &v.Created)
	text(f, 3, &v.Document)
}

func (f *fields) limits(l *granary.Limits) {
	unsigned(f, 1, &l.Requests)
	unsigned(f, 2, &l.Bytes)
	unsigned(f, 3, &l.InFlight)
}

func (f *fields) identityTag(t *granary.Tag) {
	text(f, 1, &t.Key)
	text(f, 2, &t.Value)
}

func (f *fields) namedDocument(n *granary.NamedDocument) {
	text(f, 1, &n.Name)
	text(f, 2, &n.Document)
}

func (f *fields) identityRef(r *granary.IdentityRef) {
	unsigned(f, 1, &r.Kind)
	text(f, 2, &r.Name)
}

func (f *fields) identityIs(a *granary.IdentityIs) {
	required(f, 1, &a.Identity, (*fields).identity, "identity")
}

func (f *fields) identities(a *granary.Identities) {
	list(f, 1, &a.Identities, (*fields).identity)
	f.flag(2, &a.More)
}

func (f *fields) identityUses(a *granary.IdentityUses) {
	list(f, 1, &a.Uses, (*fields).identityRef)
	f.flag(2, &a.More)
}

func (f *fields) holder(a *granary.Holder) {
	unsigned(f, 1, &a.Version)
	f.flag(2, &a.Unchanged)
	f.flag(3, &a.Root)
	required(f, 4, &a.Key, (*fields).identity, "key")
	required(f, 5, &a.Subject, (*fields).identity, "subject")
	list(f, 6, &a.Groups, (*fields).identity)
	list(f, 7, &a.Policies, (*fields).identity)
	list(f, 8, &a.Session, (*fields).identity)
}

func (d *decoder) identityKind(k uint32) granary.IdentityKind {
	return granary.IdentityKind(d.uint8(k, "kind"))
}

func (d *decoder) listIdentityUses(p *pb.ListIdentityUses) *granary.ListIdentityUses {
	return &granary.ListIdentityUses{
		Kind: d.identityKind(p.Kind), Name: string(p.Name), Limit: d.int(p.Limit, "limit"),
		After: granary.IdentityRef{Kind: d.identityKind(p.After.GetKind()), Name: string(p.After.GetName())},
	}
}
