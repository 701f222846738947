package fuse

import (
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/dsorchard/granary"
)

const (
	// passFor is how long the kernel goes through a directory without asking: programs that work on a tree name everything by its whole
	// path, and each part of that was a request.
	passFor = 20 * time.Millisecond
	// passedFor is after how long it certainly asks again: the kernel counts from when it takes an answer in, in ticks of up to 10 ms.
	passedFor = passFor + 80*time.Millisecond
	// passNot is how long names in a directory are asked for each time, after somebody else has changed one that was passed.
	passNot    = 5 * time.Second
	passNotMax = 1024 // such directories; with more, all are
)

// passed knows through which directories the kernel may go without asking, by which names. The kernel cannot be told to forget a name while it
// has a request about something in the same directory under way, and that may wait for the very change. So the mount waits until the
// time is over, before it says that it has taken the change in.
type passed struct {
	mu     sync.Mutex
	recent map[passage]granted // told since turned, and when …
	older  map[passage]granted // … and in the turn before that
	turned time.Time
	not    map[granary.InodeID]time.Time // directories in which nothing is passed, and until when
}

// passage is a name in a directory, or with name "" the directory itself, whose permissions count.
type passage struct {
	dir  granary.InodeID
	name string
}

// granted is when the kernel was told of something, and what directory that is in.
type granted struct {
	at time.Time
	in granary.InodeID
}

// note notes that the kernel is told of something in a directory. It reports whether that may be passed.
func (p *passed) note(at passage, in granary.InodeID, now time.Time) (may bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, rests := p.not[in]
	if may = !rests || !now.Before(until); may {
		p.add(at, in, now)
	}
	return may
}

// add is note of what is passed in any case. p.mu is held.
func (p *passed) add(at passage, in granary.InodeID, now time.Time) {
	if p.recent == nil || now.Sub(p.turned) > passedFor {
		p.recent, p.older, p.turned = map[passage]granted{}, p.recent, now
	}
	p.recent[at] = granted{now, in}
}

// removed notes that a directory was removed through the kernel, which passes it no more.
func (p *passed) removed(dir granary.InodeID, name string, child granary.InodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range [...]map[passage]granted{p.older, p.recent} {
		delete(m, passage{dir, name})
		delete(m, passage{dir: child})
	}
}

// until returns when nothing of what changes is passed any more.
func (p *passed) until(changes []granary.Change, all bool, now time.Time) (until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all {
		for _, m := range [...]map[passage]granted{p.older, p.recent} {
			for _, g := range m {
				until = later(until, g.at.Add(passedFor))
			}
		}
		return until
	}
	for _, c := range changes {
		for _, m := range [...]map[passage]granted{p.older, p.recent} {
			if g, ok := m[passage{c.Inode, c.Name}]; ok && g.at.Add(passedFor).After(now) {
				until = later(until, g.at.Add(passedFor))
				p.rest(g.in, now)
			}
		}
	}
	return until
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rest has nothing passed in a directory for a while. p.mu is held.
func (p *passed) rest(dir granary.InodeID, now time.Time) {
	if p.not == nil || len(p.not) >= passNotMax {
		p.not = map[granary.InodeID]time.Time{}
	}
	p.not[dir] = now.Add(passNot)
}

// pass lets the kernel go through the directory that it is told of by a name, when there had been so many changes.
func (n *node) pass(name string, changes uint64, out *gofuse.EntryOut) {
	if name == "" || !n.m.mayPass() || !n.fs().Keeps(n.ino, name) {
		return
	}
	if n.m.passed.note(passage{n.ino, name}, n.ino, time.Now()) && n.m.kept.changes.Load() == changes {
		out.SetEntryTimeout(passFor)
	}
}

// mayPass reports whether anything may be passed: permissions are looked at by the kernel alone then.
func (m *Server) mayPass() bool { return m.options.IDs.same() && m.options.FS.KeptFor() >= passFor }

// renamed notes that a directory gets another name, by which the kernel passes it for as long as by the one that it had.
func (p *passed) renamed(from, to *node, name, newName string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.add(passage{from.ino, name}, from.ino, now)
	p.add(passage{to.ino, newName}, to.ino, now)
}

// passAttr reports whether the kernel may go through a directory by the permissions that it is told, when there had been so many changes.
func (n *node) passAttr(changes uint64, now time.Time) bool {
	_, parent := n.Parent()
	if parent == nil || !n.m.mayPass() || !n.fs().Keeps(n.ino, "") {
		return false
	}
	in := parent.Operations().(*node).ino
	return n.m.passed.note(passage{dir: n.ino}, in, now) && n.m.kept.changes.Load() == changes
}
