package master

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// pathWorld does at random what changes names and locks.
type pathWorld struct {
	rt       *rapid.T
	m        *machine
	sessions []mixedSession
	locks    []granary.LockID // some that were asked for
}

func (w *pathWorld) draw(n int, what string) int { return rapid.IntRange(0, n-1).Draw(w.rt, what) }

// path is one of few, up to three deep.
func (w *pathWorld) path() string {
	p := ""
	for range 1 + w.draw(3, "depth") {
		p = path.Join(p, string(rune('a'+w.draw(2, "name"))))
	}
	return p
}

// at returns the inode of a directory of a path, and the last name.
func (w *pathWorld) at(p string) (granary.InodeID, string) {
	dir := granary.RootInode
	if p := path.Dir(p); p != "." {
		a, err := w.m.query(&granary.Lookup{Base: granary.RootInode, Path: p})
		if err != nil {
			return 0, path.Base(p)
		}
		dir = a.(*granary.Found).Entry.Attr.Inode
	}
	return dir, path.Base(p)
}

func (w *pathWorld) op() granary.Op {
	p, q := w.path(), w.path()
	parent, name := w.at(p)
	switch w.draw(13, "action") {
	case 0, 1, 2, 3:
		op := &granary.AcquirePaths{Exclusive: w.draw(2, "exclusive") == 1, Wait: w.draw(2, "wait") == 1, Owner: []string{"", "x", "y"}[w.draw(3, "owner")]}
		if w.draw(3, "lease") == 0 {
			op.TTL = granary.Time(1+w.draw(3, "ttl")) * 1e9
		}
		for range 1 + w.draw(2, "paths") {
			op.Paths = append(op.Paths, granary.LockPath{Base: granary.RootInode, Path: w.path(), Subtree: w.draw(3, "subtree") == 0})
		}
		return op
	case 4, 5:
		if len(w.locks) == 0 {
			return nil
		}
		return &granary.ReleasePaths{Lock: w.locks[w.draw(len(w.locks), "lock")], Break: true}
	case 6:
		return &granary.Create{Parent: parent, Name: name, Type: granary.TypeRegular, Replace: w.draw(2, "replace") == 1, Mode: 0o644}
	case 7:
		return &granary.Create{Parent: granary.RootInode, Name: p, Type: granary.TypeDirectory, MakeParents: true, Mode: 0o755}
	case 8:
		return &granary.Unlink{Parent: parent, Name: name}
	case 9:
		return &granary.Rmdir{Parent: parent, Name: name}
	case 10:
		return &granary.RemoveTree{Parent: parent, Name: name}
	}
	dst, dstName := w.at(q)
	return &granary.Rename{SrcParent: parent, SrcName: name, DstParent: dst, DstName: dstName, Exchange: w.draw(4, "exchange") == 0}
}

// step does something.
func (w *pathWorld) step() string {
	s := &w.sessions[w.draw(len(w.sessions), "session")]
	switch w.draw(15, "kind of step") {
	case 0:
		w.m.time += 1e9
		tokens := []granary.FencingToken{}
		for _, l := range ask[*granary.PathLocks](w.m, &granary.ListPathLocks{}).Locks {
			tokens = append(tokens, l.Token)
		}
		w.m.item(&expirePaths{Tokens: tokens})
		return "expire"
	case 1:
		w.m.item(&expireSession{Session: s.id})
		*s = mixedSession{id: granary.SessionID(w.m.item(&openSession{Client: "paths"}).Offset)}
		return "end of a session"
	}
	op := w.op()
	if op == nil {
		return "nothing"
	}
	s.seq++
	r := w.m.item(&mutation{Session: s.id, LowestUnacked: s.seq, Request: granary.Request{Seq: s.seq, Op: op}})
	if _, ok := op.(*granary.AcquirePaths); ok && r.Err == nil {
		w.locks = append(w.locks, granary.LockID(r.Offset))
	}
	if r.Err != nil && r.Err.Kind == granary.KindInternal {
		w.rt.Fatal(r.Err)
	}
	return fmt.Sprintf("%T %+v: %v", op, op, r.Err)
}

// exclude fails if two locks are held whose paths, as they are listed, say that they exclude each other.
func (w *pathWorld) exclude(after string) {
	locks := ask[*granary.PathLocks](w.m, &granary.ListPathLocks{}).Locks
	covers := func(a, b granary.LockedPath) bool {
		return a.Path == b.Path || a.Subtree && (a.Path == "/" || strings.HasPrefix(b.Path, a.Path+"/"))
	}
	tokens := map[granary.FencingToken]bool{}
	for i, l := range locks {
		if l.Token == 0 {
			continue
		}
		if tokens[l.Token] {
			w.rt.Fatalf("after %s: token %d is held twice", after, l.Token)
		}
		tokens[l.Token] = true
		for _, o := range locks[:i] {
			for _, a := range l.Paths {
				for _, b := range o.Paths {
					if o.Token != 0 && (l.Exclusive || o.Exclusive) && (covers(a, b) || covers(b, a)) {
						w.rt.Fatalf("after %s:\n%+v and\n%+v are held", after, l, o)
					}
				}
			}
		}
		for _, p := range l.Paths { // what is listed is where it is
			var is granary.InodeID
			a, err := w.m.query(&granary.Lookup{Base: granary.RootInode, Path: strings.Trim(p.Path, "/")})
			if err == nil {
				is = a.(*granary.Found).Entry.Attr.Inode
			}
			if is != p.Inode {
				w.rt.Fatalf("after %s: %s is inode %d, and locked as %d", after, p.Path, is, p.Inode)
			}
		}
	}
}

