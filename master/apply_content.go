package master

import (
	"github.com/dsorchard/granary"
)

// commit adds content to a file.
func (t *txn) commit(session granary.SessionID, op *granary.Commit) granary.Result {
	find := t.writable
	if op.Rewrite != 0 { // which changes nothing of what a lock is for
		find = t.movable
	}
	r, err := find("commit", op.Inode)
	if err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch("commit", op.Inode.String(), op.Match, r); err != nil {
		return granary.Result{Err: err}
	}
	if op.Rewrite != 0 {
		return t.rewrite(session, r, op)
	}
	if err := t.guardInode("commit", r); err != nil {
		return granary.Result{Err: err}
	}
	base := uint64(0)
	if op.AtEnd {
		base = r.Size
	}
	if err := t.addContent("commit", session, r, &op.Content, base); err != nil {
		return granary.Result{Err: err}
	}
	t.contentChanged(r)
	if op.Mtime != nil {
		r.Mtime = *op.Mtime
	}
	t.noteInode(granary.ChangeWrite, r, "")
	return granary.Result{Attr: r.Attr, Offset: base}
}

// regular returns a regular file.
func (t *txn) regular(op string, id granary.InodeID) (*inodeRecord, *granary.Error) {
	r := t.inode(id)
	switch {
	case r == nil:
		return nil, granary.Errorf(granary.KindNotFound, op, id.String(), "no such inode")
	case r.IsDir():
		return nil, granary.Errorf(granary.KindIsDir, op, id.String(), "")
	case r.Type != granary.TypeRegular:
		return nil, granary.Errorf(granary.KindInvalid, op, id.String(), "not a regular file")
	}
	return r, nil
}

// contentChanged marks a file whose content is no longer what it was.
func (t *txn) contentChanged(r *inodeRecord) {
	t.dropContentXattrs(r)
	r.ContentVersion = t.index
	r.Mtime, r.Ctime = t.now, t.now
	if !t.super() {
		t.killSuidgid(r)
	}
	t.dropCapability(r)
	t.touch(r)
}

// checkChunks checks that all chunks of a content are there to be referenced: the new ones in
// volumes that the session may still append to, the others in the dataset. The result will name those
// that are not.
func (t *txn) checkChunks(op string, session granary.SessionID, domain granary.DatasetID, c *granary.Content) *granary.Error {
	if len(c.Chunks) > granary.CommitChunksMax {
		return granary.Errorf(granary.KindTooLarge, op, "", "%d chunks, of %d at most", len(c.Chunks), granary.CommitChunksMax)
	}
	var stale, missing []uint32
	for i := range c.Chunks {
		chunk := &c.Chunks[i]
		if chunk.RawLength == 0 || chunk.RawLength > granary.ChunkSizeMax {
			return granary.Errorf(granary.KindInvalid, op, chunk.Hash.String(), "a chunk of %d bytes", chunk.RawLength)
		}
		switch {
		case !chunk.New && !t.has(domain, chunk.Hash, c.Parity):
			missing = append(missing, uint32(i))
		case chunk.New:
			ok, err := t.mayAppend(op, session, chunk.Hash.String(), &chunk.Location, chunk.Watermark)
			if err != nil {
				return err
			}
			if !ok {
				stale = append(stale, uint32(i))
			}
		}
	}
	switch {
	case len(stale) > 0:
		t.missing = stale
		return granary.Errorf(granary.KindStale, op, "", "%d new chunks lie in volumes that are no longer this session's", len(stale))
	case len(missing) > 0:
		t.missing = missing
		return granary.Errorf(granary.KindMissingChunks, op, "", "%d chunks", len(missing))
	}
	return nil
}

// has reports whether the dataset has the chunk, in a volume of at least that many parity shards.
func (t *txn) has(domain granary.DatasetID, h granary.Hash, parity uint8) bool {
	known := fetch[numberRecord](t, keyHash(domain, h))
	if known == nil {
		return false
	}
	at := t.blocks.get(t, granary.BlockID(known.Number)).Location.Volume
	return t.volumes.get(t, at).ParityShards >= int(parity)
}

