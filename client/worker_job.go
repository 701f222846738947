package client

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/dsorchard/granary"
)

// job is a task that a worker has.
type job struct {
	task        granary.Task
	cancel      context.CancelCauseFunc
	done, total atomic.Uint64          // bytes
	after       atomic.Pointer[string] // of a sweep: how far it is

	// Guarded by Worker.mu.
	dropped bool  // the leader does not want it any more: it is not reported
	ended   bool  // its goroutine is over …
	err     error // … for this reason, nil if it is done
}

// report says how far the job is. Worker.mu is held.
func (j *job) report() granary.TaskReport {
	r := granary.TaskReport{Task: j.task, Done: j.done.Load(), Total: j.total.Load(), Ended: j.ended}
	if after := j.after.Load(); after != nil {
		r.After = *after
	}
	if j.err != nil {
		text := j.err.Error()
		r.Error = strings.ToValidUTF8(text[:min(len(text), reasonMax)], "")
	}
	return r
}

// drop stops the job. Worker.mu is held.
func (j *job) drop() {
	j.dropped = true
	j.cancel(granary.Errorf(granary.KindCanceled, j.task.Kind.String(), "", "the leader does not want it any more"))
}

// begin starts a task. Worker.mu is held.
func (w *Worker) begin(ctx context.Context, t granary.Task) {
	j := &job{task: t}
	ctx, j.cancel = context.WithCancelCause(ctx)
	w.jobs[t.ID] = j
	w.log.Info("task begun", "task", t.ID, "kind", t.Kind, "volume", t.Volume, "shard", t.Shard, "because", t.Reason)
	w.wg.Go(func() {
		err := w.do(ctx, j)
		if err != nil && ctx.Err() != nil {
			err = granary.Errorf(granary.KindCanceled, t.Kind.String(), "", "%w", context.Cause(ctx))
		}
		j.cancel(nil)
		w.end(j, err)
	})
}

// end notes that a job is over, and has it reported.
func (w *Worker) end(j *job, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.ended, j.err = true, err
	switch {
	case j.dropped:
		delete(w.jobs, j.task.ID)
	case err == nil:
		w.log.Info("task done", "task", j.task.ID, "kind", j.task.Kind, "volume", j.task.Volume, "shard", j.task.Shard)
	case !granary.IsKind(err, granary.KindCanceled):
		w.log.Warn("task failed", "task", j.task.ID, "kind", j.task.Kind, "volume", j.task.Volume, "shard", j.task.Shard, "err", err)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// do does a task. That it was done, it says only if the state says so.
func (w *Worker) do(ctx context.Context, j *job) error {
	switch j.task.Kind {
	case granary.TaskRepair, granary.TaskCopy:
		return w.makeShard(ctx, j)
	case granary.TaskMove:
		return w.moveVolume(ctx, j)
	case granary.TaskSweep:
		return w.sweep(ctx, j)
	case granary.TaskRewrite:
		return w.rewriteFile(ctx, j)
	}
	return granary.Errorf(granary.KindNotSupported, "work", j.task.Kind.String(), "this worker cannot do it")
}
