package filer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// telling is a request that is being told, with the content that its file is made with.
type telling struct {
	*logged
	request granary.Request
	staged  staged
	flying  bool // in.slot is held, and what is dirty flies
}

// tell returns when everything that was logged when it was called has been told, or given up for good.
func (h *holdings) tell(ctx context.Context) error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	until := h.told + uint64(len(h.log))
	h.mu.Unlock()
	h.telling.Lock()
	defer h.telling.Unlock()
	for {
		h.mu.Lock()
		if h.told >= until || len(h.log) == 0 {
			h.mu.Unlock()
			return nil
		}
		batch := slices.Clone(h.log[:min(len(h.log), tellMax)])
		session := h.session
		h.mu.Unlock()
		if err := h.tellSome(context.WithoutCancel(ctx), session, batch); err != nil {
			return err
		}
	}
}

// tellSome tells the first of what is logged: all of it, or up to one that was not taken. Who calls holds telling.
//
// The content of a file is durable before its request is sent, so that each request stands for a whole file; and requests are
// sent in their order, in which alone the master takes them. So what it knows at any time is what was done up to some moment,
// but that files may have content and attributes that they got later.
func (h *holdings) tellSome(ctx context.Context, session granary.SessionID, batch []*logged) error {
	all := make([]*telling, len(batch))
	var err error
	for i, l := range batch {
		all[i] = &telling{logged: l, request: l.Request}
		if l.in != nil && err == nil {
			err = h.launch(ctx, all[i])
		}
	}
	for _, t := range all {
		if err == nil && t.staged != nil {
			err = t.finishContent(ctx)
		}
	}
	var results []granary.Result
	if err == nil {
		results, err = h.send(ctx, session, all)
	}
	n := 0
	for n < len(results) && results[n].Err == nil {
		h.took(all[n], &results[n])
		n++
	}
	var refused error
	if n < len(results) {
		refused = h.refused(ctx, all[n:], &results[n])
	}
	for _, t := range all {
		if t.flying {
			h.fell(t.in.id)
		}
		t.land()
	}
	switch {
	case granary.IsKind(err, granary.KindExpired):
		h.mu.Lock()
		h.lose(err)
		h.mu.Unlock()
		return h.report()
	case err != nil:
		return err
	}
	return refused
}

// send sends requests in the order of the log.
func (h *holdings) send(ctx context.Context, session granary.SessionID, all []*telling) ([]granary.Result, error) {
	h.mu.Lock()
	requests := make([]granary.Request, len(all))
	for i, t := range all {
		t.request.Under = &granary.Under{Order: h.ordered + 1 + uint64(i), Fence: h.fence, At: t.Under.At}
		requests[i] = t.request
	}
	h.mu.Unlock()
	return h.by.DoIn(ctx, session, requests)
}

// launch makes the Create of an unborn file one with its content and attributes as they are now.
func (h *holdings) launch(ctx context.Context, t *telling) error {
	in := t.in
	in.slot <- struct{}{} // nobody who waits for the log to be told has it
	in.mu.Lock()
	attr, ok := h.fly(in.id)
	if !ok {
		in.mu.Unlock()
		<-in.slot
		return granary.Errorf(granary.KindInternal, "tell", in.id.String(), "it was born before")
	}
	t.flying = true
	in.adopt(attr)
	v := in.view()
	op := *t.Op.(*granary.Create)
	op.Mode, op.Umask, op.Open = v.Mode, 0, in.handles > 0
	op.UID, op.GID = v.UID, v.GID
	op.Atime, op.Mtime, op.Ctime = &v.Atime, &v.Mtime, &v.Ctime
	t.request.Op = &op
	var ranges []client.Range
	if attr.Nlink > 0 || in.handles > 0 {
		in.dirtyFlying, in.appendsFlying = in.dirty.take(true), in.appends.take(true)
		in.dirtyFlying.join()
		ranges = append(in.dirtyFlying.ranges(), in.appendsFlying.ranges()...)
	}
	in.mu.Unlock()
	if v.Size > 0 {
		op.Content = &granary.Content{Size: v.Size}
	}
	if len(ranges) == 0 {
		return nil
	}
	s, err := h.by.Stage(ctx, v, ranges)
	if granary.IsKind(err, granary.KindTooLarge) { // the file is made with a part of its size, and written as others are
		op.Content = nil
		t.putBack()
		return nil
	}
	t.staged = s
	return err
}

