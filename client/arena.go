package client

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

const (
	arenasIdleMax = 64 << 20         // bytes that are kept for the next stream …
	arenasIdleFor = 10 * time.Second // … for so long after one was last used

	arenaMapped  = 2 << 20 // arenas of more than half of it are mapped
	arenaClasses = 3       // sizes of those: arenaMapped, twice and four times that
	arenaMax     = arenaMapped << (arenaClasses - 1)
	arenasMany   = 48 << 20 // when so much is in use, new arenas are better small
)

// arenaMax is twice the largest chunk, so that little of what is in an arena is a chunk that goes on in the next.
var _ [arenaMax - 2*granary.ChunkSizeMax]struct{}

// arena is memory that chunks lie in: all of a stream that came together, or a single one. It is recycled when its last user is done with it.
type arena struct {
	of     *arenas
	memory []byte
	mapped bool
	users  atomic.Int32
}

// hold adds a user.
func (a *arena) hold() *arena {
	a.users.Add(1)
	return a
}

// release ends the use by one of its users; of no arena, it does nothing.
func (a *arena) release() {
	if a == nil {
		return
	}
	switch n := a.users.Add(-1); {
	case n == 0:
		a.of.put(a)
		a.memory = nil
	case n < 0:
		panic("client: memory given back twice")
	}
}

// arenas makes arenas. The larger ones, which long streams fill one after the other, are mapped, and not of the heap: the garbage collector
// lets a heap grow to twice what is in use, and gives up what is pooled.
type arenas struct {
	heap buffers

	mu     sync.Mutex
	idle   [arenaClasses][][]byte // mapped, of nobody's
	unused int                    // bytes of idle
	taken  int                    // bytes that are mapped and in use
	spare  int                    // bytes that are to be unmapped when they are not in use any more
	used   time.Time
	closed bool
}

// arenaClass returns the class of the mapped memory that holds n bytes, and its size; -1 if it is the heap's.
func arenaClass(n int) (class, size int) {
	if n <= arenaMapped/2 || n > arenaMax {
		return -1, 0
	}
	for size = arenaMapped; size < n; size *= 2 {
		class++
	}
	return class, size
}

// advised returns how large an arena should be at most, if it need not be larger.
func (s *arenas) advised() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= arenasMany {
		return arenaMapped
	}
	return arenaMax
}

// get returns an empty arena with room for n bytes, and one user.
func (s *arenas) get(n int) *arena {
	a := &arena{of: s}
	if class, size := arenaClass(n); class >= 0 {
		a.memory, a.mapped = s.take(class, size)
	}
	if !a.mapped {
		a.memory = s.heap.get(n)
	}
	a.users.Store(1)
	return a
}

// some is get without a condition.
func (s *arenas) some(_, n int) (*arena, error) { return s.get(n), nil }

// take returns mapped memory, if it can be had.
func (s *arenas) take(class, size int) (p []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	idle := s.idle[class]
	if last := len(idle) - 1; last >= 0 {
		p, s.idle[class] = idle[last], idle[:last]
		s.unused -= size
	} else {
		if s.taken+s.unused >= arenasMany {
			s.unmap(max(s.unused-size, 0)) // it is of other sizes than what is wanted now
		}
		var err error
		if p, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
			return nil, false // there may be too many mappings: the heap's memory does as well
		}
	}
	s.taken += size
	return p[:0:size], true
}

// put takes an arena's memory back.
func (s *arenas) put(a *arena) {
	if !a.mapped {
		s.heap.put(a.memory)
		return
	}
	class, size := arenaClass(cap(a.memory))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken -= size
	s.unused += size
	s.used = time.Now()
	s.idle[class] = append(s.idle[class], a.memory[:size])
	switch {
	case s.closed:
		s.unmap(0)
	case s.spare > 0:
		s.unspare()
	default:
		s.unmap(arenasIdleMax)
	}
}

// shed says that so many bytes less are needed from now on.
func (s *arenas) shed(bytes int) {
	if bytes <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare += bytes
	s.unspare()
}

// unspare unmaps what is idle and to spare. s.mu is held.
func (s *arenas) unspare() {
	idle := s.unused
	s.unmap(max(idle-s.spare, 0))
	s.spare = max(s.spare-(idle-s.unused), 0)
}

// trim unmaps what has not been used for a while.
func (s *arenas) trim(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.used) > arenasIdleFor {
		s.unmap(0)
		s.spare = 0
	}
}

// close unmaps what is not used, and the rest when it is given back.
func (s *arenas) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.unmap(0)
}

// unmap unmaps idle memory until there is so much of it, the smallest first. s.mu is held.
func (s *arenas) unmap(bytes int) {
	for class := range s.idle {
		for idle := &s.idle[class]; s.unused > bytes && len(*idle) > 0; {
			last := len(*idle) - 1
			p := (*idle)[last]
			(*idle)[last] = nil
			*idle = (*idle)[:last]
			s.unused -= len(p)
			unmap(p)
		}
	}
}

// unmap unmaps memory that unix.Mmap returned.
func unmap(p []byte) {
	if err := unix.Munmap(p); err != nil {
		panic(fmt.Sprintf("client: memory that was mapped is not: %v", err))
	}
}
