package s3

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/iam"
)

// Attributes of a bucket's root.
const (
	xattrPolicy      = xattrPrefix + "policy"              // the policy, as it came
	xattrPublicBlock = xattrPrefix + "public-access-block" // document of XML
)

// bucketPolicy returns a bucket's policy; nil if it has none.
func (h *Handler) bucketPolicy(b *filer.Info) (*iam.Policy, error) {
	stored, ok := b.Xattr(xattrPolicy)
	if !ok {
		return nil, nil
	}
	return h.policies.parse(iam.OfResource, string(stored))
}

func noSuchPolicy() error { return refuse(codeNoPolicy, "The bucket policy does not exist.") }

func (q *request) getBucketPolicy() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	stored, ok := b.Xattr(xattrPolicy)
	if !ok {
		return noSuchPolicy()
	}
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(http.StatusOK)
	_, err = q.w.Write(stored)
	return err
}

func (q *request) putBucketPolicy() error {
	document, err := readDocument(q.body, documentSizeMax)
	if err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	p, err := iam.Parse(document, iam.OfResource)
	if err == nil {
		err = checkResources(p, q.bucket)
	}
	var malformed *iam.Error
	if errors.As(err, &malformed) {
		return refuse(codeMalformedPolicy, "%s", strings.TrimSuffix(malformed.Message, "."))
	}
	if err != nil {
		return err
	}
	if err := q.checkPrincipals(p); err != nil {
		return err
	}
	block, err := publicAccessBlockOf(b)
	if err != nil {
		return err
	}
	if block.BlockPublicPolicy && p.Public() {
		return accessDenied()
	}
	if err := q.setConfiguration(b, xattrPolicy, document); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkResources refuses a policy that speaks of other buckets, or of what is not S3's.
func checkResources(p *iam.Policy, bucket string) error {
	for i := range p.Statements {
		s := &p.Statements[i]
		for _, a := range s.Actions {
			if a != "*" && !strings.HasPrefix(a, "s3:") {
				return &iam.Error{Message: "Policy has invalid action"}
			}
		}
		for _, r := range s.Resources {
			name := strings.TrimPrefix(r, resourceARN(bucket, ""))
			if name == r || name != "" && name[0] != '/' && name[0] != '*' {
				return &iam.Error{Message: "Policy has invalid resource"}
			}
		}
	}
	return nil
}

// checkPrincipals refuses users and roles of the account that there are not, as AWS does: a policy that names somebody who is made later
// would be for somebody else than was meant.
func (q *request) checkPrincipals(p *iam.Policy) error {
	for i := range p.Statements {
		for _, name := range p.Statements[i].Principals.AWS {
			rest, ok := strings.CutPrefix(name, "arn:aws:iam::"+accountID+":")
			kind, path, named := strings.Cut(rest, "/")
			if !ok || !named {
				continue // the account itself, or another
			}
			of := map[string]granary.IdentityKind{"user": granary.IdentityUser, "role": granary.IdentityRole}[kind]
			_, err := q.h.store.Identity(q.r.Context(), of, path[strings.LastIndexByte(path, '/')+1:])
			if granary.IsKind(err, granary.KindNotFound) {
				return refuse(codeMalformedPolicy, "Invalid principal in policy")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *request) deleteBucketPolicy() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if err := q.dropAttribute(b.Attr.Inode, xattrPolicy, false); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

type policyStatus struct {
	XMLName  xml.Name `xml:"PolicyStatus"`
	Xmlns    string   `xml:"xmlns,attr"`
	IsPublic string
}

func (q *request) getBucketPolicyStatus() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	p, err := q.h.bucketPolicy(b)
	if err != nil {
		return err
	}
	if p == nil {
		return noSuchPolicy()
	}
	block, err := publicAccessBlockOf(b)
	if err != nil {
		return err
	}
	status := &policyStatus{Xmlns: xmlNamespace, IsPublic: "false"}
	if p.Public() && !block.RestrictPublicBuckets {
		status.IsPublic = "true"
	}
	return writeXML(q.w, http.StatusOK, status)
}

// publicAccessBlock says what of what is public does not count. A bucket without one blocks nothing.
type publicAccessBlock struct {
	XMLName               xml.Name `xml:"PublicAccessBlockConfiguration"`
	Xmlns                 string   `xml:"xmlns,attr,omitempty"`
	BlockPublicAcls       bool     // ACLs that grant something to everybody are refused
	IgnorePublicAcls      bool     // … and those that there are count for nothing
	BlockPublicPolicy     bool     // policies that are public are refused
	RestrictPublicBuckets bool     // … and those that there are allow nothing to those without a name
}

func checkPublicAccessBlock(c *publicAccessBlock) error {
	c.XMLName, c.Xmlns = xml.Name{Local: "PublicAccessBlockConfiguration"}, xmlNamespace
	return nil
}

func publicAccessBlockOf(b *filer.Info) (publicAccessBlock, error) {
	var c publicAccessBlock
	stored, ok := b.Xattr(xattrPublicBlock)
	if !ok {
		return c, nil
	}
	if err := xml.Unmarshal(stored, &c); err != nil {
		return c, granary.Errorf(granary.KindCorrupt, "s3.block", b.Name, "%w", err)
	}
	return c, nil
}
