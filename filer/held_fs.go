package filer

import (
	"context"
	"slices"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// What a FS does by inode, where directories may be held. Each returns false for what is to be done as usual.

// lookupHeld finds a name in a directory that is held.
func (fs *FS) lookupHeld(ctx context.Context, parent granary.InodeID, name string) (granary.Entry, bool, error) {
	d, leave, err := fs.held.dir(ctx, parent)
	if d == nil {
		return granary.Entry{}, false, err
	}
	h := fs.held
	if escaped(name) {
		leave()
		return granary.Entry{}, false, h.tell(ctx)
	}
	e, ok := d.names[name]
	if cred := client.CredOf(ctx); cred != nil {
		err = permit("lookup", name, cred, &d.attr, granary.AccessExecute)
	}
	if err == nil && !ok {
		err = granary.Errorf(granary.KindNotFound, "lookup", name, "")
	}
	node := h.nodes[e.inode]
	child := h.dirs[e.inode]
	entry := granary.Entry{Name: name}
	here := true
	switch {
	case err != nil:
	case child != nil && !child.stale && !child.frozen:
		entry.Attr = child.attr
	case child == nil && node != nil && node.birth != nil:
		entry.Attr, entry.Target = node.attr, node.target
	default:
		here = false
	}
	leave()
	if err != nil || here {
		if err == nil {
			entry.Attr = fs.merge(entry.Attr)
		}
		return entry, true, err
	}
	if child != nil {
		entry.Attr, err = h.refresh(ctx, e.inode)
		return entry, true, err
	}
	if err := h.known(ctx, e.inode); err != nil {
		return entry, true, err
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: e.inode})
	if err != nil {
		return entry, true, err
	}
	return granary.Entry{Name: name, Attr: fs.merge(found.Entry.Attr), Target: found.Entry.Target}, true, nil
}

// attrHeld returns the attributes of what is held, or not told.
func (fs *FS) attrHeld(ctx context.Context, ino granary.InodeID) (granary.Attr, bool, error) {
	d, leave, err := fs.held.dir(ctx, ino)
	if err != nil {
		return granary.Attr{}, true, err
	}
	if d != nil {
		a, stale := d.attr, d.stale
		leave()
		if stale {
			a, err = fs.held.refresh(ctx, ino)
		}
		return a, true, err
	}
	if a, _, ok := fs.held.unborn(ino); ok {
		return fs.merge(a), true, nil
	}
	return granary.Attr{}, false, fs.held.known(ctx, ino)
}

// readDirHeld lists a directory that is held, if all that is in it is known here. Else the master is told all first.
func (fs *FS) readDirHeld(ctx context.Context, ino granary.InodeID, after granary.Entry) ([]granary.Entry, bool, error) {
	d, leave, err := fs.held.dir(ctx, ino)
	if d == nil {
		return nil, false, err
	}
	if cred := client.CredOf(ctx); cred != nil {
		if err := permit("readdir", ino.String(), cred, &d.attr, granary.AccessRead); err != nil {
			leave()
			return nil, true, err
		}
	}
	h := fs.held
	entries := make([]granary.Entry, 0, len(d.names))
	here := true
	for name, n := range d.names {
		node, child := h.nodes[n.inode], h.dirs[n.inode]
		e := granary.Entry{Name: name}
		switch {
		case child != nil && !child.stale && !child.frozen:
			e.Attr = child.attr
		case child == nil && node != nil && node.birth != nil:
			e.Attr, e.Target = node.attr, node.target
		default:
			here = false
		}
		if !here {
			break
		}
		if after.Name == "" || key(&e) > key(&after) {
			entries = append(entries, e)
		}
	}
	leave()
	if !here {
		return nil, false, h.tell(ctx)
	}
	slices.SortFunc(entries, func(a, b granary.Entry) int {
		if key(&a) < key(&b) {
			return -1
		}
		return 1
	})
	for i := range entries {
		entries[i].Attr = fs.merge(entries[i].Attr)
	}
	return entries, true, nil
}

// key is by what listings are ordered.
func key(e *granary.Entry) string {
	if e.Attr.IsDir() {
		return e.Name + "/"
	}
	return e.Name
}

// heldAttrs puts the attributes of directories that are held into entries that the master listed.
func (fs *FS) heldAttrs(entries []granary.Entry) {
	h := fs.held
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range entries {
		if d := h.dirs[entries[i].Attr.Inode]; d != nil && !d.stale && !d.frozen {
			entries[i].Attr = d.attr
		}
	}
}

