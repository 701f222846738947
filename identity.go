package granary

import "fmt"

// IdentityKind says what an Identity is. The values are stored.
type IdentityKind uint8

// Kinds of identities.
const (
	IdentityUser     IdentityKind = iota + 1
	IdentityGroup                 // of users
	IdentityRole                  // whom others may become for a while
	IdentityPolicy                // a managed policy, which users, groups and roles have attached
	IdentityKey                   // an access key of a user
	IdentityProvider              // an issuer of OpenID Connect, whose tokens roles may trust
	IdentitySecret                // a key that the gateways share, such as for sealing session tokens
)

// String returns the word that errors and listings use.
func (k IdentityKind) String() string {
	switch k {
	case IdentityUser:
		return "user"
	case IdentityGroup:
		return "group"
	case IdentityRole:
		return "role"
	case IdentityPolicy:
		return "policy"
	case IdentityKey:
		return "access key"
	case IdentityProvider:
		return "provider"
	case IdentitySecret:
		return "secret"
	}
	return fmt.Sprintf("identity kind %d", uint8(k))
}

// Limits of identities, in one record.
const (
	IdentityNameMax     = 128       // bytes of a name
	IdentityPathMax     = 512       // bytes of a path
	IdentityDocumentMax = 20 << 10  // bytes of one document
	IdentitySizeMax     = 128 << 10 // bytes of all texts of one record
	IdentityAttachedMax = 20        // managed policies of one user, group or role
	IdentityGroupsMax   = 10        // groups of one user
	IdentityKeysMax     = 2         // access keys of one user
	IdentityTagsMax     = 50
	PolicyVersionsMax   = 5 // of one managed policy
)

// EncryptionKeys is the name of the IdentitySecret that has the keys of the cluster (package filer/seal). The store sees to it that none is lost.
const EncryptionKeys = "encryption-keys"

// Identity is one of whom or what the policies of the S3 gateway speak. What a field means depends on the kind; those of which
// nothing is said for a kind are empty.
//
// The store sees to it that names are unique within a kind, whatever the case of their letters (those of access keys as they are), that what a
// record refers to exists, and that what is referred to is not deleted. What documents say is the gateway's.
type Identity struct {
	Kind IdentityKind
	Name string // letters, digits and _+=,.@-; of a provider its URL without "https://"; of a key its id
	ID   string // unique, and never another's: made up by whoever makes the record
	Path string // "/", or "/a/b/"

	Created Time  // by the store
	Changed Time  // by the store
	Version Index // of the entry that last changed it; in a PutIdentity the one that it replaces

	Description string
	Tags        []Tag
	Inline      []NamedDocument // policies of users, groups and roles
	Attached    []string        // managed policies of users, groups and roles, by name
	Groups      []string        // of a user
	Cred        *Cred           // of a user: who it is in the file system; nil: the gateway's own
	Document    string          // of a managed policy; of a role who may become it
	SessionMax  uint32          // of a role: the longest session, in seconds
	Revision    uint32          // of a managed policy: which version of it the document is, from 1

	User     string // of a key
	Secret   string // of a key, and of a secret
	Disabled bool   // of a key

	Audiences   []string // of a provider: client ids that its tokens may be for
	Thumbprints []string // of a provider, as they were given; certificates are verified by the system's roots

	Limits Limits // of a user

	// Of a managed policy: the versions that it has beside Document, at most PolicyVersionsMax - 1 of them; since when Document is there, 0 for
	// Changed; and the highest Revision that any of its versions had, 0 for that of Document.
	Versions  []PolicyVersion
	Since     Time
	Revisions uint32
}

// PolicyVersion is a version of a managed policy that is not in force.
type PolicyVersion struct {
	Revision uint32
	Created  Time
	Document string
}

// Limits bound what a user asks of one gateway; 0 for no bound. Beyond it requests are refused, and may come again later.
type Limits struct {
	Requests uint64 // a second
	Bytes    uint64 // a second, of bodies in both directions
	InFlight uint64 // requests at one time
}

// Tag is a name with a value.
type Tag struct{ Key, Value string }

// NamedDocument is a policy that belongs to one identity.
type NamedDocument struct{ Name, Document string }

// IdentityRef names an identity.
type IdentityRef struct {
	Kind IdentityKind
	Name string
}

type (
	// PutIdentity makes an identity, or replaces the one whose Version is Identity.Version: another is KindStale, and with Version 0 there must be
	// none of the name (KindExists). ID and Created of what is replaced stay. What it refers to must exist (KindNotFound). Only the
	// superuser may.
	// Result: Index: the Version that it has now.
	PutIdentity struct{ Identity Identity }

	// DeleteIdentity removes an identity that no other refers to (KindNotEmpty): a user that has keys, a group that has members,
	// a policy that is attached. Version, if not 0, is that which it must have (KindStale). Only the superuser may.
	DeleteIdentity struct {
		Kind    IdentityKind
		Name    string
		Version Index
	}
)

type (
	// GetIdentity asks for one identity; KindNotFound if there is none.
	GetIdentity struct {
		Kind IdentityKind
		Name string
	}
	// IdentityIs answers GetIdentity.
	IdentityIs struct{ Identity Identity }

	// ListIdentities lists the identities of a kind, in the order of their names. Secrets are left out.
	ListIdentities struct {
		Kind  IdentityKind
		After string // name
		Limit int    // at most IdentitiesMax; 0 for that
	}
	// Identities answers ListIdentities.
	Identities struct {
		Identities []Identity
		More       bool
	}

	// ListIdentityUses lists what refers to an identity: the keys of a user, the members of a group, those that have a policy
	// attached. KindNotFound if there is no such identity.
	ListIdentityUses struct {
		Kind  IdentityKind
		Name  string
		After IdentityRef
		Limit int // at most IdentitiesMax; 0 for that
	}
	// IdentityUses answers ListIdentityUses, in order of kind and name.
	IdentityUses struct {
		Uses []IdentityRef
		More bool
	}

	// ResolveIdentity asks for all that decides what the holder of an access key may do, or who has become a role:
	// from one state. KindNotFound if there is none. Known, if not 0, is the Version of the last answer. Session names managed
	// policies that bound what it is asked for.
	ResolveIdentity struct {
		AccessKey string
		Role      string // if AccessKey is ""
		Known     Index
		Session   []string
	}
	// Holder answers ResolveIdentity.
	Holder struct {
		Version   Index // of the last change of any identity
		Unchanged bool  // since Known: all else is empty
		Root      bool  // the root user: Key and Subject have its key and name
		Key       Identity
		Subject   Identity // user or role
		Groups    []Identity
		Policies  []Identity // managed policies that the subject or one of the groups has attached, without other versions
		Session   []Identity // those that ResolveIdentity.Session names and that are there
	}
)

// IdentitiesMax is how many identities one answer has at most.
const IdentitiesMax = 1000

func (*PutIdentity) op()    {}
func (*DeleteIdentity) op() {}

func (*GetIdentity) query()      {}
func (*ListIdentities) query()   {}
func (*ListIdentityUses) query() {}
func (*ResolveIdentity) query()  {}

func (*IdentityIs) answer()   {}
func (*Identities) answer()   {}
func (*IdentityUses) answer() {}
func (*Holder) answer()       {}
