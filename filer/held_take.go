package filer

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

// run tells the log in time, takes directories, and gives back those that are used no more.
func (h *holdings) run() {
	every := max(h.fs.flushAfter/4, time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-h.fs.ctx.Done():
			return
		case <-h.wake:
		case <-tick.C:
		}
		h.mu.Lock()
		due := len(h.log) > 0 && (h.pressed || time.Since(h.log[0].since) >= h.fs.flushAfter/2)
		h.pressed = false
		h.mu.Unlock()
		if due {
			if err := h.tell(h.fs.ctx); err != nil {
				h.fs.log.Warn("what was done in directories that are held could not be told yet", "err", err)
			}
		}
		h.shrink()
	}
}

// shrink gives back directories that are too many, or all after something was lost.
func (h *holdings) shrink() {
	h.mu.Lock()
	var ids []granary.InodeID
	names := 0
	for _, d := range h.dirs {
		names += len(d.names)
	}
	if n := len(h.dirs); n > heldMax || names > heldNamesMax || h.broken {
		all := make([]*heldDir, 0, n)
		for _, d := range h.dirs {
			all = append(all, d)
		}
		slices.SortFunc(all, func(a, b *heldDir) int { return a.used.Compare(b.used) })
		if !h.broken {
			all = all[:(n+7)/8]
		}
		for _, d := range all {
			ids = append(ids, d.id)
		}
		h.broken = false
	}
	h.mu.Unlock()
	for len(ids) > 0 && h.fs.ctx.Err() == nil {
		n := min(len(ids), granary.DelegationsReturned)
		if err := h.release(h.fs.ctx, ids[:n]); err != nil {
			h.fs.log.Warn("directories could not be given back", "err", err)
		}
		ids = ids[n:]
	}
}

// Recall has directories given back that others want.
func (fs *FS) Recall(ids []granary.InodeID) {
	h := fs.held
	if h == nil {
		return
	}
	h.mu.Lock()
	for _, id := range ids {
		h.cool(id, takeAgain)
	}
	h.mu.Unlock()
	fs.wg.Go(func() {
		if err := h.release(fs.ctx, ids); err != nil && fs.ctx.Err() == nil {
			fs.log.Warn("directories could not be given back", "err", err)
		}
	})
}

// release gives directories back after all that was done in them has been told, and nobody shows what was there without asking. It tries
// for as long as ctx and the session last.
func (h *holdings) release(ctx context.Context, ids []granary.InodeID) error {
	ids = slices.Sorted(slices.Values(ids))
	var mine []*heldDir
	h.mu.Lock()
	for _, id := range ids {
		for h.taking[id] || h.dirs[id] != nil && h.dirs[id].frozen {
			h.changed.Wait()
		}
		if d := h.dirs[id]; d != nil {
			d.frozen = true
			mine = append(mine, d)
		}
	}
	session := h.session
	h.mu.Unlock()
	err := h.giveBack(ctx, session, ids, mine)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range mine {
		d.frozen = false
		if err == nil && h.dirs[d.id] == d {
			delete(h.dirs, d.id)
		}
	}
	h.changed.Broadcast()
	return err
}

func (h *holdings) giveBack(ctx context.Context, session granary.SessionID, ids []granary.InodeID, dirs []*heldDir) error {
	for {
		err := h.tell(ctx)
		if err == nil {
			h.unshowHeld(dirs)
			var results []granary.Result
			results, err = h.by.DoIn(ctx, session, []granary.Request{{Op: &granary.ReturnDelegation{Inodes: ids}}})
			if err == nil && results[0].Err != nil {
				err = results[0].Err
			}
		}
		h.mu.Lock()
		over := h.session != session
		h.mu.Unlock()
		switch {
		case err == nil || over || granary.IsKind(err, granary.KindExpired):
			return nil // with the session ends what it held
		case ctx.Err() != nil || h.fs.ctx.Err() != nil:
			return err
		}
		select {
		case <-time.After(cutOffPause):
		case <-ctx.Done():
		case <-h.fs.ctx.Done():
		}
	}
}

// cool has a directory not be asked for, for a while. mu is held.
func (h *holdings) cool(id granary.InodeID, d time.Duration) {
	if len(h.cooling) >= talliesMax {
		clear(h.cooling)
	}
	h.cooling[id] = time.Now().Add(d)
}

// made counts what is made in a directory that is not held: after some of it the directory is taken. One that was just made is
// taken at once.
func (h *holdings) made(dir granary.InodeID, e *granary.Entry) {
	if h == nil {
		return
	}
	if e.Attr.IsDir() {
		h.want(e.Attr.Inode)
	}
	now := time.Now()
	h.mu.Lock()
	t := h.tallies[dir]
	if t == nil || now.Sub(t.since) > takeWithin {
		if len(h.tallies) >= talliesMax {
			clear(h.tallies)
		}
		t = &tally{since: now}
		h.tallies[dir] = t
	}
	t.made++
	enough := t.made >= takeAfter
	if enough {
		delete(h.tallies, dir)
	}
	h.mu.Unlock()
	if enough {
		h.want(dir)
	}
}

