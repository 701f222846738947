package fuse

import (
	"context"
	"sync"
	"sync/atomic"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/dsorchard/granary"
)

const (
	forgetShare = 16      // when there are more nodes than there may be, so many times less than that are made room for
	forgetBatch = 1 << 10 // nodes that are looked at in one go
)

// nodes keeps count of what the kernel remembers, for each of which there is a node, and has it forget what has been known for longest. The
// kernel forgets by itself only when it lacks memory, and what a node takes here is not in its books.
//
// A file that is not open is forgotten when its name is: that takes nothing from programs but time. Directories stay, in which processes
// may be, as do files that are open.
type nodes struct {
	max   int64
	count atomic.Int64  // known to the kernel
	asked atomic.Uint64 // that it was asked to forget
	wake  chan struct{}

	mu    sync.Mutex
	files list // that may be forgotten, the oldest first; some have been already
}

func newNodes(most int) *nodes { return &nodes{max: int64(most), wake: make(chan struct{}, 1)} }

// add takes in a node that the kernel is about to be told of. It may be known already.
func (k *nodes) add(n *node) {
	if n.known.Swap(true) {
		n.used.Store(true)
		return
	}
	count := k.count.Add(1)
	if k.max <= 0 {
		return
	}
	k.mu.Lock()
	if !n.IsDir() {
		k.files.push(n)
	}
	stale := k.stale()
	k.mu.Unlock()
	if count > k.max || stale {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// stale reports whether the list holds more than it need: nodes that the kernel has forgotten by itself. k.mu is held.
func (k *nodes) stale() bool { return int64(k.files.length) > 2*k.count.Load()+4*forgetBatch }

// OnForget takes in that the kernel has forgotten a node.
func (n *node) OnForget() {
	if n.known.Swap(false) {
		n.m.nodes.count.Add(-1)
	}
}

var _ gofs.NodeOnForgetter = (*node)(nil)

// run has the kernel forget when it knows too much, until ctx ends. It alone calls the kernel: not from a request, for which the kernel
// may hold what it needs to forget.
func (k *nodes) run(ctx context.Context, busy func(granary.InodeID) bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		k.mu.Lock()
		left := k.files.length // each is looked at once: what cannot be forgotten now is looked at again when more come
		k.mu.Unlock()
		over := k.count.Load() - k.max
		if over > 0 {
			over += k.max / forgetShare
		}
		for left > 0 && ctx.Err() == nil {
			k.mu.Lock()
			batch := k.files.pop(forgetBatch)
			enough := over <= 0 && !k.stale()
			k.mu.Unlock()
			kept, asked := k.forget(batch, over, busy)
			over -= asked
			left -= len(batch)
			k.mu.Lock()
			for _, n := range kept {
				k.files.push(n)
			}
			k.mu.Unlock()
			if enough || len(batch) == 0 {
				break
			}
		}
	}
}

// forget asks the kernel to forget as many nodes of a batch as it has to, and returns those that it still knows.
func (k *nodes) forget(batch []*node, over int64, busy func(granary.InodeID) bool) (kept []*node, asked int64) {
	for _, n := range batch {
		if n.Forgotten() { // or another node was there for the same inode first
			n.OnForget()
		}
		if !n.known.Load() {
			continue
		}
		kept = append(kept, n) // until the kernel says that it has forgotten it
		if asked >= over || n.used.Swap(false) || busy(n.ino) {
			continue
		}
		name, parent := n.Parent()
		if parent == nil {
			continue // it has no name: it goes with its last handle
		}
		asked++
		k.asked.Add(1)
		// An error says that the kernel does not know it by this name any more: then it forgets it by itself.
		parent.NotifyEntry(name)
	}
	return kept, asked
}
