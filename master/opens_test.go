package master

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// opener is a session that opens files, and reports as a client does.
type opener struct {
	*testClient
	report uint64
}

// open opens what a path leads to.
func (o *opener) open(s *Server, path string) (granary.Attr, error) {
	return o.openAt(s, granary.RootInode, path)
}

func (o *opener) openAt(s *Server, base granary.InodeID, path string) (granary.Attr, error) {
	a, _, err := s.Query(o.t.Context(), &granary.QueryRequest{Session: o.session, Query: &granary.Lookup{Base: base, Path: path, Open: true}})
	if err != nil {
		return granary.Attr{}, err
	}
	return a.(*granary.Found).Entry.Attr, nil
}

// tell sends a report to the leader at hand, and returns its term.
func (o *opener) tell(s *Server, k granary.KeepAlive) uint64 {
	o.t.Helper()
	k.Session = o.session
	if k.Term == 0 {
		k.Term = s.leading.Load().term
	}
	if k.Report == 0 {
		o.report++
		k.Report = o.report
	}
	r, err := s.KeepAlive(o.t.Context(), &k)
	if err != nil {
		o.t.Fatal(err)
	}
	return r.Term
}

func newOpener(t *testing.T, s *Server) *opener { return &opener{testClient: newClient(t, s)} }

// exists reports whether the inode is there, by any name or none.
func exists(t *testing.T, s *Server, id granary.InodeID) bool {
	t.Helper()
	_, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.Lookup{Base: id}})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func waitGone(t *testing.T, s *Server, id granary.InodeID) {
	t.Helper()
	eventually(t, "the end of the file", func() error {
		if exists(t, s, id) {
			return errors.New("it is there")
		}
		return nil
	})
}

// dropAnother makes a file, removes it, and waits until it is dropped: so everything that was nameless before, and could
// be dropped, has been.
func dropAnother(t *testing.T, s *Server, c *testClient) {
	t.Helper()
	r := c.do(s, createOp("another"))
	c.do(s, &granary.Unlink{Parent: granary.RootInode, Name: "another"})
	waitGone(t, s, r.Attr.Inode)
}

// TestOpenFilesStay: whatever takes a file's last name, who has it open keeps it until it closes it.
func TestOpenFilesStay(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	a, b := newOpener(t, s), newOpener(t, s)
	ways := map[string]func(){
		"unlink":      func() { b.do(s, &granary.Unlink{Parent: granary.RootInode, Name: "f"}) },
		"remove tree": func() { b.do(s, &granary.RemoveTree{Parent: granary.RootInode, Name: "f"}) },
		"replace": func() {
			b.do(s, &granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Replace: true})
		},
		"rename": func() {
			b.do(s, createOp("g"))
			b.do(s, &granary.Rename{SrcParent: granary.RootInode, SrcName: "g", DstParent: granary.RootInode, DstName: "f"})
		},
		"link": func() {
			an := b.do(s, &granary.Create{Parent: granary.RootInode, Type: granary.TypeRegular, Anonymous: true})
			b.do(s, &granary.Link{Inode: an.Attr.Inode, Parent: granary.RootInode, Name: "f", Replace: true})
		},
		"removed directory": func() {
			d := b.do(s, &granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
			b.do(s, &granary.Rename{SrcParent: granary.RootInode, SrcName: "f", DstParent: d, DstName: "f"})
			b.do(s, &granary.RemoveTree{Parent: granary.RootInode, Name: "d"})
		},
	}
	for name, remove := range ways {
		t.Run(name, func(t *testing.T) {
			f := b.do(s, &granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular,
				Content: &granary.Content{Inline: []byte("abc")}}).Attr.Inode
			if got, err := a.open(s, "f"); err != nil || got.Inode != f {
				t.Fatalf("opened %+v, %v", got, err)
			}
			remove()
			eventually(t, "the end of the name", func() error {
				if a, err := a.openAt(s, f, ""); err != nil || a.Nlink > 0 {
					return fmt.Errorf("%d links, %w", a.Nlink, err)
				}
				return nil
			})
			dropAnother(t, s, b.testClient)
			if got, err := a.openAt(s, f, ""); err != nil || got.Inode != f {
				t.Fatalf("once more by who has it open: %+v, %v", got, err)
			}
			if _, err := b.openAt(s, f, ""); !granary.IsKind(err, granary.KindNotFound) {
				t.Fatalf("without a name it was opened: %v", err)
			}
			a.do(s, &granary.Commit{Inode: f, Content: granary.Content{Inline: []byte("abcd")}})
			a.tell(s, granary.KeepAlive{Closed: []granary.InodeID{f}})
			waitGone(t, s, f)
			if _, err := a.openAt(s, f, ""); !granary.IsKind(err, granary.KindNotFound) {
				t.Fatalf("after its end: %v", err)
			}
			b.seq++ // the name may be left
			if _, err := b.send(s, b.seq, &granary.Unlink{Parent: granary.RootInode, Name: "f"}); err != nil && !granary.IsKind(err, granary.KindNotFound) {
				t.Fatal(err)
			}
		})
	}
	if err := s.states.cur.check(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenByCreate: a Create that opens what it makes or finds counts.
func TestOpenByCreate(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	a, b := newOpener(t, s), newOpener(t, s)
	op := &granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Open: true}
	f := a.do(s, op).Attr.Inode
	if again := b.do(s, op).Attr.Inode; again != f {
		t.Fatalf("%v and %v", f, again)
	}
	b.do(s, &granary.Unlink{Parent: granary.RootInode, Name: "f"})
	a.tell(s, granary.KeepAlive{Closed: []granary.InodeID{f}})
	dropAnother(t, s, b.testClient)
	if !exists(t, s, f) {
		t.Fatal("a file that is open was dropped")
	}
	b.do(s, &granary.CloseSession{})
	waitGone(t, s, f)
}

