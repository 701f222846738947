package filer

import (
	"slices"
	"testing"

	"github.com/dsorchard/granary"
)

// TestOthers: what changes in directories that are held was done here.
func TestOthers(t *testing.T) {
	h := newHoldings(nil, nil)
	all := []granary.Change{{Inode: 1, Name: "a"}, {Inode: 1}, {Inode: 2, Name: "a"}, {Inode: 3}}
	if got := h.others(all); !slices.Equal(got, all) {
		t.Fatalf("%v of %v are others'", got, all)
	}
	h.dirs[1] = &heldDir{id: 1}
	if got := h.others(all); !slices.Equal(got, all[2:]) || len(all) != 4 || all[0].Inode != 1 {
		t.Fatalf("%v of %v are others'", got, all)
	}
}
