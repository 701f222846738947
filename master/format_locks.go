package master

import (
	"encoding/binary"

	"github.com/dsorchard/granary"
)

// keyLocks is the key of the locks on an inode, in one space.
func keyLocks(id granary.InodeID, space granary.LockSpace) []byte {
	return append(key(tableLocks, uint64(id)), byte(space))
}

// locksOf takes such a key apart.
func locksOf(k []byte) (granary.InodeID, granary.LockSpace) {
	return granary.InodeID(keyID(k, 0)), granary.LockSpace(k[9])
}

// keyLockOwner is the key of what an owner of a session has on an inode: holds and waits (lockHolds, lockWaits).
func keyLockOwner(session granary.SessionID, k granary.LockKey) []byte {
	return binary.BigEndian.AppendUint64(prefixLockOwner(session, k.Space, k.Owner), uint64(k.Inode))
}

// prefixLockOwner is what the keys of an owner begin with.
func prefixLockOwner(session granary.SessionID, space granary.LockSpace, owner uint64) []byte {
	return binary.BigEndian.AppendUint64(append(key(tableLocker, uint64(session)), byte(space)), owner)
}

// lockOwnerOf takes the key of keyLockOwner apart.
func lockOwnerOf(k []byte) (granary.SessionID, granary.LockKey) {
	return granary.SessionID(keyID(k, 0)), granary.LockKey{
		Space: granary.LockSpace(k[9]), Owner: binary.BigEndian.Uint64(k[10:]), Inode: granary.InodeID(binary.BigEndian.Uint64(k[18:])),
	}
}

// What the mark of an owner on an inode says.
const (
	lockHolds = 1 << iota
	lockWaits
)

// fileLock is a lock on an inode. LockKey.Inode, LockKey.Space and Waiting come from where it lies, Client from the session.
type fileLock struct {
	granary.Lock
	// Ahead, of what waits: its owner held a lock when it asked. It waits for what is held alone, not for who waits before it:
	// those may wait for its owner.
	Ahead bool
}

// locksRecord is the locks on an inode, in one space. Held are in no order, those of one key do not overlap; Waiting are in the
// order in which they came.
type locksRecord struct {
	inode         granary.InodeID // from the key
	space         granary.LockSpace
	Held, Waiting []fileLock

	paths *pathLocks // that are on the inode, too; nil: none
}

func (r *locksRecord) put(e *encoder) {
	for _, list := range [...][]fileLock{r.Held, r.Waiting} {
		e.u64(uint64(len(list)))
		for i := range list {
			list[i].put(e)
		}
	}
}

func (l *fileLock) put(e *encoder) {
	e.u64(uint64(l.Session))
	e.u64(l.Owner)
	e.u64(l.Start)
	e.u64(l.End)
	e.bool(l.Exclusive)
	e.u64(uint64(l.PID))
	e.i64(int64(l.Since))
	e.u64(uint64(l.Token))
	e.bool(l.Ahead)
}

func (r *locksRecord) take(d *decoder) {
	r.Held, r.Waiting = takeLocks(d, false), takeLocks(d, true)
}

func takeLocks(d *decoder, waiting bool) []fileLock {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]fileLock, n)
	for i := range list {
		l := &list[i]
		l.Session, l.Owner = granary.SessionID(d.u64()), d.u64()
		l.Start, l.End = d.u64(), d.u64()
		l.Exclusive, l.PID, l.Since, l.Token = d.bool(), d.u32(), granary.Time(d.i64()), granary.Index(d.u64())
		l.Ahead, l.Waiting = d.bool(), waiting
	}
	return list
}

// locate fills in what the key says.
func (r *locksRecord) locate(id granary.InodeID, space granary.LockSpace) {
	r.inode, r.space = id, space
	for _, list := range [...][]fileLock{r.Held, r.Waiting} {
		for i := range list {
			list[i].Inode, list[i].Space = id, space
		}
	}
}
