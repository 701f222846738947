package accounts

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// Limits of sessions of roles, in seconds, as in AWS.
const (
	sessionMin     = 900
	sessionDefault = 3600
	sessionMax     = 12 * 3600
)

func showRole(i *granary.Identity) element {
	e := group("Role", el("Path", i.Path), el("RoleName", i.Name), el("RoleId", i.ID), el("Arn", ARN("role", i.Path, i.Name)), date("CreateDate", i.Created),
		el("AssumeRolePolicyDocument", escape(i.Document)), el("MaxSessionDuration", strconv.Itoa(int(i.SessionMax))))
	if i.Description != "" {
		e.inner = append(e.inner, el("Description", i.Description))
	}
	if len(i.Tags) > 0 {
		e.inner = append(e.inner, showTags(i.Tags))
	}
	return e
}

// duration reads how long a session may be, in seconds.
func (c *Call) duration(name string, otherwise, most int) (int, error) {
	text := c.Params.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < sessionMin || n > most {
		return 0, invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must be between %d and %d", text, strings.ToLower(name[:1])+name[1:], sessionMin, most)
	}
	return n, nil
}

func (c *Call) createRole() ([]element, error) {
	name, err := c.param("RoleName")
	if err != nil {
		return nil, err
	}
	document, err := c.document("AssumeRolePolicyDocument", iam.OfTrust)
	if err != nil {
		return nil, err
	}
	longest, err := c.duration("MaxSessionDuration", sessionDefault, sessionMax)
	if err != nil {
		return nil, err
	}
	if c.Params.Get("PermissionsBoundary") != "" {
		return nil, fail(501, "NotImplemented", "There are no permission boundaries here.")
	}
	i, err := c.create(granary.Identity{Kind: granary.IdentityRole, Name: name, Path: c.Params.Get("Path"), ID: randomID("AROA"), Document: document,
		Description: c.Params.Get("Description"), SessionMax: uint32(longest), Tags: c.tagsParam()})
	if err != nil {
		return nil, err
	}
	return []element{showRole(&i)}, nil
}

func (c *Call) getRole() ([]element, error) {
	i, err := c.target(granary.IdentityRole, "RoleName")
	if err != nil {
		return nil, err
	}
	return []element{showRole(&i)}, nil
}

func (c *Call) listRoles() ([]element, error) { return c.list(granary.IdentityRole, "Roles", showRole) }

func (c *Call) updateRole() ([]element, error) {
	longest, err := c.duration("MaxSessionDuration", 0, sessionMax)
	if err != nil {
		return nil, err
	}
	return c.changeTarget(granary.IdentityRole, "RoleName", func(i *granary.Identity) error {
		if c.Params.Has("Description") {
			i.Description = c.Params.Get("Description")
		}
		if longest != 0 {
			i.SessionMax = uint32(longest)
		}
		return nil
	})
}

func (c *Call) updateAssumeRolePolicy() ([]element, error) {
	document, err := c.document("PolicyDocument", iam.OfTrust)
	if err != nil {
		return nil, err
	}
	return c.changeTarget(granary.IdentityRole, "RoleName", func(i *granary.Identity) error {
		i.Document = document
		return nil
	})
}

func (c *Call) deleteRole() ([]element, error) {
	i, err := c.target(granary.IdentityRole, "RoleName")
	if err != nil {
		return nil, err
	}
	if err := bare(&i); err != nil {
		return nil, err
	}
	return nil, c.remove(granary.IdentityRole, i.Name, i.Version)
}

// providerARN is the ARN of a provider.
func providerARN(name string) string { return ARN("oidc-provider", "", name) }

// providerName returns the provider that a call names.
func (c *Call) providerName() (string, error) {
	arn, err := c.param("OpenIDConnectProviderArn")
	if err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(arn, providerARN(""))
	if !ok {
		return "", invalid("Invalid ARN: %s.", arn)
	}
	return name, nil
}

func (c *Call) createProvider() ([]element, error) {
	text, err := c.param("Url")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u)) || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fail(400, "InvalidInput", "Invalid Open ID Connect Provider URL: it must begin with https:// (or, on this host alone, http://).")
	}
	name := strings.TrimSuffix(u.Host+u.Path, "/")
	description := ""
	if u.Scheme == "http" {
		description = insecureIssuer
	}
	i, err := c.create(granary.Identity{Kind: granary.IdentityProvider, Name: name, ID: randomID("OIDC"), Description: description,
		Audiences: c.members("ClientIDList"), Thumbprints: c.members("ThumbprintList")})
	if err != nil {
		return nil, err
	}
	return []element{el("OpenIDConnectProviderArn", providerARN(i.Name))}, nil
}

// insecureIssuer is the description of a provider that is asked without TLS.
const insecureIssuer = "http"

func loopback(u *url.URL) bool {
	host := u.Hostname()
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

func (c *Call) getProvider() ([]element, error) {
	name, err := c.providerName()
	if err != nil {
		return nil, err
	}
	i, err := c.find(granary.IdentityProvider, name)
	if err != nil {
		return nil, err
	}
	return []element{el("Url", i.Name), texts("ClientIDList", i.Audiences), texts("ThumbprintList", i.Thumbprints), date("CreateDate", i.Created)}, nil
}

func (c *Call) listProviders() ([]element, error) {
	all, err := c.list(granary.IdentityProvider, "OpenIDConnectProviderList", func(i *granary.Identity) element {
		return group("", el("Arn", providerARN(i.Name)))
	})
	if err != nil {
		return nil, err
	}
	return all[:1], nil
}

func (c *Call) deleteProvider() ([]element, error) {
	name, err := c.providerName()
	if err != nil {
		return nil, err
	}
	return nil, c.remove(granary.IdentityProvider, name, 0)
}

func (c *Call) audiences(f func([]string, string) []string) ([]element, error) {
	name, err := c.providerName()
	if err != nil {
		return nil, err
	}
	id, err := c.param("ClientID")
	if err != nil {
		return nil, err
	}
	return nil, c.change(granary.IdentityProvider, name, func(i *granary.Identity) error {
		i.Audiences = f(slices.Clone(i.Audiences), id)
		return nil
	})
}

func (c *Call) addAudience() ([]element, error) { return c.audiences(With) }

func (c *Call) removeAudience() ([]element, error) { return c.audiences(Without) }
