package filer

import (
	"context"

	"github.com/dsorchard/granary"
)

// Buckets returns the directories of /buckets.
func (fs *FS) Buckets(ctx context.Context) ([]granary.Entry, error) {
	var buckets []granary.Entry
	err := fs.ReadDir(ctx, granary.BucketsInode, func(e granary.Entry) bool {
		if e.Attr.IsDir() {
			buckets = append(buckets, e)
		}
		return true
	})
	return buckets, err
}

// Bucket returns the root directory of a bucket.
func (fs *FS) Bucket(ctx context.Context, name string) (granary.InodeID, error) {
	e, err := fs.Lookup(ctx, granary.BucketsInode, name)
	switch {
	case err != nil:
		return 0, err
	case !e.Attr.IsDir():
		return 0, granary.Errorf(granary.KindNotFound, "bucket", name, "not a directory")
	}
	return e.Attr.Inode, nil
}

// CreateBucket makes a bucket, which belongs to a caller: KindExists if there is one. The rules of S3 for names, and who may, are the
// gateway's.
func (fs *FS) CreateBucket(ctx context.Context, cred granary.Cred, name string) error {
	uid, gid := fs.ownerOf(cred)
	_, err := fs.makeOwned(ctx, granary.Cred{}, &granary.Create{
		Parent: granary.BucketsInode, Name: name, Type: granary.TypeDirectory, Mode: 0o755, UID: uid, GID: gid})
	return err
}

// DeleteBucket removes an empty bucket.
func (fs *FS) DeleteBucket(ctx context.Context, name string) error {
	return fs.Rmdir(ctx, granary.Cred{}, granary.BucketsInode, name)
}
