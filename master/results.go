package master

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// Results of requests are stored so that a repeated request gets the first one's. Those that an entry gives to one
// session lie in one record, whose key is the highest of their requests. It goes when the session has
// acknowledged all of them.

const (
	resultsForgottenMax = 64   // records that one request deletes
	holesMax            = 4096 // remembered of a session
)

// storedResult is one result as wire.MarshalResult gives it.
type storedResult struct {
	Seq   uint64
	Bytes []byte
}

// resultsRecord is the results of an entry for one session. Before format 3 a record held one result, without its
// number, which is in the key.
type resultsRecord struct{ Results []storedResult }

func (r *resultsRecord) put(e *encoder) {
	e.u64(uint64(len(r.Results)))
	for _, s := range r.Results {
		e.u64(s.Seq)
		e.blob(s.Bytes)
	}
}

func (r *resultsRecord) take(d *decoder) {
	if d.version < 3 {
		r.Results = []storedResult{{Bytes: append([]byte{}, d.blob()...)}}
		return
	}
	for range d.count() {
		r.Results = append(r.Results, storedResult{d.u64(), append([]byte{}, d.blob()...)})
	}
}

// answered is what the goroutine that applies remembers of a session's results: which requests have none, without
// asking the store, and which records there are.
type answered struct {
	last    uint64              // no request above has a result …
	holes   map[uint64]struct{} // … and none of these, which later ones have overtaken
	records []uint64            // the records in the store, ascending
}

// answeredBy returns what is known of a session's results. Whatever changes them asks for it first: so what is
// read here is all in the store, not among changes that are still to be written.
func (t *txn) answeredBy(id granary.SessionID) *answered {
	r := t.pending.recall
	if a, ok := r.answered[id]; ok {
		return a
	}
	prefix := key(tableResult, uint64(id))
	it, err := t.pending.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	a := &answered{holes: make(map[uint64]struct{})}
	for ok := it.First(); ok; ok = it.Next() {
		a.last = keyID(it.Key(), 1)
		a.records = append(a.records, a.last)
	}
	must(it.Error())
	must(it.Close())
	r.answered[id] = a
	return a
}

// result returns the stored result of a request, or nil.
func (t *txn) result(id granary.SessionID, seq uint64) []byte {
	a := t.answeredBy(id)
	if _, hole := a.holes[seq]; hole || seq > a.last {
		return nil
	}
	for _, s := range t.answers[id] { // of this entry
		if s.Seq == seq {
			return s.Bytes
		}
	}
	at, _ := slices.BinarySearch(a.records, seq)
	for _, last := range a.records[at:] {
		r := fetch[resultsRecord](t, keyResult(id, last))
		for _, s := range r.Results {
			if s.Seq == seq || s.Seq == 0 && last == seq {
				return s.Bytes
			}
		}
	}
	return nil
}

// storeResult has the result of a request stored at the end of the entry.
func (t *txn) storeResult(id granary.SessionID, seq uint64, b []byte) {
	t.answeredBy(id).note(seq)
	results, ok := t.answers[id]
	if !ok {
		results, t.answersFree = t.answersFree, nil
	}
	t.answers[id] = append(results, storedResult{seq, b})
}

// note notes that a request has a result. Holes that are too many to remember are forgotten: then the store is asked.
func (a *answered) note(seq uint64) {
	if seq <= a.last {
		delete(a.holes, seq)
		return
	}
	if seq-a.last+uint64(len(a.holes)) > holesMax {
		clear(a.holes)
	} else {
		for hole := a.last + 1; hole < seq; hole++ {
			a.holes[hole] = struct{}{}
		}
	}
	a.last = seq
}

// writeResults stores the results of an entry.
func (t *txn) writeResults() {
	for _, id := range slices.Sorted(maps.Keys(t.answers)) {
		r := resultsRecord{t.answers[id]}
		last := slices.MaxFunc(r.Results, func(x, y storedResult) int { return cmp.Compare(x.Seq, y.Seq) }).Seq
		store(t, keyResult(id, last), &r)
		a := t.answeredBy(id)
		at, _ := slices.BinarySearch(a.records, last)
		a.records = slices.Insert(a.records, at, last)
		t.answersFree = r.Results[:0]
	}
	clear(t.answers)
}

// forgetResults notes that the client has seen all results below lowest, and deletes records of none but those, some
// at a time.
func (t *txn) forgetResults(s *sessionRecord, lowest uint64) {
	a := t.answeredBy(s.ID)
	n := 0
	for n < min(len(a.records), resultsForgottenMax) && a.records[n] < max(s.Lowest, lowest) {
		t.del(keyResult(s.ID, a.records[n]))
		n++
	}
	a.records = slices.Delete(a.records, 0, n)
	if lowest > s.Lowest {
		s.Lowest = lowest
		t.sessions.touch(s.ID)
	}
}
