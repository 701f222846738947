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

// Heartbeat is what a volume server tells the leader, every second and when something changes.
type Heartbeat struct {
	Server   ServerID
	Cluster  ClusterID // "" if its disks belong to no cluster yet
	Addr     string
	Zone     string
	Rack     string
	Disks    []DiskUsage
	Poisoned []ShardInfo // shards that must not be appended to
}

// HeartbeatReply tells the volume server which cluster it belongs to.
type HeartbeatReply struct {
	Cluster ClusterID
	Leader  bool // false: this master does not lead; heartbeats go to all masters
}

// ETagOf returns the ETag of a file, unquoted: the stored one, or one made of the inode and its
// content's version, which changes whenever the content does. The suffix tells S3 clients, as that of
// a multipart upload does, that it is no MD5 to check the content against.
func ETagOf(a *Attr, stored string) string {
	if stored != "" {
		return stored
	}
	return fmt.Sprintf("%016x%016x-1", uint64(a.Inode), uint64(a.ContentVersion))
}

// XattrETag is where S3 keeps the ETag of an object, unquoted.
const XattrETag = XattrContentPrefix + "etag"
