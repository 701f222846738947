package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

const (
	windowSize = uint64(granary.ExtentWindowSize)
	windowsMax = uint64(granary.FileSizeMax)/windowSize + 1 // of one file
)

// window reads the pieces of one window of a file.
func (t *txn) window(r *inodeRecord, window uint64) *windowRecord {
	b := t.get(keyExtent(r.Inode, window))
	if b == nil {
		return &windowRecord{window: window}
	}
	w, err := unmarshalWindow(window, b)
	must(err)
	return w
}

// putWindow stores the pieces of a window, and keeps the account of bytes covered.
func (t *txn) putWindow(r *inodeRecord, w *windowRecord, before windowSum) {
	r.ExtentBytes += w.bytes() - before.bytes
	r.Allocated += w.bytes() - before.bytes
	if len(w.Pieces) == 0 {
		t.del(keyExtent(r.Inode, w.window))
	} else {
		store(t, keyExtent(r.Inode, w.window), w)
	}
	t.markWindow(r.Inode, w, before)
	if w.window == 0 {
		t.coverInline(r, w)
	}
	t.touch(r)
}

// windowSum is what a window comes to.
type windowSum struct {
	bytes uint64 // that its pieces cover
	fine  bool   // it is cut too finely
}

func (w *windowRecord) sum() windowSum { return windowSum{w.bytes(), w.fine()} }

func (w *windowRecord) bytes() (n uint64) {
	for i := range w.Pieces {
		n += w.Pieces[i].Length
	}
	return n
}

// cut removes [from, to) from a window, and calls ref with the change of each block's references.
func (w *windowRecord) cut(from, to uint64, ref func(granary.BlockID, int)) {
	kept := make([]piece, 0, len(w.Pieces)+2)
	for _, p := range w.Pieces {
		if p.end() <= from || p.Offset >= to {
			kept = append(kept, p)
			continue
		}
		n := -1
		if p.Offset < from {
			kept = append(kept, piece{p.Offset, from - p.Offset, p.Block, p.ChunkOffset})
			n++
		}
		if p.end() > to {
			kept = append(kept, piece{to, p.end() - to, p.Block, p.ChunkOffset + uint32(to-p.Offset)})
			n++
		}
		if n != 0 {
			ref(p.Block, n)
		}
	}
	w.Pieces = kept
}

// insert adds pieces, whose ranges have been cut out, in their places.
func (w *windowRecord) insert(pieces []piece, ref func(granary.BlockID, int)) {
	for _, p := range pieces {
		ref(p.Block, 1)
	}
	w.Pieces = append(w.Pieces, pieces...)
	slices.SortFunc(w.Pieces, func(a, b piece) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
}

// ref changes a block's count of references. One that ends at zero is removed when the item is done.
func (t *txn) ref(id granary.BlockID, n int) {
	b := t.blocks.get(t, id)
	b.Refs += uint64(n)
	t.blocks.touch(id)
}

// span is a range of a file and what it shall hold: pieces, ascending, within it. What they do not
// cover becomes a hole.
type span struct {
	from, to uint64
	pieces   []piece
}

// overlay makes the spans, which do not overlap, the content of their ranges.
func (t *txn) overlay(op string, r *inodeRecord, spans []span) *granary.Error {
	windows, byWindow, err := splitSpans(op, r, spans)
	if err != nil {
		return err
	}
	for _, n := range windows {
		w := t.window(r, n)
		before := w.sum()
		var add []piece
		for _, s := range byWindow[n] {
			w.cut(s.from, s.to, t.ref)
			add = append(add, s.pieces...)
		}
		w.insert(add, t.ref)
		t.putWindow(r, w, before)
	}
	return nil
}

// splitSpans gives each window of a file its part of the spans. The windows are in the order of the spans.
func splitSpans(op string, r *inodeRecord, spans []span) (windows []uint64, byWindow map[uint64][]span, err *granary.Error) {
	byWindow = map[uint64][]span{}
	for _, s := range spans {
		for _, part := range s.split() {
			n := part.from / windowSize
			if r.Trim != 0 && n >= r.Trim-1 {
				return nil, nil, errTrimming(op, r)
			}
			if byWindow[n] == nil {
				windows = append(windows, n)
			}
			byWindow[n] = append(byWindow[n], part)
		}
	}
	return windows, byWindow, nil
}

func errTrimming(op string, r *inodeRecord) *granary.Error {
	return granary.Errorf(granary.KindBusy, op, r.Inode.String(), "a large truncation is still being completed")
}

// split cuts a span at the borders of windows.
func (s span) split() []span {
	var parts []span
	rest := s.pieces
	for from := s.from; from < s.to; {
		to := min(s.to, (from/windowSize+1)*windowSize)
		part := span{from: from, to: to}
		for len(rest) > 0 && rest[0].Offset < to {
			p := rest[0]
			if p.end() <= to {
				part.pieces = append(part.pieces, p)
				rest = rest[1:]
				continue
			}
			n := to - p.Offset
			part.pieces = append(part.pieces, piece{p.Offset, n, p.Block, p.ChunkOffset})
			rest = append([]piece{{to, p.Length - n, p.Block, p.ChunkOffset + uint32(n)}}, rest[1:]...)
		}
		parts = append(parts, part)
		from = to
	}
	return parts
}

// coverInline removes the inline content if extents cover all of it, and counts the bytes covered.
func (t *txn) coverInline(r *inodeRecord, w *windowRecord) {
	covered := uint64(0)
	for i := range w.Pieces {
		if p := &w.Pieces[i]; p.Offset < r.Inline {
			covered += min(p.end(), r.Inline) - p.Offset
		}
	}
	if r.Inline > 0 && covered == r.Inline {
		t.del(keyInline(r.Inode))
		r.Inline, covered = 0, 0
	}
	r.Allocated = r.ExtentBytes + r.Inline - covered
}

// recount sets Allocated after a change of extents or inline content.
func (t *txn) recount(r *inodeRecord) {
	if r.Inline == 0 {
		r.Allocated = r.ExtentBytes
		return
	}
	t.coverInline(r, t.window(r, 0))
}
