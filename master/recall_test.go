package master

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestRecalledNames: whatever is kept and dropped, a directory is said to lack a name only if it does.
func TestRecalledNames(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := newRecalledNames()
		have := map[granary.InodeID]map[string]bool{1: {"before": true}, 2: {}, 3: {}}
		for range rapid.IntRange(1, 30).Draw(rt, "items") {
			item := map[granary.InodeID]map[string]bool{}
			for dir, names := range have {
				item[dir] = map[string]bool{}
				for name := range names {
					item[dir][name] = true
				}
			}
			for range rapid.IntRange(1, 4).Draw(rt, "changes") {
				dir := granary.InodeID(rapid.IntRange(1, 3).Draw(rt, "dir"))
				name := fmt.Sprint(rapid.IntRange(1, 3).Draw(rt, "name"))
				switch rapid.IntRange(0, 3).Draw(rt, "change") {
				case 0:
					clear(item[dir])
				case 1:
					delete(item[dir], name)
				default:
					if !item[dir][name] {
						n.add(dir, name, uint64(len(item[dir])))
						item[dir][name] = true
					}
				}
			}
			if rapid.Bool().Draw(rt, "keep") {
				n.keep()
				have = item
			} else {
				n.drop()
			}
			for dir, names := range have {
				for name := range names {
					if n.lacks(dir, name) {
						rt.Fatalf("directory %d is said to lack %q: %v", dir, name, have)
					}
				}
			}
		}
		total := 0
		for _, names := range n.dirs {
			total += len(names)
		}
		if total != n.total {
			rt.Fatalf("%d names are counted, of %d", n.total, total)
		}
	})
}
