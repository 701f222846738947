//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
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
// cut off in both directions or one, and deposed. What the clients saw is what one copy of each object would have
// shown them: reads never go back, appends and exclusive creates and renames happen exactly once.
func TestChaosLinearizable(t *testing.T) {
	g := cluster.StartMasters(t, 3)
	const busy, observers = 6, 16
	workers := make([]*worker, busy+observers)
	var h *history
	for i := range workers {
		c, err := client.Open(t.Context(), client.Options{
			Masters: g.Addrs(), Name: fmt.Sprintf("worker %d", i), ReadFollowers: i%2 == 1})
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
	var running sync.WaitGroup
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
	n := &nemesis{t: t, g: g, h: h, rand: rand.New(rand.NewPCG(rand.Uint64(), 2))}
	n.run(chaosFor(t))
	cancel()
	running.Wait()
	h.check(t)
}

// nemesis makes trouble, one kind after the other, and waits after each until the clients get on.
type nemesis struct {
	t    *testing.T
	g    *cluster.Masters
	h    *history
	rand *rand.Rand
}

func (n *nemesis) run(d time.Duration) {
	troubles := []struct {
		name  string
		make  func(i int) (undo func())
		least time.Duration
	}{
		{"kill", n.kill, 500 * time.Millisecond},
		// Long enough for busy clients to go on with another leader, while requests of others wait for this one.
		{"stop", n.stop, 4 * time.Second},
		{"isolate", func(i int) func() { n.g.Net.Isolate(n.t, i); return n.heal }, 500 * time.Millisecond},
		{"deafen", n.deafen, 500 * time.Millisecond},
		{"mute", n.mute, 500 * time.Millisecond},
		{"split", n.split, 500 * time.Millisecond},
	}
	until := time.Now().Add(d)
	for at := 0; time.Now().Before(until) && !n.t.Failed(); at++ {
		trouble := troubles[at%len(troubles)]
		victim, who := n.g.Leader(), "the leader"
		if victim == 0 || n.rand.IntN(3) == 0 {
			victim, who = 1+n.rand.IntN(3), "any"
		}
		n.h.takeSlowest()
		before := n.h.count()
		undo := trouble.make(victim)
		n.hold(trouble.least)
		undo()
		n.progress(fmt.Sprintf("%s of master %d, %s", trouble.name, victim, who))
		n.t.Logf("%s of master %d (%s): %d operations, the slowest %v", trouble.name, victim, who, n.h.count()-before, n.h.takeSlowest())
	}
}

// hold keeps the trouble up for some seconds, which the clients may or may not be able to use.
func (n *nemesis) hold(least time.Duration) {
	trouble := time.NewTimer(least + time.Duration(n.rand.IntN(3000))*time.Millisecond)
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

func (n *nemesis) kill(i int) func() {
	n.g.Kill(n.t, i)
	return func() { n.g.Start(n.t, i) }
}

// stop freezes a master: it comes back and does not know that time has passed.
func (n *nemesis) stop(i int) func() {
	n.g.Signal(n.t, i, syscall.SIGSTOP)
	return func() { n.g.Signal(n.t, i, syscall.SIGCONT) }
}

// deafen lets a master send and not receive.
func (n *nemesis) deafen(i int) func() {
	for j := 1; j <= 3; j++ {
		if j != i {
			n.g.Net.Cut(n.t, j, i)
		}
	}
	return n.heal
}

// mute lets a master receive and not send.
func (n *nemesis) mute(i int) func() {
	for j := 1; j <= 3; j++ {
		if j != i {
			n.g.Net.Cut(n.t, i, j)
		}
	}
	return n.heal
}

// split cuts one link only: both ends still reach the third master.
func (n *nemesis) split(i int) func() {
	n.g.Net.Cut(n.t, i, i%3+1)
	n.g.Net.Cut(n.t, i%3+1, i)
	return n.heal
}
