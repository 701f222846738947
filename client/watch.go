package client

import (
	"context"
	"iter"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// WatchOptions says where a watch begins: at From unless Start says otherwise.
type WatchOptions struct {
	From  granary.Position
	Start granary.WatchStart
}

// Watcher tells of the changes of an inode, and of what is below it, one after the other: none twice, and none that the log keeps is
// left out, whichever master leads. It is for one caller at a time.
type Watcher struct {
	c     *Client
	inode granary.InodeID
	o     WatchOptions
	begun bool
}

// Watch begins a watch. Nothing is asked before Next.
func (c *Client) Watch(inode granary.InodeID, o WatchOptions) *Watcher {
	return &Watcher{c: c, inode: inode, o: o}
}

// Position returns where Next goes on: all that comes before has been told.
func (w *Watcher) Position() granary.Position { return w.o.From }

// Begin finds out where a watch begins that begins now: what is changed after it returns will be told. For others there is nothing
// to do before Next.
func (w *Watcher) Begin(ctx context.Context) error {
	if w.begun || w.o.Start != granary.WatchNow {
		return nil
	}
	a, err := w.ask(ctx, 0)
	if err != nil {
		return err
	}
	w.o.From, w.o.Start, w.begun = a.Next, granary.WatchFrom, true
	return nil
}

// Next returns the next changes. It waits for some for as long as wait, which granary.WatchWaitMax bounds, and then returns none.
//
// A watch that the log has left behind is told so by an error of KindStale, whose cause is a granary.Behind; the call after it goes on
// with the oldest that there is. When what is watched has been removed, and all has been told, the error is of KindNotFound. As long
// as there is no leader, Next waits for one, but for the first call, which gives up as any question does.
func (w *Watcher) Next(ctx context.Context, wait time.Duration) ([]granary.Event, error) {
	if err := w.Begin(ctx); err != nil {
		return nil, err
	}
	over := time.Now().Add(wait)
	for {
		a, err := w.ask(ctx, time.Until(over))
		switch {
		case ctx.Err() != nil:
			return nil, granary.Errorf(granary.KindCanceled, "watch", w.inode.String(), "%w", context.Cause(ctx))
		case err != nil && w.begun && again(err):
			sleep(ctx, backoffMax)
			continue
		case err != nil:
			return nil, err
		}
		w.o.From, w.o.Start, w.begun = a.Next, granary.WatchFrom, true
		switch {
		case a.Behind:
			return nil, granary.Errorf(granary.KindStale, "watch", w.inode.String(), "%w", &granary.Behind{Oldest: a.Oldest})
		case len(a.Changes) > 0:
			return a.Changes, nil
		case a.Removed:
			return nil, granary.Errorf(granary.KindNotFound, "watch", w.inode.String(), "what was watched has been removed")
		case !a.More && !time.Now().Before(over):
			return nil, nil
		}
	}
}

// All returns the changes, one by one, for as long as ctx lives and no error comes; the last of all is an error.
func (w *Watcher) All(ctx context.Context) iter.Seq2[granary.Event, error] {
	return func(yield func(granary.Event, error) bool) {
		for {
			events, err := w.Next(ctx, time.Duration(granary.WatchWaitMax))
			if err != nil {
				yield(granary.Event{}, err)
				return
			}
			for i := range events {
				if !yield(events[i], nil) {
					w.o.From = events[i].At
					return
				}
			}
		}
	}
}

// ask asks once. The leader holds the call for as long as there are no changes.
func (w *Watcher) ask(ctx context.Context, wait time.Duration) (*granary.Changes, error) {
	wait = max(0, min(wait, time.Duration(granary.WatchWaitMax)))
	q := &granary.Watch{Inode: w.inode, From: w.o.From, Start: w.o.Start, Wait: granary.Time(wait)}
	var answer granary.Answer
	err := w.c.leadSlowly(ctx, "watch", wait, func(ctx context.Context, m wire.Master) (err error) {
		answer, err = w.c.askOne(ctx, m, q, w.c.Session())
		return err
	})
	if granary.IsKind(err, granary.KindIndeterminate) { // a question has no effect to be unsure of
		err = granary.Errorf(granary.KindUnavailable, "watch", w.inode.String(), "%w", err)
	}
	if err != nil {
		return nil, err
	}
	a, ok := answer.(*granary.Changes)
	if !ok {
		return nil, granary.Errorf(granary.KindInternal, "watch", w.inode.String(), "the answer is a %T", answer)
	}
	return a, nil
}
