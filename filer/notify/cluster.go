package notify

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// cluster is what the package needs of a cluster: of a client, or a fake of the tests.
type cluster interface {
	records
	history
	leases
}

// records keeps settings and cursors, as attributes of inodes.
type records interface {
	// find returns an inode with its attributes.
	find(ctx context.Context, inode granary.InodeID) (*granary.Found, error)
	set(ctx context.Context, inode granary.InodeID, name string, value []byte) error
	drop(ctx context.Context, inode granary.InodeID, name string) error // what is not there is no error
	// list lists objects, as S3 does.
	list(ctx context.Context, q *granary.List) (*granary.Listing, error)
}

// history is the change log.
type history interface {
	settings(ctx context.Context) (granary.ChangeLog, error)
	setSettings(ctx context.Context, s granary.ChangeLog) error
	watch(inode granary.InodeID, o client.WatchOptions) changes
	// pending answers with changes from a position on, without waiting.
	pending(ctx context.Context, inode granary.InodeID, from granary.Position) (*granary.Changes, error)
}

// changes are those of an inode and what is below it: client.Watcher.
type changes interface {
	Begin(ctx context.Context) error
	Next(ctx context.Context, wait time.Duration) ([]granary.Event, error)
	Position() granary.Position
}

// leases are locks, which end with the session.
type leases interface {
	lock(ctx context.Context, op granary.AcquireLock) (granary.SessionID, error)
	unlock(ctx context.Context, op granary.ReleaseLock) error
	session() granary.SessionID
}

// clientCluster is the cluster of a client.
type clientCluster struct{ c *client.Client }

func (k clientCluster) find(ctx context.Context, inode granary.InodeID) (*granary.Found, error) {
	return client.Ask[*granary.Found](ctx, k.c, &granary.Lookup{Base: inode, Xattrs: true})
}

func (k clientCluster) list(ctx context.Context, q *granary.List) (*granary.Listing, error) {
	return client.Ask[*granary.Listing](ctx, k.c, q)
}

func (k clientCluster) set(ctx context.Context, inode granary.InodeID, name string, value []byte) error {
	return k.do(ctx, &granary.SetXattr{Inode: inode, Xattr: granary.Xattr{Name: name, Value: value}})
}

func (k clientCluster) drop(ctx context.Context, inode granary.InodeID, name string) error {
	err := k.do(ctx, &granary.RemoveXattr{Inode: inode, Name: name})
	if granary.IsKind(err, granary.KindNoData) {
		return nil
	}
	return err
}

func (k clientCluster) do(ctx context.Context, op granary.Op) error {
	_, err := k.c.Do(ctx, granary.Cred{}, op)
	return err
}

func (k clientCluster) settings(ctx context.Context) (granary.ChangeLog, error) {
	a, err := client.Ask[*granary.ChangeLogIs](ctx, k.c, &granary.GetChangeLog{})
	if err != nil {
		return granary.ChangeLog{}, err
	}
	return a.Settings, nil
}

func (k clientCluster) setSettings(ctx context.Context, s granary.ChangeLog) error {
	return k.do(ctx, &granary.SetChangeLog{Settings: s})
}

func (k clientCluster) watch(inode granary.InodeID, o client.WatchOptions) changes {
	return k.c.Watch(inode, o)
}

func (k clientCluster) pending(ctx context.Context, inode granary.InodeID, from granary.Position) (*granary.Changes, error) {
	return client.Ask[*granary.Changes](ctx, k.c, &granary.Watch{Inode: inode, From: from})
}

func (k clientCluster) lock(ctx context.Context, op granary.AcquireLock) (granary.SessionID, error) {
	held, err := k.c.Lock(ctx, granary.Cred{}, op)
	return held.Session, err
}

func (k clientCluster) unlock(ctx context.Context, op granary.ReleaseLock) error {
	return k.c.Unlock(ctx, granary.Cred{}, op)
}

func (k clientCluster) session() granary.SessionID { return k.c.Session() }
