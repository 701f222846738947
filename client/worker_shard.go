package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

const (
	// spanSize is how much of a shard is read, rebuilt and verified at once: with the pages at both ends of which it has only a
	// part, a buffer of 1 MiB. Where a block is longer, it is that block.
	spanSize = 1<<20 - 2*pageSize
	// spansMax bounds the spans of one shard that are under way, or wait for the ones before them.
	spansMax = 8

	// A target that takes nothing for buildStall, or does not end for buildEnd after it got all, is given up: the leader
	// chooses again.
	buildStall = time.Minute
	buildEnd   = 5 * time.Minute

	placeTries = 5 // of an op whose answer gets lost with its session
)

// span is a range of a shard's stream, and the live blocks in it: each lies in one span whole.
type span struct {
	off, length uint64
	blocks      []granary.BlockInfo
}

// pages returns the whole pages of a stream that a span has a part of. Disks are read by pages, wherever blocks begin.
func (s span) pages(streamEnd uint64) span {
	from := s.off / pageSize * pageSize
	to := max(min((s.off+s.length+pageSize-1)/pageSize*pageSize, streamEnd), s.off+s.length)
	return span{from, to - from, s.blocks}
}

// made is a span on its way to the target.
type made struct {
	skip, length uint64        // where the span is in data
	held         int64         // of Worker.memory, until it is written
	data         []byte        // whole pages
	ready        chan struct{} // closed when data is set
}

// maker makes one shard of a volume anew on its target.
type maker struct {
	w    *Worker
	j    *job
	v    *granary.Volume
	from *sources
	held atomic.Int64 // of Worker.memory
}

// makeShard does a TaskRepair or a TaskCopy: it streams the shard to the target, which makes it durable, and then has the
// state say that it is there. Nothing reads the copy before, and a copy that the state does not come to know is dropped.
func (w *Worker) makeShard(ctx context.Context, j *job) error {
	t := &j.task
	v, err := w.volume(ctx, t.Volume)
	if err != nil {
		return err
	}
	if done, err := shardPlaced(v, t); done || err != nil {
		return err
	}
	from, err := newSources(w, v, int(t.Shard), t.Kind == granary.TaskCopy)
	if err != nil {
		return err
	}
	j.total.Store(v.Watermark)
	m := &maker{w: w, j: j, v: v, from: from}
	defer w.accuse(ctx, from)
	for {
		j.done.Store(0)
		err := m.build(ctx)
		switch {
		case errors.Is(err, errAnew): // as often as there are liars, at most
		case err != nil:
			return err
		default:
			return w.place(ctx, t)
		}
	}
}

// accuse has the state say of shards that turned out to hold other bytes than were written that they are damaged: their servers do not
// know it, and nobody else would come to. Those that have been made anew meanwhile are not meant, and so neither is the shard that a
// repair made.
func (w *Worker) accuse(ctx context.Context, s *sources) {
	s.mu.Lock()
	liars := slices.Clone(s.liars)
	s.mu.Unlock()
	if !slices.Contains(liars, true) || ctx.Err() != nil {
		return
	}
	v, err := w.volume(ctx, s.v.ID)
	if err == nil {
		op := &granary.DamageShards{Volume: v.ID, Epoch: s.v.Epoch}
		for i, lies := range liars {
			if lies && (i != s.shard || s.copy) && i < len(v.Shards) && v.Shards[i].Disk == s.v.Shards[i].Disk && !v.Shards[i].Lost {
				op.Shards |= 1 << i
			}
		}
		if op.Shards != 0 {
			_, err = w.c.Do(ctx, granary.Cred{}, op)
		}
	}
	if err != nil && !granary.IsKind(err, granary.KindNotFound) && !granary.IsKind(err, granary.KindStale) {
		w.log.Warn("shards that are wrong were not reported as damaged", "volume", s.v.ID, "err", err)
	}
}

// volume asks for a volume as it is now.
func (w *Worker) volume(ctx context.Context, id granary.VolumeID) (*granary.Volume, error) {
	is, err := Ask[*granary.VolumeIs](ctx, w.c, &granary.GetVolume{Volume: id})
	if err != nil {
		return nil, err
	}
	v := &is.Volume
	if v.DataShards < 1 || v.ParityShards < 0 || len(v.Shards) != v.DataShards+v.ParityShards {
		return nil, granary.Errorf(granary.KindInternal, "work", volumeName(id), "%d shards of %d+%d", len(v.Shards), v.DataShards, v.ParityShards)
	}
	return v, nil
}

// shardPlaced reports whether a shard is where a task should bring it. KindStale: the task is not wanted any more.
func shardPlaced(v *granary.Volume, t *granary.Task) (bool, error) {
	stale := func(why string, args ...any) error {
		return granary.Errorf(granary.KindStale, t.Kind.String(), shardName(t), why, args...)
	}
	if int(t.Shard) >= len(v.Shards) {
		return false, stale("the volume has %d shards", len(v.Shards))
	}
	s := &v.Shards[t.Shard]
	switch {
	case s.Disk == t.Target.Disk && s.Sealed && !s.Lost && s.Target == "":
		return true, nil
	case v.Epoch != t.Epoch:
		return false, stale("the volume is at epoch %d, not %d", v.Epoch, t.Epoch)
	case v.State != granary.VolumeSealed && v.State != granary.VolumeSealing:
		return false, stale("the volume is %s", v.State)
	case s.Target != t.Target.Disk:
		return false, stale("its target is %q, not %q", s.Target, t.Target.Disk)
	}
	return false, nil
}

