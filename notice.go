package granary

import "strings"

// A session that keeps what it was told attends: it has one call of Attend with the leader at any time, and is answered when
// there is something to tell, or after a while. Each call says that what the answers before it told has been taken in, and renews a
// lease. While that lasts, what the session has cached may be shown without asking: the leader does not acknowledge a change of it
// before the session has taken in the notice, or the lease has run out. So caches are no gap in the one history.
//
// A lease is shorter than the time after which the masters look for another leader, and is given only by a leader that a
// majority has heard since, or shortly before, the call came. So none that an earlier leader gave outlasts its reign.

// Attend asks the leader what others have changed of what the session keeps.
type Attend struct {
	Session SessionID
	// Attendance is that of the last answer; 0 at first, and by who shows nothing any more that it has cached. To one that the
	// leader does not know, it answers with another.
	Attendance uint64
	// Taken is the Number of the last answer: what it told of is not shown any more, and what it recalled is being given back.
	Taken uint64
	// Opens says that the session opens files that it keeps without telling: the leader hears of them when it matters. Of inodes that
	// the last answer told of, those that are open are in Opened. So a file is known to be open before the change is seen that took its
	// name. MutateRequest.Opened is the same for changes by the session itself. Whose attendance ends otherwise than by his session may
	// have opened what he could not tell: nothing without a name is reclaimed until he has reported all that he has open, under another.
	Opens  bool
	Opened []InodeID
}

// Notices answers Attend.
type Notices struct {
	// Attendance is never used again, by any leader. One that differs from the call's says that nothing holds that the session has
	// cached; 0, that there is none for now: the leader is about to give up its office.
	Attendance uint64
	Number     uint64 // of this answer in the attendance, from 1
	Lease      Time   // nanoseconds, from the moment at which the call was sent
	Changes    []Change
	Recalls    []InodeID // directories whose delegations are to be given back
	Opens      bool      // the leader heeds Attend.Opens
}

// NamedBy calls visit for all that an op, as it names things, changes of what a session may have cached: inodes, with name "", and
// names in directories. made is the inode of the op's result, if there is one. A session that sends such an op under its attendance
// (MutateRequest.Attendance) sees to it itself that it shows nothing of these that the op has made untrue; the leader does not tell it,
// and notes that the session keeps them: it may, from the result. What else the op changes it is told. ok is false for ops that
// change more than can be told from their names; under those no attendance is put.
func NamedBy(op Op, made InodeID, visit func(inode InodeID, name string)) (ok bool) {
	inode := func(id InodeID) {
		if id != 0 {
			visit(id, "")
		}
	}
	known := true
	entry := func(dir InodeID, name string) {
		inode(dir)
		visit(dir, name)
		known = known && NameKept(name)
	}
	switch op := op.(type) {
	case *Create:
		if op.MakeParents || op.Replace || op.Key {
			return false
		}
		if !op.Anonymous {
			entry(op.Parent, op.Name)
		}
	case *Unlink:
		if op.Path || op.Prune || op.Key || op.Object != 0 {
			return false
		}
		entry(op.Parent, op.Name)
	case *Rmdir:
		entry(op.Parent, op.Name)
	case *Rename:
		if op.Key {
			return false
		}
		entry(op.SrcParent, op.SrcName)
		entry(op.DstParent, op.DstName)
	case *Link:
		if op.MakeParents || op.Replace || op.Key {
			return false
		}
		entry(op.Parent, op.Name)
		inode(op.Inode)
	case *SetAttr:
		inode(op.Inode)
	case *SetXattr:
		inode(op.Inode)
	case *RemoveXattr:
		inode(op.Inode)
	case *Commit:
		inode(op.Inode)
	case *Allocate:
		inode(op.Inode)
	case *CopyRange:
		inode(op.Dst)
	case *Release:
		inode(op.Inode)
	case *OpenVolume, *SealVolume, *AcquireLock, *ReleaseLock, *CancelLock, *CloseSession: // nothing that is cached
	default:
		return false
	}
	inode(made)
	return known
}

// NameKept reports whether it may be kept what a name in a directory leads to; "" is the directory itself. A path leads through more
// than one directory, and what an escape leads to depends on another name (see Op, Key).
func NameKept(name string) bool {
	return !strings.Contains(name, "/") && !strings.HasPrefix(name, "%")
}

// Change is of something that the session was told with QueryRequest.Keep. It has been told of each once: what is asked for
// again is kept again.
type Change struct {
	Inode InodeID
	// Name is of the entry in directory Inode that was made, removed, or is another's now. "": attributes, content, extended
	// attributes or target of the inode are different, or it is gone.
	Name  string
	Index Index // of the entry of the log: what a query was told from a state before it is not to be kept
}
