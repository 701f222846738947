// Package chunkcache keeps chunks of files on a local disk, so that who reads them again need not ask a volume server: the
// local cache of mounts and gateways. It is a cache and nothing else: whatever becomes of its directory, at any time, costs time.
//
// All processes of one user on one host may share a directory, and clusters too: a chunk's name is the hash of its plaintext, and what
// has one name is the same. They share no lock to read and to add, and no memory.
//
// # Format
//
//	DIR/chunks-1/ab/cdef…   a chunk, by the 64 hexadecimal digits of its hash, two of them in the name of the directory
//	DIR/chunks-1/tmp/…      chunks that are being written; what is older than an hour is left over
//	DIR/chunks-1/evict      locked (flock) by the process that removes chunks
//
// A file holds the frames of a chunk as they are in an uncompressed block (package internal/block), without the block's header:
// plaintext and a trailer of 16 bytes, again and again. A trailer holds 8 bytes of the chunk's hash, the number of the frame and a CRC32C of
// both and the plaintext; who reads checks it, each time. A file has its full length from the start. Frames that are not there are
// holes: zeros, which no trailer is.
//
// A whole chunk is written to a file in tmp, which is renamed. Single frames are written into the chunk's file where they belong; two who
// do that at the same time write the same bytes. Nothing is synced: after a power cut a file may have any content in any of its pages.
// So what is read is right, or is missing, or does not fit its trailers: then the file is removed (Reject).
//
// The time at which a file was modified is that of its last use, to ten minutes. Those that have not been used for longest are removed
// first, by whichever process finds more in the directory than it may hold.
//
// # Invariants
//
//  1. Nothing is trusted: Read returns what the disk says, and whoever called verifies it.
//  2. Neither Read nor Add waits for a disk that does not answer for longer than for so many others: beyond readersMax reads under way,
//     nothing is found, and beyond queueMax bytes, nothing is added.
//  3. The directory belongs to this user and nobody else may write to it: checksums do not keep out who wants to deceive.
//  4. What is removed is below chunks-1 and was put there by this package.
package chunkcache
