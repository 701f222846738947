package client

import (
	"math/bits"
	"sync"
)

// buffers recycles byte slices by the power of two of their capacity.
type buffers struct {
	classes [bufferClassMax + 1]sync.Pool // class i holds *[]byte of capacity 1<<i
}

// bufferClassMax is the class of the largest buffers kept, 64 MiB.
const bufferClassMax = 26

// get returns an empty slice with room for n bytes.
func (b *buffers) get(n int) []byte {
	class := bits.Len(uint(max(n, 4096) - 1))
	if class > bufferClassMax {
		return make([]byte, 0, n)
	}
	if p, ok := b.classes[class].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// put takes a slice back that nobody reads or writes any more.
func (b *buffers) put(p []byte) {
	class := bits.Len(uint(cap(p))) - 1
	if cap(p) == 0 || cap(p) != 1<<class || class > bufferClassMax {
		return // not one of ours
	}
	p = p[:0]
	b.classes[class].Put(&p)
}
