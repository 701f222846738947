package master

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dsorchard/granary"
)

// stateOptions says how to open the state.
type stateOptions struct {
	CacheBytes int64         // of the block cache and of what is recalled; 0 for 256 MiB
	Cache      *pebble.Cache // the block cache, to share with others; nil: one of its own
	ReadOnly   bool          // nothing is written, and nothing can be applied
	FS         vfs.FS        // nil for the operating system's
	Log        *slog.Logger  // nil for none

	DigestEvery uint64 // entries of a window of the digest, the same on all nodes; 0 for digestEntries
}

// state is the state machine: all metadata, in a Pebble store. One goroutine applies; any number
// may query meanwhile.
type state struct {
	db       *pebble.DB
	applying sync.Mutex // held while a batch is applied, and by who wants to stand between two
	head     headRecord // of who holds applying
	recall   *recall    // of who holds applying
	txn      *txn       // of who holds applying
	places   atomic.Pointer[places]
	nodes    atomic.Pointer[map[string]memberRecord] // see members

	changes   volumeChanges
	lockWatch lockWatch
	logWatch  logWatch
	leases    pathLeases
	share     snapshotShare
	seen      seenRecords
	watcher   atomic.Pointer[attendTable] // set between two batches; nil: nobody is told what is touched

	digestEvery uint64

	mu        sync.Mutex
	published headRecord    // what readers see
	advanced  chan struct{} // closed when published moves
	retired   chan struct{} // closed when another state has taken this one's place

	life   sync.RWMutex // readers hold it, so that close waits for them
	closed bool
}

// entry is one entry of the Raft log. Data is nil for Raft's own entries: only the index advances.
type entry struct {
	Index, Term uint64
	Data        []byte
}

// liveness is what only the leader knows: heartbeats.
type liveness interface {
	serverUp(granary.ServerID) bool
	usage(granary.DiskID) (granary.DiskUsage, bool)
}

const (
	cacheBytesDefault = 256 << 20
	recallShare       = 4 // one in so many bytes of the cache is for what is recalled

	// Pebble takes what it has in memory tables, two of them at times, out of its block cache: they are to leave most of it for blocks. What is
	// read in every query, such as indexes and filters, has to be read and checked again where there is no room for it.
	memTableShare   = 5
	memTableSizeMin = 2 << 20
	memTableSizeMax = 32 << 20
)

// memTableBytes is the size of the memory tables beside a cache.
func memTableBytes(cacheBytes int64) uint64 {
	return uint64(min(max(cacheBytes/memTableShare, memTableSizeMin), memTableSizeMax))
}

// blockCacheBytes is the part of a cache that is not for what is recalled.
func blockCacheBytes(cacheBytes int64) int64 { return cacheBytes - cacheBytes/recallShare }

// pebbleOptions are the store's. The format is named: a newer Pebble must not raise it unasked.
func pebbleOptions(o stateOptions) *pebble.Options {
	setDefault(&o.CacheBytes, cacheBytesDefault)
	p := &pebble.Options{
		FS:                    o.FS,
		FormatMajorVersion:    pebble.FormatValueSeparation,
		MemTableSize:          memTableBytes(o.CacheBytes),
		CacheSize:             blockCacheBytes(o.CacheBytes),
		Cache:                 o.Cache,
		L0CompactionThreshold: 4,
		MaxOpenFiles:          1000,
		Logger:                storeLog{o.Log},
		ReadOnly:              o.ReadOnly,
	}
	if p.FS == nil {
		p.FS = vfs.Default
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// openState opens the state in a directory, or makes an empty one.
func openState(dir string, o stateOptions) (*state, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.CacheBytes, cacheBytesDefault)
	db, err := pebble.Open(dir, pebbleOptions(o))
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "open", dir, "metadata store: %w", err)
	}
	s := &state{db: db, recall: newRecall(db, o.CacheBytes/recallShare), digestEvery: o.DigestEvery, advanced: make(chan struct{}), retired: make(chan struct{}), seen: newSeenRecords()}
	if b := readKey(db, keyHead()); b != nil {
		head, err := unmarshal[headRecord](b)
		if err != nil {
			return nil, granary.Errorf(granary.KindCorrupt, "open", dir, "metadata store: %w", firstError(err, db.Close()))
		}
		s.head = *head
		if b[0] < formatVersion {
			s.head.beginWindow()
		}
	}
	for _, l := range s.recall.paths.byID {
		if l.Expires != 0 {
			s.leases.note([]leaseNews{{l.Token, l.Expires, l.TTL}})
		}
	}
	setDefault(&s.digestEvery, digestEntries)
	s.published = s.head
	s.txn = newTxn(s)
	s.places.Store(readPlaces(db))
	s.nodes.Store(readMembers(db))
	return s, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// close waits for readers and closes the store.
func (s *state) close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.share.forget()
	if err := s.db.Close(); err != nil {
		return granary.Errorf(granary.KindInternal, "close", "", "metadata store: %w", err)
	}
	return nil
}

// applied returns the index and term of the last entry applied.
func (s *state) applied() (index, term uint64) {
	h := s.current()
	return h.Applied, h.Term
}

// current returns the head that readers see.
func (s *state) current() headRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published
}

// publish lets readers see what was applied.
func (s *state) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published = s.head
	close(s.advanced)
	s.advanced = make(chan struct{})
}

// waitApplied waits until readers see the entry. They never will once the state has been replaced.
func (s *state) waitApplied(ctx context.Context, index uint64) error {
	for {
		s.mu.Lock()
		seen, advanced := s.published.Applied, s.advanced
		s.mu.Unlock()
		if seen >= index {
			return nil
		}
		select {
		case <-advanced:
		case <-s.retired:
			return granary.Errorf(granary.KindUnavailable, "wait", "", "for entry %d, at %d: a snapshot took this state's place", index, seen)
		case <-ctx.Done():
			return granary.Errorf(granary.KindCanceled, "wait", "", "for entry %d, at %d: %w", index, seen, ctx.Err())
		}
	}
}

// replaced reports whether another state has taken this one's place.
func (s *state) replaced() bool {
	select {
	case <-s.retired:
		return true
	default:
		return false
	}
}

// checkpoint writes a copy of the state into a directory that must not exist; the copy is durable
// when it returns.
func (s *state) checkpoint(dir string) error {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return errClosed("checkpoint")
	}
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return granary.Errorf(granary.KindInternal, "checkpoint", dir, "%w", err)
	}
	return nil
}

// sync makes everything applied durable: an empty record, synced, takes all before it along.
func (s *state) sync() error {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return errClosed("sync")
	}
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		return granary.Errorf(granary.KindInternal, "sync", "", "metadata store: %w", err)
	}
	return nil
}

func errClosed(op string) error {
	return granary.Errorf(granary.KindUnavailable, op, "", "the metadata store is closed")
}

// storeLog passes Pebble's messages on. Its news of every flush and compaction are for debugging.
type storeLog struct{ log *slog.Logger }

func (l storeLog) Infof(format string, args ...any)  { l.log.Debug(sprintf(format, args)) }
func (l storeLog) Errorf(format string, args ...any) { l.log.Error(sprintf(format, args)) }

// Fatalf must not return: Pebble calls it when it can no longer keep what it promised.
func (l storeLog) Fatalf(format string, args ...any) {
	l.log.Error(sprintf(format, args))
	panic("master: metadata store: " + sprintf(format, args))
}
