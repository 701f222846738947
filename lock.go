package granary

// LockSpace tells apart the kinds of locks that a file can have. Locks of different spaces do not conflict, as on Linux.
type LockSpace uint8

// Spaces of locks.
const (
	LockRanges LockSpace = iota + 1 // of fcntl(2): an owner's locks on a range replace those that it had there, and merge
	LockWhole                       // of flock(2): the whole file; another of the same owner is converted
	LockPaths                       // on paths: see AcquirePaths. In a LockKey, Owner is the LockID then, and the rest is 0
)

// LockEnd is the End of a range that goes to the end of the file, wherever that will be.
const LockEnd = 1<<63 - 1

// LockKey says whose locks, in which space, on which inode.
type LockKey struct {
	Inode InodeID
	Space LockSpace
	Owner uint64 // within the session: of a mount what the kernel calls the lock owner
}

// LockRange is bytes of a file, of LockWhole always all of them: from 0 to LockEnd.
type LockRange struct {
	Start, End uint64 // inclusive
}

// Lock is a lock that is held, or waited for.
type Lock struct {
	LockKey
	LockRange
	Session   SessionID
	Client    string // of the session: who, and where it runs
	Exclusive bool
	PID       uint32
	Since     Time
	Token     Index // of the grant; of what waits, of the request
	Waiting   bool
}

// LocksMax bounds the locks on an inode, held and waited for, in one space: more are KindTooLarge.
const LocksMax = 10_000

// The ops of locks. A session's locks end with it: with CloseSession, or when it expires.
type (
	// AcquireLock takes a lock, or a place in the queue for it. Who asks earlier gets it earlier: a request waits also for
	// conflicting ones that wait before it. Locks of the same key never conflict. If the file is removed, its locks stay for as long as it is
	// open.
	//
	// Without Wait a lock that is not to be had is KindWouldBlock, and with it one that would close a circle of owners that wait
	// for each other is KindDeadlock (LockRanges alone, as on Linux). An owner waits for one lock at a time: while one of its
	// requests waits, another with Wait for the same key is KindBusy.
	//
	// The locks of LockWhole are not converted in one step: what is held is given up before the other kind is waited for, as
	// flock(2) says; without Wait it is kept if the other is not to be had.
	//
	// Result: Created says that it is held, now, and Index is the token of the grant; else it waits (AwaitLock), and is held
	// from some later entry on unless CancelLock ends that. Index is the token of the request then.
	AcquireLock struct {
		LockKey
		LockRange
		Exclusive bool
		PID       uint32
		Wait      bool
	}

	// ReleaseLock gives up what the owner holds in a range: a lock that it does not cover whole is cut. What is not held is no error.
	ReleaseLock struct {
		LockKey
		LockRange
	}

	// CancelLock ends that the owner waits. Result: Created says that there was nothing to end, because the lock was granted
	// before: it is held, and Offset is the token of the grant.
	CancelLock struct{ LockKey }
)

func (*AcquireLock) op() {}
func (*ReleaseLock) op() {}
func (*CancelLock) op()  {}

type (
	// GetLock asks for a lock that keeps the caller from one: F_GETLK. Answer: LockIs.
	GetLock struct {
		LockKey
		LockRange
		Session   SessionID
		Exclusive bool
	}
	// LockIs answers GetLock.
	LockIs struct{ Lock *Lock } // nil: none

	// ListLocks lists locks, those that wait too, by inode, in the order of their tokens.
	ListLocks struct {
		Inode InodeID // 0: of all
		After InodeID // 0, or, for all, Next of the page before
		Limit int     // inodes in a page; at most LocksPageMax, 0 for that
	}
	// Locks answers ListLocks.
	Locks struct {
		Locks []Lock
		Next  InodeID // 0: there is no more
	}
)

// LocksPageMax bounds the inodes in an answer to ListLocks.
const LocksPageMax = 1000

func (*GetLock) query()   {}
func (*ListLocks) query() {}
func (*LockIs) answer()   {}
func (*Locks) answer()    {}

// AwaitLock waits until a request for a lock is over: it is answered by the leader, within AwaitLockMax in any case.
type AwaitLock struct {
	Session SessionID
	Key     LockKey
	Token   Index // of the request
}

// AwaitLockMax is how long AwaitLock waits.
const AwaitLockMax = 20 * Time(1e9)

// LockOutcome answers AwaitLock.
type LockOutcome struct {
	State LockState
	Token Index // of the grant, if the lock is held; else 0
}

// LockState is in a LockOutcome.
type LockState uint8

// What became of a request for a lock.
const (
	LockWaits LockState = iota + 1 // still: ask again
	LockHeld
	LockGone // neither waited for nor held: the session ended, it was canceled, or the lock released since
)
