package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"path"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// tusCreate begins an upload, and takes its first bytes if there are any.
func (q *request) tusCreate() error {
	doc, err := q.tusDocument()
	if err != nil {
		return err
	}
	ctx := q.r.Context()
	if doc.Path != "" {
		if doc.Dataset, err = q.h.datasetOf(filer.WithCred(ctx, q.cred), doc.Path, doc.Exclusive); err != nil {
			return err
		}
	}
	id := strings.ToLower(rand.Text())
	if doc.Concatenation() {
		if err := q.concatenate(doc); err != nil {
			return err
		}
	}
	if err := q.h.saveTus(ctx, id, doc); err != nil {
		return err
	}
	q.w.Header().Set("Location", tusPath+"/"+id)
	u, err := q.loadTus(id)
	if err != nil {
		return err
	}
	if q.r.Header.Get("Content-Type") == tusBodyType && !doc.Concatenation() {
		if err := q.receiveTus(u); err != nil {
			return err
		}
	} else if err := q.h.finishTus(ctx, u); err != nil { // an empty file
		return err
	}
	q.showTus(u)
	q.w.WriteHeader(http.StatusCreated)
	return nil
}

// tusDocument reads what a new upload is to be.
func (q *request) tusDocument() (*tusDocument, error) {
	header := q.r.Header
	doc := &tusDocument{
		Length: -1, Dataset: granary.RootDataset, Metadata: header.Get("Upload-Metadata"), Concat: header.Get("Upload-Concat"),
		Exclusive: header.Get("If-None-Match") == "*",
	}
	if !q.superuser() {
		doc.By = &q.cred
	}
	fields, err := parseMetadata(doc.Metadata)
	if err != nil {
		return nil, err
	}
	text, deferred := header.Get("Upload-Length"), header.Get("Upload-Defer-Length")
	switch {
	case doc.Concat != "" && !doc.Partial() && !doc.Concatenation():
		return nil, granary.Errorf(granary.KindInvalid, "tus", "", "Upload-Concat: %q is neither partial nor final", doc.Concat)
	case doc.Concatenation() && text != "":
		return nil, granary.Errorf(granary.KindInvalid, "tus", "", "the Upload-Length of a concatenation is that of its parts")
	case text != "" && deferred != "", deferred != "" && deferred != "1", text == "" && deferred == "" && !doc.Concatenation():
		return nil, granary.Errorf(granary.KindInvalid, "tus", "", "either Upload-Length or Upload-Defer-Length: 1 is needed")
	case text != "":
		if doc.Length, err = parseSize("Upload-Length", text); err != nil {
			return nil, err
		}
	}
	if doc.Partial() {
		return doc, nil
	}
	doc.Type = keptType(cmp.Or(fields["filetype"], fields["contentType"], fields["type"]), "application/octet-stream")
	doc.Path, err = tusTarget(fields)
	return doc, err
}

// parseMetadata reads Upload-Metadata: keys, each with the Base64 of its value, with commas between them.
func parseMetadata(text string) (map[string]string, error) {
	fields := map[string]string{}
	if strings.TrimSpace(text) == "" {
		return fields, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		key, encoded, _ := strings.Cut(strings.TrimSpace(item), " ")
		value, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if _, again := fields[key]; err != nil || again || key == "" {
			return nil, granary.Errorf(granary.KindInvalid, "tus", "", "Upload-Metadata: %q", item)
		}
		fields[key] = string(value)
	}
	return fields, nil
}

// tusTarget returns the path of the file to be: "path" in the metadata, with "filename" after it if it ends in '/', or "filename" alone.
func tusTarget(fields map[string]string) (string, error) {
	to, name := fields["path"], cmp.Or(fields["filename"], fields["name"])
	switch {
	case to == "" && name == "":
		return "", granary.Errorf(granary.KindInvalid, "tus", "", "the file needs a name: \"filename\" or \"path\" in Upload-Metadata")
	case to == "" || strings.HasSuffix(to, "/"):
		name = name[strings.LastIndexByte(name, '/')+1:]
		if err := checkName(name); err != nil {
			return "", err
		}
		to += "/" + name
	}
	clean, slash, err := cleanPath(to)
	switch {
	case err != nil:
		return "", err
	case slash || clean == "/":
		return "", granary.Errorf(granary.KindIsDir, "tus", to, "")
	}
	return clean, checkTarget(clean)
}

// datasetOf returns the dataset in which a file at a path will be, and refuses what cannot be there.
func (h *Handler) datasetOf(ctx context.Context, target string, exclusive bool) (granary.DatasetID, error) {
	info, err := h.fs.Stat(ctx, granary.RootInode, target, filer.StatOptions{})
	switch {
	case err == nil && info.Attr.IsDir():
		return 0, granary.Errorf(granary.KindIsDir, "tus", target, "")
	case err == nil && exclusive:
		return 0, granary.Errorf(granary.KindPrecondition, "tus", target, "it exists")
	case err != nil && !granary.IsKind(err, granary.KindNotFound):
		return 0, err
	}
	for dir := path.Dir(target); ; dir = path.Dir(dir) {
		info, err := h.fs.Stat(ctx, granary.RootInode, dir, filer.StatOptions{Follow: true})
		switch {
		case granary.IsKind(err, granary.KindNotFound) && dir != "/":
		case err != nil:
			return 0, err
		case !info.Attr.IsDir():
			return 0, granary.Errorf(granary.KindNotDir, "tus", dir, "")
		default:
			return info.Attr.Inode.Dataset(), nil
		}
	}
}

// concatenate publishes a file that is made of complete partial uploads. They stay until they expire.
func (q *request) concatenate(doc *tusDocument) error {
	ctx := q.r.Context()
	var parts []granary.Attr
	doc.Length = 0
	_, list, _ := strings.Cut(doc.Concat, ";")
	for reference := range strings.FieldsSeq(list) {
		id := path.Base(reference)
		if !validTusID(id) {
			return granary.Errorf(granary.KindInvalid, "tus", "", "Upload-Concat: %q is no upload", reference)
		}
		u, err := q.loadTus(id)
		switch {
		case err != nil:
			return err
		case !u.doc.Partial() || !u.complete:
			return granary.Errorf(granary.KindInvalid, "tus", id, "it is no partial upload that is complete")
		}
		doc.Length += int64(u.offset)
		for _, p := range u.parts {
			parts = append(parts, p.Attr)
		}
	}
	if doc.Length > granary.FileSizeMax {
		return granary.Errorf(granary.KindFileTooLarge, "tus", doc.Path, "%d bytes", doc.Length)
	}
	o, err := q.h.uploadFor(ctx, doc.cred(), doc.upload())
	if err == nil {
		_, err = q.h.fs.Concat(ctx, o, parts)
	}
	return err
}
