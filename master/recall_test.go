package master

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
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
				switch rapid.IntRange(0, 5).Draw(rt, "change") {
				case 0: // it is removed, and its number is another's
					n.forget(dir)
					clear(item[dir])
				case 1: // it is forgotten for want of memory
					n.forget(dir)
				case 2:
					if item[dir][name] {
						n.remove(dir, name)
						delete(item[dir], name)
					}
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

// TestRecalledValues: whatever is put, and however much of it was overwritten since, what is recalled of a key is what
// was put last; and of what was put just now, nearly all is.
func TestRecalledValues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRecalledValues(0)
		last := map[string][]byte{}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		keys, size := rapid.IntRange(1, 3000).Draw(rt, "keys"), rapid.IntRange(1, recallValueMax+8).Draw(rt, "size")
		hash := func(k []byte) uint64 { return xxhash.Sum64(k) }
		if rapid.Bool().Draw(rt, "collide") {
			hash = func(k []byte) uint64 { return xxhash.Sum64(k) % 3 }
		}
		recalled, asked := 0, 0
		for range 4 * keys {
			k := fmt.Append(nil, "key", rng.IntN(keys))
			switch rng.IntN(4) {
			case 0:
				r.put(hash(k), k, nil)
				last[string(k)] = nil
			case 1, 2:
				v := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(size))
				r.put(hash(k), k, v)
				last[string(k)] = v
			default:
				v, ok := r.get(hash(k), k)
				want, put := last[string(k)]
				if ok && (!put || !bytes.Equal(v, want) || (v == nil) != (want == nil)) {
					rt.Fatalf("%q is recalled as %x, and is %x", k, v, want)
				}
				if put {
					asked++
				}
				if ok {
					recalled++
				}
			}
		}
		few := keys*(size+len("key0000")+2*ringAlign) < ringMin && keys < len(r.set)/2 && size <= recallValueMax && hash([]byte{0}) > 2
		if few && recalled < asked*9/10 {
			rt.Fatalf("%d of %d are recalled", recalled, asked)
		}
	})
}

// agree fails if something is recalled that the store does not say.
func (m *machine) agree() {
	m.t.Helper()
	r := m.s.recall.values
	for _, p := range r.set {
		if !r.live(p) {
			continue
		}
		k, v, there := r.entry(p)
		if in := readKey(m.s.db, k); (in != nil) != there || !bytes.Equal(in, v) {
			m.t.Fatalf("%q is recalled as %x, and is %x", k, v, in)
		}
	}
	for dir, names := range m.s.recall.names.dirs {
		prefix := key(tableDentry, uint64(dir))
		m.s.each(prefix, func(k, _ []byte) {
			name, _ := dentryName(k)
			if _, ok := names[xxhash.Sum64String(name)]; !ok {
				m.t.Fatalf("directory %d is said to lack %q", dir, name)
			}
		})
	}
	m.s.each([]byte{tableQueue}, func(k, _ []byte) {
		if bytes.Compare(k, m.s.recall.queue.first) < 0 {
			m.t.Fatalf("%q is in the queue, which is said to begin at %q", k, m.s.recall.queue.first)
		}
	})
	if is, want := showRecalledPaths(m.s.recall.paths), showRecalledPaths(recallPaths(m.s.db, m.s.recall.paths.above)); is != want {
		m.t.Fatalf("path locks are recalled as\n%s\nand are\n%s", is, want)
	}
	for id, want := range *readMembers(m.s.db) {
		if is, ok := m.s.members()[id]; !ok || is != want {
			m.t.Fatalf("member %q is recalled as %+v, and is %+v", id, is, want)
		}
	}
	if is, want := len(m.s.members()), len(*readMembers(m.s.db)); is != want {
		m.t.Fatalf("%d members are recalled, of %d", is, want)
	}
}

// showRecalledPaths shows all that is remembered of path locks.
func showRecalledPaths(p *pathLocks) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		fmt.Fprintf(&b, "%d %+v\n", id, *p.byID[id])
	}
	for _, token := range slices.Sorted(maps.Keys(p.held)) {
		fmt.Fprintf(&b, "token %d of %d\n", token, p.held[token].ID)
	}
	for _, l := range p.waiting {
		fmt.Fprintf(&b, "%d waits\n", l.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(p.ofOwner)) {
		fmt.Fprintf(&b, "session %d: %v\n", id, slices.Sorted(maps.Keys(p.ofOwner[id])))
	}
	for _, dir := range slices.Sorted(maps.Keys(p.nodes)) {
		n := p.nodes[dir]
		above := granary.InodeID(0)
		if n.above != nil {
			above = n.above.dir
		}
		fmt.Fprintf(&b, "directory %d in %d, %d places, below %v\n", dir, above, len(n.own)+len(n.named), slices.Sorted(maps.Keys(n.below)))
	}
	for _, id := range slices.Sorted(maps.Keys(p.inodes)) {
		fmt.Fprintf(&b, "inode %d: %d places\n", id, len(p.inodes[id]))
	}
	fmt.Fprintf(&b, "%d trees, %d saved, %d moved\n", p.trees, len(p.saved), len(p.moved))
	return b.String()
}
