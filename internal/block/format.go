package block

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/zeebo/blake3"

	"github.com/dsorchard/granary"
)

// Sizes of the format, in bytes.
const (
	HeaderSize  = 64
	TrailerSize = 16

	frameSize      = 64 << 10 // of plaintext, at most, in format 1
	frameSizeSmall = 32 << 10 // in format 2
	entrySize      = 4        // of the frame table
	entryRaw       = 1 << 31  // flag in a table entry: the payload is not compressed

	magic       = "GRBK"
	format      = 1
	formatSmall = 2 // frames are small, codec is none

	flagCompressed = 1 // in a trailer
)

// Header is the parsed header of a block.
type Header struct {
	Codec        granary.Compression
	FrameSize    int    // plaintext bytes of every frame but the last
	RawLength    uint32 // bytes of plaintext
	StoredLength uint32 // bytes of the whole block
	Hash         granary.Hash
	Dataset      granary.DatasetID
	TableCRC32C  uint32 // of the frame table; 0 without one
}

// HashOf returns the name of a chunk with this plaintext: its BLAKE3-256.
func HashOf(data []byte) granary.Hash { return blake3.Sum256(data) }

// IsUncompressed tells by the two lengths of a block whether it is not compressed. Then it can be read by Frames.
func IsUncompressed(rawLength, storedLength uint32) bool {
	return storedLength == uncompressedSize(rawLength, frameSizeSmall) || storedLength == uncompressedSize(rawLength, frameSize)
}

// uncompressedSize returns the bytes that a block takes uncompressed with frames of a size.
func uncompressedSize(rawLength uint32, frameSize int) uint32 {
	return HeaderSize + uint32(Frames{int(rawLength), frameSize}.Size())
}

// StoredSizeMax returns the most bytes that a block of rawLength bytes of plaintext can take.
func StoredSizeMax(rawLength int) int {
	return int(uncompressedSize(uint32(rawLength), frameSizeSmall))
}

// frames returns how many frames hold rawLength bytes.
func frames(rawLength, frameSize int) int { return (rawLength + frameSize - 1) / frameSize }

// frameLength returns the plaintext bytes of frame i of a block of rawLength bytes.
func frameLength(i, rawLength, frameSize int) int { return min(frameSize, rawLength-i*frameSize) }

// ParseHeader reads and verifies a header from the first HeaderSize bytes of a block. Errors are KindCorrupt, or
// KindNotSupported for a sound header of a later format.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, corrupt("", "%d bytes are no header", len(b))
	}
	b = b[:HeaderSize]
	if string(b[:4]) != magic {
		return Header{}, corrupt("", "no block begins here: magic is %x", b[:4])
	}
	if got, want := checksum(b[:60]), binary.LittleEndian.Uint32(b[60:]); got != want {
		return Header{}, corrupt("", "header has CRC32C %08x, says %08x", got, want)
	}
	h := Header{
		Codec:        granary.Compression(b[5]),
		RawLength:    binary.LittleEndian.Uint32(b[8:]),
		StoredLength: binary.LittleEndian.Uint32(b[12:]),
		Hash:         granary.Hash(b[16:48]),
		Dataset:      granary.DatasetID(binary.LittleEndian.Uint32(b[48:])),
		TableCRC32C:  binary.LittleEndian.Uint32(b[52:]),
	}
	switch {
	case b[4] == format && h.Codec <= granary.CompressionZstd:
		h.FrameSize = frameSize
	case b[4] == formatSmall && h.Codec == granary.CompressionNone:
		h.FrameSize = frameSizeSmall
	default:
		return Header{}, granary.Errorf(granary.KindNotSupported, "block", h.Hash.String(), "format %d with codec %d is not known", b[4], h.Codec)
	}
	if reserved := uint32(binary.LittleEndian.Uint16(b[6:])) | binary.LittleEndian.Uint32(b[56:]); reserved != 0 {
		return Header{}, corrupt(h.Hash.String(), "reserved bytes of the header are not zero")
	}
	if err := h.checkLengths(); err != nil {
		return Header{}, err
	}
	return h, nil
}

