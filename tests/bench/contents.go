package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync/atomic"
)

// contents makes contents of objects. They cannot be compressed, and no two have the same 512 bytes anywhere, so that nobody gains by
// having seen them. It takes hardly longer than to copy them.
type contents struct {
	random []byte
	made   atomic.Uint64 // pieces of pieceSize
}

const pieceSize = 512

func newContents() *contents {
	c := &contents{random: make([]byte, 1<<20)}
	fill(c.random)
	c.made.Store(rand.Uint64()) // or a second run would make what the first has made
	return c
}

// reader returns the content of a new object.
func (c *contents) reader(size int64) io.Reader { return io.LimitReader(&content{of: c}, size) }

// content is without end. It is not safe for concurrent use.
type content struct {
	of   *contents
	rest []byte // of piece
	at   int    // in random
	buf  [pieceSize]byte
}

// Read implements io.Reader.
func (r *content) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.rest) == 0 {
			copy(r.buf[:], r.of.random[r.at:])
			binary.LittleEndian.PutUint64(r.buf[:], r.of.made.Add(1)*0x9e3779b97f4a7c15)
			r.at = (r.at + pieceSize) % len(r.of.random)
			r.rest = r.buf[:]
		}
		k := copy(p[n:], r.rest)
		n, r.rest = n+k, r.rest[k:]
	}
	return n, nil
}

// fill has random bytes.
func fill(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rand.Uint64())
	}
}
