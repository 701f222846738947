package master

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestKeptIsTold: whatever sessions and the leader do, an answer that is kept is the answer still, unless the session that
// keeps it was told of a change of something that the answer speaks of.
func TestKeptIsTold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		x := &mixed{rt: rt, m: m, inodes: []granary.InodeID{granary.RootInode}, dirs: []granary.InodeID{granary.RootInode}}
		x.sessions = []mixedSession{{id: m.session}}
		x.addSession()
		m.register(4)
		k := newKeeper(rt, m)
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			for range 3 {
				k.ask(x)
			}
			x.step()
			k.check(x)
		}
	})
}

// keeper keeps what it was answered, as granary.Attend says.
type keeper struct {
	rt    *rapid.T
	m     *machine
	table *attendTable
	a     *attendee
	kept  map[string]keptAnswer
}

type keptAnswer struct {
	q      granary.Query
	answer granary.Answer
	keys   []noteKey
}

const keeperSession = 1 << 40

func newKeeper(rt *rapid.T, m *machine) *keeper {
	k := &keeper{rt: rt, m: m, table: newAttendTable(1, 40, newAttendMetrics()), kept: map[string]keptAnswer{}}
	k.a = k.table.admit(m.s, keeperSession, false, time.Now().Add(time.Hour))
	return k
}

// answer asks as the leader does, without waiting for what others are told.
func (k *keeper) answer(q granary.Query) (granary.Answer, granary.Index, []noteKey) {
	a, index, err := k.m.s.queryView(context.Background(), &view{live: allUp{}, keeps: true}, q)
	if err != nil {
		return nil, index, nil
	}
	switch a := a.(type) {
	case *granary.Found:
		return a, index, keysFound(q.(*granary.Lookup), a)
	case *granary.Directory:
		return a, index, keysListed(q.(*granary.ReadDir), a)
	}
	return nil, index, nil
}

func (k *keeper) ask(x *mixed) {
	var q granary.Query
	switch x.draw(3, "query") {
	case 0:
		q = &granary.Lookup{Base: x.inode(), Xattrs: true}
	case 1:
		q = &granary.Lookup{Base: x.dir(), Path: x.name(), Xattrs: true}
	default:
		q = &granary.ReadDir{Inode: x.dir()}
	}
	k.table.begin()
	a, index, keys := k.answer(q)
	if k.table.note(keeperSession, index, keys) == k.a.attendance && keys != nil {
		k.kept[fmt.Sprintf("%T %+v", q, q)] = keptAnswer{q, a, keys}
	}
}

// check takes in what was told, and compares what is left.
func (k *keeper) check(x *mixed) {
	k.table.mu.Lock()
	told := k.a.queue
	k.a.queue, k.a.queueFirst = nil, never
	k.table.mu.Unlock()
	for _, c := range told {
		for name, kept := range k.kept {
			for _, key := range kept.keys {
				if key == (noteKey{c.Inode, c.Name}) {
					delete(k.kept, name)
				}
			}
		}
	}
	for name, kept := range k.kept {
		if now, _, _ := k.answer(kept.q); !reflect.DeepEqual(now, kept.answer) {
			k.rt.Fatalf("after %s: %s\nwas answered %+v\nnow          %+v", x.last, name, kept.answer, now)
		}
	}
}

// tableOf is a table with sessions that attend, of a state in memory.
func tableOf(t *testing.T, sessions ...granary.SessionID) (*machine, *attendTable, []*attendee) {
	m := newMachine(t)
	t.Cleanup(m.close)
	table := newAttendTable(1, 100, newAttendMetrics())
	var all []*attendee
	for _, id := range sessions {
		all = append(all, table.admit(m.s, id, false, time.Now()))
	}
	return m, table, all
}

// keeps has a session ask for a name in the root directory.
func keeps(t *testing.T, m *machine, table *attendTable, session granary.SessionID, name string) uint64 {
	t.Helper()
	table.begin()
	q := &granary.Lookup{Base: granary.RootInode, Path: name}
	a, index, err := m.s.queryView(t.Context(), &view{live: allUp{}, keeps: true}, q)
	if err != nil {
		t.Fatal(err)
	}
	return table.note(session, index, keysFound(q, a.(*granary.Found)))
}

