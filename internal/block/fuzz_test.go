package block

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/dsorchard/granary"
)

// reseal makes the checksums of a mutated block right again, as far as its structure allows, so that the
// fuzzer reaches what lies behind them: lengths, flags, compressed payloads.
func reseal(b []byte) {
	if len(b) < HeaderSize {
		return
	}
	copy(b, magic)
	b[4], b[6], b[7] = 1+b[4]%2, 0, 0
	b[5] %= 3
	size := frameSize
	if b[4] == formatSmall {
		b[5], size = 0, frameSizeSmall
	}
	clear(b[56:60])
	raw := int(binary.LittleEndian.Uint32(b[8:]) % (3 * frameSize))
	binary.LittleEndian.PutUint32(b[8:], uint32(raw))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[52:], 0)
	h := Header{Codec: granary.Compression(b[5]), FrameSize: size, RawLength: uint32(raw), Hash: granary.Hash(b[16:48])}
	if off := h.framesOffset(); off <= len(b) && h.Codec != granary.CompressionNone {
		binary.LittleEndian.PutUint32(b[52:], checksum(b[HeaderSize:off]))
		resealFrames(b, &h)
	}
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
}

func resealFrames(b []byte, h *Header) {
	rest := b[h.framesOffset():]
	for i := range h.frames() {
		entry := binary.LittleEndian.Uint32(b[HeaderSize+i*entrySize:])
		n := int(entry &^ entryRaw)
		if n+TrailerSize > len(rest) {
			return
		}
		appendTrailer(rest[:n], 0, h.Hash, i, entry&entryRaw == 0)
		rest = rest[n+TrailerSize:]
	}
}

// FuzzDecode holds invariant 3, and that what decodes is the chunk that was asked for.
func FuzzDecode(f *testing.F) {
	c := NewCodec()
	for _, compression := range compressions() {
		for _, data := range [][]byte{{1}, text(300), text(frameSize + 10), append(text(frameSize), noise(1, 100)...)} {
			if stored := c.Append(nil, 1, HashOf(data), data, compression); len(stored) < 4096 { // the fuzzer is slow on more
				f.Add(stored, true)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if b = bytes.Clone(b); sealed {
			reseal(b)
		}
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		got, err := c.Decode(nil, b, h.Hash)
		if cap(got) > 2*granary.ChunkSizeMax {
			t.Fatalf("room for %d bytes was made", cap(got))
		}
		if err != nil {
			if len(got) != 0 {
				t.Fatal("bytes came with an error")
			}
			return
		}
		if HashOf(got) != h.Hash || len(got) != int(h.RawLength) {
			t.Fatal("decoded another chunk")
		}
	})
}

// FuzzVerify holds that whatever is read for a range, its very bytes come out or an error.
func FuzzVerify(f *testing.F) {
	data := append(text(frameSize), noise(1, 300)...)
	hash := HashOf(data)
	for _, size := range []int{frameSize, frameSizeSmall} {
		stored := uncompressed(data, size)
		tail := stored[len(stored)-300-TrailerSize:]
		f.Add(tail, uint32(len(data)), uint32(len(stored)), frameSize+1, 10)
		f.Add(tail, uint32(len(data)), uint32(len(stored)), frameSize, 300)
		f.Add(tail, uint32(300), uint32(300+HeaderSize+TrailerSize), 0, 300)
	}
	f.Add([]byte(nil), uint32(1<<32-1), uint32(1<<32-1), -1, 1<<62)
	f.Fuzz(func(t *testing.T, b []byte, raw, stored uint32, offset, length int) {
		frames, ok := FramesOf(raw, stored)
		if !ok {
			return
		}
		plain, err := frames.Verify(b, hash, offset, length)
		if err != nil || length == 0 || raw != uint32(len(data)) {
			return
		}
		got := make([]byte, length)
		if plain.CopyTo(got, offset); !bytes.Equal(got, data[offset:offset+length]) {
			t.Fatal("decoded other bytes")
		}
	})
}
