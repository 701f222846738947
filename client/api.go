package client

import (
	"context"
	"log/slog"
	"time"

	"github.com/dsorchard/granary"
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
	CacheBytes   int64         // decoded chunks kept; default 256 MiB
	AppendWithin time.Duration // a shard append that takes longer fails the shard; default 5 s
	RetryFor     time.Duration // how long a call looks for a leader before KindUnavailable; default 60 s
	Log          *slog.Logger
}

// The rest of the API, to be kept:
//
//	func Open(ctx context.Context, o Options) (*Client, error)     // finds the leader, opens the session, keeps it alive
//	func (c *Client) Close() error                                  // flushes nothing: callers have; closes the session
//	func (c *Client) Session() granary.SessionID
//	func (c *Client) Cluster() granary.ClusterID
//	// Do performs one mutation exactly once, across lost replies and new leaders. The error is Result.Err or transport's.
//	func (c *Client) Do(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, error)
//	// DoAll sends several in one call; results in order; err only if the call itself failed.
//	func (c *Client) DoAll(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]granary.Result, error)
//	// Query asks; Ask returns the answer's type.
//	func (c *Client) Query(ctx context.Context, q granary.Query) (granary.Answer, error)
//	func Ask[A granary.Answer](ctx context.Context, c *Client, q granary.Query) (A, error)
//
//	// Upload is a stream on its way to become a file: cut into chunks, deduplicated, written, and published by Finish in one step.
//	// Up to the inline limit it becomes inline content; up to ~16 MiB one Create with content; beyond that an anonymous inode that
//	// gathers Commits and is then Linked. create gives Parent, Name, Mode, Xattrs, Replace, MakeParents, Match …
//	type UploadOptions struct { Cred granary.Cred; Create granary.Create; NoInline bool }
//	func (c *Client) NewUpload(ctx context.Context, o UploadOptions) (*Upload, error)
//	func (u *Upload) Write(p []byte) (int, error)
//	func (u *Upload) Finish(xattrs []granary.Xattr) (granary.Result, error)   // xattrs added to Create.Xattrs (an ETag known only now)
//	func (u *Upload) Abort()                                                    // after Finish a no-op; nothing of it remains visible
//
//	// WriteRanges stores dirty ranges of an existing file and commits them in one step (more for very much data).
//	// Long ranges are cut like streams; small ones are packed into one chunk with many extents. atEnd: one range, appended.
//	type Range struct { Offset uint64; Data []byte }
//	func (c *Client) WriteRanges(ctx context.Context, cred granary.Cred, attr granary.Attr, ranges []Range, atEnd bool, mtime *granary.Time) (granary.Result, error)
//	     // small files: tries inline first where the result stays within the policy's inline limit
//
//	// ReadLayout fills p with the file's bytes at off, as the layout has them: verified, reconstructed where a shard is
//	// missing, slow or wrong, zeros only where the layout has nothing. off+len(p) must lie within what the layout covers.
//	// KindStale: the layout is out of date, fetch it again. KindCorrupt names the block.
//	func (c *Client) ReadLayout(ctx context.Context, l *granary.Layout, p []byte, off uint64) error
//	// Prefetch starts reading the chunks of a range into the cache, and does not wait.
//	func (c *Client) Prefetch(l *granary.Layout, off, length uint64)
//	func (c *Client) Policy(ctx context.Context, id granary.PolicyID) (granary.Policy, error)  // cached: policies never change under an id
