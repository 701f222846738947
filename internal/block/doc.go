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
//	5       1     codec: 0 none, 1 lz4 (block format), 2 zstd (RFC 8878, no dictionary): granary.Compression
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
// compression saves less than 1/16, and so is a single frame of a compressed block: its payload is then raw, bit 31 of
// its table entry is set, and its flags are zero. A compressed payload is shorter than its frame's plaintext.
//
// The BLAKE3 of the whole is checked by whoever decodes a whole block; a reader of single frames checks their trailers.
//
// A range is read from an uncompressed block by Span and DecodeSpan, with nothing but what the master knows of the
// block; from any block by its Index and DecodeFrames.
//
// CRC32C is the Castagnoli polynomial, as in iSCSI (RFC 3720). A torn block fails the CRC of a trailer that was not
// written; a block that was never written reads as zeros and has no magic.
//
// # Invariants
//
//  1. Stored length equals UncompressedSize(raw length) exactly if codec is none, and is less otherwise. So a reader
//     that knows both lengths knows without the header whether it may read by Span.
//  2. The bytes of a block follow from dataset, plaintext and the encoder; any encoder of this format may differ
//     from another in compressed payloads, never in what decodes.
//  3. No decoder allocates more than the plaintext of one chunk, panics, or returns a byte that was not verified,
//     whatever it is given.
//  4. Every single flipped bit of a block is found by Decode, every one within a span by
//     DecodeSpan and DecodeFrames.
package block