// TestAttendLapse: a result is held back until the change has been taken in, or the lease has run out.
func TestAttendLapse(t *testing.T) {
	m, table, all := tableOf(t, 100, 200)
	for _, a := range all {
		a.until = time.Now().Add(leaseMax)
		if keeps(t, m, table, a.session, "x") != a.attendance {
			t.Fatal("it may not be kept")
		}
	}
	r := m.ok(createOp("x"))
	until := all[1].until
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		if err := table.settle(t.Context(), r.Index); err != nil {
			t.Error(err)
		}
	}()
	if err := table.settle(t.Context(), r.Index-1); err != nil {
		t.Error(err)
	}
	n, err := table.answer(all[0], 0, time.Second, time.Now().Add(time.Second), false)
	if err != nil || n == nil || len(n.Changes) != 1 || n.Changes[0] != (granary.Change{Inode: granary.RootInode, Name: "x", Index: r.Index}) {
		t.Fatalf("told %+v, %v", n, err)
	}
	if a, _, _ := table.call(&granary.Attend{Session: 100, Attendance: n.Attendance, Taken: n.Number}, time.Now()); a != all[0] {
		t.Error("it does not attend any more")
	}
	<-settled
	if time.Now().Before(until) {
		t.Error("the other was not waited for")
	}
	if a, _, _ := table.call(&granary.Attend{Session: 200, Attendance: all[1].attendance}, time.Now()); a != nil {
		t.Error("who did not take it in attends still")
	}
}

// TestAttendAgain: an answer that was lost is given once more, and until it is taken in everything after it is held back, also what
// changes later what nobody keeps any more.
func TestAttendAgain(t *testing.T) {
	m, table, all := tableOf(t, 100)
	a := all[0]
	a.until = time.Now().Add(time.Hour)
	keeps(t, m, table, 100, "x")
	first := m.ok(createOp("x"))
	n, err := table.answer(a, 0, 0, time.Time{}, false)
	if err != nil || len(n.Changes) != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	second := m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "x"})
	for range 2 {
		if ok, _, _ := table.settled(second.Index, time.Now()); ok {
			t.Fatal("the second change may be seen, but not even the first was taken in")
		}
		if ok, _, _ := table.settled(first.Index-1, time.Now()); !ok {
			t.Fatal("what was before is held back")
		}
		_, call, _ := table.call(&granary.Attend{Session: 100, Attendance: n.Attendance, Taken: n.Number - 1}, time.Now())
		if n, err = table.answer(a, call, 0, time.Time{}, false); err != nil || len(n.Changes) != 1 {
			t.Fatalf("once more: %+v, %v", n, err)
		}
	}
	table.call(&granary.Attend{Session: 100, Attendance: n.Attendance, Taken: n.Number}, time.Now())
	if ok, _, _ := table.settled(second.Index, time.Now()); !ok {
		t.Error("it was taken in, and is waited for")
	}
}

// TestAttendRaces: what changed after the state was read that an answer is from, is not kept.
func TestAttendRaces(t *testing.T) {
	m, table, all := tableOf(t, 100)
	all[0].until = time.Now().Add(time.Hour)
	table.begin()
	q := &granary.Lookup{Base: granary.RootInode, Path: "x"}
	a, index, err := m.s.queryView(t.Context(), &view{live: allUp{}, keeps: true}, q)
	if err != nil {
		t.Fatal(err)
	}
	m.ok(createOp("x"))
	if table.note(100, index, keysFound(q, a.(*granary.Found))) != 0 {
		t.Error("that there is no x may be kept, though there is")
	}
	if keeps(t, m, table, 100, "x") == 0 || keeps(t, m, table, 100, "y") == 0 || keeps(t, m, table, 999, "x") != 0 {
		t.Error("kept wrongly")
	}
}

