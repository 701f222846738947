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

// BenchmarkDecodeSpan is the price of a random read of 4 KiB.
func BenchmarkDecodeSpan(b *testing.B) {
	data := noise(1, 1<<20)
	hash := HashOf(data)
	stored := NewCodec().Append(nil, 1, hash, data, granary.CompressionNone)
	offset, length := Span(3*FrameSize+4096, 4096)
	dst := make([]byte, 0, 4096)
	b.SetBytes(4096)
	for b.Loop() {
		if _, err := DecodeSpan(dst, stored[offset:offset+length], hash, uint32(len(data)), 3*FrameSize+4096, 4096); err != nil {
			b.Fatal(err)
		}
	}
}
