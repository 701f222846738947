// Package block is the format of a chunk on disk: a header and frames of 64 or 32 KiB, each with a
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
//	4       1     format: 1, frames are of 64 KiB; 2, frames are of 32 KiB and codec is none
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
// Frame i holds plaintext [i*F, (i+1)*F), F being 65536 or 32768, the last one what is left; each is compressed by itself, so a
// range of a chunk is read without the rest. Trailer:
//
//	0       8     first 8 bytes of the chunk hash
//	8       2     frame number
//	10      2     flags: bit 0 set if the payload is compressed
//	12      4     CRC32C of the payload and of trailer bytes 0 to 11
//
// Without compression, frame i begins at 64 + i*(F+16): no table is needed. What is written uncompressed is of format 2, what is
// compressed of format 1: chunks are cut at any byte, so that 1 of 16 reads of 4 KiB crosses the border of two frames. Two of 32 KiB are
// read for it then, one mostly, and never more than 68 KiB; larger frames compress better. A block is written uncompressed when
// compression saves less than 1/16, and so is a single frame of a compressed block: its payload is then raw, bit 31 of
// its table entry is set, and its flags are zero. A compressed payload is shorter than its frame's plaintext.
//
// A reader checks the trailers of what it reads. The BLAKE3 of the whole is checked by whoever decodes a whole block (Decode), and of what
// was reconstructed.
//
// A range is read from an uncompressed block by its Frames, with nothing but what the master knows of the
// block; from any block by its Index and DecodeFrames. Verified plaintext can stay where it lies, between trailers: Plain.
//
// CRC32C is the Castagnoli polynomial, as in iSCSI (RFC 3720). A torn block fails the CRC of a trailer that was not
// written; a block that was never written reads as zeros and has no magic.
//
// # Invariants
//
//  1. Stored length is 64 + raw length + 16 a frame exactly if codec is none, and less than that of format 1 otherwise. So a reader
//     that knows both lengths knows without the header whether it is compressed, and how large its frames are: where they make no
//     difference to the length there is one, and they make none.
//  2. The bytes of a block follow from dataset, plaintext and the encoder; any encoder of this format may differ
//     from another in compressed payloads, never in what decodes.
//  3. No decoder allocates more than the plaintext of one chunk, panics, or returns a byte that was not verified,
//     whatever it is given.
//  4. Every single flipped bit of a block is found by Decode, every one within a span by
//     Frames.Verify and DecodeFrames.
package block
