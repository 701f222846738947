package fuse

import (
	"fmt"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// TestPassed: what changes is waited for as long as the kernel may pass it, and is not passed for a while after that.
func TestPassed(t *testing.T) {
	var p passed
	now := time.Unix(1000, 0)
	dir, other := granary.InodeID(1), granary.InodeID(2)
	change := func(id granary.InodeID, name string) []granary.Change {
		return []granary.Change{{Inode: id, Name: name}}
	}
	if !p.note(passage{dir, "a"}, dir, now) || !p.note(passage{other, "b"}, other, now.Add(time.Millisecond)) {
		t.Fatal("nothing is passed")
	}
	if got := p.until(change(dir, "b"), false, now); !got.IsZero() {
		t.Fatalf("what was not passed is waited for until %v", got)
	}
	if got, want := p.until(nil, true, now), now.Add(time.Millisecond+passedFor); !got.Equal(want) {
		t.Fatalf("all is waited for until %v, want %v", got, want)
	}
	soon := now.Add(passFor)
	if got, want := p.until(change(dir, "a"), false, soon), now.Add(passedFor); !got.Equal(want) {
		t.Fatalf("waits until %v, want %v", got, want)
	}
	if p.note(passage{dir, "c"}, dir, soon) || !p.note(passage{other, "c"}, other, soon) {
		t.Fatal("a directory in which something has changed is passed, or another is not")
	}
	if !p.note(passage{dir, "c"}, dir, soon.Add(passNot)) {
		t.Fatal("a directory is not passed any more")
	}
	if got := p.until(change(dir, "c"), false, soon.Add(passNot+passedFor)); !got.IsZero() {
		t.Fatalf("what is not passed any more is waited for until %v", got)
	}
	p.note(passage{other, "d"}, other, soon)
	if p.removed(other, "d", 3); !p.until(change(other, "d"), false, soon).IsZero() {
		t.Fatal("what was removed here is waited for")
	}
	// What is remembered is bounded by time.
	for i := range 10_000 {
		at := now.Add(time.Hour + time.Duration(i)*time.Millisecond)
		p.note(passage{dir, fmt.Sprint(i)}, dir, at)
		if n := len(p.recent) + len(p.older); n > 2*int(passedFor/time.Millisecond)+4 {
			t.Fatalf("%d are remembered", n)
		}
		if i > 50 {
			if got, want := p.until(nil, true, at), at.Add(passedFor); !got.Equal(want) {
				t.Fatalf("waits until %v, want %v", got, want)
			}
		}
	}
	for i := range 2 * passNotMax {
		p.rest(granary.InodeID(i), now)
	}
	if len(p.not) > passNotMax {
		t.Fatalf("%d directories rest", len(p.not))
	}
}
