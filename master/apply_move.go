package master

import (
	"fmt"

	"github.com/dsorchard/granary"
)

// moveBlocks takes new copies of blocks into account. Who moves says where each block was when it was read: if it has
// moved or died since, or both, the copy is of no use.
func (t *txn) moveBlocks(session granary.SessionID, op *granary.MoveBlocks) granary.Result {
	const name = "move blocks"
	if err := t.onlySuper(name, ""); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMoves(name, session, op.Moves); err != nil {
		return granary.Result{Err: err}
	}
	var left []uint32
	for i := range op.Moves {
		m := &op.Moves[i]
		v := t.volumes.get(t, m.To.Volume)
		if b := t.blocks.get(t, m.Block); b != nil && b.Location == m.To {
			continue // by an earlier try
		}
		if is := t.occupied(&m.To); is != 0 {
			return granary.Result{Err: errOccupied(name, &m.To, is)}
		}
		v.Watermark = max(v.Watermark, m.Watermark)
		v.reach(&m.To)
		t.volumes.touch(m.To.Volume)
		b := t.blocks.get(t, m.Block)
		if b == nil || b.Location != m.From {
			v.DeadBytes += uint64(m.To.Length)
			left = append(left, uint32(i))
			continue
		}
		t.relocate(m.Block, &m.To)
	}
	t.missing = left
	return granary.Result{}
}

// checkMoves refuses moves to where the session may not append; the result will name them.
func (t *txn) checkMoves(op string, session granary.SessionID, moves []granary.BlockMove) *granary.Error {
	if len(moves) > granary.MovesMax {
		return granary.Errorf(granary.KindTooLarge, op, "", "%d blocks, of %d at most", len(moves), granary.MovesMax)
	}
	var stale []uint32
	for i := range moves {
		m := &moves[i]
		ok, err := t.mayAppend(op, session, fmt.Sprint(m.Block), &m.To, m.Watermark)
		if err != nil {
			return err
		}
		if !ok {
			stale = append(stale, uint32(i))
		}
	}
	if len(stale) > 0 {
		t.missing = stale
		return granary.Errorf(granary.KindStale, op, "", "%d blocks were moved to volumes that are no longer this session's", len(stale))
	}
	return nil
}

// relocate makes another copy of a block the one that counts.
func (t *txn) relocate(id granary.BlockID, to *granary.Location) {
	b := t.blocks.get(t, id)
	from := t.volumes.get(t, b.Location.Volume)
	from.LiveBytes -= uint64(b.Location.Length)
	from.DeadBytes += uint64(b.Location.Length)
	t.volumes.touch(b.Location.Volume)
	t.volumes.get(t, to.Volume).LiveBytes += uint64(to.Length)
	t.volumes.touch(to.Volume)
	t.head.BlockBytes += uint64(to.Length) - uint64(b.Location.Length)
	t.leave(&b.Location)
	t.enter(id, to)
	b.Location = *to
	t.blocks.touch(id)
}

// rewrite stores what a file has already otherwise. Its inode does not change at all: nothing that it tells, versions
// included, is other than before, and what was read of the file remains right.
func (t *txn) rewrite(session granary.SessionID, r *inodeRecord, op *granary.Commit) granary.Result {
	const name = "rewrite"
	subject := r.Inode.String()
	if err := t.onlySuper(name, subject); err != nil {
		return granary.Result{Err: err}
	}
	c := &op.Content
	switch {
	case r.ContentVersion != op.Rewrite:
		return failed(granary.KindStale, name, subject, "the content is of version %d, not %d", r.ContentVersion, op.Rewrite)
	case c.Inline != nil || op.AtEnd || op.Mtime != nil:
		return failed(granary.KindInvalid, name, subject, "only extents are rewritten, where they are, and no times are set")
	}
	spans, err := t.spansOf(name, session, r, c, 0)
	if err == nil {
		err = t.replace(name, r, spans)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	return granary.Result{Attr: r.Attr}
}

// replace is overlay where extents cover all of the spans already.
func (t *txn) replace(op string, r *inodeRecord, spans []span) *granary.Error {
	windows, byWindow, err := splitSpans(op, r, spans)
	if err != nil {
		return err
	}
	for _, n := range windows {
		w := t.window(r, n)
		before := w.sum()
		var add []piece
		for _, s := range byWindow[n] {
			held := w.bytes()
			w.cut(s.from, s.to, t.ref)
			if held-w.bytes() != s.to-s.from {
				return granary.Errorf(granary.KindInvalid, op, r.Inode.String(), "extents do not cover all of %d to %d", s.from, s.to)
			}
			add = append(add, s.pieces...)
		}
		w.insert(add, t.ref)
		if w.bytes() != before.bytes {
			return granary.Errorf(granary.KindInvalid, op, r.Inode.String(), "window %d would have %d bytes, not %d", n, w.bytes(), before.bytes)
		}
		store(t, keyExtent(r.Inode, n), w)
		t.markWindow(r.Inode, w, before)
	}
	return nil
}
