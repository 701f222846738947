package filer

import (
	"context"
	"io"
	"log/slog"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Options configures a FS.
type Options struct {
	Client      *client.Client
	Log         *slog.Logger
	WriteBuffer int64         // dirty bytes that a file may gather; default 32 MiB
	FlushAfter  time.Duration // how long dirty data may wait; default 1 s
}

// FS is a file system over a client. It is safe for concurrent use.
type FS struct{ client *client.Client }

// New makes a FS. Its flusher runs until Close.
func New(o Options) *FS { return &FS{client: o.Client} }

// Close flushes every handle and stops the flusher. The client stays open.
func (fs *FS) Close(ctx context.Context) error { return notYet("close") }

// Client returns the client that the FS works with.
func (fs *FS) Client() *client.Client { return fs.client }

func notYet(op string) error { return granary.Errorf(granary.KindNotSupported, op, "", "") }

// Lookup finds a name in a directory. Its attributes include this FS's unflushed writes.
func (fs *FS) Lookup(ctx context.Context, parent granary.InodeID, name string) (granary.Entry, error) {
	return granary.Entry{}, notYet("lookup")
}

// GetAttr returns the attributes of an inode, this FS's unflushed writes included.
func (fs *FS) GetAttr(ctx context.Context, ino granary.InodeID) (granary.Attr, error) {
	return granary.Attr{}, notYet("getattr")
}

// SetAttr changes attributes. A change of size first flushes the inode's dirty ranges. A time of
// modification that is set explicitly outlives the flush of what was written before.
func (fs *FS) SetAttr(ctx context.Context, cred granary.Cred, op *granary.SetAttr) (granary.Attr, error) {
	return granary.Attr{}, notYet("setattr")
}

// ReadDir calls fn for every entry of a directory in key order, until fn returns false.
func (fs *FS) ReadDir(ctx context.Context, ino granary.InodeID, fn func(granary.Entry) bool) error {
	return notYet("readdir")
}

// Readlink returns the target of a symbolic link.
func (fs *FS) Readlink(ctx context.Context, ino granary.InodeID) (string, error) {
	return "", notYet("readlink")
}

// Mkdir makes a directory.
func (fs *FS) Mkdir(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string, mode uint32) (granary.Entry, error) {
	return granary.Entry{}, notYet("mkdir")
}

// Symlink makes a symbolic link.
func (fs *FS) Symlink(ctx context.Context, cred granary.Cred, parent granary.InodeID, name, target string) (granary.Entry, error) {
	return granary.Entry{}, notYet("symlink")
}

// Mknod makes an empty file, a FIFO, a socket or a device.
func (fs *FS) Mknod(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string, typ granary.FileType, mode, rdev uint32) (granary.Entry, error) {
	return granary.Entry{}, notYet("mknod")
}

// Link gives an inode a further name.
func (fs *FS) Link(ctx context.Context, cred granary.Cred, ino, parent granary.InodeID, name string) (granary.Entry, error) {
	return granary.Entry{}, notYet("link")
}

// Unlink removes a name that is not a directory's. An inode that is open here lives on, nameless,
// until its last handle is closed.
func (fs *FS) Unlink(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string) error {
	return notYet("unlink")
}

// Rmdir removes an empty directory.
func (fs *FS) Rmdir(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string) error {
	return notYet("rmdir")
}

// RenameFlags are the flags of renameat2(2).
type RenameFlags struct{ NoReplace, Exchange bool }

// Rename moves an entry. A replaced inode that is open here lives on as after Unlink.
func (fs *FS) Rename(ctx context.Context, cred granary.Cred, srcParent granary.InodeID, srcName string, dstParent granary.InodeID, dstName string, flags RenameFlags) error {
	return notYet("rename")
}

// Xattr returns the value of one attribute; KindNoData if there is none by that name.
func (fs *FS) Xattr(ctx context.Context, ino granary.InodeID, name string) ([]byte, error) {
	return nil, notYet("getxattr")
}

// Xattrs returns all attributes, those of the store (granary.…) included.
func (fs *FS) Xattrs(ctx context.Context, ino granary.InodeID) ([]granary.Xattr, error) {
	return nil, notYet("listxattr")
}

// SetXattr sets one attribute.
func (fs *FS) SetXattr(ctx context.Context, cred granary.Cred, op *granary.SetXattr) error {
	return notYet("setxattr")
}

// RemoveXattr removes one attribute.
func (fs *FS) RemoveXattr(ctx context.Context, cred granary.Cred, ino granary.InodeID, name string) error {
	return notYet("removexattr")
}

// StatFS returns the space and the number of files.
func (fs *FS) StatFS(ctx context.Context) (*granary.FSStats, error) { return nil, notYet("statfs") }

// OpenFlags say what a handle is for. Append implies Write. Sync makes every write return only when
// it is durable.
type OpenFlags struct{ Read, Write, Append, Truncate, Sync bool }

// Create opens a regular file by name, and makes it first if need be.
func (fs *FS) Create(ctx context.Context, cred granary.Cred, parent granary.InodeID, name string, mode uint32, exclusive bool, flags OpenFlags) (*Handle, granary.Entry, error) {
	return nil, granary.Entry{}, notYet("create")
}

// Open opens a regular file. It asks the master for the newest version: close-to-open.
func (fs *FS) Open(ctx context.Context, cred granary.Cred, ino granary.InodeID, flags OpenFlags) (*Handle, error) {
	return nil, notYet("open")
}

// Handle is an open file of a mount. It is safe for concurrent use.
type Handle struct{}

// Inode returns the id of the file.
func (h *Handle) Inode() granary.InodeID { return 0 }

// Attr returns the attributes as this FS knows them, unflushed writes included. It asks nobody.
func (h *Handle) Attr() granary.Attr { return granary.Attr{} }

// ReadAt reads len(p) bytes at off; fewer only at the end of the file, with io.EOF. It sees this
// FS's own unflushed writes.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return 0, notYet("read")
}

