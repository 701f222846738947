// Package faultdisk is a disk that breaks when it is told to: a FUSE file system over a directory, which a real server process
// runs on. Syncs, writes and reads fail, are slow, hang, or find no space; writes are torn. Nothing of it is in the kernel's
// memory, so that what is changed in the directory below is read through the mount, too.
//
// The process that serves it must not have files on the mount open itself while it starts other processes: closing them before
// the exec would wait for itself. It works on the directory below.
package faultdisk
