package web

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// attributesDocument is all that is known of what is at a path. Times are RFC 3339, in UTC.
type attributesDocument struct {
	Path        string          `json:"path"`
	Type        string          `json:"type"`
	Size        uint64          `json:"size"`
	Allocated   uint64          `json:"allocated"` // bytes that are no holes
	Blocks      *uint64         `json:"blocks,omitempty"`
	Mode        string          `json:"mode"`
	UID         uint32          `json:"uid"`
	GID         uint32          `json:"gid"`
	Links       uint32          `json:"links"`
	Inode       granary.InodeID `json:"inode"`
	Mtime       string          `json:"mtime"`
	Ctime       string          `json:"ctime"`
	Atime       string          `json:"atime"`
	Btime       string          `json:"btime"`
	Version     granary.Index   `json:"version"`
	ETag        string          `json:"etag,omitempty"`
	ContentType string          `json:"contentType,omitempty"`
	Target      string          `json:"target,omitempty"`
	Entries     *uint64         `json:"entries,omitempty"` // of a directory
	Xattrs      []xattrDocument `json:"xattrs"`
}

// xattrDocument is an attribute: its value is in Base64 where it is not UTF-8.
type xattrDocument struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

// stat answers with the attributes of what the path names: of a symbolic link itself, unless ?follow is given.
func (q *request) stat() error {
	follow, err := q.flag("follow")
	if err != nil {
		return err
	}
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Follow: follow, Xattrs: true})
	if err != nil {
		return absent(err)
	}
	if err := q.permit(info.Attr.Inode, granary.AccessRead); granary.IsKind(err, granary.KindPermission) {
		info.Xattrs = nil // they are what the file has
	} else if err != nil {
		return err
	}
	d := attributesOf(q.path, info)
	if info.Attr.Type == granary.TypeRegular {
		blocks, err := q.h.fs.CountBlocks(q.r.Context(), info.Attr.Inode)
		if err != nil {
			return err
		}
		d.Blocks = &blocks
	}
	return q.sendJSON(http.StatusOK, d)
}

func attributesOf(path string, info *filer.Info) *attributesDocument {
	a := &info.Attr
	stamp := func(t granary.Time) string { return t.Std().UTC().Format(time.RFC3339Nano) }
	d := &attributesDocument{
		Path: path, Type: a.Type.String(), Size: a.Size, Allocated: a.Allocated, Mode: fmt.Sprintf("%04o", a.Mode), UID: a.UID, GID: a.GID,
		Links: a.Nlink, Inode: a.Inode, Mtime: stamp(a.Mtime), Ctime: stamp(a.Ctime), Atime: stamp(a.Atime), Btime: stamp(a.Btime),
		Version: a.Version, Target: info.Target, Xattrs: []xattrDocument{},
	}
	switch a.Type {
	case granary.TypeRegular:
		d.ETag, d.ContentType = info.ETag(), contentType(info)
	case granary.TypeDirectory:
		d.Entries = &a.Entries
	}
	for _, x := range info.Xattrs {
		switch {
		case !strings.HasPrefix(x.Name, userXattrPrefix):
		case utf8.Valid(x.Value):
			d.Xattrs = append(d.Xattrs, xattrDocument{Name: x.Name, Value: string(x.Value)})
		default:
			d.Xattrs = append(d.Xattrs, xattrDocument{Name: x.Name, Base64: base64.StdEncoding.EncodeToString(x.Value)})
		}
	}
	return d
}
