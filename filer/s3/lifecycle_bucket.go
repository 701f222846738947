package s3

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// bucketWork is one pass over a bucket.
type bucketWork struct {
	l       *Lifecycle
	b       *filer.Info
	rules   []lifecycleRule
	now     time.Time
	keep    func(after string) error // notes that the keys up to one are done
	removed atomic.Int64
	moved   atomic.Int64

	// Of the key whose versions are being listed, the newest first:
	key        string
	first      granary.ListItem
	versions   int          // seen so far
	noncurrent int          // of them
	since      granary.Time // when the version that was seen last came to be the newest
}

// pagesKept is after how many pages it is noted how far the pass has come.
const pagesKept = 16

// run looks at the objects below a prefix, after a key. A page at a time is in memory.
func (w *bucketWork) run(ctx context.Context, prefix, after string) error {
	_, versions := w.b.Xattr(granary.XattrVersioning)
	q := &granary.List{Root: w.b.Attr.Inode, Prefix: prefix, StartAfter: after, Limit: granary.ListMax, Versions: versions}
	w.versions = 0
	for pages := 1; ; pages++ {
		listing, err := w.l.h.store.List(ctx, q)
		if err != nil {
			return err
		}
		group, gctx := removeJobs(ctx)
		for i := range listing.Items {
			item := &listing.Items[i]
			remove, transit := w.judge(item, versions)
			for _, job := range remove {
				group.Go(func() error { return w.remove(gctx, job) })
			}
			if transit != nil {
				group.Go(func() error { return w.move(gctx, *transit) })
			}
		}
		if !listing.Truncated {
			for _, job := range w.endKey() {
				group.Go(func() error { return w.remove(gctx, job) })
			}
		}
		if err := group.Wait(); err != nil || !listing.Truncated {
			return err
		}
		q.StartAfter, q.StartAt = listing.Next, listing.NextAt
		if pages%pagesKept == 0 && q.StartAt == nil { // between two keys: what follows needs nothing of what came before
			if err := w.keep(q.StartAfter); err != nil {
				return err
			}
		}
	}
}

// removal is an object, or a version of one, that a rule may end. Tags are looked at when it is done, for they take a query.
type removal struct {
	item    granary.ListItem
	version granary.ObjectVersion // 0: the object; in a bucket with versioning it gets a delete marker
	rules   []*lifecycleRule      // any of which must cover it
}

// judge looks at the next item of a listing, and returns what may have to go, and what may have to change its class. Of what goes either may come first.
func (w *bucketWork) judge(item *granary.ListItem, versions bool) (jobs []removal, transit *move) {
	if item.IsPrefix {
		return nil, nil
	}
	if w.versions == 0 || item.Key != w.key {
		jobs = w.endKey()
		w.key, w.first, w.versions, w.noncurrent = item.Key, *item, 0, 0
	}
	w.versions++
	if item.Latest || !versions {
		w.since = item.Attr.Mtime
		if item.Marker {
			return jobs, nil
		}
		if rules := w.ruling(func(r *lifecycleRule) bool { return r.Expiration != nil && w.expired(r.Expiration, item.Attr.Mtime) }); len(rules) > 0 {
			jobs = append(jobs, removal{item: *item, rules: rules})
		}
		if m, ok := w.moves(item, 0, item.Attr.Mtime, true, 0); ok {
			transit = &m
		}
		return jobs, transit
	}
	since, newer := w.since, w.noncurrent
	w.since, w.noncurrent = item.Attr.Mtime, w.noncurrent+1
	rules := w.ruling(func(r *lifecycleRule) bool {
		n := r.Noncurrent
		return n != nil && (n.Newer == nil || newer >= *n.Newer) && w.l.past(since, *n.Days, w.now)
	})
	if len(rules) > 0 {
		jobs = append(jobs, removal{item: *item, version: idOf(&item.Attr), rules: rules})
	}
	if item.Marker {
		return jobs, nil
	}
	if m, ok := w.moves(item, idOf(&item.Attr), since, false, newer); ok {
		transit = &m
	}
	return jobs, transit
}

// idOf names a version, whether or not it has an id.
func idOf(a *granary.Attr) granary.ObjectVersion {
	if a.Unnumbered() {
		return granary.NoID
	}
	return a.Object
}

func (w *bucketWork) ruling(f func(*lifecycleRule) bool) []*lifecycleRule {
	var rules []*lifecycleRule
	for i := range w.rules {
		if f(&w.rules[i]) {
			rules = append(rules, &w.rules[i])
		}
	}
	return rules
}

// expired reports whether a rule ends an object of that age.
func (w *bucketWork) expired(e *lifecycleExpiration, since granary.Time) bool {
	switch {
	case e.Days != nil:
		return w.l.past(since, *e.Days, w.now)
	case e.Date != nil:
		return !w.now.Before(*e.Date)
	}
	return false
}

// endKey is at the end of a key's versions: a delete marker behind which there is nothing left goes, too.
func (w *bucketWork) endKey() []removal {
	if w.versions != 1 || !w.first.Marker {
		return nil
	}
	rules := w.ruling(func(r *lifecycleRule) bool {
		e := r.Expiration
		return e != nil && (e.Marker != nil && *e.Marker || e.Days != nil && w.l.past(w.first.Attr.Mtime, *e.Days, w.now))
	})
	if len(rules) == 0 {
		return nil
	}
	return []removal{{item: w.first, version: idOf(&w.first.Attr), rules: rules}}
}

// remove carries out a removal, if one of its rules covers the object.
func (w *bucketWork) remove(ctx context.Context, job removal) error {
	covered := false
	for _, r := range job.rules {
		is, err := r.covers(&job.item, func() ([]tag, error) { return w.tags(ctx, job) })
		if err != nil {
			return err
		}
		covered = covered || is
	}
	if !covered {
		return nil
	}
	op := &granary.Unlink{Parent: w.b.Attr.Inode, Name: job.item.Key, Object: job.version}
	if job.version == 0 {
		op.Match = &granary.Precondition{Version: job.item.Attr.Version}
	}
	_, err := w.l.h.store.RemoveKey(client.WithOrigin(ctx, granary.OriginLifecycle), op)
	switch granary.KindOf(err) {
	case granary.KindNone:
		w.removed.Add(1)
		return nil
	case granary.KindNotFound, granary.KindPrecondition: // gone, or replaced
		return nil
	case granary.KindNotOwner, granary.KindLocked: // it is locked
		w.l.log.Debug("a lifecycle rule would end what is locked", "bucket", w.b.Name, "key", job.item.Key)
		return nil
	}
	return err
}

func (w *bucketWork) tags(ctx context.Context, job removal) ([]tag, error) {
	info, err := w.l.h.store.Stat(ctx, w.b.Attr.Inode, job.item.Key, filer.StatOptions{Xattrs: true, Key: true, Object: job.version})
	if granary.IsKind(err, granary.KindNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if job.version == 0 && info.Attr.Version != job.item.Attr.Version {
		return nil, nil // another object by now: what is asked for its removal would fail
	}
	stored, _ := info.Xattr(xattrTagging)
	return readTags(stored)
}
