package granary

import "fmt"

// Op is a mutation of the metadata: one of the structs of this file. Each takes effect whole or not
// at all, at one point of the one history.
//
// Wherever an op names an entry by (Parent, Name), Name is one component; with MakeParents it may be
// a relative path, whose missing directories are made with FlagImplicit, mode 0755 and the owner of the new
// entry.
//
// With Key, Name is the key of an object below Parent, as it came: "/" alone parts it, and nothing between two is out of the
// question: "", "." and "..", any length. What precedes the last "/" are directories, and what follows is the name of something
// else, "" of a key that ends in "/". So there may be "a" beside "a/b", which ops with names have under escapes (see the master's
// package comment). Missing directories are made, and those that a removal leaves empty are removed if they are implicit.
type Op interface{ op() }

// Precondition makes an op conditional on the entry that is there. Violations are KindPrecondition.
type Precondition struct {
	Absent  bool   // nothing by that name (If-None-Match: *)
	Present bool   // something by that name (If-Match: *)
	ETag    string // the entry's ETag, as ETagOf gives it; "" for any
	Version Index  // the entry's Attr.Version; 0 for any
}

type (
	// Create makes an inode and a dentry: creat, open(O_CREAT), mkdir, symlink, mknod, and PUT of an
	// object with its content. In BucketsInode only directories can be made; each becomes a new dataset's root.
	//
	// A Create of a directory with FlagMarker, where a directory without it is, sets flag and Xattrs
	// on that one.
	//
	// With Key the entry is no directory. Without content, one whose key ends in "/" is a mark on that directory (FlagMarker),
	// which gets the Xattrs; whatever else is an object has them itself.
	//
	// Result: Attr; Created is false when an existing regular file was opened, or an existing
	// directory marked; Replaced when one was replaced.
	Create struct {
		Parent      InodeID
		Name        string
		Type        FileType
		Mode        uint32
		Umask       uint32 // taken from Mode, unless the directory has a default access control list
		UID, GID    uint32
		Rdev        uint32
		Target      string // symlinks
		Flags       Flags
		Xattrs      []Xattr
		Content     *Content // regular files
		Exclusive   bool     // an existing entry is KindExists (always so for anything but regular files)
		Replace     bool     // an existing non-directory is replaced by the new inode
		MakeParents bool
		Anonymous   bool // no dentry: the inode belongs to the session until Link gives it a name; Parent gives dataset and policy
		Open        bool // the session opens what it made or found: it counts as Opened (KeepAlive) from then on
		Match       *Precondition

		Inode    InodeID // the new inode's id, of those that LeaseInodes gave to the session; 0: the next that is free
		Delegate bool    // with Under: the session holds the new directory as it holds the Parent
		// With Under, what the holder has changed of the new inode since: nil for Under.At.
		Atime, Mtime, Ctime *Time

		Key bool

		// Policy, if not 0, is that of the new file, in place of its directory's: one with a StorageClass, for another only the superuser may
		// choose. Blocks that the file shares with others, and which lie otherwise, follow in the background.
		Policy PolicyID
	}

	// Unlink removes a dentry that is not a directory. An inode left without a name stays for as long as a session has
	// it open. With Prune, implicit directories
	// that this leaves empty are removed too, and a directory with FlagMarker only loses the flag and
	// its attributes named "granary.…", and is an implicit one; with Path, Name is a relative path.
	// Result: Attr of the inode as it is after.
	//
	// In a bucket with versioning the object stays as an earlier version, and the result is the delete marker that was made, with
	// Marker: number, flags and times are set; with Key there need not be an object. Object takes that version away for good, or a
	// delete marker, and what was before it is the newest again. Bypass does so under retention in the mode GOVERNANCE.
	Unlink struct {
		Parent InodeID
		Name   string
		Path   bool
		Prune  bool
		Match  *Precondition
		Key    bool
		Object ObjectVersion
		Bypass bool
	}

	// Rmdir removes an empty directory. The root of a dataset goes only if no uploads are in progress, and its dataset goes
	// with it; in BucketsInode implicit empty directories are no obstacle.
	Rmdir struct {
		Parent InodeID
		Name   string
	}

	// RemoveTree unlinks a directory (or file) and queues everything below it for reclamation: O(1).
	// Until then that counts for the dataset and its owners. Not for the root of a dataset.
	RemoveTree struct {
		Parent InodeID
		Name   string
	}

	// Rename moves an entry, replacing what is at the destination as rename(2) says. The root of a dataset keeps its
	// directory, and is not replaced.
	//
	// With Key both are keys of objects, of which neither ends in "/", in a dataset that keeps no versions (KindNotSupported): the file gets another
	// key, in place of the one that has it. SrcMatch is of what is moved, Match of what is there under the new name; both need Key.
	// Result: Attr of the moved inode.
	Rename struct {
		SrcParent, DstParent InodeID
		SrcName, DstName     string
		NoReplace            bool
		Exchange             bool
		Key                  bool
		SrcMatch, Match      *Precondition
	}

	// Link gives an inode a further name, or an anonymous inode its first: the atomic publication of an upload.
	// Result: Attr; Replaced.
	Link struct {
		Inode       InodeID
		Parent      InodeID
		Name        string
		Replace     bool
		MakeParents bool
		Xattrs      []Xattr // set on the inode in the same step
		Match       *Precondition
		Key         bool
	}

	// SetAttr changes what is not nil. A change of Size truncates or extends. The leader's time
	// stands for Atime and Mtime with the Now flags. Opened says that the caller has the file open for
	// writing: a change of Size then needs no permission, as with ftruncate(2).
	// Result: Attr.
	SetAttr struct {
		Inode        InodeID
		Mode         *uint32
		UID, GID     *uint32
		Size         *uint64
		Atime, Mtime *Time
		AtimeNow     bool
		MtimeNow     bool
		KillSuidgid  bool // clear set-id bits, as a write or chown by an ordinary user does
		Opened       bool
		Match        *Precondition
	}

	// SetXattr sets one attribute; with CreateOnly it must be new, with ReplaceOnly it must exist.
	SetXattr struct {
		Inode       InodeID
		Xattr       Xattr
		CreateOnly  bool
		ReplaceOnly bool
		Bypass      bool // of retention in the mode GOVERNANCE
	}

	// RemoveXattr removes one attribute.
	RemoveXattr struct {
		Inode  InodeID
		Name   string
		Bypass bool // of retention in the mode GOVERNANCE
	}

	// Commit adds content to a regular file. With AtEnd the offsets in Content are relative to the
	// end of the file as it is then, which Result.Offset gives back.
	// Result: Attr, Offset, or KindMissingChunks with Missing; KindStale with Missing when those new
	// chunks lie in volumes that the session may no longer append to; KindBusy while a large truncation of
	// that range is being completed.
	//
	// With Rewrite the content is what the file has already, stored otherwise: size, times and versions stay as they are,
	// and the op is KindStale unless Rewrite is the file's ContentVersion. Only the superuser may.
	Commit struct {
		Inode   InodeID
		Content Content
		AtEnd   bool
		Mtime   *Time // nil for the leader's time
		Match   *Precondition
		Rewrite Index // 0: the content is new
	}

	// Allocate changes a range of a regular file, as fallocate(2) does with Mode. Space is not reserved: what Reserve
	// does beyond the size is to extend it. Less is done when the range has thousands of extents: go on from there.
	// Result: Attr, Offset: bytes done.
	Allocate struct {
		Inode          InodeID
		Offset, Length uint64
		Mode           AllocateMode
		KeepSize       bool // the file does not get longer
	}

	// Assemble makes one file of the content of others, without moving data, and gives it a name: the completion of a
	// multipart upload, whatever the number of parts, in one small step. Upload is a directory; Parts are names in it, in
	// the order of the content. The leader leaves in Sources what they are, and of which state of the directory, before the
	// op is logged. The directory, which lies under UploadName in the dataset's System inode, leaves the tree in the same
	// step, with all that is in it. The extents move afterwards, some at a time; meanwhile the file can be read, renamed
	// and removed, and writing to it is KindBusy.
	//
	// Version, if not 0, is that of the directory as the caller has checked the parts: the op is KindStale if anything
	// was put into it since. Create gives name, parent, mode, owner, attributes and precondition, as for a Create with Replace; its Content is nil.
	// Parts are at most PartsMax. One that is not there or named twice, that is not a regular file of the directory's
	// owner or that has inline content is KindInvalid, naming it: upload parts without.
	// Result: Attr; Replaced.
	Assemble struct {
		Create     Create
		Upload     InodeID
		UploadName string
		Version    Index
		Parts      []string
		Sources    *Sources // by the leader
	}

	// CreateDataset makes a directory that is the root of a new dataset: in RootInode or in BucketsInode.
	// Result: Attr.
	CreateDataset struct {
		Parent   InodeID
		Name     string
		Mode     uint32
		UID, GID uint32
	}

	// SetQuota limits a dataset, or what a user or group owns in it. Only the superuser may.
	SetQuota struct {
		Dataset DatasetID
		Scope   QuotaScope
		ID      uint32 // uid or gid; 0 for the dataset itself
		Limit   Quota  // zero lifts the limit
	}

	// CopyRange makes a range of Dst refer to the same blocks as a range of Src: no data moves. The
	// range is at most CopyRangeMax, and is cut at the source's end. Dst gets at least as long as the end of the range. Inline
	// content is copied when both offsets are 0 and Dst is empty, else refused with KindNotSupported.
	// Less is copied when the range has thousands of extents: go on from there.
	//
	// A DstOffset of OffsetEnd is the end of Dst as it is then. What goes there goes there whole, or is KindTooLarge. Match is checked on Dst.
	// Result: Attr of Dst, Offset: bytes copied.
	CopyRange struct {
		Src, Dst             InodeID
		SrcOffset, DstOffset uint64
		Length               uint64
		Match                *Precondition
	}

	// Release gives up an anonymous inode of the session.
	Release struct{ Inode InodeID }

	// SetPolicy gives a directory (or file) a policy; what is created in it inherits it, and what is in it already follows in
	// the background (TaskSweep), as far as it has none of its own. With Inherited it is what does that: the inode gets the
	// policy of the directory above it; KindStale if it has one of its own by now, unless that is of the same StorageClass. With
	// no Inode nothing gets the policy, which must have a StorageClass: Attr.Policy of the result is its id. Only the superuser may.
	SetPolicy struct {
		Inode     InodeID
		Policy    Policy
		Inherited bool
	}

	// OpenVolume asks for a volume to append to. The leader chooses k+m disks over the widest
	// failure domains, none of them in Exclude, and leaves its choice in Placement before the op is logged.
	// Result: Volume. KindNoSpace names what is missing.
	OpenVolume struct {
		Policy    PolicyID
		Exclude   []DiskID
		Placement *Placement // by the leader
	}

	// SealVolume ends appends to a volume of this session at its committed watermark. With Force it may be any session's,
	// at any epoch: its writer goes on with another volume. Only the superuser may.
	SealVolume struct {
		Volume VolumeID
		Epoch  Epoch
		Force  bool
	}

	// PlaceShard says that the target of a shard holds a whole and durable copy of it, sealed: from now on the shard is
	// there, and is not Lost. It is KindStale if the volume is not sealed or sealing at this epoch, or the shard has
	// another target or none. Only the superuser may.
	// Result: Volume.
	PlaceShard struct {
		Volume VolumeID
		Epoch  Epoch
		Shard  uint8
		To     DiskID
	}

	// MoveBlocks says that blocks have been stored anew, in open volumes of this session at their epoch: from now on the
	// new copies count, and the old ones are dead space. A block that is not, or no longer, where From says is left as it
	// is, and its new copy is dead space. At most MovesMax. Only the superuser may.
	// Result: Missing: the moves that were left, by index.
	MoveBlocks struct{ Moves []BlockMove }

	// MoveVolume asks for the live blocks of a volume to be stored anew in others, however little it wastes; then it is
	// dropped. An open one is sealed as with Force. Only the superuser may.
	// Result: Volume.
	MoveVolume struct{ Volume VolumeID }

	// SetDisk changes the state of a disk, or its class. A disk becomes DiskRetired only when it holds no shard of any
	// volume (KindNotEmpty). Only the superuser may.
	SetDisk struct {
		Disk   DiskID
		State  DiskState // 0: as it is
		Reason string
		Class  *string // nil: as it is
	}

	// ForgetServer removes a volume server whose disks hold no shard of any volume (KindNotEmpty). If it comes back it is a
	// new one. Only the superuser may.
	ForgetServer struct{ Server ServerID }

	// ForgetDisk removes a disk that is retired or lost (KindBusy) and holds no shard of any volume (KindNotEmpty). If it comes
	// back it is a new one. Only the superuser may.
	ForgetDisk struct{ Disk DiskID }

	// SetUpkeep changes how the cluster maintains itself. Only the superuser may.
	SetUpkeep struct{ Upkeep Upkeep }

	// DamageShards says that shards do not hold what was written to them, whatever their servers think: Shards has a bit for
	// each. They become Lost, and are rebuilt; an open volume is sealed. KindStale if the volume is at another epoch, or is being
	// dropped. Only the superuser may.
	// Result: Volume.
	DamageShards struct {
		Volume VolumeID
		Epoch  Epoch
		Shards uint32
	}

	// AdoptVolume takes in a sealed volume that lies on disks and that the state does not know: it was made after the backup that
	// this state comes from (KindInvalid for an id that this state gave out). Of the blocks that moved there, those that are
	// where From says are there from now on; the caller has read and verified each. At most MovesMax, one of which must be
	// wanted; more come with further ops of the same shape. Only the superuser may.
	// Result: Volume; Missing: the moves that were left, by index.
	AdoptVolume struct {
		Volume       VolumeID
		Epoch        Epoch // the highest that its shards have seen
		DataShards   int
		ParityShards int
		Watermark    uint64
		Disks        []DiskID // of its shards; of one that is Lost any that has none of the volume
		Lost         uint32   // a bit for each shard that is on no disk
		Moves        []BlockMove
	}

	// CloseSession ends the session now: orphans are reclaimed, volumes sealed, locks released.
	CloseSession struct{}

	// SetUser creates or replaces an S3 user.
	SetUser struct{ User User }
)