// mayAppend reports whether the volume of a new copy of something is the session's, at the epoch that it was written.
func (t *txn) mayAppend(op string, session granary.SessionID, what string, l *granary.Location, rowEnd uint64) (bool, *granary.Error) {
	v := t.volumes.get(t, l.Volume)
	switch {
	case v == nil || v.State != granary.VolumeOpen || v.Owner != session || v.Epoch != l.Epoch:
		return false, nil
	case int(l.Shard) >= v.DataShards || l.Length == 0 || rowEnd%granary.RowAlignment != 0 || rowEnd > granary.ShardSizeMax,
		l.Offset > rowEnd || uint64(l.Length) > rowEnd-l.Offset:
		return false, granary.Errorf(granary.KindInvalid, op, what, "shard %d, %d bytes at %d, row's end %d: not in volume %d",
			l.Shard, l.Length, l.Offset, rowEnd, l.Volume)
	}
	return true, nil
}

// addContent puts content into a file, its offsets relative to base. It marks the inode as changed;
// what a change of content entails otherwise is the caller's.
func (t *txn) addContent(op string, session granary.SessionID, r *inodeRecord, c *granary.Content, base uint64) *granary.Error {
	size := r.Size
	grow := func(offset, length uint64) bool {
		if offset > granary.FileSizeMax-base || length > granary.FileSizeMax-base-offset {
			return false
		}
		size = max(size, base+offset+length)
		return true
	}
	ok := c.Size <= granary.FileSizeMax
	if c.Size > size {
		size = c.Size
	}
	if c.Inline != nil {
		ok = ok && grow(c.InlineOffset, uint64(len(c.Inline)))
	}
	for i := range c.Extents {
		ok = ok && grow(c.Extents[i].Offset, c.Extents[i].Length)
	}
	if !ok {
		return granary.Errorf(granary.KindFileTooLarge, op, r.Inode.String(), "beyond %d bytes", uint64(granary.FileSizeMax))
	}
	if err := t.putContent(op, session, r, c, base); err != nil {
		return err
	}
	t.setSize(r, size)
	t.touch(r)
	return nil
}

func (t *txn) putContent(op string, session granary.SessionID, r *inodeRecord, c *granary.Content, base uint64) *granary.Error {
	if c.Inline != nil {
		if len(c.Extents) > 0 || len(c.Chunks) > 0 {
			return granary.Errorf(granary.KindInvalid, op, r.Inode.String(), "content is either inline or extents")
		}
		return t.putInline(op, r, c.Inline, base+c.InlineOffset)
	}
	spans, err := t.spansOf(op, session, r, c, base)
	if err != nil {
		return err
	}
	return t.overlay(op, r, spans)
}

// spansOf makes blocks of the chunks of a content, and of its extents the spans of a file that name them.
func (t *txn) spansOf(op string, session granary.SessionID, r *inodeRecord, c *granary.Content, base uint64) ([]span, *granary.Error) {
	if err := checkExtents(op, c); err != nil {
		return nil, err
	}
	if err := t.checkChunks(op, session, r.Inode.Dataset(), c); err != nil {
		return nil, err
	}
	blocks, err := t.putChunks(op, r.Inode.Dataset(), c)
	if err != nil {
		return nil, err
	}
	t.markMisplaced(r, c, blocks)
	spans := make([]span, len(c.Extents))
	for i, x := range c.Extents {
		from := base + x.Offset
		spans[i] = span{from, from + x.Length, []piece{{from, x.Length, blocks[x.Chunk], x.ChunkOffset}}}
	}
	return spans, nil
}

// putInline writes bytes into the inline content of a file without extents.
func (t *txn) putInline(op string, r *inodeRecord, p []byte, offset uint64) *granary.Error {
	end := max(r.Inline, offset+uint64(len(p)))
	if r.Trim != 0 {
		return errTrimming(op, r)
	}
	if r.ExtentBytes > 0 {
		return granary.Errorf(granary.KindInvalid, op, r.Inode.String(), "the file has extents")
	}
	if limit := uint64(t.policyOf(r).InlineMax); end > limit {
		return granary.Errorf(granary.KindInvalid, op, r.Inode.String(), "%d bytes inline, of %d at most", end, limit)
	}
	if len(p) == 0 {
		return nil
	}
	b := t.inline(r)
	b = append(b, make([]byte, end-uint64(len(b)))...)
	copy(b[offset:], p)
	t.setInline(r, b)
	return nil
}

