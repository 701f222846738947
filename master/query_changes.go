package master

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// Bounds of what one look at the change log goes through.
const (
	watchVisits = 20_000  // changes, but for those of one entry
	watchNames  = 50_000  // names of directories, in search of those that changes do not tell
	watchBytes  = 4 << 20 // of changes as they are stored, but for those of one entry
)

// getChangeLog answers how long changes are kept.
func (v *view) getChangeLog() (granary.Answer, error) {
	r, err := read[changeLogRecord](v, keyChangeLog())
	if err != nil {
		return nil, err
	}
	if r == nil {
		return &granary.ChangeLogIs{}, nil
	}
	a := &granary.ChangeLogIs{Settings: r.Settings, Oldest: granary.Position{Index: r.From + 1}}
	it, err := v.r.NewIter(&pebble.IterOptions{LowerBound: keyChanges(0), UpperBound: keyGone(0)})
	if err != nil {
		return nil, errStore(keyChanges(0), err)
	}
	if it.Last() {
		last, err := unmarshal[entryChanges](it.Value())
		if err != nil {
			return nil, firstError(errStore(it.Key(), err), it.Close())
		}
		a.Bytes = last.Total - r.Trimmed
	}
	return a, it.Close()
}

// changes answers a Watch as far as there are changes now.
func (v *view) changes(q *granary.Watch) (granary.Answer, error) {
	const name = "watch"
	settings, err := read[changeLogRecord](v, keyChangeLog())
	if err != nil {
		return nil, err
	}
	if settings == nil || !settings.on() {
		return nil, granary.Errorf(granary.KindNotSupported, name, "", "the cluster keeps no changes: 'granary cluster changes --keep 1h' has it keep them")
	}
	now, oldest := granary.Position{Index: granary.Index(v.head.Applied) + 1}, granary.Position{Index: settings.From + 1}
	from := q.From
	switch q.Start {
	case granary.WatchOldest:
		from = oldest
	case granary.WatchNow:
		from = now
	}
	w := &watcher{v: v, root: q.Inode, limit: q.Limit, paths: newChangePaths(v)}
	if err := w.mayWatch(q.Start); err != nil {
		return nil, err
	}
	switch {
	case q.Start == granary.WatchNow:
		return &granary.Changes{Next: from}, nil
	case now.Before(from):
		return nil, granary.Errorf(granary.KindInvalid, name, "", "position %s is asked for, but the history ends before %s", from, now)
	case from.Before(oldest):
		return &granary.Changes{Behind: true, Oldest: oldest, Next: oldest}, nil
	}
	if w.limit <= 0 || w.limit > granary.WatchMax {
		w.limit = granary.WatchMax
	}
	a, err := w.collect(from, now)
	if err != nil {
		return nil, err
	}
	a.Removed = !w.there && a.Next == now
	return a, nil
}

// watcher goes through the change log for one who watches.
type watcher struct {
	v      *view
	root   granary.InodeID
	there  bool // root is still there
	limit  int
	paths  *changePaths
	answer granary.Changes
	found  []foundChange
}

// foundChange is one that is to be told.
type foundChange struct {
	at     granary.Position
	time   granary.Time
	change changeRecord
}

// mayWatch refuses who may not read what is watched. Of what is no more, who has begun before is told to the end.
func (w *watcher) mayWatch(start granary.WatchStart) error {
	r, err := w.v.inode(w.root)
	if err != nil {
		return err
	}
	if r == nil || r.Nlink == 0 {
		if start != granary.WatchFrom {
			return granary.Errorf(granary.KindNotFound, "watch", w.root.String(), "no such inode")
		}
		return nil
	}
	w.there = true
	want := granary.AccessRead
	if r.IsDir() {
		want |= granary.AccessExecute
	}
	return w.v.permit("watch", w.root.String(), r, want)
}

// collect gathers changes from a position on, which are fewer than now, and tells them.
func (w *watcher) collect(from, now granary.Position) (*granary.Changes, error) {
	next, visits, size := now, 0, 0
	err := w.v.scan(keyChanges(from.Index), keyChanges(now.Index), func(k, b []byte) (bool, error) {
		entry, err := unmarshal[entryChanges](b)
		if err != nil {
			return false, errStore(k, err)
		}
		index := granary.Index(changesID(k))
		seen := uint32(0)
		if index == from.Index {
			seen = from.Seen
		}
		entry.Changes = bytes.Clone(entry.Changes)
		if err := w.entry(index, seen, entry); err != nil {
			return false, errStore(k, err)
		}
		visits, size = visits+int(entry.Count), size+len(b)
		if len(w.found) >= w.limit || visits >= watchVisits || size >= watchBytes {
			next = granary.Position{Index: index + 1}
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	w.answer.Next, w.answer.More = next, next != now
	for i := range w.found {
		c, err := w.paths.tell(&w.found[i])
		if err != nil {
			return nil, err
		}
		w.answer.Changes = append(w.answer.Changes, c)
	}
	return &w.answer, nil
}

// entry takes in the changes of an entry, but for those that the watcher has seen.
func (w *watcher) entry(index granary.Index, seen uint32, e *entryChanges) error {
	d := decoder{b: e.Changes, version: formatVersion}
	for n := range uint32(e.Count) {
		c := decodeChange(&d)
		if d.bad {
			return errFormat
		}
		w.paths.learn(&c)
		if n < seen {
			continue
		}
		concerns, err := w.concerns(&c)
		if err != nil {
			return err
		}
		if concerns {
			w.found = append(w.found, foundChange{granary.Position{Index: index, Seen: n + 1}, e.Time, c})
		}
	}
	return d.done()
}

// concerns reports whether a change is of what is watched, and in directories that the watcher may look into.
func (w *watcher) concerns(c *changeRecord) (bool, error) {
	if c.Inode == w.root && (w.there || w.v.cred == nil) {
		return true, nil
	}
	parent := c.Parent
	if parent == 0 { // of a file that has lost the name it got last, nobody knows where the others are
		parent = c.Inode.Dataset().Root()
	}
	top := w.root
	if c.Inode == w.root { // it is no more: where it was tells who may know of it
		top = parent
	}
	ok, err := w.paths.below(parent, top)
	if err == nil && !ok && c.OldParent != 0 {
		ok, err = w.paths.below(c.OldParent, w.root)
	}
	return ok, err
}
