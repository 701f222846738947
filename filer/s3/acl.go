package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/iam"
)

// xattrACL keeps the access control list of a bucket or object that has another than its owner's alone.
const xattrACL = xattrPrefix + "acl"

// grantsMax bounds the grants of a list, as in AWS.
const grantsMax = 100

// Groups that lists can name.
const (
	groupEverybody = "http://acs.amazonaws.com/groups/global/AllUsers"
	groupUsers     = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	groupLogs      = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

// Permissions that lists grant.
const (
	grantAll      = "FULL_CONTROL"
	grantRead     = "READ"
	grantWrite    = "WRITE"
	grantReadACP  = "READ_ACP"
	grantWriteACP = "WRITE_ACP"
)

// Kinds of grantees.
const (
	granteeUser  = "CanonicalUser"
	granteeGroup = "Group"
	granteeEmail = "AmazonCustomerByEmail"
)

const xsiNamespace = "http://www.w3.org/2001/XMLSchema-instance"

// accessList is an access control list, as it is kept and told.
type accessList struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Owner   owner
	Grants  []grant `xml:"AccessControlList>Grant"`
}

type grant struct {
	Grantee    grantee
	Permission string
}

type grantee struct {
	XSI         string `xml:"xmlns:xsi,attr,omitempty"`
	Type        string `xml:"xsi:type,attr"`
	ID          string `xml:",omitempty"`
	DisplayName string `xml:",omitempty"`
	URI         string `xml:",omitempty"`
}

// UnmarshalXML implements xml.Unmarshaler: encoding/xml does not find the attribute by the prefix that it is written with.
func (g *grantee) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	var inner struct{ ID, DisplayName, URI, EmailAddress string }
	if err := d.DecodeElement(&inner, &start); err != nil {
		return err
	}
	g.ID, g.DisplayName, g.URI = inner.ID, inner.DisplayName, inner.URI
	for _, a := range start.Attr {
		if a.Name.Local == "type" && (a.Name.Space == xsiNamespace || a.Name.Space == "xsi") {
			g.Type = a.Value
		}
	}
	if inner.EmailAddress != "" {
		g.Type = granteeEmail
	}
	return nil
}

func userGrant(id, permission string) grant {
	g := grant{Grantee: grantee{XSI: xsiNamespace, Type: granteeUser, ID: id}, Permission: permission}
	if id == ownerID {
		g.Grantee.DisplayName = clusterOwner().DisplayName
	}
	return g
}

func groupGrant(uri, permission string) grant {
	return grant{grantee{XSI: xsiNamespace, Type: granteeGroup, URI: uri}, permission}
}

// ownersList is the list of what nobody else was given: the owner may do everything.
func ownersList() *accessList {
	return &accessList{Xmlns: xmlNamespace, Owner: clusterOwner(), Grants: []grant{userGrant(ownerID, grantAll)}}
}

// cannedList is a list by its name; nil if there is none.
func cannedList(name string, ofBucket bool) *accessList {
	l := ownersList()
	add := func(grants ...grant) { l.Grants = append(l.Grants, grants...) }
	switch name {
	case "private", "bucket-owner-read", "bucket-owner-full-control": // all have one owner
	case "public-read":
		add(groupGrant(groupEverybody, grantRead))
	case "public-read-write":
		add(groupGrant(groupEverybody, grantRead), groupGrant(groupEverybody, grantWrite))
	case "authenticated-read":
		add(groupGrant(groupUsers, grantRead))
	case "log-delivery-write":
		if !ofBucket {
			return nil
		}
		add(groupGrant(groupLogs, grantWrite), groupGrant(groupLogs, grantReadACP))
	default:
		return nil
	}
	return l
}

// public reports whether a list grants something to everybody, or to all users, which S3 takes for the same.
func (l *accessList) public() bool {
	return slices.ContainsFunc(l.Grants, func(g grant) bool { return g.Grantee.URI == groupEverybody || g.Grantee.URI == groupUsers })
}

// plain reports whether a list says no more than ownersList.
func (l *accessList) plain() bool {
	return len(l.Grants) == 1 && l.Grants[0].Grantee.ID == ownerID && l.Grants[0].Permission == grantAll
}

// allows reports whether a list grants a permission to a caller. With closed, what is granted to everybody does not count.
func (l *accessList) allows(who *iam.Principal, permission string, closed bool) bool {
	return slices.ContainsFunc(l.Grants, func(g grant) bool {
		if g.Permission != permission && g.Permission != grantAll {
			return false
		}
		switch g.Grantee.URI {
		case groupEverybody:
			return !closed
		case groupUsers:
			return !closed && !who.Anonymous
		case "":
			return who.Canonical != "" && who.Canonical == g.Grantee.ID
		}
		return false
	})
}

