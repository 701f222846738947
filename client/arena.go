package client

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	arenasIdleMax = 4                // of the largest arenas are kept for the next stream …
	arenasIdleFor = 10 * time.Second // … for so long after one was last used
)

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

// arenas makes arenas. The largest ones, which long streams fill one after the other, are mapped, and not of the heap: the garbage collector
// lets a heap grow to twice what is in use, and gives up what is pooled.
type arenas struct {
	heap buffers

	mu     sync.Mutex
	idle   [][]byte // mapped, of nobody's
	taken  int      // mapped, and in use
	used   time.Time
	closed bool
}

// get returns an empty arena with room for n bytes, and one user.
func (s *arenas) get(n int) *arena {
	a := &arena{of: s}
	if n > arenaMax/2 && n <= arenaMax {
		a.memory, a.mapped = s.take()
	}
	if !a.mapped {
		a.memory = s.heap.get(n)
	}
	a.users.Store(1)
	return a
}

// take returns mapped memory, if it can be had.
func (s *arenas) take() (p []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	if last := len(s.idle) - 1; last >= 0 {
		p, s.idle = s.idle[last], s.idle[:last]
	} else {
		var err error
		if p, err = unix.Mmap(-1, 0, arenaMax, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
			return nil, false // there may be too many mappings: the heap's memory does as well
		}
	}
	s.taken++
	return p[:0:arenaMax], true
}

// put takes an arena's memory back.
func (s *arenas) put(a *arena) {
	if !a.mapped {
		s.heap.put(a.memory)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.used = time.Now()
	s.idle = append(s.idle, a.memory[:arenaMax])
	if s.closed {
		s.unmap(0)
	} else {
		s.unmap(arenasIdleMax)
	}
}

// trim unmaps what has not been used for a while.
func (s *arenas) trim(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.used) > arenasIdleFor {
		s.unmap(0)
	}
}

// close unmaps what is not used, and the rest when it is given back.
func (s *arenas) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.unmap(0)
}

// unmap unmaps all idle memory but so much of it. s.mu is held.
func (s *arenas) unmap(but int) {
	for len(s.idle) > but {
		last := len(s.idle) - 1
		if err := unix.Munmap(s.idle[last]); err != nil {
			panic(fmt.Sprintf("client: memory that was mapped is not: %v", err))
		}
		s.idle = s.idle[:last]
	}
}
