package filer

// The API, to be kept: what filer/s3, filer/web, fuse and cmd are written against. Every method's errors are *granary.Error.
//
//	type Options struct { Client *client.Client; Log *slog.Logger; WriteBuffer int64 /* dirty bytes a file may gather, default 32 MiB */; FlushAfter time.Duration /* default 1 s */ }
//	func New(o Options) *FS
//	func (fs *FS) Close(ctx) error                 // flushes every handle
//	func (fs *FS) Client() *client.Client
//
//	// By inode (fuse):
//	func (fs *FS) Lookup(ctx, parent granary.InodeID, name string) (granary.Entry, error)
//	func (fs *FS) GetAttr(ctx, ino) (granary.Attr, error)           // sees this FS's unflushed writes: size and mtime
//	func (fs *FS) SetAttr(ctx, cred, *granary.SetAttr) (granary.Attr, error)   // a size change first flushes the inode's dirty ranges
//	func (fs *FS) ReadDir(ctx, ino, fn func(granary.Entry) bool) error // whole directory, paged
//	func (fs *FS) Readlink(ctx, ino) (string, error)
//	func (fs *FS) Mkdir / Symlink / Mknod / Link / Unlink / Rmdir / Rename(ctx, cred, …)   // thin over ops; Unlink and Rename set KeepOpen when a handle is open here
//	     Mkdir(ctx, cred, parent, name, mode) (Entry, error); Symlink(ctx, cred, parent, name, target) (Entry, error); Mknod(ctx, cred, parent, name, typ, mode, rdev) (Entry, error)
//	     Link(ctx, cred, ino, parent, name) (Entry, error); Unlink(ctx, cred, parent, name) error; Rmdir(ctx, cred, parent, name) error
//	     Rename(ctx, cred, srcParent, srcName, dstParent, dstName, RenameFlags{NoReplace, Exchange bool}) error
//	func (fs *FS) Xattr(ctx, ino, name) ([]byte, error); Xattrs(ctx, ino) ([]granary.Xattr, error) ; SetXattr(ctx, cred, *granary.SetXattr) error ; RemoveXattr(ctx, cred, ino, name) error
//	func (fs *FS) StatFS(ctx) (*granary.FSStats, error)
//	func (fs *FS) Create(ctx, cred, parent, name, mode, exclusive bool, flags OpenFlags) (*Handle, granary.Entry, error)
//	func (fs *FS) Open(ctx, cred, ino, flags OpenFlags) (*Handle, error)     // revalidates: close-to-open
//	type OpenFlags struct { Read, Write, Append, Truncate, Sync bool }
//	type Handle: 
//	  Attr() granary.Attr
//	  ReadAt(ctx, p []byte, off int64) (int, error)       // io.EOF at the end; sees this FS's own unflushed writes
//	  WriteAt(ctx, p []byte, off int64) (int, error)      // gathers; blocks when the buffer is full; an earlier write-back error is returned once
//	  Flush(ctx) error                                      // on close(2): all dirty ranges committed and durable
//	  Sync(ctx) error                                       // fsync: likewise
//	  Allocate(ctx, off, length uint64, keepSize bool) error ; PunchHole: KindNotSupported if not done
//	  Close(ctx) error                                      // last handle of an unlinked inode: Release
//
//	// By path (web, CLI, s3). Paths are absolute from the root given, cleaned: "." and ".." are resolved by the caller's cleaner CleanPath; symlinks are followed up to 40 with Follow.
//	func CleanPath(p string) (string, error)
//	func (fs *FS) Stat(ctx, root granary.InodeID, path string, o StatOptions) (*Info, error)
//	type StatOptions struct { Follow, Xattrs bool }
//	type Info struct { Name string; Parent granary.InodeID; Attr granary.Attr; Target string; Xattrs []granary.Xattr }   // func (i *Info) ETag() string ; func (i *Info) Xattr(name) ([]byte, bool)
//	func (fs *FS) OpenFile(ctx, root, path, follow bool) (*File, error)   // for reading: one query for path, attributes, xattrs and the first layout
//	type File: Info *Info ; ReadAt(p, off) (io.ReaderAt, one fixed content version as far as possible); NewReader(off, length int64) io.ReadCloser (prefetching; implements io.WriterTo); Close
//	func (fs *FS) Upload(ctx, o UploadOptions) (*Upload, error)   // io.Writer; Commit(xattrs) (*Info, error); Abort()
//	type UploadOptions struct { Root granary.InodeID; Path string; Mode uint32; Cred granary.Cred; Xattrs []granary.Xattr; Match *granary.Precondition; NoInline bool; Exclusive bool }  // makes missing parents, replaces an existing file atomically
//	func (fs *FS) Remove(ctx, root, path string, o RemoveOptions) error    // RemoveOptions{Recursive, Prune bool, Match *granary.Precondition}; files and empty directories; Recursive uses RemoveTree
//	func (fs *FS) MkdirAll(ctx, cred, root, path, mode) (*Info, error)
//	func (fs *FS) RenamePath(ctx, cred, root, src, dst string) error
//	func (fs *FS) List(ctx, *granary.List) (*granary.Listing, error)
//	func (fs *FS) Copy(ctx, CopyOptions{SrcRoot, SrcPath, DstRoot, DstPath, Xattrs, ReplaceXattrs bool, Match}) (*Info, error) // by reference (CopyRange into an anonymous inode, then Link), inline copied by value
//	func (fs *FS) Compose(ctx, o UploadOptions, parts []granary.InodeID) (*Info, error)   // multipart completion: anonymous inode, CopyRange of each part, Link
//	func (fs *FS) Buckets(ctx) ([]granary.Entry, error) ; Bucket(ctx, name) (granary.InodeID, error) ; CreateBucket(ctx, name) error (KindExists) ; DeleteBucket(ctx, name) error
//	func (fs *FS) User(ctx, accessKey) (granary.User, error)      // cached for a few seconds
//
//	// Where errors turn into numbers (errors.go): func Errno(err error) syscall.Errno ; func HTTPStatus(err error) int
