package filer

import (
	"context"
	"math"

	"github.com/dsorchard/granary"
)

// Seek returns where data begins at or after off, or with hole where a hole does: lseek(2) with SEEK_DATA and SEEK_HOLE.
// The end of the file begins a hole. What was written before is committed first, and counts as data in full: a hole is
// what was never written, or was made one. False if off is at the end or beyond, or no data follows.
func (h *Handle) Seek(ctx context.Context, off uint64, hole bool) (at uint64, ok bool, err error) {
	if h.closed.Load() {
		return 0, false, h.invalid("seek", "it is closed")
	}
	if err := h.in.fs.held.known(ctx, h.in.id); err != nil {
		return 0, false, err
	}
	if err := h.in.flush(ctx); err != nil {
		return 0, false, err
	}
	for at, length := off, uint64(layoutSpan); ; length *= 4 { // holes of terabytes take few steps
		w, err := layoutFrom(ctx, h.in.fs.store, h.in.id, at, length)
		if err != nil {
			return 0, false, err
		}
		size := w.layout.Size
		if at >= size {
			return size, hole && off < size, nil
		}
		if hole {
			at = w.holeFrom(at)
		} else {
			at = w.dataFrom(at)
		}
		switch {
		case at < min(w.end, size):
			return at, true, nil
		case w.end >= size:
			return size, hole, nil
		}
		at = w.end
	}
}

// layoutFrom asks for the layout of a range.
func layoutFrom(ctx context.Context, m metadata, ino granary.InodeID, off, length uint64) (window, error) {
	length = min(length, math.MaxUint64-off)
	found, err := ask[*granary.Found](ctx, m, &granary.Lookup{Base: ino, Stored: true, Layout: &granary.Range{Offset: off, Length: length}})
	if err != nil {
		return window{}, err
	}
	if found.Layout == nil {
		return window{}, granary.Errorf(granary.KindInvalid, "seek", ino.String(), "not a regular file")
	}
	w := windowOf(found, off, length)
	if !w.contains(off) {
		return window{}, granary.Errorf(granary.KindInternal, "layout", ino.String(), "nothing is known at offset %d", off)
	}
	return w, nil
}

// dataFrom returns where data begins in the window at or after off: its end, or more, if it has none there.
func (w window) dataFrom(off uint64) uint64 {
	if off < uint64(len(w.layout.Inline)) {
		return off
	}
	for _, x := range w.layout.Extents {
		if x.Offset+x.Length > off {
			return max(off, x.Offset)
		}
	}
	return w.end
}

// holeFrom returns where a hole begins in the window at or after off: its end, or more, if there is none.
func (w window) holeFrom(off uint64) uint64 {
	off = max(off, uint64(len(w.layout.Inline)))
	for _, x := range w.layout.Extents {
		if x.Offset > off {
			break
		}
		off = max(off, x.Offset+x.Length)
	}
	return off
}
