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
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: parent, Path: name})
	if err != nil {
		return granary.Entry{}, err
	}
	found.Entry.Attr = fs.merge(found.Entry.Attr)
	return found.Entry, nil
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
	d, err := ask[*granary.Directory](ctx, fs.store, &granary.ReadDir{Inode: ino, After: after.Name, AfterDir: after.Attr.IsDir()})
	if err != nil {
		return nil, false, err
	}
	for i := range d.Entries {
		d.Entries[i].Attr = fs.merge(d.Entries[i].Attr)
	}
	return d.Entries, d.More, nil
}

// Readlink returns the target of a symbolic link.
func (fs *FS) Readlink(ctx context.Context, ino granary.InodeID) (string, error) {
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
	if err := checkName("create", op.Name); err != nil {
		return granary.Entry{}, err
	}
	op.UID, op.GID = fs.ownerOf(cred)
	op.Exclusive = true
	r, err := fs.store.Do(ctx, cred, op)
	if err != nil {
		return granary.Entry{}, err
	}
	return granary.Entry{Name: op.Name, Attr: r.Attr, Target: op.Target}, nil
}

// Link gives an inode a further name.
func (fs *FS) Link(ctx context.Context, cred granary.Cred, ino, parent granary.InodeID, name string) (granary.Entry, error) {
	if err := checkName("link", name); err != nil {
		return granary.Entry{}, err
	}
	r, err := fs.store.Do(ctx, cred, &granary.Link{Inode: ino, Parent: parent, Name: name})
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
	_, err := fs.store.Do(ctx, cred, &granary.Rmdir{Parent: parent, Name: name})
	return err
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
	r, err := fs.store.Do(ctx, cred, op)
	if err == nil {
		fs.merge(r.Attr)
	}
	return err
}
