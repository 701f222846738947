package s3

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// versionIDNull is the id of a version that has none.
const versionIDNull = "null"

// idLetters are those that ids of versions are made of, here and elsewhere.
const idLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// versionID returns the id of a version as S3 has it.
func versionID(a *granary.Attr) string {
	if a.Unnumbered() {
		return versionIDNull
	}
	return fmt.Sprintf("%016x", uint64(a.Object))
}

// parseVersionID returns the version that an id names; 0 for none.
func parseVersionID(id string) (granary.ObjectVersion, error) {
	switch id {
	case "":
		return 0, nil
	case versionIDNull:
		return granary.NoID, nil
	}
	n, err := strconv.ParseUint(id, 16, 64)
	switch {
	case err == nil && len(id) == 16 && n != 0 && granary.ObjectVersion(n) != granary.NoID:
	case foreignVersion(id):
		return 0, refuse(codeNoSuchVersion, "The specified version does not exist.") // another store's
	default:
		return 0, refuseArgument("versionId", id, "Invalid version id specified")
	}
	return granary.ObjectVersion(n), nil
}

// foreignVersion reports whether an id is of a form that other stores have: AWS, MinIO and others.
func foreignVersion(id string) bool {
	return (len(id) == 26 || len(id) == 32 || len(id) == 36) && !strings.ContainsFunc(id, func(r rune) bool { return !strings.ContainsRune(idLetters, r) })
}

// version returns the version that the request's query names; 0 for the newest.
func (q *request) version() (granary.ObjectVersion, error) {
	return parseVersionID(q.query.Get("versionId"))
}

// setMadeVersion tells the id of a version that was made, if it has one.
func (q *request) setMadeVersion(a *granary.Attr) {
	if !a.Unnumbered() {
		q.w.Header().Set("X-Amz-Version-Id", versionID(a))
	}
}

// setVersionID tells the id of a version, where the bucket has versions.
func (q *request) setVersionID(a *granary.Attr) {
	if a.Object != 0 || q.query.Has("versionId") {
		q.w.Header().Set("X-Amz-Version-Id", versionID(a))
	}
}

// findObject finds a version of an object, 0 for the newest. A delete marker is refused as AWS does, and told of in headers.
func (q *request) findObject(root granary.InodeID, key string, version granary.ObjectVersion) (*filer.Info, error) {
	info, err := q.h.store.Stat(q.r.Context(), root, key, filer.StatOptions{Follow: true, Xattrs: true, Key: true, Object: version, Markers: true})
	switch {
	case granary.IsKind(err, granary.KindNotFound) && version != 0:
		return nil, refuse(codeNoSuchVersion, "The specified version does not exist.")
	case err != nil:
		return nil, readError(err)
	case info.Marker:
		return nil, q.refuseMarker(info, version)
	case !isObject(&info.Attr, key):
		return nil, noSuchKey()
	}
	return info, nil
}

