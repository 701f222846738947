package client

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/dsorchard/granary"
)

// noise returns random bytes.
func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	if _, err := src.Read(p); err != nil {
		panic(err)
	}
	return p
}

func cutAll(t testing.TB, chunking granary.Chunking, data []byte, pieceSize func() int) [][]byte {
	t.Helper()
	return cutStream(t, chunking, false, data, pieceSize)
}

func cutStream(t testing.TB, chunking granary.Chunking, part bool, data []byte, pieceSize func() int) [][]byte {
	t.Helper()
	cut := newCutter(&arenas{}, chunking, part, arenaMax)
	defer cut.release()
	var chunks [][]byte
	keep := func(p []byte, _ *arena) error {
		chunks = append(chunks, bytes.Clone(p))
		return nil
	}
	for rest := data; len(rest) > 0; {
		n := min(len(rest), max(1, pieceSize()))
		if err := cut.write(rest[:n], keep); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := cut.finish(keep); err != nil {
		t.Fatal(err)
	}
	return chunks
}

// The average chunk of random data is near 1.2 MiB, whatever the library's names mean by then, and
// the cuts are the library's own.
func TestChunkSizes(t *testing.T) {
	data := noise(1, 48<<20)
	chunks := cutAll(t, granary.ChunkingCDC, data, func() int { return 3 << 20 })
	const want = 1.2 * (1 << 20)
	if mean := float64(len(data)) / float64(len(chunks)); mean < want*0.75 || mean > want*1.25 {
		t.Errorf("chunks of %.0f bytes on average, want about %.0f", mean, want)
	}
	opts := &chunkers.ChunkerOpts{MinSize: chunkSizeMin, NormalSize: chunkSizeNormal, MaxSize: granary.ChunkSizeMax}
	library, err := chunkers.NewChunker("jc-v1.0.0", bytes.NewReader(data), opts)
	if err != nil {
		t.Fatal(err)
	}
	for i, chunk := range chunks {
		p, err := library.Next()
		if err != nil && err != io.EOF || !bytes.Equal(p, chunk) {
			t.Fatalf("chunk %d: %d bytes, the library cuts %d, %v", i, len(chunk), len(p), err)
		}
		if len(chunk) > granary.ChunkSizeMax || len(chunk) < chunkSizeMin && i < len(chunks)-1 {
			t.Errorf("chunk %d has %d bytes", i, len(chunk))
		}
	}
}

// Where a stream is cut does not depend on how it arrives, and nothing is lost.
func TestCutsDependOnContentAlone(t *testing.T) {
	data := noise(2, 9<<20)
	for _, chunking := range []granary.Chunking{granary.ChunkingCDC, granary.ChunkingFixed} {
		want := cutAll(t, chunking, data, func() int { return len(data) })
		dice := rand.New(rand.NewPCG(1, 2))
		for _, pieceSize := range []func() int{
			func() int { return 70_001 },
			func() int { return 4 << 20 },
			func() int { return dice.IntN(6 << 20) },
		} {
			got := cutAll(t, chunking, data, pieceSize)
			if !bytes.Equal(bytes.Join(got, nil), data) || len(got) != len(want) {
				t.Fatalf("%d chunks, want %d", len(got), len(want))
			}
			for i := range got {
				if len(got[i]) != len(want[i]) {
					t.Fatalf("chunk %d: %d bytes, want %d", i, len(got[i]), len(want[i]))
				}
			}
		}
	}
}

// Parts of 8 MiB whose borders lie elsewhere than last time share nearly all their bytes with those.
func TestPartsShareChunks(t *testing.T) {
	const partSize = 8 << 20
	data := noise(3, 64<<20)
	parts := func(data []byte) (chunks [][]byte) {
		for len(data) > 0 {
			n := min(len(data), partSize)
			chunks = append(chunks, cutStream(t, granary.ChunkingCDC, true, data[:n], func() int { return 1 << 20 })...)
			data = data[n:]
		}
		return chunks
	}
	had := map[string]bool{}
	for _, c := range parts(data) {
		had[string(c)] = true
	}
	fresh, whole := 0, append(noise(4, 100), data...)
	var joined []byte
	for _, c := range parts(whole) {
		joined = append(joined, c...)
		if !had[string(c)] {
			fresh += len(c)
		}
	}
	if !bytes.Equal(joined, whole) {
		t.Fatal("the chunks are not the stream")
	}
	if share := float64(fresh) / float64(len(data)); share > 0.05 {
		t.Errorf("%.1f %% of the bytes are new after 100 were inserted, want at most 5 %%", 100*share)
	}
}
