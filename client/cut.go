package client

import "github.com/dsorchard/granary"

const (
	chunkSizeMin    = 256 << 10
	chunkSizeNormal = 1 << 20
	// At the edges of a part chunks are small: min 16 KiB, average 64 KiB, max 256 KiB.
	edgeChunkSizeMin    = 16 << 10
	edgeChunkSizeNormal = 64 << 10
	edgeChunkSizeMax    = 256 << 10
	edgeSize            = 512 << 10                // bytes at the front of a part that are cut so
	cutBufferMax        = 2 * granary.ChunkSizeMax // twice the largest chunk, so that what is left is moved seldom
)

// cutter cuts a stream into chunks. Where it cuts depends on the stream alone, not on how it arrives.
//
// Content-defined cuts are those of jump.
//
// A part of a whole begins and ends where its uploader chose, not where the content says. With
// chunks of 1 MiB the one at each border would be new whenever the borders lie elsewhere: a third of
// the bytes of parts of 8 MiB was, when 100 bytes were put before a tar of 200 MB. So the front of a part, up to the first cut after edgeSize, and what follows the last content-defined
// cut are cut small, and only the small chunks at the very border differ.
type cutter struct {
	bufs    *buffers
	window  int // bytes that must be there, unless the stream ends, to know the next cut
	next    func(p []byte) int
	edge    func(p []byte) int // nil unless the stream is a part
	front   int                // bytes of a part's front still to be cut small
	buf     []byte
	started int // bytes at the front of buf that have been emitted
}

// newCutter makes a cutter for a stream; part says that the stream is a part of a whole.
func newCutter(bufs *buffers, chunking granary.Chunking, part bool) *cutter {
	if chunking == granary.ChunkingFixed {
		return &cutter{bufs: bufs, window: chunkSizeNormal, next: func(p []byte) int { return len(p) }}
	}
	c := &cutter{bufs: bufs, window: granary.ChunkSizeMax, next: newJump(chunkSizeMin, chunkSizeNormal, granary.ChunkSizeMax).first}
	if part {
		c.front = edgeSize
		c.edge = newJump(edgeChunkSizeMin, edgeChunkSizeNormal, edgeChunkSizeMax).first
	}
	return c
}

// write adds bytes to the stream and emits the chunks that are complete. What emit gets is valid
// until it returns.
func (c *cutter) write(p []byte, emit func(chunk []byte) error) error {
	for len(p) > 0 {
		n := min(len(p), c.window-c.buffered())
		c.reserve(n)
		c.buf = append(c.buf, p[:n]...)
		p = p[n:]
		if c.buffered() == c.window {
			if err := c.emit(emit); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish emits what is left, the end of the stream.
func (c *cutter) finish(emit func(chunk []byte) error) error {
	for c.buffered() > 0 {
		if c.edge != nil && c.front <= 0 && c.next(c.buf[c.started:]) == c.buffered() {
			c.front = c.buffered() // the last chunk ends where the part does
		}
		if err := c.emit(emit); err != nil {
			return err
		}
	}
	return nil
}

// release gives the buffer back. The cutter is empty afterwards.
func (c *cutter) release() {
	c.bufs.put(c.buf)
	c.buf, c.started = nil, 0
}

func (c *cutter) buffered() int { return len(c.buf) - c.started }

func (c *cutter) emit(emit func(chunk []byte) error) error {
	rest := c.buf[c.started:]
	n := 0
	if c.front > 0 {
		n = c.edge(rest)
		c.front -= n
	} else {
		n = c.next(rest)
	}
	c.started += n
	return emit(rest[:n:n])
}

// reserve makes room for n more bytes.
func (c *cutter) reserve(n int) {
	if len(c.buf)+n <= cap(c.buf) {
		return
	}
	to := c.buf[:0]
	if need := c.buffered() + n; need > cap(c.buf)/2 && cap(c.buf) < cutBufferMax {
		to = c.bufs.get(min(2*need, cutBufferMax))
	}
	moved := append(to, c.buf[c.started:]...)
	if cap(to) != cap(c.buf) {
		c.bufs.put(c.buf)
	}
	c.buf, c.started = moved, 0
}
