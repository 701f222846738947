package filer

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// copyRetries is how often a copy whose source changes is begun.
const copyRetries = 3

// CopyOptions says what to copy where to. With ReplaceXattrs the copy gets Xattrs; otherwise those
// of the source, and Xattrs over them. The mode is the source's, the owner as of any file that Cred makes.
type CopyOptions struct {
	SrcRoot       granary.InodeID
	SrcPath       string
	DstRoot       granary.InodeID
	DstPath       string
	Cred          granary.Cred
	Owner         *granary.Cred // as in UploadOptions
	Reader        *granary.Cred // who must be allowed to read the source, if a gateway copies for somebody; nil: Cred
	Xattrs        []granary.Xattr
	ReplaceXattrs bool
	Match         *granary.Precondition // on the destination
	SrcMatch      *granary.Precondition // on the source: Version and ETag
	Key           bool                  // SrcPath and DstPath are keys of objects
	SrcObject     granary.ObjectVersion // with Key: the version of the source
	StorageClass  string                // as in UploadOptions, of the copy
}

// Copy makes a file refer to the same blocks as another, where they are in one dataset, and else
// copies the bytes. The destination is replaced in one step, and is a copy of one version of the source:
// KindStale if that keeps changing.
func (fs *FS) Copy(ctx context.Context, o CopyOptions) (*Info, error) {
	ctx = client.WithCred(ctx, o.Cred)
	p, err := fs.placeOf(ctx, "copy", o.DstRoot, o.DstPath, o.Key)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		info, err := fs.copyOnce(ctx, o, p)
		if err == nil || try == copyRetries || !granary.IsKind(err, granary.KindStale) {
			return info, err
		}
	}
}

func (fs *FS) copyOnce(ctx context.Context, o CopyOptions, p place) (*Info, error) {
	reading := ctx
	if o.Reader != nil {
		reading = client.WithCred(ctx, *o.Reader)
	}
	src, err := fs.openSource(reading, o)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := matches(src.Info, o.SrcMatch); err != nil {
		return nil, err
	}
	if !o.ReplaceXattrs {
		o.Xattrs = mergeXattrs(src.Info.Xattrs, o.Xattrs)
	}
	if encrypted := len(encryptionOf(o.Xattrs)) > 0; encrypted != (src.record != nil) {
		return nil, granary.Errorf(granary.KindInvalid, "copy", o.SrcPath, "what is stored is copied as it is: encrypted or not")
	}
	mode := src.Info.Attr.Mode
	if o.Reader != nil && o.Reader.UID != 0 { // to whom the gateway lends its authority, but not to make what kernels trust
		mode &= 0o777
		o.Xattrs = slices.DeleteFunc(slices.Clone(o.Xattrs), func(x granary.Xattr) bool {
			return !strings.HasPrefix(x.Name, "user.") && !strings.HasPrefix(x.Name, "granary.")
		})
	}
	uid, gid := fs.ownerOf(o.Cred)
	if o.Owner != nil {
		uid, gid = o.Owner.UID, o.Owner.GID
	}
	create := granary.Create{
		Parent: p.base, Name: p.rel, Type: granary.TypeRegular, Mode: mode,
		UID: uid, GID: gid, Xattrs: o.Xattrs, Replace: true, MakeParents: true, Match: o.Match, Key: o.Key,
	}
	if create.Policy, err = fs.classPolicy(ctx, p.home.Policy, o.StorageClass); err != nil {
		return nil, err
	}
	if l := src.first(); len(l.Extents) == 0 && !l.Truncated && len(l.Inline) > 0 {
		create.Content = &granary.Content{Inline: l.Inline, Size: l.Size}
		r, err := fs.store.Do(ctx, o.Cred, &create)
		if err == nil || !granary.IsKind(err, granary.KindInvalid) && !granary.IsKind(err, granary.KindTooLarge) {
			return published(r, create, err)
		}
		create.Content = nil // over the inline limit of the destination's policy
		return fs.copyBytes(ctx, o.Cred, &p.home, src, create)
	}
	info, err := fs.copyBlocks(ctx, o.Cred, p.home.Inode, src, create)
	if granary.IsKind(err, granary.KindCrossDataset) || granary.IsKind(err, granary.KindNotSupported) {
		return fs.copyBytes(ctx, o.Cred, &p.home, src, create)
	}
	return info, err
}

