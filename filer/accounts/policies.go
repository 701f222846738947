package accounts

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// document reads a parameter that is a policy.
func (c *Call) document(name string, kind iam.Kind) (string, error) {
	text, err := c.param(name)
	if err != nil {
		return "", err
	}
	if _, err := iam.Parse([]byte(text), kind); err != nil {
		return "", fail(400, "MalformedPolicyDocument", "%v", err)
	}
	return text, nil
}

// escape encodes a document as answers have it: percent-encoded, with no plus signs for spaces.
func escape(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

func (h holderKind) putInline(c *Call) ([]element, error) {
	policy, err := c.param("PolicyName")
	if err != nil {
		return nil, err
	}
	document, err := c.document("PolicyDocument", iam.OfIdentity)
	if err != nil {
		return nil, err
	}
	return c.changeTarget(h.kind, h.param, func(i *granary.Identity) error {
		for n := range i.Inline {
			if i.Inline[n].Name == policy {
				i.Inline[n].Document = document
				return nil
			}
		}
		i.Inline = append(i.Inline, granary.NamedDocument{Name: policy, Document: document})
		return nil
	})
}

// inline finds an inline policy.
func (h holderKind) inline(c *Call) (i granary.Identity, policy string, at int, err error) {
	if policy, err = c.param("PolicyName"); err != nil {
		return i, "", 0, err
	}
	if i, err = c.target(h.kind, h.param); err != nil {
		return i, "", 0, err
	}
	at = slices.IndexFunc(i.Inline, func(d granary.NamedDocument) bool { return d.Name == policy })
	if at < 0 {
		return i, "", 0, fail(404, "NoSuchEntity", "The %s policy with name %s cannot be found.", h.kind, policy)
	}
	return i, policy, at, nil
}

func (h holderKind) getInline(c *Call) ([]element, error) {
	i, policy, at, err := h.inline(c)
	if err != nil {
		return nil, err
	}
	return []element{el(h.param, i.Name), el("PolicyName", policy), el("PolicyDocument", escape(i.Inline[at].Document))}, nil
}

func (h holderKind) deleteInline(c *Call) ([]element, error) {
	i, policy, _, err := h.inline(c)
	if err != nil {
		return nil, err
	}
	return nil, c.change(h.kind, i.Name, func(i *granary.Identity) error {
		i.Inline = slices.DeleteFunc(i.Inline, func(d granary.NamedDocument) bool { return d.Name == policy })
		return nil
	})
}

func (h holderKind) listInline(c *Call) ([]element, error) {
	i, err := c.target(h.kind, h.param)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(i.Inline))
	for n, d := range i.Inline {
		names[n] = d.Name
	}
	slices.Sort(names)
	return append([]element{texts("PolicyNames", names)}, paged(false, "")...), nil
}

// policyName returns the name of the managed policy that a call's ARN names.
func (c *Call) policyName() (string, error) {
	arn, err := c.param("PolicyArn")
	if err != nil {
		return "", err
	}
	return c.policyNamed(arn)
}

