package client

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

const (
	movesAtOnce = 8                // blocks of a task that are read or verified at a time
	moveHolds   = 2 << 10          // bytes of memory that a block takes besides its own
	lingerFor   = time.Second      // the last row of a task waits so long for other tasks to fill it
	nudgeEvery  = time.Second / 4  // rows wait so long for a task that has no more memory
	passesMax   = 8                // over the blocks of a volume, each of which moves some
	restAfter   = 10 * time.Second // when there were no moves for so long, the volumes that they went to are sealed
)

// mover stores blocks anew: it reads and verifies whole chunks, has the writer of a policy write them, reads each copy back
// from its disk, and only then has the state say that the copy is the one that counts. What it does not come to stays as it is.
//
// The writer's rows fill up with blocks of all tasks; one that is not full is flushed only at the end of a task, or when memory
// is short.
type mover struct {
	w     *Worker
	j     *job
	turns *semaphore.Weighted
	group sync.WaitGroup
	moves chan *moving // verified, to be told to the state

	mu    sync.Mutex
	wait  map[*placed]struct{} // in rows that are not written yet
	moved int                  // blocks that the state has taken note of
	err   error                // the first that kept a block from being moved
	fault error                // … and the first of those that another try may do without: not KindCorrupt, nor KindStale
}

// order is a block that is to be stored anew: in t, and if trial is set only if that makes it smaller.
type order struct {
	v     *granary.Volume
	b     granary.BlockInfo
	t     target
	trial bool
}

// moving is a block whose copy has been verified.
type moving struct {
	granary.BlockMove
	copy *placed
	over chan struct{} // closed when the state has answered, or will not be asked
}

// moveVolume does a TaskMove: it moves the blocks of a volume until none is left in it. Blocks that fail do not keep
// others from being moved; the first of them is why the task fails.
func (w *Worker) moveVolume(ctx context.Context, j *job) error {
	for pass := 1; ; pass++ {
		v, err := w.volume(ctx, j.task.Volume)
		switch {
		case granary.IsKind(err, granary.KindNotFound):
			return nil // it went with its last block
		case err != nil:
			return err
		case v.State == granary.VolumeOpen || v.Epoch != j.task.Epoch:
			return granary.Errorf(granary.KindStale, "move", volumeName(v.ID), "it is %s at epoch %d", v.State, v.Epoch)
		}
		if pass == 1 {
			j.total.Store(v.LiveBytes)
		}
		p, err := w.c.Policy(ctx, j.task.Policy)
		if err != nil {
			return err
		}
		m := w.newMover(j)
		listed := 0
		err = m.run(ctx, func(ctx context.Context) error {
			return w.eachBlockOf(ctx, v, func(b *granary.StoredBlock) error {
				listed++
				t := target{dataset: b.Dataset, policyID: j.task.Policy, policy: p, anew: true}
				return m.add(ctx, order{v: v, b: b.Block, t: t})
			})
		})
		switch {
		case err != nil:
			return err
		case listed == 0:
			return nil
		case m.err != nil && (m.moved == 0 || pass == passesMax):
			return m.err
		case pass == passesMax:
			return granary.Errorf(granary.KindInternal, "move", volumeName(v.ID), "it has still %d blocks", listed)
		}
	}
}

func (w *Worker) newMover(j *job) *mover {
	return &mover{
		w: w, j: j, turns: semaphore.NewWeighted(movesAtOnce),
		moves: make(chan *moving, granary.MovesMax), wait: map[*placed]struct{}{},
	}
}

// run calls each, which adds blocks, and returns when all that were added have been moved or have failed. Its error is that of
// each alone; a mover runs once.
func (m *mover) run(ctx context.Context, each func(context.Context) error) error {
	m.w.movers.Add(1)
	defer m.w.movers.Add(-1)
	m.w.unsealed.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var telling sync.WaitGroup
	telling.Go(func() { m.tell(ctx) })
	err := each(ctx)
	if err != nil {
		cancel()
	}
	m.finish()
	close(m.moves)
	telling.Wait()
	return err
}