// TestExpiryCloses: a session that is not heard of has nothing open.
func TestExpiryCloses(t *testing.T) {
	t.Parallel()
	clock := stopClock()
	s := openAlone(t, t.TempDir(), func(o *Options) { o.SessionTTL, o.now = 200*time.Millisecond, clock.now })
	a := newOpener(t, s)
	f := a.do(s, createOp("f")).Attr.Inode
	if _, err := a.open(s, "f"); err != nil {
		t.Fatal(err)
	}
	newClient(t, s).do(s, &granary.Unlink{Parent: granary.RootInode, Name: "f"})
	clock.pass(time.Minute)
	waitGone(t, s, f)
	if _, err := a.open(s, "f"); !granary.IsKind(err, granary.KindExpired) {
		t.Fatalf("a session that has expired opens: %v", err)
	}
}

// TestNewLeaderAsks: a new leader drops nothing until it has heard from all sessions.
func TestNewLeaderAsks(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, true, nil)
	old := g.leader()
	a, b := newOpener(t, g.nodes[old]), newOpener(t, g.nodes[old])
	f := a.do(g.nodes[old], createOp("f")).Attr.Inode
	if _, err := a.open(g.nodes[old], "f"); err != nil {
		t.Fatal(err)
	}
	late := granary.KeepAlive{Term: g.nodes[old].leading.Load().term, All: true, Report: 1}
	g.handOver((old + 1) % 3)
	next := g.nodes[(old+1)%3]
	b.do(next, &granary.Unlink{Parent: granary.RootInode, Name: "f"})
	term := next.leading.Load().term
	// A report to the leader before, which comes late, is none.
	if got := a.tell(next, late); got != term {
		t.Fatalf("term %d, want %d", got, term)
	}
	b.tell(next, granary.KeepAlive{All: true})
	if l := next.leading.Load(); l.opens.complete() {
		t.Fatal("the leader believes that it knows all that is open")
	}
	c := newOpener(t, next) // one that opens its session here need not report
	a.tell(next, granary.KeepAlive{All: true, Opened: []granary.InodeID{f}})
	dropAnother(t, next, c.testClient)
	if !exists(t, next, f) {
		t.Fatal("a file that is open was dropped")
	}
	a.tell(next, granary.KeepAlive{All: true})
	waitGone(t, next, f)
}

// TestReportsInOrder: a repetition of a report that comes late undoes nothing.
func TestReportsInOrder(t *testing.T) {
	o := newOpenTable(0)
	o.add(1, true)
	if o.complete() {
		t.Fatal("nobody has reported")
	}
	o.take(&granary.KeepAlive{Session: 1, Report: 1, Opened: []granary.InodeID{7}})
	if o.complete() {
		t.Fatal("a report of some is one of all")
	}
	o.take(&granary.KeepAlive{Session: 1, Report: 2, All: true, Opened: []granary.InodeID{8, 9}})
	if len(o.closed([]granary.InodeID{7, 8})) != 1 || !o.complete() {
		t.Fatalf("%+v", o)
	}
	o.take(&granary.KeepAlive{Session: 1, Report: 3, Closed: []granary.InodeID{8}})
	if due := o.takeDue(5); len(due) != 1 || due[0] != 8 {
		t.Fatalf("due %+v", due)
	}
	o.note(1, 8)
	o.take(&granary.KeepAlive{Session: 1, Report: 3, Closed: []granary.InodeID{8}})
	o.take(&granary.KeepAlive{Session: 1, Report: 2, All: true})
	if len(o.closed([]granary.InodeID{8, 9})) != 0 {
		t.Fatal("an old report was taken")
	}
	o.forget(1)
	if due := o.takeDue(5); len(due) != 2 || len(o.count) != 0 || len(o.held) != 0 {
		t.Fatalf("after the session: due %+v, %+v", due, o)
	}
}

