package filer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// FS is a file system over a client. It is safe for concurrent use.
type FS struct {
	client      *client.Client
	store       store
	log         *slog.Logger
	writeBuffer int64
	flushAfter  time.Duration
	pieceSize   int
	memoryMax   int64
	stalls      stalls
	buffers     *buffers
	early       *early
	holders     holders
	keyring     keyring
	owner       *granary.Cred
	held        *holdings // nil: no directories are held
	syncClose   bool      // closing a file makes it durable, also in directories that are held

	ctx  context.Context // of the background; ends in Close
	stop context.CancelFunc

	closing sync.Once

	wg   sync.WaitGroup // the flusher and what it started
	wake chan struct{}  // the flusher has something to look at
	busy chan struct{}  // holds a token for every background flush

	mu     sync.Mutex
	inodes map[granary.InodeID]*inode
	dirty  map[*inode]struct{} // those with dirty data
	memory int64               // bytes of all buffers
	freed  chan struct{}       // closed and replaced when memory becomes less
	locks  map[granary.InodeID]*held

	locked atomic.Int64 // len(locks)

	queries, changes callCount
}

// New makes a FS. Its flusher runs until Close.
func New(o Options) *FS {
	fs := newFS(o, clientStore{o.Client})
	fs.client = o.Client
	if o.Delegations {
		fs.hold(clientStore{o.Client})
	}
	return fs
}

func newFS(o Options, s store) *FS {
	o = o.withDefaults()
	fs := &FS{
		log:         o.Log,
		writeBuffer: o.WriteBuffer, flushAfter: o.FlushAfter, pieceSize: o.pieceSize(),
		memoryMax: max(o.WriteMemory, o.WriteBuffer),
		stalls:    stalls{patience: o.Patience, over: make(chan struct{})},
		buffers:   &buffers{},
		holders:   holders{known: map[holderKey]knownHolder{}},
		owner:     o.Owner,
		syncClose: o.DurableClose,
		wake:      make(chan struct{}, 1),
		busy:      make(chan struct{}, flushersMax),
		inodes:    map[granary.InodeID]*inode{},
		dirty:     map[*inode]struct{}{},
		freed:     make(chan struct{}),
		locks:     map[granary.InodeID]*held{},
		early:     newEarly(),
	}
	fs.store = counted{s, &fs.queries, &fs.changes}
	// The background belongs to no caller: it ends with Close.
	fs.ctx, fs.stop = context.WithCancel(context.Background())
	fs.wg.Go(fs.flusher)
	return fs
}

// hold has directories held.
func (fs *FS) hold(by holder) {
	fs.held = newHoldings(fs, by)
	fs.wg.Go(fs.held.run)
	fs.wg.Go(fs.held.takeWanted)
}

// WithCred returns a context in which paths are walked, directories listed and files looked at on behalf of a caller, who is
// refused what permission bits do not give. Without it nothing is refused: so do the gateways ask, which check for
// themselves who may do what. Functions that take a Cred do all that they do on its behalf.
func WithCred(ctx context.Context, cred granary.Cred) context.Context {
	return client.WithCred(ctx, cred)
}

// Client returns the client that the FS works with.
func (fs *FS) Client() *client.Client { return fs.client }

// Close flushes every handle and stops the flusher. The client stays open. It returns the errors of
// the flushes; what they could not commit before ctx ended is lost.
func (fs *FS) Close(ctx context.Context) error {
	fs.closing.Do(func() { close(fs.stalls.over) })
	told := fs.held.sync(ctx)
	err := fs.flushAll(func(in *inode) error {
		if err := in.acquire(ctx, "close"); err != nil {
			return err
		}
		defer in.release()
		return in.commit(ctx, ctx, true)
	})
	fs.stop()
	fs.wg.Wait()
	return asError("close", errors.Join(told, err))
}

// SyncAll returns when everything written through this FS before is committed: syncfs(2).
func (fs *FS) SyncAll(ctx context.Context) error {
	told := fs.held.sync(ctx)
	return asError("sync", errors.Join(told, fs.flushAll(func(in *inode) error { return in.flush(ctx) })))
}

// flushAll calls flush for all inodes with dirty data, several at a time, and returns all errors.
func (fs *FS) flushAll(flush func(*inode) error) error {
	var mu sync.Mutex
	var errs []error
	var group errgroup.Group
	group.SetLimit(flushersMax)
	for _, in := range fs.dirtyInodes() {
		group.Go(func() error {
			err := flush(in)
			fs.put(in)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			return nil
		})
	}
	return errors.Join(group.Wait(), errors.Join(errs...))
}

// SyncNames returns when all that was done with names through this FS before is committed: fsync(2) of a directory.
func (fs *FS) SyncNames(ctx context.Context) error { return asError("sync", fs.held.sync(ctx)) }

// asError makes one Error of joined ones, with the kind of the first.
func asError(op string, err error) error {
	if err == nil {
		return nil
	}
	return granary.Errorf(granary.KindOf(err), op, "", "%w", err)
}

// dirtyInodes returns the inodes with dirty data. The caller puts them.
func (fs *FS) dirtyInodes() []*inode {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := make([]*inode, 0, len(fs.dirty))
	for in := range fs.dirty {
		in.refs++
		list = append(list, in)
	}
	return list
}

// account adds to the memory that is used, and puts the inode on the list of the dirty ones or takes
// it off. The caller holds in.mu.
func (fs *FS) account(in *inode, delta int64, pending bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.memory += delta
	if delta < 0 {
		close(fs.freed)
		fs.freed = make(chan struct{})
	}
	if pending == in.listed {
		return
	}
	in.listed = pending
	if pending {
		fs.dirty[in] = struct{}{}
		in.refs++
		fs.nudge()
		return
	}
	delete(fs.dirty, in)
	in.refs-- // the caller has a reference too
}

// full reports whether the buffers of all files together are, and returns what is closed when memory becomes
// free.
func (fs *FS) full() (bool, <-chan struct{}) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.memory >= fs.memoryMax, fs.freed
}

// nudge makes the flusher look.
func (fs *FS) nudge() {
	select {
	case fs.wake <- struct{}{}:
	default:
	}
}
