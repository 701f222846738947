package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// there reports whether an inode is, with or without a name.
func (k *keptCluster) there(id granary.InodeID) bool {
	_, err := k.plain.Query(context.Background(), &granary.Lookup{Base: id})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		k.t.Error(err)
	}
	return err == nil
}

// gone waits until an inode is dropped.
func (k *keptCluster) gone(id granary.InodeID) {
	k.t.Helper()
	for began := time.Now(); k.there(id); sleep(k.t.Context(), time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			k.t.Fatalf("inode %v is kept, and is open nowhere", id)
		}
	}
}

// make makes a file by one client.
func (k *keptCluster) make(c *Client, name string) granary.InodeID {
	r, err := c.Do(context.Background(), granary.Cred{}, &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Mode: 0o644})
	if err != nil {
		k.t.Fatal(err)
	}
	return r.Attr.Inode
}

func anybody(*granary.Attr) bool { return true }

// openKept opens a file by a client that keeps it.
func (k *keptCluster) openKept(c *Client, name string) granary.InodeID {
	k.t.Helper()
	for {
		a, err := c.Query(k.t.Context(), &granary.Lookup{Base: granary.RootInode, Path: name})
		if err != nil {
			k.t.Fatal(err)
		}
		id := a.(*granary.Found).Entry.Attr.Inode
		if _, ok := c.OpenKept(id, anybody); ok {
			return id
		}
		sleep(k.t.Context(), time.Millisecond) // a report is under way
	}
}

// dropped waits until the leader has dropped a file that lost its name after all that had lost theirs before.
func (k *keptCluster) dropped() {
	k.t.Helper()
	id := k.make(k.plain, "dropped")
	k.do(k.plain, &granary.Unlink{Parent: granary.RootInode, Name: "dropped"})
	k.gone(id)
}

// TestOpenKeptStays: a file that was opened without telling stays as long as it is open, whoever takes its name.
func TestOpenKeptStays(t *testing.T) {
	t.Parallel()
	k := newKeptCluster(t, 2, 1<<20)
	k.attending()
	a, b := k.clients[0], k.clients[1]
	for name, by := range map[string]*Client{"other": b, "self": a, "plain": k.plain} {
		id := k.make(b, name)
		if got := k.openKept(a, name); got != id {
			t.Fatalf("%s: opened %v, want %v", name, got, id)
		}
		k.do(by, &granary.Unlink{Parent: granary.RootInode, Name: name})
		k.dropped()
		if !k.there(id) {
			t.Fatalf("%s: a file that is open was dropped", name)
		}
		if _, ok := a.OpenKept(id, anybody); ok {
			t.Fatalf("%s: a file without a name was opened", name)
		}
		a.Closed(id, true)
		k.gone(id)
	}
	id := k.make(b, "closed")
	k.openKept(a, "closed")
	a.Closed(id, false)
	if a.opens.some() {
		t.Fatalf("something is to be told: %+v", a.opens)
	}
}

// deaf is a master that does not hear a client attend, as long as it is told not to.
type deaf struct {
	wire.Master
	to atomic.Bool
}

func (d *deaf) Attend(ctx context.Context, req *granary.Attend) (*granary.Notices, error) {
	if d.to.Load() {
		return nil, granary.Errorf(granary.KindUnavailable, "attend", "", "")
	}
	return d.Master.Attend(ctx, req)
}