// checkLengths holds the lengths against each other, so that a decoder may trust them.
func (h *Header) checkLengths() error {
	if h.RawLength < 1 || h.RawLength > granary.ChunkSizeMax {
		return corrupt(h.Hash.String(), "raw length is %d", h.RawLength)
	}
	whole := uncompressedSize(h.RawLength, h.FrameSize)
	switch {
	case h.Codec == granary.CompressionNone && h.StoredLength != whole:
		return corrupt(h.Hash.String(), "stored length is %d, want %d", h.StoredLength, whole)
	case h.Codec == granary.CompressionNone && h.TableCRC32C != 0:
		return corrupt(h.Hash.String(), "a frame table is announced for an uncompressed block")
	case h.Codec != granary.CompressionNone && (h.StoredLength >= whole || h.StoredLength <= uint32(h.framesOffset())):
		return corrupt(h.Hash.String(), "stored length is %d, of %d uncompressed", h.StoredLength, whole)
	}
	return nil
}

// framesOffset returns where the first frame begins.
func (h *Header) framesOffset() int {
	if h.Codec == granary.CompressionNone {
		return HeaderSize
	}
	return HeaderSize + entrySize*h.frames()
}

// frames returns how many frames the block has.
func (h *Header) frames() int { return frames(int(h.RawLength), h.FrameSize) }

// frameLength returns the plaintext bytes of frame i.
func (h *Header) frameLength(i int) int { return frameLength(i, int(h.RawLength), h.FrameSize) }

// appendTo appends the header's bytes.
func (h *Header) appendTo(dst []byte) []byte {
	start := len(dst)
	version := byte(format)
	if h.FrameSize == frameSizeSmall {
		version = formatSmall
	}
	dst = append(dst, magic...)
	dst = append(dst, version, byte(h.Codec), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, h.RawLength)
	dst = binary.LittleEndian.AppendUint32(dst, h.StoredLength)
	dst = append(dst, h.Hash[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Dataset))
	dst = binary.LittleEndian.AppendUint32(dst, h.TableCRC32C)
	dst = append(dst, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

// appendTrailer appends the trailer of frame number i, whose payload is the end of dst from start.
func appendTrailer(dst []byte, start int, hash granary.Hash, i int, compressed bool) []byte {
	var flags uint16
	if compressed {
		flags = flagCompressed
	}
	dst = append(dst, hash[:8]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(i))
	dst = binary.LittleEndian.AppendUint16(dst, flags)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

// checkFrame verifies a payload with its trailer as frame i of the chunk and returns the payload.
func checkFrame(frame []byte, hash granary.Hash, i int, compressed bool) ([]byte, error) {
	payload, t := frame[:len(frame)-TrailerSize], frame[len(frame)-TrailerSize:]
	return payload, checkTrailer(t, checksum(frame[:len(frame)-4]), hash, i, compressed)
}

// checkTrailer verifies a trailer as that of frame i of the chunk, of which sum is the CRC32C.
// The CRC comes first: until it holds, the other fields say nothing.
func checkTrailer(t []byte, sum uint32, hash granary.Hash, i int, compressed bool) error {
	if want := binary.LittleEndian.Uint32(t[12:]); sum != want {
		return corrupt(hash.String(), "frame %d has CRC32C %08x, says %08x", i, sum, want)
	}
	if string(t[:8]) != string(hash[:8]) {
		return corrupt(hash.String(), "frame %d is of another chunk, %x…", i, t[:8])
	}
	if n := binary.LittleEndian.Uint16(t[8:]); int(n) != i {
		return corrupt(hash.String(), "frame %d says it is frame %d", i, n)
	}
	var flags uint16
	if compressed {
		flags = flagCompressed
	}
	if f := binary.LittleEndian.Uint16(t[10:]); f != flags {
		return corrupt(hash.String(), "frame %d has flags %#x, want %#x", i, f, flags)
	}
	return nil
}

// checksum is CRC32C. MakeTable returns the one table of the standard library for this polynomial.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func corrupt(subject, text string, args ...any) error {
	return granary.Errorf(granary.KindCorrupt, "block", subject, "%w", fmt.Errorf(text, args...))
}
