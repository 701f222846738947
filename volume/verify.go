package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Verify reads a sealed shard, data or parity, and compares it with the page table made at its seal.
// KindCorrupt names the first page that differs, and how many do; KindInvalid says that the shard is not sealed.
func (s *Store) Verify(ctx context.Context, ref granary.ShardRef) error {
	d, err := s.enter(opVerify, ref)
	if err != nil {
		return err
	}
	defer s.exit()
	sh, f, err := d.open(opVerify, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return err
	}
	defer d.files.release(f)
	st, err := sh.load(opVerify, f)
	if err != nil {
		return err
	}
	if !st.slot.Sealed {
		return granary.Errorf(granary.KindInvalid, opVerify, ref.String(), "the shard is not sealed: it has no page table yet")
	}
	return sh.verify(opVerify, f, st.slot, func(int) error {
		if err := ctx.Err(); err != nil {
			return interrupted(opVerify, ref.String(), err)
		}
		return nil
	})
}

// verify does the work of Verify on an open file. What it finds makes the shard Damaged. Before each piece that is read step is asked,
// and ends it with an error.
func (sh *shard) verify(op string, f *openFile, slot stateSlot, step func(size int) error) error {
	err := sh.compare(op, f, slot, step)
	if granary.IsKind(err, granary.KindCorrupt) {
		sh.damage(causeOf(err))
	}
	return err
}

// uncache makes the next read of a range one of the disk.
func uncache(f *openFile, off, length int64) error {
	u, ok := f.File.(disk.Uncacher)
	if !ok {
		return nil
	}
	if off < 0 {
		off, length = 0, length+off
	}
	return u.Uncache(off, length)
}

// causeOf returns the text of an error without what it was about.
func causeOf(err error) string {
	var e *granary.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// checkHead reads the head anew: what rotted in it would be missed only when the server is started again, of many shards at once
// perhaps. The state on the disk is the one in memory, or a later one.
func (sh *shard) checkHead(op string, f *openFile) error {
	st := sh.state.Load()
	if err := uncache(f, 0, streamOffset); err != nil {
		return sh.disk.failure(op, sh.key, err)
	}
	head := make([]byte, streamOffset)
	if n, err := f.ReadAt(head, 0); n < len(head) && !errors.Is(err, io.EOF) {
		sh.noteRead(err)
		return sh.disk.failure(op, sh.key, err)
	}
	h, slot, err := decodeHead(head)
	switch {
	case err != nil:
		err = errors.New(causeOf(err))
	case h.Volume != st.header.Volume || h.Shard != st.header.Shard || h.Created != st.header.Created:
		err = errors.New("it is that of another")
	case slot.Sequence < st.slot.Sequence:
		err = errors.New("its newest state is lost")
	}
	if err == nil {
		return nil
	}
	err = granary.Errorf(granary.KindCorrupt, op, sh.disk.ref(sh.key).String(), "disk %s: its head: %w", sh.disk.dir, err)
	sh.damage(causeOf(err))
	return err
}

// compare reads the head, the stream and the page table.
func (sh *shard) compare(op string, f *openFile, slot stateSlot, step func(size int) error) error {
	if err := sh.checkHead(op, f); err != nil {
		return err
	}
	subject := sh.disk.ref(sh.key).String()
	r := &tableReader{f: f, position: int64(slot.TableOffset), left: slot.TableLength}
	var bad, first uint64
	stepped := error(nil)
	err := eachPage(f, slot.Length, func(off uint64, size int) error {
		if stepped = step(size); stepped != nil {
			return stepped
		}
		// The disk is asked, and not what the system's memory holds of it; and that is not filled with what nobody reads.
		return uncache(f, streamOffset+int64(off)-scanBufferSize, scanBufferSize+int64(size))
	}, func(index uint64, page []byte) error {
		want, err := r.next()
		if err != nil {
			return err
		}
		if crc32.Checksum(page, castagnoli) == want {
			return nil
		}
		if bad++; bad == 1 {
			first = index
		}
		return nil
	})
	switch {
	case stepped != nil:
		return stepped
	case errors.Is(err, io.EOF):
		return granary.Errorf(granary.KindCorrupt, op, subject, "disk %s: the file ends before its stream of %d bytes and its page table", sh.disk.dir, slot.Length)
	case err != nil:
		sh.noteRead(err)
		return sh.disk.failure(op, sh.key, err)
	case r.crc != slot.TableCRC:
		return granary.Errorf(granary.KindCorrupt, op, subject, "disk %s: the page table fails its checksum", sh.disk.dir)
	case bad > 0:
		return granary.Errorf(granary.KindCorrupt, op, subject,
			"disk %s: %d pages differ from what was sealed, the first at offset %d", sh.disk.dir, bad, first*pageSize)
	}
	return nil
}

// tableReader reads a page table piece by piece.
type tableReader struct {
	f        *openFile
	position int64
	left     uint64 // bytes not read yet
	buf      []byte
	crc      uint32
}

// next returns the next page's checksum. It is not called more often than the table has entries.
func (r *tableReader) next() (uint32, error) {
	if len(r.buf) == 0 {
		r.buf = make([]byte, min(r.left, tableBufferSize))
		if n, err := r.f.ReadAt(r.buf, r.position); n < len(r.buf) {
			return 0, err
		}
		r.crc = crc32.Update(r.crc, castagnoli, r.buf)
		r.position += int64(len(r.buf))
		r.left -= uint64(len(r.buf))
	}
	v := binary.LittleEndian.Uint32(r.buf)
	r.buf = r.buf[crcSize:]
	return v, nil
}
