package master

import (
	"maps"
	"sync"

	"github.com/dsorchard/granary"
)

// openTable is what the sessions have open, in the leader's memory. A file that has lost its last name is dropped
// when no session has it open.
//
// A new leader knows nothing. It drops nothing until each session that lived when it took office has reported all that
// it has open, or has ended. A session that began later has told everything.
//
// Why nothing is dropped that is open: being nameless is for ever, and only a file with a name can be opened. The
// dropper first finds files that are nameless, and then looks whether they are open. So a file that it finds was opened
// earlier, by a Lookup or a mutation. A Lookup is noted here before it reads the state that it answers from: either
// the dropper sees the note, or that state shows no name, and the Lookup fails (Server.open). A mutation is noted after
// it was applied; so the dropper waits, between finding and looking, for the mutations under way (begin, turn).
//
// A session that attends may have opened a file that it keeps without telling (granary.Attend.Opens). Of the entry that took the
// file's last name it has been told, and the dropper waits until that is taken in (attendTable.settle): with that comes that
// the file is open. If the session made that entry itself, its request said what it had open, and it has opened nothing so since. If
// its attendance ends, it is silent until it reports all that it has open (silence).
type openTable struct {
	before   uint64 // attendances up to this were not of this leader
	mu       sync.Mutex
	sessions map[granary.SessionID]*sessionOpens
	silent   int                          // sessions that have not reported yet
	count    map[granary.InodeID]int      // sessions that have the inode open
	held     map[granary.InodeID]struct{} // found nameless and open
	due      map[granary.InodeID]struct{} // held before, and open no more
	flying   *generation                  // of mutations that may open files
}

// sessionOpens is what one session has open.
type sessionOpens struct {
	reported bool
	report   uint64 // the number of the last report taken
	// lapsed is the latest attendance that has ended in which the session may have opened files without telling: only a report of all
	// under a later one is sure to have these. One without any does, too, if it has attended no leader since it heard of this one.
	lapsed   uint64
	attended bool
	inodes   map[granary.InodeID]*openFile
}

// openFile is an inode that a session has open, or is opening.
type openFile struct {
	open    bool
	opening int // lookups that have not read the state yet that they answer from
}

// generation is the mutations that began between two turns of the table, and the one before it.
type generation struct {
	running int           // mutations, and one for the generation before while that is not done
	over    bool          // no more begin
	next    *generation   // once it is over
	done    chan struct{} // closed when it is over and none runs, of it or before it
}

func newGeneration() *generation { return &generation{done: make(chan struct{})} }

// newOpenTable makes that of a leader. Attendances up to before were of others.
func newOpenTable(before uint64) *openTable {
	return &openTable{
		before:   before,
		sessions: make(map[granary.SessionID]*sessionOpens),
		count:    make(map[granary.InodeID]int),
		held:     make(map[granary.InodeID]struct{}),
		due:      make(map[granary.InodeID]struct{}),
		flying:   newGeneration(),
	}
}

// add takes in a session; one that was there before this leader has to report.
func (t *openTable) add(id granary.SessionID, before bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[id] != nil {
		return
	}
	s := &sessionOpens{reported: !before, inodes: make(map[granary.InodeID]*openFile)}
	t.sessions[id] = s
	if before {
		s.lapsed = t.before
		t.silent++
	}
}

// silence says that a session's attendance has ended, in which it may have opened files without telling.
func (t *openTable) silence(id granary.SessionID, attendance uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	if s == nil {
		return
	}
	s.lapsed, s.attended = max(s.lapsed, attendance), true
	if s.reported {
		s.reported = false
		t.silent++
	}
}

// forget takes out a session that has ended.
func (t *openTable) forget(id granary.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	if s == nil {
		return
	}
	for inode := range s.inodes {
		t.less(s, inode)
	}
	delete(t.sessions, id)
	t.heard(s)
}

// heard notes that a session has nothing more to report.
func (t *openTable) heard(s *sessionOpens) {
	if !s.reported {
		s.reported = true
		t.silent--
	}
}