func (h *holdings) want(id granary.InodeID) {
	select {
	case h.wanted <- id:
	default: // another time
	}
}

// takeWanted takes the directories that are wanted.
func (h *holdings) takeWanted() {
	for {
		select {
		case id := <-h.wanted:
			if err := h.take(h.fs.ctx, id); err != nil {
				h.fs.log.Debug("a directory is not held", "inode", id, "err", err)
			}
		case <-h.fs.ctx.Done():
			return
		}
	}
}

// take asks for a directory, and reads what is in it. Meanwhile nobody here does anything in it.
func (h *holdings) take(ctx context.Context, id granary.InodeID) error {
	session, until := h.by.Held()
	h.mu.Lock()
	if session == 0 || !time.Now().Before(until) || h.dirs[id] != nil || h.taking[id] || time.Now().Before(h.cooling[id]) {
		h.mu.Unlock()
		return nil
	}
	if h.session != session {
		h.lose(errSessionOver)
		h.session = session
	}
	h.taking[id] = true
	for h.plain[id] > 0 {
		h.changed.Wait()
	}
	h.mu.Unlock()
	d, token, err := h.taken(ctx, session, id)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.taking, id)
	h.changed.Broadcast()
	if err != nil {
		h.cool(id, takeNever)
		return err
	}
	if h.session == session {
		h.dirs[id], h.fence = d, max(h.fence, token)
	}
	return nil
}

func (h *holdings) taken(ctx context.Context, session granary.SessionID, id granary.InodeID) (*heldDir, granary.Index, error) {
	results, err := h.by.DoIn(ctx, session, []granary.Request{{Op: &granary.TakeDelegation{Inode: id}}})
	if err == nil && results[0].Err != nil {
		err = results[0].Err
	}
	if err != nil {
		return nil, 0, err
	}
	d := &heldDir{id: id, attr: results[0].Attr, names: map[string]heldName{}, used: time.Now()}
	if err := h.read(ctx, d); err != nil {
		_, rerr := h.by.DoIn(ctx, session, []granary.Request{{Op: &granary.ReturnDelegation{Inodes: []granary.InodeID{id}}}})
		return nil, 0, cmp.Or(err, rerr)
	}
	return d, granary.Index(results[0].Offset), nil
}

// read reads the names in a directory.
func (h *holdings) read(ctx context.Context, d *heldDir) error {
	after := granary.Entry{}
	for {
		page, err := ask[*granary.Directory](ctx, h.fs.store, &granary.ReadDir{Inode: d.id, After: after.Name, AfterDir: after.Attr.IsDir()})
		if err != nil {
			return err
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			d.names[e.Name] = heldName{e.Attr.Inode, e.Attr.Type, false}
			after = *e
		}
		if !page.More || len(page.Entries) == 0 {
			break
		}
	}
	if uint64(len(d.names)) != d.attr.Entries {
		return granary.Errorf(granary.KindStale, "take", d.id.String(), "%d names of %d", len(d.names), d.attr.Entries)
	}
	return nil
}

// lease gets inode ids of a dataset. What is logged is told before: so ranges that were used up here are used up there, and the
// master drops none that is not forgotten here.
func (h *holdings) lease(ctx context.Context, dataset granary.DatasetID) error {
	if err := h.tell(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	session := h.session
	h.mu.Unlock()
	results, err := h.by.DoIn(ctx, session, []granary.Request{{Op: &granary.LeaseInodes{Dataset: dataset, Count: leaseCount}}})
	if err == nil && results[0].Err != nil {
		err = results[0].Err
	}
	if err != nil {
		return err
	}
	first := granary.InodeID(results[0].Offset)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != session {
		return nil
	}
	h.leases = slices.DeleteFunc(h.leases, func(l idLease) bool { return l.next == l.end })
	if len(h.leases) == granary.InodeLeasesMax {
		h.leases = h.leases[1:]
	}
	h.leases = append(h.leases, idLease{dataset, first, first + leaseCount})
	return nil
}

// refresh brings the attributes of a directory up to what the master has, after something was done in it as usual.
func (h *holdings) refresh(ctx context.Context, id granary.InodeID) (granary.Attr, error) {
	var a granary.Attr
	err := h.names(ctx, []granary.InodeID{id}, func([]*heldDir) (bool, error) { return false, nil }, func() error {
		found, err := ask[*granary.Found](ctx, h.fs.store, &granary.Lookup{Base: id})
		if err == nil {
			a = found.Entry.Attr
		}
		return err
	}, func(dirs []*heldDir) { dirs[0].attr, dirs[0].stale = a, false })
	return a, err
}
