package client

// The rest of the API, to be kept:
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
