package fuse

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// ofInode is the error number of an operation on an inode that the kernel has looked up. One that has gone meanwhile is stale: upon that
// the kernel walks the path once more, and finds what was renamed to its place, or that there is nothing.
func ofInode(err error) syscall.Errno {
	if granary.IsKind(err, granary.KindNotFound) {
		return syscall.ESTALE
	}
	return filer.Errno(err)
}

// missed is when an open last found that what had been looked up for it has gone. The kernel walks the path a second time, and not a
// third: what is looked up shortly after is kept until it can be opened, however often another door replaces it.
type missed struct{ at atomic.Int64 } // in nanoseconds, by the clock

// missedFor is how long a second walk may take, and more.
const missedFor = 250 * time.Millisecond

// note takes in the error of an open.
func (m *missed) note(err error) {
	if granary.IsKind(err, granary.KindNotFound) {
		m.at.Store(time.Now().UnixNano())
	}
}

// lately reports whether an open has missed a file a moment ago.
func (m *missed) lately() bool {
	at := m.at.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < missedFor
}
