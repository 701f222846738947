package client

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// writer adds blocks to volumes of one k+m on disks of one class, one row at a time: while a row is flushed, the next one
// gathers. A row is flushed when it is full, or when someone waits for one of its blocks; so under
// load many waiters share a flush, and alone none waits for others.
//
// A block is acknowledged only when all k+m shards of its row have acknowledged their appends
// (invariant 2 of package granary). If one fails or is late, the volume is given up and the same row
// is written to another.
type writer struct {
	c      *Client
	policy granary.PolicyID // one with this k+m and class
	auto   bool

	mu      sync.Mutex
	row     *row // gathers; nil if empty
	flying  bool // a row is being flushed
	full    int  // bytes at which a row is full
	room    chan struct{}
	vol     *openVolume
	parity  int           // parity shards of the last volume
	retired []*openVolume // given up, not sealed yet

	scratch [][]byte // of the flush: streams and parity, from the last row
}

// shape is what tells writers apart.
type shape struct {
	k, m  int
	class string
}

func shapeOf(p granary.Policy) shape { return shape{p.DataShards, p.ParityShards, p.Class} }

// writer returns the writer for a policy.
func (c *Client) writer(id granary.PolicyID, p granary.Policy) *writer {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := shapeOf(p)
	w := c.writers[s]
	if w == nil {
		w = &writer{c: c, policy: id, auto: p.Auto(), parity: p.ParityShards, full: max(p.DataShards, 1) * c.o.RowSize, room: make(chan struct{})}
		c.writers[s] = w
	}
	return w
}

// fullRow returns how many bytes make a row full.
func (w *writer) fullRow() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

func (c *Client) allWriters() []*writer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*writer
	for _, w := range c.writers {
		all = append(all, w)
	}
	return all
}

// rowOver is by how much a row may be more than full: a usual chunk. A block that would make it more begins the next row, or one large chunk now
// and then would have the memory for all rows be that much more.
const rowOver = chunkSizeNormal

// add puts a block into the gathering row; it waits while that is full, or has no room for the block.
func (w *writer) add(ctx context.Context, b *placed) error {
	w.mu.Lock()
	for w.row != nil && (w.row.bytes >= w.full || w.row.bytes+b.size > w.full+rowOver) {
		if w.row.bytes < w.full {
			w.row.wanted = true
			if w.kick(); w.row == nil {
				break
			}
		}
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return granary.Errorf(granary.KindCanceled, "write", "", "%w", ctx.Err())
		}
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if w.row == nil {
		w.row = &row{}
	}
	w.row.blocks = append(w.row.blocks, b)
	w.row.bytes += b.size
	w.row.wanted = w.row.wanted || b.hurried
	b.row = w.row
	w.kick()
	return nil
}

// hurry says that someone waits for b: its row is flushed as soon as no other is.
func (w *writer) hurry(b *placed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.hurried = true
	if w.row != nil && b.row == w.row {
		w.row.wanted = true
		w.kick()
	}
}

// kick flushes the gathering row if it is due. w.mu is held.
func (w *writer) kick() {
	r := w.row
	if w.flying || r == nil || !r.wanted && r.bytes < w.full {
		return
	}
	w.row = nil
	close(w.room)
	w.room = make(chan struct{})
	w.flying = w.c.spawn(func() {
		w.flush(w.c.ctx, r)
		w.mu.Lock()
		w.flying = false
		w.kick()
		w.mu.Unlock()
	})
	if !w.flying {
		r.fail(granary.Errorf(granary.KindCanceled, "write", "", "the client is closed"))
	}
}

// shut fails the row that gathers: the client is closed.
func (w *writer) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.row != nil {
		w.row.fail(granary.Errorf(granary.KindCanceled, "write", "", "the client is closed"))
		w.row = nil
	}
	close(w.room)
	w.room = make(chan struct{})
}

