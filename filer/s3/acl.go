package s3

import (
	"encoding/xml"
	"slices"

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
