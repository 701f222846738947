package granary

import (
	"fmt"
	"strconv"
	"strings"
)

// The change log: what was changed of names, files and attributes is kept for a time, in the order in which it was committed, so
// that who wants to know of changes need not look for them. It is part of the replicated state.

// ChangeKind says what was changed. The list is append-only: kinds are stored.
type ChangeKind uint8

// Kinds of changes.
const (
	ChangeCreate        ChangeKind = iota + 1 // an inode got its first name
	ChangeWrite                               // the content of a file changed, or its size
	ChangeAttr                                // mode, owner, times or policy changed
	ChangeXattr                               // the extended attribute Attribute was set or removed
	ChangeUnlink                              // a name that is no directory's was removed
	ChangeRmdir                               // an empty directory was removed
	ChangeRename                              // from OldPath to Path; with Exchanged, what was there went the other way
	ChangeLink                                // an inode got a further name
	ChangeRemoveTree                          // a directory was removed with all that is below: of that nothing else is told
	ChangeDeleteMarker                        // a delete marker is the newest version of an object: Version is its number
	ChangeRemoveVersion                       // the version Version of an object, or a delete marker, was removed for good
	ChangeRestore                             // an earlier version of an object became the newest again, because what came after it was removed
	ChangeMark                                // a directory became the object "name/" too
	ChangeUnmark                              // … and is it no more
)

var changeKindNames = [...]string{"", "create", "write", "attr", "xattr", "unlink", "rmdir", "rename", "link", "remove-tree",
	"delete-marker", "remove-version", "restore", "mark", "unmark"}

// String returns the word by which commands and HTTP know the kind.
func (k ChangeKind) String() string {
	if k > 0 && int(k) < len(changeKindNames) {
		return changeKindNames[k]
	}
	return fmt.Sprintf("change %d", uint8(k))
}

// MarshalText returns String.
func (k ChangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Position is a place between two changes of the one history: entries before Index are passed, and of that one the first Seen changes.
// Positions are ordered, and hold for as long as the log keeps what follows them.
type Position struct {
	Index Index
	Seen  uint32
}

// Before reports whether p comes before o.
func (p Position) Before(o Position) bool {
	return p.Index < o.Index || p.Index == o.Index && p.Seen < o.Seen
}

// String returns "INDEX.SEEN".
func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Index, p.Seen) }

// MarshalText returns String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePosition.
func (p *Position) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePosition(string(text))
	return err
}

// ParsePosition reads what String returns, or an index alone: the first change of that entry or of one after it.
func ParsePosition(s string) (Position, error) {
	index, seen, both := strings.Cut(s, ".")
	p := Position{}
	n, err := strconv.ParseUint(index, 10, 64)
	if err == nil && both {
		var m uint64
		m, err = strconv.ParseUint(seen, 10, 32)
		p.Seen = uint32(m)
	}
	if err != nil {
		return Position{}, Errorf(KindInvalid, "position", s, "an index of the log, or INDEX.NUMBER, is expected")
	}
	p.Index = Index(n)
	return p, nil
}

// Event is one change, as the change log tells it. Which fields are set beyond At, Kind, Time and UID, the kind says.
//
// Paths are what directories are called now, or were when they were removed, and end in the name that the change was about. A change of
// content or attributes is of an inode: it is told under the name that the inode got last, as it is now, or was when it was removed.
// The name is found when the log is read, and in a directory of many thousand names sometimes is not: then Path is
// that of the directory, and ends in "/". Path is "" if not even the directory is known: of a file that has several names, and lost
// the one that it got last.
type Event struct {
	At      Position // after the change: who goes on from here sees neither it nor what was before
	Kind    ChangeKind
	Time    Time // of the entry
	UID     uint32
	Path    string
	OldPath string // of a rename

	Inode     InodeID // 0: of a delete marker that hides nothing
	Type      FileType
	Parent    InodeID // the directory
	Name      string  // in Parent, as the key of an object has it; "" for changes of inodes
	OldParent InodeID
	OldName   string

	Size      uint64 // of a regular file that was made, linked or written
	ETag      string // if the change set it
	Version   ObjectVersion
	Attribute string // its name
	Replaced  bool   // something had the name before
	Exchanged bool
	Implicit  bool // a directory that was made, or removed, because of what is or was in it
	Origin    Origin
}

