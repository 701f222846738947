package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

const (
	// A read of less than smallRead bytes of a chunk larger than smallChunk fetches only the frames
	// that it needs, if the block is not compressed.
	smallRead  = 64 << 10
	smallChunk = 256 << 10

	readsMax    = 8  // chunks of one ReadLayout read at once
	prefetchMax = 16 // chunks being prefetched at once
)

// reader is the state that reads share.
type reader struct {
	mu          sync.Mutex
	flights     map[granary.BlockID]*flight // whole blocks being read
	prefetching int
	warned      map[granary.DiskID]time.Time // when a disk's failure was last logged
}

// flight is one block being read for all who want it.
type flight struct {
	done  chan struct{}
	plain []byte
	err   error
}

// ReadLayout fills p with the file's bytes at off, as the layout has them: verified, reconstructed
// where a shard is missing, slow or wrong, zeros only where the layout has nothing. The range must
// lie within what the layout covers. KindStale: the layout is out of date, fetch it again.
// KindCorrupt and KindUnavailable name the block, its volume and what each shard said.
func (c *Client) ReadLayout(ctx context.Context, l *granary.Layout, p []byte, off uint64) error {
	end := off + uint64(len(p))
	if end < off || end > l.Size {
		return granary.Errorf(granary.KindInvalid, "read", "", "bytes %d to %d of a file of %d", off, end, l.Size)
	}
	clear(p)
	if off < uint64(len(l.Inline)) {
		copy(p, l.Inline[off:])
	}
	blocks := finder(l)
	var reads []func(ctx context.Context) error
	var covered uint64
	for i := range l.Extents {
		e := &l.Extents[i]
		covered = max(covered, e.Offset+e.Length)
		from, to := max(e.Offset, off), min(e.Offset+e.Length, end)
		if from >= to {
			continue
		}
		b, v, err := blocks(e)
		if err != nil {
			return err
		}
		dst, at := p[from-off:to-off], int(from-e.Offset)+int(e.ChunkOffset)
		reads = append(reads, func(ctx context.Context) error { return c.readChunk(ctx, v, b, at, dst) })
	}
	if l.Truncated && end > covered {
		return granary.Errorf(granary.KindInvalid, "read", "", "bytes %d to %d, the layout ends at %d", off, end, covered)
	}
	switch len(reads) {
	case 0:
		return nil
	case 1:
		return reads[0](ctx)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsMax)
	for _, read := range reads {
		group.Go(func() error { return read(ctx) })
	}
	return group.Wait()
}

// finder returns a function that finds the block of an extent and its volume.
func finder(l *granary.Layout) func(e *granary.Extent) (*granary.BlockInfo, *granary.Volume, error) {
	next := 0 // extents mostly come in the order of their blocks
	return func(e *granary.Extent) (*granary.BlockInfo, *granary.Volume, error) {
		for range l.Blocks {
			b := &l.Blocks[next%len(l.Blocks)]
			if b.ID != e.Block {
				next++
				continue
			}
			if uint64(e.ChunkOffset)+e.Length > uint64(b.RawLength) {
				return nil, nil, granary.Errorf(granary.KindInternal, "read", blockName(b), "extent %d+%d is not within its %d bytes", e.ChunkOffset, e.Length, b.RawLength)
			}
			for i := range l.Volumes {
				v := &l.Volumes[i]
				if v.ID == b.Location.Volume && int(b.Location.Shard) < v.DataShards && len(v.Shards) == v.DataShards+v.ParityShards {
					return b, v, nil
				}
			}
			return nil, nil, granary.Errorf(granary.KindInternal, "read", blockName(b), "the layout lacks its volume")
		}
		return nil, nil, granary.Errorf(granary.KindInternal, "read", fmt.Sprintf("block %d", e.Block), "the layout lacks it")
	}
}

func blockName(b *granary.BlockInfo) string {
	return fmt.Sprintf("block %d of volume %d", b.ID, b.Location.Volume)
}

