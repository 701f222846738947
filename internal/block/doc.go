// Package block is the format of a chunk on disk: a header and frames of 64 KiB, each with a
// trailer that lets a reader of one frame know that it holds the right bytes of the right chunk.
//
// # Format
//
// All integers are little endian. A block is
//
//	header  64 bytes
//	table   4 bytes a frame, only if codec is not none: stored length of the frame's payload; bit 31 set if that payload is stored raw
//	frames  payload, then a trailer of 16 bytes, each
//
// Header:
//
//	offset  size  field
//	0       4     magic "GRBK"
//	4       1     format, 1
//	5       1     codec: 0 none, 1 lz4 (block format), 2 zstd: granary.Compression
//	6       2     reserved, zero
//	8       4     raw length: bytes of plaintext, 1 to granary.ChunkSizeMax
//	12      4     stored length: bytes of the whole block, header, table, payloads and trailers
//	16      32    chunk hash: BLAKE3-256 of the plaintext
//	48      4     dataset id, for rebuilding the table of hashes from the disks alone
//	52      4     CRC32C of the frame table (0 without one)
//	56      4     reserved, zero
//	60      4     CRC32C of bytes 0 to 59
//
// Frame i holds plaintext [i*65536, (i+1)*65536), the last one what is left; each is compressed by itself, so a
// range of a chunk is read without the rest. Trailer:
//
//	0       8     first 8 bytes of the chunk hash
//	8       2     frame number
//	10      2     flags: bit 0 set if the payload is compressed
//	12      4     CRC32C of the payload and of trailer bytes 0 to 11
//
// Without compression, frame i begins at 64 + i*(65536+16): no table is needed. A block is written uncompressed when
// compression saves less than 1/16.
//
// The BLAKE3 of the whole is checked by whoever decodes a whole block; a reader of single frames checks their trailers.
package block

// The API, to be kept (hash is BLAKE3-256 by zeebo/blake3):
//
//	const HeaderSize = 64; const FrameSize = 64 << 10; const TrailerSize = 16
//	func HashOf(data []byte) granary.Hash
//	func StoredSizeMax(rawLength int) int
//	// Append encodes data and appends the block to dst.
//	func Append(dst []byte, dataset granary.DatasetID, hash granary.Hash, data []byte, c granary.Compression) []byte
//	type Header struct { Codec granary.Compression; RawLength, StoredLength uint32; Hash granary.Hash; Dataset granary.DatasetID; … }
//	func ParseHeader(b []byte) (Header, error)
//	// Decode verifies a whole block (header, table, trailers, BLAKE3 = want) and appends the plaintext to dst.
//	func Decode(dst, stored []byte, want granary.Hash) ([]byte, error)
//	// Span returns which stored bytes hold the frames of a plaintext range of an uncompressed block (known from StoredLength == UncompressedSize(raw)).
//	func UncompressedSize(rawLength uint32) uint32
//	func Span(rawOffset, rawLength int) (storedOffset, storedLength int)   // of the frames that cover it, clipped by the caller at the block's end
//	// DecodeSpan verifies those frames' trailers against hash and returns the plaintext of the range.
//	func DecodeSpan(dst, stored []byte, hash granary.Hash, blockRawLength uint32, rawOffset, rawLength int) ([]byte, error)
//	// Errors are *granary.Error of KindCorrupt that say what did not hold.