type (
	// Watch asks for the changes of an inode, and if it is a directory, of all below, from a position on and in the order of their
	// commits. If there are none yet it is answered when there are, or after Wait. It needs permission to read a directory and
	// to search it, or to read a file. What is below a directory is decided when it is asked: changes of a directory that was moved
	// here are among them, also older ones, and those of one that was moved away are not. A rename is, if either end is.
	//
	// What a session holds (TakeDelegation) is told when the session has told it, within about a second.
	//
	// The leader answers. A Watch that begins after a change was acknowledged sees it, from any position before.
	Watch struct {
		Inode InodeID
		From  Position
		Start WatchStart
		Limit int  // of changes; at most WatchMax; 0 for that
		Wait  Time // at most WatchWaitMax
	}
	// Changes answers Watch. Its work is bounded: there may be no changes although the time to wait is not over, and then Next is
	// further on.
	Changes struct {
		Changes []Event
		Next    Position // From of the next call
		More    bool     // there is more to look through now
		// Behind says that the log does not keep all from From on, but from Oldest: what was between is lost to the asker. Nothing
		// else is answered then.
		Behind bool
		Oldest Position
		// Removed says that the inode is no more, and that nothing follows.
		Removed bool
	}

	// SetChangeLog says how long, and up to how many bytes, changes are kept; a Keep of 0 that none are. Only the superuser may.
	SetChangeLog struct{ Settings ChangeLog }
	// GetChangeLog asks for it.
	GetChangeLog struct{}
	// ChangeLogIs answers GetChangeLog.
	ChangeLogIs struct {
		Settings ChangeLog
		Oldest   Position // the first that is kept
		Bytes    uint64   // that are kept
	}
)

// WatchStart says where a Watch begins.
type WatchStart uint8

// Starts.
const (
	WatchFrom   WatchStart = iota // at From
	WatchOldest                   // at the oldest change that is kept
	WatchNow                      // with what comes after now; the answer is at once
)

// ChangeLog is how long changes are kept.
type ChangeLog struct {
	Keep     Time   // 0: there is no log
	MaxBytes uint64 // the oldest go before their time when there are more
}

// Limits of the change log.
const (
	WatchMax            = 1000              // changes in one answer, but for those of its last entry
	WatchWaitMax        = 20 * Time(1e9)    // of one call
	changeLogBytesMin   = 1 << 20           // or a single entry would not fit
	changeLogKeepMax    = 365 * 86400 * 1e9 // a year
	changeLogKeepNormal = 3600 * Time(1e9)
)

// DefaultChangeLog is that of a new cluster.
func DefaultChangeLog() ChangeLog { return ChangeLog{Keep: changeLogKeepNormal, MaxBytes: 256 << 20} }

// Validate refuses what makes no sense.
func (c ChangeLog) Validate() error {
	switch {
	case c.Keep < 0 || c.Keep > changeLogKeepMax:
		return Errorf(KindInvalid, "change log", "", "changes are kept for up to a year")
	case c.Keep > 0 && c.MaxBytes < changeLogBytesMin:
		return Errorf(KindInvalid, "change log", "", "%d bytes at least", changeLogBytesMin)
	}
	return nil
}

// Behind is the cause of an error of KindStale: the change log does not keep what was asked for any more, but what is from Oldest on.
type Behind struct{ Oldest Position }

// Error says so.
func (b *Behind) Error() string {
	return fmt.Sprintf("fell behind: changes are kept from %s on", b.Oldest)
}

func (*SetChangeLog) op() {}

func (*Watch) query()        {}
func (*GetChangeLog) query() {}

func (*Changes) answer()     {}
func (*ChangeLogIs) answer() {}
