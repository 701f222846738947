package md5lanes_test

import (
	"bytes"
	"crypto/md5"
	"hash"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary/filer/s3/md5lanes"
)

// TestLikeMD5: streams of any lengths, written in any pieces and turns, and summed and begun anew in between, have the sums that crypto/md5 computes.
func TestLikeMD5(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lanes md5lanes.Lanes
		got, want := make([]hash.Hash, rapid.IntRange(1, 20).Draw(t, "streams")), []hash.Hash{}
		for i := range got {
			got[i] = lanes.New()
			want = append(want, md5.New())
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		p := make([]byte, 200<<10)
		for range rapid.IntRange(1, 200).Draw(t, "writes") {
			i := random.IntN(len(got))
			some := p[:random.IntN(len(p))]
			if random.IntN(4) == 0 {
				some = p[:random.IntN(200)]
			}
			for at := range min(len(some), 64) {
				some[random.IntN(len(some))] = byte(at + i)
			}
			_, _ = got[i].Write(some) // neither ever fails
			_, _ = want[i].Write(some)
			switch random.IntN(8) {
			case 0:
				if a, b := got[i].Sum([]byte("x")), want[i].Sum([]byte("x")); !bytes.Equal(a, b) {
					t.Fatalf("stream %d: %x, not %x", i, a, b)
				}
			case 1:
				got[i].Reset()
				want[i].Reset()
			}
		}
		for i := range got {
			if a, b := got[i].Sum(nil), want[i].Sum(nil); !bytes.Equal(a, b) {
				t.Fatalf("stream %d at its end: %x, not %x", i, a, b)
			}
		}
	})
}

// TestEveryLength: every length around those where a block, or a piece, ends has its sum.
func TestEveryLength(t *testing.T) {
	var lanes md5lanes.Lanes
	p := make([]byte, 3*64<<10)
	for i := range p {
		p[i] = byte(i * 7)
	}
	for _, around := range []int{0, 64, 128, 64 << 10, 128 << 10} {
		for n := max(around-130, 0); n < around+130; n++ {
			h := lanes.New()
			_, _ = h.Write(p[:n])
			if want := md5.Sum(p[:n]); !bytes.Equal(h.Sum(nil), want[:]) {
				t.Fatalf("of %d bytes: %x, not %x", n, h.Sum(nil), want)
			}
		}
	}
}

// TestTogether: streams that are written at the same time, some of which are given up, do not spoil each other.
func TestTogether(t *testing.T) {
	var lanes md5lanes.Lanes
	var writers sync.WaitGroup
	for w := range 30 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			p := make([]byte, 300<<10)
			for range 20 {
				h, want := lanes.New(), md5.New()
				for range random.IntN(20) {
					some := p[:random.IntN(len(p))]
					some[random.IntN(len(some)+1)%max(len(some), 1)]++
					_, _ = h.Write(some)
					_, _ = want.Write(some)
				}
				if random.IntN(4) == 0 {
					continue
				}
				if a, b := h.Sum(nil), want.Sum(nil); !bytes.Equal(a, b) {
					t.Errorf("writer %d: %x, not %x", w, a, b)
					return
				}
			}
		})
	}
	writers.Wait()
}

func BenchmarkLanes(b *testing.B) {
	for _, streams := range []int{1, 2, 4, 8, 16} {
		b.Run(strconv.Itoa(streams), func(b *testing.B) {
			var lanes md5lanes.Lanes
			hashes := make([]hash.Hash, streams)
			for i := range hashes {
				hashes[i] = lanes.New()
			}
			p := make([]byte, 16<<10)
			b.SetBytes(int64(len(p) * streams))
			for b.Loop() {
				for _, h := range hashes {
					_, _ = h.Write(p)
				}
			}
		})
	}
}

func BenchmarkStandard(b *testing.B) {
	h := md5.New()
	p := make([]byte, 256<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		_, _ = h.Write(p)
	}
}
