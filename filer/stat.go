package filer

import (
	"context"
	"errors"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Info is a file found by path.
type Info struct {
	Name   string          // the last component; "" for the root
	Parent granary.InodeID // the directory that holds it; 0 where nobody asked
	Attr   granary.Attr
	Target string          // symbolic links
	Xattrs []granary.Xattr // if asked for
	Marker bool            // a delete marker
}

// infoOf makes an Info of what a walk found.
func infoOf(found *granary.Found) *Info {
	return &Info{
		Name: found.Entry.Name, Parent: found.Parent, Attr: found.Entry.Attr,
		Target: found.Entry.Target, Xattrs: found.Xattrs, Marker: found.Marker,
	}
}

// ETag returns the ETag of the file, unquoted. It needs the Xattrs.
func (i *Info) ETag() string {
	v, _ := i.Xattr(granary.XattrETag)
	return granary.ETagOf(&i.Attr, string(v))
}

// Xattr returns the value of an attribute, and whether there is one by that name.
func (i *Info) Xattr(name string) ([]byte, bool) {
	for _, x := range i.Xattrs {
		if x.Name == name {
			return x.Value, true
		}
	}
	return nil, false
}

// StatOptions says how to look: Follow a symbolic link at the end (those on the way always are),
// fetch Xattrs. With Key the path is the key of an object, of which Object is the version, 0 for the newest; with Markers a delete
// marker is found, too.
type StatOptions struct {
	Follow, Xattrs, Key, Markers bool
	Object                       granary.ObjectVersion
}

// Stat finds what is at a path below root. Paths are as CleanPath returns them; the leading slash
// may be missing. Absolute symbolic links are relative to root, and ".." in them stays below it.
func (fs *FS) Stat(ctx context.Context, root granary.InodeID, path string, o StatOptions) (*Info, error) {
	rel, err := relativeOrKey("stat", path, o.Key)
	if err != nil {
		return nil, err
	}
	w := walker{m: fs.store, root: root}
	found, err := w.walk(ctx, rel, o.Follow, granary.Lookup{Xattrs: o.Xattrs, Key: o.Key, Object: o.Object, Markers: o.Markers})
	if err != nil {
		return nil, err
	}
	info := infoOf(found)
	info.Attr = fs.merge(info.Attr)
	return info, nil
}

// List walks files in the order of their full paths, as S3 lists keys.
func (fs *FS) List(ctx context.Context, q *granary.List) (*granary.Listing, error) {
	return ask[*granary.Listing](ctx, fs.store, q)
}

// RemoveOptions says how to remove. Recursive removes a directory with all that is in it. Prune
// removes the implicit directories that the removal of a file leaves empty. Match is for files.
type RemoveOptions struct {
	Recursive, Prune bool
	Match            *granary.Precondition
	Cred             granary.Cred
}

// RemoveKey removes the object of a key, or for good the version that op names. Parent, Name and what else the op says are the
// caller's. It returns what the op did.
func (fs *FS) RemoveKey(ctx context.Context, op *granary.Unlink) (granary.Result, error) {
	op.Key, op.Prune = true, true
	return fs.store.Do(ctx, granary.Cred{}, op)
}

// RenameKey gives an object another key of its bucket: op says which, and on which conditions. What is missing on the way is made, and
// implicit directories that this leaves empty go.
func (fs *FS) RenameKey(ctx context.Context, op *granary.Rename) (granary.Result, error) {
	op.Key = true
	return fs.store.Do(ctx, granary.Cred{}, op)
}

// Remove removes a file, a symbolic link, or an empty directory.
func (fs *FS) Remove(ctx context.Context, root granary.InodeID, path string, o RemoveOptions) error {
	ctx = client.WithCred(ctx, o.Cred)
	rel, err := named("remove", path)
	if err != nil {
		return err
	}
	err = fs.removeFile(ctx, place{base: root, rel: rel}, o)
	if granary.IsKind(err, granary.KindNotDir) { // perhaps only a symbolic link on the way
		var p place
		if p, err = fs.place(ctx, root, rel); err == nil {
			err = fs.removeFile(ctx, p, o)
		}
	}
	if !granary.IsKind(err, granary.KindIsDir) {
		return err
	}
	if o.Match != nil {
		return granary.Errorf(granary.KindNotSupported, "remove", path, "conditions on a directory")
	}
	parent, name, err := fs.parent(ctx, root, rel)
	if err != nil {
		return err
	}
	if o.Recursive {
		return fs.removeTree(ctx, o.Cred, parent, name)
	}
	return fs.Rmdir(ctx, o.Cred, parent, name)
}

// removeTree removes a directory with all that is in it: in one step, if the caller is the superuser and its bucket
// keeps no versions, or there is nothing in it, and else entry by entry, each with the caller's permissions.
func (fs *FS) removeTree(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string) error {
	_, err := fs.store.Do(ctx, cred, &granary.RemoveTree{Parent: parent, Name: name})
	if !granary.IsKind(err, granary.KindNotOwner) {
		return err
	}
	dir, err := fs.Lookup(ctx, parent, name)
	if err != nil {
		return err
	}
	var first error // that of a removal: the others go on
	err = fs.ReadDir(ctx, dir.Attr.Inode, func(e granary.Entry) bool {
		var err error
		if e.Attr.IsDir() {
			err = fs.removeTree(ctx, cred, dir.Attr.Inode, e.Name)
		} else {
			err = fs.Unlink(ctx, cred, dir.Attr.Inode, e.Name)
		}
		if first == nil && !granary.IsKind(err, granary.KindNotFound) {
			first = err
		}
		return ctx.Err() == nil
	})
	if err != nil || first != nil {
		return errors.Join(first, err)
	}
	return fs.Rmdir(ctx, cred, parent, name)
}

func (fs *FS) removeFile(ctx context.Context, p place, o RemoveOptions) error {
	return fs.unlink(ctx, o.Cred, &granary.Unlink{
		Parent: p.base, Name: p.rel, Path: true, Prune: o.Prune, Match: o.Match,
	})
}

// MkdirAll makes a directory and its missing parents, none of them implicit. One that is there
// already is no error.
func (fs *FS) MkdirAll(ctx context.Context, cred granary.Cred, root granary.InodeID, path string, mode uint32) (*Info, error) {
	ctx = client.WithCred(ctx, cred)
	rel, err := relative("mkdir", path)
	if err != nil {
		return nil, err
	}
	info, err := fs.Stat(ctx, root, path, StatOptions{Follow: true})
	switch {
	case err == nil && info.Attr.IsDir():
		return info, nil
	case err == nil:
		return nil, granary.Errorf(granary.KindExists, "mkdir", path, "not a directory")
	case !granary.IsKind(err, granary.KindNotFound):
		return nil, err
	}
	p, err := fs.deepest(ctx, root, rel)
	if err != nil {
		return nil, err
	}
	if err := fs.mkdirs(ctx, cred, p, mode); err != nil {
		return nil, err
	}
	return fs.Stat(ctx, root, path, StatOptions{Follow: true})
}

// mkdirs makes the directories of a place one below the other. One that somebody else has made
// meanwhile will do.
func (fs *FS) mkdirs(ctx context.Context, cred granary.Cred, p place, mode uint32) error {
	for p.rel != "" {
		name, rest, _ := strings.Cut(p.rel, "/")
		e, err := fs.Mkdir(ctx, cred, p.base, name, mode, 0)
		if granary.IsKind(err, granary.KindExists) {
			e, err = fs.Lookup(ctx, p.base, name)
			if err == nil && !e.Attr.IsDir() {
				return granary.Errorf(granary.KindNotDir, "mkdir", name, "")
			}
		}
		if err != nil {
			return err
		}
		p = place{base: e.Attr.Inode, rel: rest}
	}
	return nil
}

// RenamePath moves what is at src to dst, replacing it as rename(2) says.
func (fs *FS) RenamePath(ctx context.Context, cred granary.Cred, root granary.InodeID, src, dst string) error {
	ctx = client.WithCred(ctx, cred)
	from, err := named("rename", src)
	if err != nil {
		return err
	}
	to, err := named("rename", dst)
	if err != nil {
		return err
	}
	srcParent, srcName, err := fs.parent(ctx, root, from)
	if err != nil {
		return err
	}
	dstParent, dstName, err := fs.parent(ctx, root, to)
	if err != nil {
		return err
	}
	return fs.Rename(ctx, cred, srcParent, srcName, dstParent, dstName, RenameFlags{})
}
