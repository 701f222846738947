package accounts

import (
	"context"
	"slices"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// NewUser, NewGroup and NewKey are records to be put: of a user, a group, and an access key of a user.
func NewUser(name, path string) granary.Identity {
	return granary.Identity{Kind: granary.IdentityUser, Name: name, Path: path, ID: randomID("AIDA")}
}

// NewGroup is the record of a group.
func NewGroup(name, path string) granary.Identity {
	return granary.Identity{Kind: granary.IdentityGroup, Name: name, Path: path, ID: randomID("AGPA")}
}

// NewKey is the record of an access key, made up at random.
func NewKey(user string) granary.Identity {
	return granary.Identity{Kind: granary.IdentityKey, Name: randomID("AKIA"), Path: "/", User: user, Secret: randomSecret()}
}

// NewPolicy is the record of a managed policy; KindInvalid if the document is none.
func NewPolicy(name, path, document string) (granary.Identity, error) {
	i := granary.Identity{Kind: granary.IdentityPolicy, Name: name, Path: path, ID: randomID("ANPA"), Document: document, Revision: 1}
	if _, err := iam.Parse([]byte(document), iam.OfIdentity); err != nil {
		return i, granary.Errorf(granary.KindInvalid, "policy", name, "%w", err)
	}
	return i, nil
}

// Change reads an identity, changes it, and puts it back, again if another changed it meanwhile.
func Change(ctx context.Context, store Store, kind granary.IdentityKind, name string, f func(*granary.Identity) error) error {
	for attempt := 1; ; attempt++ {
		i, err := store.Identity(ctx, kind, name)
		if err != nil {
			return err
		}
		if err := f(&i); err != nil {
			return err
		}
		err = store.PutIdentity(ctx, i)
		if attempt == changesMax || !granary.IsKind(err, granary.KindStale) {
			return err
		}
	}
}

// changesMax bounds how often a change is begun again because of others.
const changesMax = 10

// Users returns the names of what refers to an identity, of a kind.
func Users(ctx context.Context, store Store, kind granary.IdentityKind, name string, by granary.IdentityKind) ([]string, error) {
	var names []string
	q := &granary.ListIdentityUses{Kind: kind, Name: name}
	for {
		page, err := store.IdentityUses(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, u := range page.Uses {
			if q.After = u; u.Kind == by {
				names = append(names, u.Name)
			}
		}
		if !page.More {
			return names, nil
		}
	}
}

// With returns a list with a name in it.
func With(all []string, name string) []string {
	if slices.Contains(all, name) {
		return all
	}
	return append(all, name)
}

// Without returns a list without a name.
func Without(all []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == name })
}
