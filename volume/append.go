package volume

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io/fs"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/crc32c"
)

// appendSizeMax bounds the data of one append, and of one read over the network.
const appendSizeMax = 64 << 20

// Append adds a.Data to a shard and returns when it is durable: see granary.Append. Besides KindStale and
// KindInvalid it fails with KindCorrupt (the data do not have their checksum), KindNoSpace, KindTooLarge (over
// 64 MiB), and KindUnavailable when the disk fails or the shard is poisoned; only then is the state of
// the shard's end unknown, and the shard takes nothing more.
//
// The data may be in memory of their sender, who takes it back once it has given up, whether or not they have been read by then. So their
// checksums are computed after they were written, and what turns out to be other data is cut off again: before they were written it would
// say nothing. Where the sender has given those of the pieces that is spared: whatever memory makes of the data on their way to the disk is then
// found as what rots there is, and mended from the parity; without parity the data are looked at all the same.
func (s *Store) Append(ctx context.Context, a *granary.Append) error {
	return s.append(ctx, a, origin{})
}

// origin is where the data of an append come from.
type origin struct {
	sums *crc32c.Pieces // of data that were looked at as they came, and stay as they are
	lent func() bool    // reports that whoever has lent them has not taken them back; nil if nobody can
}

// append is Append of data that come from somewhere.
func (s *Store) append(ctx context.Context, a *granary.Append, from origin) error {
	if err := checkAppend(a); err != nil {
		return err
	}
	if from.sums == nil && a.Pieces != nil && a.ParityShards > 0 {
		var ok bool
		if from.sums, ok = crc32c.PiecesOf(a.Offset, len(a.Data), a.Pieces); !ok {
			return granary.Errorf(granary.KindInvalid, opAppend, a.Ref.String(), "%d checksums are not those of the pieces of %d bytes at %d", len(a.Pieces), len(a.Data), a.Offset)
		}
	}
	if from.sums != nil && from.sums.Whole() != a.CRC32C {
		return damagedOnTheWay(a, from.sums.Whole())
	}
	d, err := s.enter(opAppend, a.Ref)
	if err != nil {
		return err
	}
	defer s.exit()
	if reason := d.writeBarred(); reason != "" {
		return granary.Errorf(granary.KindUnavailable, opAppend, a.Ref.String(), "disk %s takes no more writes: %s", d.dir, reason)
	}
	sh, f, ticket, err := s.write(ctx, d, a, from)
	if err != nil {
		return err
	}
	defer d.files.release(f)
	// The turn is given back: the next append may write while this one's sync runs, and shares the sync after it.
	if err := sh.wait(opAppend, f, ticket); err != nil {
		return err
	}
	sh.account(f)
	return nil
}

// checkAppend refuses what is wrong by itself.
func checkAppend(a *granary.Append) error {
	refuse := func(kind granary.Kind, format string, args ...any) error {
		return granary.Errorf(kind, opAppend, a.Ref.String(), format, args...)
	}
	k, m := a.DataShards, a.ParityShards
	switch {
	case len(a.Data) > appendSizeMax:
		return refuse(granary.KindTooLarge, "%d bytes, over the limit of %d", len(a.Data), appendSizeMax)
	case len(a.Data) == 0:
		return refuse(granary.KindInvalid, "no data")
	case k < 1 || k > granary.DataShardsMax || m < 0 || m > granary.ParityShardsMax || int(a.Ref.Shard) >= k+m:
		return refuse(granary.KindInvalid, "no such shard in a volume of %d+%d", k, m)
	case a.Ref.Volume == 0 || a.Epoch == 0:
		return refuse(granary.KindInvalid, "volume and epoch must not be 0")
	case a.Offset < a.Prev:
		return refuse(granary.KindInvalid, "offset %d is below the end of the last append, %d", a.Offset, a.Prev)
	case a.Offset > streamLengthMax-uint64(len(a.Data)):
		return refuse(granary.KindTooLarge, "offset %d is over the limit of a shard, %d", a.Offset, uint64(streamLengthMax))
	}
	return nil
}

func damagedOnTheWay(a *granary.Append, crc uint32) error {
	return granary.Errorf(granary.KindCorrupt, opAppend, a.Ref.String(), "the data have checksum %08x, not %08x: damaged on the way", crc, a.CRC32C)
}

