// Package fuse mounts a Granary file system in the Linux kernel. It turns kernel requests into calls
// of package filer and errors into errnos, and holds no state of files but what the kernel needs:
// one node for each inode that the kernel remembers.
//
// # Coherence
//
// The names of files are not cached by the kernel (timeout 0), nor are listings: every lookup of a file and every listing asks
// the master, so what another door has made, replaced or removed is seen by the next system call. What
// the kernel is told about a file's attributes serves the one system call that asked: the kernel
// asks more than once in a call, and without this (1 ms) would be answered by the master each time.
//
// Directories on a path are different: every call walks all of them, checking permissions on each. The
// kernel keeps their entries and attributes for 100 ms. What this mount changes itself it sees at once; a
// directory that another door renames or removes may be found under its old name, as itself, for that
// long. Strictly both times are gaps in the one history that all doors share: until invalidations are
// pushed, they are its price for a path walk that does not ask the master at every step.
//
// Pages of a file stay in the kernel's
// cache from one open to the next only while the file's content version is the same. There is no
// kernel write-back cache: with it the kernel, not the master, would own sizes and times.
//
// # Delegations
//
// A file system that holds directories (filer.Options.Delegations) answers for them from memory: close does not wait there, fsync of a file or
// directory commits all that was done before it. The kernel is told what others would be told, who wait meanwhile.
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
