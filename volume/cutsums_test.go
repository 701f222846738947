package volume

import (
	"context"
	"hash/crc32"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// TestSumsOf: the checksums of pieces, whatever the offset and the appends, are those of the stream's pieces.
func TestSumsOf(t *testing.T) {
	stream := fill(3*sumPiece+777, 9)
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(stream)), 0, 6).Draw(t, "cuts")
		cuts = append(cuts, len(stream))
		slices.Sort(cuts)
		sums := &appendSums{used: new(atomic.Int64)}
		at := 0
		for _, cut := range cuts {
			s := sumsOf(stream[at:cut], uint64(at))
			if want := crc32.Checksum(stream[at:cut], castagnoli); s.whole != want {
				t.Fatalf("%d bytes at %d have %08x, not %08x", cut-at, at, s.whole, want)
			}
			sums.add(s, cut-at, uint64(at))
			at = cut
		}
		for i := range uint64(4) {
			size, crc, known := sums.piece(i)
			want := stream[i*sumPiece : min((i+1)*sumPiece, uint64(len(stream)))]
			if !known || size != len(want) || crc != crc32.Checksum(want, castagnoli) {
				t.Fatalf("piece %d: %d bytes, %08x, known %t", i, size, crc, known)
			}
		}
	})
}

// TestAppendOfOtherData: data that turn out to be others once they were written, as those of a sender that has given up, are cut off, and
// what was there before stays, as it is remembered.
func TestAppendOfOtherData(t *testing.T) {
	ctx := context.Background()
	mem := disk.NewMem(disk.MemOptions{})
	s, _ := openFaulty(t, mem)
	ref := firstRef(s, 1)
	first, second := fill(sumPiece+100, 1), fill(5000, 2)
	mustAppend(t, s, appendOf(ref, 0, 0, first))
	start := uint64(len(first))
	for range 2 {
		bad := appendOf(ref, start, start, slices.Clone(second))
		bad.Data[4321] ^= 1
		wantKind(t, s.Append(ctx, bad), granary.KindCorrupt)
		wantStream(t, s, ref, first)
	}
	mustAppend(t, s, appendOf(ref, start, start, second))
	wantStream(t, s, ref, slices.Concat(first, second))
	scrubShard(t, s, ref)
	if hb := s.heartbeat("addr", "", ""); len(hb.Damaged) != 0 {
		t.Fatalf("the scrub found %+v", hb.Damaged)
	}
	bad := appendOf(ref, start, start, slices.Clone(second))
	bad.Data[0] ^= 1
	wantKind(t, s.Append(ctx, bad), granary.KindCorrupt) // as a repeat
	wantStream(t, s, ref, slices.Concat(first, second))
}
