package master

import (
	"cmp"
	"slices"

	"github.com/dsorchard/granary"
)

// paths returns the path locks.
func (t *txn) paths() *pathLocks { return t.pending.recall.paths }

// dirAbove returns the directory that holds a directory; 0 for one that is being removed.
func (t *txn) dirAbove(id granary.InodeID) granary.InodeID {
	if r := t.inode(id); r != nil {
		return r.Parent
	}
	return 0
}

// nextNumber gives out a LockID or a token: the index of the entry, or the next number if that has been given out.
func (t *txn) nextNumber() uint64 {
	p := t.paths()
	p.last = max(granary.FencingToken(t.index), p.last+1)
	if p.last > granary.FencingToken(t.index) { // else the index of any later entry is beyond it
		store(t, keyPathLock(0), &numberRecord{uint64(p.last)})
	}
	return uint64(p.last)
}

// putPathLock makes or changes a lock. What it changes is a copy.
func (t *txn) putPathLock(l *pathLock) {
	t.paths().replace(l.ID, l)
	store(t, keyPathLock(l.ID), l)
	if l.Expires != 0 {
		t.leases = append(t.leases, leaseNews{l.Token, l.Expires, l.TTL})
	}
}

// removePathLock takes a lock away, and tells who waited for it.
func (t *txn) removePathLock(l *pathLock) {
	t.paths().replace(l.ID, nil)
	t.del(keyPathLock(l.ID))
	if l.Expires != 0 {
		t.leases = append(t.leases, leaseNews{token: l.Token})
	}
	t.tellPathLock(l)
}

// tellPathLock tells who asked for a lock that something happened to the request.
func (t *txn) tellPathLock(l *pathLock) {
	t.lockNews = append(t.lockNews, lockWaiter{key: granary.LockKey{Space: granary.LockPaths, Owner: uint64(l.ID)}})
}

// acquirePaths grants a lock on paths, or queues the request.
func (t *txn) acquirePaths(session granary.SessionID, op *granary.AcquirePaths) granary.Result {
	const name = "lock paths"
	if err := checkAcquirePaths(op); err != nil {
		return granary.Result{Err: err}
	}
	p := t.paths()
	subject := op.Paths[0].Path
	if len(p.byID) >= granary.PathLocksMax {
		return failed(granary.KindTooLarge, name, subject, "there are %d locks on paths: the most there can be", len(p.byID))
	}
	l := &pathLock{
		Asked: t.index, Session: session, Client: t.session(session).Client, UID: t.cred.UID, Exclusive: op.Exclusive, Mandatory: op.Mandatory,
		TTL: op.TTL, Since: t.now, Owner: op.Owner, Note: op.Note,
	}
	for i := range op.Paths {
		at, err := t.placeOf(name, op, &op.Paths[i])
		if err != nil {
			return granary.Result{Err: err}
		}
		l.Places = append(l.Places, at)
	}
	l.ID = granary.LockID(max(t.index, granary.Index(p.last)+1)) // as nextNumber will say
	other := p.inTheWay(l)
	free := other == nil && !t.fileLocksInTheWay(l)
	switch {
	case free:
	case !op.Wait && other == nil:
		return failed(granary.KindWouldBlock, name, subject, "a lock of flock or fcntl on it is in the way")
	case !op.Wait:
		return failed(granary.KindWouldBlock, name, subject, "%s", other.describe())
	case len(p.waiting) >= granary.PathWaitersMax:
		return failed(granary.KindTooLarge, name, subject, "%d requests for locks on paths wait: the most there can be", len(p.waiting))
	case p.circle(l):
		return failed(granary.KindDeadlock, name, subject, "it would wait for %q, which waits for it or is the same", op.Owner)
	}
	l.ID = granary.LockID(t.nextNumber())
	if free {
		t.grantPaths(l, granary.FencingToken(l.ID))
	} else {
		t.putPathLock(l)
	}
	return granary.Result{Created: free, Offset: uint64(l.ID)}
}

// describe says who has a lock, to who cannot get one.
func (l *pathLock) describe() string {
	who := l.Owner
	if who == "" {
		who = l.Client
	}
	if l.waits() {
		return "held by another, and " + who + " waits for it"
	}
	return "held by " + who
}

