package block

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestApart reads ranges of uncompressed blocks of both formats in one piece, as far as there is room, and finds every flipped bit.
func TestApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 4*frameSize)
		hash := HashOf(data)
		stored := uncompressed(data, rapid.SampledFrom([]int{frameSize, frameSizeSmall}).Draw(t, "frame size"))
		f := framesOf(t, data, stored)
		from := rapid.IntRange(0, len(data)-1).Draw(t, "from")
		n := rapid.IntRange(1, len(data)-from).Draw(t, "n")
		room := make([]byte, rapid.IntRange(0, 5*frameSize).Draw(t, "room"))
		a := f.Apart(room, from, n)
		if len(a.Parts) == 0 {
			if len(room) >= f.size {
				t.Fatal("there is room for a frame")
			}
			return
		}
		span := bytes.Clone(stored[a.Offset:])
		read := fillParts(a, span)
		got, err := a.Verify(hash)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, data[from:from+len(got)]) || len(got) == 0 || len(got) < n && len(room)-a.Before-len(got) >= f.size {
			t.Fatalf("%d bytes of %d", len(got), n)
		}
		if a.Before+len(got) > len(room) || &got[0] != &room[a.Before] {
			t.Fatal("they lie elsewhere")
		}
		if _, err := a.Verify(HashOf([]byte("another chunk"))); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("the frames of another chunk: %v", err)
		}
		span[rapid.IntRange(0, read-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		fillParts(a, span)
		if _, err := a.Verify(hash); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("a flipped bit: %v", err)
		}
	})
}

// fillParts fills the parts with what is stored, and returns how much that is.
func fillParts(a Apart, stored []byte) (n int) {
	for _, p := range a.Parts {
		n += copy(p, stored[n:])
	}
	return n
}