// build streams the shard to its target. It returns nil when the target has made it durable.
func (m *maker) build(ctx context.Context) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	late := time.AfterFunc(buildStall, func() {
		giveUp(granary.Errorf(granary.KindUnavailable, "build", shardName(&m.j.task), "%s does not go on", m.j.task.Target.Addr))
	})
	defer late.Stop()
	r, pipe := io.Pipe()
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })()

	queue := make(chan *made, spansMax)
	group.Go(func() error {
		defer close(queue)
		return m.eachSpan(ctx, func(s span) error { return m.begin(ctx, group, queue, s) })
	})
	group.Go(func() error {
		if err := m.feed(ctx, queue, pipe, late); err != nil {
			return err // what is in the pipe ends with ctx
		}
		return pipe.Close()
	})
	group.Go(func() error {
		t := &m.j.task
		err := m.w.o.Shards.Build(ctx, t.Target.Addr, &granary.Build{
			Ref:   granary.ShardRef{Disk: t.Target.Disk, Volume: m.v.ID, Shard: t.Shard},
			Epoch: m.v.Epoch, DataShards: m.v.DataShards, ParityShards: m.v.ParityShards, Length: m.v.Watermark,
		}, r)
		if err == nil {
			r.CloseWithError(io.ErrClosedPipe) // nobody reads any more; after an error ctx ends, and the pipe with it
		}
		return err
	})
	err := group.Wait()
	m.w.memory.Release(m.held.Swap(0))
	if err != nil {
		return context.Cause(ctx) // the first error, or why all was given up
	}
	return nil
}

// begin has a span made, and puts it into the queue of those to be written. It waits until there is memory for it.
func (m *maker) begin(ctx context.Context, group *errgroup.Group, queue chan<- *made, s span) error {
	if err := m.w.repairs.take(ctx, int(s.length), m.j.task.Rate); err != nil {
		return err
	}
	pages := s.pages(m.v.Watermark)
	work, rest := m.from.memory(pages), heldBy(pages.length)
	if err := m.w.memory.Acquire(ctx, work+rest); err != nil {
		return ended(ctx, "build", false)
	}
	m.held.Add(work + rest)
	p := &made{skip: s.off - pages.off, length: s.length, held: rest, ready: make(chan struct{})}
	select {
	case queue <- p:
	case <-ctx.Done():
		return ended(ctx, "build", false)
	}
	group.Go(func() (err error) {
		p.data, err = m.from.read(ctx, pages)
		m.release(work)
		if err == nil {
			close(p.ready)
		}
		return err
	})
	return nil
}

// heldBy is what a buffer counts for in Worker.memory: one that is longer than all of it must be had too.
func heldBy(length uint64) int64 { return int64(min(length, workMemory/2)) }

func (m *maker) release(n int64) {
	m.held.Add(-n)
	m.w.memory.Release(n)
}

// feed writes spans to the target in their order, and has it given up if it is late.
func (m *maker) feed(ctx context.Context, queue <-chan *made, to io.Writer, late *time.Timer) error {
	for p := range queue {
		late.Stop() // the target waits for us
		select {
		case <-p.ready:
		case <-ctx.Done():
			return ended(ctx, "build", false)
		}
		late.Reset(buildStall)
		n, err := to.Write(p.data[p.skip:][:p.length])
		if err != nil {
			return granary.Errorf(granary.KindUnavailable, "build", shardName(&m.j.task), "%w", err)
		}
		m.w.c.bufs.put(p.data)
		m.release(p.held)
		m.j.done.Add(uint64(n))
	}
	late.Reset(buildEnd)
	if ctx.Err() != nil {
		return ended(ctx, "build", false)
	}
	return nil
}

// eachSpan calls fn with all of the shard, in order: for a data shard with its live blocks.
func (m *maker) eachSpan(ctx context.Context, fn func(span) error) error {
	shard := m.j.task.Shard
	c := spanner{to: m.v.Watermark, fn: fn}
	if int(shard) < m.v.DataShards {
		if err := m.w.eachBlock(ctx, m.v.ID, shard, c.add); err != nil {
			return err
		}
	}
	return c.finish()
}

// place has the state say that the shard is there. If the answer is lost with the session, the volume tells.
func (w *Worker) place(ctx context.Context, t *granary.Task) error {
	op := &granary.PlaceShard{Volume: t.Volume, Epoch: t.Epoch, Shard: t.Shard, To: t.Target.Disk}
	for try := 1; ; try++ {
		_, err := w.c.Do(ctx, granary.Cred{}, op)
		switch granary.KindOf(err) {
		case granary.KindNone:
			return nil
		case granary.KindIndeterminate, granary.KindExpired, granary.KindStale:
		default:
			return err
		}
		if ctx.Err() != nil || try == placeTries {
			return err
		}
		v, verr := w.volume(ctx, t.Volume)
		if verr != nil {
			return verr
		}
		if done, serr := shardPlaced(v, t); done || serr != nil {
			return serr
		}
	}
}

func volumeName(id granary.VolumeID) string { return fmt.Sprintf("volume %d", id) }

func shardName(t *granary.Task) string {
	return granary.ShardRef{Disk: t.Target.Disk, Volume: t.Volume, Shard: t.Shard}.String()
}
