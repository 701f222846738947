package client

import (
	"container/list"
	"context"
	"sync"

	"github.com/dsorchard/granary"
)

// cache keeps verified plaintext of chunks, the least recently used leaving first. What it hands
// out is never written again. Chunks that are being read count before they are there: together with what is kept they take no more
// than max, unless a single one does.
type cache struct {
	mu     sync.Mutex
	max    int64
	bytes  int64                             // kept
	coming int64                             // reserved
	room   chan struct{}                     // closed when some of that is given back; nil if nobody waits
	blocks map[granary.BlockID]*list.Element // of *cached
	order  *list.List                        // most recently used first
	hits   uint64
	misses uint64
}

type cached struct {
	block granary.BlockID
	hash  granary.Hash
	plain []byte
}

// CacheStats tells how the cache of decoded chunks fares.
type CacheStats struct {
	Hits, Misses uint64
	Bytes, Max   int64
}

func newCache(bytesMax int64) *cache {
	return &cache{max: bytesMax, blocks: map[granary.BlockID]*list.Element{}, order: list.New()}
}

// get returns the plaintext of a block, or nil. count is false for those who merely look.
func (c *cache) get(b *granary.BlockInfo, count bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blocks[b.ID]
	if e == nil || e.Value.(*cached).hash != b.Hash {
		if count {
			c.misses++
		}
		return nil
	}
	if count {
		c.hits++
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).plain
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

// put adds the plaintext of a block, for which n bytes were reserved.
func (c *cache) put(b *granary.BlockInfo, plain []byte, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free(n)
	if int64(len(plain)) > c.max {
		return
	}
	if e := c.blocks[b.ID]; e != nil {
		c.remove(e)
	}
	c.blocks[b.ID] = c.order.PushFront(&cached{b.ID, b.Hash, plain})
	c.bytes += int64(len(plain))
	c.shrink()
}

// shrink lets the least recently used chunks go until all that is kept and coming fits. c.mu is held.
func (c *cache) shrink() {
	for c.bytes > 0 && c.bytes+c.coming > c.max {
		c.remove(c.order.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	x := c.order.Remove(e).(*cached)
	delete(c.blocks, x.block)
	c.bytes -= int64(len(x.plain))
}

// CacheStats returns how the cache of decoded chunks has fared so far.
func (c *Client) CacheStats() CacheStats {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	return CacheStats{Hits: c.cache.hits, Misses: c.cache.misses, Bytes: c.cache.bytes, Max: c.cache.max}
}
