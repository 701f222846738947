package s3

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// renameSourceHeader names the object that RenameObject renames; conditions on it begin with the same.
const renameSourceHeader = "X-Amz-Rename-Source"

// renameRetries is how often a rename begins again because one of the objects was replaced after it had been looked at.
const renameRetries = 3

// renameObject gives an object another key: in one step, however large it is. The file stays what it is, so that its metadata, tags and
// list go along.
func (q *request) renameObject() error {
	source, err := q.renameSource()
	if err != nil {
		return err
	}
	b, err := q.openBucket()
	if err != nil {
		return err
	}
	if _, ok := b.Xattr(granary.XattrVersioning); ok {
		return refuse(codeInvalidBucketState, "The bucket keeps versions of its objects, which cannot be renamed.")
	}
	for _, action := range []string{"s3:GetObject", "s3:DeleteObject"} {
		if err := q.permitKey(action, source, 0); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		op := &granary.Rename{SrcParent: b.Attr.Inode, SrcName: source, DstParent: b.Attr.Inode, DstName: q.key}
		looked, err := q.renameConditions(op)
		if err != nil {
			return err
		}
		_, err = q.h.store.RenameKey(q.r.Context(), op)
		switch {
		case err == nil:
			q.w.WriteHeader(http.StatusOK)
			return nil
		case looked && granary.IsKind(err, granary.KindPrecondition) && try < renameRetries:
		default:
			return lockError(err)
		}
	}
}

// renameSource returns the key that is renamed, percent-encoded in the header: bare, or as /BUCKET/KEY.
func (q *request) renameSource() (string, error) {
	text := q.r.Header.Get(renameSourceHeader)
	text = strings.TrimPrefix(text, "/"+q.bucket+"/")
	source, err := url.PathUnescape(text)
	switch {
	case err != nil || source == "":
		return "", refuse(codeInvalidArgument, "x-amz-rename-source must be the key of an object of this bucket, URL-encoded.")
	case strings.HasSuffix(source, "/") || strings.HasSuffix(q.key, "/"):
		return "", refuse(codeInvalidArgument, "A key that ends in a slash cannot be renamed, nor be what another is renamed to.")
	}
	if err := checkKey(source); err != nil {
		return "", err
	}
	return source, checkKey(q.key)
}

// renameConditions evaluates the conditions of a rename, and has the store check them again in the step that renames. It reports whether
// that depends on what was looked at here.
func (q *request) renameConditions(op *granary.Rename) (looked bool, err error) {
	find := func(key string) (*filer.Info, error) { return q.findObject(op.SrcParent, key, 0) }
	source, err := find(op.SrcName)
	if err != nil {
		return false, err
	}
	failed := refuse(codePrecondition, "At least one of the pre-conditions you specified did not hold.")
	if conditional(q.r.Header, renameSourceHeader+"-") {
		if evaluate(q.r.Header, renameSourceHeader+"-", source.ETag(), source.Attr.Mtime.Std()) != proceed {
			return false, failed
		}
		looked, op.SrcMatch = true, &granary.Precondition{Version: source.Attr.Version}
	}
	if q.r.Header.Get("If-Modified-Since") == "" && q.r.Header.Get("If-Unmodified-Since") == "" {
		op.Match, err = writeCondition(q.r.Header)
		return looked, err
	}
	there, err := find(op.DstName)
	if err != nil && explain(err, codeNoSuchKey).code == codeNoSuchKey {
		if q.r.Header.Get("If-Match") != "" {
			return false, failed
		}
		op.Match = &granary.Precondition{Absent: true}
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if evaluate(q.r.Header, "", there.ETag(), there.Attr.Mtime.Std()) != proceed {
		return false, failed
	}
	op.Match = &granary.Precondition{Version: there.Attr.Version}
	return true, nil
}

// conditional reports whether there are conditional headers with a prefix.
func conditional(header http.Header, prefix string) bool {
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if header.Get(prefix+name) != "" {
			return true
		}
	}
	return false
}