// policyNamed returns the name of the managed policy that an ARN names.
func (c *Call) policyNamed(arn string) (string, error) {
	path, ok := strings.CutPrefix(arn, "arn:aws:iam::"+AccountID+":policy/")
	if !ok {
		if strings.HasPrefix(arn, "arn:aws:iam::aws:policy/") {
			return "", fail(404, "NoSuchEntity", "Policy %s does not exist or is not attachable: the policies of AWS are not here, make your own.", arn)
		}
		return "", invalid("ARN %s is not valid.", arn)
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	p, err := c.find(granary.IdentityPolicy, name)
	if err == nil && ARN("policy", p.Path, p.Name) != arn {
		err = noSuch(granary.IdentityPolicy, arn)
	}
	return name, err
}

func (h holderKind) attach(c *Call) ([]element, error) { return h.attachment(c, With) }

func (h holderKind) detach(c *Call) ([]element, error) {
	return h.attachment(c, Without)
}

func (h holderKind) attachment(c *Call, f func([]string, string) []string) ([]element, error) {
	policy, err := c.policyName()
	if err != nil {
		return nil, err
	}
	return c.changeTarget(h.kind, h.param, func(i *granary.Identity) error {
		before := len(i.Attached)
		if i.Attached = f(i.Attached, policy); len(i.Attached) == before && !slices.Contains(i.Attached, policy) {
			return fail(404, "NoSuchEntity", "Policy %s was not found.", c.Params.Get("PolicyArn"))
		}
		return nil
	})
}

func (h holderKind) listAttached(c *Call) ([]element, error) {
	i, err := c.target(h.kind, h.param)
	if err != nil {
		return nil, err
	}
	var all []element
	for _, attached := range i.Attached {
		p, err := c.find(granary.IdentityPolicy, attached)
		if err != nil {
			return nil, err
		}
		all = append(all, group("", el("PolicyName", p.Name), el("PolicyArn", ARN("policy", p.Path, p.Name))))
	}
	return append([]element{list("AttachedPolicies", all)}, paged(false, "")...), nil
}

// showPolicy shows a managed policy, of which so many have it attached.
func showPolicy(i *granary.Identity, attached int) element {
	e := group("Policy", el("PolicyName", i.Name), el("PolicyId", i.ID), el("Arn", ARN("policy", i.Path, i.Name)), el("Path", i.Path),
		el("DefaultVersionId", versionID(i.Revision)), el("AttachmentCount", strconv.Itoa(attached)), el("PermissionsBoundaryUsageCount", "0"), el("IsAttachable", "true"),
		date("CreateDate", i.Created), date("UpdateDate", i.Changed))
	if i.Description != "" {
		e.inner = append(e.inner, el("Description", i.Description))
	}
	return e
}

func (c *Call) createPolicy() ([]element, error) {
	name, err := c.param("PolicyName")
	if err != nil {
		return nil, err
	}
	document, err := c.document("PolicyDocument", iam.OfIdentity)
	if err != nil {
		return nil, err
	}
	i, err := c.create(granary.Identity{Kind: granary.IdentityPolicy, Name: name, Path: c.Params.Get("Path"), ID: randomID("ANPA"),
		Description: c.Params.Get("Description"), Document: document, Revision: 1, Tags: c.tagsParam()})
	if err != nil {
		return nil, err
	}
	return []element{showPolicy(&i, 0)}, nil
}

// policy finds the managed policy that a call names.
func (c *Call) policy() (granary.Identity, error) {
	name, err := c.policyName()
	if err != nil {
		return granary.Identity{}, err
	}
	return c.find(granary.IdentityPolicy, name)
}

func (c *Call) getPolicy() ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	n, err := c.attachments(i.Name)
	if err != nil {
		return nil, err
	}
	return []element{showPolicy(&i, n)}, nil
}

// attachments counts who has a policy attached.
func (c *Call) attachments(name string) (n int, err error) {
	for _, h := range holders() {
		names, err := c.uses(granary.IdentityPolicy, name, h.kind)
		if err != nil {
			return 0, err
		}
		n += len(names)
	}
	return n, nil
}

func (c *Call) listPolicies() ([]element, error) {
	if c.Params.Get("Scope") == "AWS" {
		return append([]element{list("Policies", nil)}, paged(false, "")...), nil
	}
	var failed error
	all, err := c.list(granary.IdentityPolicy, "Policies", func(i *granary.Identity) element {
		n, err := c.attachments(i.Name)
		if err != nil {
			failed = err
		}
		return showPolicy(i, n)
	})
	if err == nil {
		err = failed
	}
	return all, err
}

func (c *Call) deletePolicy() ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	if len(i.Versions) > 0 {
		return nil, fail(409, "DeleteConflict", "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
	}
	return nil, c.remove(granary.IdentityPolicy, i.Name, i.Version)
}

func (c *Call) listEntitiesForPolicy() ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	var result []element
	for _, kind := range []string{"User", "Group", "Role"} {
		names, err := c.uses(granary.IdentityPolicy, i.Name, holders()[kind].kind)
		if err != nil {
			return nil, err
		}
		var members []element
		for _, name := range names {
			members = append(members, group("", el(kind+"Name", name)))
		}
		result = append(result, list("Policy"+kind+"s", members))
	}
	return append(result, paged(false, "")...), nil
}
