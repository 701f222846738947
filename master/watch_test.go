package master

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// watchAt asks a node for changes below the root.
func watchAt(ctx context.Context, s *Server, q granary.Watch) (*granary.Changes, error) {
	if q.Inode == 0 {
		q.Inode = granary.RootInode
	}
	a, _, err := s.Query(ctx, &granary.QueryRequest{Query: &q})
	if err != nil {
		return nil, err
	}
	return a.(*granary.Changes), nil
}

// TestChangeRecords: what is encoded is decoded again, whatever it is.
func TestChangeRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e encoder
		var want []changeRecord
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			r := changeRecord{
				Kind:     granary.ChangeKind(rapid.IntRange(1, int(granary.ChangeUnmark)).Draw(t, "kind")),
				Replaced: rapid.Bool().Draw(t, "replaced"), Exchanged: rapid.Bool().Draw(t, "exchanged"), Implicit: rapid.Bool().Draw(t, "implicit"),
				Type: granary.TypeRegular, Inode: granary.InodeID(rapid.Uint64().Draw(t, "inode")), Parent: granary.InodeID(rapid.Uint64().Draw(t, "parent")),
				Named: rapid.Bool().Draw(t, "named"), Size: rapid.Uint64().Draw(t, "size"), UID: rapid.Uint32().Draw(t, "uid"),
				Origin: granary.Origin(rapid.IntRange(0, 4).Draw(t, "origin")), ETag: rapid.String().Draw(t, "etag"), Version: granary.ObjectVersion(rapid.Uint64().Draw(t, "version")),
			}
			if r.Named {
				r.Name = rapid.String().Draw(t, "name")
			}
			switch r.Kind {
			case granary.ChangeRename:
				r.OldParent, r.OldName = granary.InodeID(rapid.Uint64().Draw(t, "from")), rapid.String().Draw(t, "old")
			case granary.ChangeXattr:
				r.Attribute = rapid.String().Draw(t, "attribute")
			}
			encodeChange(&e, &r)
			want = append(want, r)
		}
		d := decoder{b: e.b, version: formatVersion}
		for i := range want {
			if got := decodeChange(&d); got != want[i] {
				t.Fatalf("%+v became %+v", want[i], got)
			}
		}
		if err := d.done(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTrimByBytes: the oldest changes go when there are more than are kept, and no more of them; another state that applies the same
// log at once is the same.
func TestTrimByBytes(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.ok(&granary.SetChangeLog{Settings: granary.ChangeLog{Keep: 3600e9, MaxBytes: 1 << 20}})
	long := string(slices.Repeat([]byte{'x'}, 250))
	for i := range 6000 {
		m.ok(&granary.Create{Parent: granary.RootInode, Name: fmt.Sprint(long, i)[4:], Type: granary.TypeRegular})
	}
	var tr trimmer
	it, err := tr.look(m.s, m.time)
	if err != nil || it == nil {
		t.Fatal(it, err)
	}
	if r := m.item(it); r.Err != nil {
		t.Fatal(r.Err)
	}
	m.check()
	is := ask[*granary.ChangeLogIs](m, &granary.GetChangeLog{})
	if is.Bytes < 1<<20-1000 || is.Bytes > 1<<20+1000 || is.Oldest.Index != it.UpTo+1 {
		t.Errorf("%+v are kept", is)
	}
	if it, err := tr.look(m.s, m.time); err != nil || it != nil {
		t.Errorf("%+v is to go then, %v", it, err)
	}
	seen, from := 0, is.Oldest
	for more := true; more; {
		a := ask[*granary.Changes](m, &granary.Watch{Inode: granary.RootInode, From: from})
		seen, from, more = seen+len(a.Changes), a.Next, a.More
	}
	if last := m.s.head.Applied; uint64(seen) != last-1-uint64(it.UpTo) { // but for the trim itself
		t.Errorf("%d changes, and not those of entries %d to %d", seen, is.Oldest.Index, last)
	}
	again := newMachine(t)
	defer again.close()
	again.s.apply(m.log)
	if dump(again.s) != dump(m.s) {
		t.Error("applied at once, the log gives another state")
	}
	again.check()
}

// TestChangesAreToldOnce: of a directory that is removed all is told, and then that it is removed; in pieces of any size nothing is told twice,
// nor left out.
func TestChangesAreToldOnce(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	var c command
	c.Time = m.time
	for i := range uint64(10) { // an entry of several changes
		c.Items = append(c.Items, &mutation{Session: m.session, Request: granary.Request{Seq: m.seq + 1 + i, Op: &granary.Create{
			Parent: d, Name: fmt.Sprint(i), Type: granary.TypeRegular}}})
	}
	m.seq += 10
	m.items(c.Items...)
	for i := range 10 {
		m.ok(&granary.Unlink{Parent: d, Name: fmt.Sprint(i)})
	}
	m.ok(&granary.Rmdir{Parent: granary.RootInode, Name: "d"})
	var all []granary.Position
	at := granary.Position{}
	for from := (granary.Position{Index: 3}); ; from = at {
		a := ask[*granary.Changes](m, &granary.Watch{Inode: d, From: from, Limit: 4})
		for i := range a.Changes {
			e := &a.Changes[i]
			if !from.Before(e.At) || e.Path[:2] != "/d" {
				t.Fatalf("%+v after %s", e, from)
			}
			all = append(all, e.At)
			// Who was cut off in the middle of an entry goes on there.
			rest := ask[*granary.Changes](m, &granary.Watch{Inode: d, From: e.At, Limit: 1})
			if i+1 < len(a.Changes) && (len(rest.Changes) == 0 || rest.Changes[0].At != a.Changes[i+1].At) {
				t.Fatalf("after %s comes %+v, and not %+v", e.At, rest, a.Changes[i+1])
			}
		}
		if at = a.Next; a.Removed {
			break
		}
	}
	if len(all) != 22 || !slices.IsSortedFunc(all, func(a, b granary.Position) int {
		if a.Before(b) {
			return -1
		}
		return 1
	}) {
		t.Errorf("%d changes: %v", len(all), all)
	}
	if _, err := m.query(&granary.Watch{Inode: d, Start: granary.WatchNow}); !granary.IsKind(err, granary.KindNotFound) {
		t.Errorf("a watch of what is gone: %v", err)
	}
	if _, err := m.query(&granary.Watch{Inode: granary.RootInode, From: granary.Position{Index: 1 << 30}}); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("a watch from what is to come: %v", err)
	}
}

