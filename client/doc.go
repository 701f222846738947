// Package client is the smart client of a cluster. It finds the leading master, holds a session,
// and makes every mutation take effect exactly once; and it is the block path: it cuts, hashes,
// deduplicates, encodes and appends on the way in, reads, verifies and reconstructs on the way out.
//
// # A write
//
// Upload cuts a stream (cut.go) into pieces; WriteRanges packs or cuts dirty ranges. Client.store
// hashes them, asks the master which it has, encodes the rest and adds it to the row that the
// writer of the policy's k+m gathers (writer.go). The writer lays the row out (row.go), computes its parity
// and appends it to all k+m shards of its open volume (volumes.go). Client.settle waits for that and
// commits, and writes again what the master says is gone or stale (place.go).
//
// # A read
//
// ReadLayout takes chunks from the cache or reads whole blocks, once for all who want them (read.go).
// A block comes from its own shard or, when that is down, slow or wrong, from k others (fetch.go,
// rebuild.go). How long a slow one is waited for is measured (latency.go), and a sealed shard whose bytes do not verify is looked at
// by its server (look.go). Nothing that did not verify is handed out or cached. A local disk, if there is one, is asked before
// volume servers are (local.go). What needs no waiting, since the memory of this machine holds it, ReadAtOnce reads straight to where a
// stream is sent from (atonce.go).
//
// # Maintenance
//
// A Worker asks the leader for tasks (worker.go). A shard is made anew from k others, or from itself (worker_shard.go,
// worker_sources.go): cut into spans in which no live block is cut (worker_span.go), verified, and streamed to its target.
// Blocks are moved by reading them whole, writing them as everybody does, and reading each copy back (worker_move.go). A sweep
// walks a subtree and has moved what is stored otherwise than its policy says (worker_sweep.go), and writes windows
// of files anew that are cut too finely (worker_rewrite.go).
//
// # Invariants
//
//  1. A request keeps its (session, sequence) until it is answered or given up for good; a new
//     sequence number is a new request. Nothing that may have been applied is repeated after its
//     session has ended.
//  2. A chunk is committed as new only after all k+m shards have acknowledged its row.
//  3. A writer never appends again to a volume of which an append has failed, and appends are made
//     by one flush at a time: Prev is always the end that the shard acknowledged last.
//  4. What is to be committed can be written again until the commit is settled: its plaintext or its
//     encoded block is kept.
//  5. What leaves ReadLayout and ReadAtOnce was verified against the chunk's hash: the whole by BLAKE3, single frames by
//     their trailers. Zeros stand only where the layout has nothing.
//  6. An upload holds at most uploadMax, in arenas of two segments more; all together hold
//     Options.UploadBytes and a chunk of each, in arenas of twice as much and the least that each needs; a writer at most two rows and a row's
//     parity; the cache, with the chunks that are being read into it, at most CacheBytes or a single chunk.
//  7. A shard is placed only after its target has made it durable, with every live block in it verified.
//  8. A block's copy counts only after it was read back from its own disk and verified whole.
//  9. What is kept of inodes, names and listings (Options.KeepBytes) is shown only while the lease lasts, and as it is for who asks the
//     master (kept.go, TestKeptIsTrue, TestKeptTogether).
//  10. A file that is open here stays, whoever takes its name, though it may have been opened without the leader being told (untold.go,
//     TestOpenKeptStays, TestOpenKeptOutlivesAttendance, TestOpenKeptRaces).
package client
