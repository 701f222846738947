package master

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
)

// attendTable knows, in the leader's memory, which sessions attend (granary.Attend), what each of them keeps, and what they have
// been told and have not taken in yet. It is of one leadership.
//
// Nothing leaves this leader that shows an entry before everybody who keeps what the entry changed has taken that in, or shows it
// no more because his lease has run out: neither the mutation's own result nor the answer to another's question (settle). It is
// not enough to hold the result back: who has seen the change by a question may tell somebody who still sees the old, and so may
// who saw another change that came later.
//
// Why nobody is missed. A note is made after the state was read that the answer comes from. Each batch of entries first becomes
// visible, and is then looked through for what somebody keeps (applied). So a change that the answer does not show is looked for
// after the answer was read: either after the note was made, and it is found; or before, and then it stands in recent, which has
// all that was looked through since the answer began to be made: nothing is noted, and the answer must not be kept (note).
//
// The first of the attending has batches looked through from one on that begins after that (admit), and is told his attendance
// after that.
type attendTable struct {
	limit   int // notes
	metrics *attendMetrics
	lapsed  func(session granary.SessionID, attendance uint64) // an attendance has ended of who opens without telling; nil: nobody cares
	some    atomic.Bool

	mu        sync.Mutex
	attendees map[granary.SessionID]*attendee
	notes     map[granary.InodeID]*inodeNotes
	noted     int                       // inodes and names in notes
	looked    granary.Index             // entries up to here have been looked through
	making    int                       // answers being made that are to be kept
	recent    map[noteKey]granary.Index // touched since there was none, by which entry last
	handled   map[requestID]uint64      // mutations under way, and under which attendance
	news      chan struct{}             // closed when there is less to wait for; nil if nobody waits
	last      uint64                    // attendance number given out last
	leaving   bool                      // the leader is about to give up its office: nobody attends any more
	named     map[noteKey]struct{}      // of applied
}

// attendee is a session that attends.
type attendee struct {
	session    granary.SessionID
	attendance uint64
	gone       bool // it does not attend any more
	opens      bool // it may open files without telling
	notes      int
	until      time.Time     // its lease ends, by the clock of this node: a little after it ends by the session's
	wake       chan struct{} // of one place: there is something to tell
	calls      uint64        // of Attend: only the last is answered

	number uint64           // of the last answer
	sent   []granary.Change // it told
	queue  []granary.Change // to be told next
	// The first entries in sent and in queue, which nobody sees before the session has taken them in.
	sentFirst, queueFirst granary.Index
}

// never is an index that no entry has.
const never = granary.Index(math.MaxUint64)

// requestID names a mutation.
type requestID struct {
	session granary.SessionID
	seq     uint64
}

// queueMax bounds what waits to be told to one session: who is told more loses its attendance.
const queueMax = 1 << 18

func newAttendTable(term uint64, limit int, m *attendMetrics) *attendTable {
	return &attendTable{
		limit: limit, metrics: m, last: firstAttendance(term),
		attendees: map[granary.SessionID]*attendee{},
		notes:     map[granary.InodeID]*inodeNotes{},
		recent:    map[noteKey]granary.Index{},
		handled:   map[requestID]uint64{},
		named:     map[noteKey]struct{}{},
	}
}

// firstAttendance is the number before those of attendances under the leader of a term: a term has one leader, and its own numbers.
func firstAttendance(term uint64) uint64 { return term << 32 }

// admit lets a session attend, in place of what it attended before.
func (t *attendTable) admit(st *state, session granary.SessionID, opens bool, now time.Time) *attendee {
	st.applying.Lock()
	defer st.applying.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	st.watcher.Store(t)
	t.looked = granary.Index(st.head.Applied)
	if old := t.attendees[session]; old != nil {
		t.forget(old)
	}
	t.last++
	a := &attendee{session: session, attendance: t.last, opens: opens, until: now.Add(leaseMax), wake: make(chan struct{}, 1), sentFirst: never, queueFirst: never}
	t.attendees[session] = a
	t.some.Store(true)
	t.metrics.attending.Set(float64(len(t.attendees)))
	return a
}

// dismiss ends that batches are looked through, if nobody attends.
func (t *attendTable) dismiss(st *state) {
	st.applying.Lock()
	defer st.applying.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.attendees) == 0 {
		st.watcher.CompareAndSwap(t, nil)
		t.some.Store(false)
		clear(t.notes)
		t.noted = 0
		t.metrics.notes.Set(0)
	}
}

