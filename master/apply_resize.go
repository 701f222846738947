package master

import (
	"github.com/dsorchard/granary"
)

const (
	// resizeKeysMax bounds the keys that a truncation touches itself; beyond, reclaim does.
	resizeKeysMax = 2000
	// copyPiecesMax bounds the pieces that one CopyRange reads, and those that it replaces.
	copyPiecesMax = 2000
)

// resize truncates or extends a regular file.
func (t *txn) resize(r *inodeRecord, size uint64) *granary.Error {
	switch {
	case size > granary.FileSizeMax:
		return granary.Errorf(granary.KindFileTooLarge, "setattr", r.Inode.String(), "beyond %d bytes", uint64(granary.FileSizeMax))
	case size == r.Size && (size > 0 || r.Flags&granary.FlagEncrypted == 0):
		return nil
	}
	if err := checkWritable("setattr", r); err != nil {
		return err
	}
	if size == 0 {
		t.dropEncryption(r)
	}
	if r.Flags&granary.FlagEncrypted != 0 {
		return errEncrypted("setattr", r)
	}
	if size < r.Size {
		t.truncate(r, size)
	}
	t.setSize(r, size)
	t.contentChanged(r)
	return nil
}

// truncate removes the content from size on.
func (t *txn) truncate(r *inodeRecord, size uint64) {
	if r.Inline > size {
		t.setInline(r, t.inline(r)[:size])
	}
	first, end := size/windowSize, r.windowsEnd()
	if size%windowSize != 0 {
		if first < end {
			w := t.window(r, first)
			before := w.sum()
			w.cut(size, (first+1)*windowSize, t.ref)
			t.putWindow(r, w, before)
		}
		first++
	}
	if first >= end {
		return
	}
	windows, more := t.windowsUpTo(r, first, end)
	if more {
		// Too much for one entry. From here on the file has no extents beyond; reclaim removes them.
		if r.Trim == 0 {
			enqueue(t, queueTrim, uint64(r.Inode), &numberRecord{})
		}
		r.Trim = first + 1
		t.touch(r)
		return
	}
	for _, w := range windows {
		t.dropWindow(r, w, len(w.Pieces))
	}
}

// windowsUpTo reads the windows [first, end) of a file; more is true if they are too many keys for
// one entry.
func (t *txn) windowsUpTo(r *inodeRecord, first, end uint64) (windows []*windowRecord, more bool) {
	n := 0
	t.scan(keyExtent(r.Inode, first), keyExtent(r.Inode, end), func(k, v []byte) bool {
		w, err := unmarshalWindow(keyID(k, 1), v)
		must(err)
		n += 1 + len(w.Pieces)
		more = n > resizeKeysMax
		windows = append(windows, w)
		return !more
	})
	return windows, more
}

// dropWindow removes the last n pieces of a window.
func (t *txn) dropWindow(r *inodeRecord, w *windowRecord, n int) {
	before := w.sum()
	keep := len(w.Pieces) - n
	for _, p := range w.Pieces[keep:] {
		t.ref(p.Block, -1)
	}
	w.Pieces = w.Pieces[:keep]
	t.putWindow(r, w, before)
}

