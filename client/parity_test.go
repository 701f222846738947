package client

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/crc32c"
)

// TestEncodeParity: slices and cores change nothing of the parity, and its checksums are right.
func TestEncodeParity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, m := rapid.IntRange(1, 5).Draw(t, "k"), rapid.IntRange(0, 3).Draw(t, "m")
		code, err := erasure.New(k, m)
		if err != nil {
			t.Fatal(err)
		}
		data, longest := make([][]byte, k), 0
		for i := range data {
			data[i] = noise(uint64(i), rapid.IntRange(0, 5*crc32c.PieceSize).Draw(t, "length"))
			longest = max(longest, len(data[i]))
		}
		got, want := make([][]byte, m), make([][]byte, m)
		for i := range got {
			got[i], want[i] = make([]byte, longest), make([]byte, longest)
		}
		sums, offset := make([]*crc32c.Pieces, m), rapid.Uint64Range(0, 3*crc32c.PieceSize).Draw(t, "offset")
		if err := encodeParity(code, data, got, offset, sums, rapid.IntRange(1, 4).Draw(t, "cores")); err != nil {
			t.Fatal(err)
		}
		if err := code.Encode(data, want); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			alone := crc32c.NewPieces(offset, longest)
			alone.Add(want[i])
			if !bytes.Equal(got[i], want[i]) || !slices.Equal(sums[i].Sums(), alone.Sums()) || sums[i].Whole() != alone.Whole() {
				t.Fatalf("parity shard %d of %d+%d differs, or its checksum", i, k, m)
			}
		}
	})
}
