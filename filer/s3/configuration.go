package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Attributes of a bucket's root that keep its configurations, as documents of XML.
const (
	xattrCORS       = xattrPrefix + "cors"
	xattrEncryption = xattrPrefix + "encryption"
	xattrOwnership  = xattrPrefix + "ownership"
	xattrAccelerate = xattrPrefix + "accelerate"
	xattrPayment    = xattrPrefix + "request-payment"
)

// openBucket finds the request's bucket, with its configurations, once for the request.
func (q *request) openBucket() (*filer.Info, error) {
	if q.info != nil {
		return q.info, nil
	}
	info, err := q.h.bucketInfo(q.r.Context(), q.bucket)
	if err == nil {
		q.info = info
	}
	return info, err
}

// setConfiguration keeps a configuration of a bucket.
func (q *request) setConfiguration(b *filer.Info, name string, value []byte) error {
	if len(value) > granary.XattrValueMax {
		return refuse(codeInvalidRequest, "The configuration is too long: it has %d bytes, and may have %d.", len(value), granary.XattrValueMax)
	}
	err := q.h.store.SetXattr(q.r.Context(), granary.Cred{}, &granary.SetXattr{Inode: b.Attr.Inode, Xattr: granary.Xattr{Name: name, Value: value}})
	if err != nil {
		return explain(err, codeNoSuchBucket)
	}
	return nil
}

// setAttribute sets an attribute of an object.
func (q *request) setAttribute(id granary.InodeID, name string, value []byte, bypass bool) error {
	return q.h.store.SetXattr(q.r.Context(), granary.Cred{}, &granary.SetXattr{Inode: id, Xattr: granary.Xattr{Name: name, Value: value}, Bypass: bypass})
}

// dropAttribute removes an attribute, if it is there.
func (q *request) dropAttribute(id granary.InodeID, name string, bypass bool) error {
	err := q.h.store.DropXattr(q.r.Context(), &granary.RemoveXattr{Inode: id, Name: name, Bypass: bypass})
	if granary.IsKind(err, granary.KindNoData) {
		return nil
	}
	return err
}

// configured is a kind of configuration that is kept as the document that it came as.
type configured struct {
	attribute string
	missing   code
	message   string
	// check decodes a document, refuses it if it is wrong, and returns it as it is kept.
	check func(document []byte) ([]byte, error)
	// absent is what is answered if there is none, where that is no error.
	absent string
}

// configurations are the kinds by their subresource.
func configurations() map[string]configured {
	return map[string]configured{
		"cors": {attribute: xattrCORS, missing: codeNoCORS, message: "The CORS configuration does not exist", check: normalized(checkCORS)},
		"encryption": {attribute: xattrEncryption, missing: codeNoEncryption, message: "The server side encryption configuration was not found",
			check: normalized(checkEncryption)},
		"ownershipControls": {attribute: xattrOwnership, missing: codeNoOwnership, message: "The bucket ownership controls were not found.",
			check: normalized(checkOwnership)},
		"publicAccessBlock": {attribute: xattrPublicBlock, missing: codeNoPublicBlock, message: "The public access block configuration was not found",
			check: normalized(checkPublicAccessBlock)},
		"lifecycle": {attribute: xattrLifecycle, missing: codeNoLifecycle, message: "The lifecycle configuration does not exist", check: normalized(checkLifecycle)},
		"website":   {attribute: xattrWebsite, missing: codeNoWebsite, message: "The specified bucket does not have a website configuration", check: normalized(checkWebsite)},
		"tagging":   {attribute: xattrTagging, missing: codeNoTagSet, message: "The TagSet does not exist."},
		"logging":   {attribute: xattrLogging, absent: "<BucketLoggingStatus xmlns=\"" + xmlNamespace + "\"></BucketLoggingStatus>"},
		"accelerate": {attribute: xattrAccelerate, check: normalized(checkAccelerate),
			absent: "<AccelerateConfiguration xmlns=\"" + xmlNamespace + "\"></AccelerateConfiguration>"},
		"requestPayment": {attribute: xattrPayment, check: normalized(checkPayment),
			absent: "<RequestPaymentConfiguration xmlns=\"" + xmlNamespace + "\"><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"},
	}
}

