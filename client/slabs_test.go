package client

import (
	"testing"
	"unsafe"
)

// Slabs hold what is asked for and little more, and come back where they were taken from.
func TestSlabs(t *testing.T) {
	var s slabs
	for n := 1; n <= slabMost+1; n += 1 + n/7 {
		p := s.get(n)
		if len(p) != n || int64(cap(p)) > slabFor(n) {
			t.Fatalf("%d of %d bytes for %d, not %d", len(p), cap(p), n, slabFor(n))
		}
		if n >= slabLeast && cap(p) > n+n/4 { // there was no other
			t.Errorf("a slab of %d bytes for %d", cap(p), n)
		}
		if n <= slabMost && slabClass(cap(p)) != slabClass(n) {
			t.Errorf("a slab for %d bytes comes back as another", n)
		}
		s.put(p)
	}
	if last := slabClass(slabMost); last != slabClasses-1 || slabSize(last) != slabMost {
		t.Errorf("class %d of %d", last, slabClasses)
	}
	s.put(make([]byte, 5000)) // is not taken
	for _, n := range []int{1, slabPaged - 1, slabPaged, 1<<20 + 77, slabMost} {
		for _, off := range []uint64{0, 1, 4095, 4096, 123_456_789} {
			slab := s.get(inPages(n))
			p := pages(slab, n, off)
			at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
			if len(p) != n || n >= slabPaged && uint64(at)%slabPage != off%slabPage || n < slabPaged && &p[0] != &slab[0] {
				t.Errorf("%d bytes at %d for %d of %d", len(p), at, n, off)
			}
			s.put(slab)
		}
	}
	if room := slabFor(1 << 20); room > 3<<19 {
		t.Errorf("a MiB takes up to %d bytes", room)
	}
}
