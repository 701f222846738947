package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"syscall"

	"github.com/dsorchard/granary"
)

// Sizes of the buffers that make and check a page table; multiples of a page.
const (
	scanBufferSize  = 1 << 20
	tableBufferSize = 256 << 10
)

// Seal ends a shard at length, for good: what lies beyond is cut off, what is missing up to it reads
// as zeros, and a shard that no append ever reached is made, empty. Sealing again at the same length is acknowledged, and
// so is it at a smaller one, which changes nothing: a master that was restored from a backup knows of less than the
// one that sealed the shard, and what it does not know of is better kept than cut off. At a greater length it is KindInvalid.
// An epoch below the highest seen is KindStale. Once begun it is finished even if ctx ends, so that the repeat finds it done.
func (s *Store) Seal(ctx context.Context, seal *granary.Seal) error {
	ref, epoch, length := seal.Ref, seal.Epoch, seal.Length
	if length > streamLengthMax {
		return granary.Errorf(granary.KindTooLarge, opSeal, ref.String(), "length %d is over the limit of a shard, %d", length, uint64(streamLengthMax))
	}
	if ref.Volume == 0 || epoch == 0 || int(ref.Shard) >= granary.DataShardsMax+granary.ParityShardsMax {
		return granary.Errorf(granary.KindInvalid, opSeal, ref.String(), "no such volume, shard or epoch")
	}
	d, err := s.enter(opSeal, ref)
	if err != nil {
		return err
	}
	defer s.exit()
	sh, err := d.take(ctx, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return interrupted(opSeal, ref.String(), err)
	}
	defer d.give(sh)
	var f *openFile
	if sh.exists.Load() {
		if f, err = d.files.acquire(sh); err != nil {
			return d.failure(opSeal, sh.key, err)
		}
	} else if f, err = s.create(opSeal, sh, epoch, 0, 0); err != nil {
		return err
	}
	defer d.files.release(f)
	return sh.seal(f, epoch, length)
}

// seal does the work of Seal on an open file. The caller has the turn.
func (sh *shard) seal(f *openFile, epoch granary.Epoch, length uint64) error {
	st, err := sh.load(opSeal, f)
	if err != nil {
		return err
	}
	subject := sh.disk.ref(sh.key).String()
	switch {
	case epoch < st.slot.Epoch:
		return granary.Errorf(granary.KindStale, opSeal, subject, "epoch %d is below %d", epoch, st.slot.Epoch)
	case st.slot.Sealed && st.slot.Length < length:
		return granary.Errorf(granary.KindInvalid, opSeal, subject, "the shard is sealed at %d, not %d", st.slot.Length, length)
	}
	if err := sh.refusePoisoned(opSeal); err != nil {
		return err
	}
	// The fence comes first: a crash from here on leaves a shard that the old writer cannot extend.
	if err := sh.raiseEpoch(opSeal, f, epoch); err != nil || st.slot.Sealed {
		return err
	}
	if err := sh.cut(f, length); err != nil {
		return err
	}
	slot := sh.state.Load().slot
	slot.Sealed, slot.Length = true, length
	slot.TableOffset, slot.TableLength = tableOffset(length), tableLength(length)
	if slot.TableCRC, err = sh.writeTable(f, length); err != nil {
		return err
	}
	if err := sh.flush(opSeal, f); err != nil {
		return err
	}
	if err := sh.writeSlot(opSeal, f, slot); err != nil {
		return err
	}
	sh.account(f)
	return nil
}

// cut makes the stream end at length, and says so in memory.
func (sh *shard) cut(f *openFile, length uint64) error {
	if err := f.Truncate(streamOffset + int64(length)); err != nil {
		return sh.poison(opSeal, "cutting it", err)
	}
	next := *sh.state.Load()
	next.length = length
	sh.state.Store(&next)
	sh.tailWritten = false
	return nil
}

// writeTable writes the page table behind the stream, and returns its checksum.
func (sh *shard) writeTable(f *openFile, length uint64) (uint32, error) {
	w := &tableWriter{f: f, position: int64(tableOffset(length))}
	err := eachPage(f, length, func(_ uint64, page []byte) error {
		return w.add(crc32.Checksum(page, castagnoli))
	})
	if err == nil {
		err = w.flush()
	}
	switch {
	case err == nil:
		return w.crc, nil
	case !errors.Is(err, syscall.ENOSPC):
		return 0, sh.poison(opSeal, "making its page table", err)
	}
	if err := sh.cut(f, length); err != nil {
		return 0, err
	}
	return 0, sh.disk.failure(opSeal, sh.key, err)
}

// tableWriter writes a page table piece by piece.
type tableWriter struct {
	f        *openFile
	position int64
	buf      []byte
	crc      uint32
}

func (w *tableWriter) add(crc uint32) error {
	w.buf = binary.LittleEndian.AppendUint32(w.buf, crc)
	if len(w.buf) < tableBufferSize {
		return nil
	}
	return w.flush()
}

func (w *tableWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.f.WriteAt(w.buf, w.position); err != nil {
		return err
	}
	w.crc = crc32.Update(w.crc, castagnoli, w.buf)
	w.position += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// eachPage calls fn with every page of the stream, the last one as long as it is.
func eachPage(f *openFile, length uint64, fn func(index uint64, page []byte) error) error {
	buf := make([]byte, min(length, scanBufferSize))
	for off := uint64(0); off < length; {
		p := buf[:min(uint64(len(buf)), length-off)]
		if n, err := f.ReadAt(p, streamOffset+int64(off)); n < len(p) {
			return err // io.EOF: the file is too short
		}
		for rest := p; len(rest) > 0; {
			page := rest[:min(len(rest), pageSize)]
			if err := fn(off/pageSize, page); err != nil {
				return err
			}
			rest = rest[len(page):]
			off += uint64(len(page))
		}
	}
	return nil
}

// Drop removes a shard. One that does not exist is dropped already. An epoch below the highest seen
// is KindStale. A shard whose head cannot be read is removed too: its epoch is not known, and nothing can be done with it.
func (s *Store) Drop(ctx context.Context, ref granary.ShardRef, epoch granary.Epoch, created granary.Time) error {
	d, err := s.enter(opDrop, ref)
	if err != nil {
		return err
	}
	defer s.exit()
	sh, err := d.take(ctx, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return interrupted(opDrop, ref.String(), err)
	}
	defer d.give(sh)
	if !sh.exists.Load() {
		return nil
	}
	f, err := d.files.acquire(sh)
	switch {
	case err == nil:
		st, err := sh.load(opDrop, f)
		d.files.release(f)
		if granary.IsKind(err, granary.KindUnavailable) || granary.IsKind(err, granary.KindNotSupported) {
			return err
		}
		if err == nil && epoch < st.slot.Epoch {
			return granary.Errorf(granary.KindStale, opDrop, ref.String(), "epoch %d is below %d", epoch, st.slot.Epoch)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return d.failure(opDrop, sh.key, err)
	}
	if err := d.fs.Remove(sh.key.fileName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.noteFailure(err)
		return d.failure(opDrop, sh.key, err)
	}
	d.files.forget(sh)
	d.forget(sh)
	sh.unaccount()
	if err := d.fs.SyncDir(shardsName); err != nil {
		d.barWrites(shardsName + ": " + err.Error())
		return d.failure(opDrop, sh.key, err)
	}
	return nil
}