// flush makes a row durable on one volume or another, and tells whoever waits for its blocks.
func (w *writer) flush(ctx context.Context, r *row) {
	deadline := time.Now().Add(w.c.o.RetryFor)
	for pause := time.Duration(0); ; pause = min(max(2*pause, backoffPlace), backoffPlaceMax) {
		if pause > backoffPlace { // the first other volume is tried at once, further ones are not squandered
			sleep(ctx, pause)
		}
		v, err := w.volume(ctx)
		if err != nil {
			r.fail(uncommitted(err))
			return
		}
		if err = w.append(ctx, v, r); err == nil {
			if v.watermark >= w.c.o.VolumeSize {
				w.retire(v)
			}
			return
		}
		w.forgetAll()
		w.retire(v)
		if ctx.Err() != nil || time.Now().After(deadline) {
			r.fail(granary.Errorf(granary.KindUnavailable, "write", fmt.Sprintf("volume %d", v.ID), "%w", err))
			return
		}
		w.c.log.Warn("volume given up, its row goes to another", "volume", v.ID, "err", err)
	}
}

// uncommitted returns the error of what was not even tried to be committed: whether a volume was
// opened may be unknown, but that the content was not committed is certain, and it may be tried again.
func uncommitted(err error) error {
	switch granary.KindOf(err) {
	case granary.KindIndeterminate, granary.KindExpired:
		return granary.Errorf(granary.KindUnavailable, "write", "", "no volume to write to: %w", err)
	}
	return err
}

func (r *row) fail(err error) {
	for _, b := range r.blocks {
		b.err = err
		close(b.done)
	}
}

// append writes a row at the volume's watermark: to every data shard that got a block, and to every
// parity shard the parity of the whole row, a shorter stream counting as zeros.
func (w *writer) append(ctx context.Context, v *openVolume, r *row) error {
	lengths := make([]int, len(r.blocks))
	for i, b := range r.blocks {
		lengths[i] = b.size
	}
	spots, streams := layRow(lengths, v.held)
	start, longest := v.watermark, padded(slices.Max(streams))
	x := &rowWrite{w: w, v: v, r: r, spots: spots, shards: w.slots(len(v.Shards), int(longest))}
	for i, n := range streams {
		x.shards[i] = x.shards[i][:padded(n)]
	}
	if err := x.run(ctx); err != nil {
		return err
	}
	for i, p := range x.shards {
		if len(p) > 0 {
			v.ends[i] = start + uint64(len(p))
		}
	}
	for i, n := range streams {
		v.held[i] += n
	}
	v.watermark = alignUp(start + longest)
	w.mu.Lock()
	v.used = time.Now()
	v.pins += len(r.blocks)
	w.mu.Unlock()
	for i, b := range r.blocks {
		b.vol = v
		b.chunk = granary.Chunk{
			Hash: b.key.hash, RawLength: b.raw, New: true, Watermark: v.watermark,
			Location: granary.Location{
				Volume: v.ID, Epoch: v.Epoch, Shard: uint8(spots[i].shard),
				Offset: start + spots[i].offset, Length: uint32(b.size),
			},
		}
		close(b.done)
	}
	return nil
}

// slots returns n slices of the given length, reused from the last row where they are large enough.
func (w *writer) slots(n, length int) [][]byte {
	for len(w.scratch) < n {
		w.scratch = append(w.scratch, nil)
	}
	out := make([][]byte, n)
	for i := range out {
		if cap(w.scratch[i]) < length {
			w.forget(w.scratch[i])
			w.scratch[i] = w.memory(length)
		}
		out[i] = w.scratch[i][:length]
	}
	return out
}

// lender is Shards to which appends from memory that it has lent cost less.
type lender interface {
	// Lend returns memory, or nil if it has none to lend; Forget frees it.
	Lend(size int) []byte
	Forget(memory []byte)
}

// lentMin is the least size of memory that is worth to be lent.
const lentMin = 1 << 20

// memory returns memory for a stream of a row.
func (w *writer) memory(size int) []byte {
	if l, ok := w.c.o.Shards.(lender); ok && size >= lentMin {
		if p := l.Lend(1 << bits.Len(uint(size-1))); p != nil {
			return p
		}
	}
	return make([]byte, size)
}

func (w *writer) forget(memory []byte) {
	if l, ok := w.c.o.Shards.(lender); ok && cap(memory) >= lentMin {
		l.Forget(memory)
	}
}

// forgetAll gives the memory of rows up: an append that was given up may still be reading it.
func (w *writer) forgetAll() {
	for _, p := range w.scratch {
		w.forget(p)
	}
	w.scratch = nil
}
