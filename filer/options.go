package filer

import (
	"log/slog"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	writeBufferDefault = 32 << 20
	flushAfterDefault  = time.Second

	// memoryMax bounds the write buffers of all inodes of a FS together, in bytes.
	memoryMax = 256 << 20
	// pieceMax is the longest range that the buffer keeps in one piece, and what makes a piece worth
	// flushing while its file is still being written.
	pieceMax = 8 << 20
	pieceMin = 4 << 10
	// flushersMax bounds the inodes that are flushed in the background at a time.
	flushersMax = 32
	// retryMax is the longest pause between two background flushes that failed.
	retryMax = 30 * time.Second
)

// Options configures a FS.
type Options struct {
	Client      *client.Client
	Log         *slog.Logger
	WriteBuffer int64         // dirty bytes that a file may gather; default 32 MiB
	FlushAfter  time.Duration // how long dirty data may wait; default 1 s

	// Owner has the uid and gid of what is made with the authority of uid 0: gateways act with it, for they decide
	// themselves who may do what, but what they make is for those who use the file system otherwise, too. nil: who makes
	// something owns it, as on a mount.
	Owner *granary.Cred
}

// Validate refuses what no FS could work with.
func (o *Options) Validate() error {
	switch {
	case o.WriteBuffer < 0:
		return granary.Errorf(granary.KindInvalid, "filer", "", "a write buffer of %d bytes", o.WriteBuffer)
	case o.FlushAfter < 0:
		return granary.Errorf(granary.KindInvalid, "filer", "", "a flush after %v", o.FlushAfter)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.WriteBuffer <= 0 {
		o.WriteBuffer = writeBufferDefault
	}
	if o.FlushAfter <= 0 {
		o.FlushAfter = flushAfterDefault
	}
	return o
}

// ownerOf returns whom something belongs to that a caller makes.
func (fs *FS) ownerOf(cred granary.Cred) (uid, gid uint32) {
	if cred.UID == 0 && fs.owner != nil {
		return fs.owner.UID, fs.owner.GID
	}
	return cred.UID, cred.GID
}

// ownerIn is ownerOf for a file in a directory. The part of an upload has the upload's owner, whichever gateway began it.
func (fs *FS) ownerIn(home *granary.Attr, cred granary.Cred) (uid, gid uint32) {
	if cred.UID == 0 && home.Parent == home.Inode.Dataset().System() {
		return home.UID, home.GID
	}
	return fs.ownerOf(cred)
}

// pieceSize returns how long a piece of a buffer gets: short enough that a buffer holds several, so
// that one can be gathered while others are flushed.
func (o *Options) pieceSize() int {
	return int(min(max(o.WriteBuffer/4, pieceMin), pieceMax))
}
