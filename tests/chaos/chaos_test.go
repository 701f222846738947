//go:build e2e

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/dsorchard/granary/tests/cluster"
	"github.com/dsorchard/granary/tests/faultdisk"
)

// chaosFor returns how long the trouble lasts: a short time in CI, or what GRANARY_CHAOS says.
func chaosFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("GRANARY_CHAOS")
	if text == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// seed returns the seed of a run: GRANARY_CHAOS_SEED, or a new one.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("GRANARY_CHAOS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("GRANARY_CHAOS_SEED=%d", n)
	return n
}

// TestMain is the tests, or a process that does what a test tells it.
func TestMain(m *testing.M) {
	if spec := os.Getenv(handEnv); spec != "" {
		if err := serveHand(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestChaosStorage: while clients write, overwrite, append to, delete and read files through all doors, and die in the middle of it,
// volume servers are killed, stopped, cut off and restarted, disks vanish, fail, hang and fill up, shards are damaged. At most two
// servers are damaged at a time. After each round the cluster is whole again by itself, down to each page of each shard, and every
// byte that was acknowledged is read right.
func TestChaosStorage(t *testing.T) {
	m := &tormentor{t: t, rand: rand.New(rand.NewPCG(seed(t), 1))}
	m.f = cluster.StartFleet(t, mastersN, serversN, disksN, func(f *cluster.Fleet) {
		m.full = mountSmall(t, f.DiskDir(serversN, disksN), 256<<20)
		m.broken = breakables(t, f)
	})
	t.Cleanup(func() { // or what hangs could not be killed
		for _, d := range m.broken {
			d.Set(faultdisk.Faults{})
		}
	})
	m.d = openDoor(t, m.f, "verifier", 1)
	m.n = newInspector(t, m.f, m.d)
	upkeep(t, m.d)
	m.l = &load{seed: m.rand.Uint64()}
	m.doors(t)
	stop := m.l.run(t, m.f)
	defer stop()
	began := time.Now()
	m.run(chaosFor(t))
	stop()
	if t.Failed() {
		return
	}
	m.n.awaitWhole(t)
	m.l.verifyAll(t, m.d)
	m.n.consistent(t)
	m.tell(time.Since(began))
}

// tell logs what was done.
func (m *tormentor) tell(took time.Duration) {
	m.t.Logf("%d rounds in %s; troubles: %v", m.rounds, took.Round(time.Second), m.counts)
	var accesses int64
	for _, d := range m.broken {
		accesses += d.Made()
	}
	m.t.Logf("%d accesses to disks failed or waited; clients were killed %d times", accesses, m.mortal.kills.Load())
	m.t.Logf("%d operations were acknowledged, %d MB written, %d MB read and compared; %d have an unknown outcome",
		m.l.ops.Load(), m.l.wrote.Load()>>20, m.l.read.Load()>>20, m.l.lost.Load())
}
