package client

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// localPatience is how long the local disk may take before a volume server is asked instead.
const localPatience = 200 * time.Millisecond

// localFrames returns the frames in which the local disk keeps a chunk: those of its block, or those that it would have uncompressed.
func localFrames(b *granary.BlockInfo) block.Frames {
	if f, ok := block.FramesOf(b.RawLength, b.Location.Length); ok {
		return f
	}
	return block.FramesNow(b.RawLength)
}

// obtain returns a range of a chunk: what the local disk has of it, or what the section s of the block gives. kept is whether the local disk has it.
func (c *Client) obtain(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, at, length int, s section) (got verified, kept bool, err error) {
	if c.o.Chunks != nil {
		if got, kept = c.local(ctx, b, at, length); kept {
			return got, true, nil
		}
	}
	began := time.Now()
	got, err = c.fetch(ctx, v, b, s)
	c.reads.note(began, s.length, err)
	return got, false, err
}

// local reads from the local disk, unless that takes too long.
func (c *Client) local(ctx context.Context, b *granary.BlockInfo, at, length int) (verified, bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan outcome)
	b2 := *b // the caller's layout may be gone before the disk answers
	if !c.fork(ctx, found, func() outcome { return c.readLocal(&b2, at, length) }) {
		return verified{}, false
	}
	slow := time.NewTimer(localPatience)
	defer slow.Stop()
	select {
	case o := <-found:
		return o.got, o.err == nil
	case <-slow.C:
	case <-ctx.Done():
	}
	return verified{}, false
}

// readLocal reads a range of a chunk from the local disk, and verifies it. What does not fit, and is not simply missing, is removed there.
func (c *Client) readLocal(b *granary.BlockInfo, at, length int) outcome {
	f := localFrames(b)
	off, n := f.Span(at, length)
	memory := c.slabs.get(n)
	if !c.o.Chunks.Read(b.Hash, f.Size(), off-block.HeaderSize, memory) {
		c.slabs.put(memory)
		return outcome{err: granary.Errorf(granary.KindNotFound, "read", b.Hash.String(), "")}
	}
	plain, err := f.Verify(memory, b.Hash, at, length)
	if err != nil {
		if !f.Holes(memory, at, length) {
			c.o.Chunks.Reject(b.Hash)
		}
		c.slabs.put(memory)
		return outcome{err: err}
	}
	return outcome{got: verified{plain: plain, memory: memory}}
}

// keepPart gives the local disk a copy of frames that were read and verified.
func (c *Client) keepPart(b *granary.BlockInfo, at, length int, stored []byte) {
	f, ok := block.FramesOf(b.RawLength, b.Location.Length)
	off, n := f.Span(at, length)
	if c.o.Chunks == nil || !ok || !c.o.Chunks.Room(n) {
		return
	}
	p := c.slabs.get(n)
	copy(p, stored[:n])
	c.o.Chunks.Add(b.Hash, f.Size(), off-block.HeaderSize, p, func() { c.slabs.put(p) })
}

// keepWhole gives the local disk a chunk, which the caller holds, and holds it until it is written.
func (c *Client) keepWhole(b *granary.BlockInfo, ch *chunk) {
	f := localFrames(b)
	if c.o.Chunks == nil || !c.o.Chunks.Room(f.Size()) {
		return
	}
	if _, framed := block.FramesOf(b.RawLength, b.Location.Length); framed {
		c.cache.hold(ch)
		c.o.Chunks.Add(b.Hash, f.Size(), 0, ch.memory[:f.Size()], func() { c.cache.drop(ch) })
		return
	}
	p := f.Append(c.slabs.get(f.Size())[:0], b.Hash, ch.memory[:ch.plain.Len()])
	c.o.Chunks.Add(b.Hash, f.Size(), 0, p, func() { c.slabs.put(p) })
}
