package master

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// holderModel is a session that does things in directories that it holds before it tells them, and what is there by its own account.
type holderModel struct {
	m     *machine
	rt    *rapid.T
	other granary.SessionID
	seq   uint64 // of the other

	dirs    []granary.InodeID
	names   map[granary.InodeID]map[string]granary.InodeID
	held    map[granary.InodeID]bool
	pending []granary.Request
	ordered uint64
	fence   granary.Index
	next    granary.InodeID
	end     granary.InodeID
}

func newHolder(t testing.TB, rt *rapid.T) *holderModel {
	h := &holderModel{m: newMachine(t), rt: rt, names: map[granary.InodeID]map[string]granary.InodeID{}, held: map[granary.InodeID]bool{}}
	h.other = granary.SessionID(h.m.item(&openSession{Client: "other"}).Offset)
	for i := range 3 {
		id := h.m.ok(mkdirOp(granary.RootInode, fmt.Sprint("d", i))).Attr.Inode
		h.dirs = append(h.dirs, id)
		h.names[id] = map[string]granary.InodeID{}
	}
	h.lease()
	return h
}

func mkdirOp(parent granary.InodeID, name string) *granary.Create {
	return &granary.Create{Parent: parent, Name: name, Type: granary.TypeDirectory, Mode: 0o755, Exclusive: true}
}

func (h *holderModel) lease() {
	h.next = granary.InodeID(h.m.ok(&granary.LeaseInodes{Dataset: granary.RootDataset, Count: 1000}).Offset)
	h.end = h.next + 1000
}

func (h *holderModel) dir() granary.InodeID { return rapid.SampledFrom(h.dirs).Draw(h.rt, "directory") }

func (h *holderModel) name() string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(h.rt, "name")
}

func (h *holderModel) take() {
	d := h.dir()
	r := h.m.ok(&granary.TakeDelegation{Inode: d})
	h.held[d], h.fence = true, max(h.fence, granary.Index(r.Offset))
}

// act does something in a directory that is held, or as usual in one that is not.
func (h *holderModel) act() {
	d, name := h.dir(), h.name()
	var op granary.Op
	if id := h.names[d][name]; id != 0 {
		op = &granary.Unlink{Parent: d, Name: name}
		delete(h.names[d], name)
	} else {
		id, h.next = h.next, h.next+1
		op = &granary.Create{Parent: d, Name: name, Type: granary.TypeRegular, Mode: 0o644, Exclusive: true, Inode: id}
		h.names[d][name] = id
	}
	if !h.held[d] {
		h.flush(len(h.pending)) // or ids would not be used in their order
		h.m.ok(op)
		return
	}
	h.pending = append(h.pending, granary.Request{Op: op})
}

// flush tells the first of what is pending, sometimes more than once.
func (h *holderModel) flush(n int) {
	for i := range h.pending[:n] {
		q := h.pending[i]
		for range rapid.IntRange(1, 2).Draw(h.rt, "times") {
			h.m.seq++
			q.Seq, q.Under = h.m.seq, &granary.Under{Order: h.ordered + 1 + uint64(i), Fence: h.fence, At: 5}
			r := h.m.item(&mutation{Session: h.m.session, LowestUnacked: h.m.seq, Request: q})
			if r.Err != nil && (r.Err.Kind != granary.KindStale || r.Offset != h.ordered+1+uint64(i)) {
				h.m.t.Fatalf("%+v: %v, at %d", q.Op, r.Err, r.Offset)
			}
		}
	}
	h.ordered += uint64(n)
	h.pending = h.pending[n:]
}

func (h *holderModel) giveBack(ids ...granary.InodeID) {
	h.flush(len(h.pending))
	h.m.ok(&granary.ReturnDelegation{Inodes: ids})
	for _, id := range ids {
		delete(h.held, id)
	}
}

