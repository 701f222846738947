package filer

import (
	"context"
	"errors"
	"testing"

	"github.com/dsorchard/granary"
)

// A file that was locked when the session ended cannot be used until its locks are given up, and what was written under
// them and not committed never is.
func TestLocksEndWithTheSession(t *testing.T) {
	f := newFake()
	fs := newFS(Options{}, f)
	defer fs.Close(t.Context())
	h, _, err := fs.Create(t.Context(), granary.Cred{}, granary.RootInode, "a", 0o644, 0, true, OpenFlags{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(t.Context(), []byte("before"), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := granary.LockKey{Inode: h.Inode(), Space: granary.LockWhole, Owner: 1}
	whole := granary.LockRange{End: granary.LockEnd}
	lock := func() {
		if err := fs.Lock(t.Context(), granary.AcquireLock{LockKey: key, LockRange: whole, Exclusive: true}); err != nil {
			t.Fatal(err)
		}
	}
	lock()
	if _, err := h.WriteAt(t.Context(), []byte("under "), 0); err != nil {
		t.Fatal(err)
	}
	f.sessions.Add(1)
	if _, err := h.ReadAt(t.Context(), make([]byte, 6), 0); !errors.Is(err, errLost) {
		t.Errorf("read: %v", err)
	}
	if _, err := h.WriteAt(t.Context(), []byte("after "), 0); !errors.Is(err, errLost) {
		t.Errorf("write: %v", err)
	}
	if err := h.Sync(t.Context()); !errors.Is(err, errLost) {
		t.Errorf("sync: %v", err)
	}
	if err := fs.Unlock(t.Context(), granary.ReleaseLock{LockKey: key, LockRange: whole}); err != nil {
		t.Errorf("unlock: %v", err)
	}
	lock()
	got := make([]byte, 6)
	if _, err := h.ReadAt(t.Context(), got, 0); err != nil || string(got) != "before" {
		t.Errorf("%q, %v", got, err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := fs.Unlock(t.Context(), granary.ReleaseLock{LockKey: key, LockRange: whole}); err != nil {
		t.Error(err)
	}
	if len(fs.locks) != 0 || fs.locked.Load() != 0 {
		t.Errorf("%d inodes count as locked", len(fs.locks))
	}
}

// A signal to who waits for a lock may come when the lock has just been granted: then the caller has it, and hears of no error.
func TestLockGrantedAtAnInterrupt(t *testing.T) {
	fs, f := testFS(t, Options{})
	id := f.put(t, granary.RootInode, "a", "of another client")
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	key := granary.LockKey{Inode: id, Space: granary.LockRanges, Owner: 1}
	whole := granary.LockRange{End: granary.LockEnd}
	if err := fs.Lock(ctx, granary.AcquireLock{LockKey: key, LockRange: whole, Exclusive: true, Wait: true}); err != nil {
		t.Errorf("the lock was granted, but: %v", err)
	}
	if err := fs.Unlock(t.Context(), granary.ReleaseLock{LockKey: key, LockRange: whole}); err != nil {
		t.Error(err)
	}
}
