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
//
// Access times are not kept up: every FS behaves as if mounted noatime.
package filer
