package s3

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// readBy reads all of r, by at most so many bytes at a time.
func readBy(r io.Reader, size int) (string, error) {
	var text strings.Builder
	_, err := io.CopyBuffer(onlyWriter{&text}, struct{ io.Reader }{r}, make([]byte, size))
	return text.String(), err
}

// TestChunksTogether: signed chunks of any sizes, read into buffers of any size, come as they were signed; and if a byte of any of them is not as it
// was, or a signature, all is refused.
func TestChunksTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{1, 64, 1000, 1000, 5000}), 1, 9).Draw(t, "sizes")
		buffer := rapid.SampledFrom([]int{1, 63, 64, 999, 1000, 1001, 2000, 4000, 100_000}).Draw(t, "buffer")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		signer := exampleSigner(chunkSeed)
		var plain, text strings.Builder
		var marks []int // where data, and signatures, are
		for _, size := range sizes {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			marks = append(marks, text.Len()+strings.Index(signedChunk(exampleSigner(chunkSeed), string(data)), "=")+1+random.IntN(64))
			text.WriteString(signedChunk(signer, string(data)))
			marks = append(marks, text.Len()-2-1-random.IntN(size))
			plain.Write(data)
		}
		marks = append(marks, text.Len()+len("0;chunk-signature=")+random.IntN(64))
		text.WriteString(signedChunk(signer, "") + "\r\n")
		read := func(text string) (string, error) {
			return readBy(newChunkReader(strings.NewReader(text), exampleSigner(chunkSeed), nil, int64(plain.Len())), buffer)
		}
		if got, err := read(text.String()); err != nil || got != plain.String() {
			t.Fatalf("%d bytes of %d, %v", len(got), plain.Len(), err)
		}
		at := rapid.SampledFrom(marks).Draw(t, "change")
		changed := []byte(text.String())
		changed[at] ^= 1
		_, err := read(string(changed))
		wantCode(t, err, codeSignature)
		if _, err = read(text.String()[:at]); err == nil {
			t.Fatalf("%d bytes of %d were enough", at, text.Len())
		}
	})
}

// TestChunksOfTwoTurned: two chunks of the same length are verified in their order, though they are hashed together.
func TestChunksOfTwoTurned(t *testing.T) {
	signer := exampleSigner(chunkSeed)
	first, second := signedChunk(signer, "first"), signedChunk(signer, "other")
	last := signedChunk(signer, "") + "\r\n"
	if _, err := readBy(newChunkReader(strings.NewReader(first+second+last), exampleSigner(chunkSeed), nil, 10), 100); err != nil {
		t.Fatal(err)
	}
	_, err := readBy(newChunkReader(strings.NewReader(second+first+last), exampleSigner(chunkSeed), nil, 10), 100)
	wantCode(t, err, codeSignature)
}