// TestNamesAreNotFoundInLargeDirectories: a change of an inode in a directory of too many names is told with that directory alone, which is
// not looked through each time; of one that was seen under its name it is told with that.
func TestNamesAreNotFoundInLargeDirectories(t *testing.T) {
	m := newMachine(t)
	defer func() { m.close() }()
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	var items []item
	for i := range watchNames + 10 {
		m.seq++
		items = append(items, &mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: &granary.Create{
			Parent: d, Name: fmt.Sprintf("%06d", i), Type: granary.TypeRegular}}})
		if len(items) == 1000 || i == watchNames+9 {
			m.items(items...)
			items = nil
		}
	}
	last := fmt.Sprintf("d/%06d", watchNames+9)
	f := ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: last}).Entry.Attr.Inode
	m.close() // what was seen is forgotten
	m.open()
	from := granary.Position{Index: granary.Index(m.s.head.Applied) + 1}
	m.ok(&granary.SetAttr{Inode: f, Mode: ptr(uint32(0o600))})
	if a := ask[*granary.Changes](m, &granary.Watch{Inode: d, From: from}); len(a.Changes) != 1 || a.Changes[0].Path != "/d/" || a.Changes[0].Inode != f {
		t.Fatalf("%+v", a)
	}
	if !m.s.logWatch.hints.tooLarge(d) {
		t.Error("it would be looked through again")
	}
	m.ok(&granary.Rename{SrcParent: d, SrcName: last[2:], DstParent: d, DstName: "named"})
	m.ok(&granary.SetAttr{Inode: f, Mode: ptr(uint32(0o644))})
	if a := ask[*granary.Changes](m, &granary.Watch{Inode: d, From: from}); len(a.Changes) != 3 || a.Changes[2].Path != "/d/named" {
		t.Fatalf("%+v", a)
	}
}