// BlockMove is one block of a MoveBlocks.
type BlockMove struct {
	Block     BlockID
	From      Location
	To        Location
	Watermark uint64 // end of the new copy's row in its volume
}

// AllocateMode is what Allocate does with a range.
type AllocateMode uint8

// Modes of Allocate.
const (
	AllocateReserve AllocateMode = iota // extend the file, if it ends before the range does
	AllocatePunch                       // make the range a hole; always with KeepSize
	AllocateZero                        // make the range read as zeros
)

// Sources are the parts of an Assemble, as the leader found them.
type Sources struct {
	Version Index // of the upload's directory; the op is KindStale under another
	Inodes  []InodeID
	Sizes   []uint64 // bytes
}

// QuotaScope is what a quota or usage is of, within a dataset.
type QuotaScope uint8

// Scopes of quotas.
const (
	QuotaDataset QuotaScope = iota
	QuotaUser
	QuotaGroup
)

// String returns the word that listings print.
func (s QuotaScope) String() string {
	switch s {
	case QuotaDataset:
		return "dataset"
	case QuotaUser:
		return "user"
	case QuotaGroup:
		return "group"
	}
	return fmt.Sprintf("scope %d", uint8(s))
}

// Quota is a limit that no operation may bring a usage above (KindQuota); 0 is none.
type Quota struct {
	Bytes  uint64 // sum of file sizes
	Inodes uint64
}