// TestAttendOwn: a session is not told of what its own mutation names, if it sees to that, and keeps it; others are, and it is if it
// does not.
func TestAttendOwn(t *testing.T) {
	m, table, all := tableOf(t, 0, 200)
	own := table.admit(m.s, m.session, false, time.Now())
	for _, a := range append(all, own) {
		a.until = time.Now().Add(time.Hour)
	}
	keeps(t, m, table, m.session, "x")
	keeps(t, m, table, 200, "x")
	over := table.expect(&granary.MutateRequest{Session: m.session, Attendance: own.attendance, Requests: []granary.Request{{Seq: m.seq + 1}}})
	m.ok(createOp("x"))
	over()
	if len(own.queue) != 0 || len(all[1].queue) != 1 {
		t.Fatalf("told %v and %v", own.queue, all[1].queue)
	}
	m.ok(&granary.SetAttr{Inode: ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: "x"}).Entry.Attr.Inode, Mode: ptr(uint32(0o600))})
	if len(own.queue) != 1 || own.queueFirst == never {
		t.Errorf("told %v", own.queue)
	}
}

// TestAttendSameEntry: of an inode that two items of an entry change, one by a session that sees to it itself and one by another, that
// session is told.
func TestAttendSameEntry(t *testing.T) {
	m, table, _ := tableOf(t)
	own := table.admit(m.s, m.session, false, time.Now())
	own.until = time.Now().Add(time.Hour)
	id := m.ok(createOp("x")).Attr.Inode
	over := table.expect(&granary.MutateRequest{Session: m.session, Attendance: own.attendance, Requests: []granary.Request{{Seq: m.seq + 1}}})
	defer over()
	m.seq++
	results := m.items(
		&mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: &granary.SetAttr{Inode: id, Mode: ptr(uint32(0o600))}}},
		&mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq + 1, Op: &granary.SetAttr{Inode: id, Mode: ptr(uint32(0o640))}}},
	)
	m.seq++
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if len(own.queue) != 1 || own.queue[0].Inode != id {
		t.Fatalf("told %v", own.queue)
	}
}

// TestAttendTaken: who keeps a directory, names in it or what they lead to is told when another session takes it, and who holds it when
// it gives it back: it changed things there without a word.
func TestAttendTaken(t *testing.T) {
	m, table, all := tableOf(t, 100)
	a := all[0]
	own := table.admit(m.s, m.session, false, time.Now())
	for _, a := range []*attendee{a, own} {
		a.until = time.Now().Add(time.Hour)
	}
	dir := m.ok(mkdirOp(granary.RootInode, "d")).Attr.Inode
	lists := func(session granary.SessionID) {
		t.Helper()
		for _, q := range []granary.Query{&granary.Lookup{Base: dir, Path: "x"}, &granary.ReadDir{Inode: dir}} {
			table.begin()
			answer, index, err := m.s.queryView(t.Context(), &view{live: allUp{}, keeps: true, asking: session}, q)
			if err != nil {
				t.Fatal(err)
			}
			var keys []noteKey
			switch q := q.(type) {
			case *granary.Lookup:
				keys = keysFound(q, answer.(*granary.Found))
			case *granary.ReadDir:
				keys = keysListed(q, answer.(*granary.Directory))
			}
			if table.note(session, index, keys) == 0 {
				t.Fatal("it may not be kept")
			}
		}
	}
	told := func(a *attendee) (keys []noteKey) {
		for _, c := range a.queue {
			keys = append(keys, noteKey{c.Inode, c.Name})
		}
		a.queue, a.queueFirst = nil, never
		return keys
	}
	want := []noteKey{{inode: dir}, {dir, "x"}}
	a.queue = nil
	lists(100)
	m.ok(&granary.TakeDelegation{Inode: dir})
	if got := told(a); !slices.Equal(got, want) {
		t.Fatalf("told %v, not %v", got, want)
	}
	told(own)
	lists(m.session)
	m.ok(&granary.ReturnDelegation{Inodes: []granary.InodeID{dir}})
	if got := told(own); !slices.Equal(got, want) {
		t.Fatalf("the holder is told %v, not %v", got, want)
	}
}

