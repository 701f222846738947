package web

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// fieldsSizeMax bounds the fields of a form that is no upload, in bytes.
const fieldsSizeMax = 64 << 10

// post serves the forms of the listings, their like from curl -F, and what PUT does too.
func (q *request) post() error {
	makes, err := q.flag("mkdir")
	if err != nil {
		return err
	}
	renameTo := cmp.Or(q.query.Get("rename"), q.query.Get("mv"), q.r.Header.Get("X-Granary-Rename-To"))
	noReplace := strings.EqualFold(q.r.Header.Get("Overwrite"), "F")
	mediaType, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type")) // without one it is a plain body
	switch {
	case makes:
		return q.postMkdir(mediaType)
	case q.query.Has("cp"):
		return q.copyTo(q.query.Get("cp"), noReplace)
	case q.query.Has("rename") || q.query.Has("mv") || renameTo != "":
		return q.rename(renameTo, noReplace)
	case mediaType == "multipart/form-data":
		return q.postFiles()
	default:
		return q.put()
	}
}

// postMkdir makes the directory that the path names, or that a form names in it.
func (q *request) postMkdir(mediaType string) error {
	if mediaType != "application/x-www-form-urlencoded" {
		return q.mkdir("")
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, fieldsSizeMax)
	if err := q.r.ParseForm(); err != nil {
		return granary.Errorf(granary.KindInvalid, "mkdir", q.path, "the form: %w", err)
	}
	if !q.r.PostForm.Has("name") {
		return q.mkdir("")
	}
	name := q.r.PostForm.Get("name")
	if err := checkName(name); err != nil {
		return err
	}
	return q.mkdir(name)
}

// checkName refuses what is no name of an entry.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return granary.Errorf(granary.KindInvalid, "upload", "", "%q is not a name", name)
	}
	return nil
}

// form is a multipart/form-data body on its way into a directory, or with single to one path.
type form struct {
	q       *request
	path    string
	single  bool
	parts   *multipart.Reader
	pending *received // the last file, held back until what follows it in the body has come
	files   []stored
}

// postFiles stores the files of a form.
func (q *request) postFiles() error {
	parts, err := q.r.MultipartReader()
	if err != nil {
		return granary.Errorf(granary.KindInvalid, "upload", q.path, "the form: %w", err)
	}
	f := &form{q: q, path: q.path, parts: parts}
	if !q.slash {
		info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Follow: true})
		if err != nil && !granary.IsKind(err, granary.KindNotFound) {
			return err
		}
		f.single = err != nil || !info.Attr.IsDir()
	}
	if err := f.receive(); err != nil {
		return f.fail(err)
	}
	if q.browser() {
		return q.seeOther(f.directory())
	}
	return q.sendJSON(http.StatusCreated, struct {
		Files []stored `json:"files"`
	}{f.files})
}

// directory returns a reference to where the files went.
func (f *form) directory() string {
	if f.single {
		return parentOf(f.path)
	}
	return escapePath(strings.TrimSuffix(f.path, "/") + "/")
}

// seeOther sends a browser on to a directory's listing.
func (q *request) seeOther(reference string) error {
	q.w.Header().Set("Location", reference)
	q.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// receive stores one part after the other. A file is committed only when the next part, or the end of
// the form, has come: so of a body that breaks off, the file it broke off in is never published, and of
// a form with one file too many nothing is.
func (f *form) receive() error {
	for {
		part, err := f.parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return granary.Errorf(granary.KindInvalid, "upload", f.path, "the form broke off: %w", err)
		}
		if err := f.receivePart(part); err != nil {
			return err
		}
	}
	if err := f.commit(); err != nil {
		return err
	}
	if len(f.files) == 0 {
		return granary.Errorf(granary.KindInvalid, "upload", f.path, "there is no file in the form")
	}
	return nil
}

func (f *form) receivePart(part *multipart.Part) error {
	name, isFile := fileName(part)
	if !isFile {
		return nil // a field: the next part begins where it ends
	}
	if name == "" { // what a browser sends for a form in which no file was chosen
		if n, err := io.ReadFull(part, make([]byte, 1)); n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
	}
	to := f.path
	if !f.single {
		if err := checkName(name); err != nil {
			return err
		}
		to = path.Join(f.path, name)
		if err := f.commit(); err != nil {
			return err
		}
	} else if f.pending != nil {
		return granary.Errorf(granary.KindInvalid, "upload", f.path, "there are several files in the form, and one path; a directory's ends in '/'")
	}
	if err := checkTarget(to); err != nil {
		return err
	}
	var err error
	f.pending, err = f.q.receive(&incoming{
		path: to, body: part, size: -1, contentType: keptType(part.Header.Get("Content-Type"), "application/octet-stream"),
	})
	return err
}

// commit publishes the file that is held back.
func (f *form) commit() error {
	if f.pending == nil {
		return nil
	}
	p := f.pending
	f.pending = nil
	done, err := p.commit()
	if err != nil {
		return err
	}
	f.files = append(f.files, done)
	return nil
}

// fail drops what is held back, and says what has been stored before.
func (f *form) fail(err error) error {
	if f.pending != nil {
		f.pending.abort()
		f.pending = nil
	}
	if len(f.files) == 0 {
		return err
	}
	var names []string
	for _, file := range f.files {
		names = append(names, file.Path)
	}
	return &refusal{
		status: statusOf(err),
		err:    granary.Errorf(granary.KindOf(err), "upload", f.path, "%w; stored before that: %s", err, strings.Join(names, ", ")),
	}
}

// fileName returns the last component of a part's file name, and whether the part is a file at all.
// Of what would lead elsewhere (empty, ".", "..") checkName says so.
func fileName(part *multipart.Part) (name string, isFile bool) {
	_, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return "", false
	}
	name, isFile = parameters["filename"]
	return name[strings.LastIndexByte(name, '/')+1:], isFile
}
