package filer

import "sync"

// CopySize is how much of a body doors read at a time, in bytes.
const CopySize = 256 << 10

// CopyBuffers recycles what long bodies are read into. The zero value is ready to use, by many goroutines.
type CopyBuffers struct{ pool sync.Pool }

// Get returns a buffer, with anything in it.
func (b *CopyBuffers) Get() *[CopySize]byte {
	if p, ok := b.pool.Get().(*[CopySize]byte); ok {
		return p
	}
	return new([CopySize]byte)
}

// Put takes a buffer back that nobody uses any more.
func (b *CopyBuffers) Put(p *[CopySize]byte) { b.pool.Put(p) }
