package granary

import "fmt"

// Query is a question about the metadata: one of the structs of this file. It is answered from a
// state no older than any mutation acknowledged before it was asked, and no older than MinIndex.
type Query interface{ query() }

// Answer is the reply to a Query: the struct that its comment names.
type Answer interface{ answer() }

type (
	// Lookup resolves a path below an inode, and returns what is asked for about what it finds; all
	// from one state. An empty path is the inode itself. Components "." and ".." are not known here.
	// A symbolic link on the way ends the walk: Rest holds the components that follow it. One at the end is returned
	// itself.
	//
	// With the caller's Cred, each directory on the way must be searchable, and what is found must allow Access; else it
	// is KindPermission. With Open, the regular file that is found counts as opened by the request's session
	// (KeepAlive), and is kept when its last name goes.
	//
	// With Key, Path is the key of an object (see Op): what is found is no directory, unless it is marked as one (FlagMarker).
	// Nearest finds the last directory on its way that there is, instead.
	//
	// A Layout of an encrypted file (FlagEncrypted) is given to those only who say with Stored that they know what is stored to be ciphertext;
	// else it is KindPermission. The Xattrs have those with it that say how the content is encrypted.
	Lookup struct {
		Base   InodeID
		Path   string
		Xattrs bool
		Layout *Range // regular files
		Stored bool   // with Layout: it may be that of ciphertext
		Access Access
		Open   bool

		Key     bool
		Nearest bool
		Object  ObjectVersion // with Key: which version of the object; 0 for the newest
		Markers bool          // with Key: a delete marker is found, too
	}
	// Found answers Lookup.
	Found struct {
		Entry  Entry
		Parent InodeID // the directory that holds the entry; 0 if Path was empty and the inode is no directory
		Rest   string
		Xattrs []Xattr
		Layout *Layout
		Marker bool // what is found is a delete marker: of Entry.Attr, number, flags and times are set
		// Missing, only with QueryRequest.Keep, says in place of KindNotFound that directory Parent has nothing by the first
		// name of Rest. The Entry is empty then.
		Missing    bool
		Attendance uint64 // as Directory.Attendance
	}

	// ReadDir lists a directory in key order, after the name After ("" for the start).
	ReadDir struct {
		Inode    InodeID
		After    string // name as the last Entry had it …
		AfterDir bool   // … and whether that was a directory: its key ends in '/'
		Limit    int    // at most ReadDirMax; 0 for that
		// Ahead says that nobody has asked for it yet: directories that other sessions hold are left out, and not asked back for it. If there
		// are such, the answer says that there is more.
		Ahead bool
	}
	// Directory answers ReadDir.
	Directory struct {
		Entries []Entry
		More    bool
		// Attendance is that of the session (Notices) in which the answer may be kept; 0: it must not be kept.
		Attendance uint64
	}

	// List walks the files below a directory in the order of their full paths, as S3 lists keys. Its work is bounded: a
	// page may be Truncated with fewer items than Limit, even none, and then may show a prefix with nothing in it but
	// thousands of empty directories.
	List struct {
		Root       InodeID
		Prefix     string
		StartAfter string // keys up to and including this are skipped
		// Delimiter, if not "", folds all keys in which it follows the prefix into one, up to its first end: it is listed if
		// any of them is left.
		Delimiter string
		Limit     int // at most ListMax; 0 for that
		// Versions lists all versions of the objects and their delete markers, the newest of a key first. If StartAt is not nil,
		// those of the key StartAfter that are earlier than that are listed, too.
		Versions bool
		StartAt  *ObjectVersion
		Content  bool // items come with their Content
	}
	// Listing answers List.
	Listing struct {
		Items     []ListItem // keys and prefixes together, in order
		Truncated bool
		Next      string // StartAfter of the next call, if Truncated: the last key, or something past the last prefix
		NextAt    *ObjectVersion
	}

	// HasChunks asks which chunks a dataset already has, in volumes of at least Parity parity shards.
	HasChunks struct {
		Dataset DatasetID
		Hashes  []Hash
		Parity  uint8
	}
	// ChunksHad answers HasChunks, one for each hash.
	ChunksHad struct{ Has []bool }

	// StatFS asks for space and inodes: those of the dataset that an inode belongs to, if it has a quota; 0 for the
	// cluster's.
	StatFS struct{ Inode InodeID }
	// FSStats answers StatFS. Bytes are of user data that would still fit under the root's policy, or the dataset's quota
	// if that is less.
	FSStats struct {
		Bytes, BytesFree uint64
		Files            uint64 // that there are; of a dataset with a quota, inodes of any type
		FilesFree        uint64 // that can still be made: a quota's rest, or the inode ids left
	}

	// ListDatasets lists datasets above an id.
	ListDatasets struct {
		After DatasetID
		Limit int // at most ReadDirMax; 0 for that
	}
	// Datasets answers ListDatasets.
	Datasets struct {
		Datasets []Dataset
		More     bool
	}

	// ListUsage lists what users or groups own in a dataset, by id from From on: those that own something or have a
	// limit.
	ListUsage struct {
		Dataset DatasetID
		Scope   QuotaScope // QuotaUser or QuotaGroup
		From    uint32
		Limit   int // at most ReadDirMax; 0 for that
	}
	// Usages answers ListUsage.
	Usages struct {
		Usages []Usage
		More   bool
	}

	// GetPolicy asks for a policy.
	GetPolicy struct{ Policy PolicyID }
	// PolicyIs answers GetPolicy.
	PolicyIs struct{ Policy Policy }

	// GetUser asks for an S3 user by access key; KindNotFound if there is none.
	GetUser struct{ AccessKey string }
	// UserIs answers GetUser.
	UserIs struct{ User User }

	// ListVolumes lists volumes above an id.
	ListVolumes struct {
		After VolumeID
		Limit int
	}
	// Volumes answers ListVolumes.
	Volumes struct {
		Volumes []Volume
		More    bool
	}

	// GetVolume asks for a volume; KindNotFound if there is none.
	GetVolume struct{ Volume VolumeID }
	// VolumeIs answers GetVolume.
	VolumeIs struct{ Volume Volume }

	// ListBlocks lists the live blocks of a volume by shard and offset, from a place on. KindBusy for a while after an
	// upgrade from a release that did not keep them by place.
	ListBlocks struct {
		Volume VolumeID
		Shard  uint8
		From   uint64 // offset in that shard
		Limit  int    // at most BlocksMax; 0 for that
	}
	// Blocks answers ListBlocks.
	Blocks struct {
		Blocks []StoredBlock
		More   bool
	}

	// ListTasks lists maintenance work: what is under way, and what waits, the most urgent first.
	ListTasks struct{ Limit int } // at most TasksMax; 0 for that
	// Tasks answers ListTasks.
	Tasks struct {
		Tasks []TaskStatus
		More  bool
	}

	// GetDurability asks what the cluster can lose.
	GetDurability struct {
		After VolumeID
		Limit int // at most ReadDirMax; 0 for that
	}
	// Durability answers GetDurability: the volumes that are not as they should be come with what is done about it.
	Durability struct {
		Volumes []VolumeDurability
		More    bool
	}

	// GetUpkeep asks how the cluster maintains itself.
	GetUpkeep struct{}
	// UpkeepIs answers GetUpkeep.
	UpkeepIs struct{ Upkeep Upkeep }

	// ListDisks lists the servers and their disks.
	ListDisks struct{}
	// Disks answers ListDisks.
	Disks struct {
		Servers []Server
		Disks   []Disk
	}

	// GetStatus asks for the state of the cluster.
	GetStatus struct{}
	// Status answers GetStatus.
	Status struct {
		Cluster       ClusterID
		Leader        string // gRPC address
		Masters       []MasterStatus
		Servers       int
		ServersUp     int
		Disks         int
		DisksUp       int
		Volumes       int
		Files         uint64
		LogicalBytes  uint64 // sum of file sizes
		UniqueBytes   uint64 // of distinct chunks, before compression
		StoredBytes   uint64 // on all disks, parity included
		BlockBytes    uint64 // of live blocks, after compression, without parity
		Sessions      int
		Policy        Policy // of "/"
		EffectiveK    int    // what that policy gives with the servers that are up
		EffectiveM    int
		FailureDomain string // "disk", "server", "rack" or "zone"
		Health        Health
		Reasons       []string
		AppliedIndex  Index
		Incarnation   uint64 // how often the cluster was restored from a backup
	}
)

