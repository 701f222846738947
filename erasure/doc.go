// Package erasure is the arithmetic of a volume: Reed–Solomon over byte ranges of k data and m
// parity streams. Pure: no disk, clock or network.
//
// # Format
//
// The code is the systematic Vandermonde-derived Reed–Solomon code over GF(2^8) of
// klauspost/reedsolomon, with the library's default matrix. Its name on disk is "vandermonde-v1", and
// the matrix is part of the disk format: no option that changes it may ever be given.
// Reed–Solomon holds at every byte offset: byte i of any shard is a function of the bytes i of k others.
// A stream that ends before an offset has a zero there.
package erasure

// MatrixName is recorded in each shard file's header.
const MatrixName = "vandermonde-v1"

// The API, to be kept:
//
//	func New(k, m int) (*Code, error)                        // cached, safe for concurrent use
//	func (c *Code) Encode(data, parity [][]byte) error       // len(data)==k, each at most len(parity[0]) long (missing tails are zeros, nil is all zeros); all parity equally long; m may be 0
//	func (c *Code) Reconstruct(shards [][]byte, want int, dst []byte) error // k+m slices of len(dst) or nil; any k present; writes shard want to dst
//	func (c *Code) Verify(shards [][]byte) (bool, error)     // all k+m present, equally long
