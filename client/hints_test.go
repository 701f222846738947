package client

import (
	"encoding/binary"
	"testing"

	"github.com/dsorchard/granary"
)

func hintedKey(n int) *chunkKey {
	k := &chunkKey{dataset: 3, shape: shape{k: 4, m: 2, class: "ssd"}}
	binary.LittleEndian.PutUint64(k.hash[:], uint64(n))
	return k
}

func TestHints(t *testing.T) {
	h := newHints()
	const many = 10 * hintSets * hintWays
	for i := range many {
		if h.has(hintedKey(i)) {
			t.Fatalf("chunk %d is known before it was noted", i)
		}
		h.add(hintedKey(i))
		if !h.has(hintedKey(i)) {
			t.Fatalf("chunk %d is not known", i)
		}
	}
	kept := 0
	for i := range many {
		if h.has(hintedKey(i)) {
			kept++
		}
	}
	if kept != hintSets*hintWays {
		t.Errorf("%d chunks are known, of room for %d", kept, hintSets*hintWays)
	}
	recent := 0
	for i := many - hintSets; i < many; i++ {
		if h.has(hintedKey(i)) {
			recent++
		}
	}
	if recent < hintSets*99/100 {
		t.Errorf("of the latest %d, %d are known", hintSets, recent)
	}
}

// What is forgotten is forgotten alone.
func TestHintsForget(t *testing.T) {
	h := newHints()
	h.add(hintedKey(1))
	for n := 2; ; n++ { // another of the same set
		if h.sum(hintedKey(n))%hintSets == h.sum(hintedKey(1))%hintSets {
			h.add(hintedKey(n))
			h.add(hintedKey(1))
			h.remove(hintedKey(n))
			if h.has(hintedKey(n)) || !h.has(hintedKey(1)) {
				t.Errorf("known are %v and %v", h.has(hintedKey(n)), h.has(hintedKey(1)))
			}
			break
		}
	}
	h.remove(hintedKey(1))
	h.remove(hintedKey(1))
	if h.has(hintedKey(1)) {
		t.Error("it is known still")
	}
}

// All of a key counts.
func TestHintsKey(t *testing.T) {
	h := newHints()
	h.add(hintedKey(1))
	for name, change := range map[string]func(*chunkKey){
		"dataset": func(k *chunkKey) { k.dataset++ },
		"k":       func(k *chunkKey) { k.shape.k++ },
		"m":       func(k *chunkKey) { k.shape.m++ },
		"class":   func(k *chunkKey) { k.shape.class = "hdd" },
		"anew":    func(k *chunkKey) { k.anew = true },
		"hash":    func(k *chunkKey) { k.hash[len(granary.Hash{})-1]++ },
	} {
		k := hintedKey(1)
		change(k)
		if h.has(k) {
			t.Errorf("another %s does not count", name)
		}
	}
}
