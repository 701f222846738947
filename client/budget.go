package client

import "sync"

// budget bounds what all uploads of a client hold in memory together.
type budget struct {
	max int

	mu    sync.Mutex
	held  int
	freed chan struct{} // closed when there is less than was; nil if nobody waits
}

// take takes n bytes if there are so many, or if it must. If not, freed is closed when it is worth to try again.
func (b *budget) take(n int, must bool) (ok bool, freed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if must || b.held+n <= b.max {
		b.held += n
		return true, nil
	}
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return false, b.freed
}

// give gives n bytes back.
func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.held < 0 {
		panic("client: more memory is given back than was taken")
	}
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}
