package filer

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	userTTL  = 3 * time.Second // how long a user is taken as still the same
	usersMax = 4096            // users kept
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

// CreateBucket makes a bucket: KindExists if there is one. The rules of S3 for names are the
// gateway's.
func (fs *FS) CreateBucket(ctx context.Context, name string) error {
	_, err := fs.Mkdir(ctx, granary.Cred{}, granary.BucketsInode, name, 0o755, 0)
	return err
}

// DeleteBucket removes an empty bucket.
func (fs *FS) DeleteBucket(ctx context.Context, name string) error {
	return fs.Rmdir(ctx, granary.Cred{}, granary.BucketsInode, name)
}

// users remembers S3 users for a while.
type users struct {
	mu    sync.Mutex
	known map[string]knownUser
}

type knownUser struct {
	user  granary.User
	until time.Time
}

// User returns an S3 user by access key, at most a few seconds old.
func (fs *FS) User(ctx context.Context, accessKey string) (granary.User, error) {
	if u, ok := fs.users.get(accessKey); ok {
		return u, nil
	}
	answer, err := ask[*granary.UserIs](ctx, fs.store, &granary.GetUser{AccessKey: accessKey})
	if err != nil {
		return granary.User{}, err
	}
	fs.users.put(accessKey, answer.User)
	return answer.User, nil
}

func (u *users) get(accessKey string) (granary.User, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k, ok := u.known[accessKey]
	return k.user, ok && time.Now().Before(k.until)
}

func (u *users) put(accessKey string, user granary.User) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.known) >= usersMax {
		clear(u.known)
	}
	u.known[accessKey] = knownUser{user, time.Now().Add(userTTL)}
}
