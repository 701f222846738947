package accounts

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/iam"
)

// A managed policy has up to five versions, of which one, the default, is in force: Identity.Document. Their numbers are given out once.

// versionID is how a version of a managed policy is called.
func versionID(revision uint32) string { return "v" + strconv.Itoa(int(max(revision, 1))) }

// defaultVersion is the version of a managed policy that is in force.
func defaultVersion(i *granary.Identity) granary.PolicyVersion {
	return granary.PolicyVersion{Revision: max(i.Revision, 1), Created: cmp.Or(i.Since, i.Changed), Document: i.Document}
}

// AddVersion gives a managed policy another version at a time, which comes into force or not; KindTooLarge if it has as many as it may.
func AddVersion(i *granary.Identity, document string, now granary.Time, inForce bool) (granary.PolicyVersion, error) {
	if len(i.Versions)+1 >= granary.PolicyVersionsMax {
		return granary.PolicyVersion{}, granary.Errorf(granary.KindTooLarge, "policy", i.Name, "it has %d versions: one must be deleted before another is made", granary.PolicyVersionsMax)
	}
	v := granary.PolicyVersion{Revision: max(i.Revisions, i.Revision, 1) + 1, Created: now, Document: document}
	i.Revisions = v.Revision
	i.Since = defaultVersion(i).Created // else it would become that of this change
	i.Versions = append(slices.Clone(i.Versions), v)
	if inForce {
		makeDefault(i, v.Revision)
	}
	return v, nil
}

// makeDefault brings another version into force; false if there is none of that number.
func makeDefault(i *granary.Identity, revision uint32) bool {
	old := defaultVersion(i)
	if old.Revision == revision {
		return true
	}
	at := slices.IndexFunc(i.Versions, func(v granary.PolicyVersion) bool { return v.Revision == revision })
	if at < 0 {
		return false
	}
	next := i.Versions[at]
	i.Versions = append(slices.Delete(slices.Clone(i.Versions), at, at+1), old)
	slices.SortFunc(i.Versions, func(a, b granary.PolicyVersion) int { return cmp.Compare(a.Revision, b.Revision) })
	i.Document, i.Revision, i.Since = next.Document, next.Revision, next.Created
	return true
}

// SetDocument puts a document in force as a new version, in place of the oldest of the others if there are as many as there may be.
func SetDocument(i *granary.Identity, document string, now granary.Time) error {
	if len(i.Versions)+1 >= granary.PolicyVersionsMax {
		i.Versions = slices.Clone(i.Versions[1:])
	}
	_, err := AddVersion(i, document, now, true)
	return err
}

func showVersion(v granary.PolicyVersion, inForce, document bool) element {
	e := group("PolicyVersion", el("VersionId", versionID(v.Revision)), el("IsDefaultVersion", strconv.FormatBool(inForce)), date("CreateDate", v.Created))
	if document {
		e.inner = append(e.inner, el("Document", escape(v.Document)))
	}
	return e
}

func (c *Call) createPolicyVersion() ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	document, err := c.document("PolicyDocument", iam.OfIdentity)
	if err != nil {
		return nil, err
	}
	inForce := strings.EqualFold(c.Params.Get("SetAsDefault"), "true")
	var made granary.PolicyVersion
	err = c.change(granary.IdentityPolicy, i.Name, func(i *granary.Identity) (err error) {
		made, err = AddVersion(i, document, granary.Time(c.service.now().UnixNano()), inForce)
		if granary.IsKind(err, granary.KindTooLarge) {
			return fail(409, "LimitExceeded", "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", granary.PolicyVersionsMax)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return []element{showVersion(made, inForce, false)}, nil
}

// version finds the version of a policy that a call names.
func (c *Call) version(i *granary.Identity) (granary.PolicyVersion, error) {
	id, err := c.param("VersionId")
	if err != nil {
		return granary.PolicyVersion{}, err
	}
	for _, v := range append([]granary.PolicyVersion{defaultVersion(i)}, i.Versions...) {
		if versionID(v.Revision) == id {
			return v, nil
		}
	}
	return granary.PolicyVersion{}, fail(404, "NoSuchEntity", "Policy %s version %s does not exist or is not attachable.", c.Params.Get("PolicyArn"), id)
}

func (c *Call) getPolicyVersion() ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	v, err := c.version(&i)
	if err != nil {
		return nil, err
	}
	return []element{showVersion(v, v.Revision == max(i.Revision, 1), true)}, nil
}

// listPolicyVersions lists all versions, the newest first.
func (c *Call) listPolicyVersions() ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	all := append([]granary.PolicyVersion{defaultVersion(&i)}, i.Versions...)
	slices.SortFunc(all, func(a, b granary.PolicyVersion) int { return cmp.Compare(b.Revision, a.Revision) })
	shown := make([]element, len(all))
	for n, v := range all {
		shown[n] = showVersion(v, v.Revision == max(i.Revision, 1), false)
	}
	return append([]element{list("Versions", shown)}, paged(false, "")...), nil
}

// changeVersion has a version of a policy, which the call names, changed.
func (c *Call) changeVersion(f func(*granary.Identity, granary.PolicyVersion) error) ([]element, error) {
	i, err := c.policy()
	if err != nil {
		return nil, err
	}
	return nil, c.change(granary.IdentityPolicy, i.Name, func(i *granary.Identity) error {
		v, err := c.version(i)
		if err != nil {
			return err
		}
		return f(i, v)
	})
}

func (c *Call) setDefaultPolicyVersion() ([]element, error) {
	return c.changeVersion(func(i *granary.Identity, v granary.PolicyVersion) error {
		makeDefault(i, v.Revision)
		return nil
	})
}

func (c *Call) deletePolicyVersion() ([]element, error) {
	return c.changeVersion(func(i *granary.Identity, v granary.PolicyVersion) error {
		if v.Revision == max(i.Revision, 1) {
			return fail(409, "DeleteConflict", "Cannot delete the default version of a policy.")
		}
		i.Since = defaultVersion(i).Created
		i.Revisions = max(i.Revisions, i.Revision, v.Revision)
		i.Versions = slices.DeleteFunc(slices.Clone(i.Versions), func(o granary.PolicyVersion) bool { return o.Revision == v.Revision })
		return nil
	})
}
