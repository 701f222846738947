package disk

import "io"

// FS is a directory tree on one disk. Names are slash-separated and relative to its root, which is "."; names that
// are not clean or lead out are refused.
// Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC and syscall.EIO.
type FS interface {
	// Create makes a new file open for reading and writing; it must not exist. The name is durable only after SyncDir.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Rename replaces new if it is a file, but no directory. It is atomic, and durable after SyncDir of both parents.
	Rename(old, new string) error
	// MkdirAll makes a directory and those above it. Each name is durable only after SyncDir of its parent.
	MkdirAll(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock on a file, made if needed, or fails at once with a
	// syscall.EWOULDBLOCK if another process (or another Lock of this one) holds it. Closing releases it.
	Lock(name string) (io.Closer, error)
	// Usage reports the space of the underlying file system.
	Usage() (Usage, error)
}

// File is an open file. ReadAt and WriteAt may run concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the content and length durable (fdatasync). After an error nothing is known of
	// what was written since the last success, and Sync must not be called again: STYLE.md rule 13.
	Sync() error
	// Truncate cuts the file, or grows it by a hole.
	Truncate(size int64) error
	// Size returns the length in bytes, holes counted.
	Size() (int64, error)
	// Allocated returns the bytes that the file takes on the disk: holes take none.
	Allocated() (int64, error)
}

// Uncacher is a File whose bytes the system may hold in memory.
type Uncacher interface {
	// Uncache lets go of a range, so that the next read of it asks the disk. What was not synced stays.
	Uncache(off, length int64) error
}

// Usage is the space of a file system, in bytes. Free is what an ordinary user may still write.
type Usage struct{ Total, Free uint64 }
