package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"syscall"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
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
// A file that does not reach up to seal.End, or that does not hold what this process has appended to it, has lost bytes: KindCorrupt, and it is not sealed. A shard that is made here takes k and m
// from seal, and 0 stands for not known. An epoch below the highest seen is KindStale. Once begun it is finished even if ctx ends, so that the repeat finds it done.
func (s *Store) Seal(ctx context.Context, seal *granary.Seal) error {
	if err := checkSeal(seal); err != nil {
		return err
	}
	ref := seal.Ref
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
	} else if seal.End > 0 {
		return granary.Errorf(granary.KindCorrupt, opSeal, ref.String(), "disk %s: the shard is gone, and had at least %d bytes", d.dir, seal.End)
	} else if f, err = s.create(opSeal, sh, seal.Epoch, seal.DataShards, seal.ParityShards); err != nil {
		return err
	}
	defer d.files.release(f)
	return sh.seal(f, seal)
}

// checkSeal refuses what is wrong by itself.
func checkSeal(seal *granary.Seal) error {
	ref, k, m := seal.Ref, seal.DataShards, seal.ParityShards
	switch {
	case seal.Length > streamLengthMax:
		return granary.Errorf(granary.KindTooLarge, opSeal, ref.String(), "length %d is over the limit of a shard, %d", seal.Length, uint64(streamLengthMax))
	case seal.End > seal.Length:
		return granary.Errorf(granary.KindInvalid, opSeal, ref.String(), "it should reach up to %d, and end at %d", seal.End, seal.Length)
	case ref.Volume == 0 || seal.Epoch == 0 || int(ref.Shard) >= granary.DataShardsMax+granary.ParityShardsMax:
		return granary.Errorf(granary.KindInvalid, opSeal, ref.String(), "no such volume, shard or epoch")
	case k == 0 && m == 0:
		return nil // not known
	case k < 1 || k > granary.DataShardsMax || m < 0 || m > granary.ParityShardsMax || int(ref.Shard) >= k+m:
		return granary.Errorf(granary.KindInvalid, opSeal, ref.String(), "no such shard in a volume of %d+%d", k, m)
	}
	return nil
}

// seal does the work of Seal on an open file. The caller has the turn.
func (sh *shard) seal(f *openFile, seal *granary.Seal) error {
	epoch, length := seal.Epoch, seal.Length
	st, err := sh.load(opSeal, f)
	if err != nil {
		return err
	}
	h := st.header
	subject := sh.disk.ref(sh.key).String()
	switch {
	case epoch < st.slot.Epoch:
		return granary.Errorf(granary.KindStale, opSeal, subject, "epoch %d is below %d", epoch, st.slot.Epoch)
	case st.slot.Sealed && st.slot.Length < length:
		return granary.Errorf(granary.KindInvalid, opSeal, subject, "the shard is sealed at %d, not %d", st.slot.Length, length)
	case h.DataShards != 0 && seal.DataShards != 0 && (h.DataShards != seal.DataShards || h.ParityShards != seal.ParityShards):
		return granary.Errorf(granary.KindInvalid, opSeal, subject, "the shard is of a volume of %d+%d, not %d+%d",
			h.DataShards, h.ParityShards, seal.DataShards, seal.ParityShards)
	}
	if err := sh.refuseShort(f, seal.End); err != nil {
		return err
	}
	if err := sh.refusePoisoned(opSeal); err != nil {
		return err
	}
	// The fence comes first: a crash from here on leaves a shard that the old writer cannot extend.
	if err := sh.raiseEpoch(opSeal, f, epoch); err != nil || st.slot.Sealed {
		return err
	}
	if err := sh.cutAppended(opSeal, f, length); err != nil {
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
	sh.appended.begin(length) // the page table has them from now on
	sh.account(f)
	return nil
}

// refuseShort returns an error if the file does not reach up to end, by what the disk says now.
func (sh *shard) refuseShort(f *openFile, end uint64) error {
	if end == 0 {
		return nil
	}
	size, err := f.Size()
	if err != nil {
		return sh.disk.failure(opSeal, sh.key, err)
	}
	if uint64(size) < streamOffset+end {
		return granary.Errorf(granary.KindCorrupt, opSeal, sh.disk.ref(sh.key).String(),
			"disk %s: the shard has %d bytes, and had at least %d", sh.disk.dir, max(size-streamOffset, 0), end)
	}
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

// writeTable writes the page table behind the stream, and returns its checksum. What is not what was appended is KindCorrupt: a
// table made of it would say that it is right. The sums of the stream, which is read for it, are kept.
func (sh *shard) writeTable(f *openFile, length uint64) (uint32, error) {
	w := &tableWriter{f: f, position: int64(tableOffset(length))}
	summer := erasure.NewSummer()
	check := &appendCheck{sh: sh}
	err := eachPage(f, length, func(uint64, int) error { return nil }, func(_ uint64, page []byte) error {
		crc := crc32.Checksum(page, castagnoli)
		if err := check.add(crc, len(page)); err != nil {
			return err
		}
		summer.Add(page)
		return w.add(crc)
	})
	if err == nil {
		err = w.flush()
	}
	switch {
	case err == nil:
		sh.keepSums(length, summer.Sums())
		return w.crc, nil
	case granary.IsKind(err, granary.KindCorrupt):
		return 0, err
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
	f        io.WriterAt
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

// eachPage calls fn with every page of the stream, the last one as long as it is, and step before each piece that is read. The disk is
// read, past the system's memory: what is sealed or verified is what the disk has, and need not be what is read next.
func eachPage(f *openFile, length uint64, step func(off uint64, size int) error, fn func(index uint64, page []byte) error) error {
	buf := make([]byte, min(length, scanBufferSize))
	for off := uint64(0); off < length; {
		p := buf[:min(uint64(len(buf)), length-off)]
		if len(p) > pageSize {
			p = p[:len(p)/pageSize*pageSize] // direct reads are of whole pages
		}
		if err := step(off, len(p)); err != nil {
			return err
		}
		if n, err := f.readDirect(p, streamOffset+int64(off)); n < len(p) {
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