// TestOpeningOutlivesClose: a close that overtakes a lookup does not undo it.
func TestOpeningOutlivesClose(t *testing.T) {
	o := newOpenTable(0)
	o.add(1, false)
	if had, ok := o.opening(1, 5); had || !ok {
		t.Fatal(had, ok)
	}
	o.take(&granary.KeepAlive{Session: 1, Report: 1, All: true})
	if len(o.closed([]granary.InodeID{5})) != 0 {
		t.Fatal("what is being opened is closed")
	}
	if had, _ := o.opening(1, 5); had {
		t.Fatal("what is being opened is open")
	}
	o.opened(1, 5, false)
	o.opened(1, 5, false)
	if due := o.takeDue(1); len(due) != 1 {
		t.Fatal("a lookup that failed keeps the file")
	}
}

// TestDropWaitsForMutations: what a mutation under way has opened is noted before the dropper looks.
func TestDropWaitsForMutations(t *testing.T) {
	o := newOpenTable(0)
	end := o.begin()
	turned := o.turn()
	again := o.turn() // of another dropper, which sees no less
	later := o.begin()
	for _, turned := range []<-chan struct{}{turned, again} {
		select {
		case <-turned:
			t.Fatal("a mutation is under way")
		default:
		}
	}
	end()
	<-turned
	<-again
	later()
	<-o.turn()
}

// TestOpenRaces: sessions open, close and remove files of one name at once. What one has opened is there
// until it closes it, and in the end nothing is left.
func TestOpenRaces(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all, dropping sync.WaitGroup
	dropping.Go(func() { // beside the leader's own, which rests
		d := dropper{l: s.leading.Load()}
		for ctx.Err() == nil {
			if _, err := d.step(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	const enough = 5 // files opened by each
	for i := range 6 {
		o := newOpener(t, s)
		r := rand.New(rand.NewPCG(uint64(i), 5))
		all.Go(func() {
			for opened := 0; opened < enough; {
				n, err := openRace(s, o, r)
				if err != nil {
					t.Error(err)
					return
				}
				opened += n
			}
		})
	}
	all.Wait()
	cancel()
	dropping.Wait()
	eventually(t, "an empty list", func() error {
		if left := s.states.cur.nameless(nameless{}, 10); len(left) > 0 {
			return fmt.Errorf("nameless: %+v", left)
		}
		return nil
	})
	if err := s.states.cur.check(); err != nil {
		t.Fatal(err)
	}
}

// openRace does one thing that a session may do. Names are few, and a removal often comes from another.
func openRace(s *Server, o *opener, r *rand.Rand) (opened int, err error) {
	name := fmt.Sprintf("f%d", r.IntN(2))
	o.seq++
	switch r.IntN(4) {
	case 0:
		_, err = o.send(s, o.seq, &granary.Unlink{Parent: granary.RootInode, Name: name})
	case 1:
		_, err = o.send(s, o.seq, &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Replace: true})
	case 2:
		var res granary.Result
		if res, err = o.send(s, o.seq, &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Open: true}); err == nil {
			return 1, useAndClose(s, o, res.Attr.Inode, r)
		}
	case 3:
		var a granary.Attr
		if a, err = o.open(s, name); err == nil {
			return 1, useAndClose(s, o, a.Inode, r)
		}
	}
	if granary.IsKind(err, granary.KindNotFound) {
		err = nil
	}
	return 0, err
}

// useAndClose looks at a file that is open, some times while others may remove it.
func useAndClose(s *Server, o *opener, f granary.InodeID, r *rand.Rand) error {
	for range r.IntN(20) {
		if _, _, err := s.Query(o.t.Context(), &granary.QueryRequest{Query: &granary.Lookup{Base: f}}); err != nil {
			return fmt.Errorf("%v is open, and %w", f, err)
		}
		pause(o.t.Context(), time.Duration(r.IntN(10))*time.Millisecond)
	}
	o.tell(s, granary.KeepAlive{Closed: []granary.InodeID{f}})
	return nil
}

// TestSilenced: who may have opened files without telling when his attendance ended is silent until a later attendance's report.
func TestSilenced(t *testing.T) {
	o := newOpenTable(100)
	o.add(1, false)
	o.add(2, true)
	o.take(&granary.KeepAlive{Session: 2, Report: 1, All: true, Attendance: 90})
	if o.complete() {
		t.Fatal("a report under an earlier leader's attendance has all")
	}
	if o.take(&granary.KeepAlive{Session: 2, Report: 2, All: true}); !o.complete() {
		t.Fatal("who does not attend has told all")
	}
	o.silence(1, 105)
	o.silence(3, 105) // it has ended
	for report, attendance := range []uint64{0, 104, 105} {
		o.take(&granary.KeepAlive{Session: 1, Report: uint64(report) + 1, All: true, Attendance: attendance})
		if o.complete() {
			t.Fatalf("a report under attendance %d has all", attendance)
		}
	}
	o.take(&granary.KeepAlive{Session: 1, Report: 9, All: true, Attendance: 106})
	if !o.complete() {
		t.Fatal("a report of all was not taken")
	}
	o.silence(1, 106)
	if o.forget(1); !o.complete() {
		t.Fatal("a session that has ended is silent")
	}
}
