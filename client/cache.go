package client

import (
	"container/list"
	"context"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// cache keeps verified plaintext of chunks, the least recently used leaving first. Chunks that are being read count before they are
// there: together with what is kept they take no more than max, unless a single one does.
type cache struct {
	slabs  *slabs // takes the memory of chunks that nobody holds
	mu     sync.Mutex
	max    int64
	bytes  int64                             // kept
	coming int64                             // reserved
	room   chan struct{}                     // closed when some of that is given back; nil if nobody waits
	blocks map[granary.BlockID]*list.Element // of *chunk
	order  *list.List                        // most recently used first
	hits   uint64
	misses uint64
}

// chunk is a verified chunk in memory. Nobody writes to it as long as somebody holds it: the cache does, and who reads from it. Then its
// memory is used again.
type chunk struct {
	block granary.BlockID
	hash  granary.Hash
	verified
	holders int // guarded by cache.mu
}

// verified is plaintext that was verified, and the memory that it lies in.
type verified struct {
	plain  block.Plain
	memory []byte // of slabs
}

// CacheStats tells how the cache of decoded chunks fares.
type CacheStats struct {
	Hits, Misses uint64
	Bytes, Max   int64
}

func newCache(bytesMax int64, s *slabs) *cache {
	return &cache{slabs: s, max: bytesMax, blocks: map[granary.BlockID]*list.Element{}, order: list.New()}
}

// get returns a block's chunk, or nil. Who gets one holds it until drop. count is false for those who merely look.
func (c *cache) get(b *granary.BlockInfo, count bool) *chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.find(b)
	switch {
	case e == nil && count:
		c.misses++
	case count:
		c.hits++
	}
	if e == nil {
		return nil
	}
	e.holders++
	return e
}

// has reports whether a block's chunk is there, and makes it stay for a while.
func (c *cache) has(b *granary.BlockInfo) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(b) != nil
}

// find is has with c.mu held.
func (c *cache) find(b *granary.BlockInfo) *chunk {
	e := c.blocks[b.ID]
	if e == nil || e.Value.(*chunk).hash != b.Hash {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*chunk)
}

// drop ends a hold.
func (c *cache) drop(ch *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unhold(ch)
}

// unhold is drop with c.mu held.
func (c *cache) unhold(ch *chunk) {
	if ch.holders--; ch.holders == 0 {
		c.slabs.put(ch.memory)
		ch.verified = verified{}
	}
}

// reserve waits until there is room for n bytes. Whoever holds some waits for nothing else here.
func (c *cache) reserve(ctx context.Context, n int64) error {
	for {
		c.mu.Lock()
		if c.coming == 0 || c.coming+n <= c.max {
			c.coming += n
			c.shrink()
			c.mu.Unlock()
			return nil
		}
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return granary.Errorf(granary.KindCanceled, "read", "", "%w", ctx.Err())
		}
	}
}

// release gives back what was reserved.
func (c *cache) release(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free(n)
}

// free is release with c.mu held.
func (c *cache) free(n int64) {
	c.coming -= n
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// put adds a chunk, for which n bytes were reserved, and holds it.
func (c *cache) put(ch *chunk, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free(n)
	if ch.size() > c.max {
		return
	}
	if e := c.blocks[ch.block]; e != nil {
		c.remove(e)
	}
	ch.holders++
	c.blocks[ch.block] = c.order.PushFront(ch)
	c.bytes += ch.size()
	c.shrink()
}

// size is what a chunk takes of the budget.
func (ch *chunk) size() int64 { return int64(cap(ch.memory)) }

// shrink lets the least recently used chunks go until all that is kept and coming fits. c.mu is held.
func (c *cache) shrink() {
	for c.bytes > 0 && c.bytes+c.coming > c.max {
		c.remove(c.order.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	ch := c.order.Remove(e).(*chunk)
	delete(c.blocks, ch.block)
	c.bytes -= ch.size()
	c.unhold(ch)
}

// CacheStats returns how the cache of decoded chunks has fared so far.
func (c *Client) CacheStats() CacheStats {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	return CacheStats{Hits: c.cache.hits, Misses: c.cache.misses, Bytes: c.cache.bytes, Max: c.cache.max}
}
