package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// assemblyRecord is how a file is put together: of the content of which inodes, in order. It is written once, with the
// file, and goes when all extents are the file's own. Until then a piece of content lies either in a part's windows or,
// at the part's place, in the file's, never in both.
type assemblyRecord struct {
	Parts  []assemblyPart
	Upload granary.InodeID // the directory of the parts …
	Dir    inodeRecord     // … which is in no tree, and in the inode table no more
}

// assemblyPart is a part, and how much of it counts.
type assemblyPart struct {
	Inode granary.InodeID
	Size  uint64
}

func (r *assemblyRecord) put(e *encoder) {
	e.u64(uint64(len(r.Parts)))
	last := granary.InodeID(0)
	for _, p := range r.Parts { // the ids lie close together
		e.i64(int64(p.Inode - last))
		e.u64(p.Size)
		last = p.Inode
	}
	e.u64(uint64(r.Upload))
	r.Dir.put(e)
}

func (r *assemblyRecord) take(d *decoder) {
	n := d.count()
	r.Parts = make([]assemblyPart, 0, n)
	last := granary.InodeID(0)
	for range n {
		last += granary.InodeID(d.i64())
		r.Parts = append(r.Parts, assemblyPart{last, d.u64()})
	}
	r.Upload = granary.InodeID(d.u64())
	r.Dir.take(d)
	r.Dir.Inode = r.Upload
}

// extentSource is an inode in whose windows content of a file lies: the file itself, or a part of it.
type extentSource struct {
	inode granary.InodeID
	start uint64 // where in the file the inode's offset 0 is
	size  uint64 // bytes that count
	end   uint64 // first window that does not
}

// sourcesOf returns where to look for the extents of a file in [from, to): in its own windows and, while it is being
// assembled, in those of the parts from the next on. What the sources have is in the order of the file.
func sourcesOf(r *inodeRecord, a *assemblyRecord, next int, from, to uint64) []extentSource {
	sources := []extentSource{{inode: r.Inode, size: granary.FileSizeMax, end: r.windowsEnd()}}
	if a == nil {
		return sources
	}
	start := uint64(0)
	for i, p := range a.Parts {
		if i >= next && start < to && start+p.Size > from {
			sources = append(sources, extentSource{inode: p.Inode, start: start, size: p.Size, end: windowsMax})
		}
		start += p.Size
	}
	return sources
}

// windows returns the range of windows that hold [from, to) of the file; false if none do.
func (s *extentSource) windows(from, to uint64) (lower, upper []byte, ok bool) {
	from, to = max(from, s.start), min(to, s.start+s.size)
	if from >= to {
		return nil, nil, false
	}
	first, end := (from-s.start)/windowSize, min((to-s.start-1)/windowSize+1, s.end)
	return keyExtent(s.inode, first), keyExtent(s.inode, end), first < end
}

// place cuts a piece to what counts of the source, and moves it to its offset in the file; false if nothing is left.
func (s *extentSource) place(p piece) (piece, bool) {
	if p.Offset >= s.size {
		return piece{}, false
	}
	p = p.clip(0, s.size)
	p.Offset += s.start
	return p, true
}

// checkMoved refuses to read a part whose extents have begun to become those of an assembled file.
func checkMoved(op string, r *inodeRecord) *granary.Error {
	if r.Flags&granary.FlagMoved != 0 {
		return granary.Errorf(granary.KindStale, op, r.Inode.String(), "the upload of this part has been completed")
	}
	return nil
}

// assembly returns how a file is being put together, and which part is next; nil if it is not, or all is done.
func (t *txn) assembly(r *inodeRecord) (*assemblyRecord, int) {
	if r.Flags&granary.FlagAssembling == 0 {
		return nil, 0
	}
	return fetch[assemblyRecord](t, keyAssembly(r.Inode)), int(fetch[numberRecord](t, keyQueue(queueAssembly, uint64(r.Inode))).Number)
}

// assembly is txn.assembly for queries.
func (v *view) assembly(r *inodeRecord) (*assemblyRecord, int, error) {
	if err := checkMoved("lookup", r); err != nil {
		return nil, 0, err
	}
	if r.Flags&granary.FlagAssembling == 0 {
		return nil, 0, nil
	}
	a, err := read[assemblyRecord](v, keyAssembly(r.Inode))
	if err != nil {
		return nil, 0, err
	}
	next, err := read[numberRecord](v, keyQueue(queueAssembly, uint64(r.Inode)))
	switch {
	case err != nil:
		return nil, 0, err
	case a == nil || next == nil:
		return nil, 0, granary.Errorf(granary.KindCorrupt, "lookup", r.Inode.String(), "the list of its parts is gone")
	}
	return a, int(next.Number), nil
}

// resolve finds what an Assemble shall be made of: the leader's share of it.
func (s *state) resolve(ctx context.Context, op *granary.Assemble) (*granary.Sources, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil, errClosed("assemble")
	}
	snap := s.db.NewSnapshot()
	defer func() { must(snap.Close()) }()
	v := &view{ctx: ctx, r: snap}
	dir, err := v.inode(op.Upload)
	switch {
	case err != nil:
		return nil, err
	case dir == nil:
		return nil, granary.Errorf(granary.KindNotFound, "assemble", op.Upload.String(), "no such upload")
	case len(op.Parts) == 0 || len(op.Parts) > granary.PartsMax:
		return nil, granary.Errorf(granary.KindInvalid, "assemble", op.Create.Name, "%d parts, not 1 to %d", len(op.Parts), granary.PartsMax)
	}
	sources := &granary.Sources{Version: dir.Version}
	seen := make(map[granary.InodeID]bool, len(op.Parts))
	for _, name := range op.Parts {
		p, err := v.part(dir, name)
		if err == nil {
			err = v.done()
		}
		if err == nil {
			err = alike(&op.Create, name, p)
		}
		if err == nil && seen[p.Inode] {
			err = granary.Errorf(granary.KindInvalid, "assemble", name, "the part is named twice")
		}
		if err != nil {
			return nil, err
		}
		seen[p.Inode] = true
		sources.Inodes, sources.Sizes = append(sources.Inodes, p.Inode), append(sources.Sizes, p.Size)
	}
	return sources, nil
}

// part finds a part by its name, and refuses what cannot be one.
func (v *view) part(dir *inodeRecord, name string) (*inodeRecord, error) {
	bad := func(format string, args ...any) error {
		return granary.Errorf(granary.KindInvalid, "assemble", name, format, args...)
	}
	d, err := read[dentryRecord](v, keyDentry(dir.Inode, name, false))
	if err != nil {
		return nil, err
	}
	if d == nil || d.Type != granary.TypeRegular {
		return nil, bad("there is no such part, or it is no regular file")
	}
	p, err := v.child(d.Inode)
	switch {
	case err != nil:
		return nil, err
	case p.Inline > 0:
		return nil, bad("the part has inline content")
	case p.UID != dir.UID || p.GID != dir.GID:
		return nil, bad("the part is of %d:%d, the upload of %d:%d", p.UID, p.GID, dir.UID, dir.GID)
	case p.Nlink != 1 || p.Trim != 0 || p.Flags&granary.FlagPart == 0:
		return nil, bad("the file was not uploaded as a part")
	}
	return p, nil
}
