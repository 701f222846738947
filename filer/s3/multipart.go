package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// Limits of multipart uploads, as in AWS but for the size of a part, which has none of its own.
const (
	partNumberMax = 10000
	partSizeMin   = 5 << 20 // bytes, of all parts but the last
)

// Attributes of an upload's directory; the object's metadata lies beside them.
const (
	xattrUpload         = xattrPrefix + "upload."
	xattrUploadKey      = xattrUpload + "key"
	xattrUploadChecksum = xattrUpload + "checksum" // algorithm, space, type
)

// uploadDirMode keeps the hidden directories to the gateway.
const uploadDirMode = 0o700

// multipart is an upload in progress.
type multipart struct {
	id           string
	key          string
	dir          granary.InodeID // its parts' directory …
	version      granary.Index   // … as it was when the upload was looked up
	initiated    granary.Time
	algorithm    algorithm
	checksumType string
	unasked      bool // nobody asked for a checksum: algorithm is algorithmDefault
	metadata     []granary.Xattr
	record       *seal.Record // of its data key; nil: it is plain
	class        string       // that the object will be stored in; "" for STANDARD
}

// declared returns the checksum that was asked for, as documents tell it; "" for none.
func (m *multipart) declared() (name, kind string) {
	if m.unasked {
		return "", ""
	}
	return string(m.algorithm), m.checksumType
}

// partName is the name of a part's file: it sorts as the number does.
func partName(number int) string { return fmt.Sprintf("%05d", number) }

// validUploadID tells an upload id from anything else that could be a path.
func validUploadID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 16 && strings.ToLower(id) == id
}

