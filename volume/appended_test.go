package volume

import (
	"context"
	"fmt"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// rot inverts a bit of a shard's stream on the disk.
func rot(t *testing.T, mem disk.FS, ref granary.ShardRef, off int64) {
	t.Helper()
	f, err := mem.Open(shardKey{ref.Volume, ref.Shard}.fileName())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], streamOffset+off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], streamOffset+off); err != nil {
		t.Fatal(err)
	}
}

// scrubShard does what a pass does with a shard.
func scrubShard(t *testing.T, s *Store, ref granary.ShardRef) {
	t.Helper()
	c := s.disks[0].scrub
	c.mu.Lock()
	c.fast = true
	c.mu.Unlock()
	if _, err := c.shard(nil, shardKey{ref.Volume, ref.Shard}); err != nil {
		t.Fatal(err)
	}
}

// openRotten makes a shard of three pieces, by several appends with a gap, and lets a bit of it rot while it is open.
func openRotten(t *testing.T, off int64, restart bool) (*Store, granary.ShardRef, uint64) {
	t.Helper()
	mem := disk.NewMem(disk.MemOptions{})
	s, _ := openFaulty(t, mem)
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(sumPiece+100, 1)))
	mustAppend(t, s, appendOf(ref, sumPiece+100, sumPiece+9000, fill(sumPiece, 2)))
	if restart {
		closeStore(t, s)
		s, _ = openFaulty(t, mem)
	}
	end := uint64(2*sumPiece + 9000)
	mustAppend(t, s, appendOf(ref, end, end, fill(77, 3)))
	if off >= 0 {
		rot(t, mem, ref, off)
	}
	return s, ref, end + 77
}

// What rots in a shard that is not sealed is found by a scrub, and by the seal, which would make it right else; what is sealed
// has the rot cut off is right.
func TestRotInOpenShard(t *testing.T) {
	ctx := context.Background()
	const end = 2*sumPiece + 9077
	for _, restart := range []bool{false, true} {
		for _, off := range []int64{0, 4095, sumPiece - 1, sumPiece + 50, sumPiece + 200, 2 * sumPiece, end - 77, end - 1} {
			t.Run(fmt.Sprintf("bit at %d, restart %t", off, restart), func(t *testing.T) {
				s, ref, end := openRotten(t, off, restart)
				scrubShard(t, s, ref)
				if hb := s.heartbeat("addr", "", ""); len(hb.Damaged) != 1 || hb.Damaged[0].Ref != ref {
					t.Fatalf("the scrub found %+v", hb.Damaged)
				}

				s, ref, end = openRotten(t, off, restart)
				wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: end}), granary.KindCorrupt)
				if hb := s.heartbeat("addr", "", ""); len(hb.Damaged) != 1 || hb.Damaged[0].Ref != ref {
					t.Fatalf("the seal found %+v", hb.Damaged)
				}
				wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: end}), granary.KindCorrupt)

				s, ref, _ = openRotten(t, off, restart)
				if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: uint64(off) / sumPiece * sumPiece}); err != nil {
					t.Fatalf("what has rotted is cut off: %v", err)
				}
			})
		}
	}
}

// A shard without rot is sealed at any length, and the checksums take no memory afterwards.
func TestAppendSumsFollowTheStream(t *testing.T) {
	ctx := context.Background()
	for _, length := range []uint64{0, 1, 4096, sumPiece - 1, sumPiece, sumPiece + 100, sumPiece + 9000, 2*sumPiece + 9077, 2*sumPiece + 9078, 4 * sumPiece, 3 * sumGapMax} {
		for _, restart := range []bool{false, true} {
			s, ref, _ := openRotten(t, -1, restart)
			scrubShard(t, s, ref)
			if hb := s.heartbeat("addr", "", ""); len(hb.Damaged) != 0 {
				t.Fatalf("the scrub found %+v", hb.Damaged)
			}
			if used := s.disks[0].sumBytes.Load(); used != 2*sumSize {
				t.Fatalf("the checksums of two pieces take %d bytes", used)
			}
			if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: length}); err != nil {
				t.Fatalf("seal at %d: %v", length, err)
			}
			if err := s.Verify(ctx, ref); err != nil {
				t.Fatal(err)
			}
			if used := s.disks[0].sumBytes.Load(); used != 0 {
				t.Fatalf("the checksums of no shard take %d bytes", used)
			}
		}
	}
}

// What rots in a head is found while the server still knows what it was.
func TestRotInHead(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		for _, off := range []int64{20, 100, slotPosition(1) + 10, slotPosition(2) + 10} {
			s, ref, end := openRotten(t, -1, false)
			if sealed {
				if err := s.Seal(context.Background(), &granary.Seal{Ref: ref, Epoch: 2, Length: end}); err != nil {
					t.Fatal(err)
				}
			}
			newest := s.disks[0].lookup(shardKey{ref.Volume, ref.Shard}).state.Load().slot.Sequence
			rot(t, s.disks[0].fs.(*disk.Faulty), ref, off-streamOffset)
			scrubShard(t, s, ref)
			matters := off < slotPosition(0) || off == slotPosition(newest)+10
			if hb := s.heartbeat("addr", "", ""); (len(hb.Damaged) == 1) != matters {
				t.Errorf("sealed %t, bit at %d: the scrub found %+v", sealed, off, hb.Damaged)
			}
		}
	}
}
