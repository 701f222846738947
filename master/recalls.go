package master

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// recallTable is what sessions are to give back, in the leader's memory: who waits for it says so again to a new leader.
type recallTable struct {
	mu       sync.Mutex
	sessions map[granary.SessionID]*recalled
	wants    map[granary.DatasetID]time.Time // until when nobody gets more directories there
}

// wantedFor is how long nobody gets more directories of a dataset after something was refused for all that are held there: who wants it asks
// again before that.
const wantedFor = 5 * time.Second

// noteWanted notes that an op was refused because directories are held. One that concerns many of them would otherwise wait for as long as its
// dataset is busy.
func (t *recallTable) noteWanted(op granary.Op, why *granary.Error) {
	if why.Kind != granary.KindDelegated {
		return
	}
	var dataset granary.DatasetID
	switch op := op.(type) {
	case *granary.SetQuota:
		dataset = op.Dataset
	case *granary.RemoveTree:
		dataset = op.Parent.Dataset()
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wants[dataset] = time.Now().Add(wantedFor)
}

// wanted reports whether somebody waits until nobody holds directories of a dataset.
func (t *recallTable) wanted(dataset granary.DatasetID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.wants[dataset]
	if ok && time.Now().After(until) {
		delete(t.wants, dataset)
		ok = false
	}
	return ok
}

// recalled is what one session is to give back.
type recalled struct {
	dirs  map[granary.InodeID]struct{}
	more  chan struct{} // closed when there is more
	asked time.Time     // when the session last asked
}

// hearsFor is how long a session that has asked what to give back is taken for one that will ask again.
const hearsFor = 15 * time.Second

func newRecallTable() *recallTable {
	return &recallTable{sessions: map[granary.SessionID]*recalled{}, wants: map[granary.DatasetID]time.Time{}}
}

func (t *recallTable) of(id granary.SessionID) *recalled {
	r := t.sessions[id]
	if r == nil {
		r = &recalled{dirs: map[granary.InodeID]struct{}{}, more: make(chan struct{})}
		t.sessions[id] = r
	}
	return r
}

// add has directories recalled from who holds them.
func (t *recallTable) add(held map[granary.InodeID]granary.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, session := range held {
		r := t.of(session)
		if _, known := r.dirs[id]; known {
			continue
		}
		r.dirs[id] = struct{}{}
		close(r.more)
		r.more = make(chan struct{})
	}
}

// pending returns the directories that a session is to give back, and what is closed when there are more.
func (t *recallTable) pending(session granary.SessionID) (dirs []granary.InodeID, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.of(session)
	r.asked = time.Now()
	return slices.Sorted(maps.Keys(r.dirs)), r.more
}

// hears reports whether a session would hear of it, if it had something to give back.
func (t *recallTable) hears(session granary.SessionID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.sessions[session]
	return r != nil && time.Since(r.asked) < hearsFor
}

// done notes that a session has been told to give directories back: who waits for them still says so again.
func (t *recallTable) done(session granary.SessionID, dirs []granary.InodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.sessions[session]
	if r == nil {
		return
	}
	for _, id := range dirs {
		delete(r.dirs, id)
	}
}

// forget takes out a session that has ended.
func (t *recallTable) forget(session granary.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, session)
}