func checkAcquirePaths(op *granary.AcquirePaths) *granary.Error {
	bad := func(kind granary.Kind, format string, args ...any) *granary.Error {
		return granary.Errorf(kind, "lock paths", "", format, args...)
	}
	switch {
	case len(op.Paths) == 0:
		return bad(granary.KindInvalid, "no path is named")
	case len(op.Paths) > granary.LockPathsMax:
		return bad(granary.KindTooLarge, "%d paths, of %d at most", len(op.Paths), granary.LockPathsMax)
	case len(op.Owner) > granary.LockOwnerMax || len(op.Note) > granary.LockNoteMax:
		return bad(granary.KindTooLarge, "owner and note have %d and %d bytes, of %d and %d at most",
			len(op.Owner), len(op.Note), granary.LockOwnerMax, granary.LockNoteMax)
	}
	return checkLockTTL(op.TTL)
}

func checkLockTTL(ttl granary.Time) *granary.Error {
	if ttl != 0 && (ttl < granary.LockTTLMin || ttl > granary.LockTTLMax) {
		return granary.Errorf(granary.KindInvalid, "lock paths", "", "a lease of %d ns, of %d to %d", ttl, granary.LockTTLMin, granary.LockTTLMax)
	}
	return nil
}

// placeOf finds where a path is that is to be locked.
func (t *txn) placeOf(name string, op *granary.AcquirePaths, p *granary.LockPath) (pathPlace, *granary.Error) {
	at := pathPlace{Dir: p.Base, Subtree: p.Subtree, Asked: p.Path}
	if len(p.Path) > granary.PathLengthMax {
		return at, granary.Errorf(granary.KindNameTooLong, name, p.Path[:64]+"…", "%d bytes, of %d at most", len(p.Path), granary.PathLengthMax)
	}
	dir, err := t.directory(name, p.Base)
	if err != nil {
		return at, err
	}
	if dir.holdsUploads() || dir.isUpload() {
		return at, granary.Errorf(granary.KindInvalid, name, p.Path, "uploads in progress have no path")
	}
	if err := t.reachAbove(name, dir.Inode); err != nil {
		return at, err
	}
	at.Inode = dir.Inode
	r := dir
	if p.Path != "" {
		if r, err = t.follow(name, &at, p.Path); err != nil {
			return at, err
		}
	}
	if p.Subtree {
		if err := t.reachBelow(name, at.Dir); err != nil {
			return at, err
		}
	}
	need := granary.AccessWrite
	if !op.Exclusive {
		need = granary.AccessRead
	}
	if r == nil { // nothing is there: it is made in the deepest directory
		r = t.inode(at.Dir)
		need |= granary.AccessExecute
	}
	if op.Mandatory && !t.owns(r) {
		return at, granary.Errorf(granary.KindNotOwner, name, p.Path, "a mandatory lock is its owner's to take, %d's", r.UID)
	}
	if r.Type == granary.TypeSymlink { // whose permissions are nobody's
		return at, nil
	}
	return at, t.permit(name, p.Path, r, need)
}

// follow goes a path from at.Dir as far as there are directories, and says in at where that is. It returns what the path leads to;
// nil if there is nothing.
func (t *txn) follow(op string, at *pathPlace, path string) (*inodeRecord, *granary.Error) {
	for {
		name, rest, more := cutName(path)
		entry, err := t.entry(op, t.inode(at.Dir), name)
		if err != nil {
			return nil, err
		}
		d := t.find(at.Dir, entry)
		if d == nil {
			at.Rest, at.Inode = path, 0
			return nil, checkRest(op, name, rest, more)
		}
		if d.Type != granary.TypeDirectory {
			if more {
				return nil, granary.Errorf(granary.KindNotDir, op, path, "%q is no directory", name)
			}
			if entry.raw == "" {
				return nil, granary.Errorf(granary.KindNotSupported, op, path, "the object of a key that ends in \"/\" cannot be locked")
			}
			at.Rest, at.Inode = entry.raw, d.Inode
			return t.inode(d.Inode), nil
		}
		r := t.inode(d.Inode)
		if err := t.reach(op, r); err != nil {
			return nil, err
		}
		at.Dir, at.Rest, at.Inode = d.Inode, "", d.Inode
		if !more {
			return r, nil
		}
		if err := t.permit(op, path, r, granary.AccessExecute); err != nil {
			return nil, err
		}
		path = rest
	}
}

