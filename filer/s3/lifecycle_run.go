package s3

import (
	"cmp"
	"context"
	"encoding/xml"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Lifecycle removes what the lifecycle rules of buckets say, and puts into other storage classes what they say, in the background. Each filer has one; a bucket is worked on by one of
// them at a time, which holds a lock on the bucket's hidden directory, and it is looked at again only when a part of a day has passed.
//
// What is removed is named by the version that was judged: an object that is replaced meanwhile stays. What is locked stays, too. How far a
// pass has come is kept with the bucket, so that it goes on there after a filer's end.
type Lifecycle struct {
	h     *Handler
	log   *slog.Logger
	now   func() time.Time
	day   time.Duration
	every time.Duration

	stop context.CancelFunc
	done sync.WaitGroup
}

// LifecycleOptions configures a Lifecycle.
type LifecycleOptions struct {
	FS  *filer.FS
	Log *slog.Logger
	// Day is how long the days of rules last: 24 hours, if it is 0. Shorter ones are for tests.
	Day time.Duration
	Now func() time.Time // default time.Now
}

// passesPerDay is how often in a day a bucket is looked at.
const passesPerDay = 24

// lifecycleWorkers is how many objects are removed at a time.
const lifecycleWorkers = 4

// NewLifecycle starts the work. Close ends it.
func NewLifecycle(o LifecycleOptions) (*Lifecycle, error) {
	if o.FS == nil {
		return nil, granary.Errorf(granary.KindInvalid, "s3.lifecycle", "", "LifecycleOptions.FS is nil")
	}
	if o.Day < 0 {
		return nil, granary.Errorf(granary.KindInvalid, "s3.lifecycle", "", "a day of %v", o.Day)
	}
	l := newLifecycle(fsStore{o.FS}, o)
	ctx, stop := context.WithCancel(context.Background()) // the background belongs to no caller: it ends with Close
	l.stop = stop
	l.done.Go(func() { l.run(ctx) })
	return l, nil
}

func newLifecycle(s store, o LifecycleOptions) *Lifecycle {
	h := newHandler(s, Options{Log: o.Log, Now: o.Now})
	day := cmp.Or(o.Day, hoursOfDay)
	return &Lifecycle{h: h, log: h.log, now: h.now, day: day, every: max(day/passesPerDay, time.Second)}
}

// Close ends the work, and waits for it.
func (l *Lifecycle) Close() error {
	l.stop()
	l.done.Wait()
	return nil
}

func (l *Lifecycle) run(ctx context.Context) {
	ticker := time.NewTicker(min(l.every, time.Minute))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := l.pass(ctx); err != nil && ctx.Err() == nil {
				l.log.Warn("lifecycle rules could not be carried out", "error", err)
			}
		}
	}
}

// pass looks at all buckets. What fails in one keeps no other from its turn.
func (l *Lifecycle) pass(ctx context.Context) error {
	buckets, err := l.h.store.Buckets(ctx)
	if err != nil {
		return err
	}
	for _, e := range buckets {
		if err := l.bucket(ctx, e.Name); err != nil && ctx.Err() == nil {
			l.log.Warn("lifecycle rules could not be carried out", "bucket", e.Name, "error", err)
		}
	}
	return ctx.Err()
}

// rulesOf returns the rules of a bucket that are in force.
func rulesOf(b *filer.Info) ([]lifecycleRule, error) {
	stored, ok := b.Xattr(xattrLifecycle)
	if !ok {
		return nil, nil
	}
	var c lifecycleConfiguration
	if err := xml.Unmarshal(stored, &c); err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "s3.lifecycle", b.Name, "%w", err)
	}
	return slices.DeleteFunc(c.Rules, func(r lifecycleRule) bool { return r.Status != "Enabled" }), nil
}

// bucket carries out the rules of a bucket, if it is time, and no other filer does.
func (l *Lifecycle) bucket(ctx context.Context, name string) error {
	b, err := l.h.bucketInfo(ctx, name)
	if err != nil {
		return err
	}
	rules, err := rulesOf(b)
	if err != nil || len(rules) == 0 {
		return err
	}
	system := b.Attr.Inode.Dataset().System()
	key := granary.LockKey{Inode: system, Space: granary.LockWhole, Owner: lifecycleLock}
	all := granary.LockRange{End: granary.LockEnd}
	switch err := l.h.store.Lock(ctx, granary.AcquireLock{LockKey: key, LockRange: all, Exclusive: true}); {
	case granary.IsKind(err, granary.KindWouldBlock):
		return nil
	case err != nil:
		return err
	}
	err = l.locked(ctx, b, rules, system)
	return cmp.Or(err, l.h.store.Unlock(context.WithoutCancel(ctx), granary.ReleaseLock{LockKey: key, LockRange: all}))
}

