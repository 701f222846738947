package client

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	looksMax   = 4                // shards that servers are looking at for this client at once
	lookAgain  = 10 * time.Second // before the same shard is looked at once more
	lookWithin = 30 * time.Second
	looksKept  = 1024 // shards of which it is known when they were looked at
)

// looks is about the shards that did not verify: their servers are asked to compare them with what was sealed, in the background.
// A server that finds them damaged tells the leader, which has them repaired. So what a reader finds is not left to the next scrub.
type looks struct {
	mu    sync.Mutex
	under int
	at    map[granary.ShardRef]time.Time // when a shard was last looked at
}

func newLooks() *looks { return &looks{at: map[granary.ShardRef]time.Time{}} }

// begin reports whether a shard is to be looked at now. What is turned away is found by who reads it next, or by a scrub.
func (l *looks) begin(ref granary.ShardRef) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if last, ok := l.at[ref]; l.under >= looksMax || ok && now.Sub(last) < lookAgain {
		return false
	}
	if len(l.at) >= looksKept {
		clear(l.at)
	}
	l.at[ref] = now
	l.under++
	return true
}

func (l *looks) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under--
}

// suspect has the server of a shard look at a range in which bytes did not verify. Of a volume that may still be
// appended to, the server cannot say: its shards have no page tables yet.
func (c *Client) suspect(v *granary.Volume, shard int, off uint64, length int) {
	place := &v.Shards[shard]
	ref := granary.ShardRef{Disk: place.Disk, Volume: v.ID, Shard: uint8(shard)}
	if v.State == granary.VolumeOpen || place.Addr == "" || !c.looks.begin(ref) {
		return
	}
	addr := place.Addr
	look := func() {
		defer c.looks.end()
		ctx, cancel := context.WithTimeout(c.ctx, lookWithin)
		defer cancel()
		p := c.bufs.get(length)[:length]
		defer c.bufs.put(p)
		_, _, err := c.o.Shards.ReadSealed(ctx, addr, ref, p, int64(off))
		switch granary.KindOf(err) {
		case granary.KindNone:
			c.log.Warn("bytes did not verify, but are on the disk as they were sealed", "shard", ref, "offset", off, "length", length)
		case granary.KindCorrupt:
			c.log.Warn("a reader has found a damaged shard: its server knows now", "shard", ref, "err", err)
		default:
			c.log.Info("a shard whose bytes did not verify could not be looked at", "shard", ref, "err", err)
		}
	}
	if !c.spawn(look) {
		c.looks.end()
	}
}
