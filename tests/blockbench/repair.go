package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/measure"
)

const (
	pollEvery    = 20 * time.Millisecond
	repairWithin = 2 * time.Minute
)

// repair takes a disk away from a running server, and measures until all volumes are whole again: how long it took until the first
// shard was begun, and how fast they were made from then on. With files to read it reads them meanwhile, and before.
func (b *bench) repair(ctx context.Context) error {
	shards := filepath.Join(b.lose, "shards")
	lost, err := allocated(shards)
	if err != nil {
		return err
	}
	device, err := measure.DeviceOf(b.lose)
	if err != nil {
		return err
	}
	if err := b.await(ctx, b.idle); err != nil {
		return fmt.Errorf("other work is not done: %w", err)
	}
	r := b.startReader(ctx)
	defer r.stop()
	before, err := r.rate(ctx, b.each)
	if err != nil {
		return err
	}
	if err := os.Rename(shards, shards+".lost"); err != nil {
		return err
	}
	away := time.Now()
	if err := b.await(ctx, b.repairing); err != nil {
		return fmt.Errorf("no shard is repaired: %w", err)
	}
	noticed := time.Since(away)
	read, written, err := device.Carried()
	known := err == nil
	bytes := r.bytes.Load()
	cost, err := b.pids.Cost(func() error { return b.await(ctx, b.whole) })
	if err != nil {
		return err
	}
	during := float64(r.bytes.Load()-bytes) / cost.Took.Seconds()
	fmt.Printf("repair %s  of %d MB, begun after %.1f s\n", cost.Of(lost), lost/1e6, noticed.Seconds())
	if known {
		nowRead, nowWritten, err := device.Carried()
		if err != nil {
			return err
		}
		fmt.Printf("       the device read %d MB meanwhile, and wrote %d MB\n", (nowRead-read)/1e6, (nowWritten-written)/1e6)
	}
	if len(b.reads) > 0 {
		fmt.Printf("       readers had %.1f MB/s before, and %.1f MB/s meanwhile: %.0f %%\n", before/1e6, during/1e6, 100*during/before)
	}
	return r.stop()
}

// await returns when something is so.
func (b *bench) await(ctx context.Context, so func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, repairWithin)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := so(ctx); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tasks returns the work that is wanted.
func (b *bench) tasks(ctx context.Context) ([]granary.TaskStatus, error) {
	a, err := client.Ask[*granary.Tasks](ctx, b.c, &granary.ListTasks{})
	if err != nil {
		return nil, err
	}
	return a.Tasks, nil
}

// idle reports whether there is nothing to be done.
func (b *bench) idle(ctx context.Context) (bool, error) {
	tasks, err := b.tasks(ctx)
	return len(tasks) == 0, err
}

// repairing reports whether a repair is under way.
func (b *bench) repairing(ctx context.Context) (bool, error) {
	tasks, err := b.tasks(ctx)
	return slices.ContainsFunc(tasks, func(t granary.TaskStatus) bool { return t.Task.Kind == granary.TaskRepair && t.Worker != "" }), err
}

// whole reports whether all volumes have all of their shards.
func (b *bench) whole(ctx context.Context) (bool, error) {
	a, err := client.Ask[*granary.Durability](ctx, b.c, &granary.GetDurability{})
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(a.Volumes, func(v granary.VolumeDurability) bool { return v.LiveBytes > 0 && v.Losses < v.ParityShards }), nil
}

// allocated returns how many bytes the files of a directory take on the disk.
func allocated(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("the system does not tell how much room a file takes")
		}
		const blockSize = 512
		bytes += st.Blocks * blockSize
		return nil
	})
	return bytes, err
}

// reader reads files, one after the other and all over again, until it is stopped.
type reader struct {
	bytes  atomic.Uint64
	cancel context.CancelFunc
	over   sync.WaitGroup
	err    error // once it is over
}

// startReader begins to read, if there is anything to be read.
func (b *bench) startReader(ctx context.Context) *reader {
	r := &reader{}
	ctx, r.cancel = context.WithCancel(ctx)
	if len(b.reads) == 0 {
		return r
	}
	r.over.Go(func() {
		for i := 0; ctx.Err() == nil && r.err == nil; i++ {
			all, err := b.layouts(ctx, b.reads[i%len(b.reads)])
			if err == nil {
				err = b.readThrough(ctx, all, func(n uint64) { r.bytes.Add(n) })
			}
			if ctx.Err() == nil {
				r.err = err
			}
		}
	})
	return r
}

// rate returns how many bytes a second are read in a while.
func (r *reader) rate(ctx context.Context, while time.Duration) (float64, error) {
	began, bytes := time.Now(), r.bytes.Load()
	select {
	case <-time.After(while):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return float64(r.bytes.Load()-bytes) / time.Since(began).Seconds(), nil
}

// stop ends the reading, and returns why it has failed, if it has.
func (r *reader) stop() error {
	r.cancel()
	r.over.Wait()
	return r.err
}