// take does what a report says. One that was taken before, or overtaken by a later one, does nothing: it is a
// repetition that came late.
func (t *openTable) take(k *granary.KeepAlive) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[k.Session]
	if s == nil || k.Report <= s.report {
		return
	}
	s.report = k.Report
	var before map[granary.InodeID]*openFile
	if k.All {
		before = maps.Clone(s.inodes)
	}
	for _, inode := range k.Opened {
		t.more(s, inode).open = true
		delete(before, inode)
	}
	for inode := range before {
		t.shut(s, inode)
	}
	for _, inode := range k.Closed {
		t.shut(s, inode)
	}
	if k.All && (k.Attendance > s.lapsed || k.Attendance == 0 && !s.attended) {
		t.heard(s)
	}
}

// more returns a session's record of an inode, made if need be.
func (t *openTable) more(s *sessionOpens, inode granary.InodeID) *openFile {
	f := s.inodes[inode]
	if f == nil {
		f = &openFile{}
		s.inodes[inode] = f
		t.count[inode]++
	}
	return f
}

// shut ends that a session has an inode open; but lookups under way go on.
func (t *openTable) shut(s *sessionOpens, inode granary.InodeID) {
	if f := s.inodes[inode]; f != nil {
		f.open = false
		if f.opening == 0 {
			t.less(s, inode)
		}
	}
}

// less removes a session's record of an inode. With the last of all sessions, a nameless inode is due.
func (t *openTable) less(s *sessionOpens, inode granary.InodeID) {
	delete(s.inodes, inode)
	t.count[inode]--
	if t.count[inode] > 0 {
		return
	}
	delete(t.count, inode)
	if _, ok := t.held[inode]; ok {
		delete(t.held, inode)
		t.due[inode] = struct{}{}
	}
}

// opening notes that a session is about to read an inode's state, to open it. had says that it has it open already;
// ok is false for a session that is not there. If ok, opened must follow.
func (t *openTable) opening(id granary.SessionID, inode granary.InodeID) (had, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	if s == nil {
		return false, false
	}
	f := t.more(s, inode)
	f.opening++
	return f.open, true
}

// opened says what became of it.
func (t *openTable) opened(id granary.SessionID, inode granary.InodeID, open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	if s == nil {
		return // it ended meanwhile
	}
	f := s.inodes[inode]
	f.opening--
	f.open = f.open || open
	if !f.open && f.opening == 0 {
		t.less(s, inode)
	}
}

// note notes that a session has files open: a mutation opened one, or it says so.
func (t *openTable) note(id granary.SessionID, inodes ...granary.InodeID) {
	if len(inodes) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sessions[id]; s != nil {
		for _, inode := range inodes {
			t.more(s, inode).open = true
		}
	}
}

// begin says that a mutation is under way that may open files. The function that it returns says that what it opened
// is noted.
func (t *openTable) begin() (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.flying
	g.running++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		g.end()
	}
}

// turn returns what is closed when the mutations that are under way now have ended.
func (t *openTable) turn() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.flying
	t.flying = newGeneration()
	g.over, g.next = true, t.flying
	g.next.running++
	g.running++ // this turn
	g.end()
	return g.done
}

// end notes that one of those that run has ended, and of which generations it was the last.
func (g *generation) end() {
	for g.running--; g.running == 0 && g.over; g.running-- {
		close(g.done)
		g = g.next
	}
}

// complete reports whether all sessions are known to have told what they have open.
func (t *openTable) complete() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.silent == 0
}

// takeDue takes some of the nameless inodes that were open when they were found, and are no more.
func (t *openTable) takeDue(limit int) []granary.InodeID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []granary.InodeID
	for inode := range t.due {
		if len(due) == limit {
			break
		}
		due = append(due, inode)
		delete(t.due, inode)
	}
	return due
}

// putDue has nameless inodes looked at once more.
func (t *openTable) putDue(all []granary.InodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, inode := range all {
		t.due[inode] = struct{}{}
	}
}

// closed returns which of some nameless inodes no session has open, and remembers the others until they are closed.
func (t *openTable) closed(all []granary.InodeID) []granary.InodeID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var closed []granary.InodeID
	for _, inode := range all {
		if t.count[inode] > 0 {
			t.held[inode] = struct{}{}
		} else {
			closed = append(closed, inode)
		}
	}
	return closed
}
