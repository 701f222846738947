// Package filer makes a POSIX file system and a path-addressed object store out of a client: it
// holds the handles, write buffers and layout caches that a mount or a gateway works with.
//
// A FS has three faces. By inode (Lookup, Open, Create, …) it serves a mount. By path (Stat,
// OpenFile, Upload, Remove, …) it serves the gateways and the command line. Errno and HTTPStatus turn
// its errors into the numbers of either world.
//
// # Invariants
//
//  1. All handles of one inode in one FS share one dirty buffer and one view of size and mtime, so
//     that a process reads what it or its neighbour wrote, flushed or not.
//  2. At most one commit of an inode's dirty data is under way at a time, and a change of size or an
//     explicit mtime waits its turn among them. So commits reach the store in the order of the
//     writes that they hold, as far as anyone can tell.
//  3. Data leaves the buffer only when it is committed, or when an error has been recorded that the
//     next write, flush or close of every handle open then returns.
//  4. What a buffer holds is flushed within Options.FlushAfter, as long as the store takes it.
//  5. A Layout is used only for the content version that it was fetched for; of an open File that
//     version never changes.
//  6. Of a file that was locked in a session that has ended nothing is read, written or committed until its locks are
//     given up (TestLocksEndWithTheSession).
//  7. No path leads out of the root it is resolved below, whatever symbolic links are on the way.
//  8. What was done in a directory that is held (Options.Delegations) reaches the master in the order in which it was done, each file with
//     its content, and all of it before the directory is given back: others see all or, while they wait, nothing of it. What a
//     crash leaves is what was done up to some moment, at or after the last Sync (TestHeldModel, TestHeldCrash).
//  9. What is read of an encrypted file is plaintext, or an error: a window of one that is encrypted has what decrypts it, which came in the same
//     answer as the layout, or is not read. Only the making of a whole file encrypts, and the record of how goes with the first op that
//     makes the inode (encryption.go; filer/s3: TestOtherDoors, TestEncryptionModel).
//
// # Directories that are held
//
// A FS that is alone in a directory holds it (granary.TakeDelegation): after a few files were made there, or at once if it made the
// directory itself. From then on it knows all names in it, and decides by itself about what it made there since, which nobody else can know
// of: create, mkdir, symlink, mknod, write, unlink, rmdir, rename of what is no directory, permission bits and times of what is not told
// yet. These are logged, and told to the master in groups: after half a second, when there are a thousand, at Sync, and when the
// directory is recalled (Recall). Everything else is done as ever, after the log was told; so is what concerns an inode that was
// there before. Directories with access control lists, in datasets with quotas or with more than 10,000 entries are not held.
//
// Access times are not kept up: every FS behaves as if mounted noatime.
package filer
