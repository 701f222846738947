package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// What is asked about locks, and what it is answered with.

func lockKeyTo(k *granary.LockKey) *pb.LockKey {
	return &pb.LockKey{Inode: uint64(k.Inode), Space: uint32(k.Space), Owner: k.Owner}
}

// lockKey takes an absent message for a key of zeros, which no lock has.
func (d *decoder) lockKey(p *pb.LockKey) granary.LockKey {
	return granary.LockKey{
		Inode: granary.InodeID(p.GetInode()),
		Space: granary.LockSpace(d.uint8(p.GetSpace(), "space of locks")),
		Owner: p.GetOwner(),
	}
}

func lockRangeTo(r *granary.LockRange) *pb.LockRange {
	return &pb.LockRange{Start: r.Start, End: r.End}
}

func lockRangeFrom(p *pb.LockRange) granary.LockRange {
	return granary.LockRange{Start: p.GetStart(), End: p.GetEnd()}
}

func fillLock(p *pb.Lock, l *granary.Lock) {
	p.LockKey, p.LockRange = lockKeyTo(&l.LockKey), lockRangeTo(&l.LockRange)
	p.Session, p.Client, p.Exclusive, p.Pid = uint64(l.Session), []byte(l.Client), l.Exclusive, l.PID
	p.Since, p.Token, p.Waiting = int64(l.Since), uint64(l.Token), l.Waiting
}

func (d *decoder) lock(p *pb.Lock) granary.Lock {
	return granary.Lock{
		LockKey:   d.lockKey(p.LockKey),
		LockRange: lockRangeFrom(p.LockRange),
		Session:   granary.SessionID(p.Session),
		Client:    string(p.Client),
		Exclusive: p.Exclusive,
		PID:       p.Pid,
		Since:     granary.Time(p.Since),
		Token:     granary.Index(p.Token),
		Waiting:   p.Waiting,
	}
}

func getLockTo(q *granary.GetLock) *pb.GetLock {
	return &pb.GetLock{LockKey: lockKeyTo(&q.LockKey), LockRange: lockRangeTo(&q.LockRange), Session: uint64(q.Session), Exclusive: q.Exclusive}
}

func (d *decoder) getLock(p *pb.GetLock) *granary.GetLock {
	return &granary.GetLock{
		LockKey:   d.lockKey(p.LockKey),
		LockRange: lockRangeFrom(p.LockRange),
		Session:   granary.SessionID(p.Session),
		Exclusive: p.Exclusive,
	}
}

func lockIsTo(a *granary.LockIs) *pb.LockIs {
	p := new(pb.LockIs)
	if a.Lock != nil {
		p.Lock = new(pb.Lock)
		fillLock(p.Lock, a.Lock)
	}
	return p
}

func (d *decoder) lockIs(p *pb.LockIs) *granary.LockIs {
	a := new(granary.LockIs)
	if p.Lock != nil {
		l := d.lock(p.Lock)
		a.Lock = &l
	}
	return a
}

func awaitLockTo(w *granary.AwaitLock) *pb.AwaitLockRequest {
	return &pb.AwaitLockRequest{Session: uint64(w.Session), Key: lockKeyTo(&w.Key), Token: uint64(w.Token)}
}

func (d *decoder) awaitLock(p *pb.AwaitLockRequest) *granary.AwaitLock {
	return &granary.AwaitLock{
		Session: granary.SessionID(p.Session),
		Key:     d.lockKey(p.Key),
		Token:   granary.Index(p.Token),
	}
}

func lockOutcomeTo(o granary.LockOutcome) *pb.AwaitLockReply {
	return &pb.AwaitLockReply{State: uint32(o.State), Token: uint64(o.Token)}
}

func (d *decoder) lockOutcome(p *pb.AwaitLockReply) granary.LockOutcome {
	return granary.LockOutcome{State: granary.LockState(d.uint8(p.State, "state of a lock")), Token: granary.Index(p.Token)}
}

func fillPathLock(p *pb.PathLock, l *granary.PathLock) {
	p.Id, p.Token, p.Paths = uint64(l.ID), uint64(l.Token), listTo(l.Paths, fillLockedPath)
	p.Exclusive, p.Mandatory, p.Session, p.Client, p.Uid = l.Exclusive, l.Mandatory, uint64(l.Session), []byte(l.Client), l.UID
	p.Ttl, p.Expires, p.Owner, p.Note, p.Since = int64(l.TTL), int64(l.Expires), []byte(l.Owner), []byte(l.Note), int64(l.Since)
}

func (d *decoder) pathLock(p *pb.PathLock) granary.PathLock {
	return granary.PathLock{
		ID:        granary.LockID(p.Id),
		Token:     granary.FencingToken(p.Token),
		Paths:     listFrom(p.Paths, lockedPath),
		Exclusive: p.Exclusive,
		Mandatory: p.Mandatory,
		Session:   granary.SessionID(p.Session),
		Client:    string(p.Client),
		UID:       p.Uid,
		TTL:       granary.Time(p.Ttl),
		Expires:   granary.Time(p.Expires),
		Owner:     string(p.Owner),
		Note:      string(p.Note),
		Since:     granary.Time(p.Since),
	}
}

func fillLockedPath(p *pb.LockedPath, l *granary.LockedPath) {
	p.Path, p.Subtree, p.Inode = []byte(l.Path), l.Subtree, uint64(l.Inode)
}

func lockedPath(p *pb.LockedPath) granary.LockedPath {
	return granary.LockedPath{Path: string(p.Path), Subtree: p.Subtree, Inode: granary.InodeID(p.Inode)}
}
