package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// bucketRoot finds the root directory of the request's bucket.
func (q *request) bucketRoot() (granary.InodeID, error) {
	b, err := q.openBucket()
	if err != nil {
		return 0, err
	}
	return b.Attr.Inode, nil
}

// bucketInfo finds a bucket, with its configurations.
func (h *Handler) bucketInfo(ctx context.Context, name string) (*filer.Info, error) {
	missing := refuse(codeNoSuchBucket, "The specified bucket does not exist")
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > granary.NameLengthMax {
		return nil, missing
	}
	info, err := h.store.Stat(ctx, granary.BucketsInode, name, filer.StatOptions{Xattrs: true})
	switch {
	case err != nil:
		return nil, explain(err, codeNoSuchBucket)
	case !info.Attr.IsDir():
		return nil, missing
	}
	return info, nil
}

func (q *request) listBuckets() error {
	entries, err := q.h.store.Buckets(q.r.Context())
	if err != nil {
		return err
	}
	document := &listAllMyBuckets{Xmlns: xmlNamespace, Owner: clusterOwner(), Prefix: q.query.Get("prefix")}
	bucketsMax, after := bucketsListMax, ""
	if text := q.query.Get("max-buckets"); text != "" {
		if bucketsMax, err = strconv.Atoi(text); err != nil || bucketsMax < 1 || bucketsMax > bucketsListMax {
			return refuseArgument("max-buckets", text, "Argument max-buckets must be an integer between 1 and %d.", bucketsListMax)
		}
	}
	if token := q.query.Get("continuation-token"); token != "" {
		if after, err = parseToken(token); err != nil {
			return err
		}
	}
	slices.SortFunc(entries, func(a, b granary.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, document.Prefix) || e.Name <= after {
			continue
		}
		if len(document.Buckets) == bucketsMax {
			document.ContinuationToken = makeToken(document.Buckets[bucketsMax-1].Name)
			break
		}
		document.Buckets = append(document.Buckets, bucketItem{Name: e.Name, CreationDate: isoTime(e.Attr.Btime), BucketRegion: q.h.region})
	}
	return writeXML(q.w, http.StatusOK, document)
}

// bucketsListMax is how many buckets one answer lists at most, as in AWS.
const bucketsListMax = 10000

