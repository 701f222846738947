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

// wantedExtents estimates how many extents runs become when they are written anew.
func wantedExtents(runs []granary.Range) int {
	n := 0
	for _, r := range runs {
		n++
		if r.Length > packMax {
			n += int(r.Length / chunkSizeNormal)
		}
	}
	return n
}

// rewrite writes what a window of a file has anew, in as few chunks as it takes. Holes stay holes. It reports false if somebody
// has written to the file meanwhile: that may have made it better, or will be found by another sweep.
//
// What is committed is what was read: the op is refused unless the file's content is of the version that the layout showed. A
// block that was moved since is read through a layout that is older than that, and is KindStale, or still there.
func (s *sweeper) rewrite(ctx context.Context, inode granary.InodeID, l *granary.Layout, t target, runs []granary.Range) (bool, error) {
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
	batches, err := c.gather(&t, ranges, false)
	if err != nil {
		return false, err
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
