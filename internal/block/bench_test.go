package block

import (
	"fmt"
	"testing"

	"github.com/dsorchard/granary"
)

func benchmarkEach(b *testing.B, run func(b *testing.B, c *Codec, data []byte, compression granary.Compression)) {
	for _, compression := range compressions() {
		for name, data := range map[string][]byte{"text": text(1 << 20), "noise": noise(1, 1<<20)} {
			b.Run(fmt.Sprintf("codec=%d/%s", compression, name), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				run(b, NewCodec(), data, compression)
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	benchmarkEach(b, func(b *testing.B, c *Codec, data []byte, compression granary.Compression) {
		hash, dst := HashOf(data), make([]byte, 0, StoredSizeMax(len(data)))
		for b.Loop() {
			dst = c.Append(dst[:0], 1, hash, data, compression)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	benchmarkEach(b, func(b *testing.B, c *Codec, data []byte, compression granary.Compression) {
		hash, dst := HashOf(data), make([]byte, 0, len(data))
		stored := c.Append(nil, 1, hash, data, compression)
		for b.Loop() {
			if _, err := c.Decode(dst, stored, hash); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkVerify is the price of reading a chunk, and that of a random read of 4 KiB.
func BenchmarkVerify(b *testing.B) {
	data := noise(1, 1<<20)
	hash := HashOf(data)
	stored := NewCodec().Append(nil, 1, hash, data, granary.CompressionNone)
	f, _ := FramesOf(uint32(len(data)), uint32(len(stored)))
	for _, n := range []int{len(data), 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			at := len(data) - n
			offset, length := f.Span(at, n)
			dst := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				plain, err := f.Verify(stored[offset:offset+length], hash, at, n)
				if err != nil {
					b.Fatal(err)
				}
				plain.CopyTo(dst, at)
			}
		})
	}
}
