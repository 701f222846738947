package granary

// A path lock is on paths: of files and directories that exist, or that do not exist yet. It is shared or exclusive, and may take in
// all that is below (Subtree). Two locks meet if their paths have one in common; they exclude each other if one of them is
// exclusive. A lock of flock(2) or fcntl(2) on a file excludes a path lock on exactly that file as one of its mode would.
//
// With the grant comes a fencing token: the index of the entry that granted it, or the next number if that was given out. Later grants
// have higher ones. A request may carry tokens (Request.Fences), and is refused unless all of them are of locks that are held; so
// what somebody does who had a lock, and does not know yet that another has it now, has no effect. A Mandatory lock
// refuses besides, to everybody, whatever would change what it is on and does not carry its token. Nothing is refused to who reads.
//
// What a lock is on is found when it is asked for, without following symbolic links, and stays that:
//   - what exists keeps its locks when it is renamed, or a directory above it is;
//   - if it is removed, or renamed while the lock is on a path below that does not exist, the lock is on the path in the deepest
//     directory that is left, and on what is made there by that name next;
//   - what takes the place of a file, or of an empty directory, takes over its locks;
//   - locks on what is below a directory that RemoveTree removes end;
//   - what a rename or link would bring together with a lock that excludes it stays where it is: KindBusy.

// LockID names a request for path locks. 0 is none.
type LockID uint64

// LockPath is a path to be locked.
type LockPath struct {
	Base    InodeID // a directory
	Path    string  // in it; "" is the directory itself
	Subtree bool    // and all that is below, now and later
}

// Limits of path locks. More are KindTooLarge.
const (
	LockPathsMax    = 16    // paths of one request
	PathWaitersMax  = 4096  // waited for
	PathLocksMax    = 65536 // held and waited for, in a cluster
	FencesMax       = 16    // tokens that a request carries
	LockOwnerMax    = 255   // bytes
	LockNoteMax     = 1024  // bytes
	LockTTLMin      = Time(1e9)
	LockTTLMax      = Time(30 * 86400e9)
	PathLocksInPage = 1000
)

// The ops of path locks.
type (
	// AcquirePaths takes a lock on all of the paths at once, or a place in the queue for it. Who asks earlier gets it earlier: a request
	// waits also for those before it that exclude it.
	//
	// Without Wait a lock that is not to be had is KindWouldBlock. With it, one that would close a circle of requests that wait for
	// each other is KindDeadlock, as far as Owner tells who they are of.
	//
	// With a TTL the lock is a lease, of no session: it ends when it has not been renewed (RenewPaths) for so long. A
	// request for it ends with the session for as long as it waits. Without one the lock ends with the session. A new leader leaves every
	// lease its whole TTL.
	//
	// The caller needs write permission on what exists, or on the directory that the rest is to lie in; for a shared lock
	// read permission. A mandatory lock is the owner's to take.
	//
	// Result: Offset is the LockID. Created says that it is held: the LockID is the token, too. Else it waits (AwaitLock, with LockPaths).
	AcquirePaths struct {
		Paths     []LockPath
		Exclusive bool
		Mandatory bool
		Wait      bool
		TTL       Time   // nanoseconds; 0: none
		Owner     string // who holds it, in the owner's own words; requests of one Owner are not to wait for each other
		Note      string // for people
	}

	// RenewPaths begins the lease of a held lock anew. KindFenced if it is not held any more. Only who took it may, and the superuser.
	RenewPaths struct {
		Token FencingToken
		TTL   Time // 0: as before
	}

	// ReleasePaths gives up a lock by its token, or a request by its LockID, whether it waits or has been granted: KindNotFound
	// if there is none. Break says that it is another's: only the superuser and its owner may.
	ReleasePaths struct {
		Token FencingToken
		Lock  LockID
		Break bool
	}
)

func (*AcquirePaths) op() {}
func (*RenewPaths) op()   {}
func (*ReleasePaths) op() {}

// PathLock is a path lock that is held, or a request for one.
type PathLock struct {
	ID        LockID
	Token     FencingToken // 0: it waits
	Paths     []LockedPath
	Exclusive bool
	Mandatory bool
	Session   SessionID // that it ends with; 0: a lease
	Client    string    // of the session that asked: who, and where it ran
	UID       uint32    // who asked
	TTL       Time
	Expires   Time // of a lease, by the clock of the masters; a new leader may wait longer
	Owner     string
	Note      string
	Since     Time // of the grant; of what waits, of the request
}

// LockedPath is a path of a lock.
type LockedPath struct {
	Path    string // as it is now, from the root; as it was asked for, if that is not easily told
	Subtree bool
	Inode   InodeID // 0: nothing is there
}

type (
	// ListPathLocks lists path locks, by LockID.
	ListPathLocks struct {
		After LockID
		Limit int          // at most PathLocksInPage; 0 for that
		Token FencingToken // only the one that has it; KindNotFound if none has
	}
	// PathLocks answers ListPathLocks.
	PathLocks struct {
		Locks []PathLock
		More  bool
	}
)

func (*ListPathLocks) query() {}
func (*PathLocks) answer()    {}
