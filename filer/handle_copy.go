package filer

import (
	"context"

	"github.com/dsorchard/granary"
)

// copiedByValue is the size of files that are copied by value where that needs no master.
const copiedByValue = 256 << 10

// CopyTo makes a range of another file refer to what a range of this one does: copy_file_range(2). No data moves. What was
// written to both before is committed first. It returns how many bytes were copied: fewer than n where this file ends, or
// when n is more than CopyRangeMax. KindNotSupported or KindCrossDataset where only a copy by value will do.
func (h *Handle) CopyTo(ctx context.Context, off uint64, dst *Handle, dstOff, n uint64) (uint64, error) {
	switch {
	case !h.flags.Read, h.closed.Load(), !dst.flags.Write && !dst.flags.Append, dst.closed.Load():
		return 0, h.invalid("copy", "not open for it")
	case h.in.fs != dst.in.fs:
		return 0, granary.Errorf(granary.KindCrossDataset, "copy", h.in.id.String(), "")
	}
	n = min(n, uint64(granary.CopyRangeMax))
	if dstOff > granary.FileSizeMax || n > granary.FileSizeMax-dstOff {
		return 0, granary.Errorf(granary.KindFileTooLarge, "copy", dst.in.id.String(), "%d bytes at offset %d", n, dstOff)
	}
	if h.Attr().Flags&granary.FlagEncrypted != 0 {
		return 0, granary.Errorf(granary.KindNotSupported, "copy", h.in.id.String(), "its content is encrypted: only a copy by value is plain")
	}
	if h.Attr().Size <= copiedByValue && h.in.fs.held.isUnborn(dst.in.id) { // to wait for the master would take longer
		return 0, granary.Errorf(granary.KindNotSupported, "copy", dst.in.id.String(), "it is not made yet")
	}
	if err := h.in.flush(ctx); err != nil {
		return 0, err
	}
	size := h.Attr().Size
	if n = min(n, max(size, off)-off); n == 0 {
		return 0, nil
	}
	in := dst.in
	if err := in.acquire(ctx, "copy"); err != nil {
		return 0, err
	}
	defer in.release()
	if err := in.commit(context.WithoutCancel(ctx), ctx, true); err != nil {
		in.mu.Lock()
		defer in.mu.Unlock()
		return 0, dst.report(err)
	}
	op := granary.CopyRange{Src: h.in.id, Dst: in.id, SrcOffset: off, DstOffset: dstOff, Length: n}
	for op.Length > 0 {
		r, err := in.fs.store.Do(ctx, dst.cred, &op)
		switch {
		case err != nil && op.Length == n:
			return 0, err
		case err != nil: // what is done is done; the next call says what is wrong
			return n - op.Length, nil
		case r.Offset > op.Length:
			return 0, granary.Errorf(granary.KindInternal, "copy", in.id.String(), "%d of %d bytes were copied", r.Offset, op.Length)
		}
		in.mu.Lock()
		in.adopt(r.Attr)
		in.mu.Unlock()
		if r.Offset == 0 {
			break
		}
		op.SrcOffset, op.DstOffset, op.Length = op.SrcOffset+r.Offset, op.DstOffset+r.Offset, op.Length-r.Offset
	}
	return n - op.Length, nil
}
