package granary

import "fmt"

// A session that is alone in a directory may hold a delegation of it: what it does there it does at once, in its own memory, and
// tells the master later, in the same order (Request.Under). Nobody else is shown the directory meanwhile, nor changes it: a
// request or question of another session that names it, walks through it or would be answered its attributes or entries is
// KindDelegated. It has had no effect; with AwaitReturn the asker has the leader recall the delegation (Notices.Recalls), waits
// until the holder has told everything and given it back, and asks again. So there is one history all the same.
//
// A delegation ends with its session. What the holder had not told by then is lost.

// The ops of delegations.
type (
	// LeaseInodes reserves inode ids of a dataset for the session, which names them in Create.Inode, in ascending order. A
	// session has at most InodeLeasesMax ranges of ids that are not used up: a further one takes the place of the oldest.
	// Result: Offset is the first id; the others follow.
	LeaseInodes struct {
		Dataset DatasetID
		Count   uint32 // at most InodeLeaseMax
	}

	// TakeDelegation asks for a directory. It is KindBusy if another session holds it, KindTooLarge if it has more than
	// DelegatedEntriesMax entries, and KindNotSupported where what the holder may do cannot be decided from the directory's attributes and
	// names alone: with access control lists, in a dataset with quotas, in the directories of buckets and uploads.
	// The session must attend. Result: Attr; Offset is the token of the grant. A session that holds it already gets that of before.
	TakeDelegation struct{ Inode InodeID }

	// ReturnDelegation gives directories back, at most DelegationsReturned of them. What is not held is no error.
	ReturnDelegation struct{ Inodes []InodeID }
)

func (*LeaseInodes) op()      {}
func (*TakeDelegation) op()   {}
func (*ReturnDelegation) op() {}

// Bounds of delegations.
const (
	InodeLeaseMax       = 1 << 16
	InodeLeasesMax      = 8
	DelegatedEntriesMax = 10_000 // entries of a directory that can be taken
	DelegationsReturned = 1000   // directories in one ReturnDelegation
)

// Under says of a request that its session has done it already, under the delegations of all directories that it names. Such
// requests are Create, Unlink, Rmdir, Rename and SetAttr. They are applied in their order: one whose Order is not the next is
// KindStale, and so is one whose directory the session does not hold by a token up to Fence; Result.Offset is the Order of the
// last that was applied. One that fails for another reason does not count, and those that follow it fail, until
// its number is that of another request.
type Under struct {
	Order uint64 // of the session's requests with Under, from 1
	Fence Index  // the newest token that the session had got when it did this
	At    Time   // when it did: what the request changes is stamped with it
}

// Delegated is the cause of a KindDelegated error.
type Delegated struct{ Inodes []InodeID } // directories that others hold: some of those that are in the way

// Error names the first directory.
func (d *Delegated) Error() string {
	if len(d.Inodes) == 0 {
		return "a directory is delegated to another session"
	}
	return fmt.Sprintf("directory %d is delegated to another session", d.Inodes[0])
}

// AwaitReturn has the leader recall directories, and is answered when all have been given back, or after AwaitReturnMax.
type AwaitReturn struct{ Inodes []InodeID }

// Returned answers AwaitReturn.
type Returned struct{}

func (*AwaitReturn) query() {}
func (*Returned) answer()   {}

// AwaitReturnMax is how long AwaitReturn waits.
const AwaitReturnMax = 10 * Time(1e9)
