package block

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

func compressions() []granary.Compression {
	return []granary.Compression{granary.CompressionNone, granary.CompressionLZ4, granary.CompressionZstd}
}

// noise returns n bytes that do not compress.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// text returns n bytes that do.
func text(n int) []byte {
	return []byte(strings.Repeat("the quick brown fox jumps over the lazy dog 0123456789 ", n/55+1)[:n])
}

func drawData(t *rapid.T, lengthMax int) []byte {
	n := rapid.OneOf(
		rapid.IntRange(1, 200),
		rapid.SampledFrom([]int{frameSizeSmall - 1, frameSizeSmall, frameSizeSmall + 1, frameSize - 1, frameSize, frameSize + 1, 2*frameSize - 1, 2 * frameSize, 3*frameSize + 7}),
		rapid.IntRange(1, lengthMax),
	).Draw(t, "length")
	n = min(n, lengthMax)
	seed := rapid.Uint64Range(0, 1<<16-1).Draw(t, "seed")
	switch rapid.SampledFrom([]string{"noise", "text", "mixed"}).Draw(t, "kind") {
	case "noise":
		return noise(seed, n)
	case "text":
		return text(n)
	default: // some frames shrink, some do not
		b := text(n)
		at := rapid.IntRange(0, n).Draw(t, "noise at")
		copy(b[at:], noise(seed, n-at))
		return b
	}
}

func TestRoundTrip(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 5*frameSize)
		hash := HashOf(data)
		prefix := []byte("before")
		compression := rapid.SampledFrom(compressions()).Draw(t, "compression")
		out := c.Append(bytes.Clone(prefix), 7, hash, data, compression)
		stored := out[len(prefix):]
		if !bytes.HasPrefix(out, prefix) || len(stored) > StoredSizeMax(len(data)) {
			t.Fatalf("appended %d bytes after %q", len(stored), out[:len(prefix)])
		}
		h, err := ParseHeader(stored)
		if err != nil {
			t.Fatal(err)
		}
		if int(h.RawLength) != len(data) || int(h.StoredLength) != len(stored) || h.Hash != hash || h.Dataset != 7 {
			t.Fatalf("header is %+v", h)
		}
		if plain := h.Codec == granary.CompressionNone; plain != IsUncompressed(h.RawLength, h.StoredLength) {
			t.Fatalf("codec %d with %d bytes stored of %d", h.Codec, h.StoredLength, h.RawLength)
		}
		got, err := c.Decode(bytes.Clone(prefix), stored, hash)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, append(prefix, data...)) {
			t.Fatal("decoded other bytes")
		}
	})
}

// uncompressed encodes a block without compression, with frames of either size.
func uncompressed(data []byte, frameSize int) []byte {
	return appendRaw(nil, Header{RawLength: uint32(len(data)), Hash: HashOf(data), Dataset: 1}, data, frameSize)
}

// framesOf returns the frames of an uncompressed block.
func framesOf(t interface{ Fatalf(string, ...any) }, data, stored []byte) Frames {
	f, ok := FramesOf(uint32(len(data)), uint32(len(stored)))
	if !ok {
		t.Fatalf("%d bytes of %d are not taken for uncompressed", len(stored), len(data))
	}
	return f
}

// TestSpan reads ranges of uncompressed blocks of both formats, by nothing but their lengths.
func TestSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 4*frameSize)
		hash := HashOf(data)
		stored := uncompressed(data, rapid.SampledFrom([]int{frameSize, frameSizeSmall}).Draw(t, "frame size"))
		f := framesOf(t, data, stored)
		from := rapid.IntRange(0, len(data)).Draw(t, "from")
		n := rapid.IntRange(0, len(data)-from).Draw(t, "n")
		offset, length := f.Span(from, n)
		span := stored[offset : offset+length]
		plain, err := f.Verify(span, hash, from, n)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		plain.CopyTo(got, from)
		if !bytes.Equal(got, data[from:from+n]) {
			t.Fatal("decoded other bytes")
		}
		if n == len(data) && plain.Hash() != hash {
			t.Fatal("another hash of the whole")
		}
		if n == 0 {
			return
		}
		other := HashOf([]byte("another chunk"))
		if _, err := f.Verify(span, other, from, n); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("the frames of another chunk: %v", err)
		}
		if _, err := f.Verify(span[:length-1], hash, from, n); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("a short read: %v", err)
		}
		if _, err := f.Verify(slices.Concat(span, []byte{0}), hash, from, n); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("a long read: %v", err)
		}
		if _, err := f.Verify(span, hash, from, len(data)-from+1); !granary.IsKind(err, granary.KindInvalid) {
			t.Fatalf("a range past the end: %v", err)
		}
	})
}

