// Package disk is the only way to a data disk. FS has three implementations: OS, the real one; Mem,
// in memory, which can lose power (what was synced is kept, of the rest a random part); and Faulty,
// which wraps another and makes it fail. All pass one conformance suite, package disktest.
//
// # Invariants
//
//  1. What File.Sync covered, content and length, survives any later loss of power until it is overwritten.
//  2. A name that FS.SyncDir covered is there after a loss of power, and one whose removal it covered is not.
//  3. A rename has happened or has not: after a loss of power the file has one of its names, if the
//     first of them was durable.
//  4. Nothing else may be relied on: not the order of writes among themselves or to names, not that a
//     write or a growth in length of more than 512 bytes is kept whole.
package disk
