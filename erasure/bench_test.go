package erasure

import (
	"fmt"
	"testing"
)

func benchmark(b *testing.B, run func(b *testing.B, c *Code, shards [][]byte)) {
	for _, km := range [][2]int{{2, 1}, {4, 2}, {6, 3}} {
		for _, length := range []int{64 << 10, 1 << 20, 4 << 20} {
			b.Run(fmt.Sprintf("%d+%d/%dKiB", km[0], km[1], length>>10), func(b *testing.B) {
				c, err := New(km[0], km[1])
				if err != nil {
					b.Fatal(err)
				}
				shards := make([][]byte, km[0]+km[1])
				for i := range shards {
					shards[i] = make([]byte, length)
				}
				b.SetBytes(int64(km[0] * length))
				b.ReportAllocs()
				run(b, c, shards)
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Code, shards [][]byte) {
		for b.Loop() {
			if err := c.Encode(shards[:c.k], shards[c.k:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkReconstruct(b *testing.B) {
	benchmark(b, func(b *testing.B, c *Code, shards [][]byte) {
		dst := shards[0]
		shards[0] = nil
		for b.Loop() {
			if err := c.Reconstruct(shards, 0, dst); err != nil {
				b.Fatal(err)
			}
		}
	})
}