// WriteAt gathers p in the inode's buffer, and waits while that is full. A handle opened with
// Append ignores off. An earlier error of a background flush is returned once, and nothing written.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	return 0, notYet("write")
}

// Flush returns when all that was written to the inode before is committed and durable: close(2).
// It returns the error of this flush, or that of an earlier one in the background.
func (h *Handle) Flush(ctx context.Context) error { return notYet("flush") }

// Sync is Flush, under the name of fsync(2).
func (h *Handle) Sync(ctx context.Context) error { return notYet("sync") }

// Allocate makes the file at least off+length bytes long, unless keepSize. No space is reserved:
// bytes nobody wrote take none.
func (h *Handle) Allocate(ctx context.Context, off, length uint64, keepSize bool) error {
	return notYet("allocate")
}

// PunchHole is not supported: KindNotSupported.
func (h *Handle) PunchHole(ctx context.Context, off, length uint64) error {
	return notYet("punch hole")
}

// Close flushes and gives the handle up, even when it returns an error. The last handle of an
// unlinked inode ends the inode.
func (h *Handle) Close(ctx context.Context) error { return notYet("close") }

// CleanPath returns p as an absolute path without empty, "." and ".." components; ".." at the root
// stays there. A NUL is KindInvalid; a path or component that is too long is KindNameTooLong.
func CleanPath(p string) (string, error) { return p, nil }

// Info is a file found by path.
type Info struct {
	Name   string          // the last component; "" for the root
	Parent granary.InodeID // the directory that holds it; 0 where it was not asked for
	Attr   granary.Attr
	Target string          // symbolic links
	Xattrs []granary.Xattr // if asked for
}

// ETag returns the ETag of the file, unquoted. It needs the Xattrs.
func (i *Info) ETag() string {
	v, _ := i.Xattr(granary.XattrETag)
	return granary.ETagOf(&i.Attr, string(v))
}

// Xattr returns the value of an attribute, and whether there is one by that name.
func (i *Info) Xattr(name string) ([]byte, bool) {
	for _, x := range i.Xattrs {
		if x.Name == name {
			return x.Value, true
		}
	}
	return nil, false
}

// StatOptions says how to look: Follow a symbolic link at the end (those on the way always are),
// fetch Xattrs.
type StatOptions struct{ Follow, Xattrs bool }

// Stat finds what is at a path below root. Paths are as CleanPath returns them; the leading slash
// may be missing. Absolute symbolic links are relative to root, and ".." in them stays below it.
func (fs *FS) Stat(ctx context.Context, root granary.InodeID, path string, o StatOptions) (*Info, error) {
	return nil, notYet("stat")
}

// OpenFile opens a regular file for reading, with one query for path, attributes, xattrs and the
// first layout. The context bounds the life of the File.
func (fs *FS) OpenFile(ctx context.Context, root granary.InodeID, path string, follow bool) (*File, error) {
	return nil, notYet("open")
}

// File is one version of a regular file, open for reading. If the content changes, what would mix
// two versions fails with KindStale. It is safe for concurrent use.
type File struct {
	Info *Info // as it was when the file was opened; with Xattrs
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return 0, notYet("read") }

// NewReader returns a stream of length bytes from off (to the end of the file if length is
// negative), which reads ahead. It implements io.WriterTo.
func (f *File) NewReader(off, length int64) io.ReadCloser { return nil }