// TestPathLocks: whatever becomes of names, locks on paths exclude each other, are where they say, and what waits has a reason; what a
// node remembers of them is what it has stored; and the log gives the same in whatever batches.
func TestPathLocks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &pathWorld{rt: rt, m: newMachine(t)}
		defer w.m.close()
		for range 2 {
			w.sessions = append(w.sessions, mixedSession{id: granary.SessionID(w.m.item(&openSession{Client: "paths"}).Offset)})
		}
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			after := w.step()
			w.exclude(after)
			if err := w.m.s.check(); err != nil {
				rt.Fatalf("after %s: %v", after, err)
			}
			w.m.agree()
		}
		again := &machine{t: t, fs: vfs.NewMem()}
		again.open()
		defer func() { again.close() }()
		for at := 0; at < len(w.m.log); {
			end := min(at+rapid.IntRange(1, 20).Draw(rt, "batch"), len(w.m.log))
			again.s.apply(w.m.log[at:end])
			if at = end; w.draw(4, "restart") == 0 {
				again.close()
				again.open()
			}
		}
		if dump(again.s) != dump(w.m.s) {
			rt.Fatal("the log gives another state in other batches")
		}
	})
}

// TestManyPathLocks: 10,000 locks are held and 1,000 wait for one, in turn; the locks of a session go in steps.
func TestManyPathLocks(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	acquire := func(p string, wait bool) granary.Result {
		return m.ok(&granary.AcquirePaths{Paths: []granary.LockPath{{Base: granary.RootInode, Path: p}}, Exclusive: true, Wait: wait})
	}
	m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o755})
	for n := range 10_000 {
		acquire(fmt.Sprintf("d/%d", n), false)
	}
	holder := granary.LockID(acquire("one", false).Offset)
	var queue []granary.LockID
	for range 1000 {
		r := acquire("one", true)
		if r.Created {
			t.Fatal("two hold it")
		}
		queue = append(queue, granary.LockID(r.Offset))
	}
	m.check()
	last := granary.FencingToken(0)
	for _, next := range queue {
		m.ok(&granary.ReleasePaths{Lock: holder})
		l := m.s.recall.paths.byID[next]
		if l.Token <= last {
			t.Fatalf("request %d is next, and has token %d after %d", next, l.Token, last)
		}
		holder, last = next, l.Token
	}
	m.fails(granary.KindWouldBlock, &granary.AcquirePaths{Paths: []granary.LockPath{{Base: granary.RootInode, Subtree: true}}, Exclusive: true})
	m.item(&expireSession{m.session})
	m.check()
	if left := len(m.s.recall.paths.byID); left == 0 || left > 10_000-lockCleanInline/2 {
		t.Fatalf("%d locks are left of the session at once", left)
	}
	m.session, m.seq = granary.SessionID(m.item(&openSession{Client: "next"}).Offset), 0
	if steps := m.drain(1000); steps < 10 {
		t.Errorf("%d steps", steps)
	}
	m.check()
	if p := m.s.recall.paths; len(p.byID)+len(p.nodes)+len(p.inodes)+len(p.held)+p.trees != 0 {
		t.Errorf("left: %s", showRecalledPaths(p))
	}
}

// TestTokensOfOneEntry: what one entry grants has tokens that differ, and later ones are higher, also for who has restarted.
func TestTokensOfOneEntry(t *testing.T) {
	m := newMachine(t)
	defer func() { m.close() }()
	last := granary.FencingToken(0)
	for round := range 4 {
		m.time += 1000
		c := &command{Time: m.time}
		for n := range 5 {
			m.seq++
			c.Items = append(c.Items, &mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: &granary.AcquirePaths{
				Paths: []granary.LockPath{{Base: granary.RootInode, Path: fmt.Sprint(round, "-", n)}}}}})
		}
		data, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		m.log = append(m.log, entry{Index: uint64(len(m.log) + 1), Term: 1, Data: data})
		for _, r := range m.s.apply(m.log[len(m.log)-1:])[0] {
			if token := granary.FencingToken(r.Offset); r.Err != nil || token <= last || token < granary.FencingToken(len(m.log)) {
				t.Fatalf("token %d after %d in entry %d, %v", r.Offset, last, len(m.log), r.Err)
			}
			last = granary.FencingToken(r.Offset)
		}
		m.check()
		m.close()
		m.open()
	}
}

// TestFailedMoveUndone: what fails after it has moved locks leaves them where they were.
func TestFailedMoveUndone(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.ok(&granary.SetQuota{Dataset: granary.RootDataset, Limit: granary.Quota{Inodes: 6}})
	m.ok(&granary.AcquirePaths{Paths: []granary.LockPath{{Base: granary.RootInode, Path: "a/b/c/d/e/f"}}, Exclusive: true})
	before := showRecalledPaths(m.s.recall.paths)
	m.fails(granary.KindQuota, &granary.Create{Parent: granary.RootInode, Name: "a/b/c/d/e/f", MakeParents: true, Type: granary.TypeRegular})
	m.check()
	if after := showRecalledPaths(m.s.recall.paths); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