// TestVerifier lets a span arrive in pieces: what is verified when, is the same in the end, and no changed bit passes.
func TestVerifier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 4*frameSize)
		stored := uncompressed(data, rapid.SampledFrom([]int{frameSize, frameSizeSmall}).Draw(t, "frame size"))
		f := framesOf(t, data, stored)
		span := bytes.Clone(stored[HeaderSize:])
		damaged := rapid.Bool().Draw(t, "damaged")
		if damaged {
			span[rapid.IntRange(0, len(span)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		v, err := f.Verifier(HashOf(data), 0, len(data))
		if err != nil {
			t.Fatal(err)
		}
		var plain Plain
		for n := 0; n < len(span) && err == nil; {
			if _, early := v.Plain(span[:n]); early == nil {
				t.Fatal("a part passes for the whole")
			}
			n += rapid.IntRange(1, len(span)-n).Draw(t, "arrives")
			err = v.Advance(span[:n])
		}
		if err == nil {
			plain, err = v.Plain(span)
		}
		if damaged != granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("damaged: %v, and the error is %v", damaged, err)
		}
		if err == nil && plain.Hash() != HashOf(data) {
			t.Fatal("other bytes")
		}
	})
}

// TestSmallRead: 4 KiB anywhere in a chunk are within two frames, which are one read of at most 68 KiB.
func TestSmallRead(t *testing.T) {
	data := noise(1, 4*frameSize+100)
	f := framesOf(t, data, NewCodec().Append(nil, 1, HashOf(data), data, granary.CompressionNone))
	for at := range len(data) - 4096 {
		if _, n := f.Span(at, 4096); n > 68<<10 {
			t.Fatalf("%d bytes at %d", n, at)
		}
	}
}

// TestIndex reads ranges of blocks, compressed or not, by their index alone.
func TestIndex(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 4*frameSize)
		hash := HashOf(data)
		stored := c.Append(nil, 1, hash, data, rapid.SampledFrom(compressions()).Draw(t, "compression"))
		x, err := ParseIndex(stored[:min(len(stored), IndexSizeMax(uint32(len(data))))], hash)
		if err != nil {
			t.Fatal(err)
		}
		from := rapid.IntRange(0, len(data)).Draw(t, "from")
		n := rapid.IntRange(0, len(data)-from).Draw(t, "n")
		offset, length := x.Span(from, n)
		span := bytes.Clone(stored[offset : offset+length])
		got, err := c.DecodeFrames([]byte("x"), span, x, from, n)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != "x"+string(data[from:from+n]) {
			t.Fatal("decoded other bytes")
		}
		if n == 0 {
			return
		}
		span[rapid.IntRange(0, len(span)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := c.DecodeFrames([]byte("x"), span, x, from, n); !granary.IsKind(err, granary.KindCorrupt) || string(got) != "x" {
			t.Fatalf("a flipped bit: %q %v", got, err)
		}
		if _, err := c.DecodeFrames(nil, span[1:], x, from, n); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("a short read: %v", err)
		}
		if _, err := c.DecodeFrames(nil, span, x, from, len(data)-from+1); !granary.IsKind(err, granary.KindInvalid) {
			t.Fatalf("a range past the end: %v", err)
		}
		if _, err := ParseIndex(stored, HashOf([]byte("another chunk"))); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("another chunk: %v", err)
		}
	})
}

// TestSpanOfAnotherFrame reads frame 1 where frame 0 is expected: same chunk, valid bytes, wrong place.
func TestSpanOfAnotherFrame(t *testing.T) {
	data := noise(1, 3*frameSize)
	f := framesOf(t, data, uncompressed(data, frameSize))
	offset, length := f.Span(frameSize, frameSize)
	_, err := f.Verify(uncompressed(data, frameSize)[offset:offset+length], HashOf(data), 0, frameSize)
	if !granary.IsKind(err, granary.KindCorrupt) {
		t.Fatal(err)
	}
}

