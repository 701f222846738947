package erasure

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

func sumsOf(stream []byte, step int) []byte {
	s := NewSummer()
	for len(stream) > 0 {
		n := min(step, len(stream))
		s.Add(stream[:n])
		stream = stream[n:]
	}
	return s.Sums()
}

// TestSumsAreCoded: the sums of data and parity are data and parity of the same code, whatever they are made in, and any fault of a
// shard is one of its sums.
func TestSumsAreCoded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, shape := range [][2]int{{1, 1}, {2, 1}, {4, 2}, {6, 3}, {16, 4}} {
		code, err := New(shape[0], shape[1])
		if err != nil {
			t.Fatal(err)
		}
		const length = 2*SumPiece + 12345
		shards := make([][]byte, shape[0]+shape[1])
		for i := range shards {
			shards[i] = make([]byte, length)
			for j := 0; i < shape[0] && j < length-i*5000; j++ {
				shards[i][j] = byte(r.Uint32())
			}
		}
		if err := code.Encode(shards[:shape[0]], shards[shape[0]:]); err != nil {
			t.Fatal(err)
		}
		sums := make([][]byte, len(shards))
		for i := range shards {
			sums[i] = sumsOf(shards[i], 1+r.IntN(300_000))
			if len(sums[i]) != int(SumsLength(length)) {
				t.Fatalf("%d bytes of sums", len(sums[i]))
			}
		}
		if ok, err := code.Verify(sums); !ok || err != nil {
			t.Fatalf("%v: the sums do not fit: %v", shape, err)
		}
		for range 30 {
			i := r.IntN(len(shards))
			bad := bytes.Clone(shards[i])
			at, size := r.IntN(length-4096), 1+r.IntN(4096)
			switch r.IntN(3) {
			case 0:
				bad[at] ^= 1 << r.IntN(8)
			case 1:
				clear(bad[at : at+size])
			default:
				for j := range size {
					bad[at+j] = byte(r.Uint32())
				}
			}
			if bytes.Equal(bad, shards[i]) {
				continue
			}
			good := sums[i]
			sums[i] = sumsOf(bad, length)
			if ok, err := code.Verify(sums); ok || err != nil {
				t.Errorf("%v: a fault of shard %d at %d is not seen: %v", shape, i, at, err)
			}
			sums[i] = good
		}
	}
}

// TestSumsGolden pins what nodes of different releases compare.
func TestSumsGolden(t *testing.T) {
	p := make([]byte, SumPiece+1000)
	for i := range p {
		p[i] = byte(i)*31 + byte(i>>8) + byte(i>>16)
	}
	if got := hex.EncodeToString(sumsOf(p, len(p))); got != "30d0161779d4ac3cda4b10a0c92a4a353d0c9e6ae6c96540b7f002d45818014f" {
		t.Errorf("%s", got)
	}
}

func BenchmarkSums(b *testing.B) {
	p := make([]byte, SumPiece)
	s := NewSummer()
	b.SetBytes(SumPiece)
	for b.Loop() {
		s.Add(p)
		s.sums = s.sums[:0]
	}
}