// normalized has a document decoded, checked and encoded again.
func normalized[T any](check func(*T) error) func([]byte) ([]byte, error) {
	return func(document []byte) ([]byte, error) {
		c := new(T)
		if err := decodeXML(document, c); err != nil {
			return nil, err
		}
		if err := check(c); err != nil {
			return nil, err
		}
		b, err := xml.Marshal(c)
		if err != nil {
			return nil, granary.Errorf(granary.KindInternal, "s3.configuration", "", "%w", err)
		}
		return b, nil
	}
}

func (q *request) putConfiguration() error {
	c := configurations()[q.subresource()]
	sizeMax := int64(documentSizeMax)
	if c.attribute == xattrWebsite {
		sizeMax = websiteSizeMax
	}
	document, err := readDocument(q.body, sizeMax)
	if err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	value, err := c.check(document)
	if err != nil {
		return err
	}
	if c.attribute == xattrLifecycle {
		if err := q.tellTransitionSize(); err != nil {
			return err
		}
	}
	if c.attribute == xattrOwnership && strings.Contains(string(value), ownerEnforced) {
		l, err := listOf(b)
		if err != nil {
			return err
		}
		if !l.plain() {
			return refuse(codeACLWithOwnership, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
	}
	if err := q.setConfiguration(b, c.attribute, value); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) getConfiguration() error {
	c := configurations()[q.subresource()]
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	value, ok := b.Xattr(c.attribute)
	switch {
	case !ok && c.absent != "":
		value = []byte(c.absent)
	case !ok:
		return refuse(c.missing, "%s", c.message)
	}
	if c.attribute == xattrLifecycle {
		if err := q.tellTransitionSize(); err != nil {
			return err
		}
	}
	return writeDocument(q.w, http.StatusOK, value)
}

func (q *request) deleteConfiguration() error {
	c := configurations()[q.subresource()]
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if err := q.dropAttribute(b.Attr.Inode, c.attribute, false); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

type ownershipConfiguration struct {
	XMLName xml.Name        `xml:"OwnershipControls"`
	Xmlns   string          `xml:"xmlns,attr,omitempty"`
	Rules   []ownershipRule `xml:"Rule"`
}

type ownershipRule struct{ ObjectOwnership string }

func checkOwnership(c *ownershipConfiguration) error {
	if len(c.Rules) != 1 {
		return malformedXML()
	}
	switch c.Rules[0].ObjectOwnership {
	case "BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter":
	default:
		return malformedXML()
	}
	c.XMLName, c.Xmlns = xml.Name{Local: "OwnershipControls"}, xmlNamespace
	return nil
}

// accelerateConfiguration says whether there are faster ways to a bucket: there are none.
type accelerateConfiguration struct {
	XMLName xml.Name `xml:"AccelerateConfiguration"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Status  string
}

func checkAccelerate(c *accelerateConfiguration) error {
	c.XMLName, c.Xmlns = xml.Name{Local: "AccelerateConfiguration"}, xmlNamespace
	return checkChoice(c.Status, "Suspended", "Enabled", "transfer acceleration")
}

// checkChoice lets in the one value of a setting that means that nothing is done, and refuses the other, which would have something done.
func checkChoice(value, without, with, what string) error {
	switch value {
	case without:
		return nil
	case with:
		return refuse(codeNotImplemented, "A header or query you provided implies functionality that is not implemented: %s.", what)
	}
	return malformedXML()
}

// paymentConfiguration says who pays for requests: the owner of the bucket.
type paymentConfiguration struct {
	XMLName xml.Name `xml:"RequestPaymentConfiguration"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Payer   string
}

func checkPayment(c *paymentConfiguration) error {
	c.XMLName, c.Xmlns = xml.Name{Local: "RequestPaymentConfiguration"}, xmlNamespace
	return checkChoice(c.Payer, "BucketOwner", "Requester", "requester pays")
}