// write does the part of an append that needs the shard's turn: everything but the wait for the sync.
// The file comes back acquired.
func (s *Store) write(ctx context.Context, d *dataDisk, a *granary.Append, from origin) (*shard, *openFile, uint64, error) {
	sh, err := d.take(ctx, shardKey{a.Ref.Volume, a.Ref.Shard})
	if err != nil {
		return nil, nil, 0, interrupted(opAppend, a.Ref.String(), err)
	}
	defer d.give(sh)
	f, err := s.openForAppend(sh, a)
	if err != nil {
		return nil, nil, 0, err
	}
	ticket, err := s.writeOpen(sh, f, a, from)
	if err != nil {
		d.files.release(f)
		return nil, nil, 0, err
	}
	return sh, f, ticket, nil
}

// openForAppend opens the shard's file, and makes it for a first append.
func (s *Store) openForAppend(sh *shard, a *granary.Append) (*openFile, error) {
	d := sh.disk
	if sh.exists.Load() {
		f, err := d.files.acquire(sh)
		if err != nil {
			return nil, d.failure(opAppend, sh.key, err)
		}
		return f, nil
	}
	if a.Prev != 0 {
		return nil, granary.Errorf(granary.KindInvalid, opAppend, a.Ref.String(), "the shard does not exist, yet it should have %d bytes", a.Prev)
	}
	if err := d.checkRoom(opAppend, sh.key, uint64(len(a.Data)), s.o.ReserveBytes); err != nil {
		return nil, err
	}
	return s.create(opAppend, sh, a.Epoch, a.DataShards, a.ParityShards)
}

// writeOpen checks the append against the shard and writes it. It returns the ticket to wait for.
func (s *Store) writeOpen(sh *shard, f *openFile, a *granary.Append, from origin) (uint64, error) {
	refuse := func(kind granary.Kind, format string, args ...any) (uint64, error) {
		return 0, granary.Errorf(kind, opAppend, a.Ref.String(), format, args...)
	}
	st, err := sh.load(opAppend, f)
	if err != nil {
		return 0, err
	}
	end := a.Offset + uint64(len(a.Data))
	h := st.header
	switch {
	case a.Epoch < st.slot.Epoch:
		return refuse(granary.KindStale, "epoch %d is below %d", a.Epoch, st.slot.Epoch)
	case st.slot.Sealed:
		return refuse(granary.KindStale, "the shard is sealed at %d", st.length)
	case h.DataShards != 0 && (h.DataShards != a.DataShards || h.ParityShards != a.ParityShards):
		return refuse(granary.KindInvalid, "the shard is of a volume of %d+%d, not %d+%d", h.DataShards, h.ParityShards, a.DataShards, a.ParityShards)
	}
	if err := sh.refusePoisoned(opAppend); err != nil {
		return 0, err
	}
	if a.Prev != st.length {
		if end != st.length {
			return refuse(granary.KindInvalid, "the shard has %d bytes, not %d", st.length, a.Prev)
		}
		return s.repeatAppend(sh, f, a)
	}
	if err := sh.disk.checkRoom(opAppend, sh.key, uint64(len(a.Data)), s.o.ReserveBytes); err != nil {
		return 0, err
	}
	if err := sh.raiseEpoch(opAppend, f, a.Epoch); err != nil {
		return 0, err
	}
	if err := sh.writeData(f, a.Data, a.Offset); err != nil {
		return 0, err
	}
	sums := from.sums
	if sums == nil || from.lent != nil && !from.lent() {
		sums = crc32c.NewPieces(a.Offset, len(a.Data))
		sums.Add(a.Data)
		if crc := sums.Whole(); crc != a.CRC32C {
			return 0, errors.Join(damagedOnTheWay(a, crc), sh.cutOff(f, "cutting off what was damaged on the way"))
		}
	}
	next := *sh.state.Load()
	next.length = end
	sh.state.Store(&next)
	sh.appended.add(sums, len(a.Data), a.Offset)
	sh.tailWritten = true
	return sh.syncs.wrote(), nil
}

