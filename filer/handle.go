package filer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
)

// writeStep is how many bytes go into the buffer at a time: a write of at most this is atomic among
// the handles of a FS.
const writeStep = 1 << 20

// OpenFlags say what a handle is for. Append implies Write. Sync makes every write return only when
// it is durable. Execute says that what is read is to be run: that needs another permission than reading.
type OpenFlags struct{ Read, Write, Append, Truncate, Sync, Execute bool }

// access returns the permissions that a file must give to who opens it.
func (f OpenFlags) access() granary.Access {
	var a granary.Access
	switch {
	case f.Execute:
		a = granary.AccessExecute
	case f.Read:
		a = granary.AccessRead
	}
	if f.Write || f.Append || f.Truncate {
		a |= granary.AccessWrite
	}
	return a
}

// Handle is an open file of a mount. It is safe for concurrent use.
type Handle struct {
	in     *inode
	cred   granary.Cred
	flags  OpenFlags
	ahead  readAhead
	closed atomic.Bool

	seen uint64 // under in.mu: in.failures as of the last that this handle has returned
}

// newHandle registers a handle. It takes over the caller's reference to in.
func newHandle(in *inode, cred granary.Cred, flags OpenFlags) *Handle {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.handles++
	h := &Handle{in: in, cred: cred, flags: flags, seen: in.failures}
	if in.unseen {
		h.seen-- // nobody has been told of the last error: this handle will be
	}
	return h
}

// Inode returns the id of the file.
func (h *Handle) Inode() granary.InodeID { return h.in.id }

// Attr returns the attributes as this FS knows them, unflushed writes included. It asks nobody.
func (h *Handle) Attr() granary.Attr {
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	return h.in.view()
}

// ReadAt reads len(p) bytes at off; fewer only at the end of the file, with io.EOF. It sees this
// FS's own unflushed writes.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.flags.Read || off < 0 || h.closed.Load() {
		return 0, h.invalid("read", "at offset %d, or not open for it", off)
	}
	if err := h.in.fs.lost(h.in.id); err != nil {
		return 0, err
	}
	n, err := h.in.read(ctx, p, uint64(off))
	if n > 0 {
		h.readAhead(uint64(off), n)
	}
	return n, err
}

// readAhead fetches what a reader will want next, as far as the layout at hand goes.
func (h *Handle) readAhead(off uint64, n int) {
	ranges, sequence := h.ahead.note(off, n)
	for _, s := range ranges {
		h.in.mu.Lock()
		w, ok := h.in.layouts.find(s.off)
		h.in.mu.Unlock()
		if !ok {
			continue
		}
		if until := w.prefetch(h.in.fs.store, s.off, s.end); sequence {
			h.ahead.did(until)
		}
	}
}

// WriteAt gathers p in the inode's buffer, and waits while that is full. A handle opened with
// Append ignores off. An earlier error of a background flush is returned once, and nothing written.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	switch {
	case !h.flags.Write && !h.flags.Append, off < 0, h.closed.Load():
		return 0, h.invalid("write", "at offset %d, or not open for it", off)
	case uint64(off)+uint64(len(p)) > granary.FileSizeMax:
		return 0, granary.Errorf(granary.KindFileTooLarge, "write", h.in.id.String(), "%d bytes at offset %d", len(p), off)
	}
	if err := h.in.fs.lost(h.in.id); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		n := min(len(p)-done, writeStep)
		if err := h.gather(ctx, p[done:done+n], uint64(off)+uint64(done)); err != nil {
			return done, err
		}
		done += n
	}
	if h.flags.Sync {
		if err := h.Sync(ctx); err != nil {
			return 0, err
		}
	}
	return done, nil
}

