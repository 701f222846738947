package master

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Raft counts entries where what matters is bytes and time: entries differ in size a thousandfold here, and it is bytes
// that fill the disk, and applying that takes time. So both are counted beside it.
//
// A node that was away catches up by the log as long as the leader has it, else by a snapshot. To apply entries takes
// as long there as it took here; a snapshot takes as long as it is big. So the log is kept no longer than
// catching up by it is the quicker way.
//
// With these bounds the log takes at most some 512 MiB and what its segments round up to; what Raft drops goes with
// whole segments.
const (
	logBytesMax    = 256 << 20 // applied since the last snapshot: then another is taken
	trailBytesMax  = 256 << 20 // of log kept behind a snapshot
	trailEntries   = 256       // but at least so many entries
	logWatchEvery  = 5 * time.Second
	entryCountsMin = 64 // entries below which their average says nothing

	replayTimeMin  = 20 * time.Second // of applying is no reason for a snapshot, however small the state is
	installBytes   = 128 << 20        // of a snapshot that a node receives and installs in a second
	freshReplayMin = time.Second      // of applying since the newest snapshot: then a node that needs one gets a new one
	freshWithin    = time.Minute      // bounds how long it waits for that
)

// logBudget counts what was applied since the last snapshot.
type logBudget struct {
	trailing uint64        // at most
	over     chan struct{} // says that a bound is exceeded

	mu       sync.Mutex
	entries  uint64
	bytes    uint64
	spent    time.Duration // on applying them
	snapshot int64         // bytes of the newest
}

func newLogBudget(trailing uint64) *logBudget {
	return &logBudget{trailing: trailing, over: make(chan struct{}, 1)}
}

// add counts entries that were applied at once.
func (b *logBudget) add(entries, bytes int, spent time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries += uint64(entries)
	b.bytes += uint64(bytes)
	b.spent += spent
	if b.exceeded() {
		kick(b.over)
	}
}

// reset is told of a snapshot of all that was applied.
func (b *logBudget) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries, b.bytes, b.spent = 0, 0, 0
}

// sized is told how large the newest snapshot is.
func (b *logBudget) sized(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snapshot = bytes
}

func (b *logBudget) exceeded() bool { return b.bytes > logBytesMax || b.spent > b.replayTime() }

// replayTime is how long it may take to apply what came after the newest snapshot: as long as to receive that.
func (b *logBudget) replayTime() time.Duration {
	return max(replayTimeMin, time.Duration(b.snapshot/installBytes)*time.Second)
}

// keep returns how many entries to keep behind a snapshot, given how they were of late.
func (b *logBudget) keep() (entries uint64, exceeded bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries < entryCountsMin {
		return b.trailing, false
	}
	fit := trailBytesMax / max(b.bytes/b.entries, 1)
	inTime := uint64(b.replayTime() / 2 / max(b.spent/time.Duration(b.entries), 1))
	return min(max(min(fit, inTime), trailEntries), b.trailing), b.exceeded()
}

// stale reports whether a node that gets the newest snapshot has much to apply after it.
func (b *logBudget) stale() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent > freshReplayMin
}

// watchLog keeps the log within its budget.
func (s *Server) watchLog() {
	ticker := time.NewTicker(logWatchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.budget.over:
		case <-s.ctx.Done():
			return
		}
		keep, exceeded := s.budget.keep()
		if s.raft.ReloadableConfig().TrailingLogs != keep {
			if err := s.reloadRaft(func(c *raft.ReloadableConfig) { c.TrailingLogs = keep }); err != nil {
				s.log.Warn("the log keeps its old length", "error", err)
			}
		}
		if !exceeded {
			continue
		}
		err := s.awaitRaft(s.ctx, s.raft.Snapshot())
		if err != nil && s.ctx.Err() == nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			s.log.Warn("no snapshot could be taken; the log grows", "error", err)
			pause(s.ctx, logWatchEvery)
		}
	}
}

// freshSnapshots is the snapshot store as Raft uses it. A leader lists the snapshots when it is about to send the newest
// to a node that the log no longer serves; that one is then taken anew, for to take one is quicker
// than to apply what came after an old one. Others list them only before the node serves.
type freshSnapshots struct {
	*snapshots
	refresh func()
}

// List implements raft.SnapshotStore.
func (f freshSnapshots) List() ([]*raft.SnapshotMeta, error) {
	f.refresh()
	return f.snapshots.List()
}

// refreshSnapshot takes a snapshot if this node leads and the newest one is old. Without a new one the old one serves.
func (s *Server) refreshSnapshot() {
	if s.leading.Load() == nil || !s.budget.stale() {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, freshWithin)
	defer cancel()
	if err := s.awaitRaft(ctx, s.raft.Snapshot()); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		s.log.Info("a node is sent an older snapshot: a new one could not be taken", "error", err)
	}
}