// look has the other session look at a directory, or change it: once what is in the way was given back, it finds all.
func (h *holderModel) look() {
	d := h.dir()
	for try := 0; ; try++ {
		a, _, err := h.m.s.queryFor(h.m.t.Context(), h.other, nil, &granary.ReadDir{Inode: d}, allUp{})
		if granary.IsKind(err, granary.KindDelegated) && try == 0 && h.held[d] {
			h.giveBack(d)
			continue
		}
		if err != nil || try == 0 && h.held[d] {
			h.m.t.Fatalf("directory %d, held %v: %v", d, h.held[d], err)
		}
		found := map[string]granary.InodeID{}
		for _, e := range a.(*granary.Directory).Entries {
			found[e.Name] = e.Attr.Inode
		}
		if !maps.Equal(found, h.names[d]) {
			h.m.t.Fatalf("directory %d has %v, not %v", d, found, h.names[d])
		}
		return
	}
}

func (h *holderModel) meddle() {
	d, name := h.dir(), h.name()
	if h.names[d][name] == 0 {
		return
	}
	op := &granary.Unlink{Parent: d, Name: name}
	h.seq++
	do := func() granary.Result {
		return h.m.item(&mutation{Session: h.other, LowestUnacked: h.seq, Request: granary.Request{Seq: h.seq, Op: op}})
	}
	r := do()
	if h.held[d] {
		if kindOf(r) != granary.KindDelegated {
			h.m.t.Fatal("not refused:", r.Err)
		}
		h.giveBack(d)
		r = do() // under the same number: the first has left nothing
	}
	if r.Err != nil {
		h.m.t.Fatal(r.Err)
	}
	delete(h.names[d], name)
}

// TestDelegationsHideNothing has one session do things before it tells them, while another looks and meddles.
func TestDelegationsHideNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHolder(t, rt)
		defer h.m.close()
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0, 1:
				h.take()
			case 2:
				h.look()
			case 3:
				h.meddle()
			case 4:
				h.flush(rapid.IntRange(0, len(h.pending)).Draw(rt, "told"))
			case 5:
				if rapid.IntRange(0, 3).Draw(rt, "reopen") == 0 {
					h.m.close()
					h.m.open()
				}
			default:
				h.act()
			}
		}
		h.m.check()
		for _, d := range h.dirs {
			h.giveBack(d)
		}
		h.m.check()
	})
}

// TestOrderIsKept: whatever of what a session did is lost on its way, what is applied is the beginning of it.
func TestOrderIsKept(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	d := m.ok(mkdirOp(granary.RootInode, "d")).Attr.Inode
	fence := granary.Index(m.ok(&granary.TakeDelegation{Inode: d}).Offset)
	do := func(order uint64) granary.Result {
		m.seq++
		return m.item(&mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq,
			Op:    &granary.Create{Parent: d, Name: fmt.Sprint(order), Type: granary.TypeRegular, Exclusive: true},
			Under: &granary.Under{Order: order, Fence: fence, At: granary.Time(order)}}})
	}
	applied := uint64(0)
	for _, order := range []uint64{2, 1, 1, 3, 2, 2, 3, 5, 4, 3, 5, 6} {
		r := do(order)
		if (r.Err == nil) != (order == applied+1) || r.Err != nil && r.Offset != applied {
			t.Fatalf("%d after %d: %v, at %d", order, applied, r.Err, r.Offset)
		}
		if r.Err == nil {
			applied = order
			if r.Attr.Mtime != granary.Time(order) || r.Attr.Ctime != granary.Time(order) {
				t.Errorf("stamped %v, %v", r.Attr.Mtime, r.Attr.Ctime)
			}
		}
	}
	m.check()
}

