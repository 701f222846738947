package volume

import (
	"context"
	"hash/crc32"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/crc32c"
	"github.com/dsorchard/granary/internal/disk"
)

// TestAppendSums: the checksums of pieces, whatever the offset and the appends, are those of the stream's pieces.
func TestAppendSums(t *testing.T) {
	stream := fill(3*sumPiece+777, 9)
	rapid.Check(t, func(t *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(stream)), 0, 6).Draw(t, "cuts")
		cuts = append(cuts, len(stream))
		slices.Sort(cuts)
		sums := &appendSums{used: new(atomic.Int64)}
		at := 0
		for _, cut := range cuts {
			s := crc32c.NewPieces(uint64(at), cut-at)
			s.Add(stream[at:cut])
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

// TestAppendWithPieces: data that come with the checksums of their pieces are not looked at again if the volume has parity: what they are not is found
// later, as what rots is. Without parity they are, as they are if the checksums are not as many, or not those of the whole.
func TestAppendWithPieces(t *testing.T) {
	ctx := t.Context()
	s, _ := openFaulty(t, disk.NewMem(disk.MemOptions{}))
	ref := firstRef(s, 1)
	data := fill(2*sumPiece+100, 1)
	sums := crc32c.NewPieces(0, len(data))
	sums.Add(data)
	with := func(parity int, pieces []uint32, data []byte) *granary.Append {
		a := appendOf(ref, 0, 0, data)
		a.ParityShards, a.Pieces, a.CRC32C = parity, pieces, sums.Whole()
		return a
	}
	spoilt := slices.Clone(data)
	spoilt[sumPiece+5] ^= 1
	wantKind(t, s.Append(ctx, with(1, sums.Sums()[1:], data)), granary.KindInvalid)
	wantKind(t, s.Append(ctx, with(1, []uint32{1, 2, 3}, data)), granary.KindCorrupt)
	wantKind(t, s.Append(ctx, with(0, sums.Sums(), spoilt)), granary.KindCorrupt)
	ref = firstRef(s, 2)
	mustAppend(t, s, with(1, sums.Sums(), data))
	wantStream(t, s, ref, data)
	scrubShard(t, s, ref)
	if hb := s.heartbeat("addr", "", ""); len(hb.Damaged) != 0 {
		t.Fatalf("the scrub found %+v", hb.Damaged)
	}
	ref = firstRef(s, 3)
	mustAppend(t, s, with(1, sums.Sums(), spoilt))
	scrubShard(t, s, ref)
	if hb := s.heartbeat("addr", "", ""); len(hb.Damaged) != 1 {
		t.Fatalf("the scrub found %+v, not what is not as it was sent", hb.Damaged)
	}
}