func TestCompresses(t *testing.T) {
	c := NewCodec()
	data := text(granary.ChunkSizeMax)
	for _, compression := range []granary.Compression{granary.CompressionLZ4, granary.CompressionZstd} {
		if stored := c.Append(nil, 1, HashOf(data), data, compression); len(stored) > len(data)/10 {
			t.Errorf("codec %d: %d bytes of %d", compression, len(stored), len(data))
		}
	}
	data = noise(1, granary.ChunkSizeMax)
	for _, compression := range compressions() {
		stored := c.Append(nil, 1, HashOf(data), data, compression)
		if len(stored) != StoredSizeMax(len(data)) {
			t.Errorf("codec %d: %d bytes of %d", compression, len(stored), len(data))
		}
	}
	if stored := c.Append(nil, 1, HashOf(data), data, 9); len(stored) != StoredSizeMax(len(data)) {
		t.Errorf("an unknown compression takes %d bytes", len(stored))
	}
}

// TestEveryBitFlip flips each bit of small blocks of each codec, one of them with a raw frame among
// compressed ones.
func TestEveryBitFlip(t *testing.T) {
	c := NewCodec()
	for _, compression := range compressions() {
		data := text(300)
		stored := c.Append(nil, 1, HashOf(data), data, compression)
		if h, err := ParseHeader(stored); err != nil || h.Codec != compression {
			t.Fatalf("codec %d: %+v %v", compression, h, err)
		}
		for bit := range len(stored) * 8 {
			stored[bit/8] ^= 1 << (bit % 8)
			got, err := c.Decode(nil, stored, HashOf(data))
			if !granary.IsKind(err, granary.KindCorrupt) || len(got) != 0 {
				t.Fatalf("codec %d: bit %d flipped: %v", compression, bit, err)
			}
			stored[bit/8] ^= 1 << (bit % 8)
		}
		for n := range len(stored) {
			if _, err := c.Decode(nil, stored[:n], HashOf(data)); !granary.IsKind(err, granary.KindCorrupt) {
				t.Fatalf("codec %d: cut to %d bytes: %v", compression, n, err)
			}
		}
		if _, err := c.Decode(nil, append(stored, 0), HashOf(data)); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("codec %d: a byte more: %v", compression, err)
		}
		if _, err := c.Decode(nil, stored, granary.Hash{}); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("codec %d: another hash: %v", compression, err)
		}
	}
}