func (q *request) headBucket() error {
	if _, err := q.bucketRoot(); err != nil {
		return err
	}
	q.w.Header().Set("X-Amz-Bucket-Region", q.h.region)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) createBucket() error {
	if err := checkBucketName(q.bucket); err != nil {
		return err
	}
	settings, err := q.newBucketSettings()
	if err != nil {
		return err
	}
	// A location constraint is accepted whatever it says: there is one place only.
	if q.body.size != 0 {
		var configuration struct {
			XMLName            xml.Name `xml:"CreateBucketConfiguration"`
			LocationConstraint string
			Tags               []tag `xml:"Tags>Tag"`
		}
		if err := readXML(q.body, documentSizeMax, &configuration); err != nil {
			return err
		}
		if err := checkTags(configuration.Tags, tagsBucketMax); err != nil {
			return err
		}
		if len(configuration.Tags) > 0 {
			settings = append(settings, granary.Xattr{Name: xattrTagging, Value: storedTags(configuration.Tags)})
		}
	} else if err := q.body.drain(0); err != nil {
		return err
	}
	err = q.h.store.CreateBucket(q.r.Context(), q.actor(), q.bucket)
	if granary.IsKind(err, granary.KindExists) {
		return refuse(codeBucketOwned, "Your previous request to create the named bucket succeeded and you already own it.")
	}
	if err != nil {
		return err
	}
	if strings.EqualFold(q.r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled"), "true") {
		if err := q.enableLocks(); err != nil {
			return err
		}
	}
	if len(settings) > 0 {
		b, err := q.openBucket()
		if err != nil {
			return err
		}
		for _, x := range settings {
			if err := q.setConfiguration(b, x.Name, x.Value); err != nil {
				return err
			}
		}
	}
	q.w.Header().Set("Location", "/"+q.bucket)
	q.w.Header().Set("X-Amz-Bucket-Arn", resourceARN(q.bucket, ""))
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// newBucketSettings returns what headers ask for a new bucket, as attributes: who owns what is put there, and a list.
func (q *request) newBucketSettings() ([]granary.Xattr, error) {
	l, err := q.headerList(true)
	if err != nil {
		return nil, err
	}
	ownership := q.r.Header.Get("X-Amz-Object-Ownership")
	var settings []granary.Xattr
	b := &filer.Info{Name: q.bucket}
	if enforced := ownership == "" && (l == nil || l.plain()); enforced {
		ownership = ownerEnforced // as AWS's buckets are
	}
	if ownership != "" {
		c := &ownershipConfiguration{Rules: []ownershipRule{{ownership}}}
		if err := checkOwnership(c); err != nil {
			return nil, refuse(codeInvalidArgument, "Invalid x-amz-object-ownership header: %s", ownership)
		}
		value, err := xml.Marshal(c)
		if err != nil {
			return nil, granary.Errorf(granary.KindInternal, "s3.ownership", q.bucket, "%w", err)
		}
		settings = append(settings, granary.Xattr{Name: xattrOwnership, Value: value})
		b.Xattrs = settings
	}
	if l == nil || l.plain() {
		return settings, nil
	}
	if ownership == "" || ownership == ownerEnforced {
		return nil, refuse(codeACLWithOwnership, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	}
	value, err := q.keptList(b, l)
	if err != nil {
		return nil, err
	}
	return append(settings, granary.Xattr{Name: xattrACL, Value: value}), nil
}

// enableLocks enables versioning and locks in a bucket that has just been made.
func (q *request) enableLocks() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if err := q.setConfiguration(b, granary.XattrVersioning, []byte(granary.VersioningEnabled)); err != nil {
		return err
	}
	return q.storeLockConfiguration(b, &objectLockConfiguration{})
}

func (q *request) deleteBucket() error {
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	err = q.h.store.DeleteBucket(q.r.Context(), q.bucket)
	if granary.IsKind(err, granary.KindNotEmpty) {
		if err = q.abortUploads(root); err == nil {
			err = q.h.store.DeleteBucket(q.r.Context(), q.bucket)
		}
	}
	if granary.IsKind(err, granary.KindNotEmpty) {
		return &apiError{code: codeBucketNotEmpty, message: q.notEmpty(), err: err}
	}
	if err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// notEmpty says why a bucket cannot be deleted.
func (q *request) notEmpty() string {
	if _, ok := q.info.Xattr(granary.XattrVersioning); ok {
		return "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
	}
	return "The bucket you tried to delete is not empty."
}

// abortUploads aborts the uploads in progress of a bucket without objects: in AWS they do not keep a
// bucket from being deleted. If the bucket has objects it stays, and so do they.
func (q *request) abortUploads(root granary.InodeID) error {
	ctx := q.r.Context()
	listing, err := q.h.store.List(ctx, &granary.List{Root: root, Limit: 1})
	if err != nil || len(listing.Items) > 0 || listing.Truncated {
		return err
	}
	found, err := q.h.uploads(ctx, root, "")
	if err != nil {
		return err
	}
	for _, m := range found {
		if err := q.h.removeUpload(ctx, root, m); err != nil && !granary.IsKind(err, granary.KindNotFound) {
			return err
		}
	}
	return nil
}

func (q *request) getBucketLocation() error {
	if _, err := q.bucketRoot(); err != nil {
		return err
	}
	document := &locationConstraint{Xmlns: xmlNamespace, Region: q.h.region}
	if document.Region == "us-east-1" { // which has no name, for reasons of age
		document.Region = ""
	}
	return writeXML(q.w, http.StatusOK, document)
}

// getBucketConfiguration answers for what cannot be configured here, as AWS does for what is not.
func (q *request) getBucketConfiguration() error {
	if _, err := q.bucketRoot(); err != nil {
		return err
	}
	switch q.subresource() {
	case "replication":
		return refuse(codeNoReplication, "The replication configuration was not found")
	case "inventory", "analytics", "metrics", "intelligent-tiering":
		return refuse(codeNoConfiguration, "The specified configuration does not exist.")
	default:
		return q.notImplemented()
	}
}

// deleteBucketConfiguration takes away what is not there, which succeeds in AWS too.
func (q *request) deleteBucketConfiguration() error {
	if _, err := q.bucketRoot(); err != nil {
		return err
	}
	switch q.subresource() {
	case "replication":
		q.w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return q.notImplemented()
	}
}

// checkBucketName refuses names that AWS would:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func checkBucketName(name string) error {
	invalid := func(why string) error {
		e := refuse(codeInvalidBucketName, "The specified bucket is not valid.")
		e.err = errors.New(why)
		return e
	}
	if len(name) < 3 || len(name) > 63 {
		return invalid("its name must have 3 to 63 characters")
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alphanumeric && c != '-' && c != '.' {
			return invalid("its name may hold lower-case letters, digits, hyphens and dots")
		}
		if !alphanumeric && (i == 0 || i == len(name)-1) {
			return invalid("its name must begin and end with a letter or digit")
		}
	}
	switch {
	case strings.Contains(name, ".."):
		return invalid("its name has two dots in a row")
	case net.ParseIP(name) != nil:
		return invalid("its name looks like an IP address")
	}
	for _, prefix := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, prefix) {
			return invalid("names beginning with " + prefix + " are reserved")
		}
	}
	for _, suffix := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, suffix) {
			return invalid("names ending with " + suffix + " are reserved")
		}
	}
	return nil
}
