package fuse

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
)

// kept knows which nodes the kernel may show attributes of without asking, so that it can be told to ask. See Coherence.
type kept struct {
	changes atomic.Uint64 // how often there were any

	mu     sync.Mutex
	recent map[granary.InodeID]*node // told of since turned …
	older  map[granary.InodeID]*node // … and in the turn before that
	turned time.Time
}

// keptTurn is longer than the kernel keeps anything.
const keptTurn = time.Second

// note notes that the kernel is told attributes that were asked for when there had been so many changes. It reports whether they
// may be kept: whatever changes from now on the kernel will be told of.
func (k *kept) note(n *node, changes uint64, now time.Time) (may bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.recent == nil || now.Sub(k.turned) > keptTurn {
		k.recent, k.older, k.turned = map[granary.InodeID]*node{}, k.recent, now
	}
	k.recent[n.ino] = n
	return k.changes.Load() == changes
}

// find returns the nodes of inodes, or all, of which the kernel may keep attributes.
func (k *kept) find(inodes []granary.InodeID, all bool) []*node {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes.Add(1)
	var nodes []*node
	if all {
		for _, m := range [...]map[granary.InodeID]*node{k.older, k.recent} {
			for _, n := range m {
				nodes = append(nodes, n)
			}
		}
		return nodes
	}
	for _, id := range inodes {
		if n := k.recent[id]; n != nil {
			nodes = append(nodes, n)
		} else if n := k.older[id]; n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// changed has the kernel forget attributes, and access control lists, that it keeps of inodes that others have changed. It takes no
// lock of the kernel that is held while a request is answered: pages and names are left as they are.
func (m *Server) changed(inodes []granary.InodeID, all bool) {
	for _, n := range m.kept.find(inodes, all) {
		n.flags.Store(flagsUnknown)
		n.NotifyContent(-1, 0) // an error says that the kernel has forgotten the inode
	}
}

// flagsUnknown has everything asked for.
const flagsUnknown = ^uint32(0)

// Times for which the kernel keeps attributes.
const (
	// requestFor is for the system call that asked: it asks more than once.
	requestFor = time.Millisecond
	// knownSince is how long the kernel must have known an inode before it keeps its attributes any longer: see Coherence.
	knownSince = time.Second
)

// attrFor is how long the kernel may keep attributes of a node that it is about to be told, and that were asked for when there
// had been so many changes: only for the system call that asked, if nobody would tell of a change.
func (n *node) attrFor(changes uint64, a *granary.Attr) time.Duration {
	now := time.Now()
	switch {
	case !n.m.kept.note(n, changes, now):
		return 0
	case now.Sub(n.since) < knownSince, n.fs().InUse(n.ino): // what is open or written to here changes with what is committed of it
		return requestFor
	}
	return max(n.fs().KeptOf(a), requestFor)
}

// look is the context in which something is looked up whose permissions the kernel has checked. If what it went by was as new as
// can be, that is enough; else the master checks too.
func (m *Server) look(ctx context.Context) context.Context {
	if m.decides() {
		return m.ctx
	}
	return m.as(ctx)
}

// decides reports whether who is who the kernel takes him for, and what it went by is as new as can be.
func (m *Server) decides() bool { return m.options.IDs.same() && m.options.FS.KeptFor() > 0 }
