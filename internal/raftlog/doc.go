// Package raftlog is the log of a Raft node: a raft.LogStore that appends to segment files and syncs once for each
// StoreLogs, or once for several StoreAhead, which do not wait for it. Term and vote are not its business: they belong in a raft.StableStore.
//
// Nothing that is in the log is ever written over. Entries that leave it, at the front because a snapshot holds them or
// at the end because another leader's replace them, leave by a record that says which entries remain. Whole segments
// go once none of their entries remain, and are used again.
//
// # Invariants
//
//  1. A batch is what one StoreLogs or DeleteRange writes, or what several StoreAhead stored while the batch before was being
//     synced: one write, within one segment, and one sync. The next is
//     written only after the sync of the one before has succeeded. So after a crash, all batches but the last are whole
//     (TestCrash).
//  2. A batch counts when all of its records are there: what StoreLogs or StoreAhead stored is found whole or not at all
//     (TestTornAtEveryByte, TestCrash).
//  3. A failed sync, or a write that failed for another reason than a full disk, ends all writing: what the disk
//     holds then is not known, and a second sync could report a success that never was (TestFailedSyncPoisons).
//  4. What is found at the end when the log is opened may be known to the page cache alone. It is written
//     and synced once more before it counts (TestOpenSyncsTheEnd).
//  5. A record that does not verify is a torn write only if it can be: if no record of a later batch is found behind it.
//     Else it is rot, and the log is not opened: its entries were acknowledged, and a node that cut them off
//     could vote for a leader without them. Opening and closing write a batch without entries, so this covers
//     everything that was there at the last clean end, and at the last start (TestRotIsNotATornWrite).
//  6. A record verifies only in its place: it names the generation of its segment's life, the number of its batch, and
//     the checksum of the record before it. What an earlier life of the segment or a write that failed left
//     behind is never taken for part of the log (TestRecycledSegment, TestFullDisk).
//  7. A segment is removed or used again only when no entry of it is in the log by a record that is durable. A new segment
//     has its name, durably, before its first record; and a segment that is used again has durably lost its old name
//     before its header changes. A missing segment whose entries are in the log stops the opening (TestLostSegment).
//  8. Entries are without gaps. One that does not follow the last begins the log anew, which Raft asks for after it
//     has installed a snapshot; it is refused unless Options.Covered says that a snapshot holds what
//     lies before (TestGap). That is why Log is no raft.MonotonicLogStore: for one, Raft deletes the whole log at each
//     snapshot that it installs, with the entries after the snapshot, which it may have acknowledged.
//  9. What is stored ahead is in the log, for all who read it, before it is durable, and behind all that is. All other writing waits for
//     it (TestOthersWaitForWhatIsAhead). It goes where the segment was written once, so that it fails only when the disk
//     does, and then the log takes no more (TestAheadNeedsNoSpace, TestAheadFails).
//
// # Format
//
// The directory holds segments, "<number>.seg", numbered without gaps in 16 hexadecimal digits, the oldest first;
// "<number>.spare", segments to be used again; and "new", a segment being made. Numbers are little endian. Checksums
// are CRC32C.
//
// A segment begins with a header:
//
//	offset size
//	0      8    "granlog" and the version, 1
//	8      8    number of the segment
//	16     8    generation: random, for this life of the file
//	24     8    number of its first batch
//	32     8    offset at which the records of the segment before end
//	40     8    first index of the log when the segment was begun; 0: the log was empty
//	48     8    last index
//	56     4    checksum of the last record of the segment before
//	60     4    checksum of bytes 0 to 60
//
// Records follow from offset 4096, each at a multiple of 8:
//
//	offset size
//	0      4    checksum of all that follows, padding included
//	4      4    length of the payload
//	8      8    generation of the segment
//	16     8    number of the batch
//	24     4    checksum of the record before it in the segment, or of the header
//	28     1    kind: 1 an entry, 2 a range
//	29     1    1 if it is the last of its batch, else 0
//	30     1    of an entry: its raft.LogType
//	31     1    0
//	32     8    of an entry: its index; of a range: the first index that remains, 0 if none does
//	40     8    of an entry: its term; of a range: the last index that remains
//	48     8    of an entry: AppendedAt, in seconds since 1970
//	56     4    and its nanoseconds
//	60     4    of an entry: length of its extensions
//	64          payload: the extensions, then the data; zeros up to a multiple of 8
//
// Behind the last record lie zeros, written so that a sync need not change what the file system knows of the file,
// or what an earlier life of the segment left. A segment of nominally 64 MiB is longer if one batch is.
package raftlog
