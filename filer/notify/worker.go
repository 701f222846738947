package notify

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	batchMax    = 256                    // messages that are handed to a sender at once
	saveEvery   = 250 * time.Millisecond // at most so long a cursor lags behind what was acknowledged
	saveIdle    = time.Minute            // after that a cursor is noted that moved over what nobody wants
	saveFailing = time.Minute            // after that the state of a target that is down is noted again
	backoffMin  = 100 * time.Millisecond
	backoffMax  = 15 * time.Second
)

// worker delivers the events of one bucket to one target, while its filer holds the bucket's lock.
type worker struct {
	c      cluster
	log    *slog.Logger
	now    func() time.Time
	dial   dialer
	m      *metrics
	region string
	owned  func() bool // the lock is still held

	root   granary.InodeID
	target Target
	rules  []Rule // those that name the target

	translator translator
	sender     Sender // nil: none
	changes    changes
	cursor     Cursor
	saved      time.Time // when the cursor was noted
	dirty      bool      // it has not been, since something was acknowledged
	bucket     string    // what it is called
	batch      []Message
}

// run delivers until ctx ends, or the bucket is gone: KindNotFound.
func (w *worker) run(ctx context.Context) error {
	defer w.hangUp()
	w.translator = translator{c: w.c, root: w.root}
	for failures := 0; ; {
		err := w.deliver(ctx)
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case granary.IsKind(err, granary.KindNotFound):
			return err
		}
		failures++
		w.log.Warn("notifications are delayed", "bucket", w.bucket, "target", w.target.Name, "error", err)
		w.changes = nil // it is read anew, from the cursor on
		pause(ctx, backoff(failures))
	}
}