// fly notes that an unborn file is being told, and returns its attributes.
func (h *holdings) fly(id granary.InodeID) (granary.Attr, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.nodes[id]
	if n == nil || n.birth == nil {
		return granary.Attr{}, false
	}
	n.flying = true
	return n.attr, true
}

// flies reports whether a file is being told.
func (h *holdings) flies(id granary.InodeID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.nodes[id]
	return n != nil && n.flying
}

// fell notes that it was not told after all.
func (h *holdings) fell(id granary.InodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.nodes[id]; n != nil {
		n.flying = false
	}
}

// finishContent waits for the content to be durable, and puts it into the request.
func (t *telling) finishContent(ctx context.Context) error {
	content, err := t.staged.Content(ctx)
	if err != nil {
		return err
	}
	op := t.request.Op.(*granary.Create)
	content.Size = op.Content.Size
	op.Content = content
	return nil
}

// putBack makes what flies dirty again.
func (t *telling) putBack() {
	in := t.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dirty.restore(&in.dirtyFlying)
	in.appends.restore(&in.appendsFlying)
	if in.since.IsZero() && in.pending() {
		in.since = time.Now()
	}
	in.settle()
}

// land ends the telling of a request, whatever has become of it.
func (t *telling) land() {
	if t.staged != nil {
		t.staged.Release()
		t.staged = nil
	}
	if t.flying {
		t.flying = false
		t.putBack()
		<-t.in.slot
	}
}

// took notes that the first request of the log was applied.
func (h *holdings) took(t *telling, r *granary.Result) {
	if t.staged != nil {
		t.staged.Committed()
		t.staged.Release()
		t.staged = nil
	}
	if t.in == nil {
		h.left1(t.logged, true)
		return
	}
	in := t.in
	in.mu.Lock()
	nlink := in.attr.Nlink
	h.left1(t.logged, true)
	if r.Attr.Inode == in.id {
		in.adopt(r.Attr)
		if nlink == 0 { // it has lost its name since, which the master is about to be told
			in.attr.Nlink = 0
		}
		in.dirtyFlying.clear()
		in.appendsFlying.clear()
		in.backoff, in.retryAt = 0, time.Time{}
	} else { // it was applied by an earlier try, whose answer was lost
		in.attr.Version = 1
		in.dirty.restore(&in.dirtyFlying)
		in.appends.restore(&in.appendsFlying)
	}
	opened, open := t.request.Op.(*granary.Create).Open, in.handles > 0
	if nlink == 0 && !open { // nobody can read it any more
		for _, d := range in.all() {
			d.clear()
		}
	}
	in.settle()
	in.mu.Unlock()
	t.flying = false
	<-in.slot
	switch {
	case opened:
		h.fs.opens(in)
	case open: // it was opened while it was being told
		found, err := ask[*granary.Found](h.fs.ctx, h.fs.store, &granary.Lookup{Base: in.id, Open: true})
		if err == nil && found.Entry.Attr.Type == granary.TypeRegular {
			h.fs.opens(in)
		}
	}
	h.fs.put(in)
}

// left1 takes the first request out of the log. If it was told, it counts.
func (h *holdings) left1(l *logged, told bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.log) == 0 || h.log[0] != l {
		return // the session was lost meanwhile
	}
	h.log = h.log[1:]
	if len(h.log) == 0 {
		h.log = nil
	}
	h.told++
	if told {
		h.ordered++
	}
	for _, id := range l.inodes {
		n := h.nodes[id]
		if n == nil {
			continue
		}
		if n.birth == l {
			n.birth = nil
		}
		if n.pending--; n.pending == 0 {
			delete(h.nodes, id)
		}
	}
}

