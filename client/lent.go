package client

import (
	"sync"
	"unsafe"
)

const (
	lentReadMin = 64 << 10 // shorter reads cost less as a body
	lentMax     = 256      // slabs at once: each takes a descriptor
	lentIdleMax = 32 << 20 // bytes of those that are not used
)

// filler is Shards whose servers, on the same machine, put what is read into memory that it has lent: nothing is copied through a socket.
type filler interface {
	Lend(size int) []byte
	// LendsReads reports whether reads from a server take lent memory.
	LendsReads(addr string) bool
	// Release takes back memory of Lend, of which nobody uses the addresses any more; a server may still write to it.
	Release(memory []byte)
}

// lentSlabs are slabs that servers fill. Each is a piece of shared memory of its own, so that one in which a read has failed, whose server may write
// to it at any time, is released alone. They are used again and again, since memory that is new costs a page fault for each page, at
// both ends. There are only so many: who gets none takes other memory.
type lentSlabs struct {
	from   filler // nil: there are none
	mu     sync.Mutex
	all    map[*byte]struct{} // by their first byte
	unused [slabClasses][][]byte
	idle   int // bytes of unused
	closed bool
}

// get returns n bytes of lent memory, or nil.
func (s *lentSlabs) get(n int) []byte {
	if s.from == nil || n < lentReadMin || n > slabMost {
		return nil
	}
	class := slabClass(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := class; i <= min(class+slabSlack, slabClasses-1); i++ {
		if p := s.take(i); p != nil {
			return p[:n]
		}
	}
	if s.closed || len(s.all) >= lentMax && !s.evict() {
		return nil
	}
	p := s.from.Lend(slabSize(class))
	if p == nil {
		return nil
	}
	s.all[unsafe.SliceData(p)] = struct{}{}
	return p[:n:slabSize(class)]
}

// take returns an unused slab of a class, the one that was used last, or nil. s.mu is held.
func (s *lentSlabs) take(class int) []byte {
	unused := s.unused[class]
	if len(unused) == 0 {
		return nil
	}
	p := unused[len(unused)-1]
	unused[len(unused)-1] = nil
	s.unused[class] = unused[:len(unused)-1]
	s.idle -= cap(p)
	return p
}

// evict releases an unused slab, one of the largest. It returns false if there is none. s.mu is held.
func (s *lentSlabs) evict() bool {
	for i := slabClasses - 1; i >= 0; i-- {
		if p := s.take(i); p != nil {
			s.release(p)
			return true
		}
	}
	return false
}

// release is forget with s.mu held.
func (s *lentSlabs) release(p []byte) {
	delete(s.all, unsafe.SliceData(p))
	s.from.Release(p[:cap(p)])
}

// put takes a slab back that nobody reads or writes any more, neither here nor at a server: all reads into it were answered. It
// returns false for other memory.
func (s *lentSlabs) put(p []byte) bool {
	if s.from == nil || cap(p) < lentReadMin {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ours := s.all[unsafe.SliceData(p)]; !ours {
		return false
	}
	if s.closed {
		s.release(p)
		return true
	}
	class := slabClass(cap(p))
	s.unused[class] = append(s.unused[class], p[:cap(p)])
	s.idle += cap(p)
	for s.idle > lentIdleMax {
		s.evict()
	}
	return true
}

// forget gives up a slab in which a read has failed: a server may write to it later, which would spoil what else it was used for.
func (s *lentSlabs) forget(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(p)
}

// close releases what is not used, and the others when they are put.
func (s *lentSlabs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.evict() {
	}
}