func (fs *FS) openSource(ctx context.Context, o CopyOptions) (*File, error) {
	if o.Key {
		return fs.OpenKey(ctx, o.SrcRoot, o.SrcPath, o.SrcObject)
	}
	rel, err := relative("open", o.SrcPath)
	if err != nil {
		return nil, err
	}
	return fs.openLocked(ctx, o.SrcRoot, rel, o.SrcPath, true, granary.Lookup{})
}

// first returns the layout that came when the file was opened.
func (f *File) first() *granary.Layout {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.layouts.list[0].layout
}

// matches checks a condition on a file that was found.
func matches(i *Info, m *granary.Precondition) error {
	if m == nil {
		return nil
	}
	switch {
	case m.Absent,
		m.ETag != "" && m.ETag != i.ETag(),
		m.Version != 0 && m.Version != i.Attr.Version:
		return granary.Errorf(granary.KindPrecondition, "copy", i.Name, "the source")
	}
	return nil
}

// published makes the Info of a new file.
func published(r granary.Result, create granary.Create, err error) (*Info, error) {
	if err != nil {
		return nil, err
	}
	_, name := splitPath(create.Name)
	return &Info{Name: name, Attr: r.Attr, Xattrs: create.Xattrs}, nil
}

// copyBytes copies by value: what is stored, and so is read as the source is.
func (fs *FS) copyBytes(ctx context.Context, cred granary.Cred, home *granary.Attr, src *File, create granary.Create) (*Info, error) {
	up, err := fs.store.NewUpload(ctx, client.UploadOptions{Cred: cred, Create: create, Home: home.Inode, Policy: cmp.Or(create.Policy, home.Policy)})
	if err != nil {
		return nil, err
	}
	defer up.Abort()
	if _, err := io.Copy(up, src.stored().NewReader(0, -1)); err != nil {
		return nil, err
	}
	r, err := up.Finish(nil)
	return published(r, create, err)
}

// copyBlocks copies by reference.
func (fs *FS) copyBlocks(ctx context.Context, cred granary.Cred, home granary.InodeID, src *File, create granary.Create) (*Info, error) {
	a := src.Info.Attr
	return fs.assemble(ctx, cred, home, create, func(dst granary.InodeID) error {
		if err := fs.copyRanges(ctx, cred, copySteps(nil, a.Inode, dst, 0, a.Size)); err != nil {
			return err
		}
		now, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: a.Inode})
		switch {
		case granary.IsKind(err, granary.KindNotFound):
			return granary.Errorf(granary.KindStale, "copy", src.Info.Name, "it was removed: %w", err)
		case err != nil:
			return err
		case now.Entry.Attr.ContentVersion != a.ContentVersion:
			return granary.Errorf(granary.KindStale, "copy", src.Info.Name, "its content has changed")
		}
		return nil
	})
}

// Parts names what a file is composed of: files in the directory of an upload, which is Name in its dataset's System
// inode. Version, if not 0, is that of the directory as the caller has checked the parts.
type Parts struct {
	Dir     granary.InodeID
	Name    string
	Version granary.Index
	Names   []string
}

