package filer

import (
	"cmp"
	"context"
	"slices"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// UploadOptions says what an upload becomes.
type UploadOptions struct {
	Root      granary.InodeID
	Path      string // missing parents are made, with FlagImplicit
	Size      int64  // how many bytes will come, as far as is known; at most 0 if it is not
	Mode      uint32
	Cred      granary.Cred  // who makes it
	Owner     *granary.Cred // whom it belongs to, if a gateway makes it for somebody; nil: who makes it
	Xattrs    []granary.Xattr
	Match     *granary.Precondition // checked when the upload is committed
	NoInline  bool                  // as parts of Compose must be
	Exclusive bool                  // an existing entry is KindExists; otherwise it is replaced
	Key       bool                  // Path is the key of an object below Root
	Seal      *Seal                 // has it encrypted; nil: it is plain
	// StorageClass is the class that it is stored in, one of granary.StorageClasses; "" for none: as the directory.
	StorageClass string
}

// Upload is a stream on its way to become a file. It is not safe for concurrent use.
type Upload struct {
	fs     *FS
	ctx    context.Context
	up     uploader
	seal   *sealing // nil: it is plain
	name   string
	xattrs []granary.Xattr
	absent bool // the name must be free
}

// Upload starts a new file, which replaces what is at the path in one step when it is committed. A
// symbolic link at the path is replaced too, not followed. The context bounds the whole upload.
func (fs *FS) Upload(ctx context.Context, o UploadOptions) (*Upload, error) {
	if len(encryptionOf(o.Xattrs)) > 0 {
		return nil, granary.Errorf(granary.KindInvalid, "upload", o.Path, "what is written says itself how it is encrypted")
	}
	var sealed *sealing
	if o.Seal != nil {
		var err error
		if sealed, err = o.Seal.begin(); err != nil {
			return nil, err
		}
		o.Xattrs = slices.Concat(o.Xattrs, sealed.record.Xattrs())
	}
	ctx = client.WithCred(ctx, o.Cred)
	p, err := fs.placeOf(ctx, "upload", o.Root, o.Path, o.Key)
	if err != nil {
		return nil, err
	}
	uid, gid := fs.ownerIn(&p.home, o.Cred)
	if o.Owner != nil {
		uid, gid = o.Owner.UID, o.Owner.GID
	}
	create := granary.Create{
		Parent: p.base, Name: p.rel, Type: granary.TypeRegular, Mode: o.Mode,
		UID: uid, GID: gid, Xattrs: o.Xattrs,
		Exclusive: o.Exclusive, Replace: !o.Exclusive, MakeParents: true, Match: o.Match, Key: o.Key,
	}
	policy, err := fs.policyOf(ctx, &p.home)
	if err != nil {
		return nil, err
	}
	if create.Policy, err = fs.classPolicy(ctx, policy, o.StorageClass); err != nil {
		return nil, err
	}
	policy = cmp.Or(create.Policy, policy)
	up, err := fs.store.NewUpload(ctx, client.UploadOptions{
		Cred: o.Cred, Create: create, Size: o.Size, NoInline: o.NoInline, Home: p.home.Inode, Policy: policy,
	})
	if err != nil {
		return nil, err
	}
	_, name := splitPath(p.rel)
	return &Upload{fs: fs, ctx: ctx, seal: sealed, up: up, name: name, xattrs: o.Xattrs, absent: o.Exclusive && o.Match == nil}, nil
}

// policyOf returns the policy that a new file's data is placed by: that of the directory that it
// will be in. What gathers in a dataset's hidden directory, parts of uploads, is bound for the
// dataset: its root's policy holds, as it is now and not as it was when the hidden one was made.
func (fs *FS) policyOf(ctx context.Context, home *granary.Attr) (granary.PolicyID, error) {
	if system := home.Inode.Dataset().System(); home.Inode != system && home.Parent != system {
		return home.Policy, nil
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: home.Inode.Dataset().Root()})
	if err != nil {
		return 0, err
	}
	return found.Entry.Attr.Policy, nil
}

// Write adds to the file.
func (u *Upload) Write(p []byte) (int, error) {
	if u.seal != nil {
		return u.seal.write(u.up, p)
	}
	return u.up.Write(p)
}

// Commit makes the bytes durable and publishes the file, with further xattrs.
func (u *Upload) Commit(xattrs []granary.Xattr) (*Info, error) {
	if len(encryptionOf(xattrs)) > 0 {
		return nil, granary.Errorf(granary.KindInvalid, "upload", u.name, "what is written says itself how it is encrypted")
	}
	if u.seal != nil {
		if err := u.seal.lasting(u.ctx, u.fs); err != nil {
			return nil, err
		}
	}
	r, err := u.up.Finish(xattrs)
	switch {
	case u.absent && granary.IsKind(err, granary.KindPrecondition):
		return nil, granary.Errorf(granary.KindExists, "upload", u.name, "%w", err)
	case err != nil:
		return nil, err
	}
	return &Info{Name: u.name, Attr: r.Attr, Xattrs: mergeXattrs(u.xattrs, xattrs)}, nil
}

// Abort drops the upload. After Commit it does nothing.
func (u *Upload) Abort() { u.up.Abort() }

// mergeXattrs returns base with over over it.
func mergeXattrs(base, over []granary.Xattr) []granary.Xattr {
	merged := make([]granary.Xattr, 0, len(base)+len(over))
	set := make(map[string]bool, len(over))
	for _, x := range over {
		set[x.Name] = true
	}
	for _, x := range base {
		if !set[x.Name] {
			merged = append(merged, x)
		}
	}
	return append(merged, over...)
}
