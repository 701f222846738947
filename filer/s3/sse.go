package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// Headers of encryption by the server. Those that begin as sseHeader are of the request's object, those of sseSource of what it copies.
const (
	sseHeader         = "X-Amz-Server-Side-Encryption"
	sseSource         = "X-Amz-Copy-Source-Server-Side-Encryption"
	customerAlgorithm = "-Customer-Algorithm"
	customerKeyHeader = "-Customer-Key"
	customerKeyMD5    = "-Customer-Key-Md5"
	sseAlgorithm      = "AES256" // the one that there is
)

// sealer is the part of a store that encrypts. Each method is that of filer.FS by the same name.
type sealer interface {
	NewSeal(ctx context.Context, customer *seal.Key) (*filer.Seal, error)
	PartSeal(ctx context.Context, r *seal.Record, customer *seal.Key, number uint16) (*filer.Seal, error)
	Rewrap(ctx context.Context, r *seal.Record, from, to *seal.Key) (*seal.Record, error)
}

// encryption is how an object is to be encrypted, or is. A nil one is none.
type encryption struct {
	customer *seal.Key // nil: by a key of the cluster
	md5      string    // of the customer's key, as it came
}

// key returns the customer's key; nil for the cluster's, or none.
func (e *encryption) key() *seal.Key {
	if e == nil {
		return nil
	}
	return e.customer
}

// byCustomer reports whether it is SSE-C.
func (e *encryption) byCustomer() bool { return e.key() != nil }

// tell says in the headers of an answer how the object is encrypted.
func (e *encryption) tell(header http.Header) {
	switch {
	case e == nil:
	case e.customer != nil:
		header.Set(sseHeader+customerAlgorithm, sseAlgorithm)
		header.Set(sseHeader+customerKeyMD5, e.md5)
	default:
		header.Set(sseHeader, sseAlgorithm)
	}
}

// asked returns a header, or the parameter of a presigned URL that stands for it.
func (q *request) asked(name string) string {
	if v := q.r.Header.Get(name); v != "" {
		return v
	}
	return q.query.Get(strings.ToLower(name))
}

