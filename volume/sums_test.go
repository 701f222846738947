package volume

import (
	"bytes"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/block"
)

// TestSums: the sums of a sealed shard are those of its stream, as it was when it was sealed and as it is; and its blocks are verified where that is
// asked: each fault of a block, or of a gap, is found in its piece, and nowhere else.
func TestSums(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 3)
	stream, starts := blockStream(t)
	mustAppend(t, s, appendOf(ref, 0, 0, stream))
	length := uint64(len(stream)+pageSize-1) / pageSize * pageSize
	server := httptest.NewServer(NewHandler(s))
	defer server.Close()
	c := NewClient()
	defer c.Close()
	ask := func(length uint64, blocks bool) (*granary.ShardSums, error) {
		return c.Sums(t.Context(), strings.TrimPrefix(server.URL, "http://"), &granary.SumShard{Ref: ref, Length: length, Blocks: blocks})
	}
	_, err := ask(length, false)
	wantKind(t, err, granary.KindInvalid)
	if err := s.Seal(t.Context(), &granary.Seal{Ref: ref, Epoch: 2, DataShards: 2, ParityShards: 1, Length: length}); err != nil {
		t.Fatal(err)
	}
	_, err = ask(length+1, false)
	wantKind(t, err, granary.KindInvalid)
	summer := erasure.NewSummer()
	summer.Add(stream)
	want := summer.Sums()
	for range 2 { // what was kept, and what is read
		if a, err := ask(length, true); err != nil || !bytes.Equal(a.Sums, want) || len(a.Bad) != 0 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	summer = erasure.NewSummer()
	summer.Add(stream[:erasure.SumPiece+100])
	if a, err := ask(erasure.SumPiece+100, false); err != nil || !bytes.Equal(a.Sums, summer.Sums()) {
		t.Fatalf("of a part: %+v, %v", a, err)
	}
	path := filepath.Join(dir, shardsName, "3.0")
	for _, at := range []int{starts[0], starts[0] + 20, starts[1] + 100, starts[2] + 70_000, len(stream) - 1, starts[3] - 1} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		flip := func() {
			if _, err := f.WriteAt([]byte{stream[at] ^ 0x10}, streamOffset+int64(at)); err != nil {
				t.Fatal(err)
			}
			stream[at] ^= 0x10
		}
		flip()
		a, err := ask(length, true)
		if err != nil || bytes.Equal(a.Sums, want) || !slices.Contains(a.Bad, uint32(at/erasure.SumPiece)) {
			t.Errorf("a fault at %d: bad pieces %v, %v", at, a.Bad, err)
		}
		flip()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := ask(length, true); err != nil || !bytes.Equal(a.Sums, want) || len(a.Bad) != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// blockStream returns a data shard's stream of blocks, and where four of them begin: the last after a gap.
func blockStream(t *testing.T) (stream []byte, starts []int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	codec := block.NewCodec()
	for i, size := range []int{100, 500_000, 900_000, 3_000_000} {
		if i == 3 { // the next row
			stream = append(stream, make([]byte, 3*pageSize-len(stream)%pageSize)...)
		}
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(r.Uint32())
			if i == 1 {
				data[j] &= 3 // shrinks
			}
		}
		starts = append(starts, len(stream))
		stream = codec.Append(stream, 1, block.HashOf(data), data, granary.CompressionLZ4)
	}
	return stream, starts
}
