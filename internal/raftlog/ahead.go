package raftlog

import (
	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// ahead is what is in the log and not yet written, behind all that is.
type ahead struct {
	logs    []*raft.Log
	room    int64         // bytes of records that would fit behind it: what is stored ahead never needs space that was not written once
	alone   bool          // somebody writes for himself: nothing is stored ahead
	writing bool          // a goroutine writes what is there
	cuts    uint64        // how often the end was cut off
	news    chan struct{} // closed when any of it was written, or the end was cut off; nil: nobody waits
}

// written drops what was written from what is ahead.
func (a *ahead) written(n int) {
	a.logs = a.logs[min(n, len(a.logs)):]
	if len(a.logs) == 0 {
		a.logs = nil
	}
	a.tell()
}

// cut says that the end of the log was cut off.
func (a *ahead) cut() {
	a.cuts++
	a.tell()
}

func (a *ahead) tell() {
	if a.news != nil {
		close(a.news)
		a.news = nil
	}
}

// last returns the index of the last entry. l.mu is held.
func (l *Log) last() uint64 { return l.index.last + uint64(len(l.ahead.logs)) }

// StoreAhead is StoreLogs that need not wait for the disk: the entries are in the log when it returns nil, for all who read it, and
// may be lost in a crash until AwaitDurable has said that they are not. When they cannot be written, all writing ends (Failed).
func (l *Log) StoreAhead(entries []*raft.Log) error {
	if !l.enqueue(entries) {
		return l.StoreLogs(entries)
	}
	return nil
}

// enqueue stores entries ahead, if they follow the log and fit.
func (l *Log) enqueue(entries []*raft.Log) bool {
	size, err := sizeOfAll(entries)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.ahead
	if a.alone || l.index.last == 0 || size > a.room {
		return false
	}
	for i, e := range entries {
		if e.Index != l.last()+1+uint64(i) {
			return false
		}
	}
	a.logs = append(a.logs, entries...)
	a.room -= size
	if !a.writing {
		a.writing = true
		l.writers.Go(l.writeAhead)
	}
	return true
}

// writeAhead writes what is stored ahead, until there is nothing left.
func (l *Log) writeAhead() {
	for {
		l.write.Lock()
		err := l.flush()
		l.write.Unlock()
		l.mu.Lock()
		if err != nil || len(l.ahead.logs) == 0 {
			l.ahead.writing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// flush writes what was stored ahead, as one batch: what is stored while that is being synced goes into the next. l.write is held.
func (l *Log) flush() error {
	l.mu.RLock()
	logs := l.ahead.logs
	l.mu.RUnlock()
	if len(logs) == 0 {
		return nil
	}
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.put(logs, false); err != nil {
		if l.failed == nil {
			err = l.poison(l.index.active().name(), err) // who stored them was told that they are in the log
		}
		return err
	}
	return nil
}

// take makes the caller the one who writes.
func (l *Log) take() {
	l.write.Lock()
	l.mu.Lock()
	l.ahead.alone = true
	l.mu.Unlock()
}

// hold makes the caller the one who writes, behind all that was stored ahead, which is durable when it returns nil.
func (l *Log) hold() error {
	l.take()
	err := l.flush()
	if err == nil {
		err = l.usable()
	}
	if err != nil {
		l.release()
	}
	return err
}

// release ends take, and hold.
func (l *Log) release() {
	l.mu.Lock()
	l.ahead.alone = false
	l.ahead.room = l.roomAhead()
	l.mu.Unlock()
	l.write.Unlock()
}

// roomAhead returns how many bytes fit into the active segment without anything but what was written once. l.write is held, and
// nothing is ahead.
func (l *Log) roomAhead() int64 {
	if l.usable() != nil {
		return 0
	}
	seg := l.index.active()
	return min(seg.filled-slackBytes, l.opts.SegmentBytes) - seg.end
}

// Sync makes everything durable that was stored ahead.
func (l *Log) Sync() error {
	if err := l.hold(); err != nil {
		return err
	}
	l.release()
	return nil
}

// AwaitDurable waits until an entry of the log, and all before it, are durable; or for stop, with an error. It is an error, too, when the
// end of the log is cut off meanwhile: by the index alone nobody could tell what was to be waited for.
func (l *Log) AwaitDurable(entry uint64, stop <-chan struct{}) error {
	l.mu.Lock()
	cuts := l.ahead.cuts
	for entry > l.index.last && cuts == l.ahead.cuts {
		if l.ahead.news == nil {
			l.ahead.news = make(chan struct{})
		}
		news := l.ahead.news
		l.mu.Unlock()
		select {
		case <-news:
		case <-l.failure:
			return granary.Errorf(granary.KindInternal, "raftlog.await", "", "entry %d was not written: the log takes no more writes", entry)
		case <-stop:
			return granary.Errorf(granary.KindCanceled, "raftlog.await", "", "entry %d is not durable yet", entry)
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if cuts != l.ahead.cuts {
		return granary.Errorf(granary.KindStale, "raftlog.await", "", "the log was cut off while entry %d was waited for", entry)
	}
	return nil
}
