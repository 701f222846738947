package master

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// TestPending: items put, delete, read and scan, and are kept or dropped: each sees its own changes and those of the items
// before that were kept, an entry ends with what it changed, and what is written at the end is all that was kept.
func TestPending(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		db, err := pebble.Open("", pebbleOptions(stateOptions{FS: vfs.NewMem(), CacheBytes: 1 << 20, Log: slog.New(slog.DiscardHandler)}))
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { must(db.Close()) }()
		x, have := &txn{pending: newPending(db, newRecall(db, 0))}, map[string]string{}
		for range rapid.IntRange(1, 8).Draw(rt, "entries") {
			left := map[string]string{} // what the entry changed; "" is a deletion
			for range rapid.IntRange(1, 4).Draw(rt, "items") {
				item := pendingItem(rt, x, have)
				if !rapid.Bool().Draw(rt, "keep") {
					x.pending.drop()
					continue
				}
				x.pending.keep()
				for k, v := range item {
					left[k] = v
					if have[k] = v; v == "" {
						delete(have, k)
					}
				}
			}
			changed := map[string]string{}
			x.pending.endEntry(func(c *change) { changed[string(c.key)] = string(c.value) })
			if !maps.Equal(changed, left) {
				rt.Fatalf("the entry changed %q, want %q", changed, left)
			}
			if rapid.Bool().Draw(rt, "commit") {
				x.pending.commit()
				if stored := scanned(x); !slices.Equal(stored, lines(have)) {
					rt.Fatalf("stored are %q, want %q", stored, lines(have))
				}
			}
		}
	})
}

// pendingItem does what an item may do, compares what it sees with what it should, and returns what it changed.
func pendingItem(rt *rapid.T, x *txn, have map[string]string) map[string]string {
	item, now := map[string]string{}, maps.Clone(have)
	for range rapid.IntRange(0, 6).Draw(rt, "steps") {
		table := rapid.SampledFrom([]byte{tableInode, tableXattr}).Draw(rt, "table") // recalled, and not
		k := key(table, uint64(rapid.IntRange(0, 9).Draw(rt, "key")))
		switch rapid.IntRange(0, 3).Draw(rt, "step") {
		case 0:
			x.del(k)
			item[string(k)] = ""
			delete(now, string(k))
		case 1:
			if v := x.get(k); string(v) != now[string(k)] {
				rt.Fatalf("%q is %q, want %q", k, v, now[string(k)])
			}
		case 2:
			if all := scanned(x); !slices.Equal(all, lines(now)) {
				rt.Fatalf("a scan gives %q, want %q", all, lines(now))
			}
		default:
			v := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "byte")}, rapid.IntRange(1, 20).Draw(rt, "length"))
			x.pending.put(k, v)
			item[string(k)], now[string(k)] = string(v), string(v)
		}
	}
	return item
}

// scanned is what a scan of everything gives.
func scanned(x *txn) (all []string) {
	x.scan([]byte{0}, []byte{255}, func(k, v []byte) bool {
		all = append(all, fmt.Sprintf("%q %q", k, v))
		return true
	})
	return all
}

func lines(m map[string]string) (all []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf("%q %q", k, m[k]))
	}
	return all
}

// TestArena: what is taken stays as it is until all is taken back, however long it is.
func TestArena(t *testing.T) {
	var a arena
	for range 3 {
		var all [][]byte
		for i := range 500 {
			b := a.room(16)
			for range i * 7 % 1000 {
				b = append(b, byte(i))
			}
			all = append(all, a.take(b), a.copy([]byte{byte(i), 1}))
		}
		for i := range 500 {
			if want := bytes.Repeat([]byte{byte(i)}, i*7%1000); !bytes.Equal(all[2*i], want) || all[2*i+1][0] != byte(i) || all[2*i+1][1] != 1 {
				t.Fatalf("piece %d is %x, %x", i, all[2*i], all[2*i+1])
			}
		}
		a.reset()
	}
}
