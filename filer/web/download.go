package web

import (
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// get serves a file or a directory.
func (q *request) get() error { return absent(q.find()) }

// absent gives the error that a component of a path is not a directory the status 404: to whoever only
// looks for what is there, or wants it gone, nothing is.
func absent(err error) error {
	if granary.IsKind(err, granary.KindNotDir) {
		return &refusal{status: http.StatusNotFound, err: err}
	}
	return err
}

func (q *request) find() error {
	switch format := q.archiveFormat(); {
	case format != "":
		return q.archive(format)
	case q.query.Has("stat"):
		return q.stat()
	case q.query.Has("list"):
		return q.listTree()
	}
	if !q.slash && q.r.Method == http.MethodGet {
		f, err := q.h.store.OpenFile(q.r.Context(), granary.RootInode, q.path, true)
		if err == nil {
			return q.serveFile(f.Stat(), f)
		}
		if !granary.IsKind(err, granary.KindIsDir) {
			return err
		}
	}
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Follow: true, Xattrs: true})
	switch {
	case err != nil:
		return err
	case info.Attr.IsDir() && !q.slash:
		return q.redirectToDirectory()
	case info.Attr.IsDir():
		return q.list(info)
	case q.slash:
		return granary.Errorf(granary.KindNotDir, "open", q.path, "")
	case info.Attr.Type != granary.TypeRegular:
		return granary.Errorf(granary.KindInvalid, "open", q.path, "neither a file nor a directory")
	case q.permit(info.Attr.Inode, granary.AccessRead) != nil:
		return granary.Errorf(granary.KindPermission, "open", q.path, "")
	case q.r.Method != http.MethodHead: // a directory became a file between the two questions
		return granary.Errorf(granary.KindBusy, "open", q.path, "it is being changed")
	}
	return q.serveFile(info, nil)
}

// redirectToDirectory sends the client to the path with a slash at its end, from where the references
// of a listing lead to the right places.
func (q *request) redirectToDirectory() error {
	to := escapePath(q.path + "/")
	if q.r.URL.RawQuery != "" {
		to += "?" + q.r.URL.RawQuery
	}
	q.w.Header().Set("Location", to)
	q.w.Header().Set("Cache-Control", "no-cache") // a file may take the directory's place
	q.w.WriteHeader(http.StatusMovedPermanently)
	return nil
}

// serveFile sends a file, or what Range and the conditions leave of it. f is nil for HEAD.
// http.ServeContent knows the rules; content and contentWriter see to it that a failure shows.
func (q *request) serveFile(info *filer.Info, f file) error {
	download, err := q.flag("download")
	if err != nil {
		return err
	}
	c := &content{file: f, size: int64(info.Attr.Size)}
	header := q.w.Header()
	header.Set("Content-Type", contentType(info))
	header.Set("ETag", quoteETag(info.ETag()))
	showAttributes(header, info)
	header.Set("Cache-Control", "no-cache") // kept, but asked for again: the next GET sees the next PUT
	for _, name := range headersKept() {
		if v, ok := info.Xattr(xattrHeaderPrefix + strings.ToLower(name)); ok {
			header.Set(name, string(v))
		}
	}
	if header.Get("Content-Encoding") != "" { // ServeContent would leave it out, but the bytes sent are the file's
		header.Set("Content-Length", strconv.FormatInt(c.size, 10))
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "sandbox")
	if download {
		header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(q.path)}))
	}
	w := &contentWriter{responseWriter: q.w, content: c}
	http.ServeContent(w, q.r, "", info.Attr.Mtime.Std(), c)
	if err := c.close(); err != nil {
		return err
	}
	return w.finish(q.path)
}

// headersKept are the headers that S3 keeps with a file. They are sent here too: bytes that are gzip
// mean something else without their Content-Encoding.
func headersKept() []string {
	return []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}
}

