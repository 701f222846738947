package master

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// syncGates lets a test hold back the syncs of nodes' logs, and have them fail.
type syncGates struct {
	mu    sync.Mutex
	disks map[string]*disk.Faulty // by the nodes' directories
}

func (g *syncGates) with(o *Options) {
	electing(o)
	dir := o.Dir
	o.logDisk = func(d disk.FS) disk.FS {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.disks[dir] = disk.NewFaulty(d, nil)
		return g.disks[dir]
	}
}

// shut holds back the syncs of a node's log until open is closed, and then lets them fail with err.
func (g *syncGates) shut(s *Server, err error) (open chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open = make(chan struct{})
	g.disks[s.opts.Dir].SetHook(func(c disk.Call) disk.Fault {
		if c.Op != disk.OpSync {
			return disk.Fault{}
		}
		<-open
		return disk.Fault{Err: err}
	})
	return open
}

// TestLeaderSendsBeforeItSyncs: the others have an entry while the leader's disk still writes it, and nothing follows from that
// before it is written: the entry is not committed, nobody applies it, and whoever proposed it is told nothing.
// If the disk then fails, the others go on.
func TestLeaderSendsBeforeItSyncs(t *testing.T) {
	for name, fault := range map[string]error{"written": nil, "failed": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gates := &syncGates{disks: make(map[string]*disk.Faulty)}
			g := newGroup(t, 3, true, gates.with)
			c := g.client()
			g.do(c, createOp("before"))
			leader := g.nodes[g.leader()]
			open := gates.shut(leader, fault)
			index := leader.raft.LastIndex() + 1
			done := make(chan granary.Result, 1)
			go func() { done <- g.do(c, createOp("during")) }()
			for _, s := range g.nodes {
				eventually(t, "the entry", func() error {
					if last := s.raft.LastIndex(); last < index {
						return fmt.Errorf("%s has %d of %d", s.id, last, index)
					}
					return nil
				})
			}
			for range 5 { // what the others say of it has come by now, or comes in one of these
				if err := leader.raft.VerifyLeader().Error(); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range g.nodes {
				if at := s.raft.CommitIndex(); at >= index {
					t.Errorf("%s takes entry %d for committed", s.id, at)
				}
				if at := appliedBy(s); at >= index {
					t.Errorf("%s has applied %d", s.id, at)
				}
			}
			if len(done) > 0 {
				t.Error("acknowledged")
			}
			close(open)
			if r := <-done; r.Err != nil {
				t.Error(r.Err)
			}
			g.find("during")
		})
	}
}

// TestTermWaitsForTheLog: a term and a vote are written only when all is durable that was stored before.
func TestTermWaitsForTheLog(t *testing.T) {
	t.Parallel()
	gates := &syncGates{disks: make(map[string]*disk.Faulty)}
	g := newGroup(t, 3, true, gates.with)
	c := g.client()
	g.do(c, createOp("before"))
	leader := g.nodes[g.leader()]
	open := gates.shut(leader, nil)
	done := make(chan granary.Result, 1)
	index := leader.raft.LastIndex() + 1
	go func() { done <- g.do(c, createOp("during")) }()
	eventually(t, "the entry", func() error {
		if last := leader.raft.LastIndex(); last < index {
			return fmt.Errorf("%d of %d", last, index)
		}
		return nil
	})
	set := make(chan error, 1)
	go func() { set <- termStore{leader.raft.stable, leader.raft.logs}.SetUint64([]byte("test"), 1) }()
	early := false
	var err error
	select {
	case err = <-set:
		early = true
		t.Error("written before the log")
	case <-time.After(20 * time.Millisecond):
	}
	close(open)
	if !early {
		err = <-set
	}
	if err != nil {
		t.Error(err)
	}
	if err := leader.raft.logs.AwaitDurable(index, nil); err != nil {
		t.Error(err)
	}
	if r := <-done; r.Err != nil {
		t.Error(r.Err)
	}
}

// TestLoneVoterWaits: a node whose vote is all that it takes stores nothing ahead, nor does any a configuration.
func TestLoneVoterWaits(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{1: false, 3: true} {
		g := newGroup(t, n, true, nil)
		g.do(g.client(), createOp("before"))
		l := &aheadLog{Log: g.nodes[0].raft.logs}
		if l.may(nil) {
			t.Error("before Raft runs")
		}
		leader := g.nodes[g.leader()].raft
		l.raft.Store(leader.Raft)
		if got := l.may([]*raft.Log{{Type: raft.LogCommand}}); got != want {
			t.Errorf("%d voters: %v", n, got)
		}
		if l.may([]*raft.Log{{Type: raft.LogCommand}, {Type: raft.LogConfiguration}}) {
			t.Errorf("%d voters: a configuration", n)
		}
	}
}
