// Package master is the metadata master: a Raft node, the state machine that its log drives, and
// what the leader does besides: placement, leases, sealing, reclamation, and the upkeep of volumes (curator).
//
// The state machine (format.go, command.go, state.go, apply*.go, query*.go) is pure: a function of
// the log and nothing else. It keeps everything in a Pebble store. The node around it holds the
// clock, the network and the heartbeats.
//
// # Invariants
//
//  1. apply is deterministic: no clock, no randomness, no order of maps in what it writes. The same
//     log gives the same keys and values, in whatever batches and with whatever restarts
//     (TestBatchesDoNotMatter, TestCrash).
//  2. The applied index is in the batch of the changes, so the store is always the state after some
//     entry. Batches are not synced: the Raft log is what makes entries durable, and restores what
//     the store lost.
//  3. An operation has its whole effect or none; its result is stored in the same batch, and a retry
//     of the request gets it (TestExactlyOnce, TestFailedOperationHasNoEffect).
//  4. An error of the store, an entry that does not decode, or a broken invariant stops the node by a
//     panic: an answer would make this replica differ from the others.
//  5. A new block is referenced only while its volume is open, at its epoch, to the session that
//     commits (TestCommitRules).
//  6. A block has as many references as pieces of extents name it, at least one; with the last, it
//     and its hash leave the store (CheckState recounts all).
//  7. Of the keys "name" and "name/" of a directory both exist only where an object's key and another's directory are the
//     same; then the value of "name" says so. Each entry has one name under which doors with paths have it, and no two of a
//     directory have the same (Names, TestShownNames, TestKeysAgainstModel, check).
//  8. Nothing in one entry is unbounded: removals, large truncations and ended sessions go to the
//     queue, and leave it in steps of at most 2,000 keys (TestReclaimInSteps, TestLargeTruncation).
//     Nor does removing a file do more than list it as nameless: the leader proposes by name which of those listed
//     are dropped, at most dropMax in one item.
//  9. Nothing is added to a directory that cannot be reached from its dataset's root
//     (TestRemovedTreeTakesNothingMore).
//  10. What a leader acknowledges it has applied here; it serves from the moment that all of the terms
//     before its own is applied; and it answers a query only after a majority has said, since the query
//     came, that it is in the same term, and from a state that holds all that it knows to be committed. A
//     follower answers from a state that holds what a leader so confirmed had applied. So a query sees every
//     acknowledged mutation, and whatever a follower has shown before (TestNoStaleReads, TestQuorumsWord,
//     TestFollowerReads, TestFollowerIsQuickerThanLeader, TestFollowerCutOff, TestLinearizable).
//  11. A proposal that Raft did not refuse has an unknown outcome until it is applied: it is
//     KindIndeterminate, and the stored result answers the retry (TestProposerOutcomes, TestFailover).
//  12. A snapshot's directory has its final name only when all in it is durable; CURRENT names a state only
//     when all in it is durable and it has been opened. So a node may die between any two steps
//     (TestInstallSurvivesCrash, TestTakeSurvivesCrash).
//  13. Raft drops log entries only after the state that holds them is durable; a state behind the newest
//     snapshot is brought there before Raft starts; a hole stops the start (TestStateBehindSnapshot).
//  14. A failure domain holds at most m shards of a volume, with m = 0 one; what cannot be placed so is
//     refused (TestPlacementNeverCrowds).
//  15. A member that has stored entries or voted does not begin again with an empty directory: a leader
//     that can be reached says so, and without one it waits (TestEmptiedMemberIsRefused). Nor does an empty node
//     start in the place of a voter, before that was removed (TestMemberReplaced).
//  16. What a dataset, and each user and group in it, has in bytes and inodes is kept with every change, and is what a
//     count of the inodes with a name, or kept without one, gives; an operation that brings a sum above its limit has no
//     effect (TestUsage, TestQuotaStrict, TestMixedSessions).
//  17. The roots of datasets lie in "/" and in "/buckets", and leave it only by their removal
//     (TestDatasetStaysWhereItIs).
//  18. A file without a name is dropped only when no session has it open, as far as those sessions have told that
//     live; and none of them can come to have it open afterwards, because only what has a name is opened
//     (openTable, TestOpenFilesStay, TestNewLeaderAsks, TestOpenRaces, TestSilenced). Each inode without a name is either kept by one
//     session (table o) or listed (table z); one that is listed never gets a name again, and counts in no usage (check).
//  19. Every so many entries all nodes compare a digest of what those entries wrote; one that differs from the
//     leader's stops (TestDigestCatches, TestDigestsAreCompared).
//  20. A backup is of one state, and no byte of it changes while it is being read (TestBackupIsOneState).
//  21. A restored cluster gives out nothing again that the one before it gave out after the backup: index, and so
//     versions, sessions and tokens, ids and epochs are above them all (TestRestore, TestSkipAhead). A restored directory
//     has its name only when all in it is durable (TestRestoreSurvivesCrash).
//  22. A node votes only after it has the log, and after it is recorded that it must not come back empty; the voters
//     change one at a time, and never so that those that answer are no majority (TestNewMemberCrashes,
//     TestLeaderChangesWhileAdding, TestMemberRefusals).
//  23. Table y has exactly the blocks, each by the place where it lies, and table D exactly the disks that a volume has a
//     shard on or, as a target, gets one; of what earlier formats made, up to where indexBlocks has come. They are kept by
//     the entries that change them, so that to drain a disk and to empty a volume nobody reads all there is (check,
//     TestOldStateIsIndexed).
//  24. The shards of a volume and their targets are on disks that all differ. A shard moves only to the target that was
//     committed before a byte of it was built there, at the epoch of the volume, or, after a restore, to where a whole copy was found that fits
//     the others; and none moves of an open one (TestShardsAreReplaced, TestMovedShardsAreAdopted).
//  25. What is committed into a shard ends at or before volumeRecord.Ends, and that at or before the watermark: a shard
//     whose file is shorter has lost bytes (check).
//  26. A volume that is being dropped has no blocks and gets none; it leaves the state only from there, and its id is
//     never used again (TestVolumesAreDropped).
//  27. A disk that is retired, and a server that is forgotten, has no shard and gets none (TestShardsAreReplaced,
//     TestVolumesAreDropped).
//  28. A block is moved only from where the mover read it: one that has moved or died since stays as it is. Neither that
//     nor a rewrite changes a file: no size, time, version or usage (TestBlocksAreMoved, TestRewriteChangesNothing).
//  29. A shard is dropped only of a volume that is being dropped, or when a state that was read after the disk was listed, by a
//     leader confirmed after that, neither has it there nor makes it there: by the time of creation that was listed. Nothing
//     is dropped of volumes that the state did not make, nor a copy of a shard that is not seen in its place
//     (TestLateCopyIsNotDropped, TestRestoredMasterDropsNothingUnknown).
//  30. There is one task at most on a volume. A target breaks no rule of placement, and is committed before anybody hears of
//     it; a volume of which too few shards are there gets no task (TestPlanProperties, TestTasksAreLeased).
//  31. A volume that this state did not open enters it only by its id being one that a restore skipped, sealed, and with blocks
//     whose places the caller has verified to hold them (TestVolumesAreAdopted).
//  32. From the entry on that made the first mark, exactly those windows are marked in table F that are cut too finely
//     (granary.CutFinely), whatever cut them or put them together, and the marks go with the windows of a file that is removed (check,
//     TestGolden, TestMarks). How far a sweep is (C) is there only while its mark (B) is, and is forgotten when that is made anew
//     (TestSweepGoesOnWithOthers).
//  33. No two locks that conflict are held on an inode, and what waits there waits for one that is held, or for a request before
//     it. Table O has exactly what the records of table L say, by owner. The locks of a session and of an inode end with it:
//     at once if they are few (TestLockModel, TestManyLocksEndInSteps, check).
//  34. What Raft takes for committed is durable on a majority, and what a node promises in a term is durable when it does, though a leader
//     sends entries while its own disk still writes them (aheadLog, TestLeaderSendsBeforeItSyncs, TestTermWaitsForTheLog).
//  35. Of a directory that a session holds no other session is answered attributes or entries, nor is led through it, nor changes
//     it, until it is given back or the session ends. What the holder did before it told it is applied in the order in which it was
//     done, under the ids that were leased to it, or not at all (TestGolden, TestDelegationsHideNothing, TestOrderIsKept).
//     A quota is set, and a tree removed, only while no other session holds anything there (TestHeldAreNamed).
//  36. No two path locks that exclude each other are held, nor one and a lock of flock or fcntl on the same inode; what waits waits
//     for one that is held, or was asked for earlier. A place of a lock is in the deepest directory that is there, and says what the path
//     leads to. Tokens and the ids of requests are given out once, in ascending order, and are not below the index of their entry
//     (TestPathLocks, TestManyPathLocks, TestTokensOfOneEntry, check).
//  37. A mutation that carries fencing tokens takes effect only while all locks whose they are are held, and no mutation does that a mandatory
//     lock of another forbids (TestGolden: paths.txt; TestPathLocksAreLinearizable). Where there are no path locks, nothing is looked up for that.
//  38. In a bucket with versioning a file that is replaced or unlinked, by whatever door, is in table V from the entry on that does it; of a
//     name one version at most has no id, and where no file has the name the newest record is a delete marker. A directory's count of records
//     is right, and one that has any is neither removed nor pruned (TestVersionsAgainstModel, TestVersionsThroughDirectories, check).
//  39. What is locked is neither changed nor taken away by any op, and a lock becomes no less but as its mode allows, by the log's time
//     (TestLockedVersions).
//  40. Table J has exactly what the records of table I refer to, all of which is there; what is referred to is not removed
//     (TestIdentities, check).
//  41. Nothing leaves a leader that shows an entry before every session that keeps what the entry changed has taken that in, or its lease
//     has run out; and no node becomes leader before the leases that others gave have run out. So what is kept is what a query would be
//     answered (attendTable, lease.go, TestKeptIsTold, TestAttendSameEntry, TestAttendTaken, TestAttendTwins, TestLinearizableKept,
//     TestAttendSingle).
//  42. An entry's changes of names, content and attributes are in table W under its index, in their order, in the batch of the entry, if the change
//     log is on; none of an item that had no effect. What is kept is whole from an entry on, which the log itself tells, and of a directory
//     that was removed since it tells where it was. So who reads on from a position sees each change after it once, whoever leads, or is told
//     that it cannot (TestGolden: changes.txt; TestTrimByBytes, TestChangesAreToldOnce, TestWatchAcrossLeaders, TestRestore, check).
//  43. What is stored of a file's content is ciphertext if it has FlagEncrypted, and plaintext if not, at every entry; a file that has the flag
//     has the attribute that says how, from its making on until it is emptied. Once it has a name, its content does not change. No key of
//     the cluster is removed (encryption.go, TestEncrypted, TestKeysAreKept, check).
//
// # Path locks
//
// A name is looked up when it is locked, and what it leads to from then on: apply_paths_move.go says what becomes of
// locks when names are made, replaced, renamed and removed. All path locks are in memory, too (pathLocks), in a tree of the directories that
// they are in: so nothing is read from the store to find what excludes, forbids or waits.
//
// What changes a name is checked against the locks on that name, on what it leads to, and on the directories above with all
// that is below them. What changes an inode (Commit, SetAttr, attributes) is checked against the locks on the inode and on the directories
// above the one that inodeRecord.Parent says: for a file, that in which it got its last name. It says none for a file that lost that name and has
// others, and for one that was named before commands of version 5: such a file is covered by locks on itself alone.
//
// # The change log
//
// A change costs no read, and an entry one key, however many changes it makes. Those of names tell directory and name; those of content and
// attributes the inode, and the directory in which it got its last name. Paths are made when the log is read (changepaths.go): a directory's is
// what it is called now, or was when it was removed, and so are those of all that is or was below it. The name of an inode is looked for where
// it was seen last, and else among the names of its directory, up to a bound. Watched is an inode: a change is below it if its directory is, now or when
// that was removed.
//
// The leader trims the log, by the time in the entries or by their bytes, up to an entry that it names. A restore empties it: those who watched what is
// lost are told that they fell behind. What a session holds is in the log when the session has told it. Uploads are not in it before they
// are objects, nor what maintenance does to blocks.
//
// # Names
//
// The keys of table d hold names as keys of objects have them: any bytes but '/', none at all, and of any length. So the order
// of the table is that of S3, and a listing costs what it lists. Doors with paths (ops without Key) see a name as it is, unless it is "",
// "." or "..", longer than 255 bytes, has a NUL, begins as an escape does, or is not a directory's while a directory has
// the same. Those they see as %file:NAME, or as %dir:NAME if it is a directory, with %25 for '%' and %00 for NUL; if that is too
// long, what it begins with, "%~" and the first 32 hexadecimal digits of the name's SHA-256. Such a name leads to the entry, and
// can be given to one if it is not cut. Where the own name would do, an escape is refused (keyname.go).
//
// # Permissions
//
// apply checks whether the caller of a request (Request.Cred) may do what it asks for, as Linux does for a local file
// system: access.go has the rules. The check is arithmetic on inodes that the operation has read anyway; made before the log, it
// would be made on another state than the one that the operation changes. uid 0 may do all but what no superuser can.
// TestPosixModel compares what several users do with a model made of the manual pages.
// Errors come in the order of Linux: search permission on every directory of a path, then what is there or is not,
// then permission on the directory (KindPermission) and the rule of sticky directories (KindNotOwner), then types.
//
// What was checked when a file was opened is not checked again: Commit, CopyRange, Allocate and SetAttr with Opened
// need no permission, as with the servers of NFS, and Release none but that the session keeps the inode. What ordinary users write
// loses its set-id bits. Further names for another's file need read and write permission on it, as Linux has it
// (protected_hardlinks). RemoveTree of a directory that holds something is the superuser's, for nobody looks at what is in it.
//
// An access control list decides instead of the bits of group and others, as in Linux (acl.go). It hangs on the inode as an
// extended attribute, which a flag of the inode tells: who has no list costs no further read. Mode and list are kept the same by
// chmod and by setting either, and what is made in a directory with a default list begins with what that says.
//
// Queries are checked when they name a caller (QueryRequest.Cred): search on every directory of a Lookup's path, the
// Access asked for, read on the directory of a ReadDir, whose entries come with their attributes all the same. List is
// for gateways, which decide for themselves.
//
// # Format
//
// A node's directory:
//
//	lock               held exclusively by the running node
//	node.json          format (now 2), id of the node, id of the cluster once known; replaced whole
//	raft.db            term and vote, by raft-boltdb, and the format of the log (now 1): synced before a vote counts
//	log/               the log, by package raftlog: synced before an entry counts (aheadLog). Format 1 of node.json had it in
//	                   raft.db, and such a directory is brought to this form when it is opened
//	log.tmp, raft.db.tmp  what that was about to make; in use only under the final names
//	CURRENT            name of the state in use; replaced whole
//	state-N/           the state's Pebble store; others than CURRENT names are a crash's, and go
//	snapshots/I-T-X/   snapshot of index I, term T: info.json (format, applied index and term, cluster),
//	                   state/ (a Pebble checkpoint), meta.json (raft.SnapshotMeta). A name ending
//	                   in .tmp is unfinished, and goes
//	backups/ID/        a backup that is being read: as a snapshot, without meta.json. Only of a running node
//
// A directory made by Restore has node.json and one snapshot, in which the node is alone; all else is made at the first
// start. Until it is whole it is called Dir.tmp, and holds the unpacked backup as work/ for a while.
//
// A snapshot travels as a tar stream (GNU headers, mode 0600, no times): info.json, then the files of
// state/ by name, each padded to 512 bytes, and two empty blocks. Its length is in meta.json, and
// the receiver checks it.
//
// The state:
//
// Keys are a table byte and then what identifies the record; numbers are 8 bytes, big endian, so that
// keys of one inode, and of one dataset, lie together. An inode id begins with its dataset.
//
//	table  key                          value
//	c      (nothing)                    head: applied index and term, last time, cluster, last ids given
//	                                    out, cluster-wide sums, number of queued removals,
//	                                    digest of what the last entries wrote, how far y and D are complete; from
//	                                    format 5 on the number of delegations, and the entry that granted the last
//	t      dataset                      next inode counter, inodes, files, bytes, whether it is deleted (bit 1) and what becomes of versions, how
//	                                    many of the inodes are queued, limits, name of its root
//	g      dataset, scope, uid or gid   bytes and inodes of a user (scope 1) or group (2) in the dataset, and
//	                                    limits; counted from format 2 on
//	i      inode                        attributes, symlink target, what hangs on the inode, when it lost its last name; with
//	                                    FlagVersions number and count of versions
//	d      parent inode, name           inode, type. The name of a directory ends in '/', so that a walk
//	                                    in key order is in the order of full paths. The type's highest bit says that a
//	                                    directory has the same name
//	n      inode                        inline content
//	V      parent inode, name with     earlier version of an object, or delete marker: inode or 0, whether it has no id, when it was made.
//	       00 ff for 00, 00 01,        With 00 02 in place of 00 01, and no number: the number of the version that has no id
//	       inverted number
//	x      inode, name                  value of an extended attribute
//	e      inode, window                pieces of extents in 16 MiB of the file
//	b      block                        hash, plain length, location, references, dataset
//	h      dataset (4 bytes), hash      block
//	v      volume                       state, epoch, owner, watermark, live and dead bytes, sealed
//	                                    shards, disks; from format 4 on lost shards, targets of copies, ends of the data
//	                                    shards, policy, times
//	y      volume, shard (1 byte),      block that lies there: of every block, from format 4 on
//	       offset
//	l      disk id                      what was decided about the disk: state, reason, class, time
//	D      length of a disk's id        mark: the volume has a shard on the disk, or one is being made there: of every
//	       (1 byte), id, volume         volume, from format 4 on
//	f      (nothing)                    how the cluster maintains itself
//	A      server id                    how long the server has not been heard, in nanoseconds, by the leaders that waited for
//	                                    it; without one it was heard last
//	B      inode                        index of the entry that changed its policy: what is below has not been looked at
//	                                    since
//	C      inode                        path below the inode of table B up to which, and with it, that has been looked at
//	F      inode, window                mark: the window is cut too finely; of inode 0 and window 0, the entry that made the first mark
//	w      owner (0: none), volume      mark: the volume is not sealed yet
//	k      server id                    address, zone, rack, disks
//	s      session                      client, nonce, when opened, which results are forgotten; from format 5 on how many
//	                                    requests it did before it told them, and the inode ids that it has leased
//	r      session, sequence            results of an entry for the session: sequence and what wire.MarshalResult
//	                                    gives, of each; the key has the highest sequence. Before format 3: one result
//	o      session, inode               mark: the session keeps the inode, which has no name
//	z      index, inode                 mark: the inode, not a directory's, lost its last name in that entry, and
//	                                    no session keeps it
//	a      inode                        how the file is being put together: its parts' inodes and sizes, and the record
//	                                    of their directory
//	q      kind (1 byte), id            work in progress: 0 a file that is put together (number of parts that are
//	                                    done), 1 removal of an inode (its record), 2 of a truncation
//	                                    (of an inode), 3 of a session that ended, 5 of the locks on an inode, 4 of the owners' records of a
//	                                    dataset that is gone
//	L      inode, space (1 byte)        locks on the inode that are held, and requests that wait, in order: session, owner, range,
//	                                    mode, process, since when, token, whether it waits for what is held alone
//	O      session, space (1 byte),     whether the owner holds a lock on the inode (1), waits for one (2), or both (3)
//	       owner, inode
//	G      directory inode              session that holds it, token
//	H      session, directory inode     mark: the session holds the directory, or held it until it ended
//	W      0 (1 byte), index of an       what the entry changed: bytes of the changes of all entries so far, time, number, and the changes: kind,
//	       entry                        what there is of it (1 byte), type, inode, directory, name, size, ETag and version, user, origin, and of
//	                                    a rename the other directory and name, of an attribute its name
//	       1 (1 byte), inode            where a directory was that was removed: directory, name, mode, owner, group
//	       2 (1 byte)                   how long changes are kept, and from where on there are any
//	P      path lock                    who asked, when and how, token, lease, and its places: directory, rest of the path, what is
//	                                    there, whether all below, path as asked for. Of 0: the number that was last given out to a
//	                                    request or a grant, if it was above the index of its entry
//	p      policy                       the policy; equal ones have one id; from format 4 on with the class of disks, from format 7 on with
//	                                    the storage class
//	u      access key                   S3 user
//	I      kind (1 byte), name          user, group, role, managed policy, access key, provider or secret (granary.Identity); the name
//	                                    in small letters, but for keys. From format 6 on with the limits of a user, from format 7 on with
//	                                    the versions of a policy
//	J      kind (1 byte), name, 00,     mark: what the second kind and name say refers to the first, whose name is in small letters.
//	       kind (1 byte), name          Of nothing: the entry that last changed any of table I
//	m      node id                      gRPC address of a node of the Raft group, whether it was added by command
//	j      node id                      mark: the node has stored entries or voted
//
// A value is a format version (1 byte, now 7; those from 1 on are read too), the Raft index of the entry that last changed it
// (varint), and its fields in the order of format_records.go: unsigned numbers as varints, signed
// ones as zigzag varints, hashes as 32 bytes, text and bytes with a varint length before them. In a
// window, each piece is the distance from the end of the one before, its length, block and offset in
// the chunk. The index of a value of t and g is that of the last entry whose items, taken together or one by one, left it
// otherwise than it was. Pebble's own checksums cover all of it. Fields are only ever added under a new version.
//
// A log entry is a command: version (1 byte, now 7; 1 is read too, and was applied without checks of permissions, 2, which
// is applied without y and D and what volumes have since format 4, 3, which knows no access control lists and makes no marks in F, 4,
// which knows no escapes of names and keeps no directory of files, 5, which knows no encrypted files, and 6, which knows no storage classes), time (zigzag varint), number of items, and each
// item as a tag and its fields (command.go). A node stops at a version or tag that it does not know.
package master