// repeatAppend does again what the last append did. The data are taken from where nobody else writes: what is written over was
// acknowledged, perhaps.
func (s *Store) repeatAppend(sh *shard, f *openFile, a *granary.Append) (uint64, error) {
	data := bytes.Clone(a.Data)
	if crc := crc32.Checksum(data, castagnoli); crc != a.CRC32C {
		return 0, damagedOnTheWay(a, crc)
	}
	same, err := sameBytes(f, data, streamOffset+int64(a.Offset))
	if err != nil {
		return 0, sh.disk.failure(opAppend, sh.key, err)
	}
	if !same {
		return 0, granary.Errorf(granary.KindInvalid, opAppend, a.Ref.String(),
			"the shard has other bytes at %d than a repeat of its last append would", a.Offset)
	}
	if err := sh.raiseEpoch(opAppend, f, a.Epoch); err != nil {
		return 0, err
	}
	if sh.tailWritten {
		return sh.syncs.wrote(), nil // its first sync may still be running, or have been cut short
	}
	// What an earlier process wrote is written again: that process may have died of a failed sync, after which the bytes can be in
	// the page cache, clean, and not on the disk.
	if err := sh.writeData(f, data, a.Offset); err != nil {
		return 0, err
	}
	sh.tailWritten = true
	return sh.syncs.wrote(), nil
}

// writeData writes at an offset of the stream that is not below its end, or the same bytes again.
func (sh *shard) writeData(f *openFile, data []byte, offset uint64) error {
	_, err := f.WriteAt(data, streamOffset+int64(offset))
	if err == nil {
		return nil
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return sh.poison(opAppend, "writing to it", err)
	}
	sh.disk.noteFailure(err)
	// A full disk is no broken disk.
	if err := sh.cutOff(f, "cutting off what was written before the disk was full"); err != nil {
		return err
	}
	return sh.disk.failure(opAppend, sh.key, err)
}

// cutOff cuts off what was written beyond the stream's end. If that fails nobody knows where the file ends.
func (sh *shard) cutOff(f *openFile, doing string) error {
	if err := f.Truncate(streamOffset + int64(sh.state.Load().length)); err != nil {
		return sh.poison(opAppend, doing, err)
	}
	return nil
}

// sameBytes reports whether the file has these bytes there.
func sameBytes(f *openFile, want []byte, position int64) (bool, error) {
	buf := make([]byte, min(len(want), 256<<10))
	for len(want) > 0 {
		p := buf[:min(len(buf), len(want))]
		if n, err := f.ReadAt(p, position); n < len(p) {
			return false, err
		}
		if !bytes.Equal(p, want[:len(p)]) {
			return false, nil
		}
		want = want[len(p):]
		position += int64(len(p))
	}
	return true, nil
}

// create makes an empty shard, durably, and returns its file acquired. The caller has the turn.
func (s *Store) create(op string, sh *shard, epoch granary.Epoch, k, m int) (*openFile, error) {
	d := sh.disk
	id := d.ident.Load()
	st := &shardState{
		header: shardHeader{
			Volume: sh.key.volume, Shard: sh.key.index, DataShards: k, ParityShards: m,
			Cluster: id.Cluster, Disk: id.Disk, Created: granary.TimeOf(time.Now()),
		},
		slot: stateSlot{Sequence: 1, Epoch: epoch},
	}
	head := make([]byte, streamOffset)
	copy(head, encodeHeader(st.header))
	copy(head[slotPosition(st.slot.Sequence):], encodeSlot(st.slot))

	if d.isBuilding(sh.key) {
		return nil, granary.Errorf(granary.KindBusy, op, d.ref(sh.key).String(), "the shard is being built")
	}
	name := sh.key.fileName()
	fresh := name + newSuffix
	if err := d.fs.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, d.failure(op, sh.key, err)
	}
	file, err := d.fs.Create(fresh)
	if err != nil {
		d.noteFailure(err)
		return nil, d.failure(op, sh.key, err)
	}
	_, err = file.WriteAt(head, 0)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = d.fs.Rename(fresh, name)
	}
	if err != nil {
		d.noteFailure(err)
		return nil, d.failure(op, sh.key, errors.Join(err, file.Close(), d.fs.Remove(fresh)))
	}
	sh.state.Store(st)
	f := d.files.adopt(sh, file)
	sh.exists.Store(true) // from here on others may open it
	sh.account(f)
	if err := d.fs.SyncDir(shardsName); err != nil {
		// The name may or may not survive a crash: nothing can be promised here any more.
		d.barWrites(shardsName + ": " + err.Error())
		err = sh.poison(op, "syncing its directory", err)
		d.files.release(f)
		return nil, err
	}
	return f, nil
}
