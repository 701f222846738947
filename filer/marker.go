package filer

import (
	"context"
	"path"

	"github.com/dsorchard/granary"
)

// DirOptions says what directory MakeDir makes.
type DirOptions struct {
	Root   granary.InodeID
	Path   string // missing parents are made, with FlagImplicit
	Mode   uint32
	Cred   granary.Cred // who makes it
	Flags  granary.Flags
	Xattrs []granary.Xattr
}

// MakeDir makes a directory with its flags and attributes in one step: KindExists if anything is
// there, but for a directory that FlagMarker makes a marker now. S3 makes its markers ("name/") and
// the homes of its multipart uploads with it.
func (fs *FS) MakeDir(ctx context.Context, o DirOptions) (*Info, error) {
	name, err := relative("mkdir", o.Path)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, granary.Errorf(granary.KindExists, "mkdir", o.Path, "")
	}
	p, err := fs.place(ctx, o.Root, name)
	if err != nil {
		return nil, err
	}
	uid, gid := fs.ownerOf(o.Cred)
	res, err := fs.store.Do(ctx, o.Cred, &granary.Create{
		Parent: p.base, Name: p.rel, Type: granary.TypeDirectory, Mode: o.Mode, UID: uid, GID: gid,
		Flags: o.Flags, Xattrs: o.Xattrs, MakeParents: true,
	})
	if err != nil {
		return nil, err
	}
	return &Info{Name: path.Base(name), Parent: res.Attr.Parent, Attr: res.Attr, Xattrs: o.Xattrs}, nil
}