// Placement is the leader's choice for a new volume.
type Placement struct {
	DataShards   int
	ParityShards int
	Disks        []DiskID // one a shard, data first
}

// User is an S3 identity.
type User struct {
	AccessKey string
	SecretKey string
	Name      string
	Root      bool
}

func (*Create) op()        {}
func (*Unlink) op()        {}
func (*Rmdir) op()         {}
func (*RemoveTree) op()    {}
func (*Rename) op()        {}
func (*Link) op()          {}
func (*SetAttr) op()       {}
func (*SetXattr) op()      {}
func (*RemoveXattr) op()   {}
func (*Commit) op()        {}
func (*CopyRange) op()     {}
func (*Release) op()       {}
func (*Allocate) op()      {}
func (*Assemble) op()      {}
func (*CreateDataset) op() {}
func (*SetQuota) op()      {}
func (*SetPolicy) op()     {}
func (*OpenVolume) op()    {}
func (*SealVolume) op()    {}
func (*CloseSession) op()  {}
func (*SetUser) op()       {}
func (*PlaceShard) op()    {}
func (*MoveBlocks) op()    {}
func (*MoveVolume) op()    {}
func (*SetDisk) op()       {}
func (*ForgetServer) op()  {}
func (*ForgetDisk) op()    {}
func (*SetUpkeep) op()     {}
func (*DamageShards) op()  {}
func (*AdoptVolume) op()   {}

