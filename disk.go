package granary

import "fmt"

// DiskState is what the cluster does with a disk. The values are stored.
type DiskState uint8

// States of a disk.
const (
	DiskActive   DiskState = iota + 1 // takes new volumes
	DiskSuspect                       // it failed, or is much slower than its peers: takes nothing new, and its shards are moved away
	DiskDraining                      // somebody wants it out: as DiskSuspect
	DiskRetired                       // it holds nothing and takes nothing: it can be removed
	DiskLost                          // it is not coming back: its shards count as lost, wherever it is
)

// String returns the state in a word.
func (s DiskState) String() string {
	switch s {
	case DiskActive:
		return "active"
	case DiskSuspect:
		return "suspect"
	case DiskDraining:
		return "draining"
	case DiskRetired:
		return "retired"
	case DiskLost:
		return "lost"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText returns String.
func (s DiskState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Emptying reports whether the shards on such a disk are to be had elsewhere.
func (s DiskState) Emptying() bool { return s == DiskSuspect || s == DiskDraining || s == DiskLost }

// DiskUsage is a disk as its server sees it.
type DiskUsage struct {
	Disk     DiskID
	Path     string
	Total    uint64 // bytes of the file system
	Free     uint64 // bytes that may still be written, reserve deducted
	Used     uint64 // bytes that shards take
	Shards   int
	ReadOnly string // why nothing may be written, or ""
	Failing  string // why the disk should be emptied (an error of the device, much slower than others), or ""
	Class    string // medium, as the server was told: "ssd", "hdd" or any word; "" if it was not
	Scrub    Scrub
}

// Scrub is how far the verification of all bytes of a disk is.
type Scrub struct {
	Began    Time   // of the pass under way, or of the last one; 0 if there was none
	Ended    Time   // of the last whole pass; 0 if there was none
	Bytes    uint64 // verified in the pass under way …
	Total    uint64 // … of so many; 0 when none is under way
	Findings uint64 // damaged shards found since the disk was formatted
}

// Disk is a disk as the master knows it.
type Disk struct {
	ID      DiskID
	Server  ServerID
	Usage   DiskUsage // the last that was reported
	Up      bool      // its server was heard lately, and showed it
	State   DiskState
	Reason  string // for the state, or ""
	Class   string // the label given by command, else that of the server
	Since   Time   // of the state
	Volumes int    // that have a shard on it
	Bytes   uint64 // of those shards, by what is committed
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
