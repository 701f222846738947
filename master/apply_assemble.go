package master

import (
	"github.com/dsorchard/granary"
)

// assemble makes one file of the content of others. It touches a few keys, however many parts there are: the file gets
// a list of them, and reclaim moves their extents. The directory of the upload is in no tree from here on, and is held
// in the list until nothing of the file lies in it any more.
//
// The parts stay what the leader found them to be: files in an upload's directory cannot be written or linked, and one
// that is replaced or renamed changes the directory's version. Uploads are not moved away, nor made by a move. They have the directory's owner, and keep it: so what
// counts for the file and no more for them is the same owner's at every step, and no quota can be got round.
func (t *txn) assemble(session granary.SessionID, op *granary.Assemble) granary.Result {
	if err := checkAssemble(op); err != nil {
		return granary.Result{Err: err}
	}
	dir, err := t.directory("assemble", op.Upload)
	if err != nil {
		return granary.Result{Err: err}
	}
	above := t.inode(dir.Parent)
	switch {
	case !t.owns(dir):
		return failed(granary.KindPermission, "assemble", op.Upload.String(), "another's upload")
	case above == nil || !above.holdsUploads():
		return failed(granary.KindInvalid, "assemble", op.Upload.String(), "not the directory of an upload")
	case op.Version != 0 && dir.Version != op.Version, dir.Version != op.Sources.Version:
		return failed(granary.KindStale, "assemble", op.Upload.String(), "something was put into the upload: its version is %d", dir.Version)
	}
	if d := t.find(above.Inode, entryName{op.UploadName, dirName}); d == nil || d.Inode != op.Upload {
		return failed(granary.KindNotFound, "assemble", op.UploadName, "no such upload, or not under this name")
	}
	if err := t.mayRemove("assemble", op.UploadName, above, dir); err != nil {
		return granary.Result{Err: err}
	}
	a := &assemblyRecord{Upload: op.Upload}
	size := uint64(0)
	for i, id := range op.Sources.Inodes {
		a.Parts = append(a.Parts, assemblyPart{id, op.Sources.Sizes[i]})
		size += op.Sources.Sizes[i]
	}
	if size > granary.FileSizeMax {
		return failed(granary.KindFileTooLarge, "assemble", op.Create.Name, "beyond %d bytes", uint64(granary.FileSizeMax))
	}
	a.Dir = t.detach(above, op.UploadName, dir)
	t.advance(&a.Dir, size, 0)
	create := op.Create
	create.Replace = !create.Exclusive
	made := t.createSized(session, &create, size)
	if made.Err != nil {
		return made
	}
	r := t.inode(made.Attr.Inode)
	if r.Inode.Dataset() != op.Upload.Dataset() {
		return failed(granary.KindCrossDataset, "assemble", op.Create.Name, "")
	}
	if r.Flags&granary.FlagPart != 0 {
		return failed(granary.KindInvalid, "assemble", op.Create.Name, "the directory of an upload takes parts only")
	}
	t.setSize(r, size)
	r.Flags |= granary.FlagAssembling
	if op.Create.Policy != 0 {
		t.markSweep(r.Inode) // parts may share blocks with what is in another class
	}
	r.Allocated = size
	t.touch(r)
	store(t, keyAssembly(r.Inode), a)
	enqueue(t, queueAssembly, uint64(r.Inode), &numberRecord{})
	made.Attr = r.Attr
	return made
}

// checkAssemble refuses what is wrong in itself.
func checkAssemble(op *granary.Assemble) *granary.Error {
	bad := func(format string, args ...any) *granary.Error {
		return granary.Errorf(granary.KindInvalid, "assemble", op.Create.Name, format, args...)
	}
	switch s := op.Sources; {
	case op.Create.Type != granary.TypeRegular || op.Create.Content != nil || op.Create.Anonymous:
		return bad("it makes a regular file with a name, and the parts are its content")
	case s == nil:
		return bad("the parts were not found")
	case len(s.Inodes) == 0 || len(s.Inodes) > granary.PartsMax || len(s.Sizes) != len(s.Inodes):
		return bad("%d parts with %d sizes, not 1 to %d", len(s.Inodes), len(s.Sizes), granary.PartsMax)
	}
	for _, n := range op.Sources.Sizes {
		if n > granary.FileSizeMax {
			return bad("a part of %d bytes", n)
		}
	}
	return nil
}

// holdsUploads reports whether the entries of a directory are uploads: of each dataset, one does.
func (r *inodeRecord) holdsUploads() bool { return r.Inode == r.Inode.Dataset().System() }

// isUpload reports whether the files in a directory are parts.
func (r *inodeRecord) isUpload() bool { return r.Parent == r.Inode.Dataset().System() }

// detach takes a directory that has entries out of the tree, and returns its record, which the queue would hold.
func (t *txn) detach(above *inodeRecord, name string, dir *inodeRecord) inodeRecord {
	t.removeName(above, name, dir)
	t.dispose(dir)
	k := keyQueue(queueInode, uint64(dir.Inode))
	held := fetch[inodeRecord](t, k)
	held.Inode = dir.Inode
	t.del(k)
	t.head.Queue--
	return *held
}

