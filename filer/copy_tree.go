package filer

import (
	"context"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// treeWorkers is how many entries of a tree are copied at a time.
const treeWorkers = 16

// XattrProperty begins the names of the attributes in which WebDAV keeps properties.
const XattrProperty = "granary.dav."

// CopyTree copies a directory with all that is in it, files by reference where they are in one dataset, and publishes the copy in one
// step. Modes and attributes are those of the source, the owner is as of anything that the caller makes.
func (fs *FS) CopyTree(ctx context.Context, src granary.InodeID, o StageOptions) (*Info, error) {
	ctx = client.WithCred(ctx, o.Cred)
	stage, err := fs.Stage(ctx, o)
	if err != nil {
		return nil, err
	}
	defer stage.Discard()
	group, bounded := errgroup.WithContext(ctx)
	group.SetLimit(treeWorkers)
	t := &treeCopy{fs: fs, cred: o.Cred, files: group}
	if o.Cred.UID != 0 {
		t.owner = &t.cred
	}
	err = t.directory(bounded, src, stage.Tree)
	if werr := group.Wait(); werr != nil {
		err = werr // the walk ended because of it
	}
	if err != nil {
		return nil, err
	}
	return stage.Publish(ctx)
}

type treeCopy struct {
	fs    *FS
	cred  granary.Cred
	owner *granary.Cred // of the copies; nil: that of the options
	files *errgroup.Group
}

// directory copies what is in a directory.
func (t *treeCopy) directory(ctx context.Context, src, dst granary.InodeID) error {
	if err := t.xattrs(ctx, src, dst); err != nil {
		return err
	}
	var first error
	err := t.fs.ReadDir(ctx, src, func(e granary.Entry) bool {
		first = t.entry(ctx, src, dst, e)
		return first == nil
	})
	if first != nil {
		return first
	}
	return err
}

func (t *treeCopy) entry(ctx context.Context, src, dst granary.InodeID, e granary.Entry) error {
	switch e.Attr.Type {
	case granary.TypeDirectory:
		d, err := t.fs.Mkdir(ctx, t.cred, dst, e.Name, e.Attr.Mode, 0)
		if err != nil {
			return err
		}
		return t.directory(ctx, e.Attr.Inode, d.Attr.Inode)
	case granary.TypeRegular:
		t.files.Go(func() error {
			// Files have attributes of the store's: they are put where nobody is with its authority, and read with the caller's.
			_, err := t.fs.Copy(ctx, CopyOptions{SrcRoot: src, SrcPath: e.Name, DstRoot: dst, DstPath: e.Name, Reader: &t.cred, Owner: t.owner})
			return err
		})
		return nil
	case granary.TypeSymlink:
		_, err := t.fs.Symlink(ctx, t.cred, dst, e.Name, e.Target)
		return err
	default:
		_, err := t.fs.Mknod(ctx, t.cred, dst, e.Name, e.Attr.Type, e.Attr.Mode, 0, e.Attr.Rdev)
		return err
	}
}

// xattrs gives a directory those attributes of another that are users'.
func (t *treeCopy) xattrs(ctx context.Context, src, dst granary.InodeID) error {
	list, err := t.fs.Xattrs(ctx, src)
	if err != nil {
		return err
	}
	for _, x := range list {
		if !strings.HasPrefix(x.Name, "user.") && !strings.HasPrefix(x.Name, XattrProperty) {
			continue
		}
		if err := t.fs.SetXattr(ctx, granary.Cred{}, &granary.SetXattr{Inode: dst, Xattr: x}); err != nil {
			return err
		}
	}
	return nil
}
