package client

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/block"
)

// closeWithin bounds how long Close waits for the master to end the session.
const closeWithin = 3 * time.Second

// Client is one client of a cluster, with one session at a time. It is safe for concurrent use.
type Client struct {
	o       Options
	log     *slog.Logger
	masters *masters
	index   atomic.Uint64 // highest Raft index seen

	ctx  context.Context // ends when Close has told the master
	stop context.CancelFunc
	wg   sync.WaitGroup // everything started by spawn

	mu       sync.Mutex
	closed   bool          // no new calls
	stopped  bool          // no new goroutines
	sess     *session      // nil between sessions
	opening  chan struct{} // closed when whoever opens a session has finished; nil if nobody does
	cluster  granary.ClusterID
	policies map[granary.PolicyID]granary.Policy
	classes  map[granary.Policy]granary.PolicyID // ids of those that have a StorageClass
	writers  map[shape]*writer
	badDisks map[granary.DiskID]time.Time // that failed an append, and until when they are left out

	opens   *opens
	codec   *block.Codec
	codes   erasure.Cache
	bufs    buffers
	arenas  arenas
	rooms   rooms
	budget  budget // of chunks of uploads …
	lending budget // … and of the arenas that they are in
	slabs   slabs
	cores   chan struct{} // one token for each core that encodes or hashes
	placing *placing
	cache   *cache
	reader  reader
	latency latency
	hedging *hedging
	looks   *looks
	reads   readCount
	kept    *kept
}

// Open finds the leader, opens a session and keeps it alive until Close. ctx bounds Open alone.
func Open(ctx context.Context, o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	c := &Client{
		o: o, log: o.Log,
		masters:  newMasters(o.Dial, o.Masters),
		policies: map[granary.PolicyID]granary.Policy{},
		classes:  map[granary.Policy]granary.PolicyID{},
		writers:  map[shape]*writer{},
		badDisks: map[granary.DiskID]time.Time{},
		opens:    newOpens(),
		codec:    block.NewCodec(),
		budget:   budget{max: o.UploadBytes},
		lending:  budget{max: 2 * o.UploadBytes},
		cores:    make(chan struct{}, runtime.GOMAXPROCS(0)),
		placing:  newPlacing(),
		hedging:  newHedging(),
		looks:    newLooks(),
		kept:     newKept(o.KeepBytes),
		reader:   reader{flights: map[granary.BlockID]*flight{}, warned: map[granary.DiskID]time.Time{}},
	}
	c.cache = newCache(o.CacheBytes, &c.slabs)
	if f, ok := o.Shards.(filler); ok {
		c.slabs.lent.from, c.slabs.lent.all = f, map[*byte]struct{}{}
	}
	c.ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	if _, err := c.live(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.spawn(func() { c.tend(c.ctx) })
	return c, nil
}

// Close ends the session and waits for all that the client has started. It flushes nothing: callers
// have. What still is under way ends with KindCanceled.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	s := c.sess
	c.closed = true
	c.mu.Unlock()
	c.kept.giveUp()
	if s != nil {
		s.end()
	}
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.stop()
	for _, w := range c.allWriters() {
		w.shut()
	}
	c.wg.Wait()
	for _, w := range c.allWriters() {
		w.forgetAll()
	}
	c.cache.clear()
	c.slabs.lent.close()
	c.arenas.close()
	c.rooms.close()
	return c.masters.close()
}

// end tells the master that the session is over. If it does not hear, the session expires later.
func (s *session) end() {
	ctx, cancel := context.WithTimeout(s.c.ctx, closeWithin)
	defer cancel()
	q := &call{req: granary.Request{Op: &granary.CloseSession{}}, done: make(chan struct{})}
	s.start(ctx, []*call{q})
	results, err := s.await(ctx, []*call{q})
	if err == nil && results[0].Err != nil {
		err = results[0].Err
	}
	if err != nil {
		s.c.log.Info("session left to expire", "session", s.id, "err", err)
	}
}

// Session returns the id of the session that calls use, or 0 between two sessions.
func (c *Client) Session() granary.SessionID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sess == nil {
		return 0
	}
	return c.sess.id
}

// Cluster returns the id of the cluster.
func (c *Client) Cluster() granary.ClusterID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cluster
}

// spawn runs fn in a goroutine that Close waits for; after Close it reports false.
func (c *Client) spawn(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		fn()
	}()
	return true
}

// saw remembers the highest Raft index that an answer came from: later queries ask for no less.
func (c *Client) saw(index granary.Index) {
	for {
		old := c.index.Load()
		if uint64(index) <= old || c.index.CompareAndSwap(old, uint64(index)) {
			return
		}
	}
}