// TestDelegationsEndWithTheSession: nothing is in the way any more, whatever it had not told is refused, and its records go in steps.
func TestDelegationsEndWithTheSession(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	holder := granary.SessionID(m.item(&openSession{Client: "holder"}).Offset)
	as := func(seq uint64, op granary.Op, u *granary.Under) granary.Result {
		return m.item(&mutation{Session: holder, LowestUnacked: seq, Request: granary.Request{Seq: seq, Op: op, Under: u}})
	}
	var dirs []granary.InodeID
	for i := range 30 {
		d := m.ok(mkdirOp(granary.RootInode, fmt.Sprint(i))).Attr.Inode
		dirs = append(dirs, d)
		if r := as(uint64(i+1), &granary.TakeDelegation{Inode: d}, nil); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	m.fails(granary.KindDelegated, mkdirOp(dirs[0], "x"))
	if held := m.s.heldByOthers(dirs, m.session); len(held) != len(dirs) || held[dirs[3]] != holder {
		t.Errorf("held are %v", held)
	}
	m.ok(&granary.Rmdir{Parent: granary.RootInode, Name: m.freed(as, dirs)})
	m.item(&expireSession{Session: holder})
	if held := m.s.heldByOthers(dirs, m.session); len(held) != 0 {
		t.Errorf("held are %v", held)
	}
	m.ok(mkdirOp(dirs[0], "x"))
	if r := as(99, mkdirOp(dirs[1], "y"), &granary.Under{Order: 1, Fence: m.index()}); kindOf(r) != granary.KindExpired {
		t.Errorf("told too late: %v", r.Err)
	}
	m.ok(&granary.TakeDelegation{Inode: dirs[2]})
	m.check()
	m.drain(10)
	m.check()
	if n := m.s.current().Delegations; n != 1 {
		t.Errorf("%d delegations are left", n)
	}
}

// freed has the holder give one directory back, and returns its name.
func (m *machine) freed(as func(uint64, granary.Op, *granary.Under) granary.Result, dirs []granary.InodeID) string {
	last := len(dirs) - 1
	if r := as(90, &granary.ReturnDelegation{Inodes: dirs[last:]}, nil); r.Err != nil {
		m.t.Fatal(r.Err)
	}
	return fmt.Sprint(last)
}

func (m *machine) index() granary.Index { return granary.Index(len(m.log)) }

// TestLeasedInodes: ids are used in their order and once, of the ranges that the session still has.
func TestLeasedInodes(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	var firsts []granary.InodeID
	for range granary.InodeLeasesMax + 1 {
		firsts = append(firsts, granary.InodeID(m.ok(&granary.LeaseInodes{Dataset: granary.RootDataset, Count: 10}).Offset))
	}
	create := func(id granary.InodeID) *granary.Create {
		return &granary.Create{Parent: granary.RootInode, Name: id.String(), Type: granary.TypeRegular, Exclusive: true, Inode: id}
	}
	m.fails(granary.KindStale, create(firsts[0])) // the oldest range went
	for _, id := range []granary.InodeID{firsts[8] + 3, firsts[1], firsts[8] + 4, firsts[1] + 9} {
		if r := m.ok(create(id)); r.Attr.Inode != id {
			t.Errorf("asked for %d, got %d", id, r.Attr.Inode)
		}
		again := create(id)
		again.Name += "again"
		m.fails(granary.KindStale, again)
	}
	m.fails(granary.KindStale, create(firsts[8]+2))
	if !slices.IsSorted(firsts) {
		t.Errorf("ranges begin at %v", firsts)
	}
	m.check()
}

// TestQuotasForbidDelegations: a holder could not keep them.
func TestQuotasForbidDelegations(t *testing.T) {
	for _, scope := range []granary.QuotaScope{granary.QuotaDataset, granary.QuotaUser} {
		m := newMachine(t)
		d := m.ok(mkdirOp(granary.RootInode, "d")).Attr.Inode
		q := &granary.SetQuota{Dataset: granary.RootDataset, Scope: scope, Limit: granary.Quota{Inodes: 1000}}
		if scope == granary.QuotaUser {
			q.ID = 7
		}
		m.ok(q)
		m.fails(granary.KindNotSupported, &granary.TakeDelegation{Inode: d})
		q.Limit = granary.Quota{}
		m.ok(q)
		m.ok(&granary.TakeDelegation{Inode: d})
		m.close()
	}
}

// TestHeldAreNamed: a quota of a dataset, and the removal of a tree, wait for the directories that others hold there, and name all of them up
// to a bound; what is held elsewhere is no matter.
func TestHeldAreNamed(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	other := granary.SessionID(m.item(&openSession{Client: "other", Nonce: 7}).Offset)
	seq := uint64(0)
	as := func(op granary.Op) granary.Result {
		t.Helper()
		seq++
		return m.item(&mutation{Session: other, LowestUnacked: seq, Request: granary.Request{Seq: seq, Op: op}})
	}
	top := m.ok(mkdirOp(granary.RootInode, "top")).Attr.Inode
	mid := m.ok(mkdirOp(top, "mid")).Attr.Inode
	elsewhere := m.ok(mkdirOp(granary.RootInode, "elsewhere")).Attr.Inode
	m.ok(&granary.TakeDelegation{Inode: elsewhere})
	if r := as(&granary.RemoveTree{Parent: top, Name: "mid"}); r.Err != nil {
		t.Fatal(r.Err)
	}
	mid = m.ok(mkdirOp(top, "mid")).Attr.Inode
	var held []granary.InodeID
	for i := range delegatedNamed + 3 {
		d := m.ok(mkdirOp(mid, fmt.Sprint("d", i))).Attr.Inode
		m.ok(&granary.TakeDelegation{Inode: d})
		held = append(held, d)
	}
	named := func(op granary.Op) []granary.InodeID {
		t.Helper()
		r := as(op)
		var d *granary.Delegated
		if r.Err == nil {
			return nil
		}
		if !errors.As(r.Err, &d) {
			t.Fatalf("%T: %v", op, r.Err)
		}
		return d.Inodes
	}
	remove, limit := &granary.RemoveTree{Parent: granary.RootInode, Name: "top"}, &granary.SetQuota{Dataset: granary.RootDataset, Limit: granary.Quota{Inodes: 1000}}
	if ids := named(remove); !slices.Equal(ids, held[:delegatedNamed]) {
		t.Fatalf("named are %v", ids)
	}
	m.ok(&granary.ReturnDelegation{Inodes: held[:delegatedNamed]})
	if ids := named(remove); !slices.Equal(ids, held[delegatedNamed:]) {
		t.Fatalf("named are %v", ids)
	}
	if ids := named(limit); len(ids) != 4 {
		t.Fatalf("for a quota, named are %v", ids)
	}
	m.ok(&granary.ReturnDelegation{Inodes: held[delegatedNamed:]})
	if ids := named(remove); ids != nil {
		t.Fatalf("named are %v", ids)
	}
	if ids := named(limit); !slices.Equal(ids, []granary.InodeID{elsewhere}) {
		t.Fatalf("for a quota, named are %v", ids)
	}
	m.ok(&granary.ReturnDelegation{Inodes: []granary.InodeID{elsewhere}})
	if ids := named(limit); ids != nil {
		t.Fatalf("for a quota, named are %v", ids)
	}
	m.check()
}

// TestListedAhead: what nobody has asked for leaves out directories that others hold, and says so; they are not asked back.
func TestListedAhead(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	other := granary.SessionID(m.item(&openSession{Client: "other", Nonce: 7}).Offset)
	held := m.ok(mkdirOp(granary.RootInode, "held")).Attr.Inode
	m.ok(mkdirOp(granary.RootInode, "free"))
	list := func(as granary.SessionID) (names []string, more bool) {
		t.Helper()
		a, _, err := m.s.queryFor(t.Context(), as, nil, &granary.ReadDir{Inode: granary.RootInode, Ahead: true}, allUp{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range a.(*granary.Directory).Entries {
			names = append(names, e.Name)
		}
		return names, a.(*granary.Directory).More
	}
	all := []string{"buckets", "free", "held"}
	if names, more := list(other); !slices.Equal(names, all) || more {
		t.Fatalf("%q, more %v", names, more)
	}
	m.ok(&granary.TakeDelegation{Inode: held})
	if names, more := list(other); !slices.Equal(names, all[:2]) || !more {
		t.Fatalf("%q, more %v, while one is held", names, more)
	}
	if names, more := list(m.session); !slices.Equal(names, all) || more {
		t.Fatalf("%q, more %v, for who holds it", names, more)
	}
}