// aclsCount reports whether lists mean anything in a bucket: by default everything is the bucket owner's, and they do not.
func aclsCount(b *filer.Info) (bool, error) {
	stored, ok := b.Xattr(xattrOwnership)
	if !ok {
		return false, nil
	}
	var c ownershipConfiguration
	if err := xml.Unmarshal(stored, &c); err != nil || len(c.Rules) != 1 {
		return false, granary.Errorf(granary.KindCorrupt, "s3.ownership", b.Name, "%q", stored)
	}
	return c.Rules[0].ObjectOwnership != ownerEnforced, nil
}

// ownerEnforced is the ownership under which there are no lists.
const ownerEnforced = "BucketOwnerEnforced"

// listOf returns the list of a bucket or object.
func listOf(info *filer.Info) (*accessList, error) {
	stored, ok := info.Xattr(xattrACL)
	if !ok {
		return ownersList(), nil
	}
	var l accessList
	if err := xml.Unmarshal(stored, &l); err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "s3.acl", info.Name, "%w", err)
	}
	l.Xmlns = xmlNamespace
	for i := range l.Grants {
		l.Grants[i].Grantee.XSI = xsiNamespace
	}
	return &l, nil
}

func (q *request) getBucketACL() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	return q.writeList(b)
}

func (q *request) getObjectACL() error {
	info, err := q.existing()
	if err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	return q.writeList(info)
}

func (q *request) writeList(info *filer.Info) error {
	l, err := listOf(info)
	if err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, l)
}

func (q *request) putBucketACL() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	l, err := q.listToPut(b)
	if err != nil {
		return err
	}
	value, err := q.keptList(b, l)
	if err != nil {
		return err
	}
	if err := q.setConfiguration(b, xattrACL, value); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) putObjectACL() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	l, err := q.listToPut(b)
	if err != nil {
		return err
	}
	value, err := q.keptList(b, l)
	if err != nil {
		return err
	}
	info, err := q.existing()
	if err != nil {
		return err
	}
	if err := q.setAttribute(info.Attr.Inode, xattrACL, value, false); err != nil {
		return err
	}
	q.setVersionID(&info.Attr)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

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

// keptList is how a list is kept, where lists count and the bucket's block lets it.
func (q *request) keptList(b *filer.Info, l *accessList) ([]byte, error) {
	count, err := aclsCount(b)
	if err != nil {
		return nil, err
	}
	if !count && !l.plain() {
		return nil, refuse(codeACLNotSupported, "The bucket does not allow ACLs")
	}
	block, err := publicAccessBlockOf(b)
	if err != nil {
		return nil, err
	}
	if block.BlockPublicAcls && l.public() {
		return nil, accessDenied()
	}
	kept := *l
	kept.XMLName, kept.Xmlns = xml.Name{Local: "AccessControlPolicy"}, ""
	value, err := xml.Marshal(&kept)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "s3.acl", b.Name, "%w", err)
	}
	return value, nil
}

// listFor returns the list that headers give a new object, as an attribute.
func (q *request) listFor(b *filer.Info) ([]granary.Xattr, error) {
	l, err := q.headerList(false)
	if err != nil || l == nil {
		return nil, err
	}
	value, err := q.keptList(b, l)
	if err != nil || l.plain() {
		return nil, err
	}
	return []granary.Xattr{{Name: xattrACL, Value: value}}, nil
}

// bucketGrant and objectGrant are the permissions of lists that an action takes; "" for one that no list gives.
func bucketGrant(action string) string {
	switch action {
	case "s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads":
		return grantRead
	case "s3:PutObject", "s3:DeleteObject":
		return grantWrite
	case "s3:GetBucketAcl":
		return grantReadACP
	case "s3:PutBucketAcl":
		return grantWriteACP
	}
	return ""
}

func objectGrant(action string) string {
	switch action {
	case "s3:GetObject", "s3:GetObjectVersion":
		return grantRead
	case "s3:GetObjectAcl", "s3:GetObjectVersionAcl":
		return grantReadACP
	case "s3:PutObjectAcl", "s3:PutObjectVersionAcl":
		return grantWriteACP
	}
	return ""
}

// granted reports whether a list grants an action to the caller.
func (q *request) granted(action string, t target, block *publicAccessBlock) (bool, error) {
	ofBucket, ofObject := bucketGrant(action), objectGrant(action)
	if ofBucket == "" && ofObject == "" {
		return false, nil
	}
	if count, err := aclsCount(t.info); !count || err != nil {
		return false, err
	}
	info, permission := t.info, ofBucket
	if ofObject != "" {
		var err error
		info, err = q.h.store.Stat(q.r.Context(), t.info.Attr.Inode, t.key, filer.StatOptions{Xattrs: true, Key: true, Object: t.version})
		if err != nil {
			if e := explain(readError(err), codeNoSuchKey); e.code == codeNoSuchKey {
				return false, nil
			}
			return false, err
		}
		permission = ofObject
	}
	l, err := listOf(info)
	if err != nil {
		return false, err
	}
	return l.allows(&q.identity.caller.principal, permission, block.IgnorePublicAcls), nil
}
