package filer

import (
	"context"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Create opens a regular file by name, and makes it first if need be: with the mode less the umask, or with what the
// directory's default access control list makes of the mode.
func (fs *FS) Create(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string, mode, umask uint32, exclusive bool, flags OpenFlags) (*Handle, granary.Entry, error) {
	if err := checkName("create", name); err != nil {
		return nil, granary.Entry{}, err
	}
	uid, gid := fs.ownerOf(cred)
	op := &granary.Create{
		Parent: parent, Name: name, Type: granary.TypeRegular, Mode: mode, Umask: umask,
		UID: uid, GID: gid, Exclusive: exclusive, Open: true,
	}
	if fs.held != nil {
		held := *op
		if h, e, usual, err := fs.createHeld(ctx, cred, &held, flags); !usual || err != nil {
			return h, e, err
		}
	}
	var r granary.Result
	err := fs.held.names(ctx, []granary.InodeID{parent}, func([]*heldDir) (bool, error) { return false, nil }, func() (err error) {
		r, err = fs.store.Do(ctx, cred, op)
		return err
	}, func(dirs []*heldDir) { dirs[0].names[name] = heldName{r.Attr.Inode, r.Attr.Type, false} })
	if err != nil {
		return nil, granary.Entry{}, err
	}
	if r.Created {
		fs.held.made(parent, &granary.Entry{Name: name, Attr: r.Attr})
	}
	if !r.Created {
		return fs.createExisting(ctx, cred, name, r.Attr, flags)
	}
	in := fs.get(r.Attr.Inode)
	fs.opens(in)
	in.mu.Lock()
	in.adopt(r.Attr)
	in.mu.Unlock()
	return newHandle(in, cred, flags), granary.Entry{Name: name, Attr: r.Attr}, nil
}

// Tmpfile makes and opens a regular file without a name: O_TMPFILE. Link may give it one as long as it is open; without one
// it goes with its last handle, or with the session.
func (fs *FS) Tmpfile(ctx context.Context, cred granary.Cred, parent granary.InodeID, mode, umask uint32, flags OpenFlags) (*Handle, granary.Entry, error) {
	if err := fs.held.known(ctx, parent); err != nil {
		return nil, granary.Entry{}, err
	}
	uid, gid := fs.ownerOf(cred)
	r, err := fs.store.Do(ctx, cred, &granary.Create{
		Parent: parent, Type: granary.TypeRegular, Mode: mode, Umask: umask,
		UID: uid, GID: gid, Anonymous: true, Open: true,
	})
	if err != nil {
		return nil, granary.Entry{}, err
	}
	in := fs.get(r.Attr.Inode)
	fs.opens(in)
	in.mu.Lock()
	in.anonymous = true
	in.adopt(r.Attr)
	in.mu.Unlock()
	return newHandle(in, cred, flags), granary.Entry{Attr: r.Attr}, nil
}

// createExisting opens the file that Create found, and had opened so that it stays.
func (fs *FS) createExisting(ctx context.Context, cred granary.Cred, name string, a granary.Attr, flags OpenFlags) (*Handle, granary.Entry, error) {
	defer fs.store.Closed(a.Inode, false)
	h, err := fs.Open(ctx, cred, a.Inode, flags)
	if err != nil {
		return nil, granary.Entry{}, err
	}
	return h, granary.Entry{Name: name, Attr: h.Attr()}, nil
}

// Open opens a regular file. It asks the master for the newest version, unless that is known here: close-to-open. A directory is
// KindIsDir, a symbolic link KindLoop. The caller must have the permissions that the flags need: from then on the handle
// counts, whatever becomes of them.
func (fs *FS) Open(ctx context.Context, cred granary.Cred, ino granary.InodeID, flags OpenFlags) (*Handle, error) {
	h, a, err := fs.register(ctx, cred, ino, flags)
	if err != nil {
		return nil, err
	}
	err = openable(&a)
	if err == nil && flags.Truncate {
		var size uint64
		_, err = h.in.setAttr(ctx, cred, &granary.SetAttr{Inode: ino, Size: &size, Opened: true})
	}
	if err != nil {
		h.drop(ctx)
		return nil, err
	}
	return h, nil
}

// register makes a handle, and has the master count the file as open.
func (fs *FS) register(ctx context.Context, cred granary.Cred, ino granary.InodeID, flags OpenFlags) (*Handle, granary.Attr, error) {
	if h, a, ok, err := fs.openUnborn(ctx, cred, ino, flags); ok || err != nil {
		return h, a, err
	}
	in := fs.get(ino)
	h := newHandle(in, cred, flags)
	if a, ok := fs.openKept(cred, ino, flags); ok {
		fs.opens(in)
		in.learn(&granary.Found{Entry: granary.Entry{Attr: a}}, window{})
		return h, a, nil
	}
	q := &granary.Lookup{Base: ino, Open: true, Stored: true, Access: flags.access()}
	if flags.Read && !flags.Truncate {
		q.Layout = &granary.Range{Length: layoutSpan}
	}
	found, err := ask[*granary.Found](client.WithCred(ctx, cred), fs.store, q)
	if err != nil {
		h.drop(ctx)
		return nil, granary.Attr{}, err
	}
	if found.Entry.Attr.Type == granary.TypeRegular {
		fs.opens(in)
	}
	var w window
	if q.Layout != nil && found.Layout != nil {
		w = windowOf(found, 0, layoutSpan)
	}
	if err := h.readable(ctx, found, &w); err != nil {
		h.drop(ctx)
		return nil, granary.Attr{}, err
	}
	in.learn(found, w)
	return h, found.Entry.Attr, nil
}

// readable has w decrypt a file that is encrypted, and refuses one whose key is a customer's. Who opens it to write may be about to empty it: so
// that is refused when it is written to.
func (h *Handle) readable(ctx context.Context, found *granary.Found, w *window) error {
	if w.layout == nil || !w.encrypted {
		return nil
	}
	content, err := h.in.fs.contentOf(ctx, found)
	w.content = content
	return err
}

// openKept opens a file for reading of which the newest is known, if it is plain that the caller may: the master does not hear of it.
func (fs *FS) openKept(cred granary.Cred, ino granary.InodeID, flags OpenFlags) (granary.Attr, bool) {
	if flags != (OpenFlags{Read: true}) {
		return granary.Attr{}, false
	}
	return fs.store.OpenKept(ino, func(a *granary.Attr) bool {
		return a.Flags&granary.FlagEncrypted == 0 && (cred.UID == 0 || a.Flags&granary.FlagACL == 0) &&
			permit("open", "", &cred, a, granary.AccessRead) == nil
	})
}

// drop takes back the registration of a handle that nobody has got.
func (h *Handle) drop(ctx context.Context) {
	h.closed.Store(true)
	in := h.in
	in.mu.Lock()
	in.handles--
	end := in.handles == 0 && in.nameless()
	in.mu.Unlock()
	if end {
		in.giveUp(ctx)
	}
	in.fs.put(in)
}

// openable refuses what has no content.
func openable(a *granary.Attr) error {
	switch a.Type {
	case granary.TypeRegular:
		return nil
	case granary.TypeDirectory:
		return granary.Errorf(granary.KindIsDir, "open", a.Inode.String(), "")
	case granary.TypeSymlink:
		return granary.Errorf(granary.KindLoop, "open", a.Inode.String(), "a symbolic link")
	}
	return granary.Errorf(granary.KindInvalid, "open", a.Inode.String(), "not a regular file")
}