// Close gives the file up.
func (f *File) Close() error { return nil }

// UploadOptions says what an upload becomes.
type UploadOptions struct {
	Root      granary.InodeID
	Path      string // missing parents are made, with FlagImplicit
	Mode      uint32
	Cred      granary.Cred // the owner
	Xattrs    []granary.Xattr
	Match     *granary.Precondition // checked when the upload is committed
	NoInline  bool                  // as parts of Compose must be
	Exclusive bool                  // an existing entry is KindExists; otherwise it is replaced
}

// Upload starts a new file, which replaces what is at the path in one step when it is committed.
func (fs *FS) Upload(ctx context.Context, o UploadOptions) (*Upload, error) {
	return nil, notYet("upload")
}

// Upload is a stream on its way to become a file. It is not safe for concurrent use.
type Upload struct{}

// Write adds to the file.
func (u *Upload) Write(p []byte) (int, error) { return 0, notYet("upload") }

// Commit makes the bytes durable and publishes the file, with further xattrs.
func (u *Upload) Commit(xattrs []granary.Xattr) (*Info, error) { return nil, notYet("upload") }

// Abort drops the upload. After Commit it does nothing.
func (u *Upload) Abort() {}

// RemoveOptions says how to remove. Recursive removes a directory with all that is in it. Prune
// removes the implicit directories that an unlink leaves empty. Match is for files.
type RemoveOptions struct {
	Recursive, Prune bool
	Match            *granary.Precondition
	Cred             granary.Cred
}

// Remove removes a file, a symbolic link, or an empty directory.
func (fs *FS) Remove(ctx context.Context, root granary.InodeID, path string, o RemoveOptions) error {
	return notYet("remove")
}

// MkdirAll makes a directory and its missing parents. One that is there already is no error.
func (fs *FS) MkdirAll(ctx context.Context, cred granary.Cred, root granary.InodeID, path string, mode uint32) (*Info, error) {
	return nil, notYet("mkdir")
}

// RenamePath moves what is at src to dst, replacing it as rename(2) says.
func (fs *FS) RenamePath(ctx context.Context, cred granary.Cred, root granary.InodeID, src, dst string) error {
	return notYet("rename")
}

// List walks files in the order of their full paths, as S3 lists keys.
func (fs *FS) List(ctx context.Context, q *granary.List) (*granary.Listing, error) {
	return nil, notYet("list")
}

// CopyOptions says what to copy where to. With ReplaceXattrs the copy gets Xattrs; otherwise those
// of the source, and Xattrs over them.
type CopyOptions struct {
	SrcRoot       granary.InodeID
	SrcPath       string
	DstRoot       granary.InodeID
	DstPath       string
	Cred          granary.Cred
	Xattrs        []granary.Xattr
	ReplaceXattrs bool
	Match         *granary.Precondition // on the destination
	SrcMatch      *granary.Precondition // on the source: Version and ETag
}

// Copy makes a file refer to the same blocks as another, where they are in one dataset, and else
// copies the bytes. The destination is replaced in one step.
func (fs *FS) Copy(ctx context.Context, o CopyOptions) (*Info, error) { return nil, notYet("copy") }

// Compose makes a file of the concatenation of others, by reference: the completion of a multipart
// upload. Parts must not be inline (Upload them with NoInline) and lie in the file's dataset.
func (fs *FS) Compose(ctx context.Context, o UploadOptions, parts []granary.InodeID) (*Info, error) {
	return nil, notYet("compose")
}

// Buckets returns the directories of /buckets.
func (fs *FS) Buckets(ctx context.Context) ([]granary.Entry, error) { return nil, notYet("buckets") }

// Bucket returns the root directory of a bucket.
func (fs *FS) Bucket(ctx context.Context, name string) (granary.InodeID, error) {
	return 0, notYet("bucket")
}

// CreateBucket makes a bucket: KindExists if there is one. The rules of S3 for names are the
// gateway's.
func (fs *FS) CreateBucket(ctx context.Context, name string) error { return notYet("create bucket") }

// DeleteBucket removes an empty bucket.
func (fs *FS) DeleteBucket(ctx context.Context, name string) error { return notYet("delete bucket") }

// User returns an S3 user by access key, at most a few seconds old.
func (fs *FS) User(ctx context.Context, accessKey string) (granary.User, error) {
	return granary.User{}, notYet("user")
}

// Errno returns the error number of Linux that err's kind stands for.
func Errno(err error) syscall.Errno { return syscall.EIO }

// HTTPStatus returns the HTTP status that err's kind stands for.
func HTTPStatus(err error) int { return 500 }
