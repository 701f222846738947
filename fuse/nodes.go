package fuse

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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
// What no process uses, it forgets when it is told to prune it (Linux 6.18). An older kernel forgets a file that is not open when its name is
// taken from it: that takes nothing from programs but time. It would do so with directories too, in which processes may be, which would
// then not know where they are: there directories stay.
type nodes struct {
	max   int64
	count atomic.Int64  // known to the kernel
	asked atomic.Uint64 // that it was asked to forget
	wake  chan struct{}

	mu  sync.Mutex
	old list // that may be forgotten, the oldest first; some have been already

	// What the kernel can be told. Of run alone.
	prune    func([]*gofs.Inode) syscall.Errno
	noPrunes bool // it does not know how
}

func newNodes(most int, prune func([]*gofs.Inode) syscall.Errno) *nodes {
	return &nodes{max: int64(most), wake: make(chan struct{}, 1), prune: prune}
}

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
	k.old.push(n)
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
func (k *nodes) stale() bool { return int64(k.old.length) > 2*k.count.Load()+4*forgetBatch }

// OnForget takes in that the kernel has forgotten a node.
func (n *node) OnForget() {
	if n.known.Swap(false) {
		n.m.nodes.count.Add(-1)
	}
}

var _ gofs.NodeOnForgetter = (*node)(nil)

// forgetPause is at least between two rounds: it takes the kernel a moment to say what it has forgotten. Where it forgets nothing, as all is
// in use, it is not asked all the time.
const forgetPause = 20 * time.Millisecond

// run has the kernel forget when it knows too much, until ctx ends. It alone calls the kernel: not from a request, for which the kernel
// may hold what it needs to forget.
func (k *nodes) run(ctx context.Context, busy func(granary.InodeID) bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		k.round(ctx, busy)
		select {
		case <-ctx.Done():
			return
		case <-time.After(forgetPause):
		}
	}
}

// round has the kernel forget until it knows little enough. It looks at each node twice at most: at the first time what was used since the
// last is left. What cannot be forgotten now is looked at again when more come.
func (k *nodes) round(ctx context.Context, busy func(granary.InodeID) bool) {
	over := k.count.Load() - k.max
	if over > 0 {
		over += k.max / forgetShare
	}
	k.mu.Lock()
	left := 2 * k.old.length
	k.mu.Unlock()
	for left > 0 && ctx.Err() == nil {
		k.mu.Lock()
		batch := k.old.pop(forgetBatch)
		enough := over <= 0 && !k.stale()
		k.mu.Unlock()
		kept, asked := k.forget(batch, over, busy)
		over -= asked
		left -= len(batch)
		k.mu.Lock()
		for _, n := range kept {
			k.old.push(n)
		}
		k.mu.Unlock()
		if enough || len(batch) == 0 {
			break
		}
	}
}

// forget asks the kernel to forget as many nodes of a batch as it has to, and returns those that it still knows.
func (k *nodes) forget(batch []*node, over int64, busy func(granary.InodeID) bool) (kept []*node, asked int64) {
	var unused []*node
	for _, n := range batch {
		if n.Forgotten() { // or another node was there for the same inode first
			n.OnForget()
		}
		if !n.known.Load() || k.noPrunes && n.IsDir() {
			continue
		}
		kept = append(kept, n) // until the kernel says that it has forgotten it
		if int64(len(unused)) < over && !n.used.Swap(false) && !busy(n.ino) {
			unused = append(unused, n)
		}
	}
	asked = k.ask(unused)
	k.asked.Add(uint64(asked))
	return kept, asked
}

// ask asks the kernel to forget nodes, the oldest of which come first, and returns of how many it could be asked. An error
// says that it does not know of one any more, or that the mount has gone.
func (k *nodes) ask(unused []*node) (asked int64) {
	if len(unused) == 0 {
		return 0
	}
	if !k.noPrunes {
		if k.noPrunes = k.prune(leavesFirst(unused)) == syscall.ENOSYS; !k.noPrunes {
			return int64(len(unused))
		}
	}
	for _, n := range unused {
		name, parent := n.Parent()
		if parent == nil || n.IsDir() {
			continue // what has no name goes with its last handle
		}
		asked++
		parent.NotifyEntry(name)
	}
	return asked
}

// leavesFirst puts what is in a directory before it: one of which anything is known is in use. What was known first is nearer to the root.
func leavesFirst(nodes []*node) []*gofs.Inode {
	inodes := make([]*gofs.Inode, 0, len(nodes))
	for _, n := range nodes {
		if !n.IsDir() {
			inodes = append(inodes, &n.Inode)
		}
	}
	for _, n := range slices.Backward(nodes) {
		if n.IsDir() {
			inodes = append(inodes, &n.Inode)
		}
	}
	return inodes
}
