package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// fakeOpens is what a leader knows of what is open.
type fakeOpens struct {
	term     uint64
	files    map[granary.SessionID]map[granary.InodeID]bool
	complete map[granary.SessionID]bool // those that have reported, or began under this leader
	report   map[granary.SessionID]uint64
	reports  []granary.KeepAlive // all that were taken
}

func newFakeOpens(term uint64) fakeOpens {
	return fakeOpens{
		term: term, files: map[granary.SessionID]map[granary.InodeID]bool{},
		complete: map[granary.SessionID]bool{}, report: map[granary.SessionID]uint64{},
	}
}

func (o *fakeOpens) open(id granary.SessionID, inode granary.InodeID) {
	if o.files[id] == nil {
		o.files[id] = map[granary.InodeID]bool{}
	}
	o.files[id][inode] = true
}

func (o *fakeOpens) take(k *granary.KeepAlive) {
	if k.Term != o.term || k.Report <= o.report[k.Session] {
		return
	}
	o.report[k.Session] = k.Report
	o.reports = append(o.reports, *k)
	if k.All {
		o.files[k.Session], o.complete[k.Session] = nil, true
	}
	for _, inode := range k.Opened {
		o.open(k.Session, inode)
	}
	for _, inode := range k.Closed {
		delete(o.files[k.Session], inode)
	}
}

func openName(t *testing.T, c *Client, name string) granary.InodeID {
	t.Helper()
	a, err := c.Query(t.Context(), &granary.Lookup{Base: granary.RootInode, Path: name, Open: true})
	if err != nil {
		t.Fatal(err)
	}
	return a.(*granary.Found).Entry.Attr.Inode
}

func createOpen(name string) *granary.Create {
	return &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Open: true}
}

// knows fails unless the leader, if it has heard all, knows whether the client has a file open.
func (f *fakeCluster) knows(t *testing.T, c *Client, inode granary.InodeID, open bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if id := c.Session(); f.opens.complete[id] && f.opens.files[id][inode] != open {
		t.Errorf("the leader of term %d believes that %v is open: %t", f.opens.term, inode, !open)
	}
}

// What is closed is reported with a renewal; what has no name any more, or much, at once.
func TestClosedIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 1)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		r, err := c.Do(t.Context(), granary.Cred{}, createOpen("a"))
		if err != nil {
			t.Fatal(err)
		}
		a := r.Attr.Inode
		if openName(t, c, "a") != a {
			t.Fatal("another file")
		}
		c.Closed(a, true)
		synctest.Wait()
		f.knows(t, c, a, true)
		c.Closed(a, false)
		synctest.Wait()
		f.knows(t, c, a, true)
		time.Sleep(11 * time.Second)
		f.knows(t, c, a, false)

		openName(t, c, "a")
		c.Closed(a, true)
		time.Sleep(time.Second)
		f.knows(t, c, a, false)
		before := len(f.opens.reports)
		for i := range closedMax {
			r, err := c.Do(t.Context(), granary.Cred{}, createOpen(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			c.Closed(r.Attr.Inode, false)
		}
		synctest.Wait()
		if n := len(f.opens.reports) - before; n != 1 || len(f.opens.files[c.Session()]) != 0 {
			t.Errorf("%d reports, %d open", n, len(f.opens.files[c.Session()]))
		}
		time.Sleep(time.Minute)
		if n := len(f.opens.reports) - before; n != 1 {
			t.Errorf("%d reports of nothing", n-1)
		}
	})
}

// A new leader hears all that is open, and so does the master after another session has begun.
func TestNewLeaderHearsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 2)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		if _, err := c.Do(t.Context(), granary.Cred{}, createOpen("a")); err != nil {
			t.Fatal(err)
		}
		a := openName(t, c, "a")
		time.Sleep(15 * time.Second)
		f.mu.Lock()
		f.fault = func(string) fakeFate { f.fault = nil; return fateDeposed }
		f.mu.Unlock()
		time.Sleep(11 * time.Second) // a renewal
		f.mu.Lock()
		if id := c.Session(); !f.opens.complete[id] || !f.opens.files[id][a] || f.opens.term != 2 {
			t.Errorf("%+v", f.opens)
		}
		f.mu.Unlock()
		f.expire(c.Session())
		if _, err := c.Do(t.Context(), granary.Cred{}, setXattr("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.knows(t, c, a, true)
		c.Closed(a, false)
		c.Closed(a, true)
		time.Sleep(time.Second)
		f.knows(t, c, a, false)
	})
}

// A caller that gave up does not leave a file open.
func TestDisownedIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(1, 1)
		c := openClient(t, f, nil)
		defer closeClient(t, c)
		f.mu.Lock()
		f.hold = make(chan struct{})
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Do(ctx, granary.Cred{}, createOpen("a")); !granary.IsKind(err, granary.KindIndeterminate) {
			t.Fatal(err)
		}
		f.mu.Lock()
		close(f.hold)
		f.hold = nil
		f.mu.Unlock()
		time.Sleep(11 * time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.effects["create/a"] != 1 || len(f.opens.files[c.Session()]) != 0 || len(c.opens.count) != 0 || c.opens.opening != 0 {
			t.Errorf("%+v, %+v", f.opens.files, c.opens)
		}
	})
}

// Whatever is lost and whoever leads: a leader that believes to have heard all knows all that is open, and in the end
// that nothing is.
func TestOpensUnderFaults(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeCluster(seed, 3)
			f.fault = func(string) fakeFate {
				if f.rand.IntN(3) > 0 {
					return fateServed
				}
				return fakeFate(1 + f.rand.IntN(4))
			}
			c := openClient(t, f, func(o *Options) { o.RetryFor = time.Hour })
			defer closeClient(t, c)
			var wg sync.WaitGroup
			for w := range 8 {
				r := rand.New(rand.NewPCG(seed, uint64(w)))
				wg.Go(func() {
					for range 15 {
						openAndClose(t, f, c, r)
					}
				})
			}
			wg.Wait()
			f.mu.Lock()
			f.fault = nil
			f.mu.Unlock()
			time.Sleep(25 * time.Second)
			f.mu.Lock()
			defer f.mu.Unlock()
			if id := c.Session(); !f.opens.complete[id] || len(f.opens.files[id]) != 0 || len(c.opens.count) != 0 {
				t.Errorf("seed %d: %+v; the client: %+v", seed, f.opens.files[id], c.opens)
			}
		})
	}
}

func openAndClose(t *testing.T, f *fakeCluster, c *Client, r *rand.Rand) {
	name := fmt.Sprint(r.IntN(4))
	var inode granary.InodeID
	if r.IntN(2) == 0 {
		res, err := c.Do(t.Context(), granary.Cred{}, createOpen(name))
		if err != nil {
			t.Error(err)
			return
		}
		inode = res.Attr.Inode
	} else {
		a, err := c.Query(t.Context(), &granary.Lookup{Base: granary.RootInode, Path: name, Open: true})
		if granary.IsKind(err, granary.KindNotFound) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		inode = a.(*granary.Found).Entry.Attr.Inode
	}
	for range r.IntN(4) {
		f.knows(t, c, inode, true)
		time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
	}
	f.knows(t, c, inode, true)
	c.Closed(inode, r.IntN(2) == 0)
}
