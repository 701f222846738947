package raftlog

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Options says how a log is kept. The zero Options are good ones, for a log that is always empty or begins at 1.
type Options struct {
	SegmentBytes int64 // of a segment, at most 4 GiB; default 64 MiB
	FillBytes    int64 // zeros are written ahead of the records up to a multiple of this; default 1 MiB
	SparesMax    int   // segments kept to be used again; default 2, negative for none
	TailBytes    int   // of the newest entries, kept in memory; default 16 MiB
	TailEntries  int   // how many of them at most; default 16,384

	// MustExist makes Open refuse a directory without a log, where one must have been lost.
	MustExist bool
	// Covered returns the highest index that a durable snapshot holds, with all before it. It is asked when an
	// entry does not follow the last. nil: 0.
	Covered func() (uint64, error)
	// Log hears of what was found at an opening; nil: nobody.
	Log *slog.Logger
}

const (
	segmentBytesDefault = 64 << 20
	segmentBytesLimit   = 4 << 30
	fillBytesDefault    = 1 << 20
	sparesMaxDefault    = 2
	tailBytesDefault    = 16 << 20
	tailEntriesDefault  = 16 << 10
)

// slackBytes stay filled behind the records, so that entries can be deleted when the disk is full.
const slackBytes = 4096

func (o *Options) setDefaults() {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	o.SegmentBytes = min(max(o.SegmentBytes, dataStart+slackBytes), segmentBytesLimit)
	if o.FillBytes <= 0 {
		o.FillBytes = fillBytesDefault
	}
	if o.SparesMax == 0 {
		o.SparesMax = sparesMaxDefault
	}
	if o.TailBytes <= 0 {
		o.TailBytes = tailBytesDefault
	}
	if o.TailEntries <= 0 {
		o.TailEntries = tailEntriesDefault
	}
	if o.Covered == nil {
		o.Covered = func() (uint64, error) { return 0, nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Log is a raft.LogStore. Reads may run concurrently with each other and with a write, and never wait for the disk to sync.
type Log struct {
	fs   disk.FS
	opts Options

	write  sync.Mutex // held by who writes (hold); guards what follows
	batch  uint64     // number of the next batch
	prev   uint32     // checksum of the last record, or of the active segment's header if it has none
	buf    []byte
	spares []string
	failed error // why nothing is written any more
	closed bool

	failure chan struct{} // closed when failed is set

	mu    sync.RWMutex // guards what follows
	index index        // of what is durable; who changes it holds write as well
	tail  tail         // and this
	ahead ahead

	writers sync.WaitGroup // goroutines that write what was stored ahead
}

// FirstIndex implements raft.LogStore.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.first, nil
}

// LastIndex implements raft.LogStore.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last(), nil
}

// GetLog implements raft.LogStore. The entry's bytes must not be changed.
func (l *Log) GetLog(entry uint64, out *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if entry == 0 || entry < l.index.first || entry > l.last() {
		return raft.ErrLogNotFound
	}
	if entry > l.index.last {
		*out = *l.ahead.logs[entry-l.index.last-1]
		return nil
	}
	if l.tail.get(entry, out) {
		return nil
	}
	seg, off := l.index.find(entry)
	return seg.read(off, entry, out)
}

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore. The entries are durable, all of them, when it returns nil; else none is in the
// log. They are kept in memory as they are: nobody may change them any more. After a full disk it may be called again;
// after another error of the disk every call fails.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	if err := l.hold(); err != nil {
		return err
	}
	defer l.release()
	anew, err := l.checkFollows(entries)
	if err != nil {
		return err
	}
	size, err := sizeOfAll(entries)
	if err != nil {
		return err
	}
	if anew {
		size += headerBytes
	}
	if err := l.makeRoom(size); err != nil {
		return err
	}
	return l.put(entries, anew)
}

// sizeOfAll returns how many bytes the records of entries take.
func sizeOfAll(entries []*raft.Log) (size int64, err error) {
	for _, e := range entries {
		if payloadBytes(e) > payloadBytesMax {
			return 0, granary.Errorf(granary.KindTooLarge, "raftlog.store", "", "entry %d has %d bytes", e.Index, payloadBytes(e))
		}
		size += int64(recordBytes(payloadBytes(e)))
	}
	return size, nil
}

