package master

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// lockModel is what the manual pages say of locks, byte by byte.
type lockModel struct {
	held    map[modelByte]map[modelOwner]bool // exclusive or not
	waiting []modelRequest
}

type modelOwner struct {
	session granary.SessionID
	space   granary.LockSpace
	owner   uint64
}

type modelByte struct {
	inode granary.InodeID
	space granary.LockSpace
	at    uint64
}

type modelRequest struct {
	modelOwner
	inode      granary.InodeID
	start, end uint64
	exclusive  bool
	ahead      bool
}

const modelBytes = 12 // the last one stands for the end of the file, too

func (q *modelRequest) bytes(f func(modelByte)) {
	for at := q.start; at <= min(q.end, modelBytes-1); at++ {
		f(modelByte{q.inode, q.space, at})
	}
}

// waitsFor returns the owners that a request must wait for.
func (m *lockModel) waitsFor(q *modelRequest, before []modelRequest) map[modelOwner]bool {
	owners := map[modelOwner]bool{}
	q.bytes(func(b modelByte) {
		for o, exclusive := range m.held[b] {
			if o != q.modelOwner && (exclusive || q.exclusive) {
				owners[o] = true
			}
		}
	})
	for _, w := range before {
		if !q.ahead && w.modelOwner != q.modelOwner && w.inode == q.inode && w.space == q.space &&
			w.start <= q.end && q.start <= w.end && (w.exclusive || q.exclusive) {
			owners[w.modelOwner] = true
		}
	}
	return owners
}

func (m *lockModel) holds(o modelOwner, inode granary.InodeID) bool {
	for b, owners := range m.held {
		if _, ok := owners[o]; ok && (o.space == granary.LockRanges || b.inode == inode) {
			return true
		}
	}
	return false
}

func (m *lockModel) set(q *modelRequest) {
	q.bytes(func(b modelByte) {
		if m.held[b] == nil {
			m.held[b] = map[modelOwner]bool{}
		}
		m.held[b][q.modelOwner] = q.exclusive
	})
}

func (m *lockModel) clear(q *modelRequest) {
	q.bytes(func(b modelByte) { delete(m.held[b], q.modelOwner) })
}

// grant lets go who need not wait.
func (m *lockModel) grant() {
	for i := 0; i < len(m.waiting); i++ {
		if q := m.waiting[i]; len(m.waitsFor(&q, m.waiting[:i])) == 0 {
			m.waiting = slices.Delete(m.waiting, i, i+1)
			m.set(&q)
			i = -1
		}
	}
}

func (m *lockModel) circle(q *modelRequest) bool {
	seen := map[modelOwner]bool{}
	var visit func(owners map[modelOwner]bool) bool
	visit = func(owners map[modelOwner]bool) bool {
		for o := range owners {
			if o == q.modelOwner {
				return true
			}
			if seen[o] {
				continue
			}
			seen[o] = true
			for i, w := range m.waiting {
				if w.modelOwner == o && visit(m.waitsFor(&w, m.waiting[:i])) {
					return true
				}
			}
		}
		return false
	}
	return visit(m.waitsFor(q, m.waiting))
}

func (m *lockModel) acquire(q modelRequest, wait bool) (held bool, kind granary.Kind) {
	waits := slices.ContainsFunc(m.waiting, func(w modelRequest) bool { return w.modelOwner == q.modelOwner && w.inode == q.inode })
	if wait && waits {
		return false, granary.KindBusy
	}
	q.ahead = m.holds(q.modelOwner, q.inode)
	covered := true
	q.bytes(func(b modelByte) {
		exclusive, ok := m.held[b][q.modelOwner]
		covered = covered && ok && (exclusive || !q.exclusive)
	})
	switch free := covered || len(m.waitsFor(&q, m.waiting)) == 0; {
	case free:
		m.set(&q)
		m.grant()
		return true, granary.KindNone
	case !wait:
		return false, granary.KindWouldBlock
	case q.space == granary.LockRanges && m.circle(&q):
		return false, granary.KindDeadlock
	case q.space == granary.LockWhole:
		m.clear(&q)
		q.ahead = false
	}
	m.waiting = append(m.waiting, q)
	m.grant()
	return !slices.ContainsFunc(m.waiting, func(w modelRequest) bool { return w.modelOwner == q.modelOwner && w.inode == q.inode }), granary.KindNone
}