// TestAttendTwins: what a name leads to may change with either of its two keys.
func TestAttendTwins(t *testing.T) {
	m, table, all := tableOf(t, 100)
	all[0].until = time.Now().Add(time.Hour)
	m.ok(&granary.Create{Parent: granary.RootInode, Name: "x", Key: true, Type: granary.TypeRegular, Mode: 0o644})
	keeps(t, m, table, 100, "x")
	all[0].queue = nil
	m.ok(&granary.Create{Parent: granary.RootInode, Name: "x/y", Key: true, Type: granary.TypeRegular, Mode: 0o644})
	if !slices.ContainsFunc(all[0].queue, func(c granary.Change) bool { return c.Name == "x" }) {
		t.Fatalf("told %v", all[0].queue)
	}
	l := &leadership{attend: table}
	for _, q := range []granary.Query{
		&granary.Lookup{Base: granary.RootInode, Path: "%file:x"}, &granary.Lookup{Base: granary.RootInode, Path: "x", Key: true},
		&granary.Lookup{Base: granary.RootInode, Path: "x/y"},
	} {
		if l.mayKeep(&granary.QueryRequest{Keep: true, Query: q}) {
			t.Errorf("%+v may be kept", q)
		}
	}
	d := ask[*granary.Directory](m, &granary.ReadDir{Inode: granary.RootInode})
	for _, k := range keysListed(&granary.ReadDir{Inode: granary.RootInode}, d) {
		if strings.HasPrefix(k.name, "%") {
			t.Errorf("%v is noted", k)
		}
	}
}

// TestAttendBound: there are no more notes than allowed, and whose go is told.
func TestAttendBound(t *testing.T) {
	m, table, all := tableOf(t, 100)
	all[0].until = time.Now().Add(time.Hour)
	for i := range 500 {
		if keeps(t, m, table, 100, fmt.Sprint(i)) == 0 {
			t.Fatal("not kept")
		}
		if table.noted > 100 {
			t.Fatalf("%d notes", table.noted)
		}
	}
	if len(all[0].queue)+table.noted != 500 || all[0].notes != table.noted {
		t.Errorf("%d told, %d kept, counted %d", len(all[0].queue), table.noted, all[0].notes)
	}
	index := granary.Index(m.s.head.Applied)
	if ok, _, _ := table.settled(index, time.Now()); ok {
		t.Error("nobody waits until it is taken in")
	}
	table.forget(all[0])
	if ok, _, _ := table.settled(index, time.Now()); !ok || !table.tidy(time.Now()) || table.noted != 0 || len(table.notes) != 0 {
		t.Errorf("%d notes of nobody", table.noted)
	}
}

// cachingClient attends, and answers from what it has kept while the lease lasts. It keeps one thing: the register.
type cachingClient struct {
	*testClient
	g *group

	mu         sync.Mutex
	attendance uint64
	until      time.Time
	value      *string
	changes    int // told of so far
	hits       *atomic.Int64
}

// attend takes in what leaders tell until ctx ends.
func (c *cachingClient) attend(ctx context.Context) {
	var taken uint64
	for at := 0; ctx.Err() == nil; {
		nodes := c.g.runningNodes()
		s := nodes[at%len(nodes)]
		c.mu.Lock()
		under := c.attendance
		c.mu.Unlock()
		sent := time.Now()
		n, err := s.Attend(ctx, &granary.Attend{Session: c.session, Attendance: under, Taken: taken})
		if err != nil {
			at++
			pause(ctx, time.Millisecond)
			continue
		}
		taken = n.Number
		c.mu.Lock()
		if n.Attendance != under || len(n.Changes) > 0 {
			c.value = nil
			c.changes++
		}
		c.attendance = n.Attendance
		if n.Attendance != under {
			c.until = time.Time{}
		}
		if end := sent.Add(time.Duration(n.Lease)); end.After(c.until) {
			c.until = end
		}
		c.mu.Unlock()
	}
}