func noSuchUpload() error {
	return refuse(codeNoSuchUpload, "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
}

// uploadError says what an error means to whoever uses an upload: that its directory is gone.
func uploadError(err error) error {
	switch granary.KindOf(err) {
	case granary.KindNotFound, granary.KindNotDir:
		return noSuchUpload()
	default:
		return err
	}
}

func (q *request) createMultipartUpload() error {
	if err := checkKey(q.key); err != nil {
		return err
	}
	xattrs, err := q.propertiesOf()
	if err != nil {
		return err
	}
	for i, x := range xattrs { // a directory cannot be locked
		if name, ok := strings.CutPrefix(x.Name, xattrPrefix); ok && (x.Name == granary.XattrRetention || x.Name == granary.XattrLegalHold) {
			xattrs[i].Name = xattrUpload + name
		}
	}
	sealed, err := q.sealUpload()
	if err != nil {
		return err
	}
	xattrs = append(xattrs, sealed...)
	xattrs = append(xattrs, granary.Xattr{Name: xattrUploadKey, Value: []byte(q.key)})
	if class := q.storageClass(); class != "" {
		xattrs = append(xattrs, granary.Xattr{Name: xattrUploadClass, Value: []byte(class)})
	}
	a, kind, err := q.uploadChecksum()
	if err != nil {
		return err
	}
	if a != "" {
		xattrs = append(xattrs, granary.Xattr{Name: xattrUploadChecksum, Value: []byte(string(a) + " " + kind)})
		q.w.Header().Set("X-Amz-Checksum-Algorithm", string(a))
		q.w.Header().Set("X-Amz-Checksum-Type", kind)
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	id := randomID()
	_, err = q.h.store.MakeDir(q.r.Context(), filer.DirOptions{
		Root: root.Dataset().System(), Path: id, Mode: uploadDirMode, Xattrs: xattrs,
	})
	if err != nil {
		return explain(err, codeNoSuchBucket)
	}
	return writeXML(q.w, http.StatusOK, &initiateResult{Xmlns: xmlNamespace, Bucket: q.bucket, Key: q.key, UploadID: id})
}

// randomID makes up an id of 32 hexadecimal digits.
func randomID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand
	return hex.EncodeToString(random[:])
}

// uploadChecksum returns the checksum algorithm and type that a new upload asks for.
func (q *request) uploadChecksum() (a algorithm, kind string, err error) {
	name, kind := q.r.Header.Get("X-Amz-Checksum-Algorithm"), strings.ToUpper(q.r.Header.Get("X-Amz-Checksum-Type"))
	a, ok := parseAlgorithm(name)
	switch {
	case name != "" && !ok:
		return "", "", unsupportedAlgorithm()
	case kind != "" && kind != checksumFullObject && kind != checksumComposite:
		return "", "", invalidHeader("x-amz-checksum-type")
	case name == "" && kind != "":
		return "", "", refuse(codeInvalidRequest, "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	case name == "":
		return "", "", nil
	case kind == "" && a == algorithmCRC64NVME:
		kind = checksumFullObject
	case kind == "":
		kind = checksumComposite
	case kind == checksumComposite && a == algorithmCRC64NVME, kind == checksumFullObject && !a.linear():
		return "", "", refuse(codeInvalidRequest, "The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(name))
	}
	return a, kind, nil
}

// openUpload finds the upload that the request names.
func (q *request) openUpload() (root granary.InodeID, m *multipart, err error) {
	if root, err = q.bucketRoot(); err != nil {
		return 0, nil, err
	}
	m, err = q.h.findUpload(q.r.Context(), root, q.query.Get("uploadId"))
	if err == nil && m.key != q.key {
		err = noSuchUpload()
	}
	return root, m, err
}

func (h *Handler) findUpload(ctx context.Context, root granary.InodeID, id string) (*multipart, error) {
	if !validUploadID(id) {
		return nil, noSuchUpload()
	}
	info, err := h.store.Stat(ctx, root.Dataset().System(), id, filer.StatOptions{Xattrs: true})
	if err != nil {
		return nil, uploadError(err)
	}
	key, ok := info.Xattr(xattrUploadKey)
	if !ok || !info.Attr.IsDir() {
		return nil, noSuchUpload()
	}
	m := &multipart{id: id, key: string(key), dir: info.Attr.Inode, version: info.Attr.Version, initiated: info.Attr.Btime}
	m.algorithm, m.checksumType, m.unasked = algorithmDefault, checksumFullObject, true
	if v, ok := info.Xattr(xattrUploadChecksum); ok {
		name, kind, _ := strings.Cut(string(v), " ")
		m.algorithm, m.checksumType, m.unasked = algorithm(name), kind, false
	}
	if class, ok := info.Xattr(xattrUploadClass); ok {
		m.class = string(class)
	}
	if m.record, err = uploadRecord(info); err != nil {
		return nil, err
	}
	for _, x := range info.Xattrs {
		if name, ok := strings.CutPrefix(x.Name, xattrUpload); ok {
			x.Name = xattrPrefix + name
		}
		if isProperty(x) {
			m.metadata = append(m.metadata, x)
		}
	}
	return m, nil
}

func (q *request) partNumber() (int, error) {
	n, err := strconv.Atoi(q.query.Get("partNumber"))
	if err != nil || n < 1 || n > partNumberMax {
		return 0, refuseArgument("partNumber", q.query.Get("partNumber"), "Part number must be an integer between 1 and %d, inclusive.", partNumberMax)
	}
	return n, nil
}

// partOptions says what a part becomes. Its path hangs on the inode of the upload's directory, so that
// a part that comes after the upload has been completed or aborted cannot bring the directory back.
func (m *multipart) partOptions(number int) filer.UploadOptions {
	return filer.UploadOptions{Root: m.dir, Path: partName(number), Mode: 0o600, NoInline: true, StorageClass: m.class}
}

func (q *request) uploadPart() error {
	number, err := q.partNumber()
	if err != nil {
		return err
	}
	if q.body.size < 0 {
		return refuse(codeMissingLength, "You must provide the Content-Length HTTP header.")
	}
	_, m, err := q.openUpload()
	if err != nil {
		return err
	}
	told, err := q.partChecksum(m)
	if err != nil {
		return err
	}
	o := m.partOptions(number)
	if err := q.sealPart(m, number, &o, q.body); err != nil {
		return err
	}
	q.body.computeMD5()
	if _, err := q.publish(o); err != nil {
		return uploadError(err)
	}
	q.w.Header().Set("Etag", quoteETag(q.body.etag()))
	if told != "" {
		q.w.Header().Set(told.header(), q.body.sums()[told])
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// partChecksum has the checksum of a part computed that the upload's is made of, and returns the one to tell the client, "" for none. A part of a
// composite checksum has to come with its own.
func (q *request) partChecksum(m *multipart) (algorithm, error) {
	mismatch := func(actual algorithm) error {
		return refuse(codeInvalidRequest, "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", m.algorithm, actual)
	}
	var told algorithm
	for _, d := range q.body.digests {
		told = d.algorithm
	}
	switch {
	case m.unasked:
	case told != "" && told != m.algorithm:
		return "", mismatch(told)
	case told == "" && m.checksumType == checksumComposite:
		return "", mismatch("null")
	default:
		told = m.algorithm
	}
	q.body.addDigest(m.algorithm)
	return told, nil
}

// uploadPartCopy makes a part of a range of an object. The bytes are read, for the part's ETag and
// checksum are of them; they are stored once all the same.
func (q *request) uploadPartCopy() error {
	number, err := q.partNumber()
	if err != nil {
		return err
	}
	_, m, err := q.openUpload()
	if err != nil {
		return err
	}
	source, err := q.copySource()
	if err != nil {
		return err
	}
	info, err := q.statSource(source)
	if err != nil {
		return err
	}
	if info.Attr.IsDir() {
		return refuse(codeInvalidRequest, "The copy source has no content.")
	}
	part, err := sourceRange(q.r.Header, sizeOf(&info.Attr))
	if err != nil {
		return err
	}
	o, content := m.partOptions(number), &body{size: part.length, lanes: &q.h.lanes}
	if err := q.sealPart(m, number, &o, content); err != nil {
		return err
	}
	return q.slowly(func() (any, error) {
		return q.copyPart(m, o, content, source, info, part)
	})
}

func (q *request) copyPart(m *multipart, o filer.UploadOptions, content *body, source copySource, info *filer.Info, part byteRange) (any, error) {
	file, err := q.openSource(info, source)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := file.NewReader(part.offset, part.length)
	defer reader.Close()
	content.in = reader
	content.computeMD5()
	content.addDigest(m.algorithm)
	up, err := q.h.store.Upload(q.r.Context(), o)
	if err != nil {
		return nil, uploadError(err)
	}
	defer up.Abort()
	if _, err := io.Copy(onlyWriter{up}, content); err != nil {
		return nil, err
	}
	copied, err := up.Commit(content.xattrs())
	if err != nil {
		return nil, uploadError(err)
	}
	var e checksumElements
	if !m.unasked {
		e = elements(content.sums())
		e.ChecksumType = ""
	}
	return &copyResult{
		XMLName: xml.Name{Local: "CopyPartResult"}, Xmlns: xmlNamespace, LastModified: isoTime(copied.Attr.Mtime),
		ETag: quoteETag(content.etag()), checksumElements: e,
	}, nil
}

func (q *request) abortMultipartUpload() error {
	root, m, err := q.openUpload()
	if err != nil {
		return err
	}
	if text := q.r.Header.Get("X-Amz-If-Match-Initiated-Time"); text != "" {
		if t, err := http.ParseTime(text); err != nil || !t.After(q.h.now()) && !t.Equal(m.initiated.Std().Truncate(time.Second)) { // AWS passes over times to come
			return refuse(codePrecondition, "At least one of the pre-conditions you specified did not hold.")
		}
	}
	if err := q.h.removeUpload(q.r.Context(), root, m); err != nil {
		return uploadError(err)
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// removeUpload removes an upload with its parts: one step, however many there are.
func (h *Handler) removeUpload(ctx context.Context, root granary.InodeID, m *multipart) error {
	return h.store.Remove(ctx, root.Dataset().System(), m.id, filer.RemoveOptions{Recursive: true})
}
