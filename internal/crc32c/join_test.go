package crc32c_test

import (
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary/internal/crc32c"
)

// TestJoin: the checksum of two pieces joined is that of both in one.
func TestJoin(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "b")
		got := crc32c.ShiftOf(len(b)).Join(crc32.Checksum(a, table), crc32.Checksum(b, table))
		if want := crc32.Update(crc32.Checksum(a, table), table, b); got != want {
			t.Fatalf("joined %08x, in one %08x", got, want)
		}
	})
}

// TestJoinLong: a piece of many bytes is followed by another.
func TestJoinLong(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	p := make([]byte, 64<<20+5)
	for i := range p {
		p[i] = byte(i * i >> 7)
	}
	got := crc32c.ShiftOf(len(p)-3).Join(crc32.Checksum(p[:3], table), crc32.Checksum(p[3:], table))
	if want := crc32.Checksum(p, table); got != want {
		t.Fatalf("joined %08x, in one %08x", got, want)
	}
}

func BenchmarkJoin(b *testing.B) {
	s := crc32c.ShiftOf(65536)
	sum := uint32(1)
	for b.Loop() {
		sum = s.Join(sum, 12345)
	}
	b.ReportMetric(float64(sum&1), "odd")
}