// add begins to move a block. It waits until there is memory for it.
func (m *mover) add(ctx context.Context, o order) error {
	at := &o.b.Location
	if int(at.Shard) >= o.v.DataShards || at.Volume != o.v.ID {
		return granary.Errorf(granary.KindInternal, "move", blockName(&o.b), "it is said to lie in shard %d of volume %d", at.Shard, o.v.ID)
	}
	if err := m.w.moves.take(ctx, int(at.Length), m.j.task.Rate); err != nil {
		return err
	}
	n := int64(at.Length) + moveHolds
	if err := m.reserve(ctx, n); err != nil {
		return err
	}
	m.group.Go(func() {
		defer m.w.moving.Release(n)
		if err := m.move(ctx, &o); err != nil {
			m.fail(err)
		}
		m.j.done.Add(uint64(at.Length))
	})
	return nil
}

// reserve waits for memory. When it has to, rows that are not full are flushed: what waits in them may be all there is.
func (m *mover) reserve(ctx context.Context, n int64) error {
	for {
		soon, cancel := context.WithTimeout(ctx, nudgeEvery)
		err := m.w.moving.Acquire(soon, n)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ended(ctx, "move", false)
		}
		m.hurry()
	}
}

// hurry has the rows flushed that blocks wait in.
func (m *mover) hurry() {
	m.mu.Lock()
	waiting := make([]*placed, 0, len(m.wait))
	for b := range m.wait {
		waiting = append(waiting, b)
	}
	m.mu.Unlock()
	for _, b := range waiting {
		b.w.hurry(b)
	}
}

// finish waits for all blocks that were added, and hurries them when no other task will fill their row.
func (m *mover) finish() {
	all := make(chan struct{})
	go func() { m.group.Wait(); close(all) }()
	began := time.Now()
	tick := time.NewTicker(nudgeEvery)
	defer tick.Stop()
	for {
		if m.w.movers.Load() == 1 || time.Since(began) >= lingerFor {
			m.hurry()
		}
		select {
		case <-all:
			return
		case <-tick.C:
		}
	}
}

func (m *mover) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
	if k := granary.KindOf(err); m.fault == nil && k != granary.KindCorrupt && k != granary.KindStale {
		m.fault = err
	}
}

// move stores one block anew. It returns when the state knows of the copy, or the reason why it will not.
func (m *mover) move(ctx context.Context, o *order) error {
	p, err := m.store(ctx, o)
	if p != nil {
		defer m.w.c.drop([]*piece{p})
	}
	if err != nil || p == nil {
		return err
	}
	select {
	case <-p.block.done:
	case <-ctx.Done():
		err = ended(ctx, "move", false)
	}
	m.mu.Lock()
	delete(m.wait, p.block)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if p.block.err != nil {
		return p.block.err
	}
	if err := m.verify(ctx, p.block); err != nil {
		return err
	}
	at := &p.block.chunk
	is := &moving{
		BlockMove: granary.BlockMove{Block: o.b.ID, From: o.b.Location, To: at.Location, Watermark: at.Watermark},
		copy:      p.block, over: make(chan struct{}),
	}
	m.moves <- is
	<-is.over
	return nil
}

// store reads a block and puts it into a row; it returns nothing if the block is better left where it is. What it returns,
// with an error or without, is to be dropped.
func (m *mover) store(ctx context.Context, o *order) (*piece, error) {
	if err := m.turns.Acquire(ctx, 1); err != nil {
		return nil, ended(ctx, "move", false)
	}
	defer m.turns.Release(1)
	p, err := m.read(ctx, o)
	if err != nil || p == nil {
		return p, err
	}
	if err := m.w.c.write(ctx, &o.t, []*piece{p}); err != nil {
		return p, err
	}
	m.mu.Lock()
	m.wait[p.block] = struct{}{}
	m.mu.Unlock()
	return p, nil
}

// read reads and verifies a whole block: as it is stored, if the policy would have it so, else its plaintext.
func (m *mover) read(ctx context.Context, o *order) (*piece, error) {
	c := m.w.c
	got, err := c.fetch(ctx, o.v, &o.b, asStored(c, &o.b))
	if err != nil {
		return nil, err
	}
	stored := got.memory
	h, err := block.ParseHeader(stored)
	if err != nil {
		return nil, err
	}
	p := &piece{raw: o.b.RawLength, hash: o.b.Hash, hashd: true}
	if h.Codec == o.t.policy.Compression && !o.trial {
		p.saved = stored
		return p, nil
	}
	p.arena = c.arenas.get(int(p.raw))
	p.plain, err = c.codec.Decode(p.arena.memory, stored, p.hash)
	c.slabs.put(stored)
	if err != nil || !o.trial {
		return p, err
	}
	p.saved = c.codec.Append(c.bufs.get(block.StoredSizeMax(len(p.plain))), o.t.dataset, p.hash, p.plain, o.t.policy.Compression)
	p.free()
	if len(p.saved) < len(stored) {
		return p, nil
	}
	c.drop([]*piece{p})
	return nil, nil
}

