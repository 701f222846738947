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

// pieceSize returns how long a piece of a buffer gets: short enough that a buffer holds several, so
// that one can be gathered while others are flushed.
func (o *Options) pieceSize() int {
	return int(min(max(o.WriteBuffer/4, pieceMin), pieceMax))
}
