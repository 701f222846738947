package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	tusPrefix = "tus-" // begins the name of an upload's directory
	tusParts  = ".parts"

	// xattrTus is the attribute of an upload's directory that says what it is: a tusDocument.
	xattrTus = "granary.web.tus"

	tusDirMode = 0o700
)

// tusDocument is what is kept of an upload, besides its parts.
type tusDocument struct {
	Path      string            `json:"path,omitempty"` // of the file to be; "" for a partial upload
	Length    int64             `json:"length"`         // bytes; -1: not known yet
	Dataset   granary.DatasetID `json:"dataset"`        // where the parts are
	Metadata  string            `json:"metadata,omitempty"`
	Concat    string            `json:"concat,omitempty"` // Upload-Concat
	Type      string            `json:"type,omitempty"`   // Content-Type
	Exclusive bool              `json:"exclusive,omitempty"`
	By        *granary.Cred     `json:"by,omitempty"` // whose it is; nil: the door's
}

// Partial reports whether the upload is one of several that become one file.
func (d *tusDocument) Partial() bool { return d.Concat == "partial" }

// Concatenation reports whether the upload is made of others.
func (d *tusDocument) Concatenation() bool { return strings.HasPrefix(d.Concat, "final;") }

// tusUpload is an upload as it was found.
type tusUpload struct {
	id       string
	doc      tusDocument
	state    granary.InodeID // its directory
	dir      granary.InodeID // its parts' directory …
	version  granary.Index   // … as it was when the parts were listed
	parts    []granary.Entry // by offset
	offset   uint64          // bytes that have come
	complete bool            // there is nothing more to come, nor to be published
	touched  time.Time       // when something came last
}

// validTusID tells an id from anything else that could be a path.
func validTusID(id string) bool {
	return len(id) >= 20 && len(id) <= 40 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func noTusUpload(id string) error {
	return granary.Errorf(granary.KindNotFound, "tus", id, "there is no such upload, or it has expired")
}

// saveTus makes the directories of a new upload.
func (h *Handler) saveTus(ctx context.Context, id string, doc *tusDocument) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if len(text) > granary.XattrValueMax {
		return granary.Errorf(granary.KindTooLarge, "tus", id, "the metadata have %d bytes", len(doc.Metadata))
	}
	if !doc.Concatenation() { // the parts' first: an upload without one is complete
		_, err := h.fs.MakeDir(ctx, filer.DirOptions{Root: doc.Dataset.System(), Path: tusPrefix + id + tusParts, Mode: tusDirMode})
		if err != nil {
			return err
		}
	}
	_, err = h.fs.MakeDir(ctx, filer.DirOptions{
		Root: granary.RootDataset.System(), Path: tusPrefix + id, Mode: tusDirMode, Xattrs: []granary.Xattr{{Name: xattrTus, Value: text}},
	})
	return err
}

// loadTus finds an upload with its parts.
func (h *Handler) loadTus(ctx context.Context, id string) (*tusUpload, error) {
	info, err := h.fs.Stat(ctx, granary.RootDataset.System(), tusPrefix+id, filer.StatOptions{Xattrs: true})
	if granary.IsKind(err, granary.KindNotFound) {
		return nil, noTusUpload(id)
	}
	if err != nil {
		return nil, err
	}
	u := &tusUpload{id: id, state: info.Attr.Inode, touched: info.Attr.Mtime.Std()}
	text, _ := info.Xattr(xattrTus)
	if err := json.Unmarshal(text, &u.doc); err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "tus", id, "%w", err)
	}
	parts, err := h.fs.Stat(ctx, u.doc.Dataset.System(), tusPrefix+id+tusParts, filer.StatOptions{})
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		u.complete, u.offset = true, uint64(max(u.doc.Length, 0))
		return u, nil
	case err != nil:
		return nil, err
	}
	u.dir, u.version = parts.Attr.Inode, parts.Attr.Version
	if t := parts.Attr.Mtime.Std(); t.After(u.touched) {
		u.touched = t
	}
	err = h.listParts(ctx, u)
	if granary.IsKind(err, granary.KindNotFound) { // it was completed or removed meanwhile
		return nil, noTusUpload(id)
	}
	u.complete = u.doc.Partial() && int64(u.offset) == u.doc.Length
	return u, err
}