// advance changes by how much the owner of an upload is ahead of the sizes of its parts: what an assembled file counts
// for, its parts count for no more, although their records say so until reclaim has come to them.
func (t *txn) advance(dir *inodeRecord, from, to uint64) {
	parts := *dir
	parts.Size = from
	t.setSize(&parts, to)
}

// checkWritable refuses to change the content of a file that is being assembled, or is a part to assemble.
func checkWritable(op string, r *inodeRecord) *granary.Error {
	switch {
	case r.Flags&granary.FlagPart != 0:
		return granary.Errorf(granary.KindInvalid, op, r.Inode.String(), "the part of an upload is written once")
	case r.Flags&granary.FlagAssembling != 0:
		return granary.Errorf(granary.KindBusy, op, r.Inode.String(), "the parts of an upload are still being put together")
	}
	return nil
}

// movable returns a regular file whose content may be stored otherwise.
func (t *txn) movable(op string, id granary.InodeID) (*inodeRecord, *granary.Error) {
	r, err := t.regular(op, id)
	if err == nil {
		err = checkWritable(op, r)
	}
	return r, err
}

// writable returns a regular file whose content may change.
func (t *txn) writable(op string, id granary.InodeID) (*inodeRecord, *granary.Error) {
	r, err := t.movable(op, id)
	if err == nil {
		err = t.unlocked(op, id.String(), r, false)
	}
	if err == nil {
		err = checkPlain(op, r)
	}
	return r, err
}

// reclaimAssembly moves extents from the parts of a file into its own windows, in the order of the file. If the file is
// no more, what it had is reclaimed as any file's, and the parts, emptied of what no longer counts for them, go with
// their directory.
func (t *txn) reclaimAssembly(k []byte, id granary.InodeID, next int, left *int) bool {
	a := fetch[assemblyRecord](t, keyAssembly(id))
	r := t.inode(id)
	start := uint64(0)
	for i, part := range a.Parts {
		if i < next {
			start += part.Size
			continue
		}
		if *left <= 0 {
			store(t, k, &numberRecord{uint64(i)})
			return false
		}
		p := t.inode(part.Inode)
		p.Flags |= granary.FlagMoved
		t.touch(p)
		if r != nil && !t.movePart(r, p, start, part.Size, left) {
			store(t, k, &numberRecord{uint64(i)})
			return false
		}
		*left -= 2
		t.advance(&a.Dir, 0, part.Size)
		t.setSize(p, p.Size-part.Size)
		start += part.Size
	}
	if r != nil {
		r.Flags &^= granary.FlagAssembling
		t.recount(r)
		t.touch(r)
	}
	t.del(keyAssembly(id))
	enqueue(t, queueInode, uint64(a.Upload), &a.Dir)
	return true
}

// movePart moves the extents of a part to its place in the file, from its front, as many as are left to move. A block
// keeps its references, but for one more where a piece now lies across the border of two windows.
func (t *txn) movePart(r, p *inodeRecord, start, size uint64, left *int) bool {
	done := true
	from := extentSource{inode: p.Inode, start: start, size: size}
	to := &windowMover{t: t, r: r}
	t.scan(keyExtent(p.Inode, 0), keyEnd(key(tableExtent, uint64(p.Inode))), func(k, v []byte) bool {
		if *left <= 0 {
			done = false
			return false
		}
		w, err := unmarshalWindow(keyID(k, 1), v)
		must(err)
		before := w.sum()
		n := min(len(w.Pieces), *left)
		for _, q := range w.Pieces[:n] {
			if placed, ok := from.place(q); ok {
				to.add(placed)
			} else {
				t.ref(q.Block, -1)
			}
		}
		w.Pieces = w.Pieces[n:]
		t.putWindow(p, w, before)
		*left -= n + 1
		done = len(w.Pieces) == 0
		return done
	})
	*left -= to.flush()
	r.Allocated = r.Size // as if it had all of the extents
	return done
}

// windowMover adds pieces, in ascending order, to the windows of a file.
type windowMover struct {
	t       *txn
	r       *inodeRecord
	w       *windowRecord
	before  windowSum
	touched int
}

// add puts a piece where nothing is. The caller has its block's reference.
func (m *windowMover) add(p piece) {
	n := p.Offset / windowSize
	if m.w == nil || m.w.window != n {
		m.flush()
		m.w = m.t.window(m.r, n)
		m.before = m.w.sum()
	}
	border := (n + 1) * windowSize
	if p.end() <= border {
		m.w.Pieces = append(m.w.Pieces, p)
		return
	}
	m.w.Pieces = append(m.w.Pieces, p.clip(p.Offset, border))
	m.t.ref(p.Block, 1)
	m.touched++
	m.add(p.clip(border, p.end()))
}

// flush stores the window at hand, and returns how many keys were touched so far.
func (m *windowMover) flush() int {
	if m.w != nil {
		m.t.putWindow(m.r, m.w, m.before)
		m.w = nil
		m.touched++
	}
	return m.touched
}
