package accounts

import (
	"github.com/dsorchard/granary"
)

// operation finds what an action does.
func (c *Call) operation() (op operation, namespace, service string) {
	if op := stsOperation(c.Action); op.run != nil {
		return op, namespaceSTS, "sts"
	}
	for _, table := range []func(string) operation{userOperation, groupOperation, policyOperation, attachOperation, roleOperation} {
		if op := table(c.Action); op.run != nil {
			return op, namespaceIAM, "iam"
		}
	}
	return operation{}, "", ""
}

// STS reports whether an action is one of STS.
func STS(action string) bool { return stsOperation(action).run != nil }

func userOperation(action string) operation {
	switch action {
	case "CreateUser":
		return operation{run: (*Call).createUser, resource: onUser}
	case "GetUser":
		return operation{run: (*Call).getUser, resource: onUser}
	case "ListUsers":
		return operation{run: (*Call).listUsers, resource: onPath("user")}
	case "UpdateUser":
		return operation{run: (*Call).updateUser, resource: onUser}
	case "DeleteUser":
		return operation{run: (*Call).deleteUser, resource: onUser}
	case "TagUser":
		return operation{run: tagging(granary.IdentityUser, "UserName"), resource: onUser}
	case "UntagUser":
		return operation{run: untagging(granary.IdentityUser, "UserName"), resource: onUser}
	case "ListUserTags":
		return operation{run: tags(granary.IdentityUser, "UserName"), resource: onUser}
	case "CreateAccessKey":
		return operation{run: (*Call).createAccessKey, resource: onUser}
	case "ListAccessKeys":
		return operation{run: (*Call).listAccessKeys, resource: onUser}
	case "UpdateAccessKey":
		return operation{run: (*Call).updateAccessKey, resource: onUser}
	case "DeleteAccessKey":
		return operation{run: (*Call).deleteAccessKey, resource: onUser}
	case "GetAccessKeyLastUsed":
		return operation{run: (*Call).getAccessKeyLastUsed}
	}
	return operation{}
}

func groupOperation(action string) operation {
	switch action {
	case "CreateGroup":
		return operation{run: (*Call).createGroup, resource: onGroup}
	case "GetGroup":
		return operation{run: (*Call).getGroup, resource: onGroup}
	case "ListGroups":
		return operation{run: (*Call).listGroups, resource: onPath("group")}
	case "UpdateGroup":
		return operation{run: (*Call).updateGroup, resource: onGroup}
	case "DeleteGroup":
		return operation{run: (*Call).deleteGroup, resource: onGroup}
	case "AddUserToGroup":
		return operation{run: (*Call).addUserToGroup, resource: onGroup}
	case "RemoveUserFromGroup":
		return operation{run: (*Call).removeUserFromGroup, resource: onGroup}
	case "ListGroupsForUser":
		return operation{run: (*Call).listGroupsForUser, resource: onUser}
	}
	return operation{}
}

func policyOperation(action string) operation {
	switch action {
	case "CreatePolicy":
		return operation{run: (*Call).createPolicy, resource: onPolicyName}
	case "GetPolicy":
		return operation{run: (*Call).getPolicy, resource: onPolicy}
	case "ListPolicies":
		return operation{run: (*Call).listPolicies, resource: onPath("policy")}
	case "DeletePolicy":
		return operation{run: (*Call).deletePolicy, resource: onPolicy}
	case "CreatePolicyVersion":
		return operation{run: (*Call).createPolicyVersion, resource: onPolicy}
	case "GetPolicyVersion":
		return operation{run: (*Call).getPolicyVersion, resource: onPolicy}
	case "ListPolicyVersions":
		return operation{run: (*Call).listPolicyVersions, resource: onPolicy}
	case "SetDefaultPolicyVersion":
		return operation{run: (*Call).setDefaultPolicyVersion, resource: onPolicy}
	case "DeletePolicyVersion":
		return operation{run: (*Call).deletePolicyVersion, resource: onPolicy}
	case "ListEntitiesForPolicy":
		return operation{run: (*Call).listEntitiesForPolicy, resource: onPolicy}
	}
	return operation{}
}

// holderKind is a kind of identities that have policies, and how the API calls them.
type holderKind struct {
	kind     granary.IdentityKind
	param    string
	resource func(*Call) (string, error)
}