// read reads the register, from memory if it may.
func (c *cachingClient) read(ctx context.Context) (string, bool) {
	c.mu.Lock()
	if c.value != nil && c.attendance != 0 && time.Now().Before(c.until) {
		defer c.mu.Unlock()
		c.hits.Add(1)
		return *c.value, true
	}
	changes := c.changes
	c.mu.Unlock()
	for ctx.Err() == nil {
		for _, s := range c.g.runningNodes() {
			a, _, err := s.Query(ctx, &granary.QueryRequest{Session: c.session, Keep: true, Query: &granary.Lookup{Base: granary.RootInode, Xattrs: true}})
			if err != nil {
				continue
			}
			found, value := a.(*granary.Found), ""
			for _, x := range found.Xattrs {
				if x.Name == registerName {
					value = string(x.Value)
				}
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if found.Attendance != 0 && found.Attendance == c.attendance && c.changes == changes {
				c.value = &value
			}
			return value, true
		}
		pause(ctx, time.Millisecond)
	}
	return "", false
}

func (g *group) runningNodes() []*Server {
	g.mu.Lock()
	defer g.mu.Unlock()
	var nodes []*Server
	for _, s := range g.running {
		if s != nil {
			nodes = append(nodes, s)
		}
	}
	return nodes
}

// TestLinearizableKept: sessions that attend read one value from what they have kept, while others write it and leaders hand over,
// are cut off, or die and come back: what they saw is what a single register would have shown.
func TestLinearizableKept(t *testing.T) {
	handOver := func(g *group, at int) {
		if err := g.nodes[at].handOver(g.t.Context()); err != nil {
			t.Logf("transfer: %v", err)
		}
	}
	cutOff := func(g *group, at int) {
		g.connect(func(i, j int) bool { return i != at && j != at })
		g.leader(at)
		g.connect(func(int, int) bool { return true })
	}
	die := func(g *group, at int) {
		dir := g.stop(at)
		g.leader()
		g.startAt(at, dir, nil)
	}
	t.Run("cut off", func(t *testing.T) { linearizableKept(t, true, handOver, cutOff, cutOff) })
	t.Run("die", func(t *testing.T) { linearizableKept(t, false, handOver, die, die) })
}

func linearizableKept(t *testing.T, inmem bool, troubles ...func(g *group, leader int)) {
	g := newGroup(t, 3, inmem, electing)
	ctx, cancel := context.WithCancel(t.Context())
	h := &keptHistory{began: time.Now()}
	var writing, reading, attending sync.WaitGroup
	over := make(chan struct{})
	var hits atomic.Int64
	for id := range 3 {
		c := &cachingClient{testClient: g.client(), g: g, hits: &hits}
		attending.Go(func() { c.attend(ctx) })
		reading.Go(func() { h.reader(ctx, id, c, over) })
	}
	for id := 3; id < 5; id++ {
		c := g.client()
		writing.Go(func() { h.writer(ctx, id, c, g) })
	}
	for _, trouble := range troubles {
		trouble(g, g.leader())
		g.leader()
	}
	writing.Wait()
	close(over)
	reading.Wait()
	cancel()
	attending.Wait()
	t.Logf("%d operations; %d reads of what was kept", len(h.all), hits.Load())
	if hits.Load() == 0 {
		t.Error("nothing was read from what was kept")
	}
	if !porcupine.CheckOperations(registerModel(), h.all) {
		t.Error("the history is not linearizable")
	}
}

// keptHistory is what several have seen.
type keptHistory struct {
	began time.Time
	mu    sync.Mutex
	all   []porcupine.Operation
}

func (h *keptHistory) note(id int, op registerOp, start time.Duration, known bool) {
	end := time.Since(h.began)
	if !known {
		end = time.Hour
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, porcupine.Operation{ClientId: id, Input: op, Output: op.value, Call: int64(start), Return: int64(end)})
}

func (h *keptHistory) reader(ctx context.Context, id int, c *cachingClient, over <-chan struct{}) {
	for {
		start := time.Since(h.began)
		if value, known := c.read(ctx); known {
			h.note(id, registerOp{value: value}, start, true)
		}
		select {
		case <-over:
			return
		default:
			pause(ctx, 3*time.Millisecond) // or the history has nothing but reads
		}
	}
}

func (h *keptHistory) writer(ctx context.Context, id int, c *testClient, g *group) {
	for n := range 60 {
		op := registerOp{write: true, value: fmt.Sprintf("%d-%d", id, n)}
		x := granary.Xattr{Name: registerName, Value: []byte(op.value)}
		start, known := time.Since(h.began), false
		for !known && ctx.Err() == nil {
			for _, s := range g.runningNodes() {
				_, err := c.send(s, uint64(n+1), &granary.SetXattr{Inode: granary.RootInode, Xattr: x})
				if known = err == nil; known {
					break
				}
				if k := granary.KindOf(err); k != granary.KindUnavailable && k != granary.KindIndeterminate {
					c.t.Errorf("register: %v", err)
					return
				}
			}
			pause(ctx, time.Millisecond)
		}
		h.note(id, op, start, known)
		pause(ctx, 10*time.Millisecond)
	}
}

// TestAttendSingle: a node that is alone and was started again waits until leases are over that it gave before.
func TestAttendSingle(t *testing.T) {
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	c := newClient(t, s)
	n, err := s.Attend(t.Context(), &granary.Attend{Session: c.session})
	if err != nil || n.Attendance>>32 == 0 || n.Lease <= 0 || time.Duration(n.Lease) > leaseMax+time.Second {
		t.Fatalf("%+v, %v", n, err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	again := openAlone(t, dir, nil)
	if d := time.Since(stopped); d < leaseMax {
		t.Errorf("it leads again after %v", d)
	}
	second, err := again.Attend(t.Context(), &granary.Attend{Session: c.session, Attendance: n.Attendance, Taken: n.Number})
	if err != nil || second.Attendance <= n.Attendance {
		t.Errorf("%+v, %v", second, err)
	}
}

// TestAttendServer goes through the calls: a session keeps what it is answered, is told when another changes it, and neither the
// change's own result nor an answer that shows it comes before that is taken in.
func TestAttendServer(t *testing.T) {
	s := openAlone(t, t.TempDir(), func(o *Options) { o.Registerer = prometheus.NewRegistry() })
	a, b := newClient(t, s), newClient(t, s)
	attend := func(n *granary.Notices) *granary.Notices {
		t.Helper()
		n, err := s.Attend(t.Context(), &granary.Attend{Session: a.session, Attendance: n.Attendance, Taken: n.Number})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := attend(&granary.Notices{})
	ask := &granary.QueryRequest{Session: a.session, Keep: true, Query: &granary.Lookup{Base: granary.RootInode, Path: "x"}}
	answer, _, err := s.Query(t.Context(), ask)
	if found, ok := answer.(*granary.Found); err != nil || !ok || !found.Missing || found.Attendance != n.Attendance || found.Rest != "x" || found.Parent != granary.RootInode {
		t.Fatalf("%+v, %v", answer, err)
	}
	var taking atomic.Bool
	early := make(chan string, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		b.do(s, createOp("x"))
		if !taking.Load() {
			early <- "the result"
		}
	})
	began := time.Now()
	for n = attend(n); len(n.Changes) == 0; n = attend(n) {
	}
	if n.Changes[0].Name != "x" || n.Changes[0].Inode != granary.RootInode {
		t.Errorf("told %+v", n.Changes)
	}
	wg.Go(func() {
		if _, err := lookup(t, s, "x"); err != nil {
			t.Error(err)
		}
		if !taking.Load() {
			early <- "an answer"
		}
	})
	eventually(t, "somebody waits", func() error {
		if s.leading.Load().attend.waits() {
			return nil
		}
		return fmt.Errorf("nobody does")
	})
	taking.Store(true)
	attend(n)
	wg.Wait()
	select {
	case what := <-early:
		if time.Since(began) < leaseMax {
			t.Errorf("%s came before the change was taken in", what)
		}
	default:
	}
}

func (t *attendTable) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.news != nil
}
