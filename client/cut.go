package client

import (
	"github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/PlakarKorp/go-cdc-chunkers/chunkers/jc"

	"github.com/dsorchard/granary"
)

const (
	chunkSizeMin    = 256 << 10
	chunkSizeNormal = 1 << 20
	cutBufferMax    = 2 * granary.ChunkSizeMax // twice the largest chunk, so that what is left is moved seldom
)

// cutter cuts a stream into chunks. Where it cuts depends on the stream alone, not on how it arrives.
//
// Content-defined cuts are those of "jc-v1.0.0" (Jin et al., IEEE TPDS 2023, as that version of the
// library has it), which is what jc.JC's zero value is. The library's Chunker wants an io.Reader;
// its algorithm is called on our own buffer instead, which saves a goroutine and a copy.
type cutter struct {
	bufs    *buffers
	window  int // bytes that must be there, unless the stream ends, to know the next cut
	next    func(p []byte) int
	buf     []byte
	started int // bytes at the front of buf that have been emitted
}

func newCutter(bufs *buffers, chunking granary.Chunking) (*cutter, error) {
	if chunking == granary.ChunkingFixed {
		return &cutter{bufs: bufs, window: chunkSizeNormal, next: func(p []byte) int { return len(p) }}, nil
	}
	o := &chunkers.ChunkerOpts{MinSize: chunkSizeMin, NormalSize: chunkSizeNormal, MaxSize: granary.ChunkSizeMax}
	algorithm := &jc.JC{}
	if err := algorithm.Setup(o); err != nil {
		return nil, granary.Errorf(granary.KindInternal, "cut", "", "%w", err)
	}
	return &cutter{bufs: bufs, window: granary.ChunkSizeMax, next: func(p []byte) int {
		return algorithm.Algorithm(o, p, len(p))
	}}, nil
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
	n := c.next(rest)
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