// copyRange makes a range of one file refer to the blocks of a range of another.
func (t *txn) copyRange(op *granary.CopyRange) granary.Result {
	const name = "copy range"
	src, err := t.regular(name, op.Src)
	if err == nil {
		err = checkMoved(name, src)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	dst, err := t.writable(name, op.Dst)
	if err == nil {
		err = t.guardInode(name, dst)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch(name, op.Dst.String(), op.Match, dst); err != nil {
		return granary.Result{Err: err}
	}
	atEnd := op.DstOffset == granary.OffsetEnd
	if atEnd {
		end := *op // the request stays as it was logged
		end.DstOffset = dst.Size
		op = &end
	}
	n := op.Length
	if op.SrcOffset >= src.Size {
		n = 0
	} else {
		n = min(n, src.Size-op.SrcOffset)
	}
	if err := checkCopy(op, src, dst, n); err != nil {
		return granary.Result{Err: err}
	}
	if n == 0 {
		return granary.Result{Attr: dst.Attr}
	}
	pieces, n := t.piecesToCopy(src, op.SrcOffset, n)
	n = t.roomToCopy(dst, op.DstOffset, n)
	if atEnd && n < min(op.Length, src.Size-op.SrcOffset) {
		return failed(granary.KindTooLarge, name, op.Dst.String(), "%d bytes in more than %d extents, to be added at once", op.Length, copyPiecesMax)
	}
	if err := t.copyInline(op, src, dst, n); err != nil {
		return granary.Result{Err: err}
	}
	s := span{from: op.DstOffset, to: op.DstOffset + n}
	for _, p := range pieces {
		if p.Offset -= op.SrcOffset; p.Offset < n {
			s.pieces = append(s.pieces, piece{op.DstOffset + p.Offset, min(p.Length, n-p.Offset), p.Block, p.ChunkOffset})
		}
	}
	if err := t.overlay(name, dst, []span{s}); err != nil {
		return granary.Result{Err: err}
	}
	t.setSize(dst, max(dst.Size, s.to))
	t.contentChanged(dst)
	t.markCopied(src, dst)
	t.noteInode(granary.ChangeWrite, dst, "")
	return granary.Result{Attr: dst.Attr, Offset: n}
}

// checkCopy refuses what cannot be copied by reference.
func checkCopy(op *granary.CopyRange, src, dst *inodeRecord, n uint64) *granary.Error {
	bad := func(kind granary.Kind, format string, args ...any) *granary.Error {
		return granary.Errorf(kind, "copy range", dst.Inode.String(), format, args...)
	}
	switch {
	case op.Length > uint64(granary.CopyRangeMax):
		return bad(granary.KindTooLarge, "%d bytes, of %d at most", op.Length, granary.CopyRangeMax)
	case src.Inode.Dataset() != dst.Inode.Dataset():
		return bad(granary.KindCrossDataset, "")
	case op.DstOffset > granary.FileSizeMax || n > granary.FileSizeMax-op.DstOffset:
		return bad(granary.KindFileTooLarge, "beyond %d bytes", uint64(granary.FileSizeMax))
	case (src.Flags^dst.Flags)&granary.FlagEncrypted != 0:
		return bad(granary.KindNotSupported, "of an encrypted and a plain file, one has ciphertext")
	case src == dst && op.SrcOffset < op.DstOffset+n && op.DstOffset < op.SrcOffset+n:
		return bad(granary.KindInvalid, "the ranges overlap")
	case src.Inline > op.SrcOffset && n > 0 && (op.SrcOffset != 0 || op.DstOffset != 0 || dst.Size != 0 || dst.Allocated != 0):
		return bad(granary.KindNotSupported, "inline content is copied only from the start to the start of an empty file")
	}
	return nil
}

// copyInline copies the source's inline content, if the range holds any, and otherwise takes the
// destination's out of the range: holes of the source shall be holes.
func (t *txn) copyInline(op *granary.CopyRange, src, dst *inodeRecord, n uint64) *granary.Error {
	if src.Inline > op.SrcOffset {
		if dst.Trim != 0 {
			return errTrimming("copy range", dst)
		}
		t.setInline(dst, t.inline(src)[:min(src.Inline, n)])
		return nil
	}
	t.clearInline(dst, op.DstOffset, op.DstOffset+n)
	return nil
}

// piecesToCopy returns the pieces of a range, cut to it, and how much of the range they are: it ends
// early if they are too many.
func (t *txn) piecesToCopy(r *inodeRecord, offset, n uint64) ([]piece, uint64) {
	var pieces []piece
	end := offset + n
	a, next := t.assembly(r)
	for _, s := range sourcesOf(r, a, next, offset, end) {
		lower, upper, ok := s.windows(offset, end)
		if !ok {
			continue
		}
		t.scan(lower, upper, func(k, v []byte) bool {
			w, err := unmarshalWindow(keyID(k, 1), v)
			must(err)
			for _, p := range w.Pieces {
				p, ok := s.place(p)
				if !ok || p.end() <= offset || p.Offset >= end {
					continue
				}
				if len(pieces) == copyPiecesMax {
					end = p.Offset
					return false
				}
				pieces = append(pieces, p.clip(offset, end))
			}
			return true
		})
	}
	return pieces, end - offset
}

// windowsEnd is the first window in which the file has no extents for certain.
func (r *inodeRecord) windowsEnd() uint64 {
	if r.Trim != 0 {
		return r.Trim - 1
	}
	return windowsMax
}

// clip returns the part of a piece within [from, to).
func (p piece) clip(from, to uint64) piece {
	if p.Offset < from {
		p.ChunkOffset += uint32(from - p.Offset)
		p.Length -= from - p.Offset
		p.Offset = from
	}
	if p.end() > to {
		p.Length = to - p.Offset
	}
	return p
}

// roomToCopy cuts a copy at the window where it would replace too many pieces.
func (t *txn) roomToCopy(r *inodeRecord, offset, n uint64) uint64 {
	seen, end := 0, offset+n
	t.scan(keyExtent(r.Inode, offset/windowSize), keyExtent(r.Inode, end/windowSize+1), func(k, v []byte) bool {
		w, err := unmarshalWindow(keyID(k, 1), v)
		must(err)
		if start := w.window * windowSize; seen+len(w.Pieces) > copyPiecesMax && start > offset {
			end = min(end, start)
			return false
		}
		seen += len(w.Pieces)
		return true
	})
	return end - offset
}
