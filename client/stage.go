package client

import (
	"context"
	"slices"

	"github.com/dsorchard/granary"
)

// Staged is the content of a file that is to be made with it, on its way to the disks.
type Staged struct {
	c      *Client
	t      target
	inline []Range
	d      *dirty
}

// Stage brings the ranges of a file that is to be made, of which attr has inode and policy, to where blocks are written, without
// waiting for the disks. KindTooLarge if they are too many for one step. The data must not change until Release.
func (c *Client) Stage(ctx context.Context, attr granary.Attr, ranges []Range) (*Staged, error) {
	t, err := c.targetOf(ctx, &attr)
	if err != nil {
		return nil, err
	}
	s := &Staged{c: c, t: t}
	if len(ranges) == 1 && ranges[0].Offset+uint64(len(ranges[0].Data)) <= uint64(t.policy.InlineMax) {
		s.inline = ranges
		return s, nil
	}
	batches, err := c.gather(&t, ranges, false, c.spanOf(&t))
	if err != nil {
		return nil, err
	}
	if len(batches) != 1 {
		for _, d := range batches {
			c.drop(d.pieces)
		}
		return nil, granary.Errorf(granary.KindTooLarge, "write", attr.Inode.String(), "%d ranges in %d commits", len(ranges), len(batches))
	}
	s.d = batches[0]
	if err := c.store(ctx, &t, s.d.pieces); err != nil {
		s.Release()
		return nil, err
	}
	return s, nil
}

// Content waits until the content is durable, and returns it.
func (s *Staged) Content(ctx context.Context) (*granary.Content, error) {
	if s.d == nil {
		return &granary.Content{Inline: slices.Clone(s.inline[0].Data), InlineOffset: s.inline[0].Offset}, nil
	}
	pieces := distinct(s.d.pieces)
	if err := s.c.durable(ctx, &s.t, pieces); err != nil {
		return nil, err
	}
	content := s.d.content(chunksOf(pieces), s.c.parity(&s.t))
	return &content, nil
}

// Again writes anew what the result of a request with the content says is gone, and reports whether that was all that was wrong.
func (s *Staged) Again(ctx context.Context, r granary.Result) (bool, error) {
	if s.d == nil || r.Err == nil || len(r.Missing) == 0 {
		return false, nil
	}
	return true, s.c.rewrite(ctx, &s.t, distinct(s.d.pieces), r)
}

// Committed notes that a request with the content was applied.
func (s *Staged) Committed() {
	if s.d == nil {
		return
	}
	for _, p := range distinct(s.d.pieces) {
		s.c.placing.remember(s.t.key(p))
	}
}

// Release gives back what the content holds.
func (s *Staged) Release() {
	if s.d != nil {
		s.c.drop(s.d.pieces)
	}
}
