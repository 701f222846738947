package granary

import "fmt"

// OpenSession asks the leader for a session.
type OpenSession struct {
	Client string // "filer", "mount", "cli", and where it runs: for people
	// Nonce is random and makes a retry of OpenSession return the same session.
	Nonce uint64
}

// SessionInfo is a session just opened.
type SessionInfo struct {
	Session SessionID
	Cluster ClusterID
	TTL     Time // nanoseconds: keep alive at least every third of it
}

// KeepAlive renews a session, and tells the leader which files the session has open: an inode without a name is
// reclaimed only when no session has it open. Queries and mutations that open a file (Open) have told it already.
//
// The leader keeps this in its memory. To a leader that is new, which the Term of its reply shows, the session
// reports all that it has open once more; until all sessions have, nothing without a name is reclaimed.
type KeepAlive struct {
	Session SessionID
	// Report numbers the reports of a session, from 1, in the order in which they are to be taken; a repetition has the
	// same number. While one is under way, the session opens nothing. 0: nothing is reported.
	Report uint64
	Term   uint64 // of the leader that is reported to: the Term of its last reply; another ignores the report
	All    bool   // Opened is all that the session has open
	Opened []InodeID
	Closed []InodeID // not open any more
	// Attendance is the session's when the report was begun, 0 for none. What the session opens under it later, without telling
	// (Attend.Opens), is not in the report.
	Attendance uint64
}

// KeepAliveReply answers KeepAlive.
type KeepAliveReply struct {
	Term    uint64
	Masters []string // gRPC addresses of all masters
}

// MasterIdentity is what a master says about itself to who reaches its address.
type MasterIdentity struct {
	ID       string
	GRPCAddr string
	RaftAddr string
	Cluster  ClusterID // "" while it belongs to none
	Term     uint64    // of Raft: the highest that it has seen
	Empty    bool      // it has no Raft state: it waits to be added
}

// MemberAction is a change of the Raft group.
type MemberAction uint8

// Member actions.
const (
	MemberAdd    MemberAction = iota + 1 // of a master that waits to be added; done when it votes
	MemberRemove                         // for good: its directory is of no more use
	MemberLead                           // hand the leadership to it; ID "" for whoever is best
)

// MemberChange asks the leader to change the Raft group.
type MemberChange struct {
	Action   MemberAction
	ID       string // of the node; for MemberAdd "" for that of who answers at GRPCAddr
	GRPCAddr string // for MemberAdd
}

// ReadBackup asks for a piece of a backup. The backup is of one state, which the node keeps while it is being
// read: so a broken read goes on where it ended, at the same node.
type ReadBackup struct {
	ID     string // of the backup; "" begins one
	Offset int64
}

// BackupPiece answers ReadBackup.
type BackupPiece struct {
	ID      string
	Cluster ClusterID
	Index   Index  // of the state
	Size    int64  // bytes of the whole
	Data    []byte // from Offset on; empty at the end
}

// Heartbeat is what a volume server tells the leader, every second and when something changes.
type Heartbeat struct {
	Server   ServerID
	Cluster  ClusterID // "" if its disks belong to no cluster yet
	Addr     string
	Zone     string
	Rack     string
	Disks    []DiskUsage
	Poisoned []ShardInfo // shards that must not be appended to
	Damaged  []ShardInfo // shards of which bytes are lost; at most DamagedMax, the others when these are mended
}

// HeartbeatReply tells the volume server which cluster it belongs to.
type HeartbeatReply struct {
	Cluster ClusterID
	Leader  bool     // false: this master does not lead; heartbeats go to all masters
	Masters []string // gRPC addresses of all masters; none before there is a cluster
}

// ETagOf returns the ETag of a file, unquoted: the stored one, or one made of the inode and its
// content's version, which changes whenever the content does. The suffix tells S3 clients, as that of
// a multipart upload does, that it is no MD5 to check the content against. That of a directory, as an object, is of no bytes.
func ETagOf(a *Attr, stored string) string {
	switch {
	case stored != "":
		return stored
	case a.IsDir():
		return ETagEmpty
	}
	return fmt.Sprintf("%016x%016x-1", uint64(a.Inode), uint64(a.ContentVersion))
}

// ETagEmpty is the ETag of no bytes.
const ETagEmpty = "d41d8cd98f00b204e9800998ecf8427e"

// XattrETag is where S3 keeps the ETag of an object, unquoted.
const XattrETag = XattrContentPrefix + "etag"
