package s3

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// fileMode is the mode of files that objects are.
const fileMode = 0o644

// staleRetriesMax bounds how often a read begins again because the object was replaced under it.
const staleRetriesMax = 3

// noSuchKey is what a missing object is refused with, whatever is there in its place.
func noSuchKey() *apiError { return refuse(codeNoSuchKey, "The specified key does not exist.") }

// readError turns the ways in which a path leads to no object into NoSuchKey.
func readError(err error) error {
	switch granary.KindOf(err) {
	case granary.KindNotFound, granary.KindNotDir, granary.KindIsDir, granary.KindNameTooLong, granary.KindLoop:
		return noSuchKey()
	default:
		return err
	}
}

// isObject reports whether what a key led to is an object: a regular file, or a directory that is marked as one and stands for
// a key that ends in a slash.
func isObject(a *granary.Attr, key string) bool {
	if a.IsDir() {
		return a.Flags&granary.FlagMarker != 0 && strings.HasSuffix(key, "/")
	}
	return a.Type == granary.TypeRegular
}

func sizeOf(attr *granary.Attr) int64 {
	if attr.IsDir() {
		return 0
	}
	return int64(attr.Size)
}

// checkRead refuses what is wrong with a request to read, whatever is there.
func (q *request) checkRead() error {
	if q.query.Has("partNumber") {
		if _, err := q.partNumber(); err != nil {
			return err
		}
	}
	if q.identity.caller.principal.Anonymous {
		for name := range q.query {
			if strings.HasPrefix(name, "response-") {
				return refuse(codeInvalidRequest, "Request specific response headers cannot be used for anonymous GET requests.")
			}
		}
	}
	return nil
}

func (q *request) headObject() error {
	if err := q.checkRead(); err != nil {
		return err
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	version, err := q.version()
	if err != nil {
		return err
	}
	info, err := q.findObject(root, q.key, version)
	if err != nil {
		return q.hide(err)
	}
	_, _, err = q.beginObject(info)
	return err
}

func (q *request) getObject() error {
	if err := q.checkRead(); err != nil {
		return err
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	version, err := q.version()
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := q.sendObject(root, version)
		if !granary.IsKind(err, granary.KindStale) || q.w.began || attempt == staleRetriesMax {
			return err
		}
	}
}

// sendObject answers with a file. The answer begins with the first byte read: what fails before is
// still a proper error, and what fails later cuts the answer off.
func (q *request) sendObject(root granary.InodeID, version granary.ObjectVersion) error {
	file, err := q.h.store.OpenKey(q.r.Context(), root, q.key, version)
	if granary.IsKind(err, granary.KindIsDir) || granary.IsKind(err, granary.KindNotFound) {
		return q.headObject() // an object that is a mark on its directory has no content; and what was deleted may have a delete marker
	}
	if err != nil {
		return q.hide(readError(err))
	}
	defer file.Close()
	status, part, err := q.prepareObject(file.Stat())
	if err != nil {
		return err
	}
	if status >= 300 || part.length == 0 {
		q.w.WriteHeader(status)
		return nil
	}
	if err := q.unlock(file, sseHeader); err != nil {
		return err
	}
	reader := file.NewReader(part.offset, part.length)
	defer reader.Close()
	n, err := io.Copy(&lateWriter{w: q.w, status: status}, reader)
	if err != nil {
		return err
	}
	if n != part.length {
		return granary.Errorf(granary.KindInternal, "s3.get", q.key, "%d bytes came of %d", n, part.length)
	}
	return nil
}

// lateWriter sends the status with the first byte.
type lateWriter struct {
	w      *responseWriter
	status int
}

// Write implements io.Writer.
func (l *lateWriter) Write(p []byte) (int, error) {
	if !l.w.began {
		l.w.WriteHeader(l.status)
	}
	return l.w.Write(p)
}

// beginObject answers with an object's headers.
func (q *request) beginObject(info *filer.Info) (int, byteRange, error) {
	status, part, err := q.prepareObject(info)
	if err == nil {
		q.w.WriteHeader(status)
	}
	return status, part, err
}

// prepareObject evaluates conditions and Range, and sets the headers of the answer.
func (q *request) prepareObject(info *filer.Info) (status int, part byteRange, err error) {
	if err := q.show(info); err != nil {
		return 0, part, err
	}
	etag, modified, size := info.ETag(), info.Attr.Mtime.Std(), sizeOf(&info.Attr)
	header, asked := q.w.Header(), q.r.Header
	q.objectSize = size
	if err := q.tellClass(&info.Attr); err != nil {
		return 0, part, err
	}
	header.Set("Etag", quoteETag(etag))
	header.Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	switch evaluate(asked, "", etag, modified) {
	case preconditionFailed:
		return 0, part, refuse(codePrecondition, "At least one of the pre-conditions you specified did not hold.")
	case notModified:
		return http.StatusNotModified, part, nil
	}
	part = byteRange{length: size}
	if text := asked.Get("Range"); text != "" && ifRangeHolds(asked.Get("If-Range"), etag, modified.UTC().Format(http.TimeFormat)) {
		if part, err = parseRange(text, size); err != nil {
			header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			return 0, part, err
		}
	}
	if q.query.Has("partNumber") {
		if asked.Get("Range") != "" {
			return 0, part, refuse(codeInvalidRequest, "Cannot specify both Range header and partNumber query parameter")
		}
		var count int
		if part, count, err = partRange(info, q.query.Get("partNumber"), size); err != nil {
			return 0, part, err
		}
		if count > 0 {
			header.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(count))
			q.setPartChecksum(info)
		}
	}
	q.setVersionID(&info.Attr)
	setTagCount(header, info.Xattrs)
	setLock(header, info)
	header.Set("Content-Type", contentTypeDefault)
	if info.Attr.IsDir() {
		header.Set("Content-Type", contentTypeMarker)
	}
	setMetadata(header, info.Xattrs)
	q.overrideHeaders(header)
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Length", strconv.FormatInt(part.length, 10))
	if part.partial {
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.offset, part.offset+part.length-1, size))
		return http.StatusPartialContent, part, nil
	}
	if strings.EqualFold(asked.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		setChecksums(header, checksumsOf(info.Xattrs))
	}
	return http.StatusOK, part, nil
}

