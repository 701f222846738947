package block

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/dsorchard/granary"
)

// Decode verifies a whole block (header, table, trailers, and that the plaintext's BLAKE3 is want) and appends
// the plaintext to dst. On an error, which is KindCorrupt and says what did not hold, it returns dst as it was.
func (c *Codec) Decode(dst, stored []byte, want granary.Hash) ([]byte, error) {
	x, err := ParseIndex(stored, want)
	if err != nil {
		return dst, err
	}
	if len(stored) != int(x.StoredLength) {
		return dst, corrupt(want.String(), "%d bytes, header says %d", len(stored), x.StoredLength)
	}
	out, err := c.DecodeFrames(dst, stored[x.offsets[0]:], x, 0, int(x.RawLength))
	if err != nil {
		return dst, err
	}
	if got := HashOf(out[len(dst):]); got != want {
		return dst, corrupt(want.String(), "BLAKE3 of the plaintext is %s", got)
	}
	return out, nil
}

// Check verifies a whole block but for the hash of its plaintext: its header and table, and all frames by their trailers. It
// decompresses nothing, and is as fast as a checksum. What does not hold is KindCorrupt.
func Check(stored []byte, want granary.Hash) error {
	x, err := ParseIndex(stored, want)
	if err != nil {
		return err
	}
	if len(stored) != int(x.StoredLength) {
		return corrupt(want.String(), "%d bytes, header says %d", len(stored), x.StoredLength)
	}
	for i, compressed := range x.compressed {
		if _, err := checkFrame(stored[x.offsets[i]:x.offsets[i+1]], want, i, compressed); err != nil {
			return err
		}
	}
	return nil
}

// DecodeFrames verifies the frames that cover the plaintext range [rawOffset, rawOffset+rawLength) by their trailers
// and appends that range to dst. The stored bytes are exactly those that x.Span names. It returns dst as it
// was on an error: KindCorrupt, or KindInvalid for a range that is not within the chunk.
func (c *Codec) DecodeFrames(dst, stored []byte, x *Index, rawOffset, rawLength int) ([]byte, error) {
	if err := checkRange(x.Hash, int(x.RawLength), rawOffset, rawLength); err != nil {
		return dst, err
	}
	offset, length := x.Span(rawOffset, rawLength)
	if len(stored) != length {
		return dst, corrupt(x.Hash.String(), "%d bytes were read of the frames of range %d+%d, want %d", len(stored), rawOffset, rawLength, length)
	}
	out := slices.Grow(dst, rawLength)
	end := rawOffset + rawLength
	for i := rawOffset / x.FrameSize; i*x.FrameSize < end && length > 0; i++ {
		frame := stored[int(x.offsets[i])-offset : int(x.offsets[i+1])-offset]
		payload, err := checkFrame(frame, x.Hash, i, x.compressed[i])
		if err != nil {
			return dst, err
		}
		n := x.frameLength(i)
		from, to := max(rawOffset-i*x.FrameSize, 0), min(end-i*x.FrameSize, n)
		if !x.compressed[i] {
			out = append(out, payload[from:to]...)
			continue
		}
		if out, err = c.appendPart(out, payload, x.Codec, n, from, to); err != nil {
			return dst, corrupt(x.Hash.String(), "frame %d: %w", i, err)
		}
	}
	return out, nil
}

// appendPart appends the bytes from to to of the n that a payload decompresses to. dst has room for them.
func (c *Codec) appendPart(dst, payload []byte, codec granary.Compression, n, from, to int) ([]byte, error) {
	if from == 0 && to == n {
		room := dst[len(dst) : len(dst)+n : len(dst)+n]
		return dst[:len(dst)+n], c.decompress(room, payload, codec)
	}
	room := c.framePool.Get().(*[]byte)
	defer c.framePool.Put(room)
	if err := c.decompress((*room)[:n], payload, codec); err != nil {
		return nil, err
	}
	return append(dst, (*room)[from:to]...), nil
}

// decompress fills room, no less and no more.
func (c *Codec) decompress(room, payload []byte, codec granary.Compression) error {
	n, err := 0, error(nil)
	if codec == granary.CompressionLZ4 {
		n, err = lz4.UncompressBlock(payload, room)
	} else {
		n, err = c.zstdInto(room, payload)
	}
	if err != nil {
		return err
	}
	if n != len(room) {
		return fmt.Errorf("decompresses to %d bytes, want %d", n, len(room))
	}
	return nil
}

func (c *Codec) zstdInto(room, src []byte) (int, error) {
	d := c.unzstd.Get().(*zstd.Decoder)
	defer c.unzstd.Put(d)
	out, err := d.DecodeAll(src, room[:0:len(room)])
	if err != nil {
		return 0, err
	}
	if len(out) == len(room) {
		copy(room, out) // onto itself, unless the decoder preferred a buffer of its own
	}
	return len(out), nil
}

func checkRange(hash granary.Hash, raw, rawOffset, rawLength int) error {
	if raw > granary.ChunkSizeMax || rawOffset < 0 || rawLength < 0 || rawOffset > raw || rawLength > raw-rawOffset {
		return granary.Errorf(granary.KindInvalid, "block", hash.String(),
			"range %d+%d is not within a chunk of %d bytes", rawOffset, rawLength, raw)
	}
	return nil
}
