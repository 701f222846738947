// Package granary holds the nouns and contracts of Granary, a distributed file store: what an
// inode, a chunk, a block, a volume, a session and an operation are, and what the parts promise
// each other about them. It imports only the standard library. Read it first; every other package
// is an implementation of something named here.
//
// # Glossary
//
//   - inode, dentry, xattr, handle: as in Linux. Inode ids are 64 bits and never reused.
//   - dataset: a subtree with an identity that never changes; the unit of usage, quota, policy,
//     deduplication and history. A bucket is a dataset, "/" is dataset 1. Rename and link across
//     datasets are EXDEV.
//   - chunk: a piece of a file's content, identified by the BLAKE3-256 of its plaintext.
//   - block: a chunk as stored (compressed, framed), with a 64-bit block id.
//   - extent: (file offset, length) → (block, offset in the chunk).
//   - volume: k data shards and m parity shards, append-only files of equal logical length on k+m
//     different disks: the unit of placement, lease, repair and reclamation.
//   - row: what a writer adds to a volume between two flushes.
//   - frame: 64 KiB of a chunk on disk with its trailer.
//   - session: a client's lease on the master; owns open volumes, orphans, locks and the results
//     of its requests.
//   - epoch: counts the changes of who may append to a volume. fencing token: the Raft index of a
//     lock's grant.
//
// # Invariants
//
//  1. The Raft log is the only commit point. Bytes that no committed entry references do not exist.
//  2. A commit names only rows whose k+m shards have all acknowledged a sync.
//  3. A (volume, shard, offset) is never reused; volumes are deleted whole.
//  4. A stale (volume, epoch) is refused, by the state machine first and by the shard servers too.
//  5. Every value of the metadata carries the Raft index that last changed it.
//  6. A request (session, sequence) takes effect at most once, and a retry gets the first result.
//  7. Nothing in one log entry is unbounded: large removals are queued and reclaimed in steps.
package granary
