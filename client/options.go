package client

import (
	"context"
	"log/slog"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/chunkcache"
	"github.com/dsorchard/granary/internal/wire"
)

// Shards reaches the shards of volumes by the address of their server. volume.Client is one; the
// tests have one in memory with faults.
type Shards interface {
	// Append returns when the bytes are durable on the shard's disk.
	Append(ctx context.Context, addr string, a *granary.Append) error
	// ReadAt reads len(p) bytes at off of the shard's stream; fewer with a nil error only where the
	// shard's file ends (length is where). Holes are zeros.
	ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
	// ReadSealed is ReadAt of a sealed shard, and compares what it read with the checksums made at the seal. What differs is
	// KindCorrupt, and the server reports the shard as damaged.
	ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
}

// Dialer makes the connection to one master.
type Dialer func(addr string) (wire.Master, func() error, error)

// Options configures a Client.
type Options struct {
	Masters []string // gRPC addresses
	Dial    Dialer   // gRPC if nil
	Shards  Shards
	Name    string // what the session is called in listings, such as "mount host:/mnt"

	RowSize      int           // bytes of data a row gathers for each data shard; default 4 MiB
	VolumeSize   uint64        // bytes of a shard's stream at which a volume is sealed and another opened; default 1 GiB
	CacheBytes   int64         // decoded chunks kept; default 256 MiB
	UploadBytes  int           // that all uploads hold together, and a chunk of each besides; default 64 MiB
	AppendWithin time.Duration // a shard append that takes longer fails the shard; default 5 s
	RetryFor     time.Duration // how long a call looks for a leader before KindUnavailable; default 60 s
	Log          *slog.Logger

	// Chunks, if set, is a cache on a local disk. It is asked before volume servers are, and is given what they answer. It stays open when
	// the client is closed; whoever closes it does so after the client.
	Chunks *chunkcache.Cache

	// ReadFollowers spreads queries over all masters. The answers are as new as the leader's; each costs a message
	// between two masters, shared by those who ask at the same time, and the leader answers fewer.
	ReadFollowers bool

	// Fences are tokens of path locks that all mutations carry: they take effect only while those are held (WithFences).
	Fences []granary.FencingToken

	// OnRecall is called, if set, with directories that the session holds and others want: they are to be given back soon.
	OnRecall func([]granary.InodeID)

	// KeepBytes, if not 0, has the client attend (granary.Attend), and keep what it was answered about inodes, names and listings, up
	// to about so many bytes of memory: as long as nobody changes it, it is not asked for again.
	KeepBytes int64

	// OnExpired is called, if set, when the master has ended a session: what belonged to it
	// (nameless inodes, open volumes, locks) is gone. The next call opens another session.
	OnExpired func(granary.SessionID)
}

// Validate refuses options that no client could work with.
func (o *Options) Validate() error {
	switch {
	case len(o.Fences) > granary.FencesMax:
		return granary.Errorf(granary.KindTooLarge, "client", "", "%d fencing tokens, of %d at most", len(o.Fences), granary.FencesMax)
	case len(o.Masters) == 0:
		return granary.Errorf(granary.KindInvalid, "client", "", "no master is named")
	case o.RowSize < 0 || o.RowSize > rowSizeMax:
		return granary.Errorf(granary.KindInvalid, "client", "", "row size %d is not within 0 to %d", o.RowSize, rowSizeMax)
	case o.VolumeSize > volumeSizeMax:
		return granary.Errorf(granary.KindInvalid, "client", "", "volume size %d is over %d", o.VolumeSize, uint64(volumeSizeMax))
	case o.CacheBytes < 0 || o.UploadBytes < 0 || o.KeepBytes < 0 || o.AppendWithin < 0 || o.RetryFor < 0:
		return granary.Errorf(granary.KindInvalid, "client", "", "a size or duration is negative")
	}
	return nil
}

// withDefaults fills in what was left zero.
func (o Options) withDefaults() Options {
	if o.Dial == nil {
		o.Dial = func(addr string) (wire.Master, func() error, error) { return wire.DialMaster(addr) }
	}
	if o.Name == "" {
		o.Name = "client"
	}
	if o.RowSize == 0 {
		o.RowSize = 4 << 20
	}
	if o.VolumeSize == 0 {
		o.VolumeSize = 1 << 30
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.UploadBytes == 0 {
		o.UploadBytes = 64 << 20
	}
	if o.AppendWithin == 0 {
		o.AppendWithin = 5 * time.Second
	}
	if o.RetryFor == 0 {
		o.RetryFor = 60 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// rowSizeMax keeps an append, which may be a chunk longer, within what a volume server takes, 64 MiB.
	rowSizeMax = 32 << 20
	// volumeSizeMax keeps a shard, which may be a row longer, within what a volume server takes, 1 TiB.
	volumeSizeMax = 1 << 39
)
