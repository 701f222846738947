package master

import (
	"github.com/dsorchard/granary"
)

// delegationRecord says which session holds a directory. While the session lives, others neither see nor change it.
type delegationRecord struct {
	Session granary.SessionID
	Token   granary.Index // of the grant, or of that of the directory in which this one was made
}

func (r *delegationRecord) put(e *encoder) { e.u64(uint64(r.Session)); e.u64(uint64(r.Token)) }
func (r *delegationRecord) take(d *decoder) {
	r.Session, r.Token = granary.SessionID(d.u64()), granary.Index(d.u64())
}

func keyDelegation(id granary.InodeID) []byte { return key(tableDelegation, uint64(id)) }

func keyDelegate(s granary.SessionID, id granary.InodeID) []byte {
	return key(tableDelegate, uint64(s), uint64(id))
}

// ownersLookedAt bounds the records of owners among which a grant looks for limits; where there are more none is made.
const ownersLookedAt = 1000

// delegation returns the delegation of a directory that is in force, or nil: the holder's session lives.
func (t *txn) delegation(id granary.InodeID) *delegationRecord {
	if t.head.Delegations == 0 {
		return nil
	}
	r := fetch[delegationRecord](t, keyDelegation(id))
	if r == nil || t.session(r.Session) == nil {
		return nil
	}
	return r
}

// reach refuses to touch an inode that is a directory which another session than the asking one holds.
func (t *txn) reach(op string, r *inodeRecord) *granary.Error {
	if t.head.Delegations == 0 || r == nil || !r.IsDir() {
		return nil
	}
	if d := t.delegation(r.Inode); d != nil && d.Session != t.asking {
		return errDelegated(op, r.Inode)
	}
	return nil
}

func errDelegated(op string, ids ...granary.InodeID) *granary.Error {
	return granary.Errorf(granary.KindDelegated, op, ids[0].String(), "%w", &granary.Delegated{Inodes: ids})
}

// reachDataset refuses what concerns all of a dataset while another session holds any directory in it: it names some.
func (t *txn) reachDataset(op string, id granary.DatasetID) *granary.Error {
	return t.reachHeld(op, keyDelegation(id.Root()), keyDelegation((id + 1).Inode(0)), func(granary.InodeID, *int) bool { return true })
}

// reachBelow refuses what concerns a directory and all that is below it while another session holds any of that: it names some.
func (t *txn) reachBelow(op string, dir granary.InodeID) *granary.Error {
	id := dir.Dataset()
	lower, upper := keyDelegation(id.Root()), keyDelegation((id + 1).Inode(0))
	if dir == granary.RootInode || dir == granary.BucketsInode { // other datasets lie nowhere else
		upper = keyEnd(key(tableDelegation))
	}
	return t.reachHeld(op, lower, upper, func(id granary.InodeID, left *int) bool {
		for id != dir && id != 0 && id != granary.RootInode {
			if *left--; *left < 0 {
				return true // who gives it back lets the next look go further
			}
			id = t.dirAbove(id)
		}
		return id == dir
	})
}

// reachHeld refuses something because of directories, of those in a range of the table, that other sessions hold. concerned reports whether it is because of one, and
// counts what it reads. Where there are too many to look at, those at which it ends are taken to be.
func (t *txn) reachHeld(op string, lower, upper []byte, concerned func(id granary.InodeID, left *int) bool) *granary.Error {
	if t.head.Delegations == 0 {
		return nil
	}
	var held []granary.InodeID
	left := reclaimKeysMax
	t.scan(lower, upper, func(k, v []byte) bool {
		d, err := unmarshal[delegationRecord](v)
		must(err)
		dir := granary.InodeID(keyID(k, 0))
		left--
		if d.Session == t.asking && left >= 0 {
			return true
		}
		if t.session(d.Session) != nil && concerned(dir, &left) || left < 0 {
			held = append(held, dir)
		}
		return left >= 0 && len(held) < delegatedNamed
	})
	if len(held) > 0 {
		return errDelegated(op, held...)
	}
	return nil
}

// takeDelegation grants a directory, if nobody else holds it, and the holder can decide for itself what may be done there.
func (t *txn) takeDelegation(session granary.SessionID, op *granary.TakeDelegation) granary.Result {
	const name = "take delegation"
	subject := op.Inode.String()
	r := t.inode(op.Inode)
	switch {
	case r == nil || r.IsDir() && !t.alive(r):
		return failed(granary.KindNotFound, name, subject, "")
	case !r.IsDir():
		return failed(granary.KindNotDir, name, subject, "")
	case r.Entries > granary.DelegatedEntriesMax:
		return failed(granary.KindTooLarge, name, subject, "it has %d entries", r.Entries)
	}
	if d := t.delegation(op.Inode); d != nil {
		if d.Session != session {
			return failed(granary.KindBusy, name, subject, "another session holds it")
		}
		return granary.Result{Attr: r.Attr, Offset: uint64(d.Token)}
	}
	if why := t.undecidable(r); why != "" {
		return failed(granary.KindNotSupported, name, subject, "%s", why)
	}
	t.delegate(op.Inode, session, t.index)
	t.head.Delegated = t.index
	return granary.Result{Attr: r.Attr, Offset: uint64(t.index)}
}

