package filer

import (
	"context"
	"strings"

	"github.com/dsorchard/granary"
)

// Lookup finds a name in a directory. Its attributes include this FS's unflushed writes.
func (fs *FS) Lookup(ctx context.Context, parent granary.InodeID, name string) (granary.Entry, error) {
	if err := checkName("lookup", name); err != nil {
		return granary.Entry{}, err
	}
	if e, ok, err := fs.lookupHeld(ctx, parent, name); ok || err != nil {
		return e, err
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: parent, Path: name})
	if err != nil {
		return granary.Entry{}, err
	}
	found.Entry.Attr = fs.merge(found.Entry.Attr)
	if a, ok, err := fs.attrOfDir(ctx, &found.Entry.Attr); ok || err != nil {
		found.Entry.Attr = a
		return found.Entry, err
	}
	return found.Entry, nil
}

// attrOfDir returns the attributes of a directory as they are here, if it is held.
func (fs *FS) attrOfDir(ctx context.Context, a *granary.Attr) (granary.Attr, bool, error) {
	if fs.held == nil || !a.IsDir() {
		return *a, false, nil
	}
	return fs.attrHeld(ctx, a.Inode)
}

// checkName refuses what cannot be one component of a path.
func checkName(op, name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return granary.Errorf(granary.KindInvalid, op, name, "not a name")
	case len(name) > granary.NameLengthMax:
		return granary.Errorf(granary.KindNameTooLong, op, name[:32]+"…", "%d bytes", len(name))
	}
	return nil
}

// ReadDir calls fn for every entry of a directory in key order, until fn returns false.
func (fs *FS) ReadDir(ctx context.Context, ino granary.InodeID, fn func(granary.Entry) bool) error {
	return fs.ReadDirAfter(ctx, ino, granary.Entry{}, fn)
}

// ReadDirAfter is ReadDir from the entry that follows after, by its name and type.
func (fs *FS) ReadDirAfter(ctx context.Context, ino granary.InodeID, after granary.Entry, fn func(granary.Entry) bool) error {
	for {
		entries, more, err := fs.ReadDirPage(ctx, ino, after)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !fn(e) {
				return nil
			}
		}
		if !more || len(entries) == 0 {
			return nil
		}
		after = entries[len(entries)-1]
	}
}

// ReadDirPage returns entries of a directory from the one that follows after, in key order, and whether there are more.
func (fs *FS) ReadDirPage(ctx context.Context, ino granary.InodeID, after granary.Entry) (entries []granary.Entry, more bool, err error) {
	if entries, ok, err := fs.readDirHeld(ctx, ino, after); ok || err != nil {
		return entries, false, err
	}
	d, err := ask[*granary.Directory](ctx, fs.store, &granary.ReadDir{Inode: ino, After: after.Name, AfterDir: after.Attr.IsDir()})
	if err != nil {
		return nil, false, err
	}
	for i := range d.Entries {
		d.Entries[i].Attr = fs.merge(d.Entries[i].Attr)
	}
	fs.heldAttrs(d.Entries)
	return d.Entries, d.More, nil
}

// Readlink returns the target of a symbolic link.
func (fs *FS) Readlink(ctx context.Context, ino granary.InodeID) (string, error) {
	if a, target, ok := fs.held.unborn(ino); ok && a.Type == granary.TypeSymlink {
		return target, nil
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: ino})
	if err != nil {
		return "", err
	}
	if found.Entry.Attr.Type != granary.TypeSymlink {
		return "", granary.Errorf(granary.KindInvalid, "readlink", ino.String(), "not a symbolic link")
	}
	return found.Entry.Target, nil
}

// Mkdir makes a directory, with mode and umask as for Create.
func (fs *FS) Mkdir(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string, mode, umask uint32) (granary.Entry, error) {
	return fs.make(ctx, cred, &granary.Create{Parent: parent, Name: name, Type: granary.TypeDirectory, Mode: mode, Umask: umask})
}

// Symlink makes a symbolic link.
func (fs *FS) Symlink(ctx context.Context, cred granary.Cred, parent granary.InodeID, name, target string) (granary.Entry, error) {
	return fs.make(ctx, cred, &granary.Create{Parent: parent, Name: name, Type: granary.TypeSymlink, Mode: 0o777, Target: target})
}

// Mknod makes an empty file, a FIFO, a socket or a device.
func (fs *FS) Mknod(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string, typ granary.FileType, mode, umask, rdev uint32) (granary.Entry, error) {
	return fs.make(ctx, cred, &granary.Create{Parent: parent, Name: name, Type: typ, Mode: mode, Umask: umask, Rdev: rdev})
}

// make makes an entry that must be new.
func (fs *FS) make(ctx context.Context, cred granary.Cred, op *granary.Create) (granary.Entry, error) {
	op.UID, op.GID = fs.ownerOf(cred)
	return fs.makeOwned(ctx, cred, op)
}

