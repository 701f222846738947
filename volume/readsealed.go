package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/dsorchard/granary"
)

// ReadSealed reads a range of a sealed shard as ReadAt does, and compares it with the page table made at its seal:
// KindCorrupt says that the bytes are not those that were sealed, and the shard is Damaged from then on, until it is built anew.
// KindInvalid says that the shard is not sealed. A page of which a part is asked for is read whole. The stream is read from the disk
// itself, and not by way of the kernel's page cache, as far as off, len(p) and the address of p are multiples of a page: what is read so
// is read once, mostly; and it gives way to users, who read by ReadAt (yield.go). The pieces of the table that it takes are read each time: nothing of it is kept here, as the page cache does it.
func (s *Store) ReadSealed(ctx context.Context, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error) {
	if off < 0 {
		return 0, 0, granary.Errorf(granary.KindInvalid, opRead, ref.String(), "negative offset %d", off)
	}
	d, err := s.enter(opRead, ref)
	if err != nil {
		return 0, 0, err
	}
	defer s.exit()
	sh, f, err := d.open(opRead, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return 0, 0, err
	}
	defer d.files.release(f)
	st, err := sh.load(opRead, f)
	if err != nil {
		return 0, 0, err
	}
	if !st.slot.Sealed {
		return 0, 0, granary.Errorf(granary.KindInvalid, opRead, ref.String(), "the shard is not sealed: it has no page table yet")
	}
	n = clip(len(p), off, st.length)
	r := &sealedReader{sh: sh, f: f, slot: st.slot}
	for done := 0; done < n; {
		var got int
		err := ctx.Err()
		if err == nil {
			err = s.yield.do(ctx, func() (err error) {
				got, err = r.read(p[done:n], uint64(off)+uint64(done))
				return err
			})
		}
		switch {
		case err != nil && err == ctx.Err():
			return 0, 0, interrupted(opRead, ref.String(), err)
		case err != nil:
			return 0, 0, err
		}
		done += got
	}
	return n, st.length, nil
}

// sealedReader reads and verifies pages.
type sealedReader struct {
	sh    *shard
	f     *openFile
	slot  stateSlot
	page  [pageSize]byte
	table []byte
}

// read reads some of p, which ends with the stream or before: whole pages if off and p allow for them, else a part of one.
func (r *sealedReader) read(p []byte, off uint64) (int, error) {
	index := off / pageSize
	within := off % pageSize
	if left := r.slot.Length - off; within == 0 && (len(p) >= pageSize || uint64(len(p)) == left) {
		size := min(len(p), scanBufferSize)
		if uint64(size) < left { // whole pages, unless the stream ends with p
			size -= size % pageSize
		}
		return size, r.verify(p[:size], index)
	}
	page := r.page[:min(pageSize, r.slot.Length-index*pageSize)]
	if err := r.verify(page, index); err != nil {
		return 0, err
	}
	return copy(p, page[within:]), nil
}

// verify reads pages from the one with that index on into p, and compares them with the table.
func (r *sealedReader) verify(p []byte, index uint64) error {
	if err := r.fill(r.f.readDirect, p, streamOffset+int64(index)*pageSize, "stream"); err != nil {
		return err
	}
	count := (len(p) + pageSize - 1) / pageSize
	r.table = slices.Grow(r.table[:0], count*crcSize)
	table := r.table[:count*crcSize]
	if err := r.fill(r.f.ReadAt, table, int64(r.slot.TableOffset+index*crcSize), "page table"); err != nil {
		return err
	}
	for i := range count {
		page := p[i*pageSize : min(len(p), (i+1)*pageSize)]
		if crc32.Checksum(page, castagnoli) == binary.LittleEndian.Uint32(table[i*crcSize:]) {
			continue
		}
		return r.corrupt(fmt.Sprintf("the page at offset %d differs from what was sealed", (index+uint64(i))*pageSize))
	}
	return nil
}

// fill reads bytes of the file that must be there.
func (r *sealedReader) fill(readAt func([]byte, int64) (int, error), p []byte, position int64, what string) error {
	n, err := readAt(p, position)
	switch {
	case n == len(p):
		return nil
	case err == nil, errors.Is(err, io.EOF):
		return r.corrupt("the file ends before its " + what)
	}
	r.sh.noteRead(err)
	return r.sh.disk.failure(opRead, r.sh.key, err)
}

// corrupt takes note of the damage, and makes the error that says so.
func (r *sealedReader) corrupt(reason string) error {
	r.sh.damage(reason)
	d := r.sh.disk
	return granary.Errorf(granary.KindCorrupt, opRead, d.ref(r.sh.key).String(), "disk %s: %s", d.dir, reason)
}
