package s3

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// completeBodyMax bounds the list of parts that completes an upload.
const completeBodyMax = 8 << 20

// part is a part of an upload, as it was stored last.
type part struct {
	number   int
	attr     granary.Attr
	etag     string
	checksum string // of the upload's algorithm; "" if nobody asked for one, and the part is older than the default
	record   *seal.Record
}

// parts returns up to limit parts of the upload above a number, in order, and whether there are more.
func (h *Handler) parts(ctx context.Context, m *multipart, after, limit int) (parts []part, more bool, err error) {
	next := ""
	if after > 0 {
		next = partName(after)
	}
	for {
		page, err := h.store.List(ctx, &granary.List{Root: m.dir, StartAfter: next, Limit: min(limit-len(parts), granary.ListMax), Content: true})
		if err != nil {
			return nil, false, uploadError(err)
		}
		for i := range page.Items {
			item := &page.Items[i]
			n, err := strconv.Atoi(item.Key)
			if err != nil || partName(n) != item.Key {
				return nil, false, granary.Errorf(granary.KindCorrupt, "s3.parts", m.id, "a part is called %q", item.Key)
			}
			parts = append(parts, part{
				number: n, attr: item.Attr, etag: granary.ETagOf(&item.Attr, item.ETag), checksum: checksumsOf(item.Content)[m.algorithm],
			})
		}
		if !page.Truncated || len(parts) >= limit {
			return parts, page.Truncated, nil
		}
		next = page.Next
	}
}

// completeRetries is how often a completion is begun while parts are still being uploaded.
const completeRetries = 3

