package volume

import (
	"math/bits"
	"sync"

	"github.com/dsorchard/granary/internal/disk"
)

// bufferPool keeps buffers of powers of two, from 4 KiB to appendSizeMax.
type bufferPool struct{ classes [bufferClasses]sync.Pool }

const (
	bufferBitsMin = 12
	bufferClasses = 26 - bufferBitsMin + 1 // up to 64 MiB
)

// classOf returns the class of the smallest buffers that hold size bytes.
func classOf(size int) int {
	return max(bits.Len(uint(max(size, 1)-1)), bufferBitsMin) - bufferBitsMin
}

// get returns a buffer of size bytes, at most appendSizeMax; put takes back what get returned.
func (p *bufferPool) get(size int) *[]byte {
	class := classOf(size)
	b, ok := p.classes[class].Get().(*[]byte)
	if !ok {
		fresh := disk.Memory(1 << (class + bufferBitsMin))
		b = &fresh
	}
	*b = (*b)[:size]
	return b
}

func (p *bufferPool) put(b *[]byte) { p.classes[classOf(cap(*b))].Put(b) }
