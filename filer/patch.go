package filer

import (
	"context"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// patchBuffer is how many bytes of a Patch are kept in memory: what is longer is stored as it comes.
const patchBuffer = 1 << 20

// PatchOptions says where in a file bytes go. At granary.OffsetEnd they go to where the file ends when they are put in, and a
// file that is not there is made; at another offset it must be there. A symbolic link is followed.
type PatchOptions struct {
	Root   granary.InodeID
	Path   string
	Offset uint64
	Cred   granary.Cred
	Match  *granary.Precondition // checked when the bytes are put in
	Mode   uint32                // of a file that is made …
	Xattrs []granary.Xattr       // … and its attributes
}

// Patch is a stream on its way into a file. Nothing of it is seen before Commit. It is not safe for concurrent use.
//
// What is longer than its buffer gathers in a file without a name, which belongs to the session: when its writer dies,
// or Abort is called, nothing is left. Commit then has the master let the file refer to the same blocks, up to
// granary.CopyRangeMax bytes in one step.
type Patch struct {
	fs     *FS
	ctx    context.Context
	o      PatchOptions
	target *granary.Attr // nil: the file is to be made …
	at     place         // … here
	buffer []byte
	staged uploader // nil: all is in the buffer
	size   uint64
	over   bool
}

// Patched says what became of a Patch.
type Patched struct {
	Attr   granary.Attr
	Offset uint64 // where the bytes went
	Made   bool   // the file was not there before
}

// Patch starts to write into a file. The context bounds all of it.
func (fs *FS) Patch(ctx context.Context, o PatchOptions) (*Patch, error) {
	p := &Patch{fs: fs, ctx: client.WithCred(ctx, o.Cred), o: o}
	err := p.find()
	if granary.IsKind(err, granary.KindNotFound) && o.Offset == granary.OffsetEnd {
		p.at, err = fs.placeOf(p.ctx, "append", o.Root, o.Path, false)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// find looks for the file, which the caller must be allowed to write to.
func (p *Patch) find() error {
	rel, err := named("write", p.o.Path)
	if err != nil {
		return err
	}
	w := walker{m: p.fs.store, root: p.o.Root}
	found, err := w.walk(p.ctx, rel, true, granary.Lookup{Access: granary.AccessWrite})
	if err != nil {
		return err
	}
	if err := openable(&found.Entry.Attr); err != nil {
		return err
	}
	if found.Entry.Attr.Flags&granary.FlagEncrypted != 0 {
		return unchangeable("write", p.o.Path)
	}
	p.target = &found.Entry.Attr
	_, err = p.fs.flushInode(p.ctx, p.target.Inode)
	return err
}

// Attr returns the attributes of the file as it was found, or nil.
func (p *Patch) Attr() *granary.Attr { return p.target }

// Write adds to the stream.
func (p *Patch) Write(b []byte) (int, error) {
	switch {
	case p.over:
		return 0, granary.Errorf(granary.KindInvalid, "write", p.o.Path, "after its end")
	case p.o.Offset != granary.OffsetEnd && (p.o.Offset > granary.FileSizeMax || p.size+uint64(len(b)) > granary.FileSizeMax-p.o.Offset):
		return 0, granary.Errorf(granary.KindFileTooLarge, "write", p.o.Path, "more than %d bytes at offset %d", p.size, p.o.Offset)
	case p.o.Offset == granary.OffsetEnd && p.size+uint64(len(b)) > uint64(granary.CopyRangeMax):
		return 0, granary.Errorf(granary.KindTooLarge, "append", p.o.Path, "at most %d bytes can be added at once", granary.CopyRangeMax)
	}
	if p.staged == nil && len(p.buffer)+len(b) > patchBuffer {
		if err := p.stage(); err != nil {
			return 0, err
		}
	}
	p.size += uint64(len(b))
	if p.staged == nil {
		p.buffer = append(p.buffer, b...)
		return len(b), nil
	}
	return p.staged.Write(b)
}

// stage begins the file without a name, in the dataset and under the policy of the target.
func (p *Patch) stage() error {
	home, policy := p.at.home.Inode, p.at.home.Policy
	create := granary.Create{Type: granary.TypeRegular, Mode: p.o.Mode, Anonymous: true}
	if p.target != nil {
		home, policy = p.target.Inode.Dataset().Root(), p.target.Policy
		create.UID, create.GID, create.Mode = p.target.UID, p.target.GID, p.target.Mode&0o777
	} else {
		create.UID, create.GID = p.fs.ownerOf(p.o.Cred)
	}
	create.Parent = home
	var err error
	// The file is the door's own, and not made in a directory: so it does so with its own authority.
	p.staged, err = p.fs.store.NewUpload(client.WithCred(p.ctx, granary.Cred{}), client.UploadOptions{Create: create, NoInline: true, Home: home, Policy: policy})
	if err != nil {
		return err
	}
	_, err = p.staged.Write(p.buffer)
	p.buffer = nil
	return err
}

// Abort drops the stream. After Commit it does nothing.
func (p *Patch) Abort() {
	if !p.over && p.staged != nil {
		p.staged.Abort()
	}
	p.over = true
}

// Commit puts the bytes in, durably.
func (p *Patch) Commit() (Patched, error) {
	if p.over {
		return Patched{}, granary.Errorf(granary.KindInvalid, "write", p.o.Path, "ended before")
	}
	if p.staged == nil && p.o.Match != nil && p.target != nil { // only what is staged is put in under a condition
		if err := p.stage(); err != nil {
			p.Abort()
			return Patched{}, err
		}
	}
	p.over = true
	if p.staged == nil {
		return p.commitBuffer()
	}
	r, err := p.staged.Finish(nil)
	if err != nil {
		return Patched{}, err
	}
	done, err := p.commitStaged(r.Attr.Inode)
	if err == nil && done.Made {
		return done, nil
	}
	// In the background of the FS: the caller may be gone, or have lost a lock. At the latest it goes with the session.
	if _, rerr := p.fs.store.Do(p.fs.ctx, granary.Cred{}, &granary.Release{Inode: r.Attr.Inode}); rerr != nil {
		p.fs.log.Warn("nameless inode not released", "inode", r.Attr.Inode, "err", rerr)
	}
	return done, err
}

// commitBuffer puts in what is in memory: one step.
func (p *Patch) commitBuffer() (Patched, error) {
	if p.target == nil {
		done, err := p.makeOfBuffer()
		if !granary.IsKind(err, granary.KindExists) {
			return done, err
		}
		if err := p.find(); err != nil { // somebody else was first: it goes to the end of what they made
			return Patched{}, err
		}
	}
	if p.size == 0 {
		return Patched{Attr: *p.target, Offset: min(p.o.Offset, p.target.Size)}, nil
	}
	atEnd := p.o.Offset == granary.OffsetEnd
	change := client.Range{Data: p.buffer}
	if !atEnd {
		change.Offset = p.o.Offset
	}
	r, err := p.fs.store.WriteRanges(p.ctx, p.o.Cred, *p.target, []client.Range{change}, atEnd, nil)
	if err != nil {
		return Patched{}, err
	}
	at := p.o.Offset
	if atEnd {
		at = r.Offset
	}
	return Patched{Attr: p.fs.merge(r.Attr), Offset: at}, nil
}

func (p *Patch) makeOfBuffer() (Patched, error) {
	up, err := p.fs.Upload(p.ctx, UploadOptions{
		Root: p.o.Root, Path: p.o.Path, Mode: p.o.Mode, Cred: p.o.Cred, Xattrs: p.o.Xattrs, Match: p.o.Match, Exclusive: true,
	})
	if err != nil {
		return Patched{}, err
	}
	defer up.Abort()
	if _, err := up.Write(p.buffer); err != nil {
		return Patched{}, err
	}
	info, err := up.Commit(nil)
	if err != nil {
		return Patched{}, err
	}
	return Patched{Attr: info.Attr, Made: true}, nil
}

// commitStaged puts in what the staged file has, or gives that its name.
func (p *Patch) commitStaged(staged granary.InodeID) (Patched, error) {
	if p.target == nil {
		r, err := p.fs.store.Do(p.ctx, p.o.Cred, &granary.Link{
			Inode: staged, Parent: p.at.base, Name: p.at.rel, MakeParents: true, Xattrs: p.o.Xattrs, Match: p.o.Match,
		})
		if !granary.IsKind(err, granary.KindExists) {
			return Patched{Attr: r.Attr, Made: true}, err
		}
		if err := p.find(); err != nil {
			return Patched{}, err
		}
	}
	done := Patched{Offset: p.o.Offset}
	for copied := uint64(0); copied < p.size || copied == 0; {
		op := granary.CopyRange{Src: staged, Dst: p.target.Inode, SrcOffset: copied, DstOffset: p.o.Offset, Length: min(p.size-copied, uint64(granary.CopyRangeMax))}
		if copied == 0 {
			op.Match = p.o.Match
		}
		if p.o.Offset != granary.OffsetEnd {
			op.DstOffset += copied
		}
		r, err := p.fs.store.Do(p.ctx, p.o.Cred, &op)
		switch {
		case err != nil:
			return Patched{}, err
		case r.Offset > op.Length || r.Offset == 0 && op.Length > 0:
			return Patched{}, granary.Errorf(granary.KindInternal, "write", p.o.Path, "%d of %d bytes were put in", r.Offset, op.Length)
		}
		done.Attr = p.fs.merge(r.Attr)
		if p.o.Offset == granary.OffsetEnd {
			done.Offset = r.Attr.Size - r.Offset
		}
		copied += r.Offset
		if p.size == 0 {
			break
		}
	}
	return done, nil
}
