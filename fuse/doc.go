// Package fuse mounts a Granary file system in the Linux kernel. It turns kernel requests into calls
// of package filer and errors into errnos, and holds no state of files but what the kernel needs:
// one node for each inode that the kernel remembers.
//
// # Coherence
//
// What is asked of the file system is answered from memory, as long as nobody else has changed it (client.Options.KeepBytes): the masters
// have a mount drop what it keeps before they let anybody see that it is different. So a change by another door is seen by the next system
// call after the one that made it has returned.
//
// The kernel itself keeps no names and no listings (timeout 0): each name of a path is asked for, and answered from that memory. It keeps
// attributes for as long as the mount's lease lasts, a third of a second at most, and is told to drop those that others have changed
// (changed) before the master hears that the change was taken in. That cannot be told of an inode that the kernel is only just being told
// of: the note may be there before the inode is. So attributes of one that it has known for less than a second serve the one system
// call that asked (1 ms), as they do where nothing is kept, and of files that are open here, whose size and times change with what is written.
// What an answer may have missed that was under way while something changed is not kept at all (kept.note).
//
// The kernel checks permissions by the attributes that it has. Where these are as new as can be, nobody else checks; where they are not, or
// where users of this host are others in the cluster (IDs), the master does so again.
//
// A file is opened for reading from that memory too, and the masters are not told before it matters (granary.Attend.Opens).
//
// Pages of a file stay in the kernel's
// cache from one open to the next only while the file's content version is the same. There is no
// kernel write-back cache: with it the kernel, not the master, would own sizes and times.
//
// # Delegations
//
// A file system that holds directories (filer.Options.Delegations) answers for them from memory: close does not wait there, fsync of a file or
// directory commits all that was done before it. Before a directory is given back the kernel drops what it knows of it, and of what is in it.
//
// # Locks
//
// flock(2) and fcntl(2) go to the master (EnableLocks). With a lock the view of the file is exact: what is written is committed before a
// lock is given up, and what filer and kernel have kept of the file is looked at anew, or dropped, when one is got. Closing a file gives
// its locks up (locks). Locks that end with the session take the file with them: see filer.FS.
//
// # Interrupts
//
// Any signal to the calling program interrupts its request, also those that a language's runtime
// sends itself. A mutation that has been proposed cannot be taken back, so requests do not end at
// an interrupt: they end when they are answered, or when the client's patience for an absent master ends. Reads, writes and
// flushes that wait for volume servers end when their process is killed (request).
package fuse