// inline returns a copy of a file's inline content.
func (t *txn) inline(r *inodeRecord) []byte {
	if r.Inline == 0 {
		return nil
	}
	return fetch[bytesRecord](t, keyInline(r.Inode)).Bytes
}

// setInline stores a file's inline content; none if b is empty.
func (t *txn) setInline(r *inodeRecord, b []byte) {
	r.Inline = uint64(len(b))
	if len(b) == 0 {
		t.del(keyInline(r.Inode))
	} else {
		storeLong(t, keyInline(r.Inode), &bytesRecord{b}, len(b))
	}
	t.recount(r)
	t.touch(r)
}

// checkExtents refuses extents that are not ascending or leave their chunks.
func checkExtents(op string, c *granary.Content) *granary.Error {
	end := uint64(0)
	for i, x := range c.Extents {
		switch {
		case x.Length == 0 || x.Offset < end:
			return granary.Errorf(granary.KindInvalid, op, "", "extent %d is empty or begins before the end of the one before", i)
		case int64(x.Chunk) >= int64(len(c.Chunks)):
			return granary.Errorf(granary.KindInvalid, op, "", "extent %d names chunk %d of %d", i, x.Chunk, len(c.Chunks))
		case uint64(x.ChunkOffset)+x.Length > uint64(c.Chunks[x.Chunk].RawLength):
			return granary.Errorf(granary.KindInvalid, op, "", "extent %d leaves its chunk", i)
		}
		end = x.Offset + x.Length
	}
	return nil
}

// putChunks returns the block of each chunk. Of a chunk that the dataset has already the new copy
// counts, and the old one is dead space: whoever writes a known chunk again has a reason, such as a
// policy that asks for more or shards that do not answer. Only a copy with less parity than the old one
// is dead itself. checkChunks has passed.
func (t *txn) putChunks(op string, domain granary.DatasetID, c *granary.Content) ([]granary.BlockID, *granary.Error) {
	blocks := make([]granary.BlockID, len(c.Chunks))
	for i := range c.Chunks {
		chunk := &c.Chunks[i]
		known := fetch[numberRecord](t, keyHash(domain, chunk.Hash))
		if known != nil {
			blocks[i] = granary.BlockID(known.Number)
			if b := t.blocks.get(t, blocks[i]); b.RawLength != chunk.RawLength {
				return nil, granary.Errorf(granary.KindInvalid, op, chunk.Hash.String(), "the chunk has %d bytes, not %d", b.RawLength, chunk.RawLength)
			}
		}
		if !chunk.New {
			continue
		}
		v := t.volumes.get(t, chunk.Location.Volume)
		if is := t.occupied(&chunk.Location); is != 0 && is != blocks[i] {
			return nil, errOccupied(op, &chunk.Location, is)
		}
		v.Watermark = max(v.Watermark, chunk.Watermark)
		if t.places {
			v.reach(&chunk.Location)
		}
		t.volumes.touch(chunk.Location.Volume)
		if known == nil {
			v.LiveBytes += uint64(chunk.Location.Length)
			blocks[i] = t.addBlock(domain, chunk)
			continue
		}
		t.anotherCopy(blocks[i], &chunk.Location)
	}
	return blocks, nil
}

// anotherCopy takes a new copy of a block into account.
func (t *txn) anotherCopy(id granary.BlockID, l *granary.Location) {
	b := t.blocks.get(t, id)
	if b.Location == *l {
		return // one copy, named twice
	}
	from, to := t.volumes.get(t, b.Location.Volume), t.volumes.get(t, l.Volume)
	if to.ParityShards < from.ParityShards {
		to.DeadBytes += uint64(l.Length)
		return
	}
	t.relocate(id, l)
}

// addBlock makes a block without references yet.
func (t *txn) addBlock(domain granary.DatasetID, c *granary.Chunk) granary.BlockID {
	t.head.LastBlock++
	id := t.head.LastBlock
	t.blocks.add(id, &blockRecord{Hash: c.Hash, RawLength: c.RawLength, Location: c.Location, Domain: domain})
	store(t, keyHash(domain, c.Hash), &numberRecord{uint64(id)})
	t.enter(id, &c.Location)
	t.head.UniqueBytes += uint64(c.RawLength)
	t.head.BlockBytes += uint64(c.Location.Length)
	return id
}