func (m *lockModel) end(session granary.SessionID) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w modelRequest) bool { return w.session == session })
	for _, owners := range m.held {
		for o := range owners {
			if o.session == session {
				delete(owners, o)
			}
		}
	}
	m.grant()
}

// shows is what the model and the state are compared by.
func (m *lockModel) shows() map[string]bool {
	all := map[string]bool{}
	for b, owners := range m.held {
		for o, exclusive := range owners {
			all[fmt.Sprint(b, o, exclusive)] = true
		}
	}
	for _, w := range m.waiting {
		all[fmt.Sprint("waits ", w.inode, w.modelOwner, w.start, w.end, w.exclusive)] = true
	}
	return all
}

func showLocks(m *machine) map[string]bool {
	all := map[string]bool{}
	for _, l := range ask[*granary.Locks](m, &granary.ListLocks{}).Locks {
		q := modelRequest{modelOwner{l.Session, l.Space, l.Owner}, l.Inode, l.Start, l.End, l.Exclusive, false}
		if l.Waiting {
			all[fmt.Sprint("waits ", q.inode, q.modelOwner, q.start, q.end, q.exclusive)] = true
			continue
		}
		q.bytes(func(b modelByte) { all[fmt.Sprint(b, q.modelOwner, q.exclusive)] = true })
	}
	return all
}

