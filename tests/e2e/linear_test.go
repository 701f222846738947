//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/cluster"
)

// chaosFor returns how long the trouble lasts: a short time in CI, or what GRANARY_CHAOS says, such as 10m.
func chaosFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("GRANARY_CHAOS")
	if text == "" {
		return 40 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestChaosLinearizable: clients work on the same objects through three masters that are killed, stopped for a while,
// told to end, cut off from each other in both directions or one, or from the clients, and whose clocks differ by up to
// an hour and jump when they are started. What the clients saw is what one copy of each object would have shown them:
// reads never go back, appends and exclusive creates and renames happen exactly once, a lock has one holder, and nobody writes under its token
// when it was granted again. And times only grow.
func TestChaosLinearizable(t *testing.T) {
	g := cluster.StartMasters(t, mastersN)
	const busy, observers = 6, 16
	workers := make([]*worker, busy+observers)
	var h *history
	for i := range workers {
		o := client.Options{Masters: g.Addrs(), Name: fmt.Sprintf("worker %d", i), ReadFollowers: i%2 == 1}
		if i%3 == 0 { // it attends, and keeps what it was answered
			o.KeepBytes = 8 << 20
		}
		c, err := client.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		if h == nil {
			h = newHistory(t, c)
		}
		workers[i] = &worker{h: h, c: c, id: i, rand: rand.New(rand.NewPCG(rand.Uint64(), 1)), inodes: map[string]named{}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, checking sync.WaitGroup
	checking.Go(h.check)
	for i, w := range workers {
		work := w.run
		if i >= busy {
			work = w.observe
		}
		running.Go(func() {
			if err := work(ctx); err != nil {
				t.Errorf("worker %d: %v", w.id, err)
			}
		})
	}
	n := &nemesis{t: t, g: g, h: h, rand: rand.New(rand.NewPCG(rand.Uint64(), 2)), gaps: map[string][]time.Duration{}}
	n.run(chaosFor(t))
	cancel()
	running.Wait()
	h.finish()
	checking.Wait()
	h.report(t)
	n.report()
	var kept client.KeptStats
	for _, w := range workers {
		s := w.c.Stats().Kept
		kept.Hits, kept.Misses = kept.Hits+s.Hits, kept.Misses+s.Misses
	}
	if t.Logf("%d of %d answers were kept ones", kept.Hits, kept.Hits+kept.Misses); kept.Hits == 0 {
		t.Error("nothing was answered from what was kept")
	}
}

// nemesis makes trouble, one kind after the other, and waits after each until the clients get on.
type nemesis struct {
	t    *testing.T
	g    *cluster.Masters
	h    *history
	rand *rand.Rand
	gaps map[string][]time.Duration // how long no operation ended, by what was done to the leader
}

const (
	mastersN   = 3                // masters
	endsWithin = 30 * time.Second // after SIGTERM
)

func (n *nemesis) run(d time.Duration) {
	troubles := []struct {
		name  string
		make  func(i int) (undo func())
		least time.Duration
	}{
		{"kill", n.kill, 500 * time.Millisecond},
		// Long enough for busy clients to go on with another leader, while requests of others wait for this one.
		{"stop", n.stop, 4 * time.Second},
		{"isolate", func(i int) func() { n.g.Net.Isolate(n.t, i); return n.heal }, 2 * time.Second},
		{"deafen", n.deafen, 2 * time.Second},
		{"mute", n.mute, 2 * time.Second},
		{"split", n.split, 2 * time.Second},
		{"silence", func(i int) func() { n.g.Net.CutFromTest(n.t, i); return n.heal }, 500 * time.Millisecond},
		{"terminate", n.terminate, 500 * time.Millisecond},
		{"kill of all", n.killAll, 0},
		{"stop of all", n.stopAll, 500 * time.Millisecond},
	}
	until := time.Now().Add(d)
	for at := 0; time.Now().Before(until) && !n.t.Failed() && !n.h.failed(); at++ {
		trouble := troubles[at%len(troubles)]
		leader := n.g.Leader()
		victim, who := leader, "the leader"
		if leader == 0 || n.rand.IntN(3) == 0 {
			victim, who = 1+n.rand.IntN(mastersN), "any"
		}
		n.h.takeWorst()
		before := n.h.count()
		undo := trouble.make(victim)
		n.hold(trouble.least)
		slowest, gap := n.h.takeWorst()
		undo()
		n.progress(fmt.Sprintf("%s of master %d, %s", trouble.name, victim, who))
		after, gapAfter := n.h.takeWorst()
		n.t.Logf("%s of master %d (%s): %d operations; the slowest took %v, and none ended for %v; after it %v and %v", trouble.name, victim, who,
			n.h.count()-before, slowest.Round(time.Millisecond), gap.Round(time.Millisecond), after.Round(time.Millisecond), gapAfter.Round(time.Millisecond))
		if victim == leader {
			n.gaps[trouble.name] = append(n.gaps[trouble.name], max(gap, gapAfter))
		}
	}
}

// report says how long clients had to wait when leaders were lost.
func (n *nemesis) report() {
	for _, name := range slices.Sorted(maps.Keys(n.gaps)) {
		gaps := n.gaps[name]
		slices.Sort(gaps)
		n.t.Logf("%s of the leader, %d times: no operation ended for %v (median), %v at worst",
			name, len(gaps), gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond))
	}
}

// hold keeps the trouble up for some seconds, which the clients may or may not be able to use.
func (n *nemesis) hold(least time.Duration) {
	trouble := time.NewTimer(least + time.Duration(n.rand.IntN(2500))*time.Millisecond)
	defer trouble.Stop()
	select {
	case <-trouble.C:
	case <-n.t.Context().Done():
	}
}

// progress waits until the clients get on.
func (n *nemesis) progress(after string) {
	from := n.h.count()
	cluster.WaitFor(n.t, cluster.ReadyWithin, "progress after "+after, func() error {
		if done := n.h.count() - from; done < 100 {
			return fmt.Errorf("%d operations", done)
		}
		return nil
	})
}

func (n *nemesis) heal() { n.g.Net.Heal(n.t) }

// start starts a master, whose clock jumps.
func (n *nemesis) start(i int) {
	n.g.Skew(i, time.Duration(n.rand.Int64N(int64(2*time.Hour)))-time.Hour)
	n.g.Start(n.t, i)
}

func (n *nemesis) kill(i int) func() {
	n.g.Kill(n.t, i)
	return func() { n.start(i) }
}

// terminate asks a master to end, which hands over if it leads. One that does not end says in its log what it is doing.
func (n *nemesis) terminate(i int) func() {
	n.g.Signal(n.t, i, syscall.SIGTERM)
	return func() {
		ended := func() error {
			if !n.g.Ended(i) {
				return fmt.Errorf("master %d was told to end and runs", i)
			}
			return nil
		}
		if err := cluster.Poll(endsWithin, ended); err != nil {
			n.t.Error(err)
			n.g.Signal(n.t, i, syscall.SIGQUIT)
			cluster.WaitFor(n.t, cluster.ReadyWithin, "the end by SIGQUIT", ended)
		}
		n.start(i)
	}
}

func (n *nemesis) killAll(int) func() {
	for i := 1; i <= mastersN; i++ {
		n.g.Kill(n.t, i)
	}
	return func() {
		for i := 1; i <= mastersN; i++ {
			n.start(i)
		}
	}
}

// stop freezes a master: it comes back and does not know that time has passed.
func (n *nemesis) stop(i int) func() {
	n.g.Signal(n.t, i, syscall.SIGSTOP)
	return func() { n.g.Signal(n.t, i, syscall.SIGCONT) }
}

func (n *nemesis) stopAll(int) func() {
	for i := 1; i <= mastersN; i++ {
		n.stop(i)
	}
	return func() {
		for i := 1; i <= mastersN; i++ {
			n.g.Signal(n.t, i, syscall.SIGCONT)
		}
	}
}

// deafen lets a master send and not receive from the others.
func (n *nemesis) deafen(i int) func() {
	for j := 1; j <= mastersN; j++ {
		if j != i {
			n.g.Net.Cut(n.t, j, i)
		}
	}
	return n.heal
}

// mute lets a master receive and not send to the others.
func (n *nemesis) mute(i int) func() {
	for j := 1; j <= mastersN; j++ {
		if j != i {
			n.g.Net.Cut(n.t, i, j)
		}
	}
	return n.heal
}

// split cuts one link only: both ends still reach the third master.
func (n *nemesis) split(i int) func() {
	n.g.Net.Cut(n.t, i, i%mastersN+1)
	n.g.Net.Cut(n.t, i%mastersN+1, i)
	return n.heal
}