// undecidable says why a holder of a directory could not know what may be done in it; "" if it can.
func (t *txn) undecidable(r *inodeRecord) string {
	id := r.Inode.Dataset()
	switch {
	case r.Inode == granary.BucketsInode || r.Inode == id.System() || r.isUpload() || r.holdsUploads():
		return "buckets and uploads have rules of their own"
	case r.Flags&(granary.FlagACL|granary.FlagDefaultACL) != 0:
		return "it has an access control list"
	case t.paths().lockedAbout(r.Inode):
		return "there are locks on paths there"
	case t.datasets.get(t, id).Versioning != 0:
		return "its bucket keeps versions"
	case t.datasets.get(t, id).Limit != granary.Quota{} || t.ownersLimited(id):
		return "there are quotas in its dataset"
	}
	return ""
}

// ownersLimited reports whether somebody in a dataset has a limit, or there are too many owners to tell.
func (t *txn) ownersLimited(id granary.DatasetID) bool {
	for k, a := range t.owners.held {
		if k.dataset == id && a.now.Limit != (granary.Quota{}) {
			return true
		}
	}
	limited, looked := false, 0
	prefix := key(tableOwner, uint64(id))
	t.scan(prefix, keyEnd(prefix), func(_, v []byte) bool {
		o, err := unmarshal[ownerRecord](v)
		must(err)
		looked++
		limited = o.Limit != granary.Quota{} || looked > ownersLookedAt
		return !limited
	})
	return limited
}

// delegate records that a session holds a directory.
func (t *txn) delegate(id granary.InodeID, session granary.SessionID, token granary.Index) {
	if old := fetch[delegationRecord](t, keyDelegation(id)); old != nil { // of a session that has ended
		t.undelegate(id, old)
	}
	store(t, keyDelegation(id), &delegationRecord{session, token})
	store(t, keyDelegate(session, id), &numberRecord{})
	t.head.Delegations++
}

func (t *txn) undelegate(id granary.InodeID, r *delegationRecord) {
	t.del(keyDelegation(id))
	t.del(keyDelegate(r.Session, id))
	t.head.Delegations--
}

// forgetDelegation ends the delegation of a directory that is no more.
func (t *txn) forgetDelegation(r *inodeRecord) {
	if t.head.Delegations == 0 || !r.IsDir() {
		return
	}
	if d := fetch[delegationRecord](t, keyDelegation(r.Inode)); d != nil {
		t.undelegate(r.Inode, d)
	}
}

func (t *txn) returnDelegation(session granary.SessionID, op *granary.ReturnDelegation) granary.Result {
	if len(op.Inodes) > granary.DelegationsReturned {
		return failed(granary.KindTooLarge, "return delegation", "", "%d directories, of %d at most", len(op.Inodes), granary.DelegationsReturned)
	}
	for _, id := range op.Inodes {
		if r := fetch[delegationRecord](t, keyDelegation(id)); r != nil && r.Session == session {
			t.undelegate(id, r)
		}
	}
	return granary.Result{}
}

// endDelegations deletes the records of what a session held that has ended, as many as are left to delete.
func (t *txn) endDelegations(session granary.SessionID, left *int) (done bool) {
	done = true
	prefix := key(tableDelegate, uint64(session))
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		if *left <= 0 {
			done = false
			return false
		}
		*left -= 2
		id := granary.InodeID(keyID(k, 1))
		t.undelegate(id, &delegationRecord{Session: session})
		return true
	})
	return done
}

// doUnder does a request that its session has done already, if its turn has come and the session still holds what it names.
func (t *txn) doUnder(session granary.SessionID, request *granary.Request) granary.Result {
	u, s := request.Under, t.session(session)
	name := opName(request.Op)
	if u.Order != s.Ordered+1 {
		r := failed(granary.KindStale, name, "", "request %d is not the one after %d", u.Order, s.Ordered)
		r.Offset = s.Ordered
		return r
	}
	holds, err := t.heldBy(session, request)
	if err != nil {
		return granary.Result{Err: err, Offset: s.Ordered}
	}
	now := t.now
	if u.At != 0 {
		t.now = u.At
	}
	r := t.doFenced(session, request)
	if op, ok := request.Op.(*granary.Create); ok && r.Err == nil {
		r.Err = t.createdUnder(session, op, holds, &r)
	}
	t.now = now
	if r.Err == nil {
		s.Ordered++
		t.sessions.touch(session)
	}
	return r
}

