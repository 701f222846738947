package crc32c_test

import (
	"hash/crc32"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary/internal/crc32c"
)

// TestPieces: however the bytes come, the checksums are those of the stream's pieces and of all, and others' are taken if there are so many.
func TestPieces(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	stream := make([]byte, 4*crc32c.PieceSize)
	for i := range stream {
		stream[i] = byte(i * i >> 9)
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(stream)).Draw(t, "from")
		to := rapid.IntRange(from, len(stream)).Draw(t, "to")
		var want []uint32
		for at := from; at < to; {
			end := min(to, (at/crc32c.PieceSize+1)*crc32c.PieceSize)
			want = append(want, crc32.Checksum(stream[at:end], table))
			at = end
		}
		p := crc32c.NewPieces(uint64(from), to-from)
		for at := from; at < to; {
			n := rapid.IntRange(1, to-at).Draw(t, "n")
			p.Add(stream[at : at+n])
			at += n
		}
		if whole := crc32.Checksum(stream[from:to], table); !slices.Equal(p.Sums(), want) || p.Whole() != whole {
			t.Fatalf("%08x %08x, not %08x %08x", p.Sums(), p.Whole(), want, whole)
		}
		taken, ok := crc32c.PiecesOf(uint64(from), to-from, want)
		if !ok || taken.Whole() != p.Whole() {
			t.Fatal("others' are not taken, or their sum is another")
		}
		if _, ok := crc32c.PiecesOf(uint64(from), to-from, append(want, 1)); ok {
			t.Fatal("one too many is taken")
		}
		if cut := (from/crc32c.PieceSize + 1) * crc32c.PieceSize; cut < to {
			first, second := crc32c.NewPieces(uint64(from), cut-from), crc32c.NewPieces(uint64(cut), to-cut)
			first.Add(stream[from:cut])
			second.Add(stream[cut:to])
			if first.Follow(second); !slices.Equal(first.Sums(), want) || first.Whole() != p.Whole() {
				t.Fatalf("%08x after the other, not %08x", first.Sums(), want)
			}
		}
	})
}
