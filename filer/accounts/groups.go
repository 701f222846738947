package accounts

import (
	"slices"

	"github.com/dsorchard/granary"
)

func showGroup(i *granary.Identity) element {
	return group("Group", el("Path", i.Path), el("GroupName", i.Name), el("GroupId", i.ID), el("Arn", ARN("group", i.Path, i.Name)), date("CreateDate", i.Created))
}

func (c *Call) createGroup() ([]element, error) {
	name, err := c.param("GroupName")
	if err != nil {
		return nil, err
	}
	i, err := c.create(granary.Identity{Kind: granary.IdentityGroup, Name: name, Path: c.Params.Get("Path"), ID: randomID("AGPA")})
	if err != nil {
		return nil, err
	}
	return []element{showGroup(&i)}, nil
}

// getGroup shows a group with its members.
func (c *Call) getGroup() ([]element, error) {
	i, err := c.target(granary.IdentityGroup, "GroupName")
	if err != nil {
		return nil, err
	}
	names, err := c.uses(granary.IdentityGroup, i.Name, granary.IdentityUser)
	if err != nil {
		return nil, err
	}
	after, limit, err := c.page()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n <= after })
	more := len(names) > limit
	names = names[:min(limit, len(names))]
	var users []element
	marker := ""
	for _, name := range names {
		marker = name
		u, err := c.service.store.Identity(c.ctx, granary.IdentityUser, name)
		switch granary.KindOf(err) {
		case granary.KindNone:
			users = append(users, showUser(&u))
		case granary.KindNotFound: // it went meanwhile
		default:
			return nil, err
		}
	}
	return append([]element{showGroup(&i), list("Users", users)}, paged(more, marker)...), nil
}

func (c *Call) listGroups() ([]element, error) {
	return c.list(granary.IdentityGroup, "Groups", showGroup)
}

func (c *Call) updateGroup() ([]element, error) {
	name, err := c.param("GroupName")
	if err != nil {
		return nil, err
	}
	if to := c.Params.Get("NewGroupName"); to != "" && to != name {
		return nil, fail(501, "NotImplemented", "Groups are not renamed here.")
	}
	return nil, c.change(granary.IdentityGroup, name, c.move)
}

func (c *Call) deleteGroup() ([]element, error) {
	i, err := c.target(granary.IdentityGroup, "GroupName")
	if err != nil {
		return nil, err
	}
	if err := bare(&i); err != nil {
		return nil, err
	}
	return nil, c.remove(granary.IdentityGroup, i.Name, i.Version)
}

// membership changes the groups of the user that a call names.
func (c *Call) membership(f func(groups []string, name string) []string) ([]element, error) {
	name, err := c.param("GroupName")
	if err != nil {
		return nil, err
	}
	user, err := c.param("UserName")
	if err != nil {
		return nil, err
	}
	if _, err := c.find(granary.IdentityGroup, name); err != nil {
		return nil, err
	}
	return nil, c.change(granary.IdentityUser, user, func(i *granary.Identity) error {
		i.Groups = f(i.Groups, name)
		return nil
	})
}

func (c *Call) addUserToGroup() ([]element, error) { return c.membership(With) }

func (c *Call) removeUserFromGroup() ([]element, error) { return c.membership(Without) }

func (c *Call) listGroupsForUser() ([]element, error) {
	i, err := c.find(granary.IdentityUser, c.userName())
	if err != nil {
		return nil, err
	}
	var groups []element
	for _, name := range i.Groups {
		g, err := c.find(granary.IdentityGroup, name)
		if err != nil {
			return nil, err
		}
		groups = append(groups, showGroup(&g))
	}
	return append([]element{list("Groups", groups)}, paged(false, "")...), nil
}
