package granary

import "fmt"

// VolumeState is a step of a volume's life. The values are stored.
type VolumeState uint8

// States of a volume.
const (
	VolumeOpen     VolumeState = iota + 1 // a session appends to it
	VolumeSealing                         // nobody may append; shard servers are being told
	VolumeSealed                          // every shard server has trimmed and sealed its shard
	VolumeDropping                        // no live block is left in it: after a while its shards are dropped, and it is forgotten
)

// String returns the state in a word.
func (s VolumeState) String() string {
	switch s {
	case VolumeOpen:
		return "open"
	case VolumeSealing:
		return "sealing"
	case VolumeSealed:
		return "sealed"
	case VolumeDropping:
		return "dropping"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ShardPlace says which disk holds a shard and how to reach it.
type ShardPlace struct {
	Disk   DiskID
	Server ServerID
	Addr   string // HOST:PORT of the server's block service; "" if the server is not known
	Up     bool   // the leader heard from the server lately, which showed the disk, and the shard is not Lost
	Lost   bool   // its bytes are gone or damaged: it is to be rebuilt
	Sealed bool   // its server has sealed it
	// Target is the disk that a task is making a whole copy of the shard on; "" for none.
	Target DiskID
}

// Volume is k+m shards on k+m disks.
type Volume struct {
	ID           VolumeID
	Epoch        Epoch
	State        VolumeState
	DataShards   int
	ParityShards int
	Owner        SessionID // who may append; 0 when sealed
	Watermark    uint64    // committed bytes of each shard's stream
	LiveBytes    uint64    // of blocks still referenced, as on disk
	DeadBytes    uint64    // of blocks no longer referenced
	Shards       []ShardPlace
	Policy       PolicyID // under which it was opened
	Auto         bool     // … and that left k and m to the cluster
	OpenedAt     Time
	SealedAt     Time     // when it left VolumeOpen; 0 if it has not
	DroppingAt   Time     // when it became VolumeDropping
	Moving       bool     // it was asked for (MoveVolume) that its blocks be stored anew in others
	Ends         []uint64 // of each data shard: where its last committed block ends; its file is no shorter
}

// Redundancy returns how many more shards the volume can lose before it loses data: negative if it has.
func (v *Volume) Redundancy() int {
	left := -v.DataShards
	for i := range v.Shards {
		if v.Shards[i].Up {
			left++
		}
	}
	return left
}

// StoredBytes returns what the volume takes on all its disks, of the rows that are committed: data shards hold their blocks
// and no more, parity shards are as long as the volume.
func (v *Volume) StoredBytes() uint64 {
	return v.LiveBytes + v.DeadBytes + uint64(v.ParityShards)*v.Watermark
}

// Overhead returns how many times more than a volume of full rows without dead blocks it takes: 1 is ideal, 0 says that
// nothing in it is alive.
func (v *Volume) Overhead() float64 {
	if v.LiveBytes == 0 {
		return 0
	}
	ideal := float64(v.LiveBytes) * float64(v.DataShards+v.ParityShards) / float64(v.DataShards)
	return float64(v.StoredBytes()) / ideal
}

// ShardRef names one shard on one disk.
type ShardRef struct {
	Disk   DiskID
	Volume VolumeID
	Shard  uint8
}

// String returns "volume.shard@disk".
func (r ShardRef) String() string { return fmt.Sprintf("%d.%d@%s", r.Volume, r.Shard, r.Disk) }

// Append asks a shard server to add bytes to a shard, and to answer when they are on the disk.
//
// The shard is created if Prev is 0 and it does not exist. Prev must equal the shard's length: the
// end of its last append. Offset is at least Prev; the gap is a hole that reads as zeros. A repeat
// of the last append, byte for byte, is acknowledged again. Anything else is KindStale (epoch) or
// KindInvalid (offsets), and changes nothing.
type Append struct {
	Ref          ShardRef
	Epoch        Epoch
	DataShards   int // of the volume: recorded when the shard is created, checked afterwards
	ParityShards int
	Prev         uint64
	Offset       uint64
	CRC32C       uint32 // Castagnoli, of Data
	Data         []byte

	// Pieces are the CRC32C of what of Data lies in each piece of the stream, which is cut every 64 KiB, or nil. Who gives them leaves Data alone for
	// good if the append fails: a server on the same machine may still read them. If the volume has parity the server does not look at Data again, then.
	Pieces []uint32
}

// ShardInfo is a shard as its server sees it.
type ShardInfo struct {
	Ref          ShardRef
	Epoch        Epoch // highest seen
	DataShards   int
	ParityShards int
	Length       uint64 // bytes of the stream: the end of the last append, or of the seal
	Allocated    uint64 // bytes that the file takes on the disk
	Sealed       bool
	Poisoned     string // why nothing may be appended any more (a failed sync), or ""
	Damaged      string // why its bytes cannot be relied on (what a scrub found, or an unreadable head), or ""
	Created      Time   // of the file: tells it from another of the same name, before or after
}

// Build announces a whole shard that is to be made on a disk: sealed from the start, as one made anew by Append and Seal
// would be. It takes the place of a shard of the same name when, and only when, it is complete and durable.
type Build struct {
	Ref          ShardRef
	Epoch        Epoch // of the volume; one below that of a shard that is there is KindStale
	DataShards   int
	ParityShards int
	Length       uint64 // bytes of the stream
}

// Seal asks a shard server to cut a shard at the volume's committed watermark, and to seal it. A data shard that is shorter
// than Length is made longer, by a hole. One that is shorter than End has lost bytes, and so has one that does not exist
// although End is not 0: then it is KindCorrupt, and nothing is changed.
type Seal struct {
	Ref          ShardRef
	Epoch        Epoch
	DataShards   int
	ParityShards int
	Length       uint64 // of the stream
	End          uint64 // the file must reach up to here: of a data shard Volume.Ends, of a parity shard the end of the last row but padding
}

// SumShard asks a shard server for the sums of a sealed shard.
type SumShard struct {
	Ref    ShardRef
	Length uint64 // of the stream, from its beginning: no longer than it was sealed
	Blocks bool   // it is a data shard: its blocks are to be verified
}

// ShardSums says in short what the bytes of a sealed shard are. The sums of the k+m shards of a volume fit together as the shards do
// (erasure.Summer).
type ShardSums struct {
	Sums []byte   `json:"sums"`
	Bad  []uint32 `json:"bad,omitempty"` // if blocks were to be verified: the pieces, of erasure.SumPiece bytes, with bytes that are no sound block's and no gap's
}
