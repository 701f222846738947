package granary

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what went wrong, for programs. The list is append-only: kinds travel on the wire and
// lie in the stored results of requests.
type Kind uint8

// Kinds of errors.
const (
	KindNone          Kind = iota
	KindNotFound           // no such file, bucket, volume, block …
	KindExists             // the name is taken
	KindNotDir             // a component is not a directory
	KindIsDir              // the operation needs something other than a directory
	KindNotEmpty           // the directory has entries
	KindPermission         // not allowed to this caller
	KindStale              // the epoch, token, handle or version is no longer the newest
	KindBusy               // in use; try again later
	KindUnavailable        // nobody there to answer, or not the leader; nothing happened
	KindIndeterminate      // may have happened; retry only with the same request id
	KindNoSpace            // no disks to place data on, or all full; the text says which
	KindQuota              // over a quota
	KindCorrupt            // bytes failed verification and could not be reconstructed
	KindInvalid            // the request itself is wrong
	KindTooLarge           // over a hard limit
	KindCanceled           // the caller gave up
	KindInternal           // a bug
	KindCrossDataset       // EXDEV
	KindPrecondition       // an if-match condition failed
	KindNotSupported       // not implemented
	KindExpired            // the session is gone: its requests must not be retried
	KindMissingChunks      // chunks referenced by hash are gone; Result.Missing names them
	KindLoop               // ELOOP: too many symbolic links, or a directory moved into itself is KindInvalid
	KindNameTooLong        // ENAMETOOLONG
	KindNoData             // ENODATA: no such xattr
	KindFileTooLarge       // EFBIG
	KindTooManyLinks       // EMLINK
	KindNotOwner           // EPERM: as opposed to KindPermission, EACCES
	KindWouldBlock         // EAGAIN: a lock is another's
	KindDeadlock           // EDEADLK: owners would wait for each other
	KindDelegated          // another session holds a directory: wait for it (AwaitReturn), and ask again
	KindLocked             // a mandatory lock is another's
	KindFenced             // a lock whose token the request carries is not held any more, or another's is newer
)

var kindNames = [...]string{
	"none", "not found", "exists", "not a directory", "is a directory", "not empty",
	"permission denied", "stale", "busy", "unavailable", "indeterminate", "no space",
	"quota exceeded", "corrupt", "invalid", "too large", "canceled", "internal",
	"cross-dataset", "precondition failed", "not implemented", "session expired",
	"missing chunks", "too many symbolic links", "name too long", "no such attribute",
	"file too large", "too many links", "operation not permitted",
	"would block", "deadlock", "delegated", "locked", "fenced off",
}

// String returns the kind in words, as an error's text shows it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is the one error type that crosses a boundary between Granary's parts.
type Error struct {
	Op      string // what was being done, such as "create" or "volume.append"
	Subject string // on what: a path, an inode, a volume, a disk
	Kind    Kind
	Err     error // the cause, if there is more to say
}

// Error returns "op subject: kind: cause".
func (e *Error) Error() string {
	s := e.Op
	if e.Subject != "" {
		s += " " + e.Subject
	}
	if s != "" {
		s += ": "
	}
	s += e.Kind.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose cause is the formatted text. The format may be empty for none, and may
// wrap with %w.
func Errorf(kind Kind, op, subject, format string, args ...any) *Error {
	e := &Error{Op: op, Subject: subject, Kind: kind}
	if format != "" {
		e.Err = fmt.Errorf(format, args...)
	}
	return e
}

// KindOf returns the kind of the outermost Error in err's chain: KindNone for nil, KindCanceled for
// the errors of a done context, KindInternal for an error of another type.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return KindNone
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return KindCanceled
	default:
		return KindInternal
	}
}

// IsKind reports whether err's kind is k.
func IsKind(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// NotLeader is the cause of a KindUnavailable error from a master that does not lead. Leader is the
// gRPC address of the one that does, or "".
type NotLeader struct{ Leader string }

// Error names the leader.
func (e *NotLeader) Error() string {
	if e.Leader == "" {
		return "not the leader, and no leader is known"
	}
	return "not the leader: ask " + e.Leader
}