// TestWatchWakes: who waits is answered by what changes below what he watches, and by nothing else; and in time.
func TestWatchWakes(t *testing.T) {
	s := openAlone(t, t.TempDir(), nil)
	c := newClient(t, s)
	d := c.do(s, &granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory}).Attr.Inode
	now, err := watchAt(t.Context(), s, granary.Watch{Inode: d, Start: granary.WatchNow})
	if err != nil || len(now.Changes) > 0 {
		t.Fatal(now, err)
	}
	type answer struct {
		changes *granary.Changes
		err     error
	}
	waiting := make(chan answer, 1)
	go func() {
		a, err := watchAt(t.Context(), s, granary.Watch{Inode: d, From: now.Next, Wait: granary.WatchWaitMax})
		waiting <- answer{a, err}
	}()
	c.do(s, createOp("elsewhere"))
	f := c.do(s, &granary.Create{Parent: d, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	a := <-waiting
	if a.err != nil || len(a.changes.Changes) != 1 || a.changes.Changes[0].Inode != f || a.changes.Changes[0].Path != "/d/f" {
		t.Fatalf("%+v", a)
	}
	// What was acknowledged before is seen, without waiting.
	if again, err := watchAt(t.Context(), s, granary.Watch{Inode: d, From: now.Next}); err != nil || len(again.Changes) != 1 {
		t.Fatal(again, err)
	}
	none, err := watchAt(t.Context(), s, granary.Watch{Inode: d, From: a.changes.Next, Wait: granary.Time(10 * time.Millisecond)})
	if err != nil || len(none.Changes) != 0 || none.Next.Before(a.changes.Next) {
		t.Fatal(none, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		a, err := watchAt(ctx, s, granary.Watch{Inode: d, From: none.Next, Wait: granary.WatchWaitMax})
		waiting <- answer{a, err}
	}()
	cancel()
	if a := <-waiting; a.err == nil {
		t.Errorf("a call that was given up: %+v", a.changes)
	}
	c.do(s, &granary.SetChangeLog{})
	if _, err := watchAt(t.Context(), s, granary.Watch{From: now.Next}); !granary.IsKind(err, granary.KindNotSupported) {
		t.Errorf("a watch without a log: %v", err)
	}
	c.do(s, &granary.SetChangeLog{Settings: granary.DefaultChangeLog()})
	if a, err := watchAt(t.Context(), s, granary.Watch{From: now.Next}); err != nil || !a.Behind || !now.Next.Before(a.Oldest) {
		t.Errorf("after a time without a log: %+v, %v", a, err)
	}
}

// TestWatchAcrossLeaders changes leaders while files are made, and one watches: he hears of each once, in the order in which they were
// committed.
func TestWatchAcrossLeaders(t *testing.T) {
	g := newGroup(t, 3, true, electing)
	c := g.client()
	const files = 60
	var at granary.Position
	g.anywhere("begin to watch", func(s *Server) error {
		a, err := watchAt(t.Context(), s, granary.Watch{Start: granary.WatchNow})
		if err == nil {
			at = a.Next
		}
		return err
	})
	seen := make(chan []granary.Event, 1)
	watching := &group{t: t, nodes: slices.Clone(g.nodes)}
	go func() {
		var all []granary.Event
		for len(all) < files && t.Context().Err() == nil {
			watching.anywhere("watch", func(s *Server) error {
				a, err := watchAt(t.Context(), s, granary.Watch{From: at, Limit: 7, Wait: granary.Time(time.Second)})
				if err == nil {
					all, at = append(all, a.Changes...), a.Next
				}
				return err
			})
		}
		seen <- all
	}()
	var made []granary.InodeID
	for i := range files {
		if i%20 == 10 {
			g.handOver((g.leader() + 1) % 3)
		}
		made = append(made, g.do(c, createOp(fmt.Sprint("f", i))).Attr.Inode)
	}
	all := <-seen
	if len(all) != files {
		t.Fatalf("%d changes", len(all))
	}
	for i := range all {
		if all[i].Inode != made[i] || all[i].Path != fmt.Sprint("/f", i) {
			t.Errorf("change %d is %+v, and not of inode %d", i, all[i], made[i])
		}
	}
	for i, s := range g.nodes { // the log is the same everywhere
		st := s.states.acquire()
		if err := st.check(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		st.release()
	}
}
