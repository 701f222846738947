package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

const (
	hedgeLeast   = 20 * time.Millisecond // a read is waited for at least so long before others are asked
	hedgeUnknown = 50 * time.Millisecond // … and so long while it is not known how long reads take
	readWithin   = 10 * time.Second      // for one shard's answer
	repeatWithin = time.Second           // a read into lent memory that fails so soon is repeated
	hedgesMax    = 8                     // slow reads at once for which others are asked: when all is slow, more reads do not help
	// Every read allows for so many percent of a shard read for the sake of slow ones, and so many percent can be saved up. One slow
	// disk under k data shards needs 100: each k-th read is slow then, and costs k others.
	hedgeShare     = 125
	hedgeBudgetMax = 100 * 64
	combosMax      = 256              // ways of choosing k shards that are tried on bad bytes
	warnDiskOnce   = 10 * time.Second // a disk's failures are logged at most this often
)

// outcome is what one way of reading a section came to.
type outcome struct {
	got verified
	err error
}

// fetch reads and verifies a section of a block: from its own shard, and from the same range of k
// other shards when that fails, is slow, or is not worth trying first. The first verified answer wins; the memory of a later one is
// used again.
func (c *Client) fetch(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, s section) (verified, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own := &v.Shards[b.Location.Shard]
	direct, rebuilt := make(chan outcome), make(chan outcome)
	tried, rebuilding, open := false, false, true
	try := func() {
		tried = true
		open = c.fork(ctx, direct, func() outcome { return c.readOwn(ctx, v, b, s) })
	}
	rebuild := func() {
		rebuilding = true
		open = c.fork(ctx, rebuilt, func() outcome { return c.rebuild(ctx, v, b, s) })
	}
	if own.Up || v.ParityShards == 0 {
		try()
	} else {
		rebuild()
	}
	c.hedging.earn()
	patience := c.latency.patience(own.Disk, s.length)
	hedge := time.NewTimer(patience)
	defer hedge.Stop()
	var ownErr, othersErr error
	for {
		if !open {
			return verified{}, granary.Errorf(granary.KindCanceled, "read", blockName(b), "the client is closed")
		}
		select {
		case o := <-direct:
			if o.err == nil {
				return o.got, nil
			}
			ownErr = o.err
			if ctx.Err() == nil {
				c.warnDisk(own.Disk, "shard failed a read: reconstructing", b, ownErr)
			}
		case o := <-rebuilt:
			if o.err == nil {
				return o.got, nil
			}
			othersErr = o.err
		case <-hedge.C:
			cost := v.DataShards
			if rebuilding {
				cost = 1
			}
			if tried && (rebuilding || v.ParityShards == 0) {
				continue // everybody is asked
			}
			if !c.hedging.begin(cost) {
				hedge.Reset(patience)
				continue
			}
			defer c.hedging.end()
		case <-ctx.Done():
			return verified{}, granary.Errorf(granary.KindCanceled, "read", blockName(b), "%w", context.Cause(ctx))
		}
		switch {
		case !rebuilding && v.ParityShards > 0:
			rebuild()
		case !tried: // the others failed, or are slow
			try()
		case ownErr != nil && (othersErr != nil || v.ParityShards == 0):
			return verified{}, unreadable(b, ownErr, othersErr)
		}
	}
}

// fork runs fn in a goroutine that Close waits for. Once ctx has ended nobody need hear what it came to. It returns false when the client is closed.
func (c *Client) fork(ctx context.Context, to chan<- outcome, fn func() outcome) bool {
	return c.spawn(func() {
		o := fn()
		select {
		case to <- o:
		case <-ctx.Done():
			c.slabs.put(o.got.whole())
		}
	})
}

// unreadable is the error of a block that could be had in no way. It is KindStale if no shard is
// where the layout says: the volume is gone, and the block has moved. It is KindUnavailable if a shard that
// did not answer might have helped, else KindCorrupt.
func unreadable(b *granary.BlockInfo, own, others error) error {
	var all shardErrors
	if !errors.As(others, &all) {
		all = shardErrors{}
		if others != nil {
			all[-1] = others
		}
	}
	all[int(b.Location.Shard)] = own
	stale, silent := true, false
	for shard, err := range all {
		if shard < 0 {
			continue
		}
		switch granary.KindOf(err) {
		case granary.KindNotFound:
		case granary.KindCorrupt:
			stale = false
		default:
			stale, silent = false, true
		}
	}
	kind := granary.KindCorrupt
	switch {
	case stale:
		kind = granary.KindStale
	case silent:
		kind = granary.KindUnavailable
	}
	return granary.Errorf(kind, "read", fmt.Sprintf("%s (chunk %s)", blockName(b), b.Hash), "%w", all)
}

