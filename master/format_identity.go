package master

import (
	"bytes"
	"strings"

	"github.com/dsorchard/granary"
)

// keyIdentity is the key of an identity: its kind, and its name with letters made small, but for keys, whose case counts.
func keyIdentity(kind granary.IdentityKind, name string) []byte {
	return append(append(key(tableIdentity), byte(kind)), foldIdentity(kind, name)...)
}

// foldIdentity is what names of a kind are the same by.
func foldIdentity(kind granary.IdentityKind, name string) string {
	if kind == granary.IdentityKey {
		return name
	}
	return strings.ToLower(name) // which is ASCII
}

// keyIdentityUse is the key that says that one identity refers to another.
func keyIdentityUse(to, from granary.IdentityRef) []byte {
	return append(append(prefixIdentityUse(to), byte(from.Kind)), from.Name...)
}

func prefixIdentityUse(to granary.IdentityRef) []byte {
	k := append(append(key(tableIdentityUse), byte(to.Kind)), foldIdentity(to.Kind, to.Name)...)
	return append(k, 0)
}

// identityUseOf takes such a key apart; of what is referred to the name is in small letters. The key that no name follows is
// that of the last change.
func identityUseOf(k []byte) (to, from granary.IdentityRef, ok bool) {
	end := bytes.IndexByte(k, 0)
	if len(k) < 2 || end < 2 || end+1 >= len(k) {
		return to, from, false
	}
	to = granary.IdentityRef{Kind: granary.IdentityKind(k[1]), Name: string(k[2:end])}
	return to, granary.IdentityRef{Kind: granary.IdentityKind(k[end+1]), Name: string(k[end+2:])}, true
}

// keyIdentityChange is the key of the entry that last changed any identity.
func keyIdentityChange() []byte { return key(tableIdentityUse) }

// identityRecord is an identity. Its Version is the index of the value.
type identityRecord struct{ granary.Identity }

func (r *identityRecord) put(e *encoder) {
	e.u8(uint8(r.Kind))
	e.str(r.Name)
	e.str(r.ID)
	e.str(r.Path)
	e.i64(int64(r.Created))
	e.i64(int64(r.Changed))
	e.str(r.Description)
	e.u64(uint64(len(r.Tags)))
	for _, t := range r.Tags {
		e.str(t.Key)
		e.str(t.Value)
	}
	e.u64(uint64(len(r.Inline)))
	for _, d := range r.Inline {
		e.str(d.Name)
		e.str(d.Document)
	}
	e.strs(r.Attached)
	e.strs(r.Groups)
	e.bool(r.Cred != nil)
	if c := r.Cred; c != nil {
		e.u64(uint64(c.UID))
		e.u64(uint64(c.GID))
		e.u64(uint64(len(c.Groups)))
		for _, g := range c.Groups {
			e.u64(uint64(g))
		}
	}
	e.str(r.Document)
	e.u64(uint64(r.SessionMax))
	e.str(r.User)
	e.str(r.Secret)
	e.bool(r.Disabled)
	e.strs(r.Audiences)
	e.strs(r.Thumbprints)
	e.u64(uint64(r.Revision))
	// Since format 6.
	e.u64(r.Limits.Requests)
	e.u64(r.Limits.Bytes)
	e.u64(r.Limits.InFlight)
	// Since format 7.
	e.u64(uint64(len(r.Versions)))
	for _, v := range r.Versions {
		e.u64(uint64(v.Revision))
		e.i64(int64(v.Created))
		e.str(v.Document)
	}
	e.i64(int64(r.Since))
	e.u64(uint64(r.Revisions))
}

func (r *identityRecord) take(d *decoder) {
	r.Kind, r.Name, r.ID, r.Path = granary.IdentityKind(d.u8()), d.str(), d.str(), d.str()
	r.Created, r.Changed, r.Version = granary.Time(d.i64()), granary.Time(d.i64()), d.index
	r.Description = d.str()
	for range d.count() {
		r.Tags = append(r.Tags, granary.Tag{Key: d.str(), Value: d.str()})
	}
	for range d.count() {
		r.Inline = append(r.Inline, granary.NamedDocument{Name: d.str(), Document: d.str()})
	}
	r.Attached, r.Groups = d.strs(), d.strs()
	if d.bool() {
		r.Cred = &granary.Cred{UID: d.u32(), GID: d.u32()}
		for range d.count() {
			r.Cred.Groups = append(r.Cred.Groups, d.u32())
		}
	}
	r.Document, r.SessionMax = d.str(), d.u32()
	r.User, r.Secret, r.Disabled = d.str(), d.str(), d.bool()
	r.Audiences, r.Thumbprints = d.strs(), d.strs()
	r.Revision = d.u32()
	if d.version >= 6 {
		r.Limits = granary.Limits{Requests: d.u64(), Bytes: d.u64(), InFlight: d.u64()}
	}
	if d.version >= 7 {
		for range d.count() {
			r.Versions = append(r.Versions, granary.PolicyVersion{Revision: d.u32(), Created: granary.Time(d.i64()), Document: d.str()})
		}
		r.Since, r.Revisions = granary.Time(d.i64()), d.u32()
	}
}

// strs writes a list of texts.
func (e *encoder) strs(list []string) {
	e.u64(uint64(len(list)))
	for _, s := range list {
		e.str(s)
	}
}

func (d *decoder) strs() []string {
	var list []string
	for range d.count() {
		list = append(list, d.str())
	}
	return list
}