// Compose makes a file of the concatenation of parts, by reference, in one step of the store: the completion of a
// multipart upload. Parts must not be inline (Upload them with NoInline) and lie in the file's dataset. Their directory
// goes in the same step, with all that is in it. KindStale if anything was put into it since Version.
func (fs *FS) Compose(ctx context.Context, o UploadOptions, parts Parts) (*Info, error) {
	p, err := fs.placeOf(ctx, "compose", o.Root, o.Path, o.Key)
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
	if create.Policy, err = fs.classPolicy(ctx, p.home.Policy, o.StorageClass); err != nil {
		return nil, err
	}
	r, err := fs.store.Do(ctx, o.Cred, &granary.Assemble{
		Create: create, Upload: parts.Dir, UploadName: parts.Name, Version: parts.Version, Parts: parts.Names,
	})
	return published(r, create, err)
}

// copySteps appends the operations that copy a file of size bytes to off of another.
func copySteps(steps []granary.Op, src, dst granary.InodeID, off, size uint64) []granary.Op {
	for done := uint64(0); done < size; {
		n := min(size-done, uint64(granary.CopyRangeMax))
		steps = append(steps, &granary.CopyRange{Src: src, Dst: dst, SrcOffset: done, DstOffset: off + done, Length: n})
		done += n
	}
	return steps
}

// copyRanges performs CopyRange operations, many in one call. The first goes alone: on a file that
// cannot be copied so it fails before others are asked for. What of a range was not copied, because it
// is finely cut, follows in a range of its own.
func (fs *FS) copyRanges(ctx context.Context, cred granary.Cred, steps []granary.Op) error {
	for n := 1; len(steps) > 0; n = granary.RequestsMax {
		batch := steps[:min(n, len(steps))]
		results, err := fs.store.DoAll(ctx, cred, batch)
		if err != nil {
			return err
		}
		var rest []granary.Op
		for i, r := range results {
			op := *batch[i].(*granary.CopyRange)
			switch {
			case r.Err != nil:
				return r.Err
			case r.Offset > op.Length:
				return granary.Errorf(granary.KindInternal, "copy", op.Src.String(), "%d of %d bytes at %d", r.Offset, op.Length, op.SrcOffset)
			case r.Offset == 0 && op.Length > 0:
				return granary.Errorf(granary.KindStale, "copy", op.Src.String(), "it ends at %d", op.SrcOffset)
			case r.Offset < op.Length:
				op.SrcOffset, op.DstOffset, op.Length = op.SrcOffset+r.Offset, op.DstOffset+r.Offset, op.Length-r.Offset
				rest = append(rest, &op)
			}
		}
		steps = append(rest, steps[len(batch):]...)
	}
	return nil
}

// assemble makes a nameless file with the dataset and policy of home, has it filled, and gives it its
// name in one step. A home that was pruned meanwhile is made again by that; until then the root of its
// dataset stands for it.
func (fs *FS) assemble(ctx context.Context, cred granary.Cred, home granary.InodeID, create granary.Create, fill func(dst granary.InodeID) error) (*Info, error) {
	op := granary.Create{
		Parent: home, Type: granary.TypeRegular, Mode: create.Mode,
		UID: create.UID, GID: create.GID, Anonymous: true, Xattrs: encryptionOf(create.Xattrs), Policy: create.Policy,
	}
	r, err := fs.store.Do(ctx, cred, &op)
	if granary.IsKind(err, granary.KindNotFound) && home != create.Parent {
		op.Parent = home.Dataset().Root()
		r, err = fs.store.Do(ctx, cred, &op)
	}
	if err != nil {
		return nil, err
	}
	dst := r.Attr.Inode
	err = fill(dst)
	if err == nil {
		r, err = fs.store.Do(ctx, cred, &granary.Link{
			Inode: dst, Parent: create.Parent, Name: create.Name,
			Replace: create.Replace, MakeParents: true, Xattrs: create.Xattrs, Match: create.Match, Key: create.Key,
		})
	}
	if err != nil {
		if _, rerr := fs.store.Do(context.WithoutCancel(ctx), cred, &granary.Release{Inode: dst}); rerr != nil {
			fs.log.Warn("nameless inode not released", "inode", dst, "err", rerr)
		}
	}
	return published(r, create, err)
}
