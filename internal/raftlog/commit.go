package raftlog

// commit writes a batch behind the last and syncs it. Until the sync has succeeded, nothing of the batch counts:
// the next attempt is written over it, under the same number. last is the checksum of its last record.
func (l *Log) commit(batch []byte, last uint32) error {
	seg := l.index.active()
	l.buf = batch
	if err := l.writeFilled(seg, batch); err != nil {
		return l.fail(seg.name(), err)
	}
	if err := seg.file.Sync(); err != nil {
		return l.poison(seg.name(), err)
	}
	seg.end += int64(len(batch))
	l.batch++
	l.prev = last
	if cap(l.buf) > bufBytesMax {
		l.buf = nil
	}
	return nil
}

// bufBytesMax is how much memory is kept for the next batch.
const bufBytesMax = 4 << 20

// writeFilled writes a batch. If it comes near the end of what was written once, it writes zeros behind it, so that
// the batches to come need no new space, and their syncs no change of the file's length. A disk that has no
// room for the zeros may have room for the batch.
func (l *Log) writeFilled(seg *segment, batch []byte) error {
	end := seg.end + int64(len(batch))
	if end+slackBytes > seg.filled {
		limit := max(l.opts.SegmentBytes+slackBytes, end+slackBytes)
		filled := min(roundUp(end+slackBytes, l.opts.FillBytes), limit)
		l.buf = append(batch, make([]byte, filled-end)...)
		_, err := seg.file.WriteAt(l.buf, seg.end)
		if err == nil {
			seg.filled = filled
		}
		if err == nil || !isFull(err) {
			return err
		}
	}
	_, err := seg.file.WriteAt(batch, seg.end)
	if err == nil {
		seg.filled = max(seg.filled, end)
	}
	return err
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// commitRange writes which entries remain. Such a batch never needs another segment.
func (l *Log) commitRange(first, last uint64) error {
	p := place{generation: l.index.active().head.generation, batch: l.batch, prev: l.prev, last: true}
	buf, sum := appendRange(l.buf[:0], p, first, last)
	return l.commit(buf, sum)
}

// mark writes a batch that changes nothing, and by which all before it is known to be whole.
func (l *Log) mark() error { return l.commitRange(l.index.first, l.index.last) }

// makeRoom begins another segment if a batch does not fit into the active one.
func (l *Log) makeRoom(size int64) error {
	seg := l.index.active()
	if seg.end == dataStart || seg.end+size <= l.opts.SegmentBytes {
		return nil
	}
	h := segmentHeader{
		number: seg.head.number + 1, batch: l.batch, prevEnd: seg.end, prevSum: l.prev,
		first: l.index.first, last: l.index.last,
	}
	spare := ""
	if n := len(l.spares); n > 0 {
		spare = l.spares[n-1]
	}
	next, err := createSegment(l.fs, h, spare)
	if err != nil {
		return l.fail(segmentName(h.number), err)
	}
	if spare != "" {
		l.spares = l.spares[:len(l.spares)-1]
	}
	l.mu.Lock()
	l.index.segments = append(l.index.segments, next)
	l.mu.Unlock()
	l.prev = next.head.sum
	return nil
}

// reclaim gives the oldest segments away that hold no entry of the log any more, which is durable by now. A spare
// has lost its old name durably before this returns, and so before its content changes.
func (l *Log) reclaim() error {
	gone := false
	for len(l.index.segments) > 1 && !l.index.holds(l.index.segments[0]) {
		seg := l.index.segments[0]
		l.mu.Lock() // no reader is at it from here on
		l.index.segments = l.index.segments[1:]
		l.mu.Unlock()
		gone = true
		if err := seg.file.Close(); err != nil {
			return l.fail(seg.name(), err)
		}
		if err := l.retire(seg.head.number, seg.filled); err != nil {
			return l.fail(seg.name(), err)
		}
	}
	if !gone {
		return nil
	}
	if err := l.fs.SyncDir("."); err != nil {
		return l.poison(".", err)
	}
	return nil
}

// retire makes a segment a spare, or removes it if there are enough, or if its length is far from the usual one.
func (l *Log) retire(number uint64, filled int64) error {
	name := segmentName(number)
	usual := filled >= l.opts.SegmentBytes/2 && filled <= l.opts.SegmentBytes+slackBytes
	if len(l.spares) >= l.opts.SparesMax || !usual {
		return l.fs.Remove(name)
	}
	spare := spareName(number)
	if err := l.fs.Rename(name, spare); err != nil {
		return err
	}
	l.spares = append(l.spares, spare)
	return nil
}