// refused deals with the first request that was not applied: it is told again, or given up.
func (h *holdings) refused(ctx context.Context, rest []*telling, r *granary.Result) error {
	first := rest[0]
	h.mu.Lock()
	ordered := h.ordered
	h.mu.Unlock()
	if granary.IsKind(r.Err, granary.KindStale) && len(r.Missing) == 0 && r.Offset > ordered {
		// Earlier tries, whose answers were lost, were applied so far.
		for _, t := range rest[:min(uint64(len(rest)), r.Offset-ordered)] {
			h.took(t, &granary.Result{})
		}
		return nil
	}
	if first.staged != nil {
		if again, err := first.staged.Again(ctx, *r); again {
			return h.tellAgain(ctx, first, err)
		}
	}
	switch r.Err.Kind {
	case granary.KindUnavailable, granary.KindIndeterminate, granary.KindBusy, granary.KindDelegated, granary.KindCanceled:
		return r.Err
	case granary.KindExpired:
		h.mu.Lock()
		h.lose(r.Err)
		h.mu.Unlock()
		return h.report()
	}
	h.giveUp(first, r.Err)
	return nil
}

// tellAgain tells a request alone whose content has been written anew.
func (h *holdings) tellAgain(ctx context.Context, t *telling, err error) error {
	if err == nil {
		err = t.finishContent(ctx)
	}
	if err != nil {
		return err
	}
	h.mu.Lock()
	session := h.session
	h.mu.Unlock()
	results, err := h.send(ctx, session, []*telling{t})
	switch {
	case err != nil:
		return err
	case results[0].Err == nil:
		h.took(t, &results[0])
		return nil
	case len(results[0].Missing) > 0:
		return results[0].Err // the whole is tried again
	}
	h.giveUp(t, results[0].Err)
	return nil
}

// giveUp drops a request that the master will not take: what it did is lost, and so are the directories.
func (h *holdings) giveUp(t *telling, err error) {
	h.fs.log.Error("what was done in a directory that was held is lost", "op", t.Op, "err", err)
	h.mu.Lock()
	h.broken, h.lost = true, err
	h.mu.Unlock()
	h.left1(t.logged, false)
	if t.in == nil {
		return
	}
	t.flying = false
	t.in.abandon(err)
	<-t.in.slot
	h.fs.put(t.in)
}

// abandon drops what is dirty of a file that was never made, and says so to who has it open. The caller has the slot.
func (in *inode) abandon(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, d := range in.all() {
		d.clear()
	}
	in.attr.Version = max(in.attr.Version, 1)
	in.failures++
	in.err, in.unseen = err, true
	in.settle()
}

var errSessionOver = errors.New("the session has ended in which directories were held")

// lose gives up all that is held, and was not told, because the session has ended. mu is held.
func (h *holdings) lose(err error) {
	log := h.log
	if len(log) > 0 {
		h.lost = granary.Errorf(granary.KindExpired, "hold", "", "%d operations were not told before the session ended: %w", len(log), err)
		h.fs.log.Error("what was done in directories that were held is lost", "operations", len(log), "err", err)
	}
	h.told += uint64(len(log))
	h.log, h.ordered, h.session, h.leases, h.broken = nil, 0, 0, nil, false
	clear(h.dirs)
	clear(h.nodes)
	clear(h.shared)
	h.changed.Broadcast()
	h.unshow(nil, true)
	lost := h.lost
	for _, l := range log {
		if in := l.in; in != nil {
			h.fs.wg.Go(func() {
				in.slot <- struct{}{}
				in.abandon(lost)
				<-in.slot
				h.fs.put(in)
			})
		}
	}
}

// report returns, once, what was lost.
func (h *holdings) report() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.lost
	h.lost = nil
	return err
}

// sync returns when all that was done in directories that are held is durable.
func (h *holdings) sync(ctx context.Context) error {
	if h == nil {
		return nil
	}
	wait := h.fs.newStall(time.Now())
	defer wait.end()
	for {
		err := h.tell(ctx)
		if !wait.again(ctx, "tell", err) {
			return errors.Join(err, h.report())
		}
	}
}
