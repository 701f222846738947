//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EOverwriteSpace overwrites a file seven times over, pages at random, 32 between two syncs. What it takes then is bounded: blocks of
// a few pages each are dead soon, the volumes that are mostly dead are moved and dropped, and the file holds what was written last.
func TestE2EOverwriteSpace(t *testing.T) {
	const size, page, rounds, between = 64 << 20, 8 << 10, 7, 32
	d := cluster.StartDev(t, 1, 1)
	d.Granary("cluster", "upkeep", "--paused").Run(t)
	path := filepath.Join(d.Mount(t), "file")
	r := rand.New(rand.NewPCG(1, 2))
	model := noise(r, size)
	if err := os.WriteFile(path, model, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range rounds {
		for i := range size / page {
			at := r.IntN(size/page) * page
			copy(model[at:], noise(r, page))
			if _, err := f.WriteAt(model[at:at+page], int64(at)); err != nil {
				t.Fatal(err)
			}
			if i%between == between-1 {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		sealAll(t, d)
	}

	stored, live := spaceTaken(t, d)
	t.Logf("after %d rounds %.2f times the file is stored, %.2f of it alive", rounds, float64(stored)/size, float64(live)/size)
	if stored < rounds*size {
		t.Fatal("there is nothing to reclaim")
	}
	if live > size*5/2 {
		t.Errorf("%d bytes are alive, of a file of %d", live, size)
	}
	d.Granary("cluster", "upkeep", "--paused=false", "--reclaim-grace", "1s", "--young-age", "1s", "--move-rate", "0").Run(t)
	cluster.WaitFor(t, 2*cluster.ReadyWithin, "space to come back", func() error {
		if stored, live = spaceTaken(t, d); stored > 3*size {
			return fmt.Errorf("%.2f times the file is stored, %.2f of it alive", float64(stored)/size, float64(live)/size)
		}
		return nil
	})
	if out := d.Granary("fs", "cat", "/file").Run(t); !bytes.Equal([]byte(out), model) {
		t.Error("the file reads back wrong")
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// spaceTaken returns how many bytes volumes hold, and how many of them are alive.
func spaceTaken(t *testing.T, d *cluster.Dev) (stored, live uint64) {
	t.Helper()
	for _, v := range volumes(t, d) {
		stored += v.LiveBytes + v.DeadBytes
		live += v.LiveBytes
	}
	return stored, live
}