// gather puts p into the buffer when there is room.
func (h *Handle) gather(ctx context.Context, p []byte, off uint64) error {
	in := h.in
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		if err := h.report(nil); err != nil {
			return err
		}
		if in.attr.Flags&granary.FlagEncrypted != 0 {
			return unchangeable("write", in.id.String())
		}
		if in.fs.ctx.Err() != nil {
			return granary.Errorf(granary.KindCanceled, "write", in.id.String(), "the file system is closed")
		}
		blocked, freed := h.blocked(off + uint64(len(p)))
		if !blocked {
			break
		}
		if err := h.wait(ctx, freed); err != nil {
			return err
		}
	}
	fulls := in.dirty.fulls + in.appends.fulls
	if h.flags.Append {
		end := in.appendEnd()
		if end+uint64(len(p)) > granary.FileSizeMax {
			return granary.Errorf(granary.KindFileTooLarge, "append", in.id.String(), "%d bytes at offset %d", len(p), end)
		}
		in.appends.write(p, end)
	} else {
		in.dirty.write(p, off)
	}
	now := time.Now()
	in.cred, in.wrote, in.keepMtime = h.cred, granary.TimeOf(now), nil
	if in.since.IsZero() {
		in.since = now
	}
	in.charge(true)
	if in.dirty.fulls+in.appends.fulls > fulls {
		in.fs.nudge()
	}
	return nil
}

// blocked reports whether a write up to end must wait: for room, or for appends before whose commit
// nobody knows where it goes. Then the background is told to make haste, and freed is closed when
// other files have given memory back. The caller holds in.mu.
func (h *Handle) blocked(end uint64) (blocked bool, freed <-chan struct{}) {
	in := h.in
	start, appending := in.appendStart()
	full, freed := in.fs.full()
	if !full && in.mem() < in.fs.writeBuffer && (h.flags.Append || !appending || end <= start) {
		return false, nil
	}
	in.hurry = in.pending()
	in.fs.nudge()
	in.fs.held.hurry()
	return true, freed
}

// wait waits for a change. The caller holds in.mu, which is released meanwhile.
func (h *Handle) wait(ctx context.Context, freed <-chan struct{}) error {
	in := h.in
	changed := in.changed
	in.mu.Unlock()
	defer in.mu.Lock()
	ctx, done := killable(ctx)
	defer done()
	select {
	case <-changed:
	case <-freed:
	case <-in.fs.ctx.Done():
	case <-ctx.Done():
		return canceled(ctx, "write", in.id.String())
	}
	return nil
}

// report returns an error of a flush that this handle has not returned yet, and otherwise err. The
// caller holds in.mu.
func (h *Handle) report(err error) error {
	if h.seen == h.in.failures {
		return err
	}
	h.seen = h.in.failures
	h.in.unseen = false
	return h.in.err
}

// Flush returns when all that was written to the inode before is committed and durable: close(2).
// It returns the error of this flush, or that of an earlier one in the background. What could not
// be committed, but might be later, stays dirty and is tried again.
//
// In a directory that is held a file that the master was not told of is not waited for, unless Options.DurableClose says so: nobody
// sees it before it is committed, and it will be soon. What the master is just being told of, without the latest that was written, is: what is
// done next, such as a rename, may be told before that.
func (h *Handle) Flush(ctx context.Context) error {
	if h.in.fs.held.isUnborn(h.in.id) {
		if h.in.fs.syncClose {
			return h.Sync(ctx)
		}
		h.in.mu.Lock()
		if !h.in.late() {
			defer h.in.mu.Unlock()
			return h.report(nil)
		}
		h.in.mu.Unlock()
	}
	return h.flush(ctx)
}

func (h *Handle) flush(ctx context.Context) error {
	err := h.in.flush(ctx)
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	return h.report(err)
}

// Sync is fsync(2): all that was written is committed, and so is all that was done with names before.
func (h *Handle) Sync(ctx context.Context) error {
	if err := h.in.fs.held.sync(ctx); err != nil {
		return err
	}
	return h.flush(ctx)
}