// customerKey returns what a request says of a customer's key, in headers that begin with a prefix; nil if it says nothing.
func (q *request) customerKey(prefix string) (*encryption, error) {
	algorithm, text, sum := q.asked(prefix+customerAlgorithm), q.asked(prefix+customerKeyHeader), q.asked(prefix+customerKeyMD5)
	const must = "Requests specifying Server Side Encryption with Customer provided keys must "
	switch {
	case algorithm == "" && text == "" && sum == "":
		return nil, nil
	case !q.confidential():
		return nil, refuse(codeInvalidRequest, must+"be made over a secure connection.")
	case algorithm == "":
		return nil, refuse(codeInvalidArgument, must+"provide a valid encryption algorithm.")
	case algorithm != sseAlgorithm:
		return nil, refuse(codeInvalidEncryption, "The encryption request you specified is not valid. The valid value is %s.", sseAlgorithm)
	case text == "":
		return nil, refuse(codeInvalidArgument, must+"provide an appropriate secret key.")
	case sum == "":
		return nil, refuse(codeInvalidArgument, must+"provide the client calculated MD5 of the secret key.")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != seal.KeySize {
		return nil, refuse(codeInvalidArgument, "The secret key was invalid for the specified algorithm.")
	}
	if is := md5.Sum(raw); !sameSignature(base64.StdEncoding.EncodeToString(is[:]), sum) {
		return nil, refuse(codeInvalidArgument, "The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	key := seal.Key(raw)
	return &encryption{&key, sum}, nil
}

// confidential reports whether what a request holds was seen by nobody on its way.
func (q *request) confidential() bool {
	if q.r.TLS != nil || q.h.plainKeys {
		return true
	}
	host, _, err := net.SplitHostPort(q.r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// reencrypts reports whether a copy is encrypted otherwise than its source, even if both are one object: as the request says, or as its bucket does with
// what was a customer's.
func (q *request) reencrypts() bool {
	return q.asked(sseHeader) != "" || q.asked(sseHeader+customerAlgorithm) != "" || q.asked(sseSource+customerAlgorithm) != ""
}

// encryptionFor returns how a new object is to be encrypted: as the request says, or else its bucket.
func (q *request) encryptionFor(b *filer.Info) (*encryption, error) {
	method := q.asked(sseHeader)
	for _, name := range []string{"-Aws-Kms-Key-Id", "-Context", "-Bucket-Key-Enabled"} {
		if v := q.asked(sseHeader + name); v != "" && !strings.EqualFold(v, "false") && !strings.HasPrefix(method, "aws:kms") {
			return nil, refuse(codeInvalidArgument, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
	}
	customer, err := q.customerKey(sseHeader)
	switch {
	case err != nil:
		return nil, err
	case method == "" && customer != nil:
		return customer, nil
	case method != "" && customer != nil:
		return nil, refuse(codeInvalidArgument, "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
	case method == sseAlgorithm:
		return &encryption{}, nil
	case strings.HasPrefix(method, "aws:kms"):
		return nil, noKMS()
	case method != "":
		return nil, refuse(codeInvalidArgument, "The encryption method specified is not supported")
	}
	return defaultOf(b), nil
}

// defaultOf returns how a bucket has encrypted what does not say so itself. There is but one way that checkEncryption lets in.
func defaultOf(b *filer.Info) *encryption {
	if _, ok := b.Xattr(xattrEncryption); ok {
		return &encryption{}
	}
	return nil
}

// sealByDefault has something encrypted that the gateway itself puts into a bucket.
func sealByDefault(ctx context.Context, s sealer, b *filer.Info) (*filer.Seal, error) {
	if defaultOf(b) == nil {
		return nil, nil
	}
	return s.NewSeal(ctx, nil)
}

func noKMS() *apiError {
	return refuse(codeNotImplemented, "Server side encryption specified but KMS is not configured")
}

// noMethod refuses to name the method of encryption where it cannot be chosen.
func (q *request) noMethod() error {
	if q.asked(sseHeader) != "" {
		return refuse(codeInvalidArgument, "x-amz-server-side-encryption header is not supported for this operation.")
	}
	return nil
}

// newSeal makes up the data key of what a request makes, if that is to be encrypted, and says so in the answer; nil if it is not.
func (q *request) newSeal() (*filer.Seal, *encryption, error) {
	b, err := q.openBucket()
	if err != nil {
		return nil, nil, err
	}
	e, err := q.encryptionFor(b)
	if e == nil || err != nil {
		return nil, nil, err
	}
	sealed, err := q.h.store.NewSeal(q.r.Context(), e.key())
	if err != nil {
		return nil, nil, err
	}
	e.tell(q.w.Header())
	return sealed, e, nil
}

// sealObject has the object that a request uploads encrypted as is asked for. What is encrypted by a customer's key has an ETag that is not the MD5.
func (q *request) sealObject() (*filer.Seal, error) {
	sealed, e, err := q.newSeal()
	if e.byCustomer() {
		q.body.hideMD5()
	}
	return sealed, err
}

// opened returns how an object is encrypted, if the request has the key that it takes to read it: in headers that begin with a prefix.
func (q *request) opened(info *filer.Info, prefix string) (*encryption, error) {
	r, err := seal.RecordOf(info.Xattrs)
	if err != nil {
		return nil, err
	}
	e, err := q.customerKey(prefix)
	switch {
	case err != nil:
		return nil, err
	case r == nil && e == nil, info.Attr.IsDir():
		return nil, nil
	case r != nil && r.Mode == seal.ByCustomer && e == nil:
		return nil, refuse(codeInvalidRequest, "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	case r == nil || r.Mode != seal.ByCustomer && e != nil:
		return nil, refuse(codeInvalidRequest, "The encryption parameters are not applicable to this object.")
	case r.Mode != seal.ByCustomer:
		return &encryption{}, nil
	}
	if _, err := r.CustomerKey(*e.customer); err != nil {
		if granary.IsKind(err, granary.KindPermission) {
			return nil, accessDenied()
		}
		return nil, err
	}
	return e, nil
}

// show says in the answer how an object is encrypted that a request reads, if it has the key that it takes.
func (q *request) show(info *filer.Info) error {
	if err := q.noMethod(); err != nil {
		return err
	}
	e, err := q.opened(info, sseHeader)
	e.tell(q.w.Header())
	return err
}

// unlock has a file decrypted with the key that came in headers that begin with a prefix.
func (q *request) unlock(file object, prefix string) error {
	e, err := q.opened(file.Stat(), prefix)
	if err != nil {
		return err
	}
	return file.Unlock(e.key())
}

// openSource opens the version of the copy source that was found, to be read.
func (q *request) openSource(info *filer.Info, source copySource) (object, error) {
	file, err := q.h.store.OpenKey(q.r.Context(), source.root, source.key, source.version)
	if err != nil {
		return nil, readError(err)
	}
	if file.Stat().Attr.Inode != info.Attr.Inode || file.Stat().Attr.ContentVersion != info.Attr.ContentVersion {
		err = refuse(codeOperationAborted, "The copy source was replaced while it was copied. Please try again.")
	} else {
		err = q.unlock(file, sseSource)
	}
	if err != nil {
		_ = file.Close() // of a file that is read it does nothing that could fail
		return nil, err
	}
	return file, nil
}

// encryptionConfiguration says how what comes into a bucket is encrypted, if it does not say so itself.
type encryptionConfiguration struct {
	XMLName xml.Name         `xml:"ServerSideEncryptionConfiguration"`
	Xmlns   string           `xml:"xmlns,attr,omitempty"`
	Rules   []encryptionRule `xml:"Rule"`
}

type encryptionRule struct {
	Default *struct {
		Algorithm string `xml:"SSEAlgorithm"`
		KeyID     string `xml:"KMSMasterKeyID,omitempty"`
	} `xml:"ApplyServerSideEncryptionByDefault"`
	BucketKey bool      `xml:"BucketKeyEnabled"`
	Blocked   *struct { // which encryptions are refused
		Types []string `xml:"EncryptionType"`
	} `xml:"BlockedEncryptionTypes"`
}

// checkEncryption lets in one rule, by which the keys are the cluster's: encryptionFor knows no others.
func checkEncryption(c *encryptionConfiguration) error {
	if len(c.Rules) != 1 || c.Rules[0].Default == nil {
		return malformedXML()
	}
	rule := &c.Rules[0]
	switch {
	case strings.HasPrefix(rule.Default.Algorithm, "aws:kms"):
		return noKMS()
	case rule.Default.Algorithm != sseAlgorithm:
		return malformedXML()
	case rule.Default.KeyID != "":
		return refuse(codeInvalidArgument, "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
	}
	if rule.Blocked != nil {
		for _, kind := range rule.Blocked.Types {
			if kind != "NONE" {
				return refuse(codeNotImplemented, "A header or query you provided implies functionality that is not implemented: BlockedEncryptionTypes %s.", kind)
			}
		}
	}
	c.XMLName, c.Xmlns = xml.Name{Local: "ServerSideEncryptionConfiguration"}, xmlNamespace
	return nil
}
