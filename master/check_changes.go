package master

import "github.com/dsorchard/granary"

// changesSeen is what was read of the change log so far.
type changesSeen struct {
	settings    *changeLogRecord
	first, last granary.Index // entries that have changes; 0: none has
	before      uint64        // the total before the first …
	total       uint64        // … and that of the last
	time        granary.Time  // of the last
}

func (a *audit) loadChanges(k, b []byte) {
	switch {
	case len(k) == 2 && k[1] == changesSettings:
		a.changes.settings = decoded[changeLogRecord](a, k, b)
	case len(k) == changesKeyLength && k[1] == changesOfEntry:
		a.loadEntryChanges(granary.Index(changesID(k)), k, b)
	case len(k) == changesKeyLength && k[1] == changesGone:
		id, r := granary.InodeID(changesID(k)), decoded[goneRecord](a, k, b)
		if a.inodes[id] != nil || r.index > granary.Index(a.head.Applied) {
			a.bad("directory %d is there, or was removed in an entry to come, %d, and is said to be gone", id, r.index)
		}
	default:
		a.bad("key %q is none of the change log", k)
	}
}

func (a *audit) loadEntryChanges(index granary.Index, k, b []byte) {
	r, seen := decoded[entryChanges](a, k, b), &a.changes
	d := decoder{b: r.Changes, version: formatVersion}
	for range r.Count {
		if c := decodeChange(&d); d.bad || c.Kind == 0 || c.Kind > granary.ChangeUnmark {
			a.bad("a change of entry %d is of kind %d, or does not decode", index, c.Kind)
			break
		}
	}
	before := r.Total - uint64(len(r.Changes))
	switch {
	case d.done() != nil || r.Count == 0:
		a.bad("entry %d has %d changes in %d bytes", index, r.Count, len(r.Changes))
	case index > granary.Index(a.head.Applied):
		a.bad("entry %d, which is not applied, has changes", index)
	case seen.first != 0 && (before != seen.total || r.Time <= seen.time):
		a.bad("the changes of entry %d begin at byte %d, those of %d before it end at %d, or time does not go on", index, before, seen.last, seen.total)
	}
	if seen.first == 0 {
		seen.first, seen.before = index, before
	}
	seen.last, seen.total, seen.time = index, r.Total, r.Time
}

// checkChanges verifies that the change log begins where it says.
func (a *audit) checkChanges() {
	seen := &a.changes
	switch s := seen.settings; {
	case seen.first == 0:
	case s == nil || !s.on():
		a.bad("entries %d to %d have changes, and none are kept", seen.first, seen.last)
	case seen.first <= s.From || seen.before != s.Trimmed:
		a.bad("the change log begins after entry %d and byte %d, and its first entry is %d, at byte %d", s.From, s.Trimmed, seen.first, seen.before)
	}
}
