// Package volume is the volume server: it keeps shards of volumes on disks, and serves appends,
// reads, seals and drops of them. It knows nothing of files or placement, and of blocks only how to verify one (Sums): a shard is a
// stream of bytes that only grows until it is sealed, and never changes afterwards.
//
// A shard comes to be by appends, or whole, sealed, of a stream that somebody reconstructed or copied (Build).
//
// A Store is a server's disks. NewHandler serves one over HTTP/1.1, Client reaches one by address
// (or by plain calls, when both are in one process; or by memory that it lends, when both are on one machine), Heartbeats tells the masters of it.
//
// # Disks that fail
//
// A directory that cannot be read at the start is left out until it can be (comeback.go), and one that is deleted later is served no more: the others are. A disk that answers
// with errors of the device, not at all for a minute, or for minutes much more slowly than the server's others (latency.go), is Failing: it
// is read, and should be emptied. Sealed shards are read and compared
// with their page tables in the background (scrub.go), those that are still written with checksums in memory of what was appended
// (appended.go), and again when they are sealed: a page table is never made of bytes that are known to be others. What those checksums
// do not know of is found at the seal: the sums of the shards of a volume, made as the page tables are, are compared by the leader (sums.go).
//
// # Format
//
// A disk is a directory:
//
//	identity.json  format version, cluster, server and disk id, CRC32C; written as identity.json.tmp,
//	               synced, renamed, directory synced
//	disks.json     which disks the server has, and where, on each of them: the one with the highest version holds; written like
//	               identity.json, by disks.json.tmp; one that is missing or damaged says nothing
//	scrub.json     how far the scrub is, its findings, and the damaged shards, each with its creation; written likewise, by
//	               scrub.json.tmp; one that is missing or damaged is begun anew
//	lock           locked exclusively while a server runs
//	shards/        one file a shard, named VOLUME.SHARD in decimal; VOLUME.SHARD.new is one in the making
//
// A shard file. All integers are little endian; a page has 4096 bytes; every checksum is CRC32C:
//
//	offset  size  what
//	0       4096  identity page
//	4096    4096  state slot 0
//	8192    4096  state slot 1
//	12288   4096  reserved, zero
//	16384   …     the stream; Reed–Solomon covers it and nothing else
//	…       …     after the seal: zeros up to a page, then the page table
//
// Identity page, written once:
//
//	0       4     magic "GRSH"
//	4       2     format, 1
//	6       1     shard index, below k+m
//	7       1     k, data shards of the volume; 0 if it was not known (shards that earlier releases sealed before any append)
//	8       1     m, parity shards of the volume
//	9       7     reserved, zero
//	16      8     volume id
//	24      8     creation, nanoseconds since the Unix epoch; later than that of a shard in whose place it was built
//	32      32    cluster id in ASCII; zeros if the disk belonged to none yet
//	64      32    disk id in ASCII
//	96      32    erasure.MatrixName in ASCII, then zeros
//	128     3964  reserved, zero
//	4092    4     checksum of bytes 0 to 4091
//
// State slot, one page; slot (sequence mod 2) is written, so the other always holds the state before:
//
//	0       4     magic "GRST"
//	4       2     format, 1
//	6       1     flags: bit 0 set when sealed
//	7       1     reserved, zero
//	8       8     sequence, from 1
//	16      8     highest epoch seen
//	24      8     sealed: length of the stream
//	32      8     sealed: offset of the page table in the file
//	40      8     sealed: length of the page table in bytes
//	48      4     sealed: checksum of the page table
//	52      4040  reserved, zero
//	4092    4     checksum of bytes 0 to 4091
//
// Pages that hold zeros alone are holes, where a build made the file. The page table has 4 bytes for each page of the stream: the checksum of its bytes (of a last page
// that is not full, of those that are there).
//
// The valid slot with the higher sequence holds. A slot that fails its checksum was torn before it
// was acknowledged. While a shard is not sealed its stream ends where the file ends; what a crash left of an
// append that nobody acknowledged (some of its bytes, or zeros in their place) is counted. Then the
// writer's retry does not fit, is refused, and the volume is sealed at its committed watermark, which cuts
// the torn tail off.
//
// # What is synced before what
//
//   - format: shards/ is made and the directory synced, then the identity is written. So a disk with an
//     identity has its shards/, and is refused without.
//   - create: the first 16 KiB of VOLUME.SHARD.new are synced, then it is renamed and shards/ synced, then
//     the first append is written. So a file under its final name has a valid identity page.
//   - append: a higher epoch is written to a slot and synced; then data are written and synced; then
//     the append is acknowledged.
//   - seal: a higher epoch is written and synced; the file is cut or extended to the length; the
//     page table is written and synced; the sealed state is written to a slot and synced.
//   - build: the stream, the page table and the head, with a sealed state, are written to VOLUME.SHARD.new and synced, every
//     32 MiB and at the end; then it is renamed over what has the name, and shards/ synced. So the name stands for the old
//     file or for the new one, each whole.
//   - drop: the file is removed, shards/ is synced.
//
// # Invariants
//
//  1. An acknowledged append is on the disk: no crash loses it, and no later append overwrites it.
//  2. A file under its final name has a valid identity page and a valid state slot.
//  3. The highest epoch is on the disk before anything that it allowed.
//  4. After a failed write or sync a shard is poisoned: nothing is appended to it, and its sync is never repeated.
//  5. A sealed shard does not change: another may be built in its place, as a whole.
//  6. A directory without an identity is formatted only if it is empty, and if the server's other disks know of none that was there, or
//     somebody has named it.
//  7. A drop that names a creation removes no shard that was made after that one.
//  8. A disk that has failed (an error of the device, a directory that could not be synced) takes no appends and no builds until the
//     server is started again; seals and drops are tried. One that is only full goes on when there is room.
//  9. What a read, a scrub, a seal or a listing finds to be lost is reported as Damaged until the shard is built anew or dropped.
package volume