// put writes entries as one batch, for which there is room in the active segment; anew says that they begin the log anew.
func (l *Log) put(entries []*raft.Log, anew bool) error {
	seg := l.index.active()
	p := place{generation: seg.head.generation, batch: l.batch, prev: l.prev}
	buf := l.buf[:0]
	if anew {
		buf, p.prev = appendRange(buf, p, 0, 0)
	}
	offsets := make([]int64, len(entries))
	for i, e := range entries {
		offsets[i] = seg.end + int64(len(buf))
		p.last = i == len(entries)-1
		buf, p.prev = appendEntry(buf, p, e)
	}
	if err := l.commit(buf, p.prev); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if anew {
		l.index.keep(0, 0)
	}
	for i, e := range entries {
		l.index.add(seg, e.Index, offsets[i])
		l.tail.add(e)
	}
	l.ahead.written(len(entries))
	return nil
}

// checkFollows checks that the entries follow each other and the log. They may begin it anew behind a snapshot.
func (l *Log) checkFollows(entries []*raft.Log) (anew bool, err error) {
	for i, e := range entries {
		if e.Index == 0 || e.Index != entries[0].Index+uint64(i) {
			return false, granary.Errorf(granary.KindInvalid, "raftlog.store", "", "entry %d is at place %d of a batch from %d on", e.Index, i, entries[0].Index)
		}
	}
	first, next := entries[0].Index, l.index.last+1
	switch {
	case first == next:
		return false, nil
	case first < next:
		return false, granary.Errorf(granary.KindInvalid, "raftlog.store", "", "entry %d is in the log, which ends at %d", first, l.index.last)
	}
	covered, err := l.opts.Covered()
	if err != nil {
		return false, err
	}
	if first > covered+1 {
		return false, granary.Errorf(granary.KindInvalid, "raftlog.store", "",
			"entry %d follows neither the log, which ends at %d, nor the newest snapshot, of %d", first, l.index.last, covered)
	}
	return l.index.last > 0, nil
}

// DeleteRange implements raft.LogStore. What it deletes is durably gone when it returns. It deletes from the
// front or from the end, and refuses to leave a hole.
func (l *Log) DeleteRange(lo, hi uint64) error {
	if err := l.hold(); err != nil {
		return err
	}
	defer l.release()
	first, last := l.index.first, l.index.last
	switch {
	case first == 0 || lo > hi || hi < first || lo > last:
		return nil
	case lo <= first && hi >= last:
		first, last = 0, 0
	case lo <= first:
		first = hi + 1
	case hi >= last:
		last = lo - 1
	default:
		return granary.Errorf(granary.KindInvalid, "raftlog.delete", "", "entries %d to %d lie within the log, from %d to %d", lo, hi, first, last)
	}
	if err := l.commitRange(first, last); err != nil {
		return err
	}
	l.mu.Lock()
	if last < l.index.last {
		l.ahead.cut()
	}
	l.index.keep(first, last)
	l.tail.cut(last)
	l.mu.Unlock()
	return l.reclaim()
}

// Close writes that all before it is whole, and closes the files. Nobody may be using the log.
func (l *Log) Close() error {
	defer l.writers.Wait()
	l.take()
	defer l.release()
	if l.closed {
		return nil
	}
	var err error
	if l.failed == nil {
		if err = l.flush(); err == nil {
			err = l.mark()
		}
	}
	l.closed = true
	return errors.Join(err, l.closeFiles())
}

func (l *Log) closeFiles() error {
	var errs []error
	for _, seg := range l.index.segments {
		errs = append(errs, seg.file.Close())
	}
	return errors.Join(errs...)
}

// Failed is closed when a failure of the disk has ended all writing. Only opening the log again can help.
func (l *Log) Failed() <-chan struct{} { return l.failure }

// usable returns why nothing can be written.
func (l *Log) usable() error {
	switch {
	case l.closed:
		return granary.Errorf(granary.KindUnavailable, "raftlog.write", "", "the log is closed")
	case l.failed != nil:
		return granary.Errorf(granary.KindInternal, "raftlog.write", "", "the log takes no more writes until it is opened again, since one failed: %w", l.failed)
	}
	return nil
}

// fail turns an error of the disk into what the caller gets. A full disk has changed nothing that counts;
// after anything else nobody knows what is on the disk, and nothing more is written.
func (l *Log) fail(subject string, err error) error {
	if !isFull(err) {
		return l.poison(subject, err)
	}
	return storeError(subject, err)
}

// poison ends all writing: what a failed sync left is not known, and a second sync would not tell.
func (l *Log) poison(subject string, err error) error {
	if l.failed == nil {
		close(l.failure)
	}
	l.failed = err
	l.mu.Lock()
	l.ahead.room = 0
	l.mu.Unlock()
	l.opts.Log.Error("the Raft log takes no more writes", "file", subject, "error", err)
	return storeError(subject, err)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func storeError(subject string, err error) error {
	kind := granary.KindInternal
	if isFull(err) {
		kind = granary.KindNoSpace
	}
	return granary.Errorf(kind, "raftlog", subject, "%w", err)
}
