package master

import (
	"fmt"
	"strings"

	"github.com/dsorchard/granary"
)

// namesLookedThrough bounds the names among which a listing of path locks looks for those of the directories that they are in.
const namesLookedThrough = 100_000

// listPathLocks lists path locks, or the one that has a token.
func (v *view) listPathLocks(q *granary.ListPathLocks) (granary.Answer, error) {
	limit := q.Limit
	if limit <= 0 || limit > granary.PathLocksInPage {
		limit = granary.PathLocksInPage
	}
	a := &granary.PathLocks{}
	names := pathNames{v: v, left: namesLookedThrough, known: map[granary.InodeID]string{granary.RootInode: "/"}}
	lower := key(tablePathLock, uint64(q.After)+1)
	err := v.scan(lower, keyEnd(key(tablePathLock)), func(k, b []byte) (bool, error) {
		l, err := unmarshal[pathLock](b)
		if err != nil {
			return false, errStore(k, err)
		}
		if q.Token != 0 && l.Token != q.Token {
			return true, nil
		}
		if len(a.Locks) == limit {
			a.More = true
			return false, nil
		}
		l.ID = granary.LockID(keyID(k, 0))
		listed, err := names.describe(l)
		a.Locks = append(a.Locks, listed)
		return err == nil && q.Token == 0, err
	})
	if err == nil && q.Token != 0 && len(a.Locks) == 0 {
		err = granary.Errorf(granary.KindNotFound, "get lock", "", "no lock with token %d is held", q.Token)
	}
	return a, err
}

// pathNames finds the names of directories.
type pathNames struct {
	v     *view
	left  int
	known map[granary.InodeID]string // "": not found
}

func (n *pathNames) describe(l *pathLock) (granary.PathLock, error) {
	d := granary.PathLock{
		ID: l.ID, Token: l.Token, Exclusive: l.Exclusive, Mandatory: l.Mandatory, Session: l.Session, Client: l.Client, UID: l.UID,
		TTL: l.TTL, Expires: l.Expires, Owner: l.Owner, Note: l.Note, Since: l.Since,
	}
	for i := range l.Places {
		p := &l.Places[i]
		at, err := n.pathOf(p.Dir, granary.PathDepthMax)
		if err != nil {
			return d, err
		}
		switch {
		case at == "":
			at = p.Asked
		case p.Rest != "":
			at = strings.TrimSuffix(at, "/") + "/" + p.Rest
		}
		d.Paths = append(d.Paths, granary.LockedPath{Path: at, Subtree: p.Subtree, Inode: p.Inode})
	}
	return d, nil
}

// pathOf returns the path of a directory, "" if it is not easily found.
func (n *pathNames) pathOf(id granary.InodeID, depth int) (string, error) {
	if path, ok := n.known[id]; ok {
		return path, nil
	}
	r, err := n.v.inode(id)
	if err != nil || r == nil || depth == 0 {
		return "", err
	}
	above, err := n.pathOf(r.Parent, depth-1)
	if err != nil {
		return "", err
	}
	path := ""
	if above != "" {
		name, err := n.nameOf(r)
		if err != nil {
			return "", err
		}
		if name != "" {
			path = strings.TrimSuffix(above, "/") + "/" + name
		}
	}
	n.known[id] = path
	return path, nil
}

// nameOf returns the name of a directory: the root of a dataset knows it, others are looked for in the directory above.
func (n *pathNames) nameOf(r *inodeRecord) (name string, err error) {
	if r.isDatasetRoot() {
		d, err := read[datasetRecord](n.v, keyDataset(r.Inode.Dataset()))
		if err != nil || d == nil {
			return "", err
		}
		return d.Name, nil
	}
	prefix := key(tableDentry, uint64(r.Parent))
	err = n.v.scan(prefix, keyEnd(prefix), func(k, b []byte) (bool, error) {
		n.left--
		if k[len(k)-1] == '/' {
			d, err := unmarshal[dentryRecord](b)
			if err != nil {
				return false, errStore(k, err)
			}
			if d.Inode == r.Inode {
				name, _ = dentryName(k)
				name = shownName(name, true, false)
			}
		}
		return name == "" && n.left > 0, nil
	})
	return name, err
}

// pathLockOutcome tells what became of a request for path locks. The store is open.
func (s *state) pathLockOutcome(id granary.LockID) (granary.LockOutcome, error) {
	k := keyPathLock(id)
	b := readKey(s.db, k)
	if b == nil || id == 0 {
		return granary.LockOutcome{State: granary.LockGone}, nil
	}
	l, err := unmarshal[pathLock](b)
	switch {
	case err != nil:
		return granary.LockOutcome{}, errStore(k, fmt.Errorf("a path lock: %w", err))
	case l.waits():
		return granary.LockOutcome{State: granary.LockWaits}, nil
	}
	return granary.LockOutcome{State: granary.LockHeld, Token: granary.Index(l.Token)}, nil
}