// makeOwned is make of what belongs to whom the op says.
func (fs *FS) makeOwned(ctx context.Context, cred granary.Cred, op *granary.Create) (granary.Entry, error) {
	if err := checkName("create", op.Name); err != nil {
		return granary.Entry{}, err
	}
	op.Exclusive = true
	var e granary.Entry
	err := fs.held.names(ctx, []granary.InodeID{op.Parent}, func(dirs []*heldDir) (bool, error) {
		_, there, err := fs.held.find("create", &cred, dirs[0], op.Name)
		switch {
		case escaped(op.Name):
			return false, nil
		case err != nil:
			return true, err
		case there:
			return true, granary.Errorf(granary.KindExists, "create", op.Name, "")
		}
		e, err = fs.held.create(cred, dirs[0], op)
		return true, err
	}, func() error {
		r, err := fs.store.Do(ctx, cred, op)
		if err == nil {
			e = granary.Entry{Name: op.Name, Attr: r.Attr, Target: op.Target}
			fs.held.made(op.Parent, &e)
		}
		return err
	}, func(dirs []*heldDir) { dirs[0].names[op.Name] = heldName{e.Attr.Inode, e.Attr.Type, false} })
	if err != nil {
		return granary.Entry{}, err
	}
	return e, nil
}

// Link gives an inode a further name.
func (fs *FS) Link(ctx context.Context, cred granary.Cred, ino, parent granary.InodeID, name string) (granary.Entry, error) {
	if err := checkName("link", name); err != nil {
		return granary.Entry{}, err
	}
	var r granary.Result
	err := fs.held.names(ctx, []granary.InodeID{parent}, func([]*heldDir) (bool, error) { return false, nil }, func() error {
		err := fs.held.known(ctx, ino)
		if err == nil {
			fs.held.share(ino)
			r, err = fs.store.Do(ctx, cred, &granary.Link{Inode: ino, Parent: parent, Name: name})
		}
		return err
	}, func(dirs []*heldDir) { dirs[0].names[name] = heldName{ino, r.Attr.Type, false} })
	if err != nil {
		return granary.Entry{}, err
	}
	return granary.Entry{Name: name, Attr: fs.merge(r.Attr)}, nil
}

// Unlink removes a name that is not a directory's. An inode that is open, here or elsewhere, lives on, nameless, until
// it is closed.
func (fs *FS) Unlink(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string) error {
	if err := checkName("unlink", name); err != nil {
		return err
	}
	return fs.unlink(ctx, cred, &granary.Unlink{Parent: parent, Name: name})
}

func (fs *FS) unlink(ctx context.Context, cred granary.Cred, op *granary.Unlink) error {
	var gone granary.InodeID
	err := fs.held.names(ctx, []granary.InodeID{op.Parent}, func(dirs []*heldDir) (done bool, err error) {
		gone, done, err = fs.held.unlink(cred, dirs[0], op)
		return done, err
	}, func() error { return fs.doMerged(ctx, cred, op) }, func(dirs []*heldDir) { delete(dirs[0].names, op.Name) })
	if gone != 0 {
		fs.forgotten(gone)
	}
	return err
}

// doMerged has the master do something, and takes in the attributes that it answers.
func (fs *FS) doMerged(ctx context.Context, cred granary.Cred, op granary.Op) error {
	r, err := fs.store.Do(ctx, cred, op)
	if err == nil {
		fs.merge(r.Attr)
	}
	return err
}

// Rmdir removes an empty directory.
func (fs *FS) Rmdir(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string) error {
	if err := checkName("rmdir", name); err != nil {
		return err
	}
	op := &granary.Rmdir{Parent: parent, Name: name}
	return fs.held.names(ctx, []granary.InodeID{parent}, func(dirs []*heldDir) (bool, error) {
		return fs.held.rmdir(cred, dirs[0], op)
	}, func() error {
		_, err := fs.store.Do(ctx, cred, op)
		return err
	}, func(dirs []*heldDir) {
		delete(fs.held.dirs, dirs[0].names[name].inode)
		delete(dirs[0].names, name)
	}, name)
}

// RenameFlags are the flags of renameat2(2).
type RenameFlags struct{ NoReplace, Exchange bool }

// Rename moves an entry. A replaced inode that is open lives on as after Unlink.
func (fs *FS) Rename(ctx context.Context, cred granary.Cred, srcParent granary.InodeID, srcName string, dstParent granary.InodeID, dstName string, flags RenameFlags) error {
	for _, name := range [...]string{srcName, dstName} {
		if err := checkName("rename", name); err != nil {
			return err
		}
	}
	op := &granary.Rename{
		SrcParent: srcParent, SrcName: srcName, DstParent: dstParent, DstName: dstName,
		NoReplace: flags.NoReplace, Exchange: flags.Exchange,
	}
	ids := []granary.InodeID{srcParent, dstParent}
	var gone granary.InodeID
	err := fs.held.names(ctx, ids, func(dirs []*heldDir) (done bool, err error) {
		gone, done, err = fs.held.rename(cred, dirs[0], dirs[len(dirs)-1], op)
		return done, err
	}, func() error { return fs.doMerged(ctx, cred, op) }, func(dirs []*heldDir) { fs.held.renamed(dirs[0], dirs[len(dirs)-1], op) }, srcName, dstName)
	if gone != 0 {
		fs.forgotten(gone)
	}
	return err
}
