package fsck

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/block"
)

// Cluster is what a check needs of a client. *client.Client is one; its cache should be small, as nothing is read twice.
type Cluster interface {
	Query(ctx context.Context, q granary.Query) (granary.Answer, error)
	Do(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, error)
	ReadLayout(ctx context.Context, l *granary.Layout, p []byte, off uint64) error
}

// Shards is what it needs of volume servers. *volume.Client is one.
type Shards interface {
	List(ctx context.Context, addr string, disk granary.DiskID) ([]granary.ShardInfo, error)
	ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
	ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
}

// Options says what is checked.
type Options struct {
	Cluster Cluster
	Shards  Shards
	Data    bool // read all blocks, and all of sealed volumes
	Refs    bool // count references: walks all files
	Paths   bool // name the files that are hit: walks all files if any block is lost
	Log     *slog.Logger
	// Progress, if set, is told how far the check is, often, by one goroutine at a time.
	Progress func(Progress)
}

// Progress is how far a check is.
type Progress struct {
	Phase string // "shards", "data", "files", "repair"
	Done  uint64 // shards; bytes; files; shards rebuilt
	Total uint64 // 0 while that is not known
}

// Check is one check of a cluster. It runs once.
type Check struct {
	o      Options
	codec  *block.Codec
	codes  erasure.Cache
	stripe uint64 // bytes of each shard that are read at once

	mu     sync.Mutex
	report Report
	known  map[shardKey]*ShardFault
	done   uint64 // of the phase
	total  uint64
	phase  string

	lost map[granary.BlockID]int // index in report.Lost
}

// shardKey names a shard of a volume.
type shardKey struct {
	volume granary.VolumeID
	shard  int
}

// New returns a check that has not begun.
func New(o Options) *Check {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Check{
		o: o, codec: block.NewCodec(), stripe: stripeSize, known: map[shardKey]*ShardFault{},
		lost: map[granary.BlockID]int{},
	}
}

// Run checks, and reports what it found. An error says that the check could not be completed.
func (c *Check) Run(ctx context.Context) (*Report, error) {
	if err := c.checkShards(ctx); err != nil {
		return nil, err
	}
	if err := c.checkVolumes(ctx); err != nil {
		return nil, err
	}
	if c.o.Refs || c.o.Paths && len(c.report.Lost) > 0 {
		if err := c.checkFiles(ctx); err != nil {
			return nil, err
		}
	}
	return c.finish(), nil
}

// finish returns what was found, in order.
func (c *Check) finish() *Report {
	c.report.Faults = c.report.Faults[:0]
	for _, f := range c.known {
		c.report.Faults = append(c.report.Faults, *f)
	}
	c.report.sort()
	return &c.report
}

// begin names the phase.
func (c *Check) begin(phase string, total uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase, c.done, c.total = phase, 0, total
	c.show()
}

// step notes that so much more is done.
func (c *Check) step(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	c.show()
}

func (c *Check) show() {
	if c.o.Progress != nil {
		c.o.Progress(Progress{c.phase, c.done, c.total})
	}
}

// ask is Query with the answer's type.
func ask[A granary.Answer](ctx context.Context, c *Check, q granary.Query) (A, error) {
	var none A
	a, err := c.o.Cluster.Query(ctx, q)
	if err != nil {
		return none, err
	}
	answer, ok := a.(A)
	if !ok {
		return none, granary.Errorf(granary.KindInternal, "fsck", "", "a %T was answered with a %T", q, a)
	}
	return answer, nil
}

// volume reads a volume as it is now; nil if there is none any more.
func (c *Check) volume(ctx context.Context, id granary.VolumeID) (*granary.Volume, error) {
	a, err := ask[*granary.VolumeIs](ctx, c, &granary.GetVolume{Volume: id})
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &a.Volume, nil
}

// eachVolume calls fn with all volumes, those that come to be meanwhile too.
func (c *Check) eachVolume(ctx context.Context, fn func(*granary.Volume) error) error {
	for q := (&granary.ListVolumes{}); ; {
		page, err := ask[*granary.Volumes](ctx, c, q)
		if err != nil {
			return err
		}
		for i := range page.Volumes {
			v := &page.Volumes[i]
			if v.DataShards < 1 || v.ParityShards < 0 || len(v.Shards) != v.DataShards+v.ParityShards {
				return granary.Errorf(granary.KindInternal, "fsck", volumeName(v.ID), "%d shards of %d+%d", len(v.Shards), v.DataShards, v.ParityShards)
			}
			if err := fn(v); err != nil {
				return err
			}
			q.After = v.ID
		}
		if !page.More || len(page.Volumes) == 0 {
			return nil
		}
	}
}

// eachBlock calls fn with the live blocks of a volume from a place on, in order, until it returns false.
func (c *Check) eachBlock(ctx context.Context, id granary.VolumeID, shard uint8, from uint64, fn func(*granary.StoredBlock) (bool, error)) error {
	for q := (&granary.ListBlocks{Volume: id, Shard: shard, From: from}); ; {
		page, err := ask[*granary.Blocks](ctx, c, q)
		switch {
		case granary.IsKind(err, granary.KindNotFound):
			return nil // it went with its last block
		case err != nil:
			return err
		}
		for i := range page.Blocks {
			b := &page.Blocks[i]
			if more, err := fn(b); err != nil || !more {
				return err
			}
			q.Shard, q.From = b.Block.Location.Shard, b.Block.Location.Offset+1
		}
		if !page.More || len(page.Blocks) == 0 {
			return nil
		}
	}
}

func volumeName(id granary.VolumeID) string { return fmt.Sprintf("volume %d", id) }
