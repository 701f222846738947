package client

import (
	"context"

	"github.com/dsorchard/granary"
)

// runsOf returns the ranges that extents cover, joined where they touch.
func runsOf(extents []granary.Extent) []granary.Range {
	var runs []granary.Range
	for i := range extents {
		e := &extents[i]
		if n := len(runs); n > 0 && runs[n-1].Offset+runs[n-1].Length == e.Offset {
			runs[n-1].Length += e.Length
			continue
		}
		runs = append(runs, granary.Range{Offset: e.Offset, Length: e.Length})
	}
	return runs
}

func countExtents(batches []*dirty) (n int) {
	for _, d := range batches {
		n += len(d.extents)
	}
	return n
}

// rewriteFile does a TaskRewrite: it writes windows of a file anew that are cut too finely. Those that somebody writes to
// meanwhile are left, and so are those that cannot be read.
func (w *Worker) rewriteFile(ctx context.Context, j *job) error {
	s := &sweeper{w: w, j: j, m: w.newMover(j)}
	j.total.Store(uint64(len(j.task.Windows)) * granary.ExtentWindowSize)
	err := s.m.run(ctx, func(ctx context.Context) error {
		for _, n := range j.task.Windows {
			if err := s.window(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.m.fault
	}
	return err
}

// window writes a window of the task's file anew. Of one that is too much for one layout that is done part by part, from the
// front: what has been written anew takes less of the next layout.
func (s *sweeper) window(ctx context.Context, n uint64) error {
	off := n * granary.ExtentWindowSize
	for {
		found, err := Ask[*granary.Found](ctx, s.w.c, &granary.Lookup{Base: s.j.task.Root, Stored: true,
			Layout: &granary.Range{Offset: off, Length: granary.ExtentWindowSize}})
		if granary.IsKind(err, granary.KindNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		a, l := &found.Entry.Attr, found.Layout
		if a.Type != granary.TypeRegular || l == nil {
			return nil
		}
		p, err := s.w.c.Policy(ctx, a.Policy)
		if err != nil {
			return err
		}
		window := extentsIn(l.Extents, off, off+granary.ExtentWindowSize)
		runs := runsOf(window)
		if !granary.CutFinely(len(window), len(runs)) {
			return nil
		}
		t := target{dataset: a.Inode.Dataset(), policyID: a.Policy, policy: p}
		done, err := s.rewrite(ctx, a.Inode, l, t, runs, len(window))
		if err != nil || !done || !l.Truncated {
			return err
		}
	}
}

// rewrite writes what a window of a file has anew, in as few chunks as it takes. Holes stay holes. It reports false if that
// would not be half of the extents that it had at most, or if somebody has written to the file meanwhile: that may have made it better,
// or is rewritten when the file has been left alone.
//
// What is committed is what was read: the op is refused unless the file's content is of the version that the layout showed. A
// block that was moved since is read through a layout that is older than that, and is KindStale, or still there.
func (s *sweeper) rewrite(ctx context.Context, inode granary.InodeID, l *granary.Layout, t target, runs []granary.Range, had int) (bool, error) {
	c := s.w.c
	bytes := uint64(0)
	for _, r := range runs {
		bytes += r.Length
	}
	if err := s.w.moves.take(ctx, int(bytes), s.j.task.Rate); err != nil {
		return false, err
	}
	if err := s.m.reserve(ctx, rewriteHolds); err != nil {
		return false, err
	}
	defer s.w.moving.Release(rewriteHolds)
	ranges := make([]Range, len(runs))
	for i, r := range runs {
		ranges[i] = Range{r.Offset, make([]byte, r.Length)}
		if err := c.ReadLayout(ctx, l, ranges[i].Data, r.Offset); err != nil {
			return s.spared(err)
		}
	}
	batches, err := c.gather(&t, ranges, false, granary.ExtentWindowSize) // nobody writes here any more
	if err != nil {
		return false, err
	}
	if extents := countExtents(batches); 2*extents > had {
		for _, d := range batches {
			c.drop(d.pieces)
		}
		return false, nil // it would not be much better
	}
	for _, d := range batches {
		if _, err := c.commitDirty(ctx, granary.Cred{}, &t, d, granary.Commit{Inode: inode, Rewrite: l.ContentVersion}); err != nil {
			return s.spared(err)
		}
	}
	s.j.done.Add(bytes)
	return true, nil
}

// spared returns nil for errors that are no reason to end a sweep.
func (s *sweeper) spared(err error) (bool, error) {
	switch granary.KindOf(err) {
	case granary.KindStale, granary.KindNotFound, granary.KindBusy, granary.KindCorrupt:
		s.m.fail(err)
		return false, nil
	}
	return false, err
}
