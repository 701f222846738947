package volume

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// buildSyncEveryDefault is how many bytes of a build may be dirty before they are synced: the sync at its end, and those of others
// meanwhile, then wait for no more than that.
const buildSyncEveryDefault = 32 << 20

// Build makes a whole shard of the stream that r gives, b.Length bytes: see granary.Build. Pages of zeros become holes. When it
// returns nil the shard is durable, sealed, and there under its name; a shard that was there before is replaced in that moment, and stays
// what it was if anything fails. An r that ends early is KindUnavailable, one that fails with a *granary.Error is of that kind. A second
// build of the shard at the same time is KindBusy. KindNoSpace keeps the reserve. It does not return before r does: one that may wait for
// ever has to end with ctx.
func (s *Store) Build(ctx context.Context, b *granary.Build, r io.Reader) error {
	if err := checkBuild(b); err != nil {
		return err
	}
	return s.build(ctx, b, newStreamPieces(b, r))
}

// checkBuild refuses what is wrong by itself.
func checkBuild(b *granary.Build) error {
	k, m := b.DataShards, b.ParityShards
	switch {
	case k < 1 || k > granary.DataShardsMax || m < 0 || m > granary.ParityShardsMax || int(b.Ref.Shard) >= k+m:
		return granary.Errorf(granary.KindInvalid, opBuild, b.Ref.String(), "no such shard in a volume of %d+%d", k, m)
	case b.Ref.Volume == 0 || b.Epoch == 0:
		return granary.Errorf(granary.KindInvalid, opBuild, b.Ref.String(), "volume and epoch must not be 0")
	case b.Length > streamLengthMax:
		return granary.Errorf(granary.KindTooLarge, opBuild, b.Ref.String(), "length %d is over the limit of a shard, %d", b.Length, uint64(streamLengthMax))
	}
	return nil
}

// build does the work of Build.
func (s *Store) build(ctx context.Context, b *granary.Build, in pieces) error {
	d, err := s.enter(opBuild, b.Ref)
	if err != nil {
		return err
	}
	defer s.exit()
	if reason := d.writeBarred(); reason != "" {
		return granary.Errorf(granary.KindUnavailable, opBuild, b.Ref.String(), "disk %s takes no more writes: %s", d.dir, reason)
	}
	created, err := d.beginBuild(ctx, b)
	if err != nil {
		return err
	}
	defer d.endBuild(b)
	n, err := s.newBuilder(d, b, created)
	if err != nil {
		return err
	}
	if err := n.fill(ctx, in); err != nil {
		n.discard()
		return err
	}
	return n.install(ctx)
}

// beginBuild reserves the place of a shard in the making, and returns when it counts as created: later than what is there.
func (d *dataDisk) beginBuild(ctx context.Context, b *granary.Build) (granary.Time, error) {
	key := shardKey{b.Ref.Volume, b.Ref.Shard}
	sh, err := d.take(ctx, key)
	if err != nil {
		return 0, interrupted(opBuild, b.Ref.String(), err)
	}
	defer d.give(sh)
	before, err := sh.refuseLower(opBuild, b.Epoch)
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.building[key] {
		return 0, granary.Errorf(granary.KindBusy, opBuild, b.Ref.String(), "the shard is being built already")
	}
	d.building[key] = true
	return max(granary.TimeOf(time.Now()), before+1), nil
}

func (d *dataDisk) endBuild(b *granary.Build) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.building, shardKey{b.Ref.Volume, b.Ref.Shard})
}

// isBuilding reports whether a build has the shard's place.
func (d *dataDisk) isBuilding(key shardKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.building[key]
}

