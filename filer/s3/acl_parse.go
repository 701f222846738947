package s3

import (
	"slices"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// listToPut reads the list of a PUT: a name, grants in headers, or a document.
func (q *request) listToPut(b *filer.Info) (*accessList, error) {
	document, err := readDocument(q.body, documentSizeMax)
	if err != nil {
		return nil, err
	}
	l, err := q.headerList(q.key == "")
	switch {
	case err != nil:
		return nil, err
	case l != nil && len(document) > 0:
		return nil, refuse(codeUnexpectedContent, "This request does not support content.")
	case l != nil:
		return l, nil
	case len(document) == 0:
		return nil, refuse(codeMissingSecurityHeader, "Your request was missing a required header.")
	}
	l = &accessList{}
	if err := decodeXML(document, l); err != nil {
		return nil, err
	}
	if l.Owner.ID != ownerID {
		return nil, accessDenied()
	}
	if len(l.Grants) > grantsMax {
		return nil, malformedXML()
	}
	for i := range l.Grants {
		if err := q.checkGrant(&l.Grants[i]); err != nil {
			return nil, err
		}
	}
	l.Owner = clusterOwner()
	return l, nil
}

// checkGrant refuses a grant that cannot be: it must name somebody who is there.
func (q *request) checkGrant(g *grant) error {
	switch g.Permission {
	case grantAll, grantRead, grantWrite, grantReadACP, grantWriteACP:
	default:
		return malformedXML()
	}
	switch g.Grantee.Type {
	case granteeGroup:
		if g.Grantee.URI != groupEverybody && g.Grantee.URI != groupUsers && g.Grantee.URI != groupLogs {
			return refuse(codeInvalidArgument, "Invalid group uri")
		}
		*g = groupGrant(g.Grantee.URI, g.Permission)
		return nil
	case granteeUser:
		if g.Grantee.ID != ownerID {
			known, err := q.knownUser(g.Grantee.ID)
			if err != nil {
				return err
			}
			if !known {
				return refuse(codeInvalidArgument, "Invalid id")
			}
		}
		*g = userGrant(g.Grantee.ID, g.Permission)
		return nil
	case granteeEmail:
		return refuse(codeUnresolvableGrant, "The e-mail address you provided does not match any account on record.")
	}
	return malformedXML()
}

// knownUser reports whether a user has an id.
func (q *request) knownUser(id string) (bool, error) {
	query := &granary.ListIdentities{Kind: granary.IdentityUser}
	for id != "" {
		page, err := q.h.store.Identities(q.r.Context(), query)
		if err != nil {
			return false, err
		}
		for i := range page.Identities {
			query.After = page.Identities[i].Name
			if page.Identities[i].ID == id {
				return true, nil
			}
		}
		if !page.More {
			break
		}
	}
	return false, nil
}

// headerList reads the list that headers ask for: nil for none.
func (q *request) headerList(ofBucket bool) (*accessList, error) {
	var grants []grant
	for header, permission := range map[string]string{
		"X-Amz-Grant-Full-Control": grantAll, "X-Amz-Grant-Read": grantRead, "X-Amz-Grant-Write": grantWrite,
		"X-Amz-Grant-Read-Acp": grantReadACP, "X-Amz-Grant-Write-Acp": grantWriteACP,
	} {
		found, err := q.headerGrants(q.r.Header.Get(header), permission)
		if err != nil {
			return nil, err
		}
		grants = append(grants, found...)
	}
	canned := q.r.Header.Get("X-Amz-Acl")
	switch {
	case canned != "" && len(grants) > 0:
		return nil, refuse(codeInvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed")
	case canned != "":
		l := cannedList(canned, ofBucket)
		if l == nil {
			return nil, refuse(codeInvalidArgument, "The x-amz-acl header %q is not a canned ACL.", canned)
		}
		return l, nil
	case len(grants) == 0:
		return nil, nil
	}
	slices.SortFunc(grants, func(a, b grant) int {
		return strings.Compare(a.Permission+a.Grantee.ID+a.Grantee.URI, b.Permission+b.Grantee.ID+b.Grantee.URI)
	})
	return &accessList{Xmlns: xmlNamespace, Owner: clusterOwner(), Grants: grants}, nil
}

// headerGrants parses id="…", uri="…".
func (q *request) headerGrants(value, permission string) ([]grant, error) {
	if value == "" {
		return nil, nil
	}
	var grants []grant
	for one := range strings.SplitSeq(value, ",") {
		kind, name, ok := strings.Cut(strings.TrimSpace(one), "=")
		name = strings.Trim(name, `"`)
		g := grant{Permission: permission}
		switch {
		case !ok:
			return nil, refuse(codeInvalidArgument, "Argument format not recognized")
		case strings.EqualFold(kind, "id"):
			g.Grantee = grantee{Type: granteeUser, ID: name}
		case strings.EqualFold(kind, "uri"):
			g.Grantee = grantee{Type: granteeGroup, URI: name}
		case strings.EqualFold(kind, "emailAddress"):
			g.Grantee = grantee{Type: granteeEmail}
		default:
			return nil, refuse(codeInvalidArgument, "Argument format not recognized")
		}
		if err := q.checkGrant(&g); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}