func holders() map[string]holderKind {
	return map[string]holderKind{
		"User":  {granary.IdentityUser, "UserName", onUser},
		"Group": {granary.IdentityGroup, "GroupName", onGroup},
		"Role":  {granary.IdentityRole, "RoleName", onRole},
	}
}

// attachOperation is the part of the table about policies that users, groups and roles have.
func attachOperation(action string) operation {
	for name, h := range holders() {
		switch action {
		case "Put" + name + "Policy":
			return operation{run: h.putInline, resource: h.resource}
		case "Get" + name + "Policy":
			return operation{run: h.getInline, resource: h.resource}
		case "Delete" + name + "Policy":
			return operation{run: h.deleteInline, resource: h.resource}
		case "List" + name + "Policies":
			return operation{run: h.listInline, resource: h.resource}
		case "Attach" + name + "Policy":
			return operation{run: h.attach, resource: h.resource}
		case "Detach" + name + "Policy":
			return operation{run: h.detach, resource: h.resource}
		case "ListAttached" + name + "Policies":
			return operation{run: h.listAttached, resource: h.resource}
		}
	}
	return operation{}
}

func roleOperation(action string) operation {
	switch action {
	case "CreateRole":
		return operation{run: (*Call).createRole, resource: onRole}
	case "GetRole":
		return operation{run: (*Call).getRole, resource: onRole}
	case "ListRoles":
		return operation{run: (*Call).listRoles, resource: onPath("role")}
	case "UpdateRole", "UpdateRoleDescription":
		return operation{run: (*Call).updateRole, resource: onRole}
	case "UpdateAssumeRolePolicy":
		return operation{run: (*Call).updateAssumeRolePolicy, resource: onRole}
	case "DeleteRole":
		return operation{run: (*Call).deleteRole, resource: onRole}
	case "TagRole":
		return operation{run: tagging(granary.IdentityRole, "RoleName"), resource: onRole}
	case "UntagRole":
		return operation{run: untagging(granary.IdentityRole, "RoleName"), resource: onRole}
	case "ListRoleTags":
		return operation{run: tags(granary.IdentityRole, "RoleName"), resource: onRole}
	case "CreateOpenIDConnectProvider":
		return operation{run: (*Call).createProvider, resource: onPath("oidc-provider")}
	case "GetOpenIDConnectProvider":
		return operation{run: (*Call).getProvider, resource: onProvider}
	case "ListOpenIDConnectProviders":
		return operation{run: (*Call).listProviders, resource: onPath("oidc-provider")}
	case "DeleteOpenIDConnectProvider":
		return operation{run: (*Call).deleteProvider, resource: onProvider}
	case "AddClientIDToOpenIDConnectProvider":
		return operation{run: (*Call).addAudience, resource: onProvider}
	case "RemoveClientIDFromOpenIDConnectProvider":
		return operation{run: (*Call).removeAudience, resource: onProvider}
	}
	return operation{}
}

// onUser names the user that a call is about: the caller, if it names none.
func onUser(c *Call) (string, error) { return c.named("user", granary.IdentityUser, c.userName()) }

func onGroup(c *Call) (string, error) {
	return c.named("group", granary.IdentityGroup, c.Params.Get("GroupName"))
}

func onRole(c *Call) (string, error) {
	return c.named("role", granary.IdentityRole, c.Params.Get("RoleName"))
}

func onPolicyName(c *Call) (string, error) {
	return ARN("policy", c.Params.Get("Path"), c.Params.Get("PolicyName")), nil
}

func onPolicy(c *Call) (string, error) { return c.Params.Get("PolicyArn"), nil }

func onProvider(c *Call) (string, error) { return c.Params.Get("OpenIDConnectProviderArn"), nil }

func onPath(kind string) func(*Call) (string, error) {
	return func(c *Call) (string, error) { return ARN(kind, c.Params.Get("PathPrefix"), ""), nil }
}

// named is the ARN of what there is by a name, or would be made.
func (c *Call) named(kind string, of granary.IdentityKind, name string) (string, error) {
	i, err := c.service.store.Identity(c.ctx, of, name)
	switch granary.KindOf(err) {
	case granary.KindNone:
		return ARN(kind, i.Path, name), nil
	case granary.KindNotFound:
		return ARN(kind, c.Params.Get("Path"), name), nil
	}
	return "", err
}

// userName is the user that a call is about.
func (c *Call) userName() string {
	if name := c.Params.Get("UserName"); name != "" {
		return name
	}
	return c.Caller.User
}
