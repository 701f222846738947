package client

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// roomsIdleFor is how long rooms are kept after one was last used.
const roomsIdleFor = 10 * time.Second

// rooms recycles memory in which blocks of any size are tried out. There are no more of them than who use one at the same time. They are
// mapped, and not of the heap: only what was written to of each is memory of the system's, and the garbage collector does not let the heap
// grow by as much again.
type rooms struct {
	mu     sync.Mutex
	idle   [][]byte // whole mappings
	used   time.Time
	closed bool
}

// get returns an empty slice with room for any block.
func (r *rooms) get() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = time.Now()
	if last := len(r.idle) - 1; last >= 0 {
		p := r.idle[last]
		r.idle = r.idle[:last]
		return p[:0]
	}
	size := block.StoredSizeMax(granary.ChunkSizeMax)
	p, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return make([]byte, 0, size+1) // there may be too many mappings: the heap's memory does as well, and put knows it by its capacity
	}
	return p[:0]
}

// put takes a slice of get back.
func (r *rooms) put(p []byte) {
	p = p[:cap(p)]
	if len(p) != block.StoredSizeMax(granary.ChunkSizeMax) {
		return // the heap's
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = time.Now()
	r.idle = append(r.idle, p)
	if r.closed {
		r.unmap()
	}
}

// trim unmaps what has not been used for a while.
func (r *rooms) trim(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.used) > roomsIdleFor {
		r.unmap()
	}
}

// close unmaps what is not used, and the rest when it is given back.
func (r *rooms) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.unmap()
}

// unmap unmaps what is idle. r.mu is held.
func (r *rooms) unmap() {
	for _, p := range r.idle {
		unmap(p)
	}
	r.idle = nil
}
