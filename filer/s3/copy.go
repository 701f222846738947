package s3

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// copyAttemptsMax bounds how often a copy begins again because its source was replaced.
const copyAttemptsMax = 5

// copySource is the object that x-amz-copy-source names.
type copySource struct {
	root    granary.InodeID
	key     string
	version granary.ObjectVersion
	self    bool // it is the newest version of the request's own object
}

// copySource parses x-amz-copy-source: [/]BUCKET/KEY[?versionId=ID], percent-encoded.
func (q *request) copySource() (copySource, error) {
	text, id, _ := strings.Cut(q.r.Header.Get("X-Amz-Copy-Source"), "?versionId=")
	version, err := parseVersionID(id)
	if err != nil {
		return copySource{}, err
	}
	path, err := url.PathUnescape(text)
	if err != nil {
		return copySource{}, refuseArgument("x-amz-copy-source", text, "Invalid copy source encoding")
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || bucket == "" || key == "" {
		return copySource{}, refuseArgument("x-amz-copy-source", text, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey.")
	}
	b, err := q.h.bucketInfo(q.r.Context(), bucket)
	if err != nil {
		return copySource{}, err
	}
	if err := q.permitSource(bucket, b, key, version); err != nil {
		return copySource{}, err
	}
	return copySource{root: b.Attr.Inode, key: key, version: version, self: bucket == q.bucket && key == q.key && version == 0}, nil
}

// statSource finds the source and evaluates the x-amz-copy-source-if- headers.
func (q *request) statSource(s copySource) (*filer.Info, error) {
	info, err := q.findObject(s.root, s.key, s.version)
	if err != nil {
		return nil, err
	}
	if info.Attr.Object != 0 {
		q.w.Header().Set("X-Amz-Copy-Source-Version-Id", versionID(&info.Attr))
	}
	if evaluate(q.r.Header, "X-Amz-Copy-Source-", info.ETag(), info.Attr.Mtime.Std()) != proceed {
		return nil, refuse(codePrecondition, "At least one of the pre-conditions you specified did not hold.")
	}
	return info, nil
}

func (q *request) copyObject() error {
	q.from(granary.OriginCopy)
	if err := checkKey(q.key); err != nil {
		return err
	}
	match, err := writeCondition(q.r.Header)
	if err != nil {
		return err
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	source, err := q.copySource()
	if err != nil {
		return err
	}
	if name := q.r.Header.Get("X-Amz-Checksum-Algorithm"); name != "" {
		if _, ok := parseAlgorithm(name); !ok {
			return unsupportedAlgorithm()
		}
	}
	metadata, err := q.metadataOf()
	if err != nil {
		return err
	}
	tags, retag, err := q.copiedTags()
	if err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if err := q.permitHeaders(); err != nil {
		return err
	}
	list, err := q.listFor(b)
	if err != nil {
		return err
	}
	locks, err := q.lockOf(b)
	if err != nil {
		return err
	}
	by, err := q.encryptionFor(b)
	if err != nil {
		return err
	}
	replace := false
	switch directive := q.r.Header.Get("X-Amz-Metadata-Directive"); directive {
	case "", "COPY":
		if source.self && !retag && !q.reencrypts() && q.r.Header.Get(classHeader) == "" {
			return refuse(codeInvalidRequest, "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
	case "REPLACE":
		replace = true
	default:
		return refuseArgument("x-amz-metadata-directive", directive, "Unknown metadata directive.")
	}
	by.tell(q.w.Header())
	return q.slowly(func() (any, error) {
		return q.copyFrom(source, root, match, by, func(info *filer.Info) []granary.Xattr {
			kept := metadata
			if !replace {
				kept = slices.DeleteFunc(metadataXattrs(info), isRedirect)
				for _, x := range metadata { // which is never copied
					if isRedirect(x) {
						kept = append(kept, x)
					}
				}
			}
			if stored, ok := info.Xattr(xattrTagging); ok && !retag {
				kept = append(kept, granary.Xattr{Name: xattrTagging, Value: stored})
			}
			return slices.Concat(kept, tags, list, locks)
		})
	})
}

// copiedTags returns the tags that a copy gets, and whether they are others than the source's.
func (q *request) copiedTags() (tags []granary.Xattr, replace bool, err error) {
	switch directive := q.r.Header.Get("X-Amz-Tagging-Directive"); directive {
	case "", "COPY":
		return nil, false, nil
	case "REPLACE":
		tags, err = q.taggingOf()
		return tags, true, err
	default:
		return nil, false, refuse(codeInvalidArgument, "Unknown tagging directive.")
	}
}

// isRedirect reports whether an attribute says where a website redirects to.
func isRedirect(x granary.Xattr) bool { return x.Name == xattrPrefix+strings.ToLower(redirectHeader) }

// metadataXattrs returns the attributes of an object that are its metadata.
func metadataXattrs(info *filer.Info) []granary.Xattr {
	var xattrs []granary.Xattr
	for _, x := range info.Xattrs {
		if isMetadata(x) {
			xattrs = append(xattrs, x)
		}
	}
	return xattrs
}

// copyFrom copies one version of the source: the content and the attributes that describe it belong
// together, so the store is told which version they were read of, and if the source has been
// replaced since, the copy begins again.
func (q *request) copyFrom(source copySource, root granary.InodeID, match *granary.Precondition, by *encryption, metadata func(*filer.Info) []granary.Xattr) (any, error) {
	for attempt := 1; ; attempt++ {
		info, err := q.statSource(source)
		if err != nil {
			return nil, err
		}
		content, err := q.copiedContent(info, source)
		if err != nil {
			return nil, err
		}
		sealed, streams, err := q.sealCopy(info, source, by, content)
		if err != nil {
			return nil, err
		}
		o := filer.UploadOptions{
			Owner: q.identity.caller.cred, Root: root, Path: q.key, Key: true, Mode: fileMode, Xattrs: slices.Concat(metadata(info), sealed), Match: match,
			StorageClass: q.storageClass(),
		}
		var copied *filer.Info
		if streams {
			copied, err = q.copyValue(info, source, by, o)
		} else {
			copied, err = q.copyVersion(info, source, o)
		}
		if err == nil {
			q.setMadeVersion(&copied.Attr)
			sums := map[algorithm]string{}
			if !copied.Attr.IsDir() {
				sums = checksumsOf(content)
			}
			return &copyResult{
				XMLName: xml.Name{Local: "CopyObjectResult"}, Xmlns: xmlNamespace, LastModified: isoTime(copied.Attr.Mtime),
				ETag: quoteETag(copiedETag(copied)), checksumElements: elements(sums),
			}, nil
		}
		stale := granary.IsKind(err, granary.KindPrecondition) || granary.IsKind(err, granary.KindStale)
		if !stale || attempt == copyAttemptsMax {
			return nil, err
		}
		again, serr := q.findObject(source.root, source.key, source.version)
		if serr == nil && again.Attr.Version == info.Attr.Version { // so it was the condition on the destination
			return nil, err
		}
	}
}

// copiedContent returns the attributes of the copy that describe its content: the source's, but for the checksum if the request asks for one
// by an algorithm that the source has none of the whole by. Then the source is read.
func (q *request) copiedContent(info *filer.Info, source copySource) ([]granary.Xattr, error) {
	a, asked := parseAlgorithm(q.r.Header.Get("X-Amz-Checksum-Algorithm"))
	if info.Attr.IsDir() {
		return nil, nil
	}
	var kept []granary.Xattr
	there := false
	for _, x := range info.Xattrs {
		if !strings.HasPrefix(x.Name, granary.XattrContentPrefix) || granary.IsEncryption(x.Name) || x.Name == xattrCompleted {
			continue
		}
		if sum := strings.HasPrefix(x.Name, xattrChecksumPrefix); asked && sum {
			if x.Name != a.xattr() || !a.valid(string(x.Value)) {
				continue
			}
			there = true
		}
		kept = append(kept, x)
	}
	if !asked || there {
		return kept, nil
	}
	sum, err := q.checksum(info, source, a)
	if err != nil {
		return nil, err
	}
	return append(kept, granary.Xattr{Name: a.xattr(), Value: []byte(sum)}), nil
}

// checksum computes a checksum of what a version of an object holds; KindStale if the object is another by now.
func (q *request) checksum(info *filer.Info, source copySource, a algorithm) (string, error) {
	d := &digest{algorithm: a, hash: a.new()}
	if err := q.readSource(info, source, d.hash); err != nil {
		return "", err
	}
	return d.sum(), nil
}

// copyVersion copies what is stored, by reference.
func (q *request) copyVersion(info *filer.Info, source copySource, o filer.UploadOptions) (*filer.Info, error) {
	ctx := q.r.Context()
	if info.Attr.IsDir() {
		return q.emptyObject(ctx, o)
	}
	return q.h.store.Copy(ctx, filer.CopyOptions{
		Owner:   o.Owner,
		SrcRoot: source.root, SrcPath: source.key, DstRoot: o.Root, DstPath: o.Path, Key: true, SrcObject: source.version,
		Xattrs: o.Xattrs, ReplaceXattrs: true, Match: o.Match, SrcMatch: &granary.Precondition{Version: info.Attr.Version},
		StorageClass: o.StorageClass,
	})
}

// emptyObject publishes a file without content.
func (q *request) emptyObject(ctx context.Context, o filer.UploadOptions) (*filer.Info, error) {
	up, err := q.h.store.Upload(ctx, o)
	if err != nil {
		return nil, err
	}
	defer up.Abort()
	return up.Commit(contentXattrs(granary.ETagEmpty, nil))
}

// copiedETag returns the ETag of a copy: the stored one, which it was given, or what the copy's own inode gives.
func copiedETag(copied *filer.Info) string {
	if copied.Attr.IsDir() {
		return granary.ETagEmpty
	}
	return copied.ETag()
}

// sourceRange parses x-amz-copy-source-range: bytes=FIRST-LAST, within the source.
func sourceRange(header http.Header, size int64) (byteRange, error) {
	text := header.Get("X-Amz-Copy-Source-Range")
	if text == "" {
		return byteRange{length: size}, nil
	}
	part, err := parseRange(text, size)
	_, last, _ := strings.Cut(text, "-")
	if end, eerr := strconv.ParseInt(last, 10, 64); err == nil && eerr == nil && part.partial && end >= size {
		return byteRange{}, refuseArgument("x-amz-copy-source-range", text, "Range specified is not valid for source object of size: %d", size)
	}
	if err != nil || !part.partial || last == "" || strings.HasPrefix(text, "bytes=-") {
		return byteRange{}, refuseArgument("x-amz-copy-source-range", text, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	return part, nil
}