// refuseMarker refuses to give what has been deleted.
func (q *request) refuseMarker(info *filer.Info, version granary.ObjectVersion) error {
	e := noSuchKey()
	if version != 0 {
		e = refuse(codeMethodNotAllowed, "The specified method is not allowed against this resource.")
	}
	e.header = http.Header{"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {versionID(&info.Attr)}}
	if version != 0 {
		e.header.Set("Allow", "DELETE")
		e.header.Set("Last-Modified", info.Attr.Mtime.Std().UTC().Format(http.TimeFormat))
	}
	return e
}

type versioningConfiguration struct {
	XMLName   xml.Name `xml:"VersioningConfiguration"`
	Xmlns     string   `xml:"xmlns,attr,omitempty"`
	Status    string   `xml:",omitempty"`
	MFADelete string   `xml:"MfaDelete,omitempty"`
}

func (q *request) getBucketVersioning() error {
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	state, _ := b.Xattr(granary.XattrVersioning)
	return writeXML(q.w, http.StatusOK, &versioningConfiguration{Xmlns: xmlNamespace, Status: string(state)})
}

func (q *request) putBucketVersioning() error {
	var asked versioningConfiguration
	if err := readXML(q.body, documentSizeMax, &asked); err != nil {
		return err
	}
	if asked.MFADelete != "" && asked.MFADelete != "Disabled" {
		return refuse(codeNotImplemented, "A header or query you provided implies functionality that is not implemented: MFA delete.")
	}
	if asked.Status != granary.VersioningEnabled && asked.Status != granary.VersioningSuspended {
		return malformedXML()
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if _, locks := b.Xattr(granary.XattrObjectLock); locks && asked.Status != granary.VersioningEnabled {
		return refuse(codeInvalidBucketState, "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	}
	if err := q.setConfiguration(b, granary.XattrVersioning, []byte(asked.Status)); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// listObjectVersions lists versions and delete markers: by key, the newest first. Where versioning was never enabled every object has the
// one version "null".
func (q *request) listObjectVersions() error {
	l, err := q.listQuery()
	if err != nil {
		return err
	}
	keyMarker, idMarker := q.query.Get("key-marker"), q.query.Get("version-id-marker")
	l.versions, l.startAfter = true, l.afterMarker(keyMarker)
	switch {
	case idMarker == "":
	case keyMarker == "":
		return refuse(codeInvalidArgument, "A version-id marker cannot be specified without a key marker.")
	default:
		if l.startAt, err = q.markerVersion(l.root, keyMarker, idMarker); err != nil {
			return err
		}
	}
	listing, err := q.list(l)
	if err != nil {
		return err
	}
	document := &listVersionsResult{
		Xmlns: xmlNamespace, Name: q.bucket, Prefix: l.encode(l.prefix), KeyMarker: l.encode(keyMarker),
		VersionIDMarker: idMarker, MaxKeys: l.maxKeys, Delimiter: l.encode(l.delimiter),
		EncodingType: l.encoding, IsTruncated: listing.Truncated,
	}
	if listing.Truncated {
		document.NextKeyMarker = l.encode(lastOf(listing))
		if n := len(listing.Items); n > 0 && !listing.Items[n-1].IsPrefix {
			document.NextVersionIDMarker = versionID(&listing.Items[n-1].Attr)
		}
	}
	for i := range listing.Items {
		item := &listing.Items[i]
		v := versionItem{
			Key: l.encode(item.Key), VersionID: versionID(&item.Attr), IsLatest: item.Latest, LastModified: isoTime(item.Attr.Mtime), Owner: clusterOwner(),
		}
		switch {
		case item.IsPrefix:
			document.CommonPrefixes = append(document.CommonPrefixes, commonPrefix{Prefix: l.encode(item.Key)})
		case item.Marker:
			v.XMLName.Local = "DeleteMarker"
			document.Versions = append(document.Versions, v)
		default:
			class, err := q.classOf(&item.Attr)
			if err != nil {
				return err
			}
			size := uint64(sizeOf(&item.Attr))
			v.listedChecksum = checksumListed(item)
			v.XMLName.Local, v.ETag, v.Size, v.StorageClass = "Version", quoteETag(itemETag(item)), &size, class
			document.Versions = append(document.Versions, v)
		}
	}
	return writeXML(q.w, http.StatusOK, document)
}

// markerVersion returns where the versions of a key are listed from.
func (q *request) markerVersion(root granary.InodeID, key, id string) (*granary.ObjectVersion, error) {
	version, err := parseVersionID(id)
	if err != nil || version != granary.NoID {
		return &version, err
	}
	info, err := q.h.store.Stat(q.r.Context(), root, key, filer.StatOptions{Key: true, Object: version, Markers: true})
	if err != nil {
		if !granary.IsKind(err, granary.KindNotFound) {
			return nil, err
		}
		return new(granary.ObjectVersion), nil // it is gone: what has no id is mostly the oldest
	}
	return &info.Attr.Object, nil
}
