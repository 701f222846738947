package client

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

const (
	workEvery  = granary.WorkTTL / 3 // between two reports of a worker that takes no more tasks
	askEvery   = time.Second         // between two reports of one that would
	workPause  = 500 * time.Millisecond
	partWithin = time.Second // for telling the leader that a worker ends
	reasonMax  = 1000        // bytes of an error in a report

	// workMemory bounds the bytes of shards that all repairs and copies of a worker hold, moveMemory those of blocks that its
	// moves and sweeps hold: of 4+2 a row that is flushed, one that gathers, and what comes next.
	workMemory = 32 << 20
	moveMemory = 48 << 20
)

// WorkerShards is what a Worker needs of volume servers besides what every client does. volume.Client is one.
type WorkerShards interface {
	Shards
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
// their policy. A task that is interrupted at any moment has done no harm: what counts is the op at its end, and what lies on
// disks without it is dropped, or dead space.
type Worker struct {
	c    *Client
	o    WorkerOptions
	log  *slog.Logger
	name string

	memory  *semaphore.Weighted // of repairs and copies
	repairs pace                // bytes of shards made
	moving  *semaphore.Weighted // memory of moves and sweeps
	moves   pace                // bytes of blocks read to be stored anew

	movers   atomic.Int32 // moves and sweeps under way
	unsealed atomic.Bool  // they may have left open volumes
	rested   time.Time    // since when there are none, as Run has noticed

	wake chan struct{} // a task has ended
	wg   sync.WaitGroup

	mu   sync.Mutex
	jobs map[granary.TaskID]*job
}

// NewWorker returns a worker that has not begun yet. The client must stay open until Run has returned.
func NewWorker(c *Client, o WorkerOptions) *Worker {
	if o.Tasks == 0 {
		o.Tasks = 2
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Worker{
		c: c, o: o, log: o.Log, name: c.o.Name + " " + rand.Text()[:12],
		memory: semaphore.NewWeighted(workMemory), moving: semaphore.NewWeighted(moveMemory),
		wake: make(chan struct{}, 1), jobs: map[granary.TaskID]*job{},
	}
}

// Run works until ctx ends, and then returns nil. By then everything that it started has ended.
func (w *Worker) Run(ctx context.Context) error {
	defer w.part(ctx)
	defer w.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pause := workPause
	for ctx.Err() == nil {
		reply, told, err := w.report(ctx)
		switch {
		case err == nil:
			w.obey(ctx, reply, told)
			pause = workPause
			w.rest()
			w.wait(ctx, w.every())
		case granary.IsKind(err, granary.KindNotSupported): // it is of an earlier release
			w.wait(ctx, workEvery)
		case ctx.Err() == nil:
			w.log.Warn("no work from the leader", "worker", w.name, "err", err)
			sleep(ctx, pause)
			pause = min(2*pause, workEvery)
		}
	}
	return nil
}

// every is how long a worker waits before it reports again, if nothing happens.
func (w *Worker) every() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.jobs) < w.o.Tasks {
		return askEvery
	}
	return workEvery
}

// wait returns when a task has ended, or after d.
func (w *Worker) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.wake:
	case <-t.C:
	case <-ctx.Done():
	}
}

// rest has the volumes sealed that moves went to, when there have been no moves for a while: until then they may share them.
func (w *Worker) rest() {
	switch {
	case w.movers.Load() > 0 || !w.unsealed.Load():
		w.rested = time.Time{}
	case w.rested.IsZero():
		w.rested = time.Now()
	case time.Since(w.rested) >= restAfter:
		w.unsealed.Store(false)
		w.c.sealIdle()
	}
}

// report tells the leader how far all tasks are, whoever leads by now, and asks for more. It returns the answer, and the jobs
// whose end has been told.
func (w *Worker) report(ctx context.Context) (reply *granary.WorkReply, told []*job, err error) {
	req, told := w.request()
	err = w.c.lead(ctx, "work", func(ctx context.Context, m wire.Master) (err error) {
		reply, err = m.Work(ctx, req)
		return err
	})
	return reply, told, err
}

func (w *Worker) request() (req *granary.WorkRequest, ended []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	busy := 0
	req = &granary.WorkRequest{Worker: w.name, Server: w.o.Server}
	for _, j := range w.jobs {
		if j.ended {
			ended = append(ended, j)
		} else {
			busy++
		}
		if !j.dropped {
			req.Reports = append(req.Reports, j.report())
		}
	}
	req.Room = max(0, w.o.Tasks-busy)
	return req, ended
}

// obey does what the leader says: it forgets what was told, stops what is dropped, and begins what is new.
func (w *Worker) obey(ctx context.Context, reply *granary.WorkReply, told []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range told {
		delete(w.jobs, j.task.ID)
	}
	for _, id := range reply.Drop {
		if j := w.jobs[id]; j != nil && !j.dropped {
			j.drop()
			if j.ended {
				delete(w.jobs, id)
			}
			w.log.Info("task dropped", "task", id, "kind", j.task.Kind, "volume", j.task.Volume)
		}
	}
	for _, t := range reply.Tasks {
		if w.jobs[t.ID] == nil {
			w.begin(ctx, t)
		}
	}
}

// part tells the leader, if it can be had at once, that all tasks are free for others.
func (w *Worker) part(ctx context.Context) {
	req, _ := w.request()
	req.Room = 0
	if len(req.Reports) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partWithin)
	defer cancel()
	err := w.c.lead(ctx, "work", func(ctx context.Context, m wire.Master) error {
		_, err := m.Work(ctx, req)
		return err
	})
	if err != nil {
		w.log.Info("the leader will notice that a worker has ended", "worker", w.name, "err", err)
	}
}