// lifecycleLock is who holds the lock, within the session of a filer.
const lifecycleLock = 0x6c696665

// progress is how far the work on a bucket has come; xattrProgress of its hidden directory keeps it.
type progress struct {
	began time.Time // of the pass
	after string    // the keys up to this one are done; "" at the end of the pass
	done  bool
}

const xattrProgress = xattrPrefix + "lifecycle-progress"

func (p progress) String() string {
	state := "at"
	if p.done {
		state = "done"
	}
	return strconv.FormatInt(p.began.UnixNano(), 10) + " " + state + " " + p.after
}

// parseProgress reads what String wrote; anything else is the beginning.
func parseProgress(text string) progress {
	parts := strings.SplitN(text, " ", 3)
	if len(parts) != 3 {
		return progress{done: true}
	}
	began, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return progress{done: true}
	}
	return progress{time.Unix(0, began), parts[2], parts[1] == "done"}
}

// locked is bucket, under the lock.
func (l *Lifecycle) locked(ctx context.Context, b *filer.Info, rules []lifecycleRule, system granary.InodeID) error {
	info, err := l.h.store.Stat(ctx, system, "", filer.StatOptions{Xattrs: true})
	if err != nil {
		return err
	}
	stored, _ := info.Xattr(xattrProgress)
	p := parseProgress(string(stored))
	if p.done {
		if l.now().Sub(p.began) < l.every {
			return nil
		}
		p = progress{began: l.now()}
	}
	keep := func(p progress) error {
		return l.h.store.SetXattr(ctx, granary.Cred{}, &granary.SetXattr{Inode: system, Xattr: granary.Xattr{Name: xattrProgress, Value: []byte(p.String())}})
	}
	if err := keep(p); err != nil {
		return err
	}
	if err := l.uploads(ctx, b, rules); err != nil {
		return err
	}
	w := &bucketWork{l: l, b: b, rules: rules, now: l.now(), keep: func(after string) error {
		return keep(progress{began: p.began, after: after})
	}}
	for _, prefix := range prefixesOf(rules) {
		if err := w.run(ctx, prefix, p.after); err != nil {
			return err
		}
	}
	if w.removed.Load()+w.moved.Load() > 0 {
		l.log.Info("lifecycle rules carried out", "bucket", b.Name, "removed", w.removed.Load(), "moved", w.moved.Load())
	}
	return keep(progress{began: p.began, done: true})
}

// prefixesOf returns the prefixes of the keys that rules are about, in order, none within another.
func prefixesOf(rules []lifecycleRule) []string {
	var all []string
	for i := range rules {
		if rules[i].Expiration != nil || rules[i].Noncurrent != nil || len(rules[i].Transitions)+len(rules[i].Moves) > 0 {
			all = append(all, rules[i].prefix())
		}
	}
	slices.Sort(all)
	var outer []string
	for _, p := range all {
		if n := len(outer); n == 0 || !strings.HasPrefix(p, outer[n-1]) {
			outer = append(outer, p)
		}
	}
	return outer
}

// past reports whether a number of days have passed since something happened: counted from the end of its day, as AWS does.
func (l *Lifecycle) past(since granary.Time, days int, now time.Time) bool {
	at := since.Std().Add(time.Duration(days) * l.day)
	midnight := at.Truncate(l.day)
	if midnight.Before(at) {
		midnight = midnight.Add(l.day)
	}
	return !now.Before(midnight)
}

// uploads aborts uploads that were begun too long ago.
func (l *Lifecycle) uploads(ctx context.Context, b *filer.Info, rules []lifecycleRule) error {
	for i := range rules {
		r := &rules[i]
		if r.Incomplete == nil {
			continue
		}
		found, err := l.h.uploads(ctx, b.Attr.Inode, r.prefix())
		if err != nil {
			return err
		}
		for _, m := range found {
			if !l.past(m.initiated, *r.Incomplete.Days, l.now()) {
				continue
			}
			if err := l.h.removeUpload(ctx, b.Attr.Inode, m); err != nil && !granary.IsKind(err, granary.KindNotFound) {
				return err
			}
		}
	}
	return nil
}

// removeJobs is an errgroup with a bound.
func removeJobs(ctx context.Context) (*errgroup.Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lifecycleWorkers)
	return group, ctx
}
