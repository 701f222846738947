package client

import (
	"container/list"
	"context"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

const (
	idleShare = 32   // of the budget: what spent chunks take at most
	leftMax   = 8192 // chunks that are remembered when they are let go
)

// cache keeps verified plaintext of chunks, the least recently used leaving first. Chunks that are being read count before they are
// there: together with what is kept they take no more than max, unless a single one does.
//
// A stream does not push out what others read again and again, nor does it go through all of the memory: a chunk that was read to its
// end is spent, and only few of those are kept. Who reads it again meanwhile, or has it loaded again later, makes it one that stays
// (as in 2Q: Johnson and Shasha, VLDB 1994).
type cache struct {
	slabs  *slabs // takes the memory of chunks that nobody holds
	mu     sync.Mutex
	max    int64
	bytes  int64                             // kept
	coming int64                             // reserved
	room   chan struct{}                     // closed when some of that is given back; nil if nobody waits
	blocks map[granary.BlockID]*list.Element // of *chunk
	order  *list.List                        // most recently used first
	spent  *list.List                        // the others, the last to be read to its end first
	idle   int64                             // bytes of spent
	left   []granary.BlockID                 // a ring of spent chunks that were let go
	leftAt map[granary.BlockID]int           // their places
	next   int                               // place in left
	hits   uint64
	misses uint64
}

// chunk is a verified chunk in memory. Nobody writes to it as long as somebody holds it: the cache does, and who reads from it. Then its
// memory is used again.
type chunk struct {
	block granary.BlockID
	hash  granary.Hash
	verified
	holders int  // guarded by cache.mu, as are the others
	stays   bool // it was of use more than once
	idle    bool // it is in cache.spent
}

// verified is plaintext that was verified, and the memory that it lies in.
type verified struct {
	plain  block.Plain
	memory []byte // of slabs
	slab   []byte // that memory lies in; nil if it is memory
}

// whole returns what slabs.put takes.
func (v verified) whole() []byte {
	if v.slab != nil {
		return v.slab
	}
	return v.memory
}

// CacheStats tells how the cache of decoded chunks fares.
type CacheStats struct {
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	Bytes  int64  `json:"bytes"`
	Max    int64  `json:"max"`
}

func newCache(bytesMax int64, s *slabs) *cache {
	return &cache{
		slabs: s, max: bytesMax, blocks: map[granary.BlockID]*list.Element{}, order: list.New(),
		spent: list.New(), left: make([]granary.BlockID, leftMax), leftAt: map[granary.BlockID]int{},
	}
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
	ch := e.Value.(*chunk)
	if !ch.idle {
		c.order.MoveToFront(e)
		return ch
	}
	c.wake(e)
	ch.stays = true
	c.blocks[b.ID] = c.order.PushFront(ch)
	return ch
}

// wake takes a chunk out of those that are spent.
func (c *cache) wake(e *list.Element) {
	ch := c.spent.Remove(e).(*chunk)
	ch.idle = false
	c.idle -= ch.size()
}

// spend takes note that a chunk was read to its end.
func (c *cache) spend(ch *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blocks[ch.block]
	if e == nil || e.Value != ch || ch.stays || ch.idle {
		return
	}
	c.order.Remove(e)
	ch.idle = true
	c.blocks[ch.block] = c.spent.PushFront(ch)
	c.idle += ch.size()
	for c.idle > c.max/idleShare {
		last := c.spent.Back()
		c.leave(last.Value.(*chunk).block)
		c.remove(last)
	}
}

// leave remembers a chunk that is let go because it is spent.
func (c *cache) leave(id granary.BlockID) {
	if old := c.left[c.next]; c.leftAt[old] == c.next {
		delete(c.leftAt, old)
	}
	c.left[c.next], c.leftAt[id] = id, c.next
	c.next = (c.next + 1) % len(c.left)
}

// hold is one more hold of a chunk that the caller holds.
func (c *cache) hold(ch *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.holders++
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
		c.slabs.put(ch.whole())
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
	if _, ok := c.leftAt[ch.block]; ok {
		ch.stays = true
		delete(c.leftAt, ch.block)
	}
	ch.holders++
	c.blocks[ch.block] = c.order.PushFront(ch)
	c.bytes += ch.size()
	c.shrink()
}

// size is what a chunk takes of the budget.
func (ch *chunk) size() int64 { return int64(cap(ch.whole())) }

// shrink lets the chunks that are spent, and the least recently used ones go until all that is kept and coming fits. c.mu is held.
func (c *cache) shrink() {
	for c.bytes > 0 && c.bytes+c.coming > c.max {
		e := c.spent.Back()
		if e == nil {
			e = c.order.Back()
		}
		c.remove(e)
	}
}

// clear lets all chunks go.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.blocks {
		c.remove(e)
	}
}

func (c *cache) remove(e *list.Element) {
	ch := e.Value.(*chunk)
	if ch.idle {
		c.wake(e)
	} else {
		c.order.Remove(e)
	}
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
