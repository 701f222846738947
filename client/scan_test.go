package client

import (
	"fmt"
	"sync"
	"testing"

	"github.com/dsorchard/granary"
)

// tree makes directories of so many files each, by a client that keeps nothing.
func (k *keptCluster) tree(dirs, files int) {
	k.t.Helper()
	for d := range dirs {
		k.do(k.plain, &granary.Create{Parent: granary.RootInode, Name: fmt.Sprint("d", d), Type: granary.TypeDirectory, Mode: 0o755})
		dir := k.inodes[len(k.inodes)-1]
		for f := range files {
			k.do(k.plain, &granary.Create{Parent: dir, Name: fmt.Sprint("f", f), Type: granary.TypeRegular, Mode: 0o644})
		}
	}
}

// find looks up a name, and reports what it leads to, and whether there is any.
func (k *keptCluster) find(c *Client, dir granary.InodeID, name string) (granary.InodeID, bool) {
	k.t.Helper()
	found, err := Ask[*granary.Found](k.t.Context(), c, &granary.Lookup{Base: dir, Path: name})
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		k.t.Error(err)
	}
	if err != nil {
		return 0, false
	}
	return found.Entry.Attr.Inode, true
}

// TestScan: who looks up all names of a tree asks about once for each directory, also for what is not there, and however many ask at once.
func TestScan(t *testing.T) {
	const dirs, files = 10, 20
	k := newKeptCluster(t, 2, 1<<20)
	k.tree(dirs, files)
	k.attending()
	for i, workers := range []int{1, 8} {
		c := k.clients[i]
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for d := range dirs {
					dir, ok := k.find(c, granary.RootInode, fmt.Sprint("d", d))
					if !ok {
						t.Errorf("d%d is not there", d)
					}
					for f := range files {
						if _, ok := k.find(c, dir, fmt.Sprint("f", f)); !ok {
							t.Errorf("d%d/f%d is not there", d, f)
						}
					}
					if _, ok := k.find(c, dir, "none"); ok {
						t.Error("there is what is not there")
					}
				}
			})
		}
		wg.Wait()
		if misses := c.Stats().Kept.Misses; workers == 1 && misses > 3*dirs && c.KeptFor() > 0 {
			t.Errorf("%d workers: asked %d times for %d directories", workers, misses, dirs)
		}
	}
}

// TestScanLarge: a directory that has more entries than the names that were asked for allow is not listed.
func TestScanLarge(t *testing.T) {
	const files = 4 * scanEntries
	k := newKeptCluster(t, 1, 1<<20)
	k.tree(1, files)
	k.attending()
	c := k.clients[0]
	dir, _ := k.find(c, granary.RootInode, "d0")
	k.find(c, dir, "f0")
	k.find(c, dir, "f1")
	if n := c.Stats().Kept.Items; n > 10 {
		t.Errorf("%d things are kept after 3 names were looked up", n)
	}
	for f := range files {
		k.find(c, dir, fmt.Sprint("f", f))
	}
	if misses := c.Stats().Kept.Misses; misses > 20 && c.KeptFor() > 0 {
		t.Errorf("asked %d times for %d names", misses, files)
	}
}

// TestScanSeesChanges: what another client makes and removes in a directory that was listed ahead is seen at once.
func TestScanSeesChanges(t *testing.T) {
	k := newKeptCluster(t, 2, 1<<20)
	k.tree(1, 5)
	k.attending()
	c, other := k.clients[0], k.clients[1]
	dir, _ := k.find(c, granary.RootInode, "d0")
	for i := range 30 {
		name := fmt.Sprint("new", i)
		for _, by := range []*Client{other, c} {
			if _, ok := k.find(c, dir, name); ok {
				t.Fatalf("%s is there before it was made, or still", name)
			}
			k.do(by, &granary.Create{Parent: dir, Name: name, Type: granary.TypeRegular, Mode: 0o644})
			if _, ok := k.find(c, dir, name); !ok {
				t.Fatalf("%s is not seen", name)
			}
			k.do(by, &granary.Unlink{Parent: dir, Name: name})
		}
	}
}