// forget ends an attendance. t.mu is held.
func (t *attendTable) forget(a *attendee) {
	if a.opens && !a.gone && t.lapsed != nil {
		t.lapsed(a.session, a.attendance) // before nobody waits for it any more
	}
	a.gone = true
	a.sent, a.queue = nil, nil
	if t.attendees[a.session] == a {
		delete(t.attendees, a.session)
	}
	t.metrics.attending.Set(float64(len(t.attendees)))
	kick(a.wake)
	t.announce()
}

// end ends the attendance of a session that has ended.
func (t *attendTable) end(session granary.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.attendees[session]; a != nil {
		t.forget(a)
	}
}

// announce lets who waits for something to be taken in look again. t.mu is held.
func (t *attendTable) announce() {
	if t.news != nil {
		close(t.news)
		t.news = nil
	}
}

// expect says that mutations under way were sent under an attendance (granary.MutateRequest); the function that it returns, that
// they are over.
func (t *attendTable) expect(req *granary.MutateRequest) (over func()) {
	if req.Attendance == 0 || !t.some.Load() {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range req.Requests {
		t.handled[requestID{req.Session, req.Requests[i].Seq}] = req.Attendance
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for i := range req.Requests {
			delete(t.handled, requestID{req.Session, req.Requests[i].Seq})
		}
	}
}

// applied looks a batch through that has become visible.
func (t *attendTable) applied(items []touchedItem, keys []noteKey, index granary.Index) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range items {
		end := len(keys)
		if i+1 < len(items) {
			end = items[i+1].from
		}
		t.appliedItem(&items[i], keys[items[i].from:end], now)
	}
	t.looked = index
	if t.noted > t.limit {
		t.evict(t.limit / evictPart)
	}
	t.metrics.notes.Set(float64(t.noted))
	t.announce()
}

// appliedItem tells what one item touched. The session whose mutation it is, if it has seen to what that names, is not told of
// that, and keeps it from now on; what else it keeps of what was touched it is told as others are. t.mu is held.
func (t *attendTable) appliedItem(it *touchedItem, keys []noteKey, now time.Time) {
	maker := t.attendees[it.session]
	if maker != nil && t.handled[requestID{it.session, it.seq}] != maker.attendance {
		maker = nil
	}
	clear(t.named)
	if maker != nil && !granary.NamedBy(it.op, it.made, func(id granary.InodeID, name string) { t.named[noteKey{id, name}] = struct{}{} }) {
		maker = nil
		clear(t.named)
	}
	told := func(k noteKey) func(a *attendee) {
		_, named := t.named[k]
		return func(a *attendee) {
			if a != maker || !named {
				t.tell(a, k, it.index, now)
			}
		}
	}
	for _, k := range keys {
		if t.making > 0 {
			t.recent[k] = it.index
		}
		n := t.notes[k.inode]
		if n == nil {
			continue
		}
		if k.name != wentAway {
			t.drop(n, k, told(k))
			continue
		}
		for name := range n.names {
			k := noteKey{k.inode, name}
			t.drop(n, k, told(k))
		}
	}
	for k := range t.named {
		t.keep(maker, k)
	}
}

// keep notes that a session keeps something. t.mu is held.
func (t *attendTable) keep(a *attendee, k noteKey) {
	n := t.notes[k.inode]
	if n == nil {
		n = &inodeNotes{}
		t.notes[k.inode] = n
	}
	kept := n.of(k.name)
	if kept.one == nil {
		t.noted++
	}
	if !kept.has(a) {
		kept.add(a)
		a.notes++
		n.set(k.name, kept)
	}
}

// drop drops the notes of something, and calls f for each that kept it and attends. t.mu is held.
func (t *attendTable) drop(n *inodeNotes, k noteKey, f func(a *attendee)) {
	kept := n.of(k.name)
	if kept.one == nil {
		return
	}
	t.noted--
	n.set(k.name, keepers{})
	if n.empty() {
		delete(t.notes, k.inode)
	}
	kept.each(func(a *attendee) {
		a.notes--
		f(a)
	})
}

