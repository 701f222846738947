package filer

import (
	"context"
	"errors"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// locking is the part of a store that knows locks.
type locking interface {
	// Lock takes a lock, and waits for it if the op says so, as long as ctx lasts.
	Lock(ctx context.Context, cred granary.Cred, op granary.AcquireLock) (client.Held, error)
	Unlock(ctx context.Context, cred granary.Cred, op granary.ReleaseLock) error
	TestLock(ctx context.Context, q granary.GetLock) (*granary.Lock, error)
	Session() granary.SessionID
}

// held is what a FS knows of the locks that its users have on an inode.
type held struct {
	session granary.SessionID            // in which they were taken
	owners  map[granary.LockKey]struct{} // who has some
	in      *inode                       // is kept for as long as there are any
}

// Lock takes a lock on a file or directory. From then on the view of the file is exact: what this FS knew about it is
// looked at anew. If the session should end, so do its locks, and what is done with the file through this FS fails
// until its users have let go (lost).
//
// ctx ends the wait, and no more: once the lock is granted its caller has it, and is told so.
func (fs *FS) Lock(ctx context.Context, op granary.AcquireLock) error {
	if err := fs.held.known(ctx, op.Inode); err != nil {
		return err
	}
	got, err := fs.store.Lock(ctx, granary.Cred{}, op)
	if err != nil {
		return err
	}
	fs.noteLock(op.LockKey, got.Session)
	found, err := ask[*granary.Found](context.WithoutCancel(ctx), fs.store, &granary.Lookup{Base: op.Inode})
	if err != nil {
		return err // the lock is held all the same: its owner's end gives it up
	}
	fs.merge(found.Entry.Attr)
	return nil
}

// Unlock gives up what an owner has in a range, after all that was written to the file is durable, so that who comes
// next sees it. If that fails the lock is given up too: the file's descriptors report the error.
func (fs *FS) Unlock(ctx context.Context, op granary.ReleaseLock) error {
	_, flushErr := fs.flushInode(ctx, op.Inode)
	err := fs.store.Unlock(ctx, granary.Cred{}, op)
	if err == nil && op.Start == 0 && op.End == granary.LockEnd {
		fs.forgetLocks(op.LockKey)
	}
	if err != nil {
		return err
	}
	return flushErr
}

// TestLock returns a lock that keeps the caller from one, or nil.
func (fs *FS) TestLock(ctx context.Context, q granary.GetLock) (*granary.Lock, error) {
	if err := fs.held.known(ctx, q.Inode); err != nil {
		return nil, err
	}
	q.Session = fs.store.Session()
	return fs.store.TestLock(ctx, q)
}

// Session returns the session that locks belong to, or 0 between two sessions.
func (fs *FS) Session() granary.SessionID { return fs.store.Session() }

// noteLock notes that somebody has a lock.
func (fs *FS) noteLock(key granary.LockKey, session granary.SessionID) {
	in := fs.get(key.Inode)
	fs.mu.Lock()
	h := fs.locks[key.Inode]
	first := h == nil
	if first {
		h = &held{session: session, owners: map[granary.LockKey]struct{}{}, in: in}
		fs.locks[key.Inode] = h
		fs.locked.Add(1)
	}
	h.owners[key] = struct{}{}
	fs.mu.Unlock()
	if !first {
		fs.put(in)
	}
}

// forgetLocks notes that an owner has no locks any more.
func (fs *FS) forgetLocks(key granary.LockKey) {
	fs.mu.Lock()
	h := fs.locks[key.Inode]
	if h == nil {
		fs.mu.Unlock()
		return
	}
	delete(h.owners, key)
	last := len(h.owners) == 0
	if last {
		delete(fs.locks, key.Inode)
		fs.locked.Add(-1)
	}
	fs.mu.Unlock()
	if last {
		fs.put(h.in)
	}
}

// errLost is why a file that was locked cannot be used.
var errLost = errors.New("the locks on it ended with the session: unlock or close it, and lock it again")

// lost returns an error if users of this FS had locks on an inode that ended with their session: somebody else may have
// taken them since, and what they still do in the belief that they have them must not be done.
func (fs *FS) lost(ino granary.InodeID) error {
	if fs.locked.Load() == 0 {
		return nil
	}
	fs.mu.Lock()
	h := fs.locks[ino]
	fs.mu.Unlock()
	if h == nil || h.session == fs.store.Session() {
		return nil
	}
	return granary.Errorf(granary.KindExpired, "lock", ino.String(), "%w", errLost)
}
