package filer

import (
	"context"
	"errors"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// flusher starts the background flush of every inode whose time has come, until the FS is closed.
func (fs *FS) flusher() {
	timer := time.NewTimer(fs.flushAfter)
	defer timer.Stop()
	for {
		if next, any := fs.dispatch(time.Now()); any {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
		select {
		case <-fs.ctx.Done():
			return
		case <-fs.wake:
		case <-timer.C:
		}
	}
}

// dispatch starts what is due, and returns when the next inode will be, if there is one.
func (fs *FS) dispatch(now time.Time) (next time.Time, any bool) {
	pressed, _ := fs.full()
	for _, in := range fs.dirtyInodes() {
		in.mu.Lock()
		if pressed {
			in.hurry = true
		}
		due, pending := in.due()
		in.mu.Unlock()
		switch {
		case !pending:
		case !due.After(now):
			fs.flushLater(in)
		case !any || due.Before(next):
			next, any = due, true
		}
		fs.put(in)
	}
	return next, any
}

// flushLater flushes an inode in a goroutine of its own, unless one does already. It waits while too
// many are at work.
func (fs *FS) flushLater(in *inode) {
	fs.mu.Lock()
	queued := in.queued
	if !queued {
		in.queued = true
		in.refs++
	}
	fs.mu.Unlock()
	if queued {
		return
	}
	select {
	case fs.busy <- struct{}{}:
	case <-fs.ctx.Done():
		fs.put(in)
		return
	}
	fs.wg.Go(func() {
		in.background()
		<-fs.busy
		fs.mu.Lock()
		in.queued = false
		fs.mu.Unlock()
		fs.put(in)
		fs.nudge() // it may be due again
	})
}

// due returns when the background should flush the inode, and whether there is anything to flush.
// The caller holds mu.
func (in *inode) due() (at time.Time, pending bool) {
	if in.dirty.empty() && in.appends.empty() {
		return time.Time{}, false
	}
	at = in.since.Add(in.fs.flushAfter)
	if in.hurry || in.dirty.full() || in.appends.full() {
		at = time.Time{}
	}
	if at.Before(in.retryAt) {
		at = in.retryAt
	}
	return at, true
}

// background commits what is due, until nothing is.
func (in *inode) background() {
	if err := in.acquire(in.fs.ctx, "flush"); err != nil { // the FS is being closed, which flushes, or the file is not made yet
		in.mu.Lock()
		in.retryAt = time.Now().Add(in.fs.flushAfter)
		in.mu.Unlock()
		return
	}
	defer in.release()
	for {
		now := time.Now()
		in.mu.Lock()
		due, pending := in.due()
		all := in.hurry || !in.since.Add(in.fs.flushAfter).After(now)
		in.mu.Unlock()
		if !pending || due.After(now) {
			return
		}
		if err := in.commit(in.fs.ctx, in.fs.ctx, all); err != nil {
			in.fs.log.Warn("background flush failed", "inode", in.id, "err", err)
			return
		}
	}
}

// flush returns when everything that was dirty when it was called is committed. What waits is the
// caller; a commit once begun runs to its end, so that nobody is left not knowing its outcome.
func (in *inode) flush(ctx context.Context) error {
	in.mu.Lock()
	pending := in.pending()
	in.mu.Unlock()
	if !pending {
		return nil
	}
	if err := in.acquire(ctx, "flush"); err != nil {
		return err
	}
	defer in.release()
	return in.commit(context.WithoutCancel(ctx), ctx, true)
}

// job is one commit of dirty data.
type job struct {
	cred  granary.Cred
	attr  granary.Attr
	mtime *granary.Time
}

// commit commits dirty data: all of it, or only full pieces. The caller holds the slot.
//
// The order is: what was written over the file first, appends after it. A write beyond the end of
// the file waits while there are appends, so all that is in the first part lies before them, and the
// store's end of file is ours when the appends arrive. After an error in the first part the second is
// not tried.
//
// It ends with ctx, and waits for volume servers that do not answer no longer than waiting.
func (in *inode) commit(ctx, waiting context.Context, all bool) error {
	j, pending := in.launch(all)
	if !pending {
		return nil
	}
	return in.land(in.push(ctx, waiting, j))
}

// push commits what flies. While volume servers do not answer it tries again: from the first time that they did not, for as long as the FS has
// patience. After that each try fails at once, until one succeeds.
func (in *inode) push(ctx, waiting context.Context, j job) error {
	wait := in.fs.newStall(in.stalledSince())
	defer wait.end()
	for {
		err := in.fs.lost(in.id)
		if err == nil {
			err = in.commitRanges(ctx, j)
		}
		if err == nil {
			err = in.commitAppends(ctx, j)
		}
		if !wait.again(waiting, "flush", err) {
			return err
		}
	}
}

// stalledSince returns since when volume servers have not answered: now, if they did the last time.
func (in *inode) stalledSince() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stalled.IsZero() {
		in.stalled = time.Now()
	}
	return in.stalled
}

// launch moves dirty data to where it flies.
func (in *inode) launch(all bool) (j job, pending bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.appends.empty() && (all || in.appends.full()) {
		all = true
		in.appendsFlying = in.appends.take(true)
	}
	in.dirtyFlying = in.dirty.take(all)
	in.dirtyFlying.join()
	in.appendsFlying.join()
	if in.dirty.empty() && in.appends.empty() {
		in.since = time.Time{}
	}
	if all {
		in.hurry = false
	}
	j = job{cred: in.cred, attr: in.attr, mtime: in.keepMtime}
	return j, !in.dirtyFlying.empty() || !in.appendsFlying.empty()
}

// commitRanges commits what was written over the file. Repeating it does no harm: the same bytes go
// to the same places.
func (in *inode) commitRanges(ctx context.Context, j job) error {
	if in.dirtyFlying.empty() {
		return nil
	}
	r, err := in.fs.store.WriteRanges(ctx, j.cred, j.attr, in.dirtyFlying.ranges(), false, j.mtime)
	if err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.adopt(r.Attr)
	in.dirtyFlying.clear()
	in.settle()
	return nil
}

// commitAppends commits the appends piece by piece, and moves what is not committed yet to where the
// file really ended.
func (in *inode) commitAppends(ctx context.Context, j job) error {
	for !in.appendsFlying.empty() {
		first := in.appendsFlying.pieces[0]
		in.mu.Lock()
		attr := in.attr
		in.mu.Unlock()
		r, err := in.fs.store.WriteRanges(ctx, j.cred, attr, []client.Range{{Data: first.data}}, true, j.mtime)
		in.mu.Lock()
		if err == nil || !repeatable(err) {
			in.appendsFlying.drop(1)
		}
		if err == nil {
			in.adopt(r.Attr)
			delta := r.Offset - first.off
			in.appendsFlying.shift(delta)
			in.appends.shift(delta)
		}
		in.settle()
		in.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// repeatable reports whether an append that failed has certainly not happened.
func repeatable(err error) bool {
	switch granary.KindOf(err) {
	case granary.KindIndeterminate, granary.KindExpired, granary.KindCanceled, granary.KindInternal:
		return false
	}
	return true
}

// land ends a commit. After an error that may pass, what still flies becomes dirty again; after one
// that will not, it is dropped, and the error says so to every handle (invariant 3).
func (in *inode) land(err error) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !granary.IsKind(err, granary.KindUnavailable) {
		in.stalled = time.Time{}
	}
	if err == nil {
		in.backoff, in.retryAt = 0, time.Time{}
		in.settle()
		return nil
	}
	in.fail(err)
	if passing(err) {
		if in.since.IsZero() {
			in.since = time.Now()
		}
		in.dirty.restore(&in.dirtyFlying)
		in.appends.restore(&in.appendsFlying)
		in.fs.nudge() // while it flew there was nothing for the flusher to wait for
	} else {
		in.fs.log.Error("dirty data dropped", "inode", in.id, "ranges", len(in.dirtyFlying.pieces),
			"appends", len(in.appendsFlying.pieces), "err", err)
		in.dirtyFlying.clear()
		in.appendsFlying.clear()
	}
	in.settle()
	return in.err
}

// passing reports whether the same data may be taken later.
func passing(err error) bool {
	if errors.Is(err, errLost) {
		return false // somebody else may have written since
	}
	switch granary.KindOf(err) {
	case granary.KindUnavailable, granary.KindIndeterminate, granary.KindExpired, granary.KindCanceled,
		granary.KindBusy, granary.KindStale, granary.KindNoSpace, granary.KindQuota, granary.KindMissingChunks:
		return true
	}
	return false
}

// discard drops all dirty data of an inode that nobody can reach any more. The caller holds the slot.
func (in *inode) discard() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, d := range in.all() {
		d.clear()
	}
	in.settle()
}
