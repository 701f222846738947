package client

import (
	"testing"

	"github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/PlakarKorp/go-cdc-chunkers/chunkers/jc"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// The cuts are the library's, of noise, of what repeats, and of streams that end anywhere.
func TestJumpIsTheLibrary(t *testing.T) {
	for _, sizes := range [][3]int{
		{chunkSizeMin, chunkSizeNormal, granary.ChunkSizeMax}, {edgeChunkSizeMin, edgeChunkSizeNormal, edgeChunkSizeMax}, {64, 256, 1024},
	} {
		o := &chunkers.ChunkerOpts{MinSize: sizes[0], NormalSize: sizes[1], MaxSize: sizes[2]}
		library := &jc.JC{}
		if err := library.Setup(o); err != nil {
			t.Fatal(err)
		}
		j := newJump(sizes[0], sizes[1], sizes[2])
		check := func(t rapid.TB, p []byte) {
			for len(p) > 0 {
				want := library.Algorithm(o, p, len(p))
				if got := j.first(p); got != want {
					t.Fatalf("the first chunk of %d bytes has %d, the library says %d", len(p), got, want)
				}
				p = p[want:]
			}
		}
		data := noise(7, 12*sizes[2])
		check(t, data)
		rapid.Check(t, func(t *rapid.T) {
			p := data[rapid.IntRange(0, len(data)/2).Draw(t, "from"):]
			p = p[:rapid.IntRange(0, min(len(p), 3*sizes[2])).Draw(t, "length")]
			if period := rapid.SampledFrom([]int{0, 1, 7, 4096}).Draw(t, "period"); period > 0 && len(p) > 0 {
				q := make([]byte, len(p))
				for i := range q {
					q[i] = p[i%min(period, len(p))]
				}
				p = q
			}
			check(t, p)
		})
	}
}

// Where a stream is cut does not depend on how much of it is there when: neither on how it comes, nor on what the cutter was asked before.
func TestJumpGoesOn(t *testing.T) {
	j := newJump(64, 256, 1024)
	data := noise(8, 1<<16)
	rapid.Check(t, func(t *rapid.T) {
		p := data[rapid.IntRange(0, len(data)/2).Draw(t, "from"):]
		p = p[:rapid.IntRange(1, len(p)/4).Draw(t, "length")]
		var s search
		for there := 0; len(p) > 0; {
			n, found := j.find(&s, p[:there], there == len(p))
			if !found {
				there = min(len(p), there+rapid.IntRange(1, 300).Draw(t, "more"))
				continue
			}
			if want := j.first(p); n != want {
				t.Fatalf("%d bytes, want %d", n, want)
			}
			p, there = p[n:], max(there-n, 0)
		}
	})
}

func BenchmarkJump(b *testing.B) {
	data := noise(3, 32<<20)
	j := newJump(chunkSizeMin, chunkSizeNormal, granary.ChunkSizeMax)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for p := data; len(p) > 0; {
			p = p[j.first(p):]
		}
	}
}

func BenchmarkJumpLibrary(b *testing.B) {
	data := noise(3, 32<<20)
	o := &chunkers.ChunkerOpts{MinSize: chunkSizeMin, NormalSize: chunkSizeNormal, MaxSize: granary.ChunkSizeMax}
	library := &jc.JC{}
	if err := library.Setup(o); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for p := data; len(p) > 0; {
			p = p[library.Algorithm(o, p, len(p)):]
		}
	}
}