// TestOpenKeptOutlivesAttendance: what a session may have opened before its attendance ended is kept until it has told.
func TestOpenKeptOutlivesAttendance(t *testing.T) {
	t.Parallel()
	k := newKeptCluster(t, 1, 1<<20)
	k.attending()
	inner, _, err := k.clients[0].o.Dial("master")
	if err != nil {
		t.Fatal(err)
	}
	m := &deaf{Master: inner}
	a, err := Open(t.Context(), Options{
		Masters: []string{"master"}, Shards: newFakeShards(1), KeepBytes: 1 << 20,
		Dial: func(string) (wire.Master, func() error, error) { return m, nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeClient(t, a)
	k.clients = append(k.clients, a)
	k.attending()
	id := k.make(k.plain, "f")
	k.openKept(a, "f")
	m.to.Store(true)
	k.do(k.plain, &granary.Unlink{Parent: granary.RootInode, Name: "f"}) // it is done when a's lease has run out
	for range 3 {
		sleep(t.Context(), 150*time.Millisecond) // in which the leader drops what it may
		if !k.there(id) {
			t.Fatal("a file that is open was dropped")
		}
	}
	m.to.Store(false)
	k.attending()
	k.dropped()
	if !k.there(id) {
		t.Fatal("a file that is open was dropped after it was told")
	}
	a.Closed(id, true)
	k.gone(id)
}

// TestOpenKeptRaces: clients open, remove and replace files of a few names at once. What one has open is there, and in the end
// nothing is left.
func TestOpenKeptRaces(t *testing.T) {
	t.Parallel()
	k := newKeptCluster(t, 3, 1<<20)
	k.attending()
	var all sync.WaitGroup
	var untold atomic.Int64
	var mu sync.Mutex
	made := map[granary.InodeID]bool{}
	deadline := time.Now().Add(2 * time.Second)
	for i, c := range k.clients {
		for j := range 4 {
			r := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			all.Go(func() {
				for time.Now().Before(deadline) {
					name := fmt.Sprint("f", r.IntN(3))
					switch r.IntN(6) {
					case 0:
						k.do(c, &granary.Unlink{Parent: granary.RootInode, Name: name})
					case 1:
						res, err := c.Do(t.Context(), granary.Cred{}, &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular})
						if err == nil {
							mu.Lock()
							made[res.Attr.Inode] = true
							mu.Unlock()
						}
					case 2:
						k.do(c, &granary.Rename{SrcParent: granary.RootInode, SrcName: name, DstParent: granary.RootInode, DstName: fmt.Sprint("f", r.IntN(3))})
					default:
						if k.hold(c, name, r) {
							untold.Add(1)
						}
					}
				}
			})
		}
	}
	all.Wait()
	for i := range 3 {
		k.do(k.plain, &granary.Unlink{Parent: granary.RootInode, Name: fmt.Sprint("f", i)})
	}
	for id := range made {
		k.gone(id)
	}
	if untold.Load() < 20 {
		t.Errorf("only %d files were opened without telling", untold.Load())
	}
	for _, c := range k.clients {
		if o := c.opens; len(o.untold) > 0 || len(o.count) > 0 || o.removing > 0 {
			t.Errorf("something is left: %+v", o)
		}
	}
}

// hold opens a file if it can, and looks whether it is there as long as it is open. It reports whether nobody was told.
func (k *keptCluster) hold(c *Client, name string, r *rand.Rand) (untold bool) {
	a, err := c.Query(context.Background(), &granary.Lookup{Base: granary.RootInode, Path: name})
	if err != nil {
		return false
	}
	id := a.(*granary.Found).Entry.Attr.Inode
	if _, untold = c.OpenKept(id, anybody); !untold {
		if _, err := c.Query(context.Background(), &granary.Lookup{Base: id, Open: true}); err != nil {
			return false
		}
	}
	sleep(context.Background(), time.Duration(r.IntN(150))*time.Millisecond)
	if !k.there(id) {
		k.t.Errorf("inode %v was dropped while it was open, untold %t", id, untold)
	}
	c.Closed(id, r.IntN(2) == 0)
	return untold
}

// TestUntold: what was told while it was closed is told to be closed.
func TestUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 1)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		o := c.opens
		const id = granary.InodeID(7)
		notices := &granary.Notices{Changes: []granary.Change{{Inode: id, Name: "name"}, {Inode: id}}}
		for range 2 {
			if !o.openUntold(id) {
				t.Fatal("it was not opened")
			}
		}
		if o.close(id); len(o.untold) != 1 || len(o.closed) != 0 {
			t.Fatalf("%+v", o)
		}
		told, again := o.changed(notices), o.remove()
		if len(told) != 1 || len(again) != 1 {
			t.Fatalf("told %v and %v", told, again)
		}
		if o.openUntold(id) {
			t.Fatal("it was opened untold while names are removed")
		}
		o.close(id)
		o.told(told, true)
		if len(o.closed) != 0 {
			t.Fatal("it is told to be closed before it is told to be open")
		}
		o.removed(again)
		if _, ok := o.closed[id]; !ok || len(o.untold) != 0 || len(o.count) != 0 {
			t.Fatalf("%+v", o)
		}
		if !o.openUntold(id) || len(o.untold) != 0 || len(o.closed) != 0 {
			t.Fatalf("the leader has not heard that it was closed: %+v", o)
		}
		o.close(id)
		// A report of all is taken in like any other telling.
		o.reported([]granary.InodeID{id})
		o.openUntold(id)
		closed, opened := o.fill(&granary.KeepAlive{All: true})
		o.close(id)
		o.told(opened, true)
		o.reported(closed)
		if _, ok := o.closed[id]; !ok {
			t.Fatalf("%+v", o)
		}
	})
}
