package web

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	fileMode      = 0o644
	directoryMode = 0o755

	// xattrHeaderPrefix begins the attributes that keep headers of a file, as the S3 door does; the
	// header's name in lower case follows.
	xattrHeaderPrefix = "granary.s3."
	xattrContentType  = xattrHeaderPrefix + "content-type"
)

// self is the door itself, with the authority of uid 0: so it does what is its own business, and so acts a request where nobody is asked
// who they are. What is made so belongs to filer.Options.Owner.
func self() granary.Cred { return granary.Cred{} }

// stored is what is told of a file stored.
type stored struct {
	Path string `json:"path"`
	Size uint64 `json:"size"`
	ETag string `json:"etag"`
}

// put stores the body as a file, or makes a directory.
func (q *request) put() error {
	extracts, err := q.flag("extract")
	switch {
	case err != nil:
		return err
	case extracts:
		return q.extract()
	}
	switch offset, part, err := q.patchAt(); {
	case err != nil:
		return err
	case part:
		return q.patch(offset)
	}
	if q.slash {
		if err := q.emptyBody(); err != nil {
			return err
		}
		return q.mkdir("")
	}
	if err := q.refuseParts(); err != nil {
		return err
	}
	current, err := q.target(q.path)
	if err != nil {
		return err
	}
	match, err := precondition(q.r, q.path, current)
	if err != nil {
		return err
	}
	sums, err := announced(q.r)
	if err != nil {
		return err
	}
	attributes, err := q.attributes()
	if err != nil {
		return err
	}
	if q.keepProperties && current != nil {
		attributes.xattrs = append(attributes.xattrs, properties(current)...)
	}
	p, err := q.receive(&incoming{
		path: q.path, body: q.r.Body, size: q.r.ContentLength, contentType: bodyType(q.r), match: match, sums: sums, attributes: attributes,
	})
	if err != nil {
		return err
	}
	done, err := p.commit()
	if err != nil {
		return err
	}
	status := http.StatusOK
	if current == nil {
		status = http.StatusCreated
	}
	q.w.Header().Set("ETag", quoteETag(done.ETag))
	q.w.Header().Set("Location", escapePath(q.path))
	return q.sendJSON(status, done)
}

// emptyBody refuses a body where a name is missing for it.
func (q *request) emptyBody() error {
	var p [1]byte
	n, err := io.ReadFull(q.r.Body, p[:])
	if n > 0 {
		return granary.Errorf(granary.KindInvalid, "upload", q.path, "a file needs a name, and this path ends in '/'")
	}
	if err != io.EOF {
		return granary.Errorf(granary.KindInvalid, "upload", q.path, "the body: %w", err)
	}
	return nil
}

// refuseParts refuses what would be stored as something else than the client means.
func (q *request) refuseParts() error {
	switch {
	case q.path == "/":
		return granary.Errorf(granary.KindIsDir, "upload", q.path, "")
	case q.r.Header.Get("Content-Range") != "":
		return granary.Errorf(granary.KindNotSupported, "upload", q.path, "a part of a file (Content-Range): send it whole")
	case q.r.Header.Get("Content-Encoding") != "" && !strings.EqualFold(q.r.Header.Get("Content-Encoding"), "identity"):
		return &refusal{
			status: http.StatusUnsupportedMediaType, header: http.Header{"Accept-Encoding": {"identity"}},
			err: granary.Errorf(granary.KindNotSupported, "upload", q.path, "a Content-Encoding"),
		}
	case q.r.ContentLength > granary.FileSizeMax:
		return granary.Errorf(granary.KindFileTooLarge, "upload", q.path, "%d bytes, and at most %d fit", q.r.ContentLength, int64(granary.FileSizeMax))
	}
	return nil
}

// target returns what is at a path that a file is to be stored at, or nil. It is asked before the body
// is, so that a client that waits for "100 Continue" need not send one in vain; what counts is checked
// again when the file is committed.
func (q *request) target(p string) (*filer.Info, error) {
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, p, filer.StatOptions{Xattrs: true})
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Attr.IsDir():
		return nil, granary.Errorf(granary.KindIsDir, "upload", p, "")
	}
	return info, nil
}

