package raftlog

import (
	"github.com/hashicorp/raft"
)

// index knows which entries the log holds and where they lie. Its entries are without gaps.
type index struct {
	segments    []*segment // oldest first; the last is appended to
	first, last uint64     // 0, 0: the log is empty
}

func (x *index) active() *segment { return x.segments[len(x.segments)-1] }

// add notes the entry after the last, or the first of an empty log, at an offset in the newest segment that has entries.
func (x *index) add(seg *segment, entry uint64, off int64) {
	if len(seg.offsets) == 0 {
		seg.firstEntry = entry
	}
	seg.offsets = append(seg.offsets, uint32(off/recordAlign))
	if x.first == 0 {
		x.first = entry
	}
	x.last = entry
}

// keep drops what is not in a range, which is a part of what there is; 0, 0 drops all. Entries before the range stay
// in the segments' tables: they are not found, since they lie before first.
func (x *index) keep(first, last uint64) {
	x.first, x.last = first, last
	for i := len(x.segments) - 1; i >= 0; i-- {
		seg := x.segments[i]
		switch {
		case first == 0 || seg.firstEntry > last:
			seg.offsets = nil
		case seg.endEntry() > last+1:
			seg.offsets = seg.offsets[:last+1-seg.firstEntry]
		}
	}
}

// find returns where an entry of the log lies.
func (x *index) find(entry uint64) (*segment, int64) {
	for i := len(x.segments) - 1; i >= 0; i-- {
		seg := x.segments[i]
		if len(seg.offsets) > 0 && seg.firstEntry <= entry {
			return seg, int64(seg.offsets[entry-seg.firstEntry]) * recordAlign
		}
	}
	return nil, 0
}

// holds reports whether a segment has entries of the log.
func (x *index) holds(seg *segment) bool {
	return x.first != 0 && len(seg.offsets) > 0 && seg.endEntry() > x.first
}

// isComplete reports whether the segments hold all entries from first to last.
func (x *index) isComplete() bool {
	held := x.last + 1
	for i := len(x.segments) - 1; i >= 0; i-- {
		if len(x.segments[i].offsets) > 0 {
			held = x.segments[i].firstEntry
		}
	}
	return x.first == 0 || x.first >= held
}

// tail keeps the newest entries in memory, within bounds, for replication and for applying them.
type tail struct {
	logs                 []raft.Log // without gaps
	bytes                int        // of them
	bytesMax, entriesMax int
}

func (t *tail) add(l *raft.Log) {
	if n := len(t.logs); n > 0 && t.logs[n-1].Index+1 != l.Index {
		t.logs, t.bytes = nil, 0
	}
	t.logs = append(t.logs, *l)
	t.bytes += payloadBytes(l)
	drop := 0
	for drop < len(t.logs) && (len(t.logs)-drop > t.entriesMax || t.bytes > t.bytesMax) {
		t.bytes -= payloadBytes(&t.logs[drop])
		drop++
	}
	clear(t.logs[:drop])
	t.logs = t.logs[drop:]
}

// cut drops the entries after last.
func (t *tail) cut(last uint64) {
	for n := len(t.logs); n > 0 && t.logs[n-1].Index > last; n-- {
		t.bytes -= payloadBytes(&t.logs[n-1])
		t.logs[n-1] = raft.Log{}
		t.logs = t.logs[:n-1]
	}
}

func (t *tail) get(entry uint64, l *raft.Log) bool {
	if len(t.logs) == 0 || entry < t.logs[0].Index || entry-t.logs[0].Index >= uint64(len(t.logs)) {
		return false
	}
	*l = t.logs[entry-t.logs[0].Index]
	return true
}