// refuseLower returns KindStale if the shard has seen a higher epoch than the given one, and when it was created otherwise:
// 0 if it does not exist, createdUnknown if its head cannot be read, for such a shard is good for nothing. The caller has the turn.
func (sh *shard) refuseLower(op string, epoch granary.Epoch) (created granary.Time, err error) {
	if !sh.exists.Load() {
		return 0, nil
	}
	d := sh.disk
	f, err := d.files.acquire(sh)
	var st *shardState
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if st = sh.state.Load(); st == nil {
			return createdUnknown, nil
		}
		err = nil
	case err != nil:
		return 0, d.failure(op, sh.key, err)
	default:
		defer d.files.release(f)
		st, err = sh.load(op, f)
	}
	switch {
	case granary.IsKind(err, granary.KindUnavailable), granary.IsKind(err, granary.KindNotSupported):
		return 0, err
	case err != nil:
		return createdUnknown, nil
	case epoch < st.slot.Epoch:
		return 0, granary.Errorf(granary.KindStale, op, d.ref(sh.key).String(), "epoch %d is below %d", epoch, st.slot.Epoch)
	}
	return st.header.Created, nil
}

// builder makes one shard, under a name of its own until it is whole.
type builder struct {
	disk      *dataDisk
	b         *granary.Build
	key       shardKey
	subject   string
	state     *shardState
	reserve   uint64
	syncEvery uint64
	stop      <-chan struct{} // of the store
	file      disk.File
	table     tableWriter
	end       uint64     // of the stream: pages before it are written, and in the table
	dirty     uint64     // bytes since the last sync
	syncing   chan error // what the sync under way returns; nil if there is none
	zeroCRC   uint32     // of a page of zeros
}

func (s *Store) newBuilder(d *dataDisk, b *granary.Build, created granary.Time) (*builder, error) {
	id := d.ident.Load()
	n := &builder{
		disk: d, b: b, key: shardKey{b.Ref.Volume, b.Ref.Shard}, subject: b.Ref.String(), reserve: s.o.ReserveBytes, stop: s.stop,
		syncEvery: s.buildSyncEvery,
		zeroCRC:   crc32.Checksum(make([]byte, pageSize), castagnoli),
		state: &shardState{
			header: shardHeader{
				Volume: b.Ref.Volume, Shard: b.Ref.Shard, DataShards: b.DataShards, ParityShards: b.ParityShards,
				Cluster: id.Cluster, Disk: id.Disk, Created: created,
			},
			slot: stateSlot{
				Sequence: 1, Epoch: b.Epoch, Sealed: true, Length: b.Length,
				TableOffset: tableOffset(b.Length), TableLength: tableLength(b.Length),
			},
			length: b.Length,
		},
	}
	if err := d.checkRoom(opBuild, n.key, tableLength(b.Length), n.reserve); err != nil {
		return nil, err
	}
	fresh := n.fresh()
	err := d.fs.Remove(fresh)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		n.file, err = d.fs.Create(fresh)
	}
	if err != nil {
		d.noteFailure(err)
		return nil, d.failure(opBuild, n.key, err)
	}
	n.table = tableWriter{f: n.file, position: int64(tableOffset(b.Length))}
	return n, nil
}

func (n *builder) fresh() string { return n.key.fileName() + newSuffix }

// fill writes the stream, its page table and the head, and makes them durable.
func (n *builder) fill(ctx context.Context, in pieces) error {
	for {
		if err := n.interrupted(ctx); err != nil {
			return err
		}
		p, err := in.next()
		if err == io.EOF { // and no error that wraps it
			break
		}
		if err != nil {
			return err
		}
		if err := n.place(ctx, p); err != nil {
			return err
		}
	}
	if err := n.hole(ctx, n.b.Length); err != nil {
		return err
	}
	if err := n.table.flush(); err != nil {
		return n.failed(err)
	}
	n.state.slot.TableCRC = n.table.crc
	head := make([]byte, streamOffset)
	copy(head, encodeHeader(n.state.header))
	copy(head[slotPosition(n.state.slot.Sequence):], encodeSlot(n.state.slot))
	if _, err := n.file.WriteAt(head, 0); err != nil {
		return n.failed(err)
	}
	return errors.Join(n.sync(), n.synced())
}

