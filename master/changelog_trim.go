package master

import (
	"context"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

const (
	trimEvery = 5 * time.Second // how often the leader looks for changes that have been kept long enough
	goneVisit = 20 * goneMax    // directories that are gone which one look goes through
)

// changeLog returns how long changes are kept, as of now.
func (s *state) changeLog() changeLogRecord {
	if r := one[changeLogRecord](s, keyChangeLog()); r != nil {
		return *r
	}
	return changeLogRecord{}
}

// trimmer finds what is to go from the change log. It remembers how far it has looked through the directories that are gone.
type trimmer struct{ gone granary.InodeID }

// look returns what is to go now; nil if nothing is.
func (m *trimmer) look(s *state, now granary.Time) (*trimChanges, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil, nil
	}
	b := readKey(s.db, keyChangeLog())
	if b == nil {
		return nil, nil
	}
	settings, err := unmarshal[changeLogRecord](b)
	if err != nil {
		return nil, errStore(keyChangeLog(), err)
	}
	it := &trimChanges{}
	if settings.on() {
		if it.UpTo, err = oldest(s.db, settings, now); err != nil {
			return nil, err
		}
	}
	if it.Gone, err = m.forget(s.db, max(it.UpTo, settings.From)); err != nil || it.UpTo == 0 && len(it.Gone) == 0 {
		return nil, err
	}
	return it, nil
}

// oldest returns the last entry whose changes are to go: it is older than they are kept, or more bytes than that are kept came
// after it; 0 if there is none. Times and totals rise with the index, so it is found by halving.
func oldest(db *pebble.DB, settings *changeLogRecord, now granary.Time) (granary.Index, error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: keyChanges(settings.From + 1), UpperBound: keyGone(0)})
	if err != nil {
		return 0, errStore(keyChanges(0), err)
	}
	var bad error
	read := func() *entryChanges {
		r, err := unmarshal[entryChanges](it.Value())
		if err != nil {
			bad = errStore(it.Key(), err)
			return &entryChanges{}
		}
		return r
	}
	if !it.Last() {
		return 0, it.Close()
	}
	total, last := read().Total, changesID(it.Key())
	stays := func(r *entryChanges) bool {
		return r.Time+settings.Settings.Keep > now && total-r.Total < settings.Settings.MaxBytes
	}
	span := int(last - uint64(settings.From)) // of indices after From
	n := sort.Search(span, func(i int) bool {
		return bad == nil && it.SeekGE(keyChanges(settings.From+1+granary.Index(i))) && stays(read())
	})
	var found granary.Index
	if bad == nil && it.SeekLT(keyChanges(settings.From+1+granary.Index(n))) {
		found = granary.Index(changesID(it.Key()))
	}
	return found, firstError(bad, it.Close())
}

// forget returns directories that were removed up to an entry, some of them.
func (m *trimmer) forget(db *pebble.DB, upTo granary.Index) ([]granary.InodeID, error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: keyGone(m.gone), UpperBound: keyChangeLog()})
	if err != nil {
		return nil, errStore(keyGone(0), err)
	}
	var gone []granary.InodeID
	ok := it.First()
	for visits := 0; ok && visits < goneVisit && len(gone) < goneMax; visits++ {
		r, err := unmarshal[goneRecord](it.Value())
		if err != nil {
			return nil, firstError(errStore(it.Key(), err), it.Close())
		}
		if r.index <= upTo {
			gone = append(gone, granary.InodeID(changesID(it.Key())))
		}
		ok = it.Next()
	}
	m.gone = 0
	if ok {
		m.gone = granary.InodeID(changesID(it.Key()))
	}
	return gone, it.Close()
}

// trimChangeLog proposes that changes go which were kept long enough.
func (l *leadership) trimChangeLog(ctx context.Context) {
	var m trimmer
	for pause(ctx, trimEvery) {
		for more := true; more; {
			st := l.s.states.acquire()
			it, err := m.look(st.state, granary.TimeOf(l.s.now()))
			st.release()
			if err == nil && it != nil {
				var results []granary.Result
				results, err = l.prop.propose(ctx, it)
				err = failure(err, results)
			}
			if err != nil && ctx.Err() == nil {
				l.s.log.Warn("the change log was not trimmed", "error", err)
			}
			more = err == nil && it != nil && m.gone != 0
		}
	}
}
