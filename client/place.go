package client

import (
	"context"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// chunkKey names a chunk in its deduplication domain. What is written under one k+m does not stand
// for the same chunk under another, which may ask for more parity; and what is stored anew is written although the store has it.
type chunkKey struct {
	dataset granary.DatasetID
	shape   shape
	anew    bool
	hash    granary.Hash
}

// placed is a block on its way to a volume, or there but not yet committed. Identical chunks that
// this client writes at the same time share one.
type placed struct {
	key   chunkKey
	raw   uint32
	w     *writer
	done  chan struct{} // closed when chunk or err is set
	chunk granary.Chunk
	vol   *openVolume
	err   error

	size    int    // of the block
	block   []byte // encoded; nil if it is plain
	plain   []byte // the chunk, if it is stored as it is, and its block is made where its row is …
	arena   *arena // … and where it lies
	row     *row   // (writer.mu)
	hurried bool   // (writer.mu)
	refs    int    // pieces that use it (Client.placing.mu)
}

// placing holds the blocks that are on their way, and what this client knows the store to have.
type placing struct {
	mu     sync.Mutex
	blocks map[chunkKey]*placed
	known  *hints // committed lately by this client: the commit finds out
}

func newPlacing() *placing {
	return &placing{blocks: map[chunkKey]*placed{}, known: newHints()}
}

// remember notes that the store has a chunk.
func (p *placing) remember(k chunkKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known.add(&k)
}

// forget notes that the store has a chunk no longer.
func (p *placing) forget(k chunkKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known.remove(&k)
}

// has reports whether the store is believed to have a chunk, or is about to get it from this client.
func (p *placing) has(k chunkKey) (known, coming bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known = p.known.has(&k)
	_, coming = p.blocks[k]
	return known, coming
}

// join returns the block that is on its way for a chunk, or a new one that the caller has to write.
func (p *placing) join(k chunkKey, raw uint32, w *writer) (b *placed, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b = p.blocks[k]; b != nil {
		b.refs++
		return b, false
	}
	b = &placed{key: k, raw: raw, w: w, done: make(chan struct{}), refs: 1}
	p.blocks[k] = b
	return b, true
}

// part gives up one use of a block. With spoiled it is not to be joined any more.
func (c *Client) part(b *placed, spoiled bool) {
	p := c.placing
	p.mu.Lock()
	b.refs--
	last := b.refs == 0
	if (last || spoiled) && p.blocks[b.key] == b {
		delete(p.blocks, b.key)
	}
	p.mu.Unlock()
	if !last {
		return
	}
	select {
	case <-b.done:
		c.dispose(b)
	default: // its row is still under way
		if !c.spawn(func() { <-b.done; c.dispose(b) }) {
			return
		}
	}
}

// dispose gives back what a block held that nobody uses any more.
func (c *Client) dispose(b *placed) {
	if b.vol != nil {
		b.w.unpin(b.vol)
	}
	c.bufs.put(b.block)
	b.arena.release()
	b.block, b.plain, b.arena = nil, nil, nil
}

// piece is one chunk of content on its way from a caller to a commit.
type piece struct {
	plain []byte // until it is encoded, if it lies in an arena; else until the caller goes on
	arena *arena // that plain lies in; nil if it is the caller's
	saved []byte // the encoded block, if it has to be written anew and plain is gone
	raw   uint32
	hash  granary.Hash
	hashd bool    // hash is set
	known bool    // the store is believed to have it: commit it by reference
	block *placed // its block, if it has to be written
	same  *piece  // an earlier piece of the same content with the same hash: all else is there
}

// target is where content goes.
type target struct {
	dataset  granary.DatasetID
	policyID granary.PolicyID
	policy   granary.Policy
	anew     bool // whether or not the store has it
}

func (t *target) key(p *piece) chunkKey {
	return chunkKey{t.dataset, shapeOf(t.policy), t.anew, p.hash}
}

// parity returns how many parity shards a chunk must have that content here may refer to. Under
// "auto" those are as many as the last volume had; before the first one nothing is asked for: to widen
// what was written when the cluster was smaller is the movers' task.
func (c *Client) parity(t *target) uint8 {
	w := c.writer(t.policyID, t.policy)
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint8(w.parity)
}

// askMin is the amount of unknown data from which it pays to ask the master what it has before writing.
const askMin = chunkSizeMin

// store brings pieces to their rows, but does not wait until those are durable. Pieces that the
// store has are left out.
func (c *Client) store(ctx context.Context, t *target, pieces []*piece) error {
	if err := c.hash(ctx, pieces); err != nil {
		return err
	}
	unique(pieces)
	if err := c.ask(ctx, t, pieces); err != nil {
		return err
	}
	return c.write(ctx, t, pieces)
}

// unique marks pieces that repeat an earlier one.
func unique(pieces []*piece) {
	first := make(map[granary.Hash]*piece, len(pieces))
	for _, p := range pieces {
		if same := first[p.hash]; same != nil && same != p {
			p.same = same
			continue
		}
		first[p.hash] = p
	}
}

// hash computes what hashes are missing, on as many cores as there are.
func (c *Client) hash(ctx context.Context, pieces []*piece) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range pieces {
		if p.hashd {
			continue
		}
		if err := c.takeCore(ctx); err != nil {
			return err
		}
		wg.Go(func() {
			defer c.giveCore()
			p.hash, p.hashd = block.HashOf(p.plain), true
		})
	}
	return nil
}

