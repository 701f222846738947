package filer

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Watch begins a watch of what a path leads to, and of all below it. Paths are as CleanPath returns them. When the watch was begun, and
// what is there is renamed, it goes on with that.
func (fs *FS) Watch(ctx context.Context, root granary.InodeID, name string, o client.WatchOptions) (*client.Watcher, error) {
	info, err := fs.Stat(ctx, root, name, StatOptions{Follow: true})
	if err != nil {
		return nil, err
	}
	w := fs.Client().Watch(info.Attr.Inode, o)
	return w, w.Begin(ctx)
}

// ChangeDocument is a change as programs read it, in JSON. Fields are added, not renamed.
type ChangeDocument struct {
	At        granary.Position      `json:"at"` // to go on from
	Kind      granary.ChangeKind    `json:"kind"`
	Time      time.Time             `json:"time"`
	Path      string                `json:"path"`
	OldPath   string                `json:"oldPath,omitempty"`
	Type      string                `json:"type,omitempty"`
	Inode     granary.InodeID       `json:"inode,omitempty"`
	Size      *uint64               `json:"size,omitempty"`
	ETag      string                `json:"etag,omitempty"`
	Version   granary.ObjectVersion `json:"version,omitempty"`
	Attribute string                `json:"attribute,omitempty"`
	UID       uint32                `json:"uid"`
	Replaced  bool                  `json:"replaced,omitempty"`
	Exchanged bool                  `json:"exchanged,omitempty"`
	Implicit  bool                  `json:"implicit,omitempty"`
}

// ChangeDocumentOf describes a change.
func ChangeDocumentOf(e *granary.Event) *ChangeDocument {
	d := &ChangeDocument{
		At: e.At, Kind: e.Kind, Time: e.Time.Std().UTC(), Path: e.Path, OldPath: e.OldPath, Inode: e.Inode, ETag: e.ETag, Version: e.Version,
		Attribute: e.Attribute, UID: e.UID, Replaced: e.Replaced, Exchanged: e.Exchanged, Implicit: e.Implicit,
	}
	if e.Type != 0 {
		d.Type = e.Type.String()
	}
	switch e.Kind {
	case granary.ChangeCreate, granary.ChangeLink, granary.ChangeWrite:
		if e.Type == granary.TypeRegular {
			d.Size = &e.Size
		}
	}
	return d
}

// WatchStart reads where a watch begins: "now", "oldest", or a position.
func WatchStart(text string) (client.WatchOptions, error) {
	switch text {
	case "now":
		return client.WatchOptions{Start: granary.WatchNow}, nil
	case "oldest":
		return client.WatchOptions{Start: granary.WatchOldest}, nil
	}
	from, err := granary.ParsePosition(text)
	return client.WatchOptions{From: from}, err
}