// StoredBlock is a block with what holds it alive.
type StoredBlock struct {
	Block   BlockInfo
	Dataset DatasetID
	Refs    uint64 // pieces of extents that name it
}

// VolumeDurability is what a volume can lose.
type VolumeDurability struct {
	Volume       VolumeID
	State        VolumeState
	DataShards   int
	ParityShards int
	LiveBytes    uint64
	Losses       int    // further shards that it can lose, whichever they are; negative: blocks are lost
	DomainLosses int    // further failure domains that it can lose, whichever they are
	Domain       string // which those are: "disk", "server", "rack" or "zone"
	Misplaced    bool   // a domain holds more of its shards than it should
	Doing        string // what is done about it, or why nothing can be; "" if nothing need be
	Eta          Time   // nanoseconds until that is done; 0 if it is not known
}

// Access is a set of permissions, with the bits of access(2). The zero value asks for none.
type Access uint8

// Permissions.
const (
	AccessExecute Access = 1 // of a directory: search
	AccessWrite   Access = 2
	AccessRead    Access = 4
)

// String returns the letters of ls -l for what is in the set, "" for none.
func (a Access) String() string {
	var s string
	for i, bit := range [...]Access{AccessRead, AccessWrite, AccessExecute} {
		if a&bit != 0 {
			s += "rwx"[i : i+1]
		}
	}
	return s
}

