package granary

// A session that keeps what it was told attends: it has one call of Attend with the leader at any time, and is answered when
// there is something to tell, or after a while. Each call says that what the answers before it told has been taken in, and renews a
// lease. While that lasts, what the session has cached may be shown without asking: the leader does not acknowledge a change of it
// before the session has taken in the notice, or the lease has run out. So caches are no gap in the one history.
//
// A lease is shorter than the time after which the masters look for another leader, and is given only by a leader that a
// majority has confirmed after the call came. So none that an earlier leader gave outlasts its reign.
//
// As yet leaders tell of recalls alone. They note nothing for QueryRequest.Keep, so answers have Attendance 0 and are not kept; they
// tell of no Changes, and give no Lease.

// Attend asks the leader what others have changed of what the session keeps.
type Attend struct {
	Session SessionID
	// Attendance is that of the last answer; 0 at first. To one that the leader does not know, it answers with another.
	Attendance uint64
	// Taken is the Number of the last answer: what it told of is not shown any more, and what it recalled is being given back.
	Taken uint64
}

// Notices answers Attend.
type Notices struct {
	// Attendance is never used again, by any leader. One that differs from the call's says that nothing holds that the session has
	// cached.
	Attendance uint64
	Number     uint64 // of this answer in the attendance, from 1
	Lease      Time   // nanoseconds, from the moment at which the call was sent
	Changes    []Change
	Recalls    []InodeID // directories whose delegations are to be given back
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
