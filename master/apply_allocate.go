package master

import (
	"github.com/dsorchard/granary"
)

// allocateKeysMax bounds the windows and pieces that one Allocate looks at.
const allocateKeysMax = 2000

// allocate changes a range of a file as fallocate(2) does. A range with too many pieces for one entry is done up to a
// piece: each step leaves a file in which the front of the range is as asked for, and the rest as it was.
func (t *txn) allocate(op *granary.Allocate) granary.Result {
	r, err := t.writable("allocate", op.Inode)
	if err == nil && r.Flags&granary.FlagEncrypted != 0 {
		err = errEncrypted("allocate", r)
	}
	if err == nil {
		err = checkAllocate(op)
	}
	if err == nil {
		err = t.guardInode("allocate", r)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	end := op.Offset + op.Length
	changed := false
	if op.Mode != granary.AllocateReserve {
		changed = op.Offset < r.Size
		end = t.clearRange(r, op.Offset, end)
	}
	if end > r.Size && !op.KeepSize && op.Mode != granary.AllocatePunch {
		t.setSize(r, end)
		t.touch(r)
		changed = true
	}
	if changed {
		t.contentChanged(r)
		t.noteInode(granary.ChangeWrite, r, "")
	}
	return granary.Result{Attr: r.Attr, Offset: end - op.Offset}
}

// checkAllocate refuses what is wrong in itself.
func checkAllocate(op *granary.Allocate) *granary.Error {
	bad := func(kind granary.Kind, format string, args ...any) *granary.Error {
		return granary.Errorf(kind, "allocate", op.Inode.String(), format, args...)
	}
	switch {
	case op.Mode > granary.AllocateZero:
		return bad(granary.KindInvalid, "mode %d is unknown", op.Mode)
	case op.Length == 0:
		return bad(granary.KindInvalid, "the range is empty")
	case op.Offset > granary.FileSizeMax || op.Length > granary.FileSizeMax-op.Offset:
		return bad(granary.KindFileTooLarge, "beyond %d bytes", uint64(granary.FileSizeMax))
	}
	return nil
}

// clearRange makes [from, to) a hole, from its start, and returns how far it got. What a large truncation is still
// removing is none of the file's: the windows from there on are a hole already.
func (t *txn) clearRange(r *inodeRecord, from, to uint64) uint64 {
	windows, to := t.windowsIn(r, from, to)
	for _, w := range windows {
		before := w.sum()
		w.cut(from, to, t.ref)
		t.putWindow(r, w, before)
	}
	t.clearInline(r, from, to)
	return to
}

// windowsIn reads the windows that have pieces in [from, to), and cuts the range before the piece that is one too many
// for one entry.
func (t *txn) windowsIn(r *inodeRecord, from, to uint64) ([]*windowRecord, uint64) {
	var windows []*windowRecord
	n := 0
	first, last := from/windowSize, min((to-1)/windowSize+1, r.windowsEnd())
	t.scan(keyExtent(r.Inode, first), keyExtent(r.Inode, last), func(k, v []byte) bool {
		w, err := unmarshalWindow(keyID(k, 1), v)
		must(err)
		n++
		has := false
		for _, p := range w.Pieces {
			switch {
			case p.end() <= from:
				continue
			case p.Offset >= to:
			case n >= allocateKeysMax && p.Offset > from:
				to = p.Offset
			default:
				has = true
				n++
				continue
			}
			break
		}
		if has {
			windows = append(windows, w)
		}
		return (w.window+1)*windowSize < to
	})
	return windows, to
}

// clearInline takes [from, to) out of the inline content. What follows a hole at its end is no longer inline.
func (t *txn) clearInline(r *inodeRecord, from, to uint64) {
	if r.Inline <= from {
		return
	}
	b := t.inline(r)
	if to >= r.Inline {
		b = b[:from]
	} else {
		clear(b[from:to])
	}
	t.setInline(r, b)
}