// completeMultipartUpload makes the object of the parts. The object is published in one step, which
// is the commit point; the upload's directory goes in the same step.
func (q *request) completeMultipartUpload() error {
	q.from(granary.OriginMultipart)
	var asked completeRequest
	if err := readXML(q.body, completeBodyMax, &asked); err != nil {
		return err
	}
	if n := len(asked.Parts); n == 0 || n > partNumberMax {
		return malformedXML()
	}
	for _, p := range asked.Parts {
		switch {
		case p.ETag == "" || p.PartNumber == nil:
			return malformedXML()
		case *p.PartNumber < 1:
			return refuseArgument("PartNumber", strconv.Itoa(*p.PartNumber), "PartNumber must be >= 1")
		}
	}
	for i, p := range asked.Parts[1:] {
		if *p.PartNumber <= *asked.Parts[i].PartNumber {
			return refuse(codeInvalidPartOrder, "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
	}
	match, err := writeCondition(q.r.Header)
	if err != nil {
		return err
	}
	root, m, err := q.openUpload()
	if e, ok := err.(*apiError); ok && e.code == codeNoSuchUpload {
		return q.completedBefore(root, asked.Parts, err)
	}
	if err != nil {
		return err
	}
	if err := q.checkWholeHeaders(m); err != nil {
		return err
	}
	if err := q.checkEarly(root, match); err != nil {
		return err
	}
	q.tellUpload(m)
	return q.slowly(func() (any, error) {
		for try := 1; ; try++ {
			document, err := q.complete(root, m, asked.Parts, match)
			if try == completeRetries || !granary.IsKind(err, granary.KindStale) {
				return document, err
			}
			// A part was uploaded after the parts were checked: what is there now is to be checked.
			if m, err = q.h.findUpload(q.r.Context(), root, m.id); err != nil {
				return nil, err
			}
		}
	})
}

// completedBefore answers the repetition of a completion as it was answered, if the object is what it made and the parts are the same; else with
// missing.
func (q *request) completedBefore(root granary.InodeID, asked []completePart, missing error) error {
	info, err := q.findObject(root, q.key, 0)
	if err != nil {
		return missing
	}
	if id, _ := info.Xattr(xattrCompleted); len(id) == 0 || string(id) != q.query.Get("uploadId") {
		return missing
	}
	parts := make([]part, len(asked))
	for i, a := range asked {
		parts[i] = part{number: *a.PartNumber, etag: unquoteETag(a.ETag)}
	}
	if etag, err := wholeETag(parts); err != nil || etag != info.ETag() {
		return missing
	}
	q.setMadeVersion(&info.Attr)
	return writeXML(q.w, http.StatusOK, &completeResult{
		Xmlns: xmlNamespace, Location: q.objectURL(), Bucket: q.bucket, Key: q.key,
		ETag: quoteETag(info.ETag()), checksumElements: elements(checksumsOf(info.Xattrs)),
	})
}

func (q *request) complete(root granary.InodeID, m *multipart, asked []completePart, match *granary.Precondition) (any, error) {
	ctx := q.r.Context()
	stored, _, err := q.h.parts(ctx, m, 0, partNumberMax)
	if err != nil {
		return nil, err
	}
	chosen, err := chooseParts(stored, asked)
	if err != nil {
		return nil, err
	}
	if err := checkParts(m, chosen, asked); err != nil {
		return nil, err
	}
	sums, err := q.wholeChecksum(m, chosen)
	if err != nil {
		return nil, err
	}
	etag, err := wholeETag(chosen)
	if err != nil {
		return nil, err
	}
	if err := q.checkObjectSize(chosen); err != nil {
		return nil, err
	}
	record, err := q.h.wholeRecord(ctx, m, chosen)
	if err != nil {
		return nil, err
	}
	parts := filer.Parts{Dir: m.dir, Name: m.id, Version: m.version}
	for _, p := range chosen {
		parts.Names = append(parts.Names, partName(p.number))
	}
	info, err := q.h.store.Compose(ctx, filer.UploadOptions{
		Owner: q.identity.caller.cred,
		Root:  root, Path: q.key, Key: true, Mode: fileMode, Xattrs: slices.Concat(contentXattrs(etag, sums), partsAttributes(m, chosen), record, m.metadata), Match: match,
		StorageClass: m.class,
	}, parts)
	if granary.IsKind(err, granary.KindNotFound) {
		return nil, noSuchUpload() // aborted, or completed by another request
	}
	if err != nil {
		return nil, err
	}
	q.setMadeVersion(&info.Attr)
	return &completeResult{
		Xmlns: xmlNamespace, Location: q.objectURL(), Bucket: q.bucket, Key: q.key,
		ETag: quoteETag(etag), checksumElements: elements(sums),
	}, nil
}

// chooseParts finds the parts that a completion names: both lists ascend.
func chooseParts(stored []part, asked []completePart) ([]part, error) {
	chosen := make([]part, 0, len(asked))
	for _, a := range asked {
		for len(stored) > 0 && stored[0].number < *a.PartNumber {
			stored = stored[1:]
		}
		if len(stored) == 0 || stored[0].number != *a.PartNumber || unquoteETag(a.ETag) != stored[0].etag {
			return nil, noSuchPart()
		}
		chosen = append(chosen, stored[0])
	}
	return chosen, nil
}

// checkParts refuses parts that are too small, and checksums that are not the parts'.
func checkParts(m *multipart, chosen []part, asked []completePart) error {
	for i, p := range chosen {
		if i < len(chosen)-1 && p.attr.Size < partSizeMin {
			return refuse(codeEntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
		}
		if err := m.checkSum(&p, &asked[i].checksumElements); err != nil {
			return err
		}
	}
	return nil
}

// checkSum refuses a part of which a completion names another checksum than it has, or none that it should.
func (m *multipart) checkSum(p *part, asked *checksumElements) error {
	var named algorithm
	for _, a := range algorithms() {
		switch sum := *asked.of(a); {
		case sum == "":
		case named != "" || !a.valid(sum):
			return refuse(codeInvalidArgument, "Invalid Base64 or multiple checksums present in request")
		default:
			named = a
		}
	}
	switch {
	case named == "" && m.checksumType == checksumComposite:
		return refuse(codeInvalidRequest, "The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.",
			strings.ToLower(string(m.algorithm)), p.number)
	case named == "":
	case named == m.algorithm && *asked.of(named) != p.checksum, named != m.algorithm && m.unasked:
		return noSuchPart()
	case named != m.algorithm:
		return refuse(codeBadDigest, "The %s you specified for part %d did not match what we received.", strings.ToLower(string(named)), p.number)
	}
	return nil
}

func noSuchPart() error {
	return refuse(codeInvalidPart, "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
}

// wholeChecksum computes the object's checksum, and compares it with the one the request names.
func (q *request) wholeChecksum(m *multipart, chosen []part) (map[algorithm]string, error) {
	sums, sizes := make([]string, len(chosen)), make([]uint64, len(chosen))
	for i, p := range chosen {
		if sums[i], sizes[i] = p.checksum, p.attr.Size; p.checksum != "" {
			continue
		}
		if m.unasked {
			return nil, nil // the part is older than the default checksum
		}
		return nil, granary.Errorf(granary.KindCorrupt, "s3.complete", partName(p.number), "it has no %s", m.algorithm)
	}
	var whole string
	var err error
	if m.checksumType == checksumFullObject {
		whole, err = fullObjectChecksum(m.algorithm, sums, sizes)
	} else {
		whole, err = compositeChecksum(m.algorithm, sums)
	}
	if err != nil {
		return nil, err
	}
	if want := q.r.Header.Get(m.algorithm.header()); want != "" && want != whole && !m.unasked {
		// Some clients name the composite checksum without the number of parts.
		if bare, _, _ := strings.Cut(whole, "-"); bare != want {
			return nil, refuse(codeBadDigest, "The %s you specified did not match the calculated checksum.", m.algorithm)
		}
	}
	return map[algorithm]string{m.algorithm: whole}, nil
}

// checkWholeHeaders refuses headers about the whole object's checksum that are malformed, or of another type than the upload was begun with.
func (q *request) checkWholeHeaders(m *multipart) error {
	a, err := checksumHeader(q.r.Header)
	if err != nil {
		return err
	}
	if a != "" {
		bare, count, counted := strings.Cut(q.r.Header.Get(a.header()), "-")
		if n, err := strconv.Atoi(count); !a.valid(bare) || counted && (err != nil || n < 1 || a == algorithmCRC64NVME) {
			return invalidHeader(a.header())
		}
	}
	switch kind := strings.ToUpper(q.r.Header.Get("X-Amz-Checksum-Type")); {
	case kind == "":
		return nil
	case kind != checksumFullObject && kind != checksumComposite:
		return invalidHeader("x-amz-checksum-type")
	case kind != m.checksumType && m.unasked:
		return refuse(codeInvalidRequest, "The upload was created using the null checksum mode. The complete request must use the same checksum mode.")
	case kind != m.checksumType:
		return refuse(codeInvalidRequest, "The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", m.checksumType)
	}
	return nil
}

// wholeETag is the MD5 of the parts' MD5s, with "-" and their number.
func wholeETag(chosen []part) (string, error) {
	h := md5.New()
	for _, p := range chosen {
		raw, err := hex.DecodeString(p.etag)
		if err != nil || len(raw) != md5.Size {
			return "", granary.Errorf(granary.KindCorrupt, "s3.complete", partName(p.number), "its ETag is %q", p.etag)
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(chosen)), nil
}

// checkObjectSize compares the size that the request may name with what the parts have.
func (q *request) checkObjectSize(chosen []part) error {
	var size uint64
	for _, p := range chosen {
		size += p.attr.Size
	}
	if size > granary.FileSizeMax {
		return refuse(codeEntityTooLarge, "Your proposed upload exceeds the maximum allowed size of %d bytes.", int64(granary.FileSizeMax))
	}
	if n, err := strconv.ParseInt(q.r.Header.Get("X-Amz-Mp-Object-Size"), 10, 64); err == nil && n < 0 {
		return refuse(codeInvalidRequest, "Value for x-amz-mp-object-size header is less than zero: '%d'", n)
	}
	if text := q.r.Header.Get("X-Amz-Mp-Object-Size"); text != "" && text != strconv.FormatUint(size, 10) {
		return refuse(codeInvalidRequest, "The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d", text, size)
	}
	return nil
}

func (q *request) listParts() error {
	_, m, err := q.openUpload()
	if err != nil {
		return err
	}
	after, err := q.intQuery("part-number-marker", 0, partNumberMax)
	if err != nil {
		return err
	}
	maxParts, err := q.intQuery("max-parts", granary.ListMax, granary.ListMax)
	if err != nil {
		return err
	}
	encode, err := keyEncoder(q.query.Get("encoding-type"))
	if err != nil {
		return err
	}
	document := &listPartsResult{
		Xmlns: xmlNamespace, Bucket: q.bucket, Key: encode(q.key), UploadID: m.id, Initiator: clusterOwner(), Owner: clusterOwner(),
		StorageClass: cmp.Or(m.class, granary.StorageClassStandard), PartNumberMarker: after, MaxParts: maxParts, EncodingType: q.query.Get("encoding-type"),
	}
	document.ChecksumAlgorithm, document.ChecksumType = m.declared()
	var parts []part
	if maxParts > 0 {
		if parts, document.IsTruncated, err = q.h.parts(q.r.Context(), m, after, maxParts); err != nil {
			return err
		}
	}
	for _, p := range parts {
		e := checksumElements{}
		if p.checksum != "" && !m.unasked {
			e = elements(map[algorithm]string{m.algorithm: p.checksum})
			e.ChecksumType = ""
		}
		document.Parts = append(document.Parts, partItem{
			PartNumber: p.number, LastModified: isoTime(p.attr.Mtime), ETag: quoteETag(p.etag), Size: p.attr.Size, checksumElements: e,
		})
		document.NextPartNumberMarker = p.number
	}
	return writeXML(q.w, http.StatusOK, document)
}
