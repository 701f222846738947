package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

// What locks refuse. A change by name is checked against the locks on the name, on what it leads to and on the directories above; one of an
// inode against those on the inode and on the directories above, as inodeRecord.Parent leads there: of a file with
// several names by the one that it got last. Where no locks are, this costs nothing.

// fenced says which ops change something that a lock can be on, and so may be refused for the tokens of their request.
func fenced(op granary.Op) bool {
	switch op := op.(type) {
	case *granary.Create, *granary.Unlink, *granary.Rmdir, *granary.RemoveTree, *granary.Rename, *granary.Link, *granary.SetAttr,
		*granary.SetXattr, *granary.RemoveXattr, *granary.Allocate, *granary.Assemble, *granary.CreateDataset, *granary.CopyRange:
		return true
	case *granary.Commit:
		return op.Rewrite == 0
	case *granary.SetPolicy:
		return !op.Inherited
	}
	return false
}

// checkFences refuses a request unless all locks whose tokens it carries are held.
func (t *txn) checkFences(request *granary.Request) *granary.Error {
	if len(request.Fences) > granary.FencesMax {
		return granary.Errorf(granary.KindTooLarge, opName(request.Op), "", "%d fencing tokens, of %d at most", len(request.Fences), granary.FencesMax)
	}
	for _, token := range request.Fences {
		if t.paths().held[token] == nil {
			return granary.Errorf(granary.KindFenced, opName(request.Op), "", "the lock with token %d is not held any more", token)
		}
	}
	t.fences = request.Fences
	return nil
}

// bars reports whether a held lock is in the way of the request.
func (t *txn) bars(l *pathLock) bool {
	if l.waits() || slices.Contains(t.fences, l.Token) {
		return false
	}
	return l.Mandatory || l.Exclusive && len(t.fences) > 0 && l.Token > slices.Max(t.fences)
}

// barrier gathers the locks that are in the way, and tells of the earliest: the order in which they are found is not the same everywhere.
type barrier struct {
	t     *txn
	first *pathLock
}

func (b *barrier) look(x placed) bool {
	if b.t.bars(x.lock) && (b.first == nil || x.lock.ID < b.first.ID) {
		b.first = x.lock
	}
	return true
}

// tree looks at the locks on a directory with all that is below it.
func (b *barrier) tree(n *lockNode) {
	for _, x := range n.own {
		if x.Subtree {
			b.look(x)
		}
	}
}

// above looks at the locks on the directories above one, with all that is below them.
func (b *barrier) above(dir granary.InodeID) {
	p := b.t.paths()
	if p.trees == 0 {
		return
	}
	for n := p.nodeAbove(dir); n != nil; n = n.above {
		b.tree(n)
	}
}

func (b *barrier) own(id granary.InodeID) {
	for _, x := range b.t.paths().inodes[id] {
		b.look(x)
	}
}

func (b *barrier) err(op, subject string) *granary.Error {
	l := b.first
	switch {
	case l == nil:
		return nil
	case l.Mandatory:
		return granary.Errorf(granary.KindLocked, op, subject, "the path is locked, %s", l.describe())
	}
	return granary.Errorf(granary.KindFenced, op, subject, "the path has been locked since, with token %d, %s", l.Token, l.describe())
}

// guard refuses a change of a name in a directory, and of what it leads to: nil for nothing.
func (t *txn) guard(op string, dir *inodeRecord, name string, r *inodeRecord) *granary.Error {
	p := t.paths()
	if len(p.held) == 0 {
		return nil
	}
	b := barrier{t: t}
	if n := p.nodes[dir.Inode]; n != nil {
		b.tree(n)
		for _, x := range n.named[name] {
			if x.Rest == name {
				b.look(x)
			}
		}
	}
	if r != nil {
		b.own(r.Inode)
	}
	b.above(dir.Inode)
	return b.err(op, name)
}

// guardInode refuses a change of an inode.
func (t *txn) guardInode(op string, r *inodeRecord) *granary.Error {
	p := t.paths()
	if len(p.held) == 0 {
		return nil
	}
	b := barrier{t: t}
	b.own(r.Inode)
	if p.trees > 0 && r.Parent != 0 && r.Inode != granary.RootInode {
		if n := p.nodes[r.Parent]; n != nil {
			b.tree(n)
		}
		b.above(r.Parent)
	}
	return b.err(op, r.Inode.String())
}

// guardBelow refuses to remove a directory with what is in it.
func (t *txn) guardBelow(op, subject string, r *inodeRecord) *granary.Error {
	n := t.paths().nodes[r.Inode]
	if n == nil {
		return nil
	}
	b := barrier{t: t}
	n.places(b.look)
	n.each(b.look)
	return b.err(op, subject)
}
