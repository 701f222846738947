package raftlog

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Open opens the log in the root directory of d, and begins one if there is none. Nobody else may have it open. What a
// crash left of the last batch is cut off; anything else that does not verify is a KindCorrupt error, and
// changes nothing.
func Open(d disk.FS, o Options) (_ *Log, err error) {
	o.setDefaults()
	l := &Log{fs: d, opts: o, failure: make(chan struct{}), tail: tail{bytesMax: o.TailBytes, entriesMax: o.TailEntries}}
	files, err := list(d)
	if err != nil {
		return nil, storeError(".", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.closeFiles())
		}
	}()
	if len(files.segments) == 0 {
		err = l.begin()
	} else {
		err = l.load(files)
	}
	if err != nil {
		return nil, err
	}
	if err := l.tidy(files); err != nil {
		return nil, err
	}
	if err := l.mark(); err != nil {
		if !isFull(err) {
			return nil, err
		}
		o.Log.Warn("the disk is full: the end of the Raft log could not be marked", "error", err)
	}
	return l, nil
}

// directory is what lies in the directory of a log.
type directory struct {
	segments []uint64 // that hold the log: numbered without gaps, up to the newest
	old      []uint64 // before a gap: left over from a removal that a crash undid in part
	spares   []string
}

func list(d disk.FS) (directory, error) {
	var dir directory
	// What was renamed before a crash of the process is renamed durably from here on.
	if err := d.SyncDir("."); err != nil {
		return dir, err
	}
	names, err := d.ReadDir(".")
	if err != nil {
		return dir, err
	}
	for _, name := range names {
		if n, ok := parseName(name, segmentSuffix); ok {
			dir.segments = append(dir.segments, n)
		} else if _, ok := parseName(name, spareSuffix); ok {
			dir.spares = append(dir.spares, name)
		}
	}
	slices.Sort(dir.segments)
	for i := len(dir.segments) - 1; i > 0; i-- {
		if dir.segments[i-1]+1 != dir.segments[i] {
			dir.old, dir.segments = dir.segments[:i], dir.segments[i:]
			break
		}
	}
	return dir, nil
}

// begin makes the first segment of an empty log.
func (l *Log) begin() error {
	if l.opts.MustExist {
		return granary.Errorf(granary.KindCorrupt, "raftlog.open", "", "the Raft log is gone: there is no segment")
	}
	l.batch = 1
	seg, err := createSegment(l.fs, segmentHeader{number: 1, batch: 1}, "")
	if err != nil {
		return storeError(segmentName(1), err)
	}
	l.index.segments = []*segment{seg}
	l.prev = seg.head.sum
	return nil
}

// load reads the segments and makes the end of the log durable.
func (l *Log) load(dir directory) error {
	for _, n := range dir.segments {
		seg, err := openSegment(l.fs, n)
		if err != nil {
			return err
		}
		l.index.segments = append(l.index.segments, seg)
	}
	r := newReplay(&l.index)
	for i, seg := range l.index.segments {
		var next *segmentHeader
		if i+1 < len(l.index.segments) {
			next = &l.index.segments[i+1].head
		}
		if err := r.segment(seg, next); err != nil {
			return err
		}
	}
	if !l.index.isComplete() {
		return granary.Errorf(granary.KindCorrupt, "raftlog.open", segmentName(dir.segments[0]-1),
			"the log holds entries from %d on, but the segments before the %dth, where they begin, are missing", l.index.first, dir.segments[0])
	}
	l.batch, l.prev = r.batch, r.prev
	if r.torn {
		l.opts.Log.Warn("the end of the Raft log was torn by a crash and is cut off", "segment", l.index.active().name(),
			"offset", l.index.active().end, "last entry", l.index.last)
	}
	return l.syncEnd(r.lastBatch)
}

// syncEnd writes the last batch again as it was read, and syncs it: the process that wrote it may have died before
// it synced, or because the sync failed, and what the page cache then holds need not be on the disk. All batches
// before it were synced, or it would not have been written.
func (l *Log) syncEnd(from int64) error {
	seg := l.index.active()
	batch := make([]byte, seg.end-from)
	if _, err := seg.file.ReadAt(batch, from); err != nil && len(batch) > 0 {
		return storeError(seg.name(), err)
	}
	if len(batch) > 0 {
		if _, err := seg.file.WriteAt(batch, from); err != nil {
			return storeError(seg.name(), err)
		}
	}
	if err := seg.file.Sync(); err != nil {
		return storeError(seg.name(), err)
	}
	return nil
}

// tidy removes what a crash left over, and keeps spares. The log needs none of it: it has been read without.
func (l *Log) tidy(dir directory) error {
	for _, n := range dir.old {
		if err := l.fs.Remove(segmentName(n)); err != nil {
			return storeError(segmentName(n), err)
		}
	}
	l.spares = dir.spares
	for len(l.spares) > max(l.opts.SparesMax, 0) {
		n := len(l.spares) - 1
		if err := l.fs.Remove(l.spares[n]); err != nil {
			return storeError(l.spares[n], err)
		}
		l.spares = l.spares[:n]
	}
	if err := l.fs.Remove(newName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError(newName, err)
	}
	if err := l.fs.SyncDir("."); err != nil {
		return storeError(".", err)
	}
	return l.reclaim()
}

// openSegment opens a segment and reads its header.
func openSegment(d disk.FS, number uint64) (_ *segment, err error) {
	name := segmentName(number)
	f, err := d.Open(name)
	if err != nil {
		return nil, storeError(name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	size, err := f.Size()
	if err != nil {
		return nil, storeError(name, err)
	}
	b := make([]byte, headerBytes)
	if size < dataStart {
		return nil, granary.Errorf(granary.KindCorrupt, "raftlog.open", name, "the segment has only %d bytes", size)
	}
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, storeError(name, err)
	}
	seg := &segment{file: f, end: dataStart, filled: size}
	if !seg.head.unmarshal(b) || seg.head.number != number {
		return nil, granary.Errorf(granary.KindCorrupt, "raftlog.open", name, "the header of the segment does not verify")
	}
	return seg, nil
}
