// Package fuse mounts a Granary file system in the Linux kernel. It turns kernel requests into calls
// of package filer and errors into errnos, and holds no state of files but what the kernel needs:
// one node for each inode that the kernel remembers.
//
// # Coherence
//
// Attributes and entries are not cached by the kernel (timeout 0): every lookup asks the master, so
// what another door has done is seen by the next system call. Pages of a file stay in the kernel's
// cache from one open to the next only while the file's content version is the same. There is no
// kernel write-back cache: with it the kernel, not the master, would own sizes and times.
//
// # Interrupts
//
// Any signal to the calling program interrupts its request, also those that a language's runtime
// sends itself. A mutation that has been proposed cannot be taken back, so requests do not end at
// an interrupt: they end when they are answered, or when the client's patience for an absent master ends.
package fuse
