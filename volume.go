package granary

import "fmt"

// VolumeState is a step of a volume's life. The values are stored.
type VolumeState uint8

// States of a volume.
const (
	VolumeOpen    VolumeState = iota + 1 // a session appends to it
	VolumeSealing                        // nobody may append; shard servers are being told
	VolumeSealed                         // every shard server has trimmed and sealed its shard
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
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ShardPlace says which disk holds a shard and how to reach it.
type ShardPlace struct {
	Disk   DiskID
	Server ServerID
	Addr   string // HOST:PORT of the server's block service; "" if the server is not known
	Up     bool   // the leader heard from the server lately
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
}

// DiskUsage is a disk as its server sees it.
type DiskUsage struct {
	Disk     DiskID
	Path     string
	Total    uint64 // bytes of the file system
	Free     uint64 // bytes that may still be written, reserve deducted
	Used     uint64 // bytes that shards take
	Shards   int
	ReadOnly string // why nothing may be written, or ""
}

// Disk is a disk as the master knows it.
type Disk struct {
	ID     DiskID
	Server ServerID
	Usage  DiskUsage // the last that was reported
	Up     bool
}

// Server is a volume server as the master knows it.
type Server struct {
	ID     ServerID
	Addr   string // HOST:PORT of its block service
	Zone   string
	Rack   string
	Up     bool
	Disks  []DiskID
	SeenAt Time // last heartbeat, by the leader's clock; 0 if none since it leads
}
