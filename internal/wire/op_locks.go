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
