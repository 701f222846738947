// Package crc32c joins checksums: that of A followed by B is had from those of A and of B, without a look at the bytes. So what is cut into
// pieces, each with a checksum, is read once for these and for the checksum of the whole: Pieces are those of a shard's stream, which whoever
// makes it computes while the processor's caches hold it, and the volume server keeps.
//
// Checksums are those of hash/crc32 with the Castagnoli polynomial.
package crc32c
