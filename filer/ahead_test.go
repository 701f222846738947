package filer

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// reads has a reader read, and returns all that is fetched ahead for it.
func (r *readAhead) reads(offs []uint64, n int) (all []span) {
	for _, off := range offs {
		ranges, sequence := r.note(off, n)
		for _, s := range ranges {
			if all = append(all, s); sequence {
				r.did(s.end)
			}
		}
	}
	return all
}

func progression(from, step uint64, n int) (offs []uint64) {
	for i := range uint64(n) {
		offs = append(offs, from+i*step)
	}
	return offs
}

// TestReadAheadSequence: a stream is fetched once, more and more of it ahead, though its requests come a little out of order.
func TestReadAheadSequence(t *testing.T) {
	for _, from := range []uint64{0, 700 << 20} {
		offs := progression(from, 128<<10, 400)
		for i := 0; i+3 < len(offs); i += 4 {
			offs[i+1], offs[i+2] = offs[i+2], offs[i+1]
		}
		var r readAhead
		all := r.reads(offs, 128<<10)
		end, largest := all[0].off, uint64(0)
		for _, s := range all {
			if s.off != end {
				t.Fatalf("%v: not one after the other", all)
			}
			end, largest = s.end, max(largest, s.end-s.off)
		}
		if all[0].end-all[0].off > 1<<20 || end < from+400*128<<10 || largest < readAheadMin {
			t.Errorf("from %d: %v", from, all)
		}
	}
}

// TestReadAheadRandom: for reads all over a file nothing is fetched, however large they are.
func TestReadAheadRandom(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{4 << 10, 128 << 10, 1 << 20} {
		var offs []uint64
		for range 1000 {
			offs = append(offs, dice.Uint64N(1<<36)&^4095)
		}
		var r readAhead
		if all := r.reads(offs, n); len(all) != 0 {
			t.Errorf("reads of %d bytes: %v", n, all)
		}
	}
}

// TestReadAheadStride: who jumps by the same distance finds what is there fetched, once, also backwards; but not for reads that are small.
func TestReadAheadStride(t *testing.T) {
	for name, offs := range map[string][]uint64{
		"forward":       progression(0, 10<<20, 20),
		"back":          progression(500<<20, 1<<64-10<<20, 20),
		"back in a row": progression(500<<20, 1<<64-2<<20, 20),
	} {
		var r readAhead
		all := r.reads(offs, 256<<10)
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("%s: fetched twice: %v", name, all)
		}
		for _, off := range offs[4:] {
			if !slices.Contains(all, span{off, off + 256<<10}) {
				t.Errorf("%s: %d was not fetched: %v", name, off, all)
			}
		}
		var small readAhead
		if all := small.reads(offs, 4<<10); len(all) != 0 {
			t.Errorf("%s, small: %v", name, all)
		}
	}
}
