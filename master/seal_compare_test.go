package master

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

// codedSums are the sums of shards that fit together.
func codedSums(t require, k, m, pieces int, seed uint64) (*erasure.Code, [][]byte) {
	code, err := erasure.New(k, m)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	sums := make([][]byte, k+m)
	for i := range sums {
		sums[i] = make([]byte, pieces*erasure.SumSize)
		for j := range sums[i] {
			sums[i][j] = byte(r.Uint32())
		}
	}
	if err := code.Encode(sums[:k], sums[k:]); err != nil {
		t.Fatal(err)
	}
	return code, sums
}

// require is what a test and a property have in common.
type require interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

// TestMisfitsAreFound: whichever shard is wrong in whichever piece, it is found, and no other is blamed: by the others alone if more than
// one of them is spare, else by the blocks of the data shards.
func TestMisfitsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, m := rapid.IntRange(1, 8).Draw(t, "k"), rapid.IntRange(1, 4).Draw(t, "m")
		pieces := rapid.IntRange(1, 6).Draw(t, "pieces")
		code, sums := codedSums(t, k, m, pieces, rapid.Uint64().Draw(t, "seed"))
		v := &granary.Volume{DataShards: k, ParityShards: m, Watermark: uint64(pieces) * erasure.SumPiece}
		c := &comparison{v: v, code: code, sums: sums, unsound: make([][]uint32, k+m)}
		want := uint32(0)
		for n := range pieces {
			if !rapid.Bool().Draw(t, "spoilt") {
				continue
			}
			i := rapid.IntRange(0, k+m-1).Draw(t, "shard")
			sums[i][n*erasure.SumSize+3] ^= 1 + byte(n)
			want |= 1 << i
			if i < k {
				c.unsound[i] = append(c.unsound[i], uint32(n))
			}
		}
		doubt := c.look()
		if m >= 2 && len(doubt) > 0 {
			t.Fatalf("%d+%d: doubt about %v", k, m, doubt)
		}
		if left := c.settle(doubt); left != 0 || c.wrong != want {
			t.Fatalf("%d+%d: found %b, and not %b; %d pieces are left", k, m, c.wrong, want, left)
		}
	})
}

// TestMisfitsOfSome: shards that are not known are not blamed, and without one to spare nothing can be said.
func TestMisfitsOfSome(t *testing.T) {
	code, sums := codedSums(t, 4, 2, 3, 7)
	v := &granary.Volume{DataShards: 4, ParityShards: 2, Watermark: 3 * erasure.SumPiece}
	sums[1][20] ^= 1
	for lost := range 6 {
		some := slices.Clone(sums)
		some[lost] = nil
		c := &comparison{v: v, code: code, sums: some, unsound: make([][]uint32, 6)}
		doubt := c.look()
		if lost == 1 && len(doubt) > 0 || lost != 1 && !slices.Equal(doubt, []uint32{1}) || c.wrong != 0 {
			t.Errorf("without %d: doubt about %v, %b is wrong", lost, doubt, c.wrong)
		}
		c.unsound[1] = []uint32{1}
		if left := c.settle(doubt); left != 0 || lost != 1 && c.wrong != 2 {
			t.Errorf("without %d: %d left, %b is wrong", lost, left, c.wrong)
		}
		some[(lost+1)%6] = nil
		if c = (&comparison{v: v, code: code, sums: some}); c.look() != nil || c.wrong != 0 {
			t.Errorf("of four shards %b are wrong", c.wrong)
		}
	}
}

// TestMisfitIsNotSealed: a shard whose bytes were damaged while its volume was open is not taken for good because it was sealed so: it is made
// anew. While its server does not say what it has, the volume is not sealed either, but not for ever.
func TestMisfitIsNotSealed(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]int{"data": 0, "parity": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openUpkept(t, 3) // 2+1
			c := newClient(t, d.s)
			v := d.fill(c, "f")
			sums := granary.ShardSums{Sums: make([]byte, erasure.SumSize)}
			sums.Sums[5] = 9
			if bad < 2 {
				sums.Bad = []uint32{0}
			}
			d.mu.Lock()
			d.sums[refOf(&v, bad)] = sums
			d.unsummed = granary.Errorf(granary.KindUnavailable, "sums", "", "busy")
			d.mu.Unlock()
			c.do(d.s, &granary.SealVolume{Volume: v.ID, Epoch: v.Epoch})
			d.live("sealed shards", func() error {
				d.mu.Lock()
				defer d.mu.Unlock()
				if info := d.disks[v.Shards[0].Disk][v.ID]; !info.Sealed {
					return fmt.Errorf("none")
				}
				return nil
			})
			if now, err := d.volume(v.ID); err != nil || now.State != granary.VolumeSealing || now.Shards[0].Sealed {
				t.Fatalf("%+v, %v", now, err)
			}
			d.mu.Lock()
			d.unsummed = nil
			d.mu.Unlock()
			task := d.task("w")
			if task.Kind != granary.TaskRepair || int(task.Shard) != bad {
				t.Fatalf("%+v", task)
			}
			d.carryOut(c, task)
			if now, err := d.volume(v.ID); err != nil || now.State != granary.VolumeSealed || now.Redundancy() != 1 {
				t.Fatalf("%+v, %v", now, err)
			}
		})
	}
}

// TestUncomparedIsSealed: servers that never say what their shards are, as those of earlier releases, keep no volume from being sealed.
func TestUncomparedIsSealed(t *testing.T) {
	t.Parallel()
	for _, kind := range []granary.Kind{granary.KindUnavailable, granary.KindNotFound} {
		d := openUpkept(t, 3)
		d.unsummed = granary.Errorf(kind, "sums", "", "not known")
		c := newClient(t, d.s)
		d.sealed(c, d.fill(c, "f"))
	}
}
