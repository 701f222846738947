package web

import (
	"context"
	"io"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// store is what the door needs of the file system: fsStore over a filer.FS, and one in memory in the
// tests. But for Page, each method is that of filer.FS by the same name.
type store interface {
	files
	directories
}

type files interface {
	SetAttr(ctx context.Context, cred granary.Cred, op *granary.SetAttr) (granary.Attr, error)
	Stat(ctx context.Context, root granary.InodeID, path string, o filer.StatOptions) (*filer.Info, error)
	OpenFile(ctx context.Context, root granary.InodeID, path string, follow bool) (file, error)
	Upload(ctx context.Context, o filer.UploadOptions) (upload, error)
	Remove(ctx context.Context, root granary.InodeID, path string, o filer.RemoveOptions) error
	RenamePath(ctx context.Context, cred granary.Cred, root granary.InodeID, src, dst string) error
	Rename(ctx context.Context, cred granary.Cred, srcParent granary.InodeID, srcName string, dstParent granary.InodeID, dstName string, flags filer.RenameFlags) error
}

type directories interface {
	// Page returns up to limit entries of a directory in key order, and whether there are more. It
	// starts after a cursor, as cursorOf makes it, or at the beginning for "".
	Page(ctx context.Context, ino granary.InodeID, cursor string, limit int) (entries []granary.Entry, more bool, err error)
	MkdirAll(ctx context.Context, cred granary.Cred, root granary.InodeID, path string, mode uint32) (*filer.Info, error)
	StatFS(ctx context.Context, ino granary.InodeID) (*granary.FSStats, error)
}

// file is a file open for reading, as filer.File is.
type file interface {
	io.ReaderAt
	io.Closer
	Stat() *filer.Info
	NewReader(off, length int64) io.ReadCloser
}

// upload is a stream on its way to become a file, as filer.Upload is.
type upload interface {
	io.Writer
	Commit(xattrs []granary.Xattr) (*filer.Info, error)
	Abort()
}

// fsStore is the store over a filer.FS.
type fsStore struct{ *filer.FS }

// OpenFile implements store.
func (s fsStore) OpenFile(ctx context.Context, root granary.InodeID, path string, follow bool) (file, error) {
	f, err := s.FS.OpenFile(ctx, root, path, follow)
	if err != nil {
		return nil, err
	}
	return fsFile{f}, nil
}

// Upload implements store.
func (s fsStore) Upload(ctx context.Context, o filer.UploadOptions) (upload, error) {
	u, err := s.FS.Upload(ctx, o)
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Page implements store.
func (s fsStore) Page(ctx context.Context, ino granary.InodeID, cursor string, limit int) ([]granary.Entry, bool, error) {
	q := &granary.ReadDir{Inode: ino, Limit: limit}
	q.After, q.AfterDir = strings.CutSuffix(cursor, "/")
	d, err := client.Ask[*granary.Directory](ctx, s.Client(), q)
	if err != nil {
		return nil, false, err
	}
	return d.Entries, d.More, nil
}

type fsFile struct{ *filer.File }

// Stat implements file.
func (f fsFile) Stat() *filer.Info { return f.Info }

// cursorOf returns the cursor after an entry: its key, in which a directory's name ends in '/'. No
// name has a '/' in it.
func cursorOf(e *granary.Entry) string {
	if e.Attr.IsDir() {
		return e.Name + "/"
	}
	return e.Name
}
