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
	RootAttr  *granary.Attr         // of Root, as far as is known; with it and Key, what is small is made without a question
	Seal      *Seal                 // has it encrypted; nil: it is plain
	// StorageClass is the class that it is stored in, one of granary.StorageClasses; "" for none: as the directory.
	StorageClass string
}

// Upload is a stream on its way to become a file. It is not safe for concurrent use.
type Upload struct {
	fs     *FS
	ctx    context.Context
	o      UploadOptions
	up     uploader // nil: it has not begun
	small  []byte   // what was written before it began; nil: nothing is held
	over   bool     // Commit or Abort was called
	seal   *sealing // nil: it is plain
	name   string
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
	_, name := splitPath(o.Path)
	u := &Upload{fs: fs, ctx: client.WithCred(ctx, o.Cred), o: o, seal: sealed, name: name, absent: o.Exclusive && o.Match == nil}
	small, err := u.isSmall()
	switch {
	case err != nil:
		return nil, err
	case small:
		u.small = make([]byte, 0, o.Size)
		return u, nil
	}
	if err := u.begin(); err != nil {
		return nil, err
	}
	return u, nil
}

// begin finds where the file will be, and starts to upload.
func (u *Upload) begin() error {
	fs, o := u.fs, &u.o
	p, err := fs.placeOf(u.ctx, "upload", o.Root, o.Path, o.Key)
	if err != nil {
		return err
	}
	create := u.create(p.base, p.rel, &p.home)
	policy, err := fs.policyOf(u.ctx, &p.home)
	if err != nil {
		return err
	}
	if create.Policy, err = fs.classPolicy(u.ctx, policy, o.StorageClass); err != nil {
		return err
	}
	policy = cmp.Or(create.Policy, policy)
	_, u.name = splitPath(p.rel)
	up, err := fs.store.NewUpload(u.ctx, client.UploadOptions{
		Cred: o.Cred, Create: create, Size: o.Size, NoInline: o.NoInline, Home: p.home.Inode, Policy: policy,
	})
	if err == nil {
		u.up = up
	}
	return err
}

// create makes the file by a name below base, in home.
func (u *Upload) create(base granary.InodeID, rel string, home *granary.Attr) granary.Create {
	o := &u.o
	uid, gid := u.fs.ownerIn(home, o.Cred)
	if o.Owner != nil {
		uid, gid = o.Owner.UID, o.Owner.GID
	}
	return granary.Create{
		Parent: base, Name: rel, Type: granary.TypeRegular, Mode: o.Mode,
		UID: uid, GID: gid, Xattrs: o.Xattrs,
		Exclusive: o.Exclusive, Replace: !o.Exclusive, MakeParents: true, Match: o.Match, Key: o.Key,
	}
}

// isSmall reports whether all that will come is likely to be stored with the metadata, so that it can be held until it is committed. The policy of
// the directory that it goes into may say otherwise: then the master refuses it.
func (u *Upload) isSmall() (bool, error) {
	o := &u.o
	if !o.Key || o.RootAttr == nil || o.Size <= 0 || o.Size > granary.InlineSizeMax || o.NoInline || u.seal != nil || o.StorageClass != "" {
		return false, nil
	}
	policy, err := u.fs.store.Policy(u.ctx, o.RootAttr.Policy)
	return err == nil && o.Size <= int64(policy.InlineMax), err
}

// createSmall makes the file with all that was written, in one step, if the master takes it so.
func (u *Upload) createSmall(xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	last, err := xattrs()
	if err != nil {
		return granary.Result{}, err
	}
	create := u.create(u.o.Root, u.o.Path, u.o.RootAttr)
	create.Xattrs = slices.Concat(create.Xattrs, last)
	if len(u.small) > 0 {
		create.Content = &granary.Content{Inline: u.small}
	}
	return u.fs.store.Do(u.ctx, u.o.Cred, &create)
}

// unfold uploads what was held, as something that is not small. If it cannot, the upload is over.
func (u *Upload) unfold() error {
	held := u.small
	u.small = nil
	if err := u.begin(); err != nil {
		u.over = true
		return err
	}
	_, err := u.up.Write(held)
	return err
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
	switch {
	case u.over && u.up == nil:
		return 0, granary.Errorf(granary.KindInvalid, "upload", u.name, "written to after its end")
	case u.small != nil:
		if len(p) <= cap(u.small)-len(u.small) {
			u.small = append(u.small, p...)
			return len(p), nil
		}
		if err := u.unfold(); err != nil {
			return 0, err
		}
	}
	if u.seal != nil {
		return u.seal.write(u.up, p)
	}
	return u.up.Write(p)
}

// Commit makes the bytes durable and publishes the file, with further xattrs.
func (u *Upload) Commit(xattrs []granary.Xattr) (*Info, error) {
	return u.CommitLast(func() ([]granary.Xattr, error) { return xattrs, nil })
}

// CommitLast is Commit with xattrs that take time to be computed: they are asked for when the bytes are durable.
func (u *Upload) CommitLast(xattrs func() ([]granary.Xattr, error)) (*Info, error) {
	if u.seal != nil {
		if err := u.seal.lasting(u.ctx, u.fs); err != nil {
			return nil, err
		}
	}
	var last []granary.Xattr
	r, err := u.finish(func() (_ []granary.Xattr, err error) {
		if last, err = xattrs(); err == nil && len(encryptionOf(last)) > 0 {
			err = granary.Errorf(granary.KindInvalid, "upload", u.name, "what is written says itself how it is encrypted")
		}
		return last, err
	})
	switch {
	case u.absent && granary.IsKind(err, granary.KindPrecondition):
		return nil, granary.Errorf(granary.KindExists, "upload", u.name, "%w", err)
	case err != nil:
		return nil, err
	}
	return &Info{Name: u.name, Attr: r.Attr, Xattrs: mergeXattrs(u.o.Xattrs, last)}, nil
}

// finish has the file made. What the master refuses may be small by its root's policy, and not by that of its directory.
func (u *Upload) finish(xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	if u.over {
		return granary.Result{}, granary.Errorf(granary.KindInvalid, "upload", u.name, "ended before")
	}
	u.over = true
	if u.small != nil {
		if r, err := u.createSmall(xattrs); !granary.IsKind(err, granary.KindInvalid) {
			return r, err
		}
		if err := u.unfold(); err != nil {
			return granary.Result{}, err
		}
	}
	return u.up.Finish(xattrs)
}

// Abort drops the upload. After Commit it does nothing.
func (u *Upload) Abort() {
	u.over = true
	if u.up != nil {
		u.up.Abort()
	}
}

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
