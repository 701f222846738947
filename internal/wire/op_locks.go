package wire

import "github.com/dsorchard/granary"

// The ops of locks.

func (f *fields) acquireLock(o *granary.AcquireLock) {
	required(f, 1, &o.LockKey, (*fields).lockKey, "key")
	unlessZero(f, 2, &o.LockRange, (*fields).lockRange)
	f.flag(3, &o.Exclusive)
	unsigned(f, 4, &o.PID)
	f.flag(5, &o.Wait)
}

func (f *fields) releaseLock(o *granary.ReleaseLock) {
	required(f, 1, &o.LockKey, (*fields).lockKey, "key")
	unlessZero(f, 2, &o.LockRange, (*fields).lockRange)
}

func (f *fields) cancelLock(o *granary.CancelLock) {
	required(f, 1, &o.LockKey, (*fields).lockKey, "key")
}

func (f *fields) lockKey(k *granary.LockKey) {
	unsigned(f, 1, &k.Inode)
	unsigned(f, 2, &k.Space)
	unsigned(f, 3, &k.Owner)
}

func (f *fields) lockRange(r *granary.LockRange) {
	unsigned(f, 1, &r.Start)
	unsigned(f, 2, &r.End)
}

func (f *fields) acquirePaths(o *granary.AcquirePaths) {
	list(f, 1, &o.Paths, (*fields).lockPath)
	f.flag(2, &o.Exclusive)
	f.flag(3, &o.Mandatory)
	f.flag(4, &o.Wait)
	signed(f, 5, &o.TTL)
	text(f, 6, &o.Owner)
	text(f, 7, &o.Note)
}

func (f *fields) lockPath(p *granary.LockPath) {
	unsigned(f, 1, &p.Base)
	text(f, 2, &p.Path)
	f.flag(3, &p.Subtree)
}

func (f *fields) renewPaths(o *granary.RenewPaths) {
	unsigned(f, 1, &o.Token)
	signed(f, 2, &o.TTL)
}

func (f *fields) releasePaths(o *granary.ReleasePaths) {
	unsigned(f, 1, &o.Token)
	unsigned(f, 2, &o.Lock)
	f.flag(3, &o.Break)
}