// readChunk fills dst from a chunk's plaintext at an offset.
func (c *Client) readChunk(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, at int, dst []byte) error {
	if plain := c.cache.get(b, true); plain != nil {
		copy(dst, plain[at:])
		return nil
	}
	if len(dst) < smallRead && b.RawLength > smallChunk && b.Location.Length == block.UncompressedSize(b.RawLength) {
		got, err := c.fetch(ctx, v, b, frames(b, at, len(dst)))
		if err == nil {
			copy(dst, got)
		}
		return err
	}
	f := c.load(v, b)
	select {
	case <-f.done:
	case <-ctx.Done():
		return granary.Errorf(granary.KindCanceled, "read", blockName(b), "%w", ctx.Err())
	}
	if f.err == nil {
		copy(dst, f.plain[at:])
	}
	return f.err
}

// load reads a whole block into the cache, once for all who want it at the time. It goes on when
// they give up, within its own time.
func (c *Client) load(v *granary.Volume, b *granary.BlockInfo) *flight {
	r := &c.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[b.ID]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if plain := c.cache.get(b, false); plain != nil {
		f.plain = plain
		close(f.done)
		return f
	}
	v2, b2 := *v, *b // the caller's layout may be gone before the flight ends
	r.flights[b.ID] = f
	ok := c.spawn(func() {
		f.plain, f.err = c.loadInto(&v2, &b2)
		r.mu.Lock()
		delete(r.flights, b2.ID)
		r.mu.Unlock()
		close(f.done)
	})
	if !ok {
		delete(r.flights, b.ID)
		f.err = granary.Errorf(granary.KindCanceled, "read", blockName(b), "the client is closed")
		close(f.done)
	}
	return f
}

// loadInto reads a block and puts it into the cache, which has room for it and for its stored form from before it is read.
func (c *Client) loadInto(v *granary.Volume, b *granary.BlockInfo) ([]byte, error) {
	room := int64(b.RawLength) + int64(b.Location.Length)
	if err := c.cache.reserve(c.ctx, room); err != nil {
		return nil, err
	}
	plain, err := c.fetch(c.ctx, v, b, whole(c, b))
	if err != nil {
		c.cache.release(room)
		return nil, err
	}
	c.cache.put(b, plain, room)
	return plain, nil
}

// Prefetch starts reading the chunks of a range into the cache, and does not wait. When much is
// being prefetched already it does less.
func (c *Client) Prefetch(l *granary.Layout, off, length uint64) {
	blocks := finder(l)
	for i := range l.Extents {
		e := &l.Extents[i]
		if e.Offset >= off+length || e.Offset+e.Length <= off {
			continue
		}
		b, v, err := blocks(e)
		if err != nil {
			return // who reads it will hear
		}
		if c.cache.get(b, false) != nil {
			continue
		}
		if !c.prefetch(v, b) {
			return
		}
	}
}

// prefetch loads one block in the background, unless too many are.
func (c *Client) prefetch(v *granary.Volume, b *granary.BlockInfo) bool {
	r := &c.reader
	r.mu.Lock()
	if r.flights[b.ID] != nil {
		r.mu.Unlock()
		return true
	}
	if r.prefetching >= prefetchMax {
		r.mu.Unlock()
		return false
	}
	r.prefetching++
	r.mu.Unlock()
	f := c.load(v, b)
	landed := func() {
		<-f.done
		r.mu.Lock()
		r.prefetching--
		r.mu.Unlock()
	}
	if !c.spawn(landed) {
		landed()
	}
	return true
}

// section is a part of a block to be read, and how to verify it.
type section struct {
	off, length int // of the stored block
	verify      func(stored []byte) ([]byte, error)
}

// whole is all of a block: every trailer and the BLAKE3 of the plaintext are checked.
func whole(c *Client, b *granary.BlockInfo) section {
	return section{0, int(b.Location.Length), func(stored []byte) ([]byte, error) {
		plain, err := c.codec.Decode(make([]byte, 0, b.RawLength), stored, b.Hash)
		if err == nil && len(plain) != int(b.RawLength) {
			err = granary.Errorf(granary.KindCorrupt, "read", blockName(b), "%d bytes of plaintext, not %d", len(plain), b.RawLength)
		}
		return plain, err
	}}
}

// frames is the frames of an uncompressed block that hold a range: their trailers are checked.
func frames(b *granary.BlockInfo, at, length int) section {
	off, n := block.Span(at, length)
	n = min(n, int(b.Location.Length)-off)
	return section{off, n, func(stored []byte) ([]byte, error) {
		return block.DecodeSpan(nil, stored, b.Hash, b.RawLength, at, length)
	}}
}
