// Package crc32c joins checksums: that of A followed by B is had from those of A and of B, without a look at the bytes. So what is cut into
// pieces, each with a checksum, is read once for these and for the checksum of the whole.
//
// Checksums are those of hash/crc32 with the Castagnoli polynomial.
package crc32c
