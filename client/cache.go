package client

import (
	"container/list"
	"sync"

	"github.com/dsorchard/granary"
)

// cache keeps verified plaintext of chunks, the least recently used leaving first. What it hands
// out is never written again.
type cache struct {
	mu     sync.Mutex
	max    int64
	bytes  int64
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

// put adds the plaintext of a block.
func (c *cache) put(b *granary.BlockInfo, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int64(len(plain)) > c.max {
		return
	}
	if e := c.blocks[b.ID]; e != nil {
		c.remove(e)
	}
	c.blocks[b.ID] = c.order.PushFront(&cached{b.ID, b.Hash, plain})
	c.bytes += int64(len(plain))
	for c.bytes > c.max {
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
