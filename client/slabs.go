package client

import (
	"math/bits"
	"sync"
	"unsafe"
)

const (
	slabLeast   = 1 << 12
	slabMost    = 1 << 23 // more than any block takes
	slabSteps   = 4       // sizes in each doubling: a fifth of a slab is unused at most
	slabSlack   = 2       // a slab may be so many sizes too large, rather than new
	slabClasses = 11*slabSteps + 1
	slabPage    = 1 << 12   // of the system's memory, and of disks
	slabPaged   = 256 << 10 // from so many bytes on what is read lies in its slab as in the pages of its shard
)

// slabs recycles the memory that blocks are read into. Chunks are of all sizes, and are kept for long, so that the sizes of slabs are closer
// to each other than those of buffers.
type slabs struct {
	lent    lentSlabs
	classes [slabClasses]sync.Pool // class i holds *[]byte of slabSize(i)
}

// slabSize returns the bytes of a slab of a class.
func slabSize(class int) int {
	octave := slabLeast << (class / slabSteps)
	return octave + octave/slabSteps*(class%slabSteps)
}

// slabClass returns the class of the smallest slabs that hold n bytes.
func slabClass(n int) int {
	n = max(n, slabLeast)
	octave := bits.Len(uint(n)) - bits.Len(uint(slabLeast)) // slabLeast << octave is the largest power of two that is not above n
	step := slabLeast << octave / slabSteps
	return octave*slabSteps + (n-slabLeast<<octave+step-1)/step
}

// slabFor returns how many bytes of memory n bytes take at most.
func slabFor(n int) int64 {
	if n > slabMost {
		return int64(n)
	}
	return int64(slabSize(min(slabClass(n)+slabSlack, slabClasses-1)))
}

// get returns n bytes of memory, whatever is in them.
func (s *slabs) get(n int) []byte {
	if n > slabMost {
		return make([]byte, n)
	}
	class := slabClass(n)
	for i := class; i <= min(class+slabSlack, slabClasses-1); i++ {
		if p, ok := s.classes[i].Get().(*[]byte); ok {
			return (*p)[:n]
		}
	}
	return make([]byte, n, slabSize(class))
}

// inPages returns how many bytes a read of n takes of a slab: what pages takes.
func inPages(n int) int {
	if n < slabPaged {
		return n
	}
	return n + slabPage - 1
}

// pages returns n bytes of a slab of inPages(n), for what lies at an offset of a shard. Large ones begin at the same place of a page as that: so
// the disk can put whole pages where they belong, and nothing is copied.
func pages(slab []byte, n int, off uint64) []byte {
	if n < slabPaged {
		return slab[:n]
	}
	skip := (off - uint64(uintptr(unsafe.Pointer(unsafe.SliceData(slab))))) % slabPage
	return slab[skip:][:n]
}

// put takes memory back that nobody reads or writes any more.
func (s *slabs) put(p []byte) {
	if s.lent.put(p) {
		return
	}
	if cap(p) < slabLeast || cap(p) > slabMost || slabSize(slabClass(cap(p))) != cap(p) {
		return // not one of ours
	}
	p = p[:cap(p)]
	s.classes[slabClass(cap(p))].Put(&p)
}
