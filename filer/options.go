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

	writeMemoryDefault = 256 << 20
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
	WriteMemory int64         // bytes of the write buffers of all files together; default 256 MiB
	FlushAfter  time.Duration // how long dirty data may wait; default 1 s

	// Patience is how long reads and flushes of handles wait for volume servers that do not answer, before they fail. 0: not at all. How
	// long masters are waited for is the client's to say.
	Patience time.Duration

	// Delegations has directories held in which this FS is alone: names are made and removed there in memory, and committed in
	// groups, within half a second. It is for a FS that is used by inode, as a mount's: paths do not lead through what is
	// not committed yet. Recall must be called with what the client is told to give back.
	Delegations bool
	// DurableClose makes Flush durable in directories that are held, too.
	DurableClose bool

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
	case o.WriteMemory < 0:
		return granary.Errorf(granary.KindInvalid, "filer", "", "write buffers of %d bytes", o.WriteMemory)
	case o.FlushAfter < 0 || o.Patience < 0:
		return granary.Errorf(granary.KindInvalid, "filer", "", "a flush after %v, patience for %v", o.FlushAfter, o.Patience)
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
	if o.WriteMemory <= 0 {
		o.WriteMemory = writeMemoryDefault
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