// setPartChecksum tells the checksum of the part that a request asks for.
func (q *request) setPartChecksum(info *filer.Info) {
	if !strings.EqualFold(q.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		return
	}
	a, sums := partSums(info)
	if n, err := strconv.Atoi(q.query.Get("partNumber")); err == nil && n <= len(sums) {
		q.w.Header().Set(a.header(), sums[n-1])
		q.w.Header().Set("X-Amz-Checksum-Type", elements(checksumsOf(info.Xattrs)).ChecksumType)
	}
}

// ifRangeHolds reports whether a Range is to be obeyed.
func ifRangeHolds(condition, etag, modified string) bool {
	return condition == "" || condition == modified || unquoteETag(condition) == etag && !strings.HasPrefix(condition, "W/")
}

// overrideHeaders applies the response-… parameters of the query.
func (q *request) overrideHeaders(header http.Header) {
	for _, name := range storedHeaders() {
		if name == redirectHeader {
			continue
		}
		if value := q.query.Get("response-" + strings.ToLower(name)); value != "" {
			header.Set(name, value)
		}
	}
}

// setChecksums writes checksums as headers.
func setChecksums(header http.Header, sums map[algorithm]string) {
	for a, sum := range sums {
		header.Set(a.header(), sum)
		header.Set("X-Amz-Checksum-Type", checksumTypeOf(sum))
	}
}

