package notify

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// lockOwner is who holds the lock of a bucket, within the session of a filer.
const lockOwner = 0x6e6f7469

// lookEvery is how often a runner looks at what is set up, and whether its locks are still held.
const lookEvery = time.Second

// errNotOwned ends the work on a bucket whose lock is lost.
var errNotOwned = errors.New("the lock on the bucket ended with the session")

// RunnerOptions configures a Runner.
type RunnerOptions struct {
	Client *client.Client
	Region string // what events say; default us-east-1
	Log    *slog.Logger
}

// Runner delivers events in the background. Each filer has one.
type Runner struct {
	c      cluster
	log    *slog.Logger
	now    func() time.Time
	dial   dialer
	region string
	m      *metrics

	stop context.CancelFunc
	done sync.WaitGroup
}

// NewRunner starts the work. Close ends it.
func NewRunner(o RunnerOptions) (*Runner, error) {
	if o.Client == nil {
		return nil, granary.Errorf(granary.KindInvalid, "notify.runner", "", "RunnerOptions.Client is nil")
	}
	return newRunner(clientCluster{o.Client}, o, dial), nil
}

func newRunner(c cluster, o RunnerOptions, d dialer) *Runner {
	r := &Runner{c: c, log: o.Log, now: time.Now, dial: d, region: cmp.Or(o.Region, "us-east-1"), m: newMetrics()}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background()) // the background belongs to no caller: it ends with Close
	r.stop = stop
	r.done.Go(func() { r.run(ctx) })
	return r
}

// Metrics returns what is counted.
func (r *Runner) Metrics() prometheus.Collector { return r.m }

// Close ends the work, and waits for it. What was sent and not acknowledged is sent again by who goes on.
func (r *Runner) Close() error {
	r.stop()
	r.done.Wait()
	return nil
}

// job is the work on one bucket.
type job struct {
	work work
	stop context.CancelFunc
	done chan struct{}
}

// work is what is to be done for a bucket.
type work struct {
	config  Configuration
	targets map[string]Target // those of the configuration that there are
}

// run has a job for each bucket that is configured.
func (r *Runner) run(ctx context.Context) {
	jobs := map[granary.InodeID]*job{}
	defer func() {
		for id := range jobs {
			end(jobs, id)
		}
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var seen granary.Index
	for {
		set, err := readRegistry(ctx, r.c)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.log.Warn("it is not known what to notify of", "error", err)
		case set.version != seen:
			r.arrange(ctx, jobs, set)
			seen = set.version
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// arrange ends jobs that are not wanted any more, or otherwise, and begins those that are.
func (r *Runner) arrange(ctx context.Context, jobs map[granary.InodeID]*job, set *registry) {
	for id, j := range jobs {
		if !reflect.DeepEqual(j.work, set.workOn(id)) {
			end(jobs, id)
		}
	}
	for _, id := range set.roots() {
		if jobs[id] != nil {
			continue
		}
		jctx, stop := context.WithCancel(ctx)
		j := &job{work: set.workOn(id), stop: stop, done: make(chan struct{})}
		jobs[id] = j
		r.done.Go(func() {
			defer close(j.done)
			r.bucket(jctx, id, j.work)
		})
	}
}

func (r *registry) workOn(root granary.InodeID) work {
	w := work{config: r.buckets[root], targets: map[string]Target{}}
	for _, name := range w.config.targets() {
		if t, there := r.targets[name]; there {
			w.targets[name] = t
		}
	}
	return w
}

func end(jobs map[granary.InodeID]*job, id granary.InodeID) {
	jobs[id].stop()
	<-jobs[id].done
	delete(jobs, id)
}

// bucket delivers the events of a bucket whenever this filer has its lock.
func (r *Runner) bucket(ctx context.Context, root granary.InodeID, w work) {
	key := granary.LockKey{Inode: root.Dataset().System(), Space: granary.LockRanges, Owner: lockOwner}
	all := granary.LockRange{End: granary.LockEnd}
	for failures := 0; ctx.Err() == nil; {
		session, err := r.c.lock(ctx, granary.AcquireLock{LockKey: key, LockRange: all, Exclusive: true, Wait: true})
		if err == nil {
			err = r.locked(ctx, root, w, session)
			err = errors.Join(err, r.c.unlock(context.WithoutCancel(ctx), granary.ReleaseLock{LockKey: key, LockRange: all}))
		}
		switch {
		case ctx.Err() != nil:
			return
		case granary.IsKind(err, granary.KindNotFound) && r.forget(ctx, root, w):
			return
		case errors.Is(err, errNotOwned):
			failures = 0
		default:
			failures++
			r.log.Warn("a bucket's notifications are delayed", "bucket", w.config.Bucket, "error", err)
		}
		pause(ctx, backoff(max(failures, 1)))
	}
}

// forget takes away the configuration of a bucket, and reports whether it is gone.
func (r *Runner) forget(ctx context.Context, root granary.InodeID, w work) bool {
	if _, err := r.c.find(ctx, root); !granary.IsKind(err, granary.KindNotFound) {
		return false
	}
	err := r.c.drop(ctx, home(), bucketAttribute(root))
	if err != nil {
		r.log.Warn("the configuration of a bucket that is gone stays", "bucket", w.config.Bucket, "error", err)
	}
	return err == nil
}

// locked delivers the events of a bucket for as long as its lock is held: to each target for itself.
func (r *Runner) locked(ctx context.Context, root granary.InodeID, w work, session granary.SessionID) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	owned := func() bool { return r.c.session() == session }
	var workers sync.WaitGroup
	for name, target := range w.targets {
		var rules []Rule
		for _, rule := range w.config.Rules {
			if rule.Target == name {
				rules = append(rules, rule)
			}
		}
		one := &worker{c: r.c, log: r.log, now: r.now, dial: r.dial, m: r.m, region: r.region, owned: owned,
			root: root, target: target, rules: rules, bucket: w.config.Bucket}
		workers.Go(func() {
			if err := one.run(ctx); err != nil {
				stop(err)
			}
		})
	}
	workers.Go(func() {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if !owned() {
					stop(errNotOwned)
				}
			}
		}
	})
	workers.Wait()
	return context.Cause(ctx)
}
