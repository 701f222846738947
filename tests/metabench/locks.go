package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/measure"
)

// locks measures locks on paths: each caller's own, taken and given up; one that all hand on to each other, and want again at once;
// and the handing over alone.
func locks(ctx context.Context, s settings, c *client.Client, callers int) error {
	root, err := mkdir(ctx, c, granary.RootInode, unique("locks"))
	if err != nil {
		return err
	}
	take := func(ctx context.Context, name string, wait bool) error {
		g, err := c.AcquirePaths(ctx, granary.Cred{}, granary.AcquirePaths{
			Paths: []granary.LockPath{{Base: root, Path: name}}, Exclusive: true, Wait: wait})
		if err != nil {
			return err
		}
		return c.ReleasePaths(ctx, granary.Cred{}, granary.ReleasePaths{Token: g.Token})
	}
	_, err = bench(ctx, s, "granary", "lock and release", callers, opsMax, func(ctx context.Context, i int) error {
		return take(ctx, fmt.Sprint(i), false)
	})
	if err != nil {
		return err
	}
	_, err = bench(ctx, s, "granary", "lock handed on", callers, opsMax, func(ctx context.Context, _ int) error {
		return take(ctx, "one", true)
	})
	if err != nil {
		return err
	}
	return handOver(ctx, s, c, root, callers)
}

// handOver measures how long it takes from the call that gives a lock up to the return of the call that waited longest for it, with so
// many who wait, each once. What it costs has the asking in it.
func handOver(ctx context.Context, s settings, c *client.Client, root granary.InodeID, waiters int) error {
	acquire := granary.AcquirePaths{Paths: []granary.LockPath{{Base: root, Path: "over"}}, Exclusive: true, Wait: true}
	total := measure.Sample{}
	for began := time.Now(); time.Since(began) < s.each; {
		grant, err := c.AcquirePaths(ctx, granary.Cred{}, acquire)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		var given time.Time // when the lock was last given up
		var took []time.Duration
		errs := make([]error, waiters)
		var waiting sync.WaitGroup
		cost, err := s.pids.Cost(func() error {
			for w := range waiters {
				waiting.Go(func() {
					grant, err := c.AcquirePaths(ctx, granary.Cred{}, acquire)
					if err != nil {
						errs[w] = err
						return
					}
					mu.Lock()
					took = append(took, time.Since(given))
					given = time.Now()
					mu.Unlock()
					errs[w] = c.ReleasePaths(ctx, granary.Cred{}, granary.ReleasePaths{Token: grant.Token})
				})
			}
			queued := awaitQueue(ctx, c, waiters+1)
			mu.Lock()
			given = time.Now()
			mu.Unlock()
			err := c.ReleasePaths(ctx, granary.Cred{}, granary.ReleasePaths{Token: grant.Token})
			waiting.Wait()
			return errors.Join(append(errs, queued, err)...)
		})
		if err != nil {
			return err
		}
		total.CPU += cost.Total()
		for _, t := range took {
			total.Took += t
		}
		total.Latencies = append(total.Latencies, took...)
	}
	slices.Sort(total.Latencies)
	row(s, "granary", "lock handed over", waiters, &total)
	return nil
}

// awaitQueue waits until there are so many locks and requests.
func awaitQueue(ctx context.Context, c *client.Client, count int) error {
	for {
		locks, err := c.PathLocks(ctx)
		if err != nil || len(locks) >= count {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
