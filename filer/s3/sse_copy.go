package s3

import (
	"crypto/md5"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// Of what is encrypted, and stays so, a copy refers to the same stored bytes; its data key is wrapped anew. What was plain is read and encrypted,
// and the reverse.

// sealCopy has the attributes of a copy say how it is encrypted, and what its ETag is. by is how it is to be. Streams reports whether the content is to be
// copied by value.
func (q *request) sealCopy(info *filer.Info, source copySource, by *encryption, content []granary.Xattr) (_ []granary.Xattr, streams bool, err error) {
	if info.Attr.IsDir() {
		return content, false, nil
	}
	r, err := seal.RecordOf(info.Xattrs)
	if err != nil {
		return nil, false, err
	}
	from, err := q.opened(info, sseSource)
	if err != nil {
		return nil, false, err
	}
	if content, err = q.copiedTag(info, source, from, by, content); err != nil {
		return nil, false, err
	}
	if r == nil || by == nil {
		return content, r != nil || by != nil, nil
	}
	if r, err = q.h.store.Rewrap(q.r.Context(), r, from.key(), by.key()); err != nil {
		return nil, false, err
	}
	return slices.Concat(content, r.Xattrs()), false, nil
}

// copiedTag gives a copy an ETag that tells nothing of the content, if its key is a customer's; and if the source's was, and has one of a
// whole, the MD5.
func (q *request) copiedTag(info *filer.Info, source copySource, from, by *encryption, content []granary.Xattr) ([]granary.Xattr, error) {
	if !from.byCustomer() && !by.byCustomer() {
		return content, nil
	}
	tag := info.ETag()
	_, parts, composed := strings.Cut(tag, "-")
	switch {
	case by.byCustomer():
		if tag = randomID(); composed {
			tag += "-" + parts
		}
	case !composed:
		h := md5.New()
		if err := q.readSource(info, source, h); err != nil {
			return nil, err
		}
		tag = hex.EncodeToString(h.Sum(nil))
	}
	content = slices.DeleteFunc(slices.Clone(content), func(x granary.Xattr) bool { return x.Name == granary.XattrETag })
	return append(content, granary.Xattr{Name: granary.XattrETag, Value: []byte(tag)}), nil
}

// readSource reads all of the copy source into a hash.
func (q *request) readSource(info *filer.Info, source copySource, into hash.Hash) error {
	file, err := q.openSource(info, source)
	if err != nil {
		return err
	}
	defer file.Close()
	return copyAll(into, file, info, source)
}

// copyAll writes all that a copy source has.
func copyAll(w io.Writer, file object, info *filer.Info, source copySource) error {
	reader := file.NewReader(0, sizeOf(&info.Attr))
	defer reader.Close()
	n, err := io.Copy(w, reader)
	if err == nil && n != sizeOf(&info.Attr) {
		err = granary.Errorf(granary.KindInternal, "s3.copy", source.key, "%d bytes came of %d", n, info.Attr.Size)
	}
	return err
}

// copyValue copies by value: KindStale if the source is another by now.
func (q *request) copyValue(info *filer.Info, source copySource, by *encryption, o filer.UploadOptions) (*filer.Info, error) {
	ctx := q.r.Context()
	file, err := q.openSource(info, source)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if file.Stat().Attr.Version != info.Attr.Version {
		return nil, granary.Errorf(granary.KindStale, "s3.copy", source.key, "it has changed")
	}
	if by != nil {
		if o.Seal, err = q.h.store.NewSeal(ctx, by.key()); err != nil {
			return nil, err
		}
	}
	up, err := q.h.store.Upload(ctx, o)
	if err != nil {
		return nil, err
	}
	defer up.Abort()
	if err := copyAll(onlyWriter{up}, file, info, source); err != nil {
		return nil, err
	}
	return up.Commit(nil)
}
