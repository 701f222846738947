package filer

import (
	"context"
	"io"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Concat makes a file of the concatenation of others, which stay: by reference where they are in its dataset, and else of copies of
// their bytes. It is published in one step. Parts must not be inline, unless there is one.
func (fs *FS) Concat(ctx context.Context, o UploadOptions, parts []granary.Attr) (*Info, error) {
	if len(encryptionOf(o.Xattrs)) > 0 {
		return nil, granary.Errorf(granary.KindInvalid, "concat", o.Path, "parts are put together decrypted")
	}
	asked := client.WithCred(ctx, o.Cred)
	p, err := fs.placeOf(asked, "concat", o.Root, o.Path, o.Key)
	if err != nil {
		return nil, err
	}
	uid, gid := fs.ownerOf(o.Cred)
	if o.Owner != nil {
		uid, gid = o.Owner.UID, o.Owner.GID
	}
	create := granary.Create{
		Parent: p.base, Name: p.rel, Type: granary.TypeRegular, Mode: o.Mode,
		UID: uid, GID: gid, Xattrs: o.Xattrs, Exclusive: o.Exclusive, Replace: !o.Exclusive, MakeParents: true, Match: o.Match, Key: o.Key,
	}
	info, err := fs.assemble(ctx, o.Cred, p.home.Inode, create, func(dst granary.InodeID) error {
		var steps []granary.Op
		var off uint64
		for _, a := range parts {
			steps = copySteps(steps, a.Inode, dst, off, a.Size)
			off += a.Size
		}
		return fs.copyRanges(ctx, granary.Cred{}, steps) // what the parts are is the caller's to know
	})
	if granary.IsKind(err, granary.KindCrossDataset) || granary.IsKind(err, granary.KindNotSupported) {
		return fs.concatBytes(ctx, o, parts)
	}
	return info, err
}

// concatBytes concatenates by value.
func (fs *FS) concatBytes(ctx context.Context, o UploadOptions, parts []granary.Attr) (*Info, error) {
	up, err := fs.Upload(ctx, o)
	if err != nil {
		return nil, err
	}
	defer up.Abort()
	for _, a := range parts {
		f, err := fs.open(ctx, a.Inode, "", a.Inode.String(), false, granary.Lookup{})
		if err != nil {
			return nil, err
		}
		n, err := io.Copy(up, f.NewReader(0, -1))
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		switch {
		case err != nil:
			return nil, err
		case uint64(n) != a.Size:
			return nil, granary.Errorf(granary.KindStale, "concat", a.Inode.String(), "it has %d bytes, and not %d", n, a.Size)
		}
	}
	return up.Commit(nil)
}