// Allocate changes a range as fallocate(2) does with the mode. No space is reserved: bytes nobody wrote take none. What
// was written before is committed first; what is written meanwhile counts as written after it. An error may come when
// the front of the range is done.
func (h *Handle) Allocate(ctx context.Context, mode granary.AllocateMode, off, length uint64, keepSize bool) error {
	switch {
	case !h.flags.Write && !h.flags.Append, length == 0, h.closed.Load():
		return h.invalid("allocate", "%d bytes at %d, or not open for writing", length, off)
	case off > granary.FileSizeMax || length > granary.FileSizeMax-off:
		return granary.Errorf(granary.KindFileTooLarge, "allocate", h.in.id.String(), "%d bytes at offset %d", length, off)
	}
	in := h.in
	if err := in.acquire(ctx, "allocate"); err != nil {
		return err
	}
	defer in.release()
	if err := in.commit(context.WithoutCancel(ctx), ctx, true); err != nil {
		in.mu.Lock()
		defer in.mu.Unlock()
		return h.report(err)
	}
	op := granary.Allocate{Inode: in.id, Offset: off, Length: length, Mode: mode, KeepSize: keepSize}
	for op.Length > 0 {
		r, err := in.fs.store.Do(ctx, h.cred, &op)
		switch {
		case err != nil:
			return err
		case r.Offset == 0 || r.Offset > op.Length:
			return granary.Errorf(granary.KindInternal, "allocate", in.id.String(), "%d of %d bytes were done", r.Offset, op.Length)
		}
		op.Offset, op.Length = op.Offset+r.Offset, op.Length-r.Offset
		in.mu.Lock()
		in.adopt(r.Attr)
		in.mu.Unlock()
	}
	return nil
}

// Close flushes and gives the handle up, even when it returns an error. What is dirty in a file that is known to have
// no name any more goes with its last handle. After the last handle of another, only data that the store could
// not be asked to take (and not data that it had no space for) is tried again.
func (h *Handle) Close(ctx context.Context) error {
	if h.closed.Swap(true) {
		return h.invalid("close", "it is closed")
	}
	in := h.in
	defer in.fs.put(in)
	in.mu.Lock()
	doomed := in.nameless() && in.handles == 1
	in.mu.Unlock()
	var err error
	if !doomed {
		err = h.Flush(ctx)
	}
	in.mu.Lock()
	in.handles--
	last := in.handles == 0
	doomed = last && in.nameless()
	kept := doomed && in.anonymous
	in.mu.Unlock()
	switch {
	case doomed:
		in.giveUp(ctx)
		if kept {
			err = errors.Join(err, in.unkeep(ctx, h.cred))
		}
	case last && (granary.IsKind(err, granary.KindNoSpace) || granary.IsKind(err, granary.KindQuota)):
		in.fs.log.Error("dirty data dropped", "inode", in.id, "err", err)
		in.giveUp(ctx)
	}
	return err
}

// giveUp drops what is dirty after the last handle: nobody can read it any more, or its writer has been told that there
// is no space for it.
func (in *inode) giveUp(ctx context.Context) {
	select {
	case in.slot <- struct{}{}: // whether or not the master knows the file
	case <-ctx.Done():
		return // the background tries again
	}
	defer in.release()
	in.mu.Lock()
	reopened := in.handles > 0
	in.mu.Unlock()
	if reopened {
		return
	}
	in.discard()
}

// unkeep gives up a file that never got a name. If the store says that it is none of the session's, it got one after all
// and has lost it again.
func (in *inode) unkeep(ctx context.Context, cred granary.Cred) error {
	_, err := in.fs.store.Do(context.WithoutCancel(ctx), cred, &granary.Release{Inode: in.id})
	if granary.IsKind(err, granary.KindNotFound) || granary.IsKind(err, granary.KindExpired) {
		return nil
	}
	return err
}

func (h *Handle) invalid(op, format string, args ...any) error {
	return granary.Errorf(granary.KindInvalid, op, h.in.id.String(), format, args...)
}
