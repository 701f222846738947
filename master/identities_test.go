package master

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

func putOp(kind granary.IdentityKind, name string, change func(*granary.Identity)) *granary.PutIdentity {
	op := &granary.PutIdentity{Identity: granary.Identity{Kind: kind, Name: name, Path: "/"}}
	if change != nil {
		change(&op.Identity)
	}
	return op
}

// known returns an identity to be changed and put again.
func (m *machine) known(kind granary.IdentityKind, name string) granary.Identity {
	m.t.Helper()
	return ask[*granary.IdentityIs](m, &granary.GetIdentity{Kind: kind, Name: name}).Identity
}

// TestIdentities makes users, groups and what belongs to them, and has the store refuse what would leave something dangling.
func TestIdentities(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.failsAs(granary.KindNotOwner, granary.Cred{UID: 7}, putOp(granary.IdentityUser, "ann", nil))
	m.ok(putOp(granary.IdentityUser, "ann", func(i *granary.Identity) { i.ID, i.Cred = "AIDA1", &granary.Cred{UID: 7, GID: 8, Groups: []uint32{9}} }))
	m.fails(granary.KindExists, putOp(granary.IdentityUser, "ann", nil))
	m.fails(granary.KindExists, putOp(granary.IdentityUser, "ANN", nil))
	m.fails(granary.KindInvalid, putOp(granary.IdentityUser, "an/n", nil))
	m.fails(granary.KindNotFound, putOp(granary.IdentityKey, "K1", func(i *granary.Identity) { i.User = "bob" }))
	m.fails(granary.KindInvalid, putOp(granary.IdentityKey, "K1", nil))
	m.fails(granary.KindExists, putOp(granary.IdentityKey, "root", func(i *granary.Identity) { i.User = "ann" }))
	m.ok(putOp(granary.IdentityKey, "K1", func(i *granary.Identity) { i.User, i.Secret = "ann", "s" }))
	m.ok(putOp(granary.IdentityKey, "k1", func(i *granary.Identity) { i.User = "ann" }))
	m.fails(granary.KindTooLarge, putOp(granary.IdentityKey, "K3", func(i *granary.Identity) { i.User = "ann" }))
	m.fails(granary.KindNotEmpty, &granary.DeleteIdentity{Kind: granary.IdentityUser, Name: "ann"})
	m.ok(putOp(granary.IdentityGroup, "Staff", nil))
	m.ok(putOp(granary.IdentityPolicy, "read", func(i *granary.Identity) { i.Document = "{}" }))

	ann := m.known(granary.IdentityUser, "ann")
	ann.Groups = []string{"staff"} // names are given as they were
	m.fails(granary.KindNotFound, &granary.PutIdentity{Identity: ann})
	ann.Groups, ann.ID = []string{"Staff"}, "AIDA2"
	m.ok(&granary.PutIdentity{Identity: ann})
	m.fails(granary.KindStale, &granary.PutIdentity{Identity: ann})
	staff := m.known(granary.IdentityGroup, "Staff")
	staff.Attached = []string{"read"}
	m.ok(&granary.PutIdentity{Identity: staff})
	m.fails(granary.KindNotEmpty, &granary.DeleteIdentity{Kind: granary.IdentityPolicy, Name: "read"})
	m.fails(granary.KindNotEmpty, &granary.DeleteIdentity{Kind: granary.IdentityGroup, Name: "Staff"})
	m.check()

	h := ask[*granary.Holder](m, &granary.ResolveIdentity{AccessKey: "K1"})
	if h.Root || h.Key.Secret != "s" || h.Subject.ID != "AIDA1" || h.Subject.Cred.Groups[0] != 9 || len(h.Groups) != 1 || len(h.Policies) != 1 || h.Policies[0].Document != "{}" {
		t.Fatalf("%+v", h)
	}
	if again := ask[*granary.Holder](m, &granary.ResolveIdentity{AccessKey: "K1", Known: h.Version}); !again.Unchanged {
		t.Errorf("%+v", again)
	}
	if root := ask[*granary.Holder](m, &granary.ResolveIdentity{AccessKey: "root"}); !root.Root || root.Key.Secret != "secret" {
		t.Errorf("%+v", root)
	}
	uses := ask[*granary.IdentityUses](m, &granary.ListIdentityUses{Kind: granary.IdentityUser, Name: "ann", Limit: 1})
	if len(uses.Uses) != 1 || !uses.More || uses.Uses[0].Name != "K1" {
		t.Errorf("%+v", uses)
	}
	uses = ask[*granary.IdentityUses](m, &granary.ListIdentityUses{Kind: granary.IdentityUser, Name: "ann", After: uses.Uses[0]})
	if len(uses.Uses) != 1 || uses.More || uses.Uses[0].Name != "k1" {
		t.Errorf("%+v", uses)
	}
	if list := ask[*granary.Identities](m, &granary.ListIdentities{Kind: granary.IdentityKey}); len(list.Identities) != 2 || list.Identities[0].Secret != "" {
		t.Errorf("%+v", list)
	}

	ann = m.known(granary.IdentityUser, "ann")
	m.fails(granary.KindStale, &granary.DeleteIdentity{Kind: granary.IdentityKey, Name: "K1", Version: 1})
	m.ok(&granary.DeleteIdentity{Kind: granary.IdentityKey, Name: "K1"})
	m.ok(&granary.DeleteIdentity{Kind: granary.IdentityKey, Name: "k1"})
	m.ok(&granary.DeleteIdentity{Kind: granary.IdentityUser, Name: "ann", Version: ann.Version})
	m.ok(&granary.DeleteIdentity{Kind: granary.IdentityGroup, Name: "Staff"})
	m.ok(&granary.DeleteIdentity{Kind: granary.IdentityPolicy, Name: "read"})
	m.fails(granary.KindNotFound, &granary.DeleteIdentity{Kind: granary.IdentityPolicy, Name: "read"})
	if _, err := m.query(&granary.ResolveIdentity{AccessKey: "K1"}); !granary.IsKind(err, granary.KindNotFound) {
		t.Error(err)
	}
	m.check()
}

// TestIdentityReferences does anything with a few users, groups and policies: the index stays what the records say.
func TestIdentityReferences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		names := []string{"a", "b", "C"}
		kinds := []granary.IdentityKind{granary.IdentityUser, granary.IdentityGroup, granary.IdentityPolicy, granary.IdentityKey}
		for step := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			kind, name := rapid.SampledFrom(kinds).Draw(rt, "kind"), rapid.SampledFrom(names).Draw(rt, "name")
			if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
				m.do(&granary.DeleteIdentity{Kind: kind, Name: name})
				continue
			}
			i := granary.Identity{Kind: kind, Name: name, Description: fmt.Sprint(step)}
			if a, err := m.query(&granary.GetIdentity{Kind: kind, Name: name}); err == nil {
				i = a.(*granary.IdentityIs).Identity
			}
			some := func(what string) []string {
				return slices.DeleteFunc(slices.Clone(names), func(string) bool { return rapid.Bool().Draw(rt, what) })
			}
			switch kind {
			case granary.IdentityKey:
				i.User = rapid.SampledFrom(names).Draw(rt, "user")
			case granary.IdentityUser:
				i.Groups, i.Attached = some("groups"), some("policies")
			case granary.IdentityGroup:
				i.Attached = some("policies")
			}
			m.do(&granary.PutIdentity{Identity: i})
		}
		if err := m.s.check(); err != nil {
			rt.Fatal(err)
		}
	})
}
