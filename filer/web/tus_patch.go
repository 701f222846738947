package web

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	// tusPartSize is how many bytes of a body become durable at a time; twice as many after every tusPartsDouble parts, so that a file
	// of any size has few enough.
	tusPartSize    = 64 << 20
	tusPartsDouble = 1000
)

// tusPatch takes bytes of an upload.
func (q *request) tusPatch(id string) error {
	if q.r.Header.Get("Content-Type") != tusBodyType {
		return &refusal{status: http.StatusUnsupportedMediaType, err: granary.Errorf(granary.KindInvalid, "tus", id, "the Content-Type is %s", tusBodyType)}
	}
	text := q.r.Header.Get("Upload-Offset")
	if text == "" {
		return granary.Errorf(granary.KindInvalid, "tus", id, "there is no Upload-Offset")
	}
	offset, err := parseSize("Upload-Offset", text)
	if err != nil {
		return err
	}
	u, err := q.loadTus(id)
	if err != nil {
		return err
	}
	switch {
	case u.doc.Concatenation():
		return &refusal{status: http.StatusForbidden, err: granary.Errorf(granary.KindPermission, "tus", id, "it is made of others")}
	case uint64(offset) != u.offset:
		return &refusal{status: http.StatusConflict, err: granary.Errorf(granary.KindStale, "tus", id, "the upload is at %d, and not at %d", u.offset, offset)}
	}
	if err := q.tusLength(u); err != nil {
		return err
	}
	if err := q.receiveTus(u); err != nil {
		return err
	}
	q.showTus(u)
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// tusLength takes the length of an upload that was begun without.
func (q *request) tusLength(u *tusUpload) error {
	text := q.r.Header.Get("Upload-Length")
	if text == "" {
		return nil
	}
	n, err := parseSize("Upload-Length", text)
	switch {
	case err != nil:
		return err
	case n == u.doc.Length:
		return nil
	case u.doc.Length >= 0 || uint64(n) < u.offset:
		return granary.Errorf(granary.KindInvalid, "tus", u.id, "the length of the upload cannot become %d", n)
	}
	u.doc.Length = n
	doc, err := json.Marshal(&u.doc)
	if err != nil {
		return err
	}
	return q.h.fs.SetXattr(q.r.Context(), granary.Cred{}, &granary.SetXattr{Inode: u.state, Xattr: granary.Xattr{Name: xattrTus, Value: doc}})
}

// receiveTus takes the body of the request, and publishes the file when all has come. Of a body that breaks off, what has come is kept, unless it has
// a checksum: then all of it is, or nothing.
func (q *request) receiveTus(u *tusUpload) error {
	sum, err := tusChecksum(q.r.Header.Get("Upload-Checksum"))
	if err != nil {
		return err
	}
	room := int64(granary.FileSizeMax)
	if u.doc.Length >= 0 {
		room = u.doc.Length
	}
	room -= int64(u.offset)
	if q.r.ContentLength > room {
		return &refusal{status: http.StatusRequestEntityTooLarge, err: granary.Errorf(granary.KindTooLarge, "tus", u.id, "%d bytes, and %d are missing", q.r.ContentLength, room)}
	}
	// Whoever sent them may be gone: what has come is kept all the same.
	ctx := context.WithoutCancel(q.r.Context())
	r := &tusReceiver{h: q.h, u: u, body: q.r.Body, room: room, sum: sum}
	for !r.ended {
		if err := r.part(ctx); err != nil {
			return err
		}
	}
	// The directory has changed with every part.
	dir, err := q.h.fs.GetAttr(ctx, u.dir)
	if err != nil {
		return err
	}
	u.version, u.touched = dir.Version, dir.Mtime.Std()
	if r.broken != nil {
		return granary.Errorf(granary.KindInvalid, "tus", u.id, "the body broke off; the upload is at %d: %w", u.offset, r.broken)
	}
	return q.h.finishTus(ctx, u)
}

// tusReceiver takes the body of a request in parts.
type tusReceiver struct {
	h      *Handler
	u      *tusUpload
	body   io.Reader
	room   int64     // bytes that may still come
	sum    *checksum // nil: none was announced
	ended  bool
	broken error // why the body ended before it should
}

// part makes one part of what comes.
func (r *tusReceiver) part(ctx context.Context) error {
	if len(r.u.parts) == granary.PartsMax {
		return granary.Errorf(granary.KindTooLarge, "tus", r.u.id, "the upload has come in %d pieces, which are too many: send longer ones", granary.PartsMax)
	}
	name := tusPartName(r.u.offset)
	up, err := r.h.fs.Upload(ctx, filer.UploadOptions{Root: r.u.dir, Path: name, Mode: 0o600, NoInline: true, Exclusive: true})
	if granary.IsKind(err, granary.KindNotFound) {
		return noTusUpload(r.u.id)
	}
	if err != nil {
		return err
	}
	defer up.Abort()
	size := int64(tusPartSize) << (len(r.u.parts) / tusPartsDouble)
	if r.sum != nil {
		size = granary.FileSizeMax
	}
	n, err := r.fill(up, min(size, r.room))
	switch {
	case err != nil:
		return err
	case n == r.room && r.more():
		return &refusal{status: http.StatusRequestEntityTooLarge, err: granary.Errorf(granary.KindTooLarge, "tus", r.u.id, "the body goes beyond the end of the upload")}
	case r.sum != nil && r.broken != nil:
		return granary.Errorf(granary.KindInvalid, "tus", r.u.id, "the body broke off before its checksum could be compared: %w", r.broken)
	case r.ended && r.sum != nil && !bytes.Equal(r.sum.Sum(nil), r.sum.want):
		return &refusal{status: statusChecksumMismatch, err: granary.Errorf(granary.KindInvalid, "tus", r.u.id, "the checksum of the body is %x, and not %x", r.sum.Sum(nil), r.sum.want)}
	case n == 0:
		return nil
	}
	info, err := up.Commit(nil)
	switch {
	case granary.IsKind(err, granary.KindExists): // another request was here, through another filer
		return &refusal{status: http.StatusConflict, err: err}
	case granary.IsKind(err, granary.KindNotFound):
		return noTusUpload(r.u.id)
	case err != nil:
		return err
	}
	r.u.parts = append(r.u.parts, granary.Entry{Name: name, Attr: info.Attr})
	r.u.offset += uint64(n)
	r.room -= n
	return nil
}

// fill copies up to size bytes of the body, and notes if it ended.
func (r *tusReceiver) fill(up io.Writer, size int64) (int64, error) {
	buffer := r.h.buffers.Get()
	defer r.h.buffers.Put(buffer)
	var total int64
	for total < size {
		n, rerr := r.body.Read(buffer[:min(filer.CopySize, size-total)])
		if n > 0 {
			if r.sum != nil {
				r.sum.Write(buffer[:n])
			}
			if _, err := up.Write(buffer[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if rerr != nil {
			r.ended = true
			if !errors.Is(rerr, io.EOF) {
				r.broken = rerr
			}
			return total, nil
		}
	}
	return total, nil
}

// more reports whether anything follows in the body.
func (r *tusReceiver) more() bool {
	var one [1]byte
	for !r.ended {
		n, err := r.body.Read(one[:])
		if n > 0 {
			return true
		}
		r.ended = err != nil
	}
	return false
}

// checksum is one that was announced.
type checksum struct {
	hash.Hash
	want []byte
}

// tusChecksum reads Upload-Checksum, or returns nil for none.
func tusChecksum(text string) (*checksum, error) {
	if text == "" {
		return nil, nil
	}
	name, encoded, _ := strings.Cut(text, " ")
	c := &checksum{}
	switch name {
	case "sha1":
		c.Hash = sha1.New()
	case "sha256":
		c.Hash = sha256.New()
	case "sha512":
		c.Hash = sha512.New()
	case "md5":
		c.Hash = md5.New()
	case "crc32":
		c.Hash = crc32.NewIEEE()
	case "crc32c":
		c.Hash = crc32.New(crc32.MakeTable(crc32.Castagnoli))
	default:
		return nil, granary.Errorf(granary.KindInvalid, "tus", "", "Upload-Checksum: there are %s", tusChecksums)
	}
	var err error
	if c.want, err = base64.StdEncoding.DecodeString(encoded); err != nil || len(c.want) != c.Size() {
		return nil, granary.Errorf(granary.KindInvalid, "tus", "", "Upload-Checksum: %q", text)
	}
	return c, nil
}