// Dataset is a dataset with what it holds.
type Dataset struct {
	ID     DatasetID
	Parent InodeID // of its root's name …
	Name   string  // … which is this; "" for RootDataset
	Root   Attr
	Usage  Usage
}

// Usage is what a dataset holds, or what a user or group owns of it.
type Usage struct {
	ID     uint32 // uid or gid; 0 for a dataset
	Bytes  uint64 // sum of file sizes; a file of several names counts once
	Inodes uint64 // of all types, a dataset's own two directories included
	Limit  Quota
}

// Range is a range of a file, in bytes.
type Range struct{ Offset, Length uint64 }

// ListItem is a key, or, when IsPrefix, a common prefix.
type ListItem struct {
	Key      string
	IsPrefix bool
	Attr     Attr
	ETag     string // the stored ETag, or ""
	Latest   bool   // with Versions: the newest version of the key
	Marker   bool   // a delete marker: of Attr, number, flags and times are set
	// Content, with List.Content, are the other attributes that describe the content, of at most ListContentMax bytes each.
	Content []Xattr
}

// ListContentMax bounds the attributes that a listing tells, in bytes of a value.
const ListContentMax = 256

// MasterStatus is one node of the Raft group.
type MasterStatus struct {
	ID      string
	Addr    string // gRPC
	Raft    string // address of its Raft node
	Leader  bool
	Voter   bool
	Up      bool
	Applied Index // the newest entry that it is known to have
	Joined  bool  // it has stored entries or voted: it must not come back empty
}

// Health is the worst that is true of any volume.
type Health uint8

// Healths.
const (
	HealthOK       Health = iota // every shard is where it should be
	HealthDegraded               // shards are missing; more than k are left
	HealthAtRisk                 // a volume has exactly k shards left
	HealthDataLoss               // a volume has fewer than k shards left
)

// String returns the word that cluster status prints.
func (h Health) String() string {
	switch h {
	case HealthOK:
		return "ok"
	case HealthDegraded:
		return "degraded"
	case HealthAtRisk:
		return "at-risk"
	case HealthDataLoss:
		return "data-loss"
	}
	return fmt.Sprintf("health %d", uint8(h))
}

// MarshalText returns String.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

func (*Lookup) query()        {}
func (*ReadDir) query()       {}
func (*List) query()          {}
func (*HasChunks) query()     {}
func (*StatFS) query()        {}
func (*GetPolicy) query()     {}
func (*GetUser) query()       {}
func (*ListVolumes) query()   {}
func (*ListDisks) query()     {}
func (*GetVolume) query()     {}
func (*ListBlocks) query()    {}
func (*ListTasks) query()     {}
func (*GetDurability) query() {}
func (*GetUpkeep) query()     {}
func (*ListDatasets) query()  {}
func (*ListUsage) query()     {}
func (*GetStatus) query()     {}

func (*Found) answer()      {}
func (*Directory) answer()  {}
func (*Listing) answer()    {}
func (*ChunksHad) answer()  {}
func (*FSStats) answer()    {}
func (*PolicyIs) answer()   {}
func (*UserIs) answer()     {}
func (*Volumes) answer()    {}
func (*Disks) answer()      {}
func (*Datasets) answer()   {}
func (*Usages) answer()     {}
func (*Status) answer()     {}
func (*VolumeIs) answer()   {}
func (*Blocks) answer()     {}
func (*Tasks) answer()      {}
func (*Durability) answer() {}
func (*UpkeepIs) answer()   {}

// AnyNodeAnswers reports whether a node that does not lead can answer a query. The others need what only the leader
// knows: how much space disks have, and what sessions have open; and keys of users are given out by the leader alone.
func AnyNodeAnswers(q Query) bool {
	switch q := q.(type) {
	case *Lookup:
		return !q.Open
	case *ReadDir, *List, *HasChunks, *GetPolicy, *ListVolumes, *GetVolume, *ListBlocks, *ListDatasets, *ListUsage, *GetUpkeep,
		*ListPathLocks, *GetChangeLog:
		return true
	}
	return false
}

// QueryRequest carries one query.
type QueryRequest struct {
	MinIndex Index
	Session  SessionID // for Lookup with Open; else it may be 0
	Cred     *Cred     // of the caller; nil: nothing is refused
	// Follower lets a node that does not lead answer (AnyNodeAnswers), from a state as new as the leader's when it was asked. It knows
	// less well than the leader which servers are up.
	Follower bool
	// Keep says that the session, which attends, will cache what a ReadDir is answered, or a Lookup of at most one name (Attend):
	// the directory's and the entries' names, and all that the answer says of inodes but where blocks lie. That there is nothing
	// by a name is kept too. What the leader has noted, it tells the session of when it changes; what it has not is answered with
	// Attendance 0, as are other queries, and those that other nodes answer.
	Keep  bool
	Query Query
}