// ask marks the pieces that the store has: by its own word, or because this client committed them lately.
func (c *Client) ask(ctx context.Context, t *target, pieces []*piece) error {
	var unknown []*piece
	size := 0
	for _, p := range pieces {
		if p.same != nil || p.block != nil {
			continue
		}
		known, coming := c.placing.has(t.key(p))
		p.known = known
		if !known && !coming {
			unknown = append(unknown, p)
			size += int(p.raw)
		}
	}
	for size >= askMin && len(unknown) > 0 {
		n := min(len(unknown), granary.HasChunksMax)
		hashes := make([]granary.Hash, n)
		for i, p := range unknown[:n] {
			hashes[i] = p.hash
		}
		had, err := Ask[*granary.ChunksHad](ctx, c, &granary.HasChunks{Dataset: t.dataset, Hashes: hashes, Parity: c.parity(t)})
		if err != nil {
			return err
		}
		if len(had.Has) != n {
			return granary.Errorf(granary.KindInternal, "write", "", "%d answers about %d chunks", len(had.Has), n)
		}
		for i, p := range unknown[:n] {
			p.known = had.Has[i]
		}
		unknown = unknown[n:]
	}
	return nil
}

// write encodes the pieces that have to be written, on as many cores as there are, and adds them to
// rows in their order.
func (c *Client) write(ctx context.Context, t *target, pieces []*piece) error {
	w := c.writer(t.policyID, t.policy)
	var wg sync.WaitGroup
	defer wg.Wait()
	var queue []encoding
	for _, p := range pieces {
		if p.same != nil || p.block != nil {
			continue
		}
		if known, _ := c.placing.has(t.key(p)); known || p.known {
			p.known = true
			continue
		}
		b, first := c.placing.join(t.key(p), p.raw, w)
		p.block = b
		if !first {
			continue
		}
		ready := make(chan struct{})
		queue = append(queue, encoding{b, ready})
		if p.saved != nil {
			b.block, b.size, p.saved = p.saved, len(p.saved), nil
			close(ready)
			continue
		}
		wg.Go(func() {
			defer close(ready)
			if c.takeCore(c.ctx) == nil { // if not, the client is closing, and so is the writer
				defer c.giveCore()
			}
			c.encode(b, p, t)
		})
	}
	var failed error
	for _, e := range queue {
		<-e.ready
		if failed == nil {
			failed = w.add(ctx, e.b)
			if failed == nil {
				continue
			}
		}
		e.b.err = failed // it is in no row: whoever shares it hears of it from here
		close(e.b.done)
	}
	return failed
}

// encode makes the block of a piece. If compression does not shrink it, and its plaintext is ours, that is only kept: the block is made
// when it is known where in a row it goes, which saves a copy.
func (c *Client) encode(b *placed, p *piece, t *target) {
	room := c.rooms.get()
	defer c.rooms.put(room)
	switch shrunk, ok := c.codec.AppendShrunk(room, t.dataset, p.hash, p.plain, t.policy.Compression); {
	case ok:
		b.block = append(c.bufs.get(len(shrunk)), shrunk...)
	case p.arena != nil:
		b.plain, b.arena, b.size = p.plain, p.arena, block.StoredSizeMax(len(p.plain))
		p.plain, p.arena = nil, nil
		return
	default:
		b.block = block.AppendPlain(c.bufs.get(block.StoredSizeMax(len(p.plain))), t.dataset, p.hash, p.plain)
	}
	b.size = len(b.block)
	p.free()
}

// encoding is a block that is being encoded.
type encoding struct {
	b     *placed
	ready chan struct{}
}

