package fuse

import (
	"context"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

var (
	_ gofs.NodeGetlker  = (*node)(nil)
	_ gofs.NodeSetlker  = (*node)(nil)
	_ gofs.NodeSetlkwer = (*node)(nil)
)

// lockKey is whose locks a request is about. The kernel's owner of a lock of fcntl(2) is a process (its table of
// files), and of flock(2) an open file.
func (n *node) lockKey(owner uint64, flags uint32) granary.LockKey {
	space := granary.LockRanges
	if flags&gofuse.LK_FLOCK != 0 {
		space = granary.LockWhole
	}
	return granary.LockKey{Inode: n.ino, Space: space, Owner: owner}
}

func lockRange(lk *gofuse.FileLock) granary.LockRange {
	return granary.LockRange{Start: lk.Start, End: min(lk.End, granary.LockEnd)}
}

// Getlk is fcntl(2) with F_GETLK. A lock of another mount has no process here: its pid is -1, as with other network file
// systems.
func (n *node) Getlk(_ context.Context, _ gofs.FileHandle, owner uint64, lk *gofuse.FileLock, flags uint32, out *gofuse.FileLock) syscall.Errno {
	found, err := n.m.options.FS.TestLock(n.m.ctx, granary.GetLock{
		LockKey: n.lockKey(owner, flags), LockRange: lockRange(lk), Exclusive: lk.Typ == unix.F_WRLCK,
	})
	if err != nil {
		return filer.Errno(err)
	}
	*out = *lk
	if found == nil {
		out.Typ = unix.F_UNLCK
		return 0
	}
	out.Start, out.End, out.Typ, out.Pid = found.Start, found.End, unix.F_RDLCK, ^uint32(0)
	if found.Exclusive {
		out.Typ = unix.F_WRLCK
	}
	if found.Session == n.m.options.FS.Session() {
		out.Pid = found.PID
	}
	return 0
}

// Setlk takes a lock if it is to be had, or gives up what is held.
func (n *node) Setlk(_ context.Context, _ gofs.FileHandle, owner uint64, lk *gofuse.FileLock, flags uint32) syscall.Errno {
	return n.setLock(n.m.ctx, owner, lk, flags, false)
}

// Setlkw waits for a lock. Unlike most requests it ends when its caller gets a signal.
func (n *node) Setlkw(ctx context.Context, _ gofs.FileHandle, owner uint64, lk *gofuse.FileLock, flags uint32) syscall.Errno {
	waiting, cancel := context.WithCancel(n.m.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return n.setLock(waiting, owner, lk, flags, true)
}

func (n *node) setLock(ctx context.Context, owner uint64, lk *gofuse.FileLock, flags uint32, wait bool) syscall.Errno {
	key, bytes := n.lockKey(owner, flags), lockRange(lk)
	if lk.Typ == unix.F_UNLCK {
		return filer.Errno(n.m.options.FS.Unlock(ctx, granary.ReleaseLock{LockKey: key, LockRange: bytes}))
	}
	err := n.m.options.FS.Lock(ctx, granary.AcquireLock{
		LockKey: key, LockRange: bytes, Exclusive: lk.Typ == unix.F_WRLCK, PID: lk.Pid, Wait: wait,
	})
	switch {
	case granary.IsKind(err, granary.KindTooLarge):
		return syscall.ENOLCK
	case err != nil:
		return filer.Errno(err)
	}
	n.NotifyContent(0, 0) // what the kernel has kept may be older than the lock; that it keeps nothing is no error
	return 0
}

// locks is between the kernel and the nodes. That a file is closed gives up locks: those of fcntl(2) with any
// descriptor that the process closes, those of flock(2) and those of fcntl(2) that an open file owns (F_OFD_SETLK) with the
// last of the open file. The kernel leaves that to the file system, in requests whose owners nodes are not told; of locks that open files
// own with F_OFD_SETLK it says nothing at all.
type locks struct {
	gofuse.RawFileSystem
	mu   sync.Mutex
	held map[lockedBy]uint64 // who may have locks, and by which open file they were taken last
}

// lockedBy says whose locks, by the kernel's names.
type lockedBy struct {
	node, owner uint64
	flags       uint32
}

func newLocks(below gofuse.RawFileSystem) *locks {
	return &locks{RawFileSystem: below, held: map[lockedBy]uint64{}}
}

func (l *locks) SetLk(cancel <-chan struct{}, in *gofuse.LkIn) gofuse.Status {
	l.note(in)
	return l.RawFileSystem.SetLk(cancel, in)
}

func (l *locks) SetLkw(cancel <-chan struct{}, in *gofuse.LkIn) gofuse.Status {
	l.note(in)
	return l.RawFileSystem.SetLkw(cancel, in)
}

// note notes who is about to get a lock: before, so that a close that comes at the same time misses nothing.
func (l *locks) note(in *gofuse.LkIn) {
	if in.Lk.Typ == unix.F_UNLCK {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[lockedBy{in.NodeId, in.Owner, in.LkFlags & gofuse.LK_FLOCK}] = in.Fh
}

// Flush is close of one descriptor: first what was written becomes durable, then the locks of its process go.
func (l *locks) Flush(cancel <-chan struct{}, in *gofuse.FlushIn) gofuse.Status {
	status := l.RawFileSystem.Flush(cancel, in)
	if s := l.letGo(&in.InHeader, in.Fh, in.LockOwner, 0); status == gofuse.OK {
		return s
	}
	return status
}

// Release is the last close of an open file. Processes have given up their locks when they closed it (Flush): what was taken by it and
// is held still is its own.
func (l *locks) Release(cancel <-chan struct{}, in *gofuse.ReleaseIn) {
	for _, by := range l.takenBy(in.NodeId, in.Fh) {
		l.letGo(&in.InHeader, in.Fh, by.owner, by.flags)
	}
	l.RawFileSystem.Release(cancel, in)
}

func (l *locks) takenBy(node, fh uint64) (all []lockedBy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for by, taken := range l.held {
		if by.node == node && taken == fh {
			all = append(all, by)
		}
	}
	return all
}

// letGo gives up what an owner has locked on a node. What cannot be given up now goes with the session.
func (l *locks) letGo(header *gofuse.InHeader, fh, owner uint64, flags uint32) gofuse.Status {
	by := lockedBy{header.NodeId, owner, flags}
	l.mu.Lock()
	_, held := l.held[by]
	delete(l.held, by)
	l.mu.Unlock()
	if !held {
		return gofuse.OK
	}
	never := make(chan struct{}) // a close is not interrupted
	return l.RawFileSystem.SetLk(never, &gofuse.LkIn{
		InHeader: *header, Fh: fh, Owner: owner, LkFlags: flags,
		Lk: gofuse.FileLock{Start: 0, End: granary.LockEnd, Typ: unix.F_UNLCK, Pid: header.Pid},
	})
}
