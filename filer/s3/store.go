package s3

import (
	"context"
	"io"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// store is what the gateway needs of the file system: fsStore over a filer.FS, which
// the tests make fail. Each method is that of filer.FS by the same name.
type store interface {
	identities
	objects
	directories
	sealer
	classes
}

type identities interface {
	Holder(ctx context.Context, accessKey, role string, session ...string) (*granary.Holder, error)
	Identity(ctx context.Context, kind granary.IdentityKind, name string) (granary.Identity, error)
	Identities(ctx context.Context, q *granary.ListIdentities) (*granary.Identities, error)
	IdentityUses(ctx context.Context, q *granary.ListIdentityUses) (*granary.IdentityUses, error)
	PutIdentity(ctx context.Context, i granary.Identity) error
	DeleteIdentity(ctx context.Context, op *granary.DeleteIdentity) error
	Buckets(ctx context.Context) ([]granary.Entry, error)
	CreateBucket(ctx context.Context, cred granary.Cred, name string) error
	DeleteBucket(ctx context.Context, name string) error
}

type objects interface {
	PermitKey(ctx context.Context, cred granary.Cred, root granary.InodeID, key string, version granary.ObjectVersion, access granary.Access) error
	Stat(ctx context.Context, root granary.InodeID, path string, o filer.StatOptions) (*filer.Info, error)
	OpenKey(ctx context.Context, root granary.InodeID, key string, version granary.ObjectVersion) (object, error)
	Upload(ctx context.Context, o filer.UploadOptions) (upload, error)
	Copy(ctx context.Context, o filer.CopyOptions) (*filer.Info, error)
	Compose(ctx context.Context, o filer.UploadOptions, parts filer.Parts) (*filer.Info, error)
	Remove(ctx context.Context, root granary.InodeID, path string, o filer.RemoveOptions) error
	RemoveKey(ctx context.Context, op *granary.Unlink) (granary.Result, error)
	RenameKey(ctx context.Context, op *granary.Rename) (granary.Result, error)
}

type directories interface {
	MakeDir(ctx context.Context, o filer.DirOptions) (*filer.Info, error)
	ReadDir(ctx context.Context, ino granary.InodeID, fn func(granary.Entry) bool) error
	List(ctx context.Context, q *granary.List) (*granary.Listing, error)
	SetXattr(ctx context.Context, cred granary.Cred, op *granary.SetXattr) error
	DropXattr(ctx context.Context, op *granary.RemoveXattr) error
	Lock(ctx context.Context, op granary.AcquireLock) error
	Unlock(ctx context.Context, op granary.ReleaseLock) error
}

// object is a file open for reading, as filer.File is.
type object interface {
	Stat() *filer.Info
	Unlock(customer *seal.Key) error
	NewReader(off, length int64) io.ReadCloser
	Close() error
}

// upload is a stream on its way to become a file, as filer.Upload is.
type upload interface {
	io.Writer
	Commit(xattrs []granary.Xattr) (*filer.Info, error)
	CommitLast(xattrs func() ([]granary.Xattr, error)) (*filer.Info, error)
	Abort()
}

// fsStore is the store over a filer.FS.
type fsStore struct{ *filer.FS }

// OpenKey implements store.
func (s fsStore) OpenKey(ctx context.Context, root granary.InodeID, key string, version granary.ObjectVersion) (object, error) {
	f, err := s.FS.OpenKey(ctx, root, key, version)
	if err != nil {
		return nil, err
	}
	return fsObject{f}, nil
}

// Upload implements store.
func (s fsStore) Upload(ctx context.Context, o filer.UploadOptions) (upload, error) {
	u, err := s.FS.Upload(ctx, o)
	if err != nil {
		return nil, err
	}
	return u, nil
}

type fsObject struct{ *filer.File }

// Stat implements object.
func (o fsObject) Stat() *filer.Info { return o.Info }
