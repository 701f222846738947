package master

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Raft counts entries where what matters is bytes: entries differ in size a thousandfold here, and it is bytes that fill
// the disk and take time to replay. So they are counted beside it. With these bounds the log takes some 512 MiB and
// what its segments round up to; what Raft drops goes with whole segments.
const (
	logBytesMax    = 256 << 20 // applied since the last snapshot: then another is taken
	trailBytesMax  = 256 << 20 // of log kept behind a snapshot
	trailEntries   = 256       // but at least so many entries
	logWatchEvery  = 5 * time.Second
	entryCountsMin = 64 // entries below which their average size says nothing
)

// logBudget counts what was applied since the last snapshot.
type logBudget struct {
	trailing uint64        // at most
	over     chan struct{} // says that logBytesMax is exceeded

	mu      sync.Mutex
	entries uint64
	bytes   uint64
}

func newLogBudget(trailing uint64) *logBudget {
	return &logBudget{trailing: trailing, over: make(chan struct{}, 1)}
}

func (b *logBudget) add(bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries++
	b.bytes += uint64(bytes)
	if b.bytes > logBytesMax {
		kick(b.over)
	}
}

func (b *logBudget) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries, b.bytes = 0, 0
}

// keep returns how many entries to keep behind a snapshot, given their size of late.
func (b *logBudget) keep() (entries uint64, exceeded bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries < entryCountsMin {
		return b.trailing, false
	}
	fit := trailBytesMax / max(b.bytes/b.entries, 1)
	return min(max(fit, trailEntries), b.trailing), b.bytes > logBytesMax
}

// watchLog keeps the log within its budget of bytes.
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
		conf := s.raft.ReloadableConfig()
		if conf.TrailingLogs != keep {
			conf.TrailingLogs = keep
			if err := s.raft.ReloadConfig(conf); err != nil {
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