// deliver reads some changes, and delivers their events.
func (w *worker) deliver(ctx context.Context) error {
	if w.changes == nil {
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	events, err := w.changes.Next(ctx, w.patience())
	var behind *granary.Behind
	switch {
	case errors.As(err, &behind):
		return w.missed(ctx, behind.Oldest)
	case granary.IsKind(err, granary.KindNotSupported): // the log is off: as nothing can be delivered, somebody must know
		return errors.Join(err, w.failing(ctx, err))
	case err != nil:
		return err
	}
	if len(events) > 0 {
		if err := w.translator.refresh(ctx); err != nil {
			return err
		}
		w.m.age.WithLabelValues(w.target.Name).Set(max(0, w.now().Sub(events[0].Time.Std()).Seconds()))
	}
	for i := range events {
		if again := i+1 < len(events) && events[i].Kind == granary.ChangeWrite && events[i+1].Kind == granary.ChangeWrite && events[i].Inode == events[i+1].Inode; again {
			continue // the next one tells
		}
		if err := w.event(ctx, &events[i]); err != nil {
			return err
		}
		if len(w.batch) == 0 { // all that was sent is acknowledged
			if err := w.reached(ctx, events[i].At, true); err != nil {
				return err
			}
		}
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if len(events) == 0 {
		w.m.age.WithLabelValues(w.target.Name).Set(0)
	}
	return w.reached(ctx, w.changes.Position(), len(events) > 0)
}

// begin begins where the cursor says.
func (w *worker) begin(ctx context.Context) error {
	cursor, err := readCursor(ctx, w.c, w.root, w.target.Name)
	if granary.IsKind(err, granary.KindNotFound) && w.cursor.At != (granary.Position{}) { // the bucket is gone: the rest is told all the same
		was := w.cursor
		cursor, err = &was, nil
	}
	if err != nil {
		return err
	}
	o := client.WatchOptions{Start: granary.WatchNow} // without a cursor: its configuration is just being replaced
	w.cursor, w.batch, w.dirty = Cursor{}, nil, false
	if cursor != nil {
		w.cursor, o = *cursor, client.WatchOptions{From: cursor.At}
	}
	w.saved = w.now()
	w.changes = w.c.watch(w.root, o)
	if err := w.changes.Begin(ctx); err != nil {
		w.changes = nil
		return err
	}
	return nil
}

// patience is how long to wait for changes: until the cursor is to be noted.
func (w *worker) patience() time.Duration {
	wait := time.Duration(granary.WatchWaitMax)
	if w.dirty {
		wait = min(wait, max(0, saveEvery-w.now().Sub(w.saved)))
	}
	return wait
}

// event adds the messages of a change to the batch.
func (w *worker) event(ctx context.Context, e *granary.Event) error {
	if name := bucketOf(e); name != "" {
		w.bucket = name
	}
	return w.translator.translate(ctx, e, func(n *notice) error {
		for i := range w.rules {
			r := &w.rules[i]
			if !r.wants(n.kind, n.key) {
				continue
			}
			body, err := documentOf(n, w.bucket, w.region, r)
			if err != nil {
				return err
			}
			w.batch = append(w.batch, Message{Key: w.bucket + "/" + n.key, Body: body})
			break // rules of a target do not overlap
		}
		if len(w.batch) >= batchMax {
			return w.flush(ctx)
		}
		return nil
	})
}

// flush hands the batch to the target, for as long as it takes.
func (w *worker) flush(ctx context.Context) error {
	for failures := 0; len(w.batch) > 0; {
		if !w.owned() {
			return errNotOwned
		}
		had := len(w.batch)
		err := w.send(ctx)
		done := had - len(w.batch)
		w.cursor.Delivered += uint64(done)
		w.m.delivered.WithLabelValues(w.target.Name).Add(float64(done))
		if err == nil {
			w.recovered()
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if done > 0 {
			failures = 0
		}
		failures++
		w.m.failures.WithLabelValues(w.target.Name).Inc()
		if failures > 1 { // once is nothing to tell of
			if err := w.failing(ctx, err); err != nil {
				return err
			}
		}
		pause(ctx, backoff(failures))
	}
	return nil
}

// send hands the batch to the target once. What is not acknowledged stays in it.
func (w *worker) send(ctx context.Context) error {
	if w.sender == nil {
		sender, err := w.dial(w.target)
		if err != nil {
			return err
		}
		w.sender = sender
	}
	ctx, cancel := context.WithTimeout(ctx, 2*sendTimeout+time.Duration(len(w.batch))*sendTimeout/webhookLanes)
	defer cancel()
	left, err := w.sender.Send(ctx, w.batch)
	w.batch = append(w.batch[:0], left...)
	return err
}

// hangUp closes the connection.
func (w *worker) hangUp() {
	w.m.down.WithLabelValues(w.target.Name).Set(0)
	if w.sender == nil {
		return
	}
	if err := w.sender.Close(); err != nil {
		w.log.Debug("a target's connection did not close", "target", w.target.Name, "error", err)
	}
	w.sender = nil
}

// failing notes why it does not go on.
func (w *worker) failing(ctx context.Context, cause error) error {
	w.m.down.WithLabelValues(w.target.Name).Set(1)
	if w.cursor.Error != "" && w.now().Sub(w.saved) < saveFailing {
		return nil
	}
	if w.cursor.Error == "" {
		w.cursor.Failing = w.now().UTC()
		w.log.Warn("a target takes no notifications: they wait", "bucket", w.bucket, "target", w.target.Name, "error", cause)
	}
	w.cursor.Error = cause.Error()
	return w.save(ctx)
}

// recovered notes that it does.
func (w *worker) recovered() {
	w.m.down.WithLabelValues(w.target.Name).Set(0)
	if w.cursor.Error != "" {
		w.log.Info("a target takes notifications again", "bucket", w.bucket, "target", w.target.Name, "after", w.now().Sub(w.cursor.Failing))
		w.cursor.Error, w.cursor.Failing, w.dirty = "", time.Time{}, true
	}
}

// missed notes that the log does not keep what comes next.
func (w *worker) missed(ctx context.Context, oldest granary.Position) error {
	w.log.Error("notifications were lost: the change log does not keep them any more", "bucket", w.bucket, "target", w.target.Name, "from", w.cursor.At, "to", oldest)
	w.m.missed.WithLabelValues(w.target.Name).Inc()
	w.cursor.Missed++
	w.cursor.MissedAt, w.cursor.MissedTo, w.cursor.At = w.now().UTC(), oldest, oldest
	w.recovered()
	return w.save(ctx)
}

// reached moves the cursor: all before has been acknowledged, or is nobody's.
func (w *worker) reached(ctx context.Context, at granary.Position, events bool) error {
	w.dirty = w.dirty || events
	w.cursor.At = at
	since := w.now().Sub(w.saved)
	if w.dirty && since >= saveEvery || since >= saveIdle {
		return w.save(ctx)
	}
	return nil
}

// save notes the cursor.
func (w *worker) save(ctx context.Context) error {
	if !w.owned() {
		return errNotOwned
	}
	w.cursor.Updated = w.now().UTC()
	err := put(ctx, w.c, w.root.Dataset().System(), attributeCursor+w.target.Name, &w.cursor)
	if err != nil && !granary.IsKind(err, granary.KindNotFound) { // else the bucket is gone, and nothing is kept with it any more
		return err
	}
	w.saved, w.dirty = w.now(), false
	return nil
}

// backoff is how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	return min(backoffMin<<min(failures-1, 10), backoffMax)
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