// Request is one mutation of a session. Seq counts from 1 and is used once; a retry repeats it.
type Request struct {
	Seq    uint64
	Cred   Cred
	Op     Op
	Under  *Under         // nil: it is done when it is applied
	Fences []FencingToken // of locks that must be held for the mutation to happen; at most FencesMax
	Origin Origin         // changes nothing of what is done
}

// Origin says how a mutation came about, to those who watch (Event). The values are stored.
type Origin uint8

// Origins. 0 is any other.
const (
	OriginPost      Origin = iota + 1 // a form of a browser
	OriginCopy                        // a copy of another object
	OriginMultipart                   // an upload in parts, which was completed
	OriginLifecycle                   // a lifecycle rule
)

// MutateRequest carries requests of one session, applied in order, each for itself. All results of
// sequences below LowestUnacked may be forgotten; a sequence UnackedMax or more above it is
// KindTooLarge: nothing happened.
type MutateRequest struct {
	Session       SessionID
	LowestUnacked uint64
	Requests      []Request
	// Attendance is that of the session (Notices) if all requests are such that it knows what they change (NamedBy), and it has
	// seen to that; else 0. A repetition has that of the first try.
	Attendance uint64
	// Opened is what the session has open and has not told (Attend.Opens), if a request may take a name from a file. It opens
	// nothing without telling while that is under way.
	Opened []InodeID
}

// Result is the outcome of one request. Which fields are set, the op says.
type Result struct {
	Err      *Error // nil for success
	Index    Index  // of the entry that holds the request
	Attr     Attr
	Created  bool
	Replaced bool
	Marker   bool
	Offset   uint64
	Volume   *Volume
	Missing  []uint32 // indices into Content.Chunks
}
