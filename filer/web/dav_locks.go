package web

import (
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// davLocks are path locks as webdav.Handler sees locks.
type davLocks struct{ d *davRequest }

// Create implements webdav.LockSystem. The handler asks for a lock of its own for every change that comes without a token: none is taken, for the
// store refuses the change if another's lock is in its way.
func (l davLocks) Create(_ time.Time, details webdav.LockDetails) (string, error) {
	q := l.d.q
	if q.r.Method != "LOCK" {
		return "", nil
	}
	ctx := q.r.Context()
	clean, err := l.d.clean(details.Root)
	if err != nil {
		return "", l.d.fail("lock", details.Root, err)
	}
	info, err := q.h.store.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true})
	if granary.IsKind(err, granary.KindNotFound) {
		err = q.parentThere(clean)
	}
	if err != nil {
		return "", l.d.refuse(err)
	}
	subtree := info != nil && info.Attr.IsDir() && !details.ZeroDepth
	at, err := q.h.locks.LockPath(ctx, granary.RootInode, clean, subtree)
	if err != nil {
		return "", l.d.refuse(err)
	}
	owner := davOwner(details.OwnerXML)
	g, err := q.h.locks.AcquirePaths(ctx, q.cred, granary.AcquirePaths{
		Paths: []granary.LockPath{at}, Exclusive: true, Mandatory: true, TTL: granary.Time(details.Duration),
		Owner: cutText(owner, granary.LockOwnerMax), Note: cutText(owner, granary.LockNoteMax),
	})
	if granary.IsKind(err, granary.KindWouldBlock) {
		return "", webdav.ErrLocked
	}
	if err != nil {
		return "", l.d.refuse(err)
	}
	l.d.granted = append(l.d.granted, g.Token)
	return lockURN + strconv.FormatUint(uint64(g.Token), 10), nil
}

// refuse notes an error that is to be told with its own status.
func (d *davRequest) refuse(err error) error {
	if d.err == nil {
		d.err = err
	}
	return err
}

// davOwner returns the text of what a client says of a lock's owner.
func davOwner(ownerXML string) string {
	var text strings.Builder
	text.WriteString("WebDAV ")
	for d := xml.NewDecoder(strings.NewReader(ownerXML)); ; {
		token, err := d.RawToken()
		if err != nil {
			break // the handler has parsed it: this is the end
		}
		if chars, is := token.(xml.CharData); is {
			text.Write(chars)
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(text.String(), "\uFFFD"))
}

// cutText returns as much of a text as has room in so many bytes.
func cutText(text string, room int) string {
	if len(text) <= room {
		return text
	}
	return strings.ToValidUTF8(text[:room], "")
}

// held returns a lock by a token of the handler's.
func (l davLocks) held(token string) (*granary.PathLock, error) {
	text, ours := strings.CutPrefix(token, lockURN)
	n, err := strconv.ParseUint(text, 10, 64)
	if !ours || err != nil || n == 0 {
		return nil, granary.Errorf(granary.KindNotFound, "lock", token, "it is no token of a lock")
	}
	return l.d.q.lockOf(granary.FencingToken(n))
}

// Refresh implements webdav.LockSystem.
func (l davLocks) Refresh(_ time.Time, token string, duration time.Duration) (webdav.LockDetails, error) {
	q := l.d.q
	lock, err := l.held(token)
	if err == nil {
		_, err = q.h.locks.RenewPaths(q.r.Context(), q.cred, lock.Token, duration, time.Duration(lock.TTL))
	}
	if granary.IsKind(err, granary.KindNotFound) || granary.IsKind(err, granary.KindFenced) {
		return webdav.LockDetails{}, webdav.ErrNoSuchLock
	}
	if err != nil {
		return webdav.LockDetails{}, l.d.refuse(err)
	}
	var owner strings.Builder
	if err := xml.EscapeText(&owner, []byte(strings.TrimPrefix(lock.Note, "WebDAV "))); err != nil {
		return webdav.LockDetails{}, l.d.refuse(err)
	}
	return webdav.LockDetails{Root: lock.Paths[0].Path, Duration: duration, OwnerXML: owner.String(), ZeroDepth: !lock.Paths[0].Subtree}, nil
}

// Unlock implements webdav.LockSystem.
func (l davLocks) Unlock(_ time.Time, token string) error {
	if token == "" { // what Create did not take
		return nil
	}
	q := l.d.q
	lock, err := l.held(token)
	if err == nil {
		err = q.h.locks.ReleasePaths(q.r.Context(), q.cred, granary.ReleasePaths{Token: lock.Token})
	}
	if granary.IsKind(err, granary.KindNotFound) {
		return webdav.ErrNoSuchLock
	}
	if err != nil {
		return l.d.refuse(err)
	}
	return nil
}

// Confirm implements webdav.LockSystem: all conditions must hold. That what is changed is not another's is the store's to see to.
func (l davLocks) Confirm(_ time.Time, name0, name1 string, conditions ...webdav.Condition) (func(), error) {
	for _, c := range conditions {
		holds, err := l.condition(name0, name1, &c)
		if err != nil {
			return nil, l.d.refuse(err)
		}
		if holds == c.Not {
			return nil, webdav.ErrConfirmationFailed
		}
	}
	return func() {}, nil
}

func (l davLocks) condition(name0, name1 string, c *webdav.Condition) (bool, error) {
	if c.ETag != "" {
		info, err := davFS{l.d}.stat(l.d.q.r.Context(), name0)
		if err != nil {
			return false, nil // without a file there is none; what else it may be is noted
		}
		etag, err := info.ETag(l.d.q.r.Context())
		return etag == c.ETag, err
	}
	lock, err := l.held(c.Token)
	if granary.IsKind(err, granary.KindNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return name0 != "" && concerns(lock, strings.TrimSuffix(name0, "/")) || name1 != "" && concerns(lock, strings.TrimSuffix(name1, "/")), nil
}
