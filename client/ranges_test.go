package client

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// countChunks returns how many chunks ranges become that are written over a file.
func countChunks(t *testing.T, ranges []Range) (n int) {
	t.Helper()
	batches, err := (&Client{}).gather(&target{}, ranges, false, packSpan)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range batches {
		n += len(d.pieces)
	}
	return n
}

// TestRangesApart: pages far from each other share chunks of a few, which are dead soon after the first of them; pages near each other share more,
// and so do a few bytes here and there.
func TestRangesApart(t *testing.T) {
	for _, tt := range []struct {
		name         string
		apart        uint64
		length, want int
	}{
		{"pages all over a file", 100 << 20, 8 << 10, 8},
		{"small pages all over a file", 100 << 20, 4 << 10, 4},
		{"large pages all over a file", 100 << 20, 64 << 10, 32},
		{"every other page", 16 << 10, 8 << 10, 2},
		{"a few bytes here and there", 100 << 20, 256, 1},
		{"long ranges", 1 << 20, 512 << 10, 32},
	} {
		var ranges []Range
		for i := range uint64(32) {
			ranges = append(ranges, Range{i * tt.apart, noise(i, tt.length)})
		}
		if got := countChunks(t, ranges); got != tt.want {
			t.Errorf("%s: %d chunks, want %d", tt.name, got, tt.want)
		}
	}
}

// TestGather: whatever the ranges are, they are all in the extents, in order, and chunks and commits are no larger than they may be.
func TestGather(t *testing.T) {
	lengths := []int{1, 100, 4 << 10, 8 << 10, 100 << 10, packMax, packMax + 1, 3 << 20}
	gaps := []uint64{0, 1, 8 << 10, 300 << 10, 20 << 20}
	rapid.Check(t, func(t *rapid.T) {
		var ranges []Range
		end := uint64(0)
		for i := range rapid.IntRange(1, 40).Draw(t, "ranges") {
			end += rapid.SampledFrom(gaps).Draw(t, "gap")
			r := Range{end, noise(uint64(i), rapid.SampledFrom(lengths).Draw(t, "length"))}
			end += uint64(len(r.Data))
			ranges = append(ranges, r)
		}
		shuffled := rapid.Permutation(ranges).Draw(t, "shuffled")
		span := rapid.SampledFrom([]uint64{packSpan, granary.ExtentWindowSize}).Draw(t, "span")
		batches, err := (&Client{}).gather(&target{policy: granary.Policy{Chunking: granary.ChunkingFixed}}, shuffled, false, span)
		if err != nil {
			t.Fatal(err)
		}
		var extents []dirtyExtent
		for _, d := range batches {
			if len(d.pieces) > granary.CommitChunksMax || len(d.extents) > commitExtentsMax || d.size > commitBytesMax {
				t.Fatalf("a commit of %d chunks, %d extents, %d bytes", len(d.pieces), len(d.extents), d.size)
			}
			for _, e := range d.extents {
				if !slices.Contains(d.pieces, e.piece) {
					t.Fatalf("the extent at %d is of no chunk of its commit", e.offset)
				}
			}
			extents = append(extents, d.extents...)
		}
		checkPacked(t, extents, span)
		for _, r := range ranges {
			for at := 0; at < len(r.Data); extents = extents[1:] {
				if len(extents) == 0 || extents[0].offset != r.Offset+uint64(at) || extents[0].length > len(r.Data)-at {
					t.Fatalf("bytes from %d on are in no extent", r.Offset+uint64(at))
				}
				e := &extents[0]
				if !bytes.Equal(e.piece.plain[e.chunkOffset:][:e.length], r.Data[at:][:e.length]) {
					t.Fatalf("other bytes are written at %d", e.offset)
				}
				at += e.length
			}
		}
		if len(extents) != 0 {
			t.Fatalf("%d extents too many", len(extents))
		}
	})
}

// checkPacked verifies that chunks with several extents are small, or their extents near each other.
func checkPacked(t *rapid.T, extents []dirtyExtent, span uint64) {
	first := map[*piece]uint64{}
	for _, e := range extents {
		from, shared := first[e.piece]
		if !shared {
			first[e.piece] = e.offset
			continue
		}
		if n := e.chunkOffset + e.length; n > packSize || n > packLoose && e.offset+uint64(e.length)-from > span {
			t.Fatalf("the first %d bytes of a chunk have extents from %d to %d", n, from, e.offset+uint64(e.length))
		}
	}
}

// TestBlocksOfPages: pages all over a file are blocks of four where there is one data shard, and one block where there are more, each of
// which would have to be synced.
func TestBlocksOfPages(t *testing.T) {
	for _, tt := range []struct{ k, m, want int }{{1, 0, 8}, {1, 2, 8}, {4, 2, 1}} {
		f, c := newCluster(t, 1, 6, policy(tt.k, tt.m), nil)
		r, err := upload(c, "f", noise(1, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		var ranges []Range
		for i := range uint64(32) {
			ranges = append(ranges, Range{(i + 1) << 30, noise(i, 8<<10)})
		}
		if _, err := c.WriteRanges(t.Context(), granary.Cred{}, r.Attr, ranges, false, nil); err != nil {
			t.Fatal(err)
		}
		blocks := map[granary.BlockID]bool{}
		for _, e := range f.inodes[r.Attr.Inode].extents {
			if e.Offset >= 1<<30 {
				blocks[e.Block] = true
			}
		}
		if len(blocks) != tt.want {
			t.Errorf("%d+%d: %d blocks, want %d", tt.k, tt.m, len(blocks), tt.want)
		}
	}
}