// bodyType returns the Content-Type to keep with a body, or "". What curl sends of its own accord with
// --data-binary says nothing about the bytes.
func bodyType(r *http.Request) string {
	return keptType(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

// keptType returns a Content-Type if it is one, and not the one that says nothing.
func keptType(contentType, empty string) string {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || mediaType == empty {
		return ""
	}
	return contentType
}

// incoming is a file about to be received.
type incoming struct {
	path        string
	body        io.Reader
	size        int64 // bytes announced; -1 if not known
	contentType string
	match       *granary.Precondition
	sums        digests
	attributes  *attributes // nil: there is nothing special
}

// received is a file whose bytes have all come. It must be committed or aborted.
type received struct {
	q      *request
	path   string
	upload upload
	sum    []byte        // MD5
	mtime  *granary.Time // nil: of now
}

// receive streams a body into an upload. Nothing is published yet.
func (q *request) receive(in *incoming) (*received, error) {
	o := filer.UploadOptions{
		Path: in.path, Size: in.size, Mode: fileMode, Match: in.match, Xattrs: typeXattr(in.contentType),
	}
	p := &received{q: q, path: in.path}
	if a := in.attributes; a != nil {
		o.Mode, p.mtime = a.mode, a.mtime
		o.Xattrs = append(o.Xattrs, a.xattrs...)
	}
	o, err := q.h.uploadFor(q.r.Context(), q.cred, o)
	if err != nil {
		return nil, err
	}
	u, err := q.h.store.Upload(q.r.Context(), o)
	if err != nil {
		return nil, err
	}
	sum := md5.New()
	n, err := copyBody(&q.h.buffers, u, io.MultiWriter(sum, in.sums), in)
	if err == nil && in.size >= 0 && n != in.size {
		err = granary.Errorf(granary.KindInvalid, "upload", in.path, "the body has %d bytes, and not the %d announced", n, in.size)
	}
	if err == nil {
		err = in.sums.check(in.path)
	}
	if err != nil {
		u.Abort()
		return nil, err
	}
	p.upload, p.sum = u, sum.Sum(nil)
	return p, nil
}

// copyBody copies a body to its end into an upload and into sums. That the body broke off is the client's
// doing: KindInvalid.
func copyBody(b *filer.CopyBuffers, u, sums io.Writer, in *incoming) (int64, error) {
	buffer := b.Get()
	defer b.Put(buffer)
	p := buffer[:]
	var total int64
	for {
		n, rerr := in.body.Read(p)
		if n > 0 {
			if _, err := sums.Write(p[:n]); err != nil {
				return total, err
			}
			if _, err := u.Write(p[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if errors.Is(rerr, io.EOF) {
			return total, nil
		}
		if rerr != nil {
			return total, granary.Errorf(granary.KindInvalid, "upload", in.path, "the body broke off after %d bytes: %w", total, rerr)
		}
	}
}

// commit publishes the file.
func (f *received) commit() (stored, error) {
	etag := hex.EncodeToString(f.sum)
	info, err := f.upload.Commit([]granary.Xattr{{Name: granary.XattrETag, Value: []byte(etag)}})
	if err != nil {
		f.upload.Abort()
		return stored{}, err
	}
	if f.mtime != nil {
		// The file is published, and whoever is told of an error here cannot know whether it was.
		if _, err := f.q.h.store.SetAttr(f.q.r.Context(), f.q.cred, &granary.SetAttr{Inode: info.Attr.Inode, Mtime: f.mtime}); err != nil {
			return stored{}, err
		}
		if f.q.r.Header.Get("X-Oc-Mtime") != "" {
			f.q.w.Header().Set("X-OC-MTime", "accepted")
		}
	}
	return stored{Path: f.path, Size: info.Attr.Size, ETag: etag}, nil
}

func (f *received) abort() { f.upload.Abort() }

// escapePath returns a clean path as a reference within the host. It never begins with "//" or "/\",
// which would lead to another one.
func escapePath(clean string) string { return (&url.URL{Path: clean}).EscapedPath() }

// parentOf returns the directory of a clean path, as a reference that ends in '/'.
func parentOf(clean string) string {
	dir := path.Dir(clean)
	if dir != "/" {
		dir += "/"
	}
	return escapePath(dir)
}