// checkRest refuses names that nothing can have, and escapes: what they mean is said by what is there.
func checkRest(op, name, rest string, more bool) *granary.Error {
	for {
		if err := checkName(op, name); err != nil {
			return err
		}
		if isEscape(name) {
			return granary.Errorf(granary.KindNotSupported, op, name, "the escape of what is not there")
		}
		if !more {
			return nil
		}
		name, rest, more = cutName(rest)
	}
}

// grantPaths grants a request.
func (t *txn) grantPaths(l *pathLock, token granary.FencingToken) {
	l.Token, l.Since = token, t.now
	if l.TTL != 0 {
		l.Session, l.Expires = 0, t.now+l.TTL
	}
	t.putPathLock(l)
}

// settlePaths grants those of the requests that need not wait any longer.
func (t *txn) settlePaths(list []*pathLock) {
	p := t.paths()
	slices.SortFunc(list, func(a, b *pathLock) int { return cmp.Compare(a.ID, b.ID) })
	for i, l := range list {
		if i > 0 && list[i-1].ID == l.ID || p.byID[l.ID] != l || p.blocked(l) || t.fileLocksInTheWay(l) {
			continue
		}
		granted := *l
		t.grantPaths(&granted, granary.FencingToken(t.nextNumber()))
		t.tellPathLock(l)
	}
}

// dropPathLocks takes locks or requests away, and grants what waited for them.
func (t *txn) dropPathLocks(gone ...*pathLock) {
	p := t.paths()
	var behind []*pathLock
	for _, l := range gone {
		behind = p.behind(l, behind)
		t.removePathLock(l)
	}
	for _, l := range gone {
		for i := range l.Places {
			t.settleFileLocks(l.Places[i].Inode)
		}
	}
	t.settlePaths(behind)
}

// renewPaths begins a lease anew.
func (t *txn) renewPaths(op *granary.RenewPaths) granary.Result {
	l := t.paths().held[op.Token]
	if l == nil {
		return failed(granary.KindFenced, "renew lock", "", "the lock with token %d is not held any more", op.Token)
	}
	if err := checkLockTTL(op.TTL); err != nil {
		return granary.Result{Err: err}
	}
	if l.UID != t.cred.UID && !t.super() {
		return failed(granary.KindNotOwner, "renew lock", "", "the lock with token %d is %d's", op.Token, l.UID)
	}
	if l.TTL == 0 {
		return granary.Result{} // it lasts as long as its session
	}
	renewed := *l
	if op.TTL != 0 {
		renewed.TTL = op.TTL
	}
	renewed.Expires = t.now + renewed.TTL
	t.putPathLock(&renewed)
	return granary.Result{}
}

// releasePaths gives up a lock, or a request for one.
func (t *txn) releasePaths(session granary.SessionID, op *granary.ReleasePaths) granary.Result {
	const name = "release lock"
	p := t.paths()
	l := p.held[op.Token]
	if op.Token == 0 {
		l = p.byID[op.Lock]
	}
	if l == nil || op.Lock != 0 && l.ID != op.Lock {
		return failed(granary.KindNotFound, name, "", "there is no such lock, or not any more")
	}
	if l.UID != t.cred.UID && !t.super() || l.waits() && l.Session != session && !op.Break {
		return failed(granary.KindNotOwner, name, "", "the lock is %d's, by %q", l.UID, l.Client)
	}
	t.dropPathLocks(l)
	return granary.Result{}
}

// expirePaths ends leases that were not renewed in time. One that was renewed before this entry stays.
func (t *txn) expirePaths(it *expirePaths) granary.Result {
	var gone []*pathLock
	for _, token := range it.Tokens[:min(len(it.Tokens), expireMax)] {
		if l := t.paths().held[token]; l != nil && l.Expires != 0 && l.Expires <= t.now && !slices.Contains(gone, l) {
			gone = append(gone, l)
		}
	}
	t.dropPathLocks(gone...)
	return granary.Result{Offset: uint64(len(gone))}
}

// endPathLocks takes away the path locks of a session that has ended, and its requests, as many as are left to take.
func (t *txn) endPathLocks(session granary.SessionID, left *int) (done bool) {
	of := t.paths().ofOwner[session]
	if len(of) == 0 {
		return true
	}
	gone := make([]*pathLock, 0, len(of))
	for _, l := range of {
		gone = append(gone, l)
	}
	slices.SortFunc(gone, func(a, b *pathLock) int { return cmp.Compare(a.ID, b.ID) })
	n := min(len(gone), max(0, *left))
	*left -= n
	t.dropPathLocks(gone[:n]...)
	return n == len(gone)
}