// durable waits until the rows of pieces are on their disks, and hurries them. A shared block whose
// writer gave up is written by whoever else needs it.
func (c *Client) durable(ctx context.Context, t *target, pieces []*piece) error {
	for {
		var again []*piece
		for _, p := range pieces {
			b := p.block
			if b == nil {
				continue
			}
			b.w.hurry(b)
			select {
			case <-b.done:
			case <-ctx.Done():
				return granary.Errorf(granary.KindCanceled, "write", "", "%w", ctx.Err())
			}
			switch {
			case b.err == nil:
			case granary.IsKind(b.err, granary.KindCanceled) && ctx.Err() == nil && c.ctx.Err() == nil:
				c.redo(p)
				again = append(again, p)
			default:
				return b.err
			}
		}
		if len(again) == 0 {
			return nil
		}
		if err := c.write(ctx, t, again); err != nil {
			return err
		}
	}
}

// redo makes a piece forget where it was written, but not what.
func (c *Client) redo(p *piece) {
	p.known = false
	if p.block != nil {
		if p.plain == nil && p.saved == nil {
			p.keep(c, p.block)
		}
		c.part(p.block, true)
		p.block = nil
	}
}

// keep has a piece keep what its block was made of.
func (p *piece) keep(c *Client, b *placed) {
	if b.plain != nil {
		p.plain, p.arena = b.plain, b.arena.hold()
		return
	}
	p.saved = append(c.bufs.get(len(b.block)), b.block...)
}

// settleTries bounds how often content is written anew because the master refused where it lies.
const settleTries = 5

// settle waits for pieces to be durable and commits them. The chunks that send gets are in the order
// of the pieces that are nobody's same. What the master says is gone, or lies in a volume that is no
// longer ours, is written again.
func (c *Client) settle(ctx context.Context, t *target, pieces []*piece, send func([]granary.Chunk) (granary.Result, error)) (granary.Result, error) {
	distinct := distinct(pieces)
	for try := 1; ; try++ {
		if err := c.durable(ctx, t, distinct); err != nil {
			return granary.Result{}, err
		}
		r, err := send(chunksOf(distinct))
		switch {
		case err == nil:
			for _, p := range distinct {
				c.placing.remember(t.key(p))
			}
			return r, nil
		case len(r.Missing) == 0 || try == settleTries,
			r.Err.Kind != granary.KindMissingChunks && r.Err.Kind != granary.KindStale:
			return r, err
		}
		if err := c.rewrite(ctx, t, distinct, r); err != nil {
			return granary.Result{}, err
		}
	}
}

// rewrite writes the chunks again that a result names as missing.
func (c *Client) rewrite(ctx context.Context, t *target, distinct []*piece, r granary.Result) error {
	c.log.Info("chunks are written again", "chunks", len(r.Missing), "because", r.Err)
	var again []*piece
	for _, i := range r.Missing {
		if int(i) >= len(distinct) {
			return granary.Errorf(granary.KindInternal, "commit", "", "chunk %d of %d is said to be missing", i, len(distinct))
		}
		p := distinct[i]
		if b := p.block; b != nil && b.vol != nil && r.Err.Kind == granary.KindStale {
			b.w.retire(b.vol) // sealed behind our back
		}
		c.placing.forget(t.key(p))
		c.redo(p)
		again = append(again, p)
	}
	return c.write(ctx, t, again)
}

// distinct returns the pieces that are nobody's same.
func distinct(pieces []*piece) []*piece {
	var out []*piece
	for _, p := range pieces {
		if p.same == nil {
			out = append(out, p)
		}
	}
	return out
}

func chunksOf(pieces []*piece) []granary.Chunk {
	chunks := make([]granary.Chunk, len(pieces))
	for i, p := range pieces {
		chunks[i] = granary.Chunk{Hash: p.hash, RawLength: p.raw}
		if p.block != nil {
			chunks[i] = p.block.chunk
		}
	}
	return chunks
}

// drop gives back all that pieces hold.
func (c *Client) drop(pieces []*piece) {
	for _, p := range pieces {
		if p.block != nil {
			c.part(p.block, false)
			p.block = nil
		}
		p.free()
		p.plain = nil
		c.bufs.put(p.saved)
		p.saved = nil
	}
}

// free gives the plaintext of a piece back if it lies in an arena: what is encoded can be written again without it.
func (p *piece) free() {
	if p.arena != nil {
		p.arena.release()
		p.plain, p.arena = nil, nil
	}
}

// takeCore waits for one of as many tokens as there are cores.
func (c *Client) takeCore(ctx context.Context) error {
	select {
	case c.cores <- struct{}{}:
		return nil
	case <-ctx.Done():
		return granary.Errorf(granary.KindCanceled, "write", "", "%w", ctx.Err())
	}
}

func (c *Client) giveCore() { <-c.cores }