// heldBy returns the delegation of the first directory that a request names, of which the session holds all by tokens up to
// that of the request.
func (t *txn) heldBy(session granary.SessionID, request *granary.Request) (*delegationRecord, *granary.Error) {
	var dirs [2]granary.InodeID
	switch op := request.Op.(type) {
	case *granary.Create:
		if op.MakeParents || op.Anonymous || op.Replace {
			return nil, granary.Errorf(granary.KindInvalid, opName(op), op.Name, "under a delegation a new name is made, and nothing else")
		}
		dirs[0] = op.Parent
	case *granary.Unlink:
		if op.Path || op.Prune {
			return nil, granary.Errorf(granary.KindInvalid, opName(op), op.Name, "under a delegation one name is removed")
		}
		dirs[0] = op.Parent
	case *granary.Rmdir:
		dirs[0] = op.Parent
	case *granary.Rename:
		if op.Key {
			return nil, granary.Errorf(granary.KindInvalid, opName(op), op.SrcName, "under a delegation one name is changed")
		}
		dirs[0], dirs[1] = op.SrcParent, op.DstParent
	case *granary.SetAttr:
		if r := t.inode(op.Inode); r == nil || !r.IsDir() {
			return nil, nil
		}
		dirs[0] = op.Inode
	default:
		return nil, granary.Errorf(granary.KindInvalid, opName(op), "", "it cannot be done under a delegation")
	}
	var first *delegationRecord
	for _, id := range dirs {
		if id == 0 {
			continue
		}
		d := t.delegation(id)
		if d == nil || d.Session != session || d.Token > request.Under.Fence {
			return nil, granary.Errorf(granary.KindStale, opName(request.Op), id.String(), "the delegation has ended")
		}
		if first == nil {
			first = d
		}
	}
	return first, nil
}

// createdUnder gives a new inode what its maker has changed of it since, and a new directory to its maker.
func (t *txn) createdUnder(session granary.SessionID, op *granary.Create, in *delegationRecord, result *granary.Result) *granary.Error {
	if !result.Created {
		return granary.Errorf(granary.KindExists, "create", op.Name, "")
	}
	r := t.inode(result.Attr.Inode)
	for _, at := range [...]struct{ to, from *granary.Time }{{&r.Atime, op.Atime}, {&r.Mtime, op.Mtime}, {&r.Ctime, op.Ctime}} {
		setTime(at.to, at.from, false, t.now)
	}
	t.touch(r)
	if op.Delegate && r.IsDir() {
		t.delegate(r.Inode, session, in.Token)
	}
	result.Attr = r.Attr
	return nil
}

// inodeLease is a range of inode ids that a session may use.
type inodeLease struct{ Next, End granary.InodeID }

// leaseInodes gives a range of ids to a session.
func (t *txn) leaseInodes(session granary.SessionID, op *granary.LeaseInodes) granary.Result {
	const name = "lease inodes"
	d := t.datasets.get(t, op.Dataset)
	switch {
	case op.Count == 0 || op.Count > granary.InodeLeaseMax:
		return failed(granary.KindInvalid, name, "", "%d ids, of %d at most", op.Count, granary.InodeLeaseMax)
	case d.NextInode == 0 || d.Deleted:
		return failed(granary.KindNotFound, name, "", "there is no dataset %d", op.Dataset)
	}
	first := op.Dataset.Inode(d.NextInode)
	d.NextInode += uint64(op.Count)
	t.datasets.touch(op.Dataset)
	s := t.session(session)
	if s.Leases[granary.InodeLeasesMax-1] != (inodeLease{}) {
		s.dropLease(0)
	}
	for i := range s.Leases {
		if s.Leases[i] == (inodeLease{}) {
			s.Leases[i] = inodeLease{first, first + granary.InodeID(op.Count)}
			break
		}
	}
	t.sessions.touch(session)
	return granary.Result{Offset: uint64(first)}
}

// dropLease takes a range away; those after it move up.
func (s *sessionRecord) dropLease(i int) {
	copy(s.Leases[i:], s.Leases[i+1:])
	s.Leases[granary.InodeLeasesMax-1] = inodeLease{}
}

// newInode returns the id of a new inode: the one that the session asks for, of those that it has leased, or else the next.
func (t *txn) newInode(session granary.SessionID, op *granary.Create, dataset granary.DatasetID) (granary.InodeID, *granary.Error) {
	if op.Inode == 0 {
		return t.nextInode(dataset), nil
	}
	s := t.session(session)
	for i := range s.Leases {
		l := &s.Leases[i]
		if op.Inode.Dataset() != dataset || op.Inode < l.Next || op.Inode >= l.End {
			continue
		}
		if l.Next = op.Inode + 1; l.Next == l.End {
			s.dropLease(i)
		}
		t.sessions.touch(session)
		return op.Inode, nil
	}
	return 0, granary.Errorf(granary.KindStale, "create", op.Name, "inode %d is not, or no longer, the session's to use", op.Inode)
}