// TestLockModel lets owners of several sessions take, wait for, withdraw and give up locks, and sessions end: the state shows what
// the model does, and its log gives the same keys and values in whatever batches.
func TestLockModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		var inodes []granary.InodeID
		for _, name := range []string{"f", "g"} {
			inodes = append(inodes, m.ok(&granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular}).Attr.Inode)
		}
		sessions := []mixedSession{}
		for range 2 {
			sessions = append(sessions, mixedSession{id: granary.SessionID(m.item(&openSession{Client: "locks"}).Offset)})
		}
		draw := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(rt, what) }
		model := &lockModel{held: map[modelByte]map[modelOwner]bool{}}
		for range rapid.IntRange(5, 50).Draw(rt, "steps") {
			s := &sessions[draw(len(sessions), "session")]
			do := func(op granary.Op) granary.Result {
				s.seq++
				return m.item(&mutation{Session: s.id, LowestUnacked: s.seq, Request: granary.Request{Seq: s.seq, Op: op}})
			}
			o := modelOwner{s.id, granary.LockSpace(1 + draw(2, "space")), uint64(draw(3, "owner"))}
			q := modelRequest{modelOwner: o, inode: inodes[draw(2, "inode")], start: 0, end: granary.LockEnd, exclusive: draw(2, "exclusive") == 1}
			if o.space == granary.LockRanges {
				q.start = uint64(draw(modelBytes, "start"))
				if draw(5, "to the end") > 0 {
					q.end = q.start + uint64(draw(int(modelBytes-q.start), "length"))
				}
				if q.end == modelBytes-1 {
					q.end = granary.LockEnd
				}
			}
			k, rg := granary.LockKey{Inode: q.inode, Space: q.space, Owner: q.owner}, granary.LockRange{Start: q.start, End: q.end}
			what := "end"
			switch n := draw(12, "action"); {
			case n < 6:
				wait := draw(2, "wait") == 1
				r := do(&granary.AcquireLock{LockKey: k, LockRange: rg, Exclusive: q.exclusive, Wait: wait})
				held, kind := model.acquire(q, wait)
				if what = fmt.Sprintf("acquire %+v %t", q, wait); kindOf(r) != kind || r.Created != held {
					rt.Fatalf("%s: held %t, %v; in the model %t, %v", what, r.Created, r.Err, held, kind)
				}
			case n < 9:
				what = fmt.Sprintf("release %+v", q)
				if r := do(&granary.ReleaseLock{LockKey: k, LockRange: rg}); r.Err != nil {
					rt.Fatal(r.Err)
				}
				model.clear(&q)
				model.grant()
			case n < 11:
				what = fmt.Sprintf("cancel %+v", q)
				r := do(&granary.CancelLock{LockKey: k})
				before := len(model.waiting)
				model.waiting = slices.DeleteFunc(model.waiting, func(w modelRequest) bool { return w.modelOwner == o && w.inode == q.inode })
				holds := false
				for b, owners := range model.held {
					_, ok := owners[o]
					holds = holds || ok && b.inode == q.inode
				}
				if want := before == len(model.waiting) && holds; r.Err != nil || r.Created != want {
					rt.Fatalf("%s: %t, %v", what, r.Created, r.Err)
				}
				model.grant()
			default:
				m.item(&expireSession{Session: s.id})
				model.end(s.id)
				*s = mixedSession{id: granary.SessionID(m.item(&openSession{Client: "locks"}).Offset)}
			}
			if got, want := fmt.Sprint(showLocks(m)), fmt.Sprint(model.shows()); got != want {
				rt.Fatalf("after %s:\n%s\nwant:\n%s", what, got, want)
			}
			if err := m.s.check(); err != nil {
				rt.Fatalf("after %s: %v", what, err)
			}
		}
		again := &machine{t: t, fs: vfs.NewMem()}
		again.open()
		defer func() { again.close() }()
		for at := 0; at < len(m.log); {
			end := min(at+rapid.IntRange(1, 20).Draw(rt, "batch"), len(m.log))
			again.s.apply(m.log[at:end])
			if at = end; draw(4, "restart") == 0 {
				again.close()
				again.open()
			}
		}
		if dump(again.s) != dump(m.s) {
			rt.Fatal("the log gives another state in other batches")
		}
		for _, name := range []string{"f", "g"} {
			m.ok(&granary.Unlink{Parent: granary.RootInode, Name: name})
		}
		m.drain(3)
		if len(showLocks(m)) != 0 {
			rt.Fatal("locks outlive their files")
		}
		m.check()
	})
}

// TestManyLocksEndInSteps: the locks of a session, and those on a file, go in steps when they are many.
func TestManyLocksEndInSteps(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	g := m.ok(&granary.Create{Parent: granary.RootInode, Name: "g", Type: granary.TypeRegular}).Attr.Inode
	const many = 3*lockCleanInline + 7
	lock := func(inode granary.InodeID, owner uint64, wait bool) granary.Result {
		return m.ok(&granary.AcquireLock{LockKey: granary.LockKey{Inode: inode, Space: granary.LockWhole, Owner: owner},
			LockRange: granary.LockRange{End: granary.LockEnd}, Exclusive: wait, Wait: wait})
	}
	for i := range uint64(many) {
		lock(f, i, false)
		lock(g, i, i > 0)
	}
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "g"})
	m.dropAll()
	m.check()
	if n := len(ask[*granary.Locks](m, &granary.ListLocks{Inode: g}).Locks); n == 0 || n == many {
		t.Fatalf("%d locks are left on the file at once", n)
	}
	m.item(&expireSession{m.session})
	m.check()
	if n := len(ask[*granary.Locks](m, &granary.ListLocks{Inode: f}).Locks); n == 0 || n == many {
		t.Fatalf("%d locks are left of the session at once", n)
	}
	m.session, m.seq = granary.SessionID(m.item(&openSession{Client: "next"}).Offset), 0
	if steps := m.drain(100); steps < 3 {
		t.Errorf("%d steps", steps)
	}
	m.check()
	if left := ask[*granary.Locks](m, &granary.ListLocks{}).Locks; len(left) != 0 {
		t.Errorf("%d locks are left", len(left))
	}
}
