package raftlog

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// replay reads segments in order and brings an index to what they say.
type replay struct {
	index     *index // of segments that have been opened; the replay fills it
	batch     uint64 // number of the batch that is being read
	prev      uint32 // checksum of the last record of a whole batch
	lastBatch int64  // where the last whole batch of the last segment begins
	torn      bool   // the last segment ends with a part of a batch

	pending []pending // records of the batch that is being read
}

// pending is a record that counts once its batch is whole.
type pending struct {
	kind   byte
	a, b   uint64 // index of an entry; first and last of a range
	offset int64
}

// newReplay starts with what the oldest segment says of the log when it was begun. The entries of that time lie in
// older segments, and must have left the log by the end.
func newReplay(x *index) *replay {
	h := x.segments[0].head
	x.first, x.last = h.first, h.last
	return &replay{index: x, batch: h.batch}
}

// segment reads one segment; next is the header of the one after it, which says where it ends, nil for none.
func (r *replay) segment(seg *segment, next *segmentHeader) error {
	window := &window{file: seg.file, size: seg.filled}
	r.prev, r.lastBatch, r.pending = seg.head.sum, dataStart, nil
	end := seg.filled
	if next != nil {
		end = next.prevEnd
	}
	prev, off := r.prev, int64(dataStart)
	for off < end {
		rec, err := window.record(off, seg.head.generation)
		if err != nil {
			return storeError(seg.name(), err)
		}
		if rec == nil || rec.prev() != prev || rec.batch() != r.batch {
			break
		}
		r.pending = append(r.pending, pending{kind: rec.kind(), a: rec.index(), b: rec.term(), offset: off})
		prev = rec.sum()
		off += int64(len(rec))
		if !rec.isLast() {
			continue
		}
		if err := r.apply(seg); err != nil {
			return err
		}
		r.batch++
		r.prev, r.lastBatch, seg.end = prev, seg.end, off
	}
	if next != nil {
		return r.sealed(seg, next)
	}
	return r.unsealed(seg, window)
}

// sealed checks the end of a segment that another follows. All of it was synced before that one was begun.
func (r *replay) sealed(seg *segment, next *segmentHeader) error {
	if seg.end != next.prevEnd || r.prev != next.prevSum || r.batch != next.batch {
		return granary.Errorf(granary.KindCorrupt, "raftlog.open", seg.name(),
			"the record at offset %d does not verify; it lies before the end of the segment, at %d", seg.end, next.prevEnd)
	}
	if r.index.first != next.first || r.index.last != next.last {
		return granary.Errorf(granary.KindCorrupt, "raftlog.open", seg.name(),
			"the segment ends with entries %d to %d in the log, the next begins with %d to %d", r.index.first, r.index.last, next.first, next.last)
	}
	return nil
}

// unsealed decides what lies behind the last whole batch of the last segment. The batch that was being written at a crash may
// be there in any part, and its number is that of the batch that was being read. A record with a higher
// number was written after that batch had been synced: then what does not verify is no torn write, but rot.
func (r *replay) unsealed(seg *segment, w *window) error {
	for off := seg.end; off+headerBytes <= w.size; off += recordAlign {
		header, err := w.bytes(off, headerBytes)
		if err != nil {
			return storeError(seg.name(), err)
		}
		if sizeOf(header, seg.head.generation) == 0 {
			continue
		}
		r.torn = true
		if record(header).batch() <= r.batch {
			continue
		}
		later, err := w.record(off, seg.head.generation)
		if err != nil {
			return storeError(seg.name(), err)
		}
		if later != nil {
			return granary.Errorf(granary.KindCorrupt, "raftlog.open", seg.name(),
				"batch %d, after offset %d, does not verify, but a record of batch %d, at offset %d, does: the disk has lost entries that it had stored",
				r.batch, seg.end, later.batch(), off)
		}
	}
	return nil
}

// apply brings the index to the end of a batch.
func (r *replay) apply(seg *segment) error {
	x := r.index
	for _, p := range r.pending {
		switch {
		case p.kind == kindEntry && p.a != 0 && (x.last == 0 || p.a == x.last+1):
			x.add(seg, p.a, p.offset)
		case p.kind == kindRange && p.a == 0 && p.b == 0:
			x.keep(0, 0)
		case p.kind == kindRange && x.first <= p.a && p.a <= p.b && p.b <= x.last && x.first != 0:
			x.keep(p.a, p.b)
		default:
			return granary.Errorf(granary.KindCorrupt, "raftlog.open", seg.name(),
				"the record at offset %d does not fit a log from %d to %d", p.offset, x.first, x.last)
		}
	}
	r.pending = r.pending[:0]
	return nil
}

// window reads a file in long pieces.
type window struct {
	file disk.File
	size int64
	buf  []byte
	off  int64 // of buf in the file
}

const windowBytes = 1 << 20

// bytes returns a piece of the file, valid until the next call; nil if it is not all there.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off+int64(n) > w.size {
		return nil, nil
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		size := int(min(int64(max(n, windowBytes)), w.size-off))
		if cap(w.buf) < size {
			w.buf = make([]byte, size)
		}
		w.buf, w.off = w.buf[:size], off
		if _, err := w.file.ReadAt(w.buf, off); err != nil {
			w.buf = nil
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}

// record returns the record at an offset, nil if none verifies there.
func (w *window) record(off int64, generation uint64) (record, error) {
	header, err := w.bytes(off, headerBytes)
	if err != nil || header == nil {
		return nil, err
	}
	size := sizeOf(header, generation)
	if size == 0 {
		return nil, nil
	}
	b, err := w.bytes(off, size)
	if err != nil || b == nil || !verified(b) {
		return nil, err
	}
	return b, nil
}
