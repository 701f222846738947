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
	chunk *chunk // held for all of them
	err   error
	users int // who reads it and who waits; guarded by reader.mu
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
	clearHoles(l, p, off)
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
		if c.cached(b, at, dst) {
			continue
		}
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

// clearHoles fills with zeros what no extent of a layout covers.
func clearHoles(l *granary.Layout, p []byte, off uint64) {
	next, end := off, off+uint64(len(p)) // next is where what is not settled begins
	for i := range l.Extents {
		e := &l.Extents[i]
		from, to := min(max(e.Offset, off), end), min(e.Offset+e.Length, end)
		if from > next {
			clear(p[next-off : from-off])
		}
		next = max(next, to)
	}
	clear(p[next-off:])
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

// cached fills dst from a chunk's plaintext at an offset, if the chunk is in the cache.
func (c *Client) cached(b *granary.BlockInfo, at int, dst []byte) bool {
	ch := c.cache.get(b, true)
	if ch == nil {
		return false
	}
	c.copyFrom(ch, at, dst)
	c.cache.drop(ch)
	return true
}

// readChunk fills dst from a chunk that is not in the cache.
func (c *Client) readChunk(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, at int, dst []byte) error {
	if f, ok := block.FramesOf(b.RawLength, b.Location.Length); ok && len(dst) < smallRead && b.RawLength > smallChunk {
		got, kept, err := c.obtain(ctx, v, b, at, len(dst), frames(f, b, at, len(dst)))
		if err == nil {
			got.plain.CopyTo(dst, at)
			if !kept {
				c.keepPart(b, at, len(dst), got.memory)
			}
			c.slabs.put(got.whole())
		}
		return err
	}
	f := c.load(v, b)
	defer c.leave(f)
	select {
	case <-f.done:
	case <-ctx.Done():
		return granary.Errorf(granary.KindCanceled, "read", blockName(b), "%w", ctx.Err())
	}
	if f.err == nil {
		c.copyFrom(f.chunk, at, dst)
	}
	return f.err
}

// copyFrom fills dst from a chunk's plaintext at an offset.
func (c *Client) copyFrom(ch *chunk, at int, dst []byte) {
	ch.plain.CopyTo(dst, at)
	if at+len(dst) == ch.plain.Len() {
		c.cache.spend(ch)
	}
}

// load reads a whole block into the cache, once for all who want it at the time, until they leave. It goes on when
// they do so before its end, within its own time.
func (c *Client) load(v *granary.Volume, b *granary.BlockInfo) *flight {
	r := &c.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[b.ID]; f != nil {
		f.users++
		return f
	}
	f := &flight{done: make(chan struct{}), users: 1}
	if f.chunk = c.cache.get(b, false); f.chunk != nil {
		close(f.done)
		return f
	}
	v2, b2 := *v, *b // the caller's layout may be gone before the flight ends
	r.flights[b.ID] = f
	f.users++
	ok := c.spawn(func() {
		f.chunk, f.err = c.loadInto(&v2, &b2)
		r.mu.Lock()
		delete(r.flights, b2.ID)
		r.mu.Unlock()
		close(f.done)
		c.leave(f)
	})
	if !ok {
		delete(r.flights, b.ID)
		f.users--
		f.err = granary.Errorf(granary.KindCanceled, "read", blockName(b), "the client is closed")
		close(f.done)
	}
	return f
}

// leave ends what load began. Whoever leaves last has seen the flight end, because the flight itself is one of them.
func (c *Client) leave(f *flight) {
	c.reader.mu.Lock()
	f.users--
	last := f.users == 0
	c.reader.mu.Unlock()
	if last && f.chunk != nil {
		c.cache.drop(f.chunk)
	}
}

// loadInto reads a block and puts it into the cache, which has room for it and for its stored form from before it is read. The caller
// holds the chunk.
func (c *Client) loadInto(v *granary.Volume, b *granary.BlockInfo) (*chunk, error) {
	room := slabFor(inPages(int(b.Location.Length)))
	s, inPlace := whole(c, b)
	if !inPlace {
		room += slabFor(int(b.RawLength))
	}
	if err := c.cache.reserve(c.ctx, room); err != nil {
		return nil, err
	}
	s.kept = true
	got, kept, err := c.obtain(c.ctx, v, b, 0, int(b.RawLength), s)
	if err != nil {
		c.cache.release(room)
		return nil, err
	}
	ch := &chunk{block: b.ID, hash: b.Hash, verified: got, holders: 1}
	c.cache.put(ch, room)
	if !kept {
		c.keepWhole(b, ch)
	}
	return ch, nil
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
		if c.cache.has(b) {
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
		c.leave(f)
		r.mu.Lock()
		r.prefetching--
		r.mu.Unlock()
	}
	if !c.spawn(landed) {
		landed()
	}
	return true
}

// section is a part of a block to be read, and how to verify it. What verify returns may lie in the memory of what it is given, which is
// its own from then on.
type section struct {
	off, length int // of the stored block
	verify      func(stored []byte) (verified, error)
	kept        bool // the caller gives the whole of what it gets to slabs.put in any case, so that it may lie anywhere in lent memory
}

// in reports whether v lies in the memory of stored.
func (v verified) in(stored []byte) bool {
	return cap(v.memory) > 0 && cap(stored) > 0 && &v.memory[:1][0] == &stored[:1][0]
}

// whole is all of a block. inPlace tells that its plaintext lies in it, and takes no memory of its own.
func whole(c *Client, b *granary.BlockInfo) (s section, inPlace bool) {
	if f, ok := block.FramesOf(b.RawLength, b.Location.Length); ok {
		return frames(f, b, 0, int(b.RawLength)), true
	}
	return section{off: 0, length: int(b.Location.Length), verify: func(stored []byte) (verified, error) {
		memory := c.slabs.get(int(b.RawLength))
		plain, err := c.codec.Decode(memory[:0], stored, b.Hash)
		if err == nil && len(plain) != int(b.RawLength) {
			err = granary.Errorf(granary.KindCorrupt, "read", blockName(b), "%d bytes of plaintext, not %d", len(plain), b.RawLength)
		}
		if err != nil {
			c.slabs.put(memory)
			return verified{}, err
		}
		return verified{plain: block.InOnePiece(plain), memory: plain}, nil
	}}, false
}

// frames is the frames of an uncompressed block that hold a range: their trailers are checked.
func frames(f block.Frames, b *granary.BlockInfo, at, length int) section {
	off, n := f.Span(at, length)
	return section{off: off, length: n, verify: func(stored []byte) (verified, error) {
		plain, err := f.Verify(stored, b.Hash, at, length)
		if err != nil {
			return verified{}, err
		}
		return verified{plain: plain, memory: stored}, nil
	}}
}

// prove is verify for what was reconstructed, maybe from shards that lie or of guesses, many times until something fits: of a whole
// chunk the hash has to be right too.
func (s section) prove(b *granary.BlockInfo, stored []byte) (verified, error) {
	got, err := s.verify(stored)
	if err == nil && got.plain.Len() == int(b.RawLength) && got.plain.Hash() != b.Hash {
		return verified{}, granary.Errorf(granary.KindCorrupt, "rebuild", blockName(b), "BLAKE3 of the plaintext is %s", got.plain.Hash())
	}
	return got, err
}
