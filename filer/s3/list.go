package s3

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
)

// listQuery is what the listings have in common.
type listQuery struct {
	root       granary.InodeID
	prefix     string
	delimiter  string
	maxKeys    int
	startAfter string
	startAt    *granary.ObjectVersion
	versions   bool
	encoding   string
	encode     func(string) string
}

func (q *request) listQuery() (*listQuery, error) {
	l := &listQuery{prefix: q.query.Get("prefix"), delimiter: q.query.Get("delimiter"), encoding: q.query.Get("encoding-type")}
	var err error
	if l.encode, err = keyEncoder(l.encoding); err != nil {
		return nil, err
	}
	if l.maxKeys, err = q.intQuery("max-keys", granary.ListMax, granary.ListMax); err != nil {
		return nil, err
	}
	l.root, err = q.bucketRoot()
	return l, err
}

func (q *request) listObjects() error {
	if q.query.Get("list-type") == "2" {
		return q.listObjectsV2()
	}
	return q.listObjectsV1()
}

func (q *request) listObjectsV1() error {
	l, err := q.listQuery()
	if err != nil {
		return err
	}
	marker := q.query.Get("marker")
	l.startAfter = l.afterMarker(marker)
	listing, err := q.list(l)
	if err != nil {
		return err
	}
	encodedMarker := l.encode(marker)
	document := l.document(q.bucket, listing)
	document.Marker = &encodedMarker
	if listing.Truncated { // AWS tells it only with a delimiter; it does no harm without
		document.NextMarker = l.encode(lastOf(listing))
	}
	o := clusterOwner()
	if err := q.fill(l, document, listing, &o); err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, document)
}

// afterMarker returns where a listing goes on after a V1 marker. One that is a common prefix means
// that all keys below it have been seen.
func (l *listQuery) afterMarker(marker string) string {
	if rest, ok := strings.CutPrefix(marker, l.prefix); ok && l.delimiter != "" {
		if i := strings.Index(rest, l.delimiter); i >= 0 && i+len(l.delimiter) == len(rest) {
			return marker + afterAll
		}
	}
	return marker
}

// afterAll, behind a common prefix, sorts after every key that begins with it: no UTF-8 text holds
// this byte, and names of other doors that begin with several of it are not worth a rule.
const afterAll = "\xff\xff\xff\xff"

// lastOf returns the last key or common prefix of a listing: V1 goes on from it.
func lastOf(listing *granary.Listing) string {
	if n := len(listing.Items); n > 0 {
		return listing.Items[n-1].Key
	}
	return listing.Next
}

func (q *request) listObjectsV2() error {
	l, err := q.listQuery()
	if err != nil {
		return err
	}
	startAfter, token := q.query.Get("start-after"), q.query.Get("continuation-token")
	l.startAfter = startAfter
	if q.query.Has("continuation-token") {
		if l.startAfter, err = parseToken(token); err != nil {
			return err
		}
	}
	listing, err := q.list(l)
	if err != nil {
		return err
	}
	document := l.document(q.bucket, listing)
	document.StartAfter, document.ContinuationToken = l.encode(startAfter), token
	if listing.Truncated {
		document.NextContinuationToken = makeToken(listing.Next)
	}
	keyCount := len(listing.Items)
	document.KeyCount = &keyCount
	var fetched *owner
	if q.query.Get("fetch-owner") == "true" {
		o := clusterOwner()
		fetched = &o
	}
	if err := q.fill(l, document, listing, fetched); err != nil {
		return err
	}
	return writeXML(q.w, http.StatusOK, document)
}

// Continuation tokens: opaque to clients, so that no one builds them.
const tokenVersion = "1"

func makeToken(next string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenVersion + next))
}

func parseToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	next, ok := strings.CutPrefix(string(b), tokenVersion)
	if err != nil || !ok {
		return "", refuse(codeInvalidArgument, "The continuation token provided is incorrect")
	}
	return next, nil
}

func (l *listQuery) document(bucket string, listing *granary.Listing) *listBucketResult {
	return &listBucketResult{
		Xmlns: xmlNamespace, Name: bucket, Prefix: l.encode(l.prefix), Delimiter: l.encode(l.delimiter),
		MaxKeys: l.maxKeys, EncodingType: l.encoding, IsTruncated: listing.Truncated,
	}
}

func (q *request) fill(l *listQuery, document *listBucketResult, listing *granary.Listing, o *owner) error {
	for i := range listing.Items {
		item := &listing.Items[i]
		if item.IsPrefix {
			document.CommonPrefixes = append(document.CommonPrefixes, commonPrefix{Prefix: l.encode(item.Key)})
			continue
		}
		class, err := q.classOf(&item.Attr)
		if err != nil {
			return err
		}
		document.Contents = append(document.Contents, objectItem{
			Key: l.encode(item.Key), LastModified: isoTime(item.Attr.Mtime), ETag: quoteETag(itemETag(item)),
			Size: uint64(sizeOf(&item.Attr)), Owner: o, StorageClass: class,
			listedChecksum: checksumListed(item),
		})
	}
	return nil
}

// checksumListed tells which checksums a listed object has.
func checksumListed(item *granary.ListItem) (l listedChecksum) {
	for _, x := range item.Content {
		name, ok := strings.CutPrefix(x.Name, xattrChecksumPrefix)
		if a, known := parseAlgorithm(name); ok && known {
			l.ChecksumAlgorithm, l.ChecksumType = append(l.ChecksumAlgorithm, string(a)), checksumTypeOf(string(x.Value))
		}
	}
	return l
}

func itemETag(item *granary.ListItem) string {
	return granary.ETagOf(&item.Attr, item.ETag)
}

// list asks the store.
func (q *request) list(l *listQuery) (*granary.Listing, error) {
	if l.maxKeys == 0 {
		return &granary.Listing{}, nil
	}
	listing, err := q.h.store.List(q.r.Context(), &granary.List{
		Root: l.root, Prefix: l.prefix, StartAfter: l.startAfter, Delimiter: l.delimiter, Limit: l.maxKeys,
		Versions: l.versions, StartAt: l.startAt, Content: true,
	})
	if err != nil {
		return nil, explain(err, codeNoSuchBucket)
	}
	return listing, nil
}