// createHeld opens a file in a directory that is held, and makes it first if need be.
func (fs *FS) createHeld(ctx context.Context, cred granary.Cred, op *granary.Create, flags OpenFlags) (h *Handle, e granary.Entry, usual bool, err error) {
	var there heldName
	in := (*inode)(nil)
	found := false
	err = fs.held.names(ctx, []granary.InodeID{op.Parent}, func(dirs []*heldDir) (bool, error) {
		d, held := dirs[0], fs.held
		if escaped(op.Name) {
			return false, nil
		}
		var err error
		if there, found, err = held.find("create", &cred, d, op.Name); err != nil || found {
			return true, err
		}
		if e, err = held.create(cred, d, op); err != nil {
			return false, err
		}
		in = fs.get(e.Attr.Inode)
		fs.get(e.Attr.Inode) // for the log
		held.nodes[e.Attr.Inode].birth.in = in
		return true, nil
	}, func() error {
		usual = true
		return nil
	}, nil)
	switch {
	case err != nil || usual:
		return nil, e, usual, err
	case in != nil:
		in.mu.Lock()
		if in.attr.Version == 0 {
			in.adopt(e.Attr)
		}
		in.mu.Unlock()
		return newHandle(in, cred, flags), e, false, nil
	case op.Exclusive || there.typ != granary.TypeRegular && there.typ != granary.TypeDirectory:
		return nil, e, false, granary.Errorf(granary.KindExists, "create", op.Name, "")
	case there.typ == granary.TypeDirectory:
		return nil, e, false, granary.Errorf(granary.KindIsDir, "create", op.Name, "")
	}
	h, err = fs.Open(ctx, cred, there.inode, flags)
	if err != nil {
		return nil, e, false, err
	}
	return h, granary.Entry{Name: op.Name, Attr: h.Attr()}, false, nil
}

// openUnborn opens a file that the master was not told of.
func (fs *FS) openUnborn(ctx context.Context, cred granary.Cred, ino granary.InodeID, flags OpenFlags) (*Handle, granary.Attr, bool, error) {
	a, _, ok := fs.held.unborn(ino)
	if !ok || a.Type != granary.TypeRegular || flags.Truncate {
		return nil, a, false, fs.held.known(ctx, ino)
	}
	want := flags.access()
	err := permit("open", ino.String(), &cred, &a, want)
	if err == nil && want&granary.AccessExecute != 0 && a.Mode&0o111 == 0 {
		err = granary.Errorf(granary.KindPermission, "open", ino.String(), "nobody may execute it")
	}
	if err != nil {
		return nil, a, true, err
	}
	in := fs.get(ino)
	h := newHandle(in, cred, flags)
	in.mu.Lock()
	a, _, ok = fs.held.unborn(ino)
	if ok {
		in.adopt(a)
		a = in.view()
	}
	in.mu.Unlock()
	if !ok { // it was told meanwhile: it is opened as others are
		h.drop(ctx)
		return nil, a, false, nil
	}
	return h, a, true, nil
}

// setHeld changes attributes of what is held, or not told.
func (fs *FS) setHeld(ctx context.Context, cred granary.Cred, op *granary.SetAttr) (granary.Attr, bool, error) {
	h := fs.held
	d, leave, err := h.dir(ctx, op.Inode)
	if err != nil {
		return granary.Attr{}, true, err
	}
	if d != nil {
		leave()
		var a granary.Attr
		err := h.names(ctx, []granary.InodeID{op.Inode}, func(dirs []*heldDir) (ok bool, err error) {
			a, ok = h.setDir(cred, dirs[0], op)
			return ok, nil
		}, func() error {
			r, err := fs.store.Do(ctx, cred, op)
			a = r.Attr
			return err
		}, func(dirs []*heldDir) {
			if dirs[0].id == a.Inode {
				dirs[0].attr, dirs[0].stale = a, false
			}
		})
		return a, true, err
	}
	if h == nil {
		return granary.Attr{}, false, nil
	}
	h.mu.Lock()
	a, ok := h.setUnborn(cred, op)
	h.mu.Unlock()
	if !ok {
		return a, false, h.known(ctx, op.Inode)
	}
	in := fs.peek(op.Inode)
	if in == nil {
		return a, true, nil
	}
	defer fs.put(in)
	in.mu.Lock()
	defer in.mu.Unlock()
	if h.isUnborn(in.id) {
		in.adopt(a)
		if (op.Mtime != nil || op.MtimeNow) && in.pending() {
			in.keepMtime = &a.Mtime
		}
	}
	return in.view(), true, nil
}

// forgotten notes that an inode that may be open here has no name any more.
func (fs *FS) forgotten(id granary.InodeID) {
	in := fs.peek(id)
	if in == nil {
		return
	}
	defer fs.put(in)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.attr.Version != 0 {
		in.attr.Nlink = 0
	}
}

// yield gives a directory back before something is done with it that who holds it cannot decide.
func (fs *FS) yield(ctx context.Context, ino granary.InodeID) error {
	d, leave, err := fs.held.dir(ctx, ino)
	if err != nil {
		return err
	}
	if d == nil {
		return fs.held.known(ctx, ino)
	}
	leave()
	return fs.held.release(ctx, []granary.InodeID{ino})
}
