// Package erasure is the arithmetic of a volume: Reed–Solomon over byte ranges of k data and m
// parity streams. Pure: no disk, clock or network.
//
// # Format
//
// The code is the systematic Vandermonde-derived Reed–Solomon code over GF(2^8) of
// klauspost/reedsolomon, with the library's default matrix. Its name on disk is "vandermonde-v1", and
// the matrix is part of the disk format: no option that changes it may ever be given. A golden test
// pins the parity of known data, so that a library that changed its mind would be noticed.
// Reed–Solomon holds at every byte offset: byte i of any shard is a function of the bytes i of k others.
// A stream that ends before an offset has a zero there.
//
// # Invariants
//
//  1. For every offset, any k of the k+m bytes there determine the other m.
//  2. Parity depends on bytes and offsets alone: encoding a range whole, in pieces, or with trailing
//     zeros given or left out, yields the same parity.
//  3. With k = 1 every parity shard equals the data shard, so 1+m is m+1 copies.
package erasure

// MatrixName is recorded in each shard file's header.
const MatrixName = "vandermonde-v1"
