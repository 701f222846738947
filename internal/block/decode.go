package block

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/dsorchard/granary"
)

// Decode verifies a whole block (header, table, trailers, and that the plaintext's BLAKE3 is want) and appends
// the plaintext to dst. On an error, which is KindCorrupt and says what did not hold, it returns dst as it was.
func (c *Codec) Decode(dst, stored []byte, want granary.Hash) ([]byte, error) {
	h, err := ParseHeader(stored)
	if err != nil {
		return dst, err
	}
	if h.Hash != want {
		return dst, corrupt(want.String(), "the block there is %s", h.Hash)
	}
	if len(stored) != int(h.StoredLength) {
		return dst, corrupt(want.String(), "%d bytes, header says %d", len(stored), h.StoredLength)
	}
	payloads, err := h.checkFrames(stored)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	out := slices.Grow(dst, int(h.RawLength))
	for i, p := range payloads {
		if out, err = c.appendFrame(out, p, h.Codec, frameLength(i, int(h.RawLength))); err != nil {
			return dst, corrupt(want.String(), "frame %d: %w", i, err)
		}
	}
	if got := HashOf(out[start:]); got != want {
		return dst, corrupt(want.String(), "BLAKE3 of the plaintext is %s", got)
	}
	return out, nil
}

// payload is the verified payload of a frame.
type payload struct {
	bytes      []byte
	compressed bool
}

// checkFrames verifies the table and every trailer of a block of the right length.
func (h *Header) checkFrames(stored []byte) ([]payload, error) {
	n, raw := frames(int(h.RawLength)), int(h.RawLength)
	rest := stored[h.framesOffset():]
	var table []byte
	if h.Codec != granary.CompressionNone {
		table = stored[HeaderSize:][:n*entrySize]
		if got := checksum(table); got != h.TableCRC32C {
			return nil, corrupt(h.Hash.String(), "frame table has CRC32C %08x, header says %08x", got, h.TableCRC32C)
		}
	}
	payloads := make([]payload, n)
	for i := range n {
		length, compressed := frameLength(i, raw), false
		if table != nil {
			entry := binary.LittleEndian.Uint32(table[i*entrySize:])
			compressed = entry&entryRaw == 0
			stored := int(entry &^ entryRaw)
			if stored == 0 || compressed && stored >= length || !compressed && stored != length {
				return nil, corrupt(h.Hash.String(), "frame %d has table entry %#x for %d bytes", i, entry, length)
			}
			length = stored
		}
		if len(rest) < length+TrailerSize {
			return nil, corrupt(h.Hash.String(), "frame %d goes past the end", i)
		}
		bytes, err := checkFrame(rest[:length+TrailerSize], h.Hash, i, compressed)
		if err != nil {
			return nil, err
		}
		payloads[i] = payload{bytes, compressed}
		rest = rest[length+TrailerSize:]
	}
	if len(rest) != 0 {
		return nil, corrupt(h.Hash.String(), "%d bytes follow the last frame", len(rest))
	}
	return payloads, nil
}

// appendFrame appends the length bytes of plaintext of a frame to dst, which has room for them.
func (c *Codec) appendFrame(dst []byte, p payload, codec granary.Compression, length int) ([]byte, error) {
	if !p.compressed {
		return append(dst, p.bytes...), nil
	}
	room := dst[len(dst) : len(dst)+length : len(dst)+length]
	n, err := 0, error(nil)
	if codec == granary.CompressionLZ4 {
		n, err = lz4.UncompressBlock(p.bytes, room)
	} else {
		n, err = c.unzstdInto(room, p.bytes)
	}
	if err != nil {
		return nil, err
	}
	if n != length {
		return nil, corrupt("", "decompresses to %d bytes, want %d", n, length)
	}
	return dst[:len(dst)+length], nil
}

func (c *Codec) unzstdInto(room, src []byte) (int, error) {
	d := c.unzstd.Get().(*zstd.Decoder)
	defer c.unzstd.Put(d)
	out, err := d.DecodeAll(src, room[:0])
	if err != nil {
		return 0, err
	}
	if len(out) == len(room) {
		copy(room, out) // onto itself, unless the decoder preferred a buffer of its own
	}
	return len(out), nil
}

// DecodeSpan verifies the frames of an uncompressed block that cover the plaintext range
// [rawOffset, rawOffset+rawLength) and appends that range to dst. The chunk has the given hash and
// blockRawLength bytes; stored are exactly the bytes of the block that Span names, clipped to its end.
// It returns dst as it was on an error: KindCorrupt, or KindInvalid for a range that is not within the chunk.
func DecodeSpan(dst, stored []byte, hash granary.Hash, blockRawLength uint32, rawOffset, rawLength int) ([]byte, error) {
	raw := int(blockRawLength)
	if raw > granary.ChunkSizeMax || rawOffset < 0 || rawLength < 0 || rawOffset > raw || rawLength > raw-rawOffset {
		return dst, granary.Errorf(granary.KindInvalid, "block", hash.String(),
			"range %d+%d is not within a chunk of %d bytes", rawOffset, rawLength, raw)
	}
	offset, length := Span(rawOffset, rawLength)
	length = max(0, min(length, StoredSizeMax(raw)-offset))
	if len(stored) != length {
		return dst, corrupt(hash.String(), "%d bytes were read of the frames of range %d+%d, want %d", len(stored), rawOffset, rawLength, length)
	}
	out := slices.Grow(dst, rawLength)
	end := rawOffset + rawLength
	for i := rawOffset / FrameSize; len(stored) > 0; i++ {
		n := frameLength(i, raw)
		plain, err := checkFrame(stored[:n+TrailerSize], hash, i, false)
		if err != nil {
			return dst, err
		}
		from, to := max(rawOffset-i*FrameSize, 0), min(end-i*FrameSize, n)
		out = append(out, plain[from:to]...)
		stored = stored[n+TrailerSize:]
	}
	return out, nil
}
