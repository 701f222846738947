// Package fsck compares what the masters say with what lies on the disks, while the cluster runs: shards with the state, bytes with
// their checksums and parity, references with the files that make them; and it names the files that are hit by what is lost.
//
// # What it does, in this order
//
//   - Shards: every disk is listed, every volume compared with that (shards.go). A difference is looked at again, and reported
//     if the disk, listed after the volume was read, still lacks what the volume had both before and after.
//   - Data, if asked for: every live block is read from its own shard and verified by BLAKE3; of sealed volumes all shards are
//     read, compared with the checksums of their seal, and the parity is computed anew, stripe by stripe (stripes.go, blocks.go).
//     Without it, blocks are read only of volumes that have lost more shards than they can.
//   - A block that its shard does not give is read as any reader would; only what nobody can read is lost (suspect.go).
//   - References: all files are walked, and the pieces of their extents counted for each block (walk.go, tally.go). What differs
//     from the count that the state keeps is counted again, and reported if no moment explains it.
//   - Rebuild, after a restore: what is lost is looked for in volumes that the state does not know (rebuild.go).
//   - Repair: the masters are told of the damaged shards, and rebuild them as any others (repair.go).
//
// # Memory
//
// About 250 bytes for each shard, 8 for each block id (in pages of 256 ids), a few for each file with several names; of data,
// for each of the volumes looked at at once, a stripe of all shards and a block for each data shard. What is found is kept.
//
// # Limits
//
// A block that more references are counted for in the state than files have is not necessarily wrong: files without a name that
// somebody has open, and what is removed but not reclaimed yet, hold blocks too, and are in no directory. Their number is told.
//
// # Invariants
//
//  1. Nothing is written but by Repair and Rebuild, and they only tell the masters: no bytes are changed here.
//  2. What has moved, or died, or was sealed while it was looked at is no fault: before one is reported the state is read again.
//  3. A block is called lost only after a read with reconstruction from all shards has failed.
package fsck
