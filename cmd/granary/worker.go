package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	workersMax      = 64
	workerCache     = 1 << 20         // bytes: maintenance reads nothing twice
	workerOpenPause = 2 * time.Second // between two searches for a cluster to work for
)

// startWorker does maintenance beside a volume server until the process stops: so many tasks at once. The masters need not
// be there yet.
func (p *process) startWorker(server granary.ServerID, tasks int, shards client.WorkerShards, o client.Options) {
	if tasks == 0 {
		return
	}
	o.Shards, o.Name, o.CacheBytes = shards, sessionName("worker"), workerCache
	ctx, cancel := context.WithCancel(context.Background())
	p.goServe("worker", func() error {
		return work(ctx, o, client.WorkerOptions{Server: server, Shards: shards, Tasks: tasks, Log: p.log}, p.log)
	})
	p.onStop(func(context.Context) error { cancel(); return nil })
}

// work does maintenance for the cluster of o until ctx ends.
func work(ctx context.Context, o client.Options, w client.WorkerOptions, log *slog.Logger) error {
	for {
		c, err := client.Open(ctx, o)
		if err == nil {
			return errors.Join(client.NewWorker(c, w).Run(ctx), c.Close())
		}
		if ctx.Err() != nil {
			return nil
		}
		log.Warn("no maintenance is done yet", "err", err)
		select {
		case <-time.After(workerOpenPause):
		case <-ctx.Done():
			return nil
		}
	}
}