// asStored is all of a block, encoded. Every trailer and the BLAKE3 of the plaintext are checked.
func asStored(c *Client, b *granary.BlockInfo) section {
	return section{off: 0, length: int(b.Location.Length), verify: func(stored []byte) (verified, error) {
		if err := c.checkWhole(stored, b.Hash, b.RawLength); err != nil {
			return verified{}, err
		}
		return verified{memory: stored}, nil
	}}
}

// checkWhole verifies a block with all that can be verified.
func (c *Client) checkWhole(stored []byte, hash granary.Hash, raw uint32) error {
	room := c.bufs.get(int(raw))
	plain, err := c.codec.Decode(room, stored, hash)
	if err == nil && len(plain) != int(raw) {
		err = granary.Errorf(granary.KindCorrupt, "verify", hash.String(), "%d bytes of plaintext, not %d", len(plain), raw)
	}
	c.bufs.put(room)
	return err
}

// verify reads a copy back from its own disk. A volume that does not give back what it took gets no more.
func (m *mover) verify(ctx context.Context, b *placed) error {
	if err := m.turns.Acquire(ctx, 1); err != nil {
		return ended(ctx, "move", false)
	}
	defer m.turns.Release(1)
	c, at := m.w.c, &b.chunk.Location
	buf := c.bufs.get(int(at.Length))[:at.Length]
	defer c.bufs.put(buf)
	n, length, err := c.readShard(ctx, &b.vol.Volume, int(at.Shard), buf, at.Offset)
	if err == nil && n < len(buf) {
		err = granary.Errorf(granary.KindCorrupt, "verify", volumeName(at.Volume), "shard %d ends at %d, within a new block", at.Shard, length)
	}
	if err == nil {
		err = c.checkWhole(buf, b.key.hash, b.raw)
	}
	if err != nil && ctx.Err() == nil {
		m.w.log.Warn("a new copy cannot be read back", "volume", at.Volume, "shard", at.Shard, "disk", b.vol.Shards[at.Shard].Disk, "err", err)
		c.exclude(b.vol.Shards[at.Shard].Disk)
		b.w.retire(b.vol)
	}
	return err
}

// tell has the state take note of copies, as many at a time as there are.
func (m *mover) tell(ctx context.Context) {
	for is := range m.moves {
		batch := []*moving{is}
		for more := true; more && len(batch) < granary.MovesMax; {
			select {
			case is, more = <-m.moves:
				if more {
					batch = append(batch, is)
				}
			default:
				more = false
			}
		}
		m.commit(ctx, batch)
		for _, is := range batch {
			close(is.over)
		}
	}
}

// commit sends one MoveBlocks. Copies in volumes that are no longer the session's are left out; their blocks are where they were,
// and the next pass finds them. So it does if it is not known what became of the op.
func (m *mover) commit(ctx context.Context, batch []*moving) {
	for len(batch) > 0 {
		op := &granary.MoveBlocks{Moves: make([]granary.BlockMove, len(batch))}
		for i, is := range batch {
			op.Moves[i] = is.BlockMove
		}
		r, err := m.w.c.Do(ctx, granary.Cred{}, op)
		if err == nil {
			m.mu.Lock()
			m.moved += len(batch)
			m.mu.Unlock()
			return
		}
		m.fail(err)
		if r.Err == nil || r.Err.Kind != granary.KindStale || len(r.Missing) == 0 {
			return
		}
		var kept []*moving
		for i, is := range batch {
			if !slices.Contains(r.Missing, uint32(i)) {
				kept = append(kept, is)
				continue
			}
			is.copy.w.retire(is.copy.vol) // sealed behind our back
		}
		batch = kept
	}
}
