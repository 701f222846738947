package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/dsorchard/granary"
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
	return sh.verify(ctx, f, st.slot)
}

// verify does the work of Verify on an open file. What it finds makes the shard Damaged.
func (sh *shard) verify(ctx context.Context, f *openFile, slot stateSlot) error {
	err := sh.compare(ctx, f, slot)
	if granary.IsKind(err, granary.KindCorrupt) {
		sh.damage(causeOf(err))
	}
	return err
}

// causeOf returns the text of an error without what it was about.
func causeOf(err error) string {
	var e *granary.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// compare reads the stream and the page table.
func (sh *shard) compare(ctx context.Context, f *openFile, slot stateSlot) error {
	subject := sh.disk.ref(sh.key).String()
	r := &tableReader{f: f, position: int64(slot.TableOffset), left: slot.TableLength}
	var bad, first uint64
	err := eachPage(f, slot.Length, func(index uint64, page []byte) error {
		if err := ctx.Err(); err != nil {
			return interrupted(opVerify, subject, err)
		}
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
	case granary.IsKind(err, granary.KindCanceled), granary.IsKind(err, granary.KindUnavailable):
		return err
	case errors.Is(err, io.EOF):
		return granary.Errorf(granary.KindCorrupt, opVerify, subject, "disk %s: the file ends before its stream of %d bytes and its page table", sh.disk.dir, slot.Length)
	case err != nil:
		sh.noteRead(err)
		return sh.disk.failure(opVerify, sh.key, err)
	case r.crc != slot.TableCRC:
		return granary.Errorf(granary.KindCorrupt, opVerify, subject, "disk %s: the page table fails its checksum", sh.disk.dir)
	case bad > 0:
		return granary.Errorf(granary.KindCorrupt, opVerify, subject,
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