// interrupted returns an error if nobody waits for the build any more.
func (n *builder) interrupted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return interrupted(opBuild, n.subject, err)
	}
	select {
	case <-n.stop:
		return granary.Errorf(granary.KindUnavailable, opBuild, n.subject, "the volume server is shutting down")
	default:
		return nil
	}
}

// place writes a piece.
func (n *builder) place(ctx context.Context, p piece) error {
	if err := n.hole(ctx, p.offset); err != nil {
		return err
	}
	if len(p.data) == 0 {
		return nil
	}
	if err := n.disk.checkRoom(opBuild, n.key, uint64(len(p.data)), n.reserve); err != nil {
		return err
	}
	if _, err := n.file.WriteAt(p.data, streamOffset+int64(p.offset)); err != nil {
		return n.failed(err)
	}
	for rest := p.data; len(rest) > 0; {
		page := rest[:min(len(rest), pageSize)]
		if err := n.table.add(crc32.Checksum(page, castagnoli)); err != nil {
			return n.failed(err)
		}
		rest = rest[len(page):]
	}
	n.end = p.offset + uint64(len(p.data))
	if n.dirty += uint64(len(p.data)); n.dirty < n.syncEvery {
		return nil
	}
	return n.sync()
}

// hole leaves pages out, up to an offset.
func (n *builder) hole(ctx context.Context, to uint64) error {
	for n.end < to {
		size := min(to-n.end, pageSize)
		crc := n.zeroCRC
		if size < pageSize {
			crc = crc32.Checksum(make([]byte, size), castagnoli)
		}
		if err := n.table.add(crc); err != nil {
			return n.failed(err)
		}
		if n.end += size; n.end%scanBufferSize == 0 {
			if err := n.interrupted(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// sync begins to make what was written durable, while the next pieces come. After an error the file is given up.
func (n *builder) sync() error {
	if err := n.synced(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- n.file.Sync() }()
	n.dirty, n.syncing = 0, done
	return nil
}

// synced waits for the sync under way.
func (n *builder) synced() error {
	if n.syncing == nil {
		return nil
	}
	err := <-n.syncing
	n.syncing = nil
	if err != nil {
		return n.failed(err)
	}
	return nil
}

// failed makes the error of a failed access.
func (n *builder) failed(err error) error {
	n.disk.noteFailure(err)
	return n.disk.failure(opBuild, n.key, err)
}

// discard gives the file up. If its name cannot be removed the next start does it, or the next build.
func (n *builder) discard() {
	n.synced() // the build has failed already
	if err := errors.Join(n.file.Close(), n.disk.fs.Remove(n.fresh())); err != nil {
		n.disk.log.Warn("the rest of a shard that was not finished stays", "shard", n.subject, "error", err)
		n.disk.noteFailure(err)
	}
}

// install gives the finished file its name, in place of what had it. Readers of the old file go on reading that.
func (n *builder) install(ctx context.Context) error {
	d := n.disk
	old, err := d.take(ctx, n.key)
	if err != nil {
		n.discard()
		return interrupted(opBuild, n.subject, err)
	}
	defer d.give(old)
	if _, err := old.refuseLower(opBuild, n.b.Epoch); err != nil {
		n.discard()
		return err
	}
	fresh := newShard(d, n.key)
	fresh.state.Store(n.state)
	fresh.exists.Store(true)
	fresh.openMu.Lock() // whoever finds it waits for the file that is open already
	if err := d.swap(old, fresh, n.fresh()); err != nil {
		d.noteFailure(err)
		n.discard()
		return d.failure(opBuild, n.key, err)
	}
	f := d.files.adopt(fresh, n.file)
	fresh.openMu.Unlock()
	defer d.files.release(f)
	fresh.account(f)
	if err := d.fs.SyncDir(shardsName); err != nil {
		// After a crash the name stands for the old file or for the new one, both whole.
		d.noteFailure(err)
		d.barWrites(shardsName + ": " + err.Error())
		return d.failure(opBuild, n.key, err)
	}
	return nil
}
