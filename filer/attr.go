package filer

import (
	"context"
	"strings"

	"github.com/dsorchard/granary"
)

// GetAttr returns the attributes of an inode, this FS's unflushed writes included.
func (fs *FS) GetAttr(ctx context.Context, ino granary.InodeID) (granary.Attr, error) {
	if a, ok, err := fs.attrHeld(ctx, ino); ok || err != nil {
		return a, err
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: ino})
	if err != nil {
		return granary.Attr{}, err
	}
	return fs.merge(found.Entry.Attr), nil
}

// SetAttr changes attributes. A change of size first flushes the inode's dirty ranges. A time of
// modification that is set explicitly outlives the flush of what was written before: cp -a sets it
// before it closes the file.
func (fs *FS) SetAttr(ctx context.Context, cred granary.Cred, op *granary.SetAttr) (granary.Attr, error) {
	if op.Size != nil && *op.Size > granary.FileSizeMax {
		return granary.Attr{}, granary.Errorf(granary.KindFileTooLarge, "setattr", op.Inode.String(), "%d bytes", *op.Size)
	}
	if a, ok, err := fs.setHeld(ctx, cred, op); ok || err != nil {
		return a, err
	}
	in := fs.peek(op.Inode)
	if in == nil {
		r, err := fs.store.Do(ctx, cred, op)
		return r.Attr, err
	}
	defer fs.put(in)
	if op.Size == nil && op.Mtime == nil && !op.MtimeNow {
		r, err := fs.store.Do(ctx, cred, op)
		if err != nil {
			return granary.Attr{}, err
		}
		return fs.merge(r.Attr), nil
	}
	return in.setAttr(ctx, cred, op)
}

// setAttr changes size or times in the order of the commits of dirty data (invariant 2).
//
// What is written while a change of size is under way counts as written before it, and what of it
// lies beyond the new size goes.
func (in *inode) setAttr(ctx context.Context, cred granary.Cred, op *granary.SetAttr) (granary.Attr, error) {
	if err := in.acquire(ctx, "setattr"); err != nil {
		return granary.Attr{}, err
	}
	defer in.release()
	if op.Size != nil {
		if err := in.commit(context.WithoutCancel(ctx), ctx, true); err != nil {
			return granary.Attr{}, err
		}
	}
	in.mu.Lock()
	wrote := in.wrote
	in.mu.Unlock()
	r, err := in.fs.store.Do(ctx, cred, op)
	if err != nil {
		return granary.Attr{}, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.adopt(r.Attr)
	if op.Size != nil {
		for _, d := range in.all() {
			d.trim(*op.Size)
		}
		in.settle()
	}
	if (op.Mtime != nil || op.MtimeNow) && in.pending() && in.wrote == wrote {
		in.keepMtime = &r.Attr.Mtime
	}
	return in.view(), nil
}

// Xattr returns the value of one attribute; KindNoData if there is none by that name. Those of users are part of the
// file: they need permission to read it.
func (fs *FS) Xattr(ctx context.Context, ino granary.InodeID, name string) ([]byte, error) {
	if fs.held.isUnborn(ino) {
		return nil, granary.Errorf(granary.KindNoData, "getxattr", ino.String(), "%q", name)
	}
	q := &granary.Lookup{Base: ino, Xattrs: true}
	if strings.HasPrefix(name, "user.") {
		q.Access = granary.AccessRead
	}
	found, err := ask[*granary.Found](ctx, fs.store, q)
	if err != nil {
		return nil, err
	}
	for _, x := range found.Xattrs {
		if x.Name == name {
			return x.Value, nil
		}
	}
	return nil, granary.Errorf(granary.KindNoData, "getxattr", ino.String(), "%q", name)
}

// Xattrs returns all attributes that the caller may know of, those of the store (granary.…) included.
func (fs *FS) Xattrs(ctx context.Context, ino granary.InodeID) ([]granary.Xattr, error) {
	if fs.held.isUnborn(ino) {
		return nil, nil
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: ino, Xattrs: true})
	if err != nil {
		return nil, err
	}
	return found.Xattrs, nil
}

// SetXattr sets one attribute.
func (fs *FS) SetXattr(ctx context.Context, cred granary.Cred, op *granary.SetXattr) error {
	if err := fs.yield(ctx, op.Inode); err != nil {
		return err
	}
	_, err := fs.store.Do(ctx, cred, op)
	return err
}

// RemoveXattr removes one attribute.
func (fs *FS) RemoveXattr(ctx context.Context, cred granary.Cred, ino granary.InodeID, name string) error {
	if err := fs.yield(ctx, ino); err != nil {
		return err
	}
	_, err := fs.store.Do(ctx, cred, &granary.RemoveXattr{Inode: ino, Name: name})
	return err
}

// DropXattr removes one attribute with the authority of the superuser.
func (fs *FS) DropXattr(ctx context.Context, op *granary.RemoveXattr) error {
	_, err := fs.store.Do(ctx, granary.Cred{}, op)
	return err
}

// StatFS returns the space and the number of files where an inode lies: its dataset's, if that has a quota. With 0 they
// are the cluster's.
func (fs *FS) StatFS(ctx context.Context, ino granary.InodeID) (*granary.FSStats, error) {
	if err := fs.held.known(ctx, ino); err != nil {
		return nil, err
	}
	return ask[*granary.FSStats](ctx, fs.store, &granary.StatFS{Inode: ino})
}
