package client

import (
	"slices"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// atOnce is Shards of which some lie on this machine, whose memory may hold what is read.
type atOnce interface {
	// ReadAtOnce fills parts, one after the other, with the bytes at off of a shard's stream, and reports true, if that takes no waiting
	// for a disk or a server. What is in parts after false is anything.
	ReadAtOnce(addr string, ref granary.ShardRef, parts [][]byte, off int64) bool
}

// ReadAtOnce returns bytes of the file from off on and before end, which lie in buf, as far as it has room and they can be had without
// waiting for anything: of chunks in the cache, and of uncompressed blocks on this machine that its memory holds. They are verified
// like those of ReadLayout, which is to be asked when there are none, and says why.
//
// A stream that is read so is still in the processor's caches when it is sent, takes no goroutines, and no room in the cache here for what
// the system's memory has. Nothing is hedged, as nothing can be late.
func (c *Client) ReadAtOnce(l *granary.Layout, buf []byte, off, end uint64) []byte {
	first, found := slices.BinarySearchFunc(l.Extents, off, func(e granary.Extent, off uint64) int {
		switch {
		case e.Offset > off:
			return 1
		case e.Offset+e.Length <= off:
			return -1
		}
		return 0
	})
	if !found {
		return nil
	}
	blocks := finder(l)
	from, to := 0, 0 // what is there, of buf
	for i := first; i < len(l.Extents) && l.Extents[i].Offset <= off && off < end; {
		e := &l.Extents[i]
		b, v, err := blocks(e)
		if err != nil {
			break // who asks ReadLayout for more will hear
		}
		at, want := int(off-e.Offset)+int(e.ChunkOffset), int(min(e.Offset+e.Length, end)-off)
		before, n := c.chunkAtOnce(v, b, at, want, buf[to:], to == 0)
		if n == 0 {
			break
		}
		if to == 0 {
			from = before
		}
		to += before + n
		if off += uint64(n); off == e.Offset+e.Length {
			i++
		}
	}
	return buf[from:to]
}

// chunkAtOnce reads bytes of a chunk from an offset on into room, at most so many, and returns how many there are; none if they cannot be had
// at once. Others of the chunk may lie before them in room, if that is said: how many is returned too.
func (c *Client) chunkAtOnce(v *granary.Volume, b *granary.BlockInfo, at, want int, room []byte, others bool) (before, n int) {
	n = min(want, len(room))
	if n == 0 || c.cache.has(b) && c.cached(b, at, room[:n]) {
		return 0, n
	}
	shards, ok := c.o.Shards.(atOnce)
	f, plain := block.FramesOf(b.RawLength, b.Location.Length)
	own := &v.Shards[b.Location.Shard]
	if !ok || !plain || !own.Up || own.Addr == "" || c.loading(b) {
		return 0, 0
	}
	frames := f.Apart(room, at, want)
	if len(frames.Parts) == 0 || frames.Before > 0 && !others {
		return 0, 0
	}
	began := time.Now()
	ref := granary.ShardRef{Disk: own.Disk, Volume: v.ID, Shard: b.Location.Shard}
	if !shards.ReadAtOnce(own.Addr, ref, frames.Parts, int64(b.Location.Offset)+int64(frames.Offset)) {
		return 0, 0
	}
	got, err := frames.Verify(b.Hash)
	if err != nil {
		return 0, 0 // it is read again, and what is wrong is told
	}
	c.reads.note(began, len(got), nil)
	return frames.Before, len(got)
}

// loading reports whether a block is being read into the cache.
func (c *Client) loading(b *granary.BlockInfo) bool {
	c.reader.mu.Lock()
	defer c.reader.mu.Unlock()
	return c.reader.flights[b.ID] != nil
}
