package accounts

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

func showUser(i *granary.Identity) element {
	e := group("User", el("Path", i.Path), el("UserName", i.Name), el("UserId", i.ID), el("Arn", ARN("user", i.Path, i.Name)), date("CreateDate", i.Created))
	if len(i.Tags) > 0 {
		e.inner = append(e.inner, showTags(i.Tags))
	}
	return e
}

func showTags(tags []granary.Tag) element {
	members := make([]element, len(tags))
	for n, t := range tags {
		members[n] = group("", el("Key", t.Key), el("Value", t.Value))
	}
	return list("Tags", members)
}

// tagsParam reads Tags.member.N.Key and .Value.
func (c *Call) tagsParam() []granary.Tag {
	var all []granary.Tag
	for n := 1; ; n++ {
		prefix := "Tags.member." + strconv.Itoa(n)
		if !c.Params.Has(prefix + ".Key") {
			return all
		}
		all = append(all, granary.Tag{Key: c.Params.Get(prefix + ".Key"), Value: c.Params.Get(prefix + ".Value")})
	}
}

func (c *Call) createUser() ([]element, error) {
	name, err := c.param("UserName")
	if err != nil {
		return nil, err
	}
	if len(name) > 64 {
		return nil, invalid("1 validation error detected: Value at 'userName' failed to satisfy constraint: Member must have length less than or equal to 64")
	}
	i, err := c.create(granary.Identity{Kind: granary.IdentityUser, Name: name, Path: c.Params.Get("Path"), ID: randomID("AIDA"), Tags: c.tagsParam()})
	if err != nil {
		return nil, err
	}
	return []element{showUser(&i)}, nil
}

func (c *Call) getUser() ([]element, error) {
	name := c.userName()
	if name == "" && c.Caller.Root {
		return []element{group("User", el("Path", "/"), el("UserName", "root"), el("UserId", AccountID), el("Arn", c.Caller.ARN), date("CreateDate", 0))}, nil
	}
	i, err := c.find(granary.IdentityUser, name)
	if err != nil {
		return nil, err
	}
	return []element{showUser(&i)}, nil
}

func (c *Call) listUsers() ([]element, error) { return c.list(granary.IdentityUser, "Users", showUser) }

func (c *Call) updateUser() ([]element, error) {
	name, err := c.param("UserName")
	if err != nil {
		return nil, err
	}
	if to := c.Params.Get("NewUserName"); to != "" && to != name {
		return nil, fail(501, "NotImplemented", "Users are not renamed here.")
	}
	return nil, c.change(granary.IdentityUser, name, c.move)
}

// move gives an identity the path that NewPath says.
func (c *Call) move(i *granary.Identity) error {
	if path := c.Params.Get("NewPath"); path != "" {
		if !validPath(path) {
			return invalid("The specified value for newPath is invalid.")
		}
		i.Path = path
	}
	return nil
}

// deleteUser removes a user that has nothing left.
func (c *Call) deleteUser() ([]element, error) {
	i, err := c.target(granary.IdentityUser, "UserName")
	if err != nil {
		return nil, err
	}
	if len(i.Groups) > 0 {
		return nil, conflict("must remove users from group first.")
	}
	if err := bare(&i); err != nil {
		return nil, err
	}
	return nil, c.remove(granary.IdentityUser, i.Name, i.Version)
}

// bare refuses to delete what has policies.
func bare(i *granary.Identity) error {
	switch {
	case len(i.Inline) > 0:
		return conflict("must delete policies first.")
	case len(i.Attached) > 0:
		return conflict("must detach all policies first.")
	}
	return nil
}

func conflict(what string) *Error {
	return fail(409, "DeleteConflict", "Cannot delete entity, %s", what)
}

func showKey(i *granary.Identity) element {
	status := "Active"
	if i.Disabled {
		status = "Inactive"
	}
	return group("AccessKeyMetadata", el("UserName", i.User), el("AccessKeyId", i.Name), el("Status", status), date("CreateDate", i.Created))
}

