package granary

import (
	"encoding/hex"
	"fmt"
	"time"
)

// Version is the release of this source tree.
const Version = "0.1.0"

// DatasetID names a dataset. Only the low 24 bits are used, so that it fits in an inode id.
type DatasetID uint32

// InodeID names an inode in the whole cluster: the dataset in the top 24 bits, a counter of that
// dataset in the low 40. It is never reused. In a key it is stored big endian, so every key that
// begins with an inode id begins with its dataset.
type InodeID uint64

// Fixed inodes and datasets.
const (
	RootDataset DatasetID = 1

	// Counters of the fixed inodes of a dataset.
	inodeRoot   = 1 // the dataset's root directory
	inodeSystem = 2 // its hidden directory: uploads in progress; reachable only by id
	inodeFree   = 16

	inodeCounterBits = 40
)

// RootInode is the root directory of dataset 1, the "/" of the cluster.
const RootInode InodeID = InodeID(RootDataset)<<inodeCounterBits | inodeRoot

// BucketsInode is the directory "/buckets". A directory made in it is the root of a new dataset;
// nothing but directories can be made in it.
const BucketsInode InodeID = InodeID(RootDataset)<<inodeCounterBits | 3

// BucketsName is the name of BucketsInode in the root directory.
const BucketsName = "buckets"

// Dataset returns the dataset that the inode belongs to.
func (id InodeID) Dataset() DatasetID { return DatasetID(id >> inodeCounterBits) }

// String returns the id in decimal, as ls -i shows it.
func (id InodeID) String() string { return fmt.Sprintf("%d", uint64(id)) }

// Root returns the root directory of the dataset.
func (d DatasetID) Root() InodeID { return InodeID(d)<<inodeCounterBits | inodeRoot }

// System returns the dataset's hidden directory: the home of uploads in progress. No dentry leads
// to it.
func (d DatasetID) System() InodeID { return InodeID(d)<<inodeCounterBits | inodeSystem }

// Inode returns the inode id with the given counter in the dataset.
func (d DatasetID) Inode(counter uint64) InodeID {
	return InodeID(d)<<inodeCounterBits | InodeID(counter)
}

// InodeCounterFirst is the first counter that a dataset gives to an ordinary inode.
const InodeCounterFirst uint64 = inodeFree

// Identifiers. Zero is "none" for all of them.
type (
	// BlockID names a stored block, in commit order.
	BlockID uint64
	// VolumeID names a volume.
	VolumeID uint64
	// SessionID is the Raft index of the entry that opened the session.
	SessionID uint64
	// Epoch counts the changes of who may append to a volume; it starts at 1.
	Epoch uint64
	// FencingToken is the Raft index of the grant of a lock.
	FencingToken uint64
	// Index is a Raft log index; as a version, that of the entry that last changed a value.
	Index uint64
	// PolicyID names an interned Policy; 1 is the default policy.
	PolicyID uint32

	// ClusterID, ServerID and DiskID are 32 lower-case hexadecimal digits, made at random when the
	// thing is first formatted.
	ClusterID string
	ServerID  string
	DiskID    string
)

// Hash is the BLAKE3-256 of a chunk's plaintext.
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Time is nanoseconds since the Unix epoch, UTC. The leader stamps it; see DESIGN.md section 5.
type Time int64

// TimeOf converts a time.Time.
func TimeOf(t time.Time) Time { return Time(t.UnixNano()) }

// Std converts to a time.Time.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)) }

// Hard limits. They bound what one entry, one reply or one buffer can hold.
const (
	NameLengthMax    = 255            // bytes of one path component
	PathLengthMax    = 4096           // bytes of a path
	PathDepthMax     = 1024           // components; also bounds the cycle check of rename
	XattrNameMax     = 255            // bytes
	XattrValueMax    = 64 << 10       // bytes
	SymlinkMax       = 4095           // bytes of a symlink's target
	FileSizeMax      = 64 << 40       // bytes
	InlineSizeMax    = 16 << 10       // bytes; a policy's inline limit is at most this
	ChunkSizeMax     = 4 << 20        // bytes of plaintext
	ExtentWindowSize = 16 << 20       // bytes of a file whose extents share one value
	WindowExtentsMax = 64             // extents of a window; one with more is written anew, in fewer, when it is left alone
	EntrySizeMax     = 512 << 10      // bytes of one Raft entry
	CommitChunksMax  = 1024           // chunks in one Content
	RequestsMax      = 256            // requests in one Mutate call
	PartsMax         = 10000          // parts of one Assemble
	ClassLengthMax   = 32             // bytes of a disk's class
	MovesMax         = 256            // blocks of one MoveBlocks
	BlocksMax        = 1000           // blocks in one answer
	TasksMax         = 1000           // tasks in one answer
	TaskWindowsMax   = 64             // windows of one TaskRewrite
	DamagedMax       = 1000           // damaged shards in one heartbeat
	UnackedMax       = 1 << 18        // sequences of a session from its lowest unacknowledged one on
	DataShardsMax    = 16             // k
	ParityShardsMax  = 4              // m
	RowAlignment     = 4096           // watermarks are multiples of this
	ShardSizeMax     = 1 << 40        // bytes of a shard's stream: no watermark is beyond
	ReadDirMax       = 4096           // entries in one ReadDir reply
	ListMax          = 1000           // keys in one List reply
	HasChunksMax     = 4096           // hashes in one HasChunks query
	CopyRangeMax     = int64(1) << 30 // bytes moved by reference in one CopyRange
	OffsetEnd        = ^uint64(0)     // the end of a file, where an op knows it as an offset
)