func TestEveryBitFlipInSpan(t *testing.T) {
	data := noise(3, frameSize+100)
	for _, size := range []int{frameSize, frameSizeSmall} {
		stored := uncompressed(data, size)
		f := framesOf(t, data, stored)
		offset, _ := f.Span(frameSize, 100)
		span := stored[offset:]
		for bit := range len(span) * 8 {
			span[bit/8] ^= 1 << (bit % 8)
			if _, err := f.Verify(span, HashOf(data), frameSize+10, 20); !granary.IsKind(err, granary.KindCorrupt) {
				t.Fatalf("bit %d flipped: %v", bit, err)
			}
			span[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// TestWrongChunk decodes a block that is sound in all but its name: only BLAKE3 can tell.
func TestWrongChunk(t *testing.T) {
	c := NewCodec()
	data := text(1000)
	wrong := HashOf([]byte("something else"))
	for _, compression := range compressions() {
		stored := c.Append(nil, 1, wrong, data, compression)
		if got, err := c.Decode([]byte("x"), stored, wrong); !granary.IsKind(err, granary.KindCorrupt) || string(got) != "x" {
			t.Errorf("codec %d: %q %v", compression, got, err)
		}
	}
}

var golden = flag.Bool("golden", false, "rewrite the golden files in testdata")

// TestGolden reads blocks written by earlier versions. What compressors emit may change, so only the uncompressed ones are
// also compared byte for byte.
func TestGolden(t *testing.T) {
	c := NewCodec()
	data := append(text(frameSize+1000), noise(5, 100)...)
	small := data[frameSize+900:] // it does not shrink
	header := Header{RawLength: uint32(len(small)), Hash: HashOf(small), Dataset: 42}
	for _, g := range []struct {
		name   string
		codec  granary.Compression
		plain  []byte
		stored []byte
	}{
		{"none-v1.block", granary.CompressionNone, small, appendRaw(nil, header, small, frameSize)},
		{"none-v2.block", granary.CompressionNone, small, c.Append(nil, 42, HashOf(small), small, granary.CompressionNone)},
		{"lz4-v1.block", granary.CompressionLZ4, data, c.Append(nil, 42, HashOf(data), data, granary.CompressionLZ4)},
		{"zstd-v1.block", granary.CompressionZstd, data, c.Append(nil, 42, HashOf(data), data, granary.CompressionZstd)},
	} {
		path := filepath.Join("testdata", g.name)
		if *golden {
			if err := os.WriteFile(path, g.stored, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Decode(nil, want, HashOf(g.plain))
		if err != nil || !bytes.Equal(got, g.plain) {
			t.Errorf("%s: %v", g.name, err)
		}
		if h, err := ParseHeader(want); err != nil || h.Codec != g.codec || h.Dataset != 42 {
			t.Errorf("%s: %+v %v", g.name, h, err)
		}
		if g.codec == granary.CompressionNone && !bytes.Equal(g.stored, want) {
			t.Errorf("%s: encoded now as\n%x, was\n%x", g.name, g.stored, want)
		}
	}
}

// TestBothFormats decodes uncompressed blocks with frames of both sizes, whole and by their index.
func TestBothFormats(t *testing.T) {
	c := NewCodec()
	for _, n := range []int{1, frameSizeSmall, frameSizeSmall + 1, frameSize, frameSize + 1, granary.ChunkSizeMax} {
		data := noise(uint64(n), n)
		for version, size := range map[byte]int{1: frameSize, 2: frameSizeSmall} {
			stored := uncompressed(data, size)
			if stored[4] != version {
				t.Errorf("frames of %d bytes make format %d", size, stored[4])
			}
			if got, err := c.Decode(nil, stored, HashOf(data)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes in frames of %d: %v", n, size, err)
			}
			if err := Check(stored, HashOf(data)); err != nil {
				t.Errorf("%d bytes in frames of %d: %v", n, size, err)
			}
			if stored[4] ^= 3; n > frameSizeSmall { // as the other format, with checksums that hold
				binary.LittleEndian.PutUint32(stored[60:], checksum(stored[:60]))
				if _, err := ParseHeader(stored); !granary.IsKind(err, granary.KindCorrupt) {
					t.Errorf("%d bytes in frames of %d pass for the other format: %v", n, size, err)
				}
			}
		}
	}
	compressed := c.Append(nil, 1, HashOf(text(1000)), text(1000), granary.CompressionLZ4)
	compressed[4] = formatSmall
	binary.LittleEndian.PutUint32(compressed[60:], checksum(compressed[:60]))
	if _, err := ParseHeader(compressed); !granary.IsKind(err, granary.KindNotSupported) {
		t.Errorf("a compressed block of format 2: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := NewCodec()
	for i := range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for j := range 20 {
				data := append(text(frameSize+j), noise(uint64(i), 1000)...)
				stored := c.Append(nil, 1, HashOf(data), data, compressions()[j%3])
				if got, err := c.Decode(nil, stored, HashOf(data)); err != nil || !bytes.Equal(got, data) {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestCheck: what Decode takes, Check takes; and a changed byte of a block it refuses, wherever that is.
func TestCheck(t *testing.T) {
	c := NewCodec()
	for _, compression := range []granary.Compression{granary.CompressionNone, granary.CompressionLZ4, granary.CompressionZstd} {
		data := bytes.Repeat([]byte("to and fro, "), 15_000)
		hash := HashOf(data)
		stored := c.Append(nil, granary.RootDataset, hash, data, compression)
		if err := Check(stored, hash); err != nil {
			t.Fatal(compression, err)
		}
		for at := 0; at < len(stored); at += 1 + at/50 {
			stored[at] ^= 4
			if err := Check(stored, hash); err == nil {
				t.Errorf("%v: byte %d of %d is wrong, and nobody says so", compression, at, len(stored))
			}
			stored[at] ^= 4
		}
		if Check(stored[:len(stored)-1], hash) == nil || Check(stored, HashOf(nil)) == nil {
			t.Error(compression, "a block that is cut, or of another chunk, is taken")
		}
	}
}

// TestAppendPlain: a block that is stored as it is has the same bytes by either way.
func TestAppendPlain(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t, 3*frameSize)
		hash := HashOf(data)
		before := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "before")
		want := c.Append(bytes.Clone(before), 7, hash, data, granary.CompressionNone)
		got := AppendPlain(bytes.Clone(before), 7, hash, data)
		if !bytes.Equal(got, want) {
			t.Fatal("other bytes")
		}
		if out, ok := c.AppendShrunk(before, 7, hash, data, granary.CompressionNone); ok || len(out) != len(before) {
			t.Fatal("shrunk without compression")
		}
	})
}