func (c *Call) createAccessKey() ([]element, error) {
	user := c.userName()
	if user == "" {
		return nil, invalid("The root user has one key, which is changed with the settings of the masters: name a user.")
	}
	k, err := c.create(granary.Identity{Kind: granary.IdentityKey, Name: randomID("AKIA"), User: user, Secret: randomSecret()})
	if err != nil {
		if e, ok := err.(*Error); ok && e.Code == "NoSuchEntity" {
			return nil, noSuch(granary.IdentityUser, user)
		}
		return nil, err
	}
	shown := showKey(&k)
	shown.name, shown.inner = "AccessKey", append(shown.inner, el("SecretAccessKey", k.Secret))
	return []element{shown}, nil
}

func (c *Call) listAccessKeys() ([]element, error) {
	names, err := c.uses(granary.IdentityUser, c.userName(), granary.IdentityKey)
	if err != nil {
		return nil, err
	}
	var keys []element
	for _, name := range names {
		k, err := c.find(granary.IdentityKey, name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, showKey(&k))
	}
	return append([]element{list("AccessKeyMetadata", keys)}, paged(false, "")...), nil
}

// key finds the key that a call names, of the user that it names.
func (c *Call) key() (granary.Identity, error) {
	name, err := c.param("AccessKeyId")
	if err != nil {
		return granary.Identity{}, err
	}
	k, err := c.find(granary.IdentityKey, name)
	if err == nil && k.User != c.userName() {
		err = noSuch(granary.IdentityKey, name)
	}
	return k, err
}

func (c *Call) updateAccessKey() ([]element, error) {
	k, err := c.key()
	if err != nil {
		return nil, err
	}
	status := c.Params.Get("Status")
	if status != "Active" && status != "Inactive" {
		return nil, invalid("Value '%s' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]", status)
	}
	return nil, c.change(granary.IdentityKey, k.Name, func(i *granary.Identity) error {
		i.Disabled = status == "Inactive"
		return nil
	})
}

func (c *Call) deleteAccessKey() ([]element, error) {
	k, err := c.key()
	if err != nil {
		return nil, err
	}
	return nil, c.remove(granary.IdentityKey, k.Name, 0)
}

// getAccessKeyLastUsed tells whose a key is. When it was used is not kept.
func (c *Call) getAccessKeyLastUsed() ([]element, error) {
	name, err := c.param("AccessKeyId")
	if err != nil {
		return nil, err
	}
	k, err := c.find(granary.IdentityKey, name)
	if err != nil {
		return nil, err
	}
	return []element{el("UserName", k.User), group("AccessKeyLastUsed", el("ServiceName", "N/A"), el("Region", "N/A"))}, nil
}

func tagging(kind granary.IdentityKind, param string) func(*Call) ([]element, error) {
	return func(c *Call) ([]element, error) {
		name, err := c.param(param)
		if err != nil {
			return nil, err
		}
		return nil, c.change(kind, name, func(i *granary.Identity) error {
			for _, t := range c.tagsParam() {
				i.Tags = append(slices.DeleteFunc(i.Tags, func(o granary.Tag) bool { return strings.EqualFold(o.Key, t.Key) }), t)
			}
			return nil
		})
	}
}

func untagging(kind granary.IdentityKind, param string) func(*Call) ([]element, error) {
	return func(c *Call) ([]element, error) {
		name, err := c.param(param)
		if err != nil {
			return nil, err
		}
		return nil, c.change(kind, name, func(i *granary.Identity) error {
			for _, key := range c.members("TagKeys") {
				i.Tags = slices.DeleteFunc(i.Tags, func(o granary.Tag) bool { return strings.EqualFold(o.Key, key) })
			}
			return nil
		})
	}
}

func tags(kind granary.IdentityKind, param string) func(*Call) ([]element, error) {
	return func(c *Call) ([]element, error) {
		name, err := c.param(param)
		if err != nil {
			return nil, err
		}
		i, err := c.find(kind, name)
		if err != nil {
			return nil, err
		}
		return append([]element{showTags(i.Tags)}, paged(false, "")...), nil
	}
}