// tell has a session told of a change: nobody sees the entry before. t.mu is held.
func (t *attendTable) tell(a *attendee, k noteKey, index granary.Index, now time.Time) {
	if now.After(a.until) || len(a.queue) >= queueMax {
		t.metrics.lapsed.Inc()
		t.forget(a)
		return
	}
	a.queue = append(a.queue, granary.Change{Inode: k.inode, Name: k.name, Index: index})
	a.queueFirst = min(a.queueFirst, index)
	t.metrics.told.Inc()
	kick(a.wake)
}

// begin says that an answer is about to be made that is to be kept.
func (t *attendTable) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.making++; t.making == 1 {
		clear(t.recent)
	}
}

// note ends that, and notes what a session keeps that was answered from the state of an entry. It returns the attendance in
// which it may; 0 if it may not.
func (t *attendTable) note(session granary.SessionID, index granary.Index, keys []noteKey) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.making--
	a := t.attendees[session]
	if a == nil || t.leaving || len(keys) == 0 || len(keys) > t.limit {
		return 0
	}
	for _, k := range keys {
		if t.recent[k] > index || k.name != "" && t.recent[noteKey{k.inode, wentAway}] > index {
			return 0
		}
	}
	if t.noted+len(keys) > t.limit {
		t.evict(max(len(keys), t.limit/evictPart))
	}
	for _, k := range keys {
		t.keep(a, k)
	}
	t.metrics.notes.Set(float64(t.noted))
	return a.attendance
}

// evictPart is the part of all notes that goes when there are too many: those who kept something that goes are told, and all
// wait for that.
const evictPart = 16

// evict drops some notes, whichever. What comes after the entries that were looked through waits until that is taken in.
// t.mu is held.
func (t *attendTable) evict(count int) {
	now := time.Now()
	for inode, n := range t.notes {
		if count <= 0 {
			return
		}
		k := noteKey{inode: inode}
		tell := func(a *attendee) { t.tell(a, k, t.looked, now) }
		if n.self.one != nil {
			count--
			t.drop(n, k, tell)
		}
		for name := range n.names {
			if count--; count < 0 {
				return
			}
			k.name = name
			t.drop(n, k, tell)
		}
	}
}

// settle waits until everybody has taken in what the entries up to an index changed of what they keep. An error is ctx's.
func (t *attendTable) settle(ctx context.Context, index granary.Index) error {
	if !t.some.Load() {
		return nil
	}
	var began time.Time
	for {
		settled, news, lapse := t.settled(index, time.Now())
		if settled {
			if !began.IsZero() {
				t.metrics.held.Observe(time.Since(began).Seconds())
			}
			return nil
		}
		if began.IsZero() {
			began = time.Now()
		}
		timer := time.NewTimer(time.Until(lapse))
		select {
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// settled reports whether settle has nothing to wait for, and otherwise for what, and until when at most.
func (t *attendTable) settled(index granary.Index, now time.Time) (ok bool, news <-chan struct{}, lapse time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ok, lapse = t.looked >= index, now.Add(leaseMax)
	for _, a := range t.attendees {
		if min(a.sentFirst, a.queueFirst) > index {
			continue
		}
		if now.After(a.until) {
			t.metrics.lapsed.Inc()
			t.forget(a)
			continue
		}
		ok = false
		if a.until.Before(lapse) {
			lapse = a.until
		}
	}
	if !ok && t.news == nil {
		t.news = make(chan struct{})
	}
	return ok, t.news, lapse
}

// tidy forgets whose lease has run out, and some of the notes of who has gone.
func (t *attendTable) tidy(now time.Time) (none bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.attendees {
		if now.After(a.until) {
			t.forget(a)
		}
	}
	left := tidyMax
	for inode, n := range t.notes {
		left = t.tidyInode(inode, n, left-1)
		if left <= 0 {
			break
		}
	}
	t.metrics.notes.Set(float64(t.noted))
	return len(t.attendees) == 0
}

// tidyInode forgets who has gone of those who kept an inode and names in it, as long as there are some left to be looked at.
func (t *attendTable) tidyInode(inode granary.InodeID, n *inodeNotes, left int) int {
	look := func(name string) {
		kept, live := n.of(name), keepers{}
		kept.each(func(a *attendee) { live.add(a) })
		if kept.one != nil && live.one == nil {
			t.noted--
		}
		n.set(name, live)
	}
	look("")
	for name := range n.names {
		if left--; left < 0 {
			break
		}
		look(name)
	}
	if n.empty() {
		delete(t.notes, inode)
	}
	return left
}

// tidyMax bounds the notes that are looked at in one go.
const tidyMax = 20_000