func (q *request) putObject() error {
	if q.query.Has("partNumber") { // a part without its uploadId must not replace the object
		return refuse(codeInvalidRequest, "A part number needs an upload ID.")
	}
	if err := checkKey(q.key); err != nil {
		return err
	}
	if q.body.size < 0 {
		return refuse(codeMissingLength, "You must provide the Content-Length HTTP header.")
	}
	if q.body.size > granary.FileSizeMax {
		return refuse(codeEntityTooLarge, "Your proposed upload exceeds the maximum allowed size of %d bytes.", int64(granary.FileSizeMax))
	}
	match, err := writeCondition(q.r.Header)
	if err != nil {
		return err
	}
	root, err := q.bucketRoot()
	if err != nil {
		return err
	}
	metadata, err := q.propertiesOf()
	if err != nil {
		return err
	}
	if err := q.checkEarly(root, match); err != nil {
		return err
	}
	sealed, err := q.sealObject()
	if err != nil {
		return err
	}
	q.body.computeMD5()
	q.body.addDefault()
	info, err := q.publish(filer.UploadOptions{
		Owner: q.identity.caller.cred, Root: root, Path: q.key, Key: true, Mode: fileMode, Xattrs: metadata, Match: match, Seal: sealed,
		StorageClass: q.storageClass(), RootAttr: &q.info.Attr,
	})
	if err != nil {
		return explain(err, codeNoSuchBucket)
	}
	q.setMadeVersion(&info.Attr)
	q.w.Header().Set("Etag", quoteETag(q.body.etag()))
	setChecksums(q.w.Header(), q.body.sums())
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// propertiesOf returns what a request gives to a new object of its bucket, as attributes: headers to keep, tags and locks.
func (q *request) propertiesOf() ([]granary.Xattr, error) {
	xattrs, err := q.metadataOf()
	if err != nil {
		return nil, err
	}
	tags, err := q.taggingOf()
	if err != nil {
		return nil, err
	}
	b, err := q.openBucket()
	if err != nil {
		return nil, err
	}
	if err := q.permitHeaders(); err != nil {
		return nil, err
	}
	list, err := q.listFor(b)
	if err != nil {
		return nil, err
	}
	locks, err := q.lockOf(b)
	return slices.Concat(xattrs, tags, list, locks), err
}

// checkEarly refuses a conditional write before its body is sent, where it can be known to fail. What
// counts is the check when it is committed.
func (q *request) checkEarly(root granary.InodeID, match *granary.Precondition) error {
	if match == nil {
		return nil
	}
	info, err := q.h.store.Stat(q.r.Context(), root, q.key, filer.StatOptions{Xattrs: true, Key: true})
	switch kind := granary.KindOf(err); {
	case kind == granary.KindNotFound && match.Absent:
		return nil
	case kind == granary.KindNotFound:
		return noSuchKey()
	case err != nil:
		return err
	case match.Absent, match.ETag != "" && match.ETag != info.ETag():
		return refuse(codePrecondition, "At least one of the pre-conditions you specified did not hold.")
	}
	return nil
}

// publish streams the body into a file, and publishes it only when everything the request claims about
// the body has been verified (invariant 1).
func (q *request) publish(o filer.UploadOptions) (*filer.Info, error) {
	o.Size = q.body.size
	up, err := q.h.store.Upload(q.r.Context(), o)
	if err != nil {
		return nil, err
	}
	defer up.Abort()
	var buffer []byte
	if q.body.size >= 0 && q.body.size < filer.CopySize {
		buffer = make([]byte, q.body.size+1)
	} else {
		large := q.h.buffers.Get()
		defer q.h.buffers.Put(large)
		buffer = large[:]
	}
	if _, err := io.CopyBuffer(onlyWriter{up}, q.body, buffer); err != nil {
		return nil, err
	}
	return up.CommitLast(func() ([]granary.Xattr, error) { return q.body.xattrs(), nil }) // those who wait for disks at the same time have their MD5 computed together
}

// onlyWriter hides other methods of a writer, so that CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

// existing finds the request's object.
func (q *request) existing() (*filer.Info, error) {
	root, err := q.bucketRoot()
	if err != nil {
		return nil, err
	}
	version, err := q.version()
	if err != nil {
		return nil, err
	}
	return q.findObject(root, q.key, version)
}