// shardErrors says what was wrong with each shard; -1 is about all of them.
type shardErrors map[int]error

// Error lists them.
func (e shardErrors) Error() string {
	var parts []string
	for i, err := range e {
		who := fmt.Sprintf("shard %02d", i)
		if i < 0 {
			who = "together"
		}
		parts = append(parts, who+": "+err.Error())
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// warnDisk logs that a read had to do without a disk, not too often.
func (c *Client) warnDisk(disk granary.DiskID, text string, b *granary.BlockInfo, err error) {
	r := &c.reader
	r.mu.Lock()
	due := time.Since(r.warned[disk]) > warnDiskOnce
	if due {
		r.warned[disk] = time.Now()
	}
	r.mu.Unlock()
	if due {
		c.log.Warn(text, "block", b.ID, "volume", b.Location.Volume, "shard", b.Location.Shard, "disk", disk, "err", err)
	}
}

// readOwn reads a section from the shard that holds the block.
func (c *Client) readOwn(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, s section) outcome {
	stored, slab, n, length, err := c.readStored(ctx, v, b, s)
	if err == nil && n < s.length {
		err = granary.Errorf(granary.KindCorrupt, "read", "", "the shard ends at %d, within the block", length)
	}
	var got verified
	if err == nil {
		got, err = s.verify(stored)
	}
	if got.in(stored) {
		got.slab = slab
	} else {
		c.slabs.put(slab)
	}
	if granary.IsKind(err, granary.KindCorrupt) {
		c.suspect(v, int(b.Location.Shard), b.Location.Offset+uint64(s.off), s.length)
	}
	return outcome{got, err}
}

// readStored reads a section from the shard that holds the block into memory of slabs: lent memory, if the server takes it. When a read into that fails,
// the server may still write to it: it is given up, and other memory is returned. Such a read is not repeated by net/http if an
// idle connection turns out to be dead; so one that fails soon is repeated here, with a body.
func (c *Client) readStored(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, s section) (stored, slab []byte, n int, length uint64, err error) {
	shard, off, size := int(b.Location.Shard), b.Location.Offset+uint64(s.off), s.length
	if s.kept {
		size = inPages(s.length)
	}
	in := func(slab []byte) []byte {
		if s.kept {
			return pages(slab, s.length, off)
		}
		return slab
	}
	if lent := &c.slabs.lent; s.kept && lent.from != nil && lent.from.LendsReads(v.Shards[shard].Addr) {
		if slab = lent.get(size); slab != nil {
			began := time.Now()
			stored = in(slab)
			n, length, err = c.readShard(ctx, v, shard, stored, off)
			if err == nil {
				return stored, slab, n, length, nil
			}
			lent.forget(slab)
			if ctx.Err() != nil || !granary.IsKind(err, granary.KindUnavailable) || time.Since(began) > repeatWithin {
				return nil, nil, 0, 0, err
			}
		}
	}
	slab = c.slabs.get(size)
	stored = in(slab)
	n, length, err = c.readShard(ctx, v, shard, stored, off)
	return stored, slab, n, length, err
}

// readShard reads a range of one shard.
func (c *Client) readShard(ctx context.Context, v *granary.Volume, shard int, p []byte, off uint64) (int, uint64, error) {
	place := &v.Shards[shard]
	if place.Addr == "" {
		return 0, 0, granary.Errorf(granary.KindUnavailable, "read", string(place.Disk), "its server is not known")
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	ref := granary.ShardRef{Disk: place.Disk, Volume: v.ID, Shard: uint8(shard)}
	began := time.Now()
	n, length, err := c.o.Shards.ReadAt(ctx, place.Addr, ref, p, int64(off))
	switch {
	case err == nil:
		c.latency.add(place.Disk, len(p), time.Since(began))
	case ctx.Err() != nil:
		c.latency.gaveUp(place.Disk, len(p), time.Since(began))
		err = granary.Errorf(granary.KindUnavailable, "read", ref.String(), "%w", err)
	}
	return n, length, err
}