// contentType returns what a file says it is, or what its name does; the bytes are not asked.
func contentType(info *filer.Info) string {
	if v, ok := info.Xattr(xattrContentType); ok && len(v) > 0 {
		return string(v)
	}
	extension := strings.ToLower(path.Ext(info.Name))
	switch extension { // what not every system's tables know
	case ".txt", ".log", ".md", ".conf", ".yaml", ".yml", ".toml":
		return "text/plain; charset=utf-8"
	case ".mp4":
		return "video/mp4"
	case ".mp3":
		return "audio/mpeg"
	}
	if t := mime.TypeByExtension(extension); t != "" {
		return t
	}
	return "application/octet-stream"
}

// content is a file as http.ServeContent reads it. It remembers the error that ServeContent would
// swallow.
type content struct {
	mu     sync.Mutex // for several ranges ServeContent reads in a goroutine of its own, which may outlive it
	file   file       // nil: it is not read; after close too
	size   int64
	offset int64
	err    error
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += c.offset
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, granary.Errorf(granary.KindInvalid, "seek", "", "to %d", offset)
	}
	c.offset = offset
	return offset, nil
}

// Read implements io.Reader: for answers with several ranges.
func (c *content) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.file == nil:
		return 0, granary.Errorf(granary.KindCanceled, "read", "", "")
	case c.offset >= c.size:
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.size-c.offset)]
	n, err := c.file.ReadAt(p, c.offset)
	c.offset += int64(n)
	switch {
	case n == len(p):
		return n, nil
	case err == nil || err == io.EOF:
		err = granary.Errorf(granary.KindStale, "read", "", "the file ended %d bytes before its size", c.size-c.offset)
	}
	c.err = err
	return n, err
}

// stream sends length bytes from where the content stands, read ahead. w must not be asked to read.
func (c *content) stream(w io.Writer, length int64) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return 0, granary.Errorf(granary.KindCanceled, "read", "", "")
	}
	r := c.file.NewReader(c.offset, length)
	n, err := io.Copy(w, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	c.offset += n
	if err == nil && n != length {
		err = granary.Errorf(granary.KindStale, "read", "", "the file ended %d bytes before its size", length-n)
	}
	c.err = err
	return n, err
}

// close gives the file up and returns the error of reading or sending it.
func (c *content) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.file
	c.file = nil
	if f == nil {
		return c.err
	}
	if err := f.Close(); c.err == nil {
		c.err = err
	}
	return c.err
}

// contentWriter holds an answer's header back until its first byte is there, so that a file whose very
// beginning cannot be read is answered with an error, and the errors of http.ServeContent in the form of
// all others.
type contentWriter struct {
	*responseWriter
	content *content
	status  int
}

// WriteHeader implements http.ResponseWriter.
func (w *contentWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *contentWriter) begin() {
	if w.responseWriter.status == 0 {
		w.responseWriter.WriteHeader(w.status)
	}
}

// Write implements http.ResponseWriter.
func (w *contentWriter) Write(p []byte) (int, error) {
	if w.status >= http.StatusBadRequest {
		return len(p), nil // finish says it
	}
	w.begin()
	return w.responseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom. http.ServeContent copies a whole file or a single range so, and
// then the range is known to its end and read ahead just that far.
func (w *contentWriter) ReadFrom(src io.Reader) (int64, error) {
	plain := struct{ io.Writer }{w}
	if l, ok := src.(*io.LimitedReader); ok && l.R == io.Reader(w.content) {
		n, err := w.content.stream(plain, l.N)
		l.N -= n
		return n, err
	}
	return io.Copy(plain, src)
}

// finish ends an answer whose content has been sent.
func (w *contentWriter) finish(path string) error {
	switch {
	case w.status == http.StatusPreconditionFailed:
		return granary.Errorf(granary.KindPrecondition, "open", path, "")
	case w.status == http.StatusRequestedRangeNotSatisfiable:
		return &refusal{
			status: w.status, header: http.Header{"Content-Range": w.Header()["Content-Range"]},
			err: granary.Errorf(granary.KindInvalid, "open", path, "no such range: the file has %d bytes", w.content.size),
		}
	case w.status >= http.StatusBadRequest:
		return &refusal{status: w.status, err: granary.Errorf(granary.KindInternal, "open", path, "status %d", w.status)}
	}
	w.begin()
	return nil
}
