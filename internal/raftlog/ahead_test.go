package raftlog

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// gate is a disk whose syncs wait, and may then fail.
type gate struct {
	*disk.Faulty
	arrived chan struct{} // one for each sync
	open    chan error    // what it is to return

	mu    sync.Mutex
	calls []disk.Op
}

func newGate() *gate {
	g := &gate{arrived: make(chan struct{}, 64), open: make(chan error)}
	g.Faulty = disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
	return g
}

// shut has syncs wait from now on.
func (g *gate) shut() {
	g.SetHook(func(c disk.Call) disk.Fault {
		g.mu.Lock()
		g.calls = append(g.calls, c.Op)
		g.mu.Unlock()
		if c.Op != disk.OpSync {
			return disk.Fault{}
		}
		g.arrived <- struct{}{}
		return disk.Fault{Err: <-g.open}
	})
}

// TestStoreAhead: entries are in the log at once, and durable later; what comes while one batch is being synced shares the next.
func TestStoreAhead(t *testing.T) {
	g := newGate()
	l := open(t, g, Options{})
	want := model(entries(1, 3, 1))
	must(t, l.StoreLogs(want))
	g.shut()
	store := func(from, to uint64) {
		more := entries(from, to, 1)
		must(t, l.StoreAhead(more))
		want = want.store(more)
		check(t, l, want)
	}
	store(4, 5)
	<-g.arrived // the disk syncs 4 and 5
	store(6, 6)
	store(7, 9)
	stop := make(chan struct{})
	close(stop)
	must(t, l.AwaitDurable(3, stop))
	wantKind(t, "an entry that is being synced", l.AwaitDurable(5, stop), granary.KindCanceled)
	durable := make(chan error, 1)
	go func() { durable <- l.AwaitDurable(9, nil) }()
	g.open <- nil
	must(t, l.AwaitDurable(5, nil))
	wantKind(t, "an entry that waits", l.AwaitDurable(6, stop), granary.KindCanceled)
	<-g.arrived
	g.open <- nil
	must(t, <-durable)
	g.SetHook(nil)
	if len(g.calls) != 4 { // a write and a sync, twice
		t.Errorf("the disk saw %v", g.calls)
	}
	check(t, l, want)
	must(t, l.Close())
	check(t, open(t, g, Options{}), want)
}

// TestOthersWaitForWhatIsAhead: whatever else is written comes behind what is stored ahead.
func TestOthersWaitForWhatIsAhead(t *testing.T) {
	for name, call := range map[string]func(*Log) error{
		"sync":   (*Log).Sync,
		"store":  func(l *Log) error { return l.StoreLogs(entries(6, 7, 1)) },
		"delete": func(l *Log) error { return l.DeleteRange(1, 2) },
		"close":  (*Log).Close,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			l := open(t, g, Options{})
			must(t, l.StoreLogs(entries(1, 3, 1)))
			g.shut()
			must(t, l.StoreAhead(entries(4, 5, 1)))
			<-g.arrived
			done := make(chan error, 1)
			go func() { done <- call(l) }()
			select {
			case err := <-done:
				t.Fatalf("done before what is ahead: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
			g.SetHook(nil)
			g.open <- nil
			must(t, <-done)
			must(t, l.AwaitDurable(5, nil))
			must(t, l.Close())
		})
	}
}

// TestAheadFails: what was stored ahead and cannot be written ends the log, and nobody is told that it is durable.
func TestAheadFails(t *testing.T) {
	for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
		g := newGate()
		l := open(t, g, Options{})
		must(t, l.StoreLogs(entries(1, 3, 1)))
		g.shut()
		must(t, l.StoreAhead(entries(4, 5, 1)))
		<-g.arrived
		durable := make(chan error, 1)
		go func() { durable <- l.AwaitDurable(5, nil) }()
		g.open <- errno
		wantKind(t, "what failed", <-durable, granary.KindInternal)
		<-l.Failed()
		g.SetHook(nil)
		if err := l.StoreAhead(entries(6, 6, 1)); err == nil {
			t.Error("the log takes more")
		}
		if err := l.Sync(); err == nil {
			t.Error("a sync succeeds after one failed")
		}
		_ = l.Close() // says what failed
	}
}

// TestAheadNeedsNoSpace: what needs space on the disk that was not written once is stored by who can be told that there is none.
func TestAheadNeedsNoSpace(t *testing.T) {
	f := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
	l := open(t, f, small())
	now := model(entries(1, 2, 1))
	must(t, l.StoreLogs(now))
	filled := l.index.active().filled
	var mu sync.Mutex
	f.SetHook(func(c disk.Call) disk.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == disk.OpCreate || c.Op == disk.OpWriteAt && c.Offset+int64(c.Length) > filled {
			return disk.Fault{Err: syscall.ENOSPC}
		}
		return disk.Fault{}
	})
	for refused := 0; refused == 0; {
		next := now.store(entries(now.last()+1, now.last()+1, 1))
		switch err := l.StoreAhead(next[len(now):]); {
		case err == nil:
			now = next
		case granary.IsKind(err, granary.KindNoSpace):
			refused++
		default:
			t.Fatal(err)
		}
		check(t, l, now)
	}
	select {
	case <-l.Failed():
		t.Error("the log takes no more")
	default:
	}
	f.SetHook(nil)
	must(t, l.StoreAhead(entries(now.last()+1, now.last()+1, 1)))
	must(t, l.Close())
}

// TestCutWhileAwaited: a wait ends when the end of the log is cut off, for another entry may get the index.
func TestCutWhileAwaited(t *testing.T) {
	l := open(t, disk.NewMem(disk.MemOptions{}), Options{})
	must(t, l.StoreLogs(entries(1, 5, 1)))
	waiting := make(chan error, 1)
	go func() { waiting <- l.AwaitDurable(6, nil) }()
	for awaited := false; !awaited; { // until it waits
		l.mu.RLock()
		awaited = l.ahead.news != nil
		l.mu.RUnlock()
	}
	must(t, l.DeleteRange(5, 5))
	wantKind(t, "a wait", <-waiting, granary.KindStale)
	must(t, l.Close())
}

var _ raft.LogStore = (*Log)(nil)