// listParts finds out what has come.
func (h *Handler) listParts(ctx context.Context, u *tusUpload) error {
	err := h.fs.ReadDir(ctx, u.dir, func(e granary.Entry) bool {
		u.parts = append(u.parts, e)
		return true
	})
	if err != nil {
		return err
	}
	slices.SortFunc(u.parts, func(a, b granary.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range u.parts {
		if p.Name != tusPartName(u.offset) {
			return granary.Errorf(granary.KindCorrupt, "tus", u.id, "the part at %d is called %q", u.offset, p.Name)
		}
		u.offset += p.Attr.Size
	}
	return nil
}

// tusPartName is the name of the part at an offset: it sorts as the offset does.
func tusPartName(offset uint64) string { return fmt.Sprintf("%020d", offset) }

// finishTus publishes an upload of which all has come, if it has not been.
func (h *Handler) finishTus(ctx context.Context, u *tusUpload) error {
	if u.complete || u.doc.Length < 0 || u.offset != uint64(u.doc.Length) {
		return nil
	}
	if u.doc.Partial() {
		u.complete = true
		return nil
	}
	o, err := h.uploadFor(ctx, u.doc.cred(), u.doc.upload())
	if err != nil {
		return err
	}
	if len(u.parts) == 0 {
		up, err := h.fs.Upload(ctx, o)
		if err != nil {
			return err
		}
		defer up.Abort()
		if _, err := up.Commit(nil); err != nil {
			return err
		}
		if err := h.removeParts(ctx, u); err != nil {
			return err
		}
	} else {
		names := make([]string, len(u.parts))
		for i, p := range u.parts {
			names[i] = p.Name
		}
		_, err := h.fs.Compose(ctx, o, filer.Parts{Dir: u.dir, Name: tusPrefix + u.id + tusParts, Version: u.version, Names: names})
		if err != nil {
			return err
		}
	}
	u.complete = true
	// It is remembered for as long as any upload, so that a client who did not hear of it hears of it.
	if _, err := h.fs.SetAttr(ctx, granary.Cred{}, &granary.SetAttr{Inode: u.state, MtimeNow: true}); err != nil {
		h.log.Warn("complete upload not touched", "id", u.id, "error", err)
	}
	return nil
}

// upload says what file is to be published, but for whom.
func (d *tusDocument) upload() filer.UploadOptions {
	return filer.UploadOptions{
		Path: d.Path, Mode: fileMode, Xattrs: typeXattr(d.Type), Exclusive: d.Exclusive,
	}
}

// cred returns who the file will be of.
func (d *tusDocument) cred() granary.Cred {
	if d.By == nil {
		return self()
	}
	return *d.By
}

// removeTus removes an upload: what addresses it first.
func (h *Handler) removeTus(ctx context.Context, u *tusUpload) error {
	err := h.fs.Remove(ctx, granary.RootDataset.System(), tusPrefix+u.id, filer.RemoveOptions{Recursive: true})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return err
	}
	return h.removeParts(ctx, u)
}

func (h *Handler) removeParts(ctx context.Context, u *tusUpload) error {
	if u.dir == 0 {
		return nil
	}
	err := h.fs.Remove(ctx, u.doc.Dataset.System(), tusPrefix+u.id+tusParts, filer.RemoveOptions{Recursive: true})
	if granary.IsKind(err, granary.KindNotFound) {
		return nil
	}
	return err
}

// parseSize reads a size in bytes of a header.
func parseSize(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || text[0] == '+' {
		return 0, granary.Errorf(granary.KindInvalid, "tus", "", "%s: %q is no size", name, text)
	}
	if n > granary.FileSizeMax {
		return 0, &refusal{status: http.StatusRequestEntityTooLarge, err: granary.Errorf(granary.KindFileTooLarge, "tus", "", "%s: %d bytes, of %d at most", name, n, int64(granary.FileSizeMax))}
	}
	return n, nil
}
