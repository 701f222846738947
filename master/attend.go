package master

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

// answerMax bounds the changes that one answer tells of.
const answerMax = 1 << 14

// Attend implements wire.Master.
func (s *Server) Attend(ctx context.Context, req *granary.Attend) (*granary.Notices, error) {
	received := time.Now()
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("attend")
	if err != nil {
		return nil, err
	}
	if err := l.renew("attend", req.Session); err != nil {
		return nil, err
	}
	a, call, err := l.attends(req, received)
	if err != nil {
		return nil, err
	}
	return l.await(ctx, a, call, received)
}

// attends takes in what a call says. It returns who attends, and the number of the call.
func (l *leadership) attends(req *granary.Attend, received time.Time) (*attendee, uint64, error) {
	l.opens.note(req.Session, req.Opened...) // before the notices count as taken in
	a, call, leaving := l.attend.call(req, received)
	switch {
	case a != nil:
		return a, call, nil
	case leaving:
		return nil, 0, l.s.notLeader("attend")
	}
	if err := l.s.leased.mark(); err != nil {
		return nil, 0, err
	}
	st := l.s.states.acquire()
	defer st.release()
	return l.attend.admit(st.state, req.Session, req.Opens, received), 0, nil
}

// call takes in what a call says; nil for one whose attendance is not known.
func (t *attendTable) call(req *granary.Attend, now time.Time) (a *attendee, call uint64, leaving bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a = t.attendees[req.Session]
	if a == nil {
		return nil, 0, t.leaving
	}
	if a.attendance != req.Attendance || req.Taken > a.number || now.After(a.until) {
		t.forget(a)
		return nil, 0, t.leaving
	}
	if req.Taken == a.number {
		a.sent, a.sentFirst = nil, never
		t.announce()
	} else { // the last answer was lost
		a.queue, a.queueFirst = append(a.sent, a.queue...), min(a.sentFirst, a.queueFirst)
		a.sent, a.sentFirst = nil, never
	}
	a.calls++
	return a, a.calls, false
}

// await answers a call when there is something to tell, or when it is time to renew the lease.
func (l *leadership) await(ctx context.Context, a *attendee, call uint64, received time.Time) (*granary.Notices, error) {
	due := received.Add(l.leaseTime() / holdPart)
	for {
		now := time.Now()
		lease := l.leaseFrom(received)
		dirs, recalled := l.recalls.pending(a.session)
		n, err := l.attend.answer(a, call, lease, leaseEnd(received, lease), len(dirs) > 0 || !now.Before(due))
		if n != nil || err != nil {
			if n != nil && lease > 0 {
				l.s.leased.raise(leaseEnd(received, lease))
			}
			if n != nil && n.Attendance != 0 {
				n.Recalls = dirs
				l.recalls.done(a.session, dirs)
			}
			return n, err
		}
		next := due.Sub(now)
		if lease <= 0 {
			next = min(next, leasePoll)
		}
		timer := time.NewTimer(next)
		select {
		case <-a.wake:
		case <-recalled:
		case <-timer.C:
		case <-l.ctx.Done():
			err = l.s.notLeader("attend")
		case <-ctx.Done():
			err = l.s.ended(ctx)
		}
		timer.Stop()
		if err != nil {
			return nil, err
		}
	}
}

// answer makes the answer to a call, if it is due or there is something to tell, or if it is the first and there is a lease to give.
func (t *attendTable) answer(a *attendee, call uint64, lease time.Duration, end time.Time, due bool) (*granary.Notices, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case a.gone || t.leaving && a.calls == call:
		return &granary.Notices{}, nil
	case a.calls != call:
		kick(a.wake) // it may have been meant for the other
		return nil, granary.Errorf(granary.KindStale, "attend", "", "another call of the session has taken the place of this one")
	case !due && len(a.queue) == 0 && (a.number > 0 || lease <= 0):
		return nil, nil
	}
	a.number++
	n := min(len(a.queue), answerMax)
	a.sent, a.sentFirst = a.queue[:n:n], a.queueFirst
	if a.queue = a.queue[n:]; len(a.queue) == 0 {
		a.queue, a.queueFirst = nil, never
	} else {
		kick(a.wake)
	}
	if lease > 0 && end.After(a.until) {
		a.until = end
	}
	return &granary.Notices{Attendance: a.attendance, Number: a.number, Lease: granary.Time(max(lease, 0)), Changes: a.sent, Opens: a.opens}, nil
}

// mayKeep reports whether the answer to a query may be one to be kept. Extended attributes are not the same for everybody, and
// what an escape or the key of an object leads to is not named by its own name alone.
func (l *leadership) mayKeep(req *granary.QueryRequest) bool {
	if !req.Keep || !l.attend.some.Load() {
		return false
	}
	switch q := req.Query.(type) {
	case *granary.Lookup:
		return granary.NameKept(q.Path) && !q.Key && !q.Nearest && !q.Markers && q.Object == 0 && (req.Cred == nil || !q.Xattrs)
	case *granary.ReadDir:
		return true
	}
	return false
}

// answerKept answers a query that is to be kept.
func (l *leadership) answerKept(ctx context.Context, st *heldState, v *view, req *granary.QueryRequest) (answer granary.Answer, index granary.Index, err error) {
	l.attend.begin()
	var keys []noteKey
	var attendance *uint64
	defer func() {
		kept := l.attend.note(req.Session, index, keys)
		if attendance != nil {
			*attendance = kept
		}
	}()
	if q, ok := req.Query.(*granary.Lookup); ok && q.Open {
		answer, index, err = l.open(ctx, st, req.Session, v, q)
	} else {
		v.keeps = true
		answer, index, err = l.s.answer(ctx, st, v, req.Query)
	}
	if err != nil {
		return nil, index, err
	}
	switch a := answer.(type) {
	case *granary.Found:
		keys, attendance = keysFound(req.Query.(*granary.Lookup), a), &a.Attendance
	case *granary.Directory:
		keys, attendance = keysListed(req.Query.(*granary.ReadDir), a), &a.Attendance
	}
	return answer, index, nil
}

// keysFound returns what an answer says something of.
func keysFound(q *granary.Lookup, a *granary.Found) []noteKey {
	switch {
	case a.Missing:
		return []noteKey{{q.Base, q.Path}}
	case q.Path == "":
		return []noteKey{{inode: q.Base}}
	}
	return []noteKey{{q.Base, q.Path}, {inode: a.Entry.Attr.Inode}}
}

// keysListed returns what a listing says something of. Which names there are in a directory changes only with its inode.
func keysListed(q *granary.ReadDir, a *granary.Directory) []noteKey {
	keys := make([]noteKey, 0, 1+2*len(a.Entries))
	keys = append(keys, noteKey{inode: q.Inode})
	for i := range a.Entries {
		e := &a.Entries[i]
		if granary.NameKept(e.Name) {
			keys = append(keys, noteKey{q.Inode, e.Name})
		}
		keys = append(keys, noteKey{inode: e.Attr.Inode})
	}
	return keys
}

// settle waits until an answer may be given that shows the entries up to an index: see attendTable.
func (l *leadership) settle(ctx context.Context, index granary.Index) error {
	if !l.attend.some.Load() {
		return nil
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	if err := l.attend.settle(within, index); err != nil {
		if ctx.Err() != nil {
			return l.s.ended(ctx)
		}
		return l.s.notLeader("query")
	}
	return nil
}

// settleResults is settle for the results of mutations, which have happened.
func (l *leadership) settleResults(ctx context.Context, results []granary.Result) error {
	index := granary.Index(0)
	for i := range results {
		index = max(index, results[i].Index)
	}
	if err := l.settle(ctx, index); err != nil {
		return granary.Errorf(granary.KindIndeterminate, "mutate", "", "others have not heard of it yet: %w", err)
	}
	return nil
}

// attendanceTidied is how often the table of who attends is tidied.
const attendanceTidied = time.Second

// tidyAttendance forgets sessions that attend no more.
func (l *leadership) tidyAttendance(ctx context.Context) {
	for pause(ctx, attendanceTidied) {
		if l.attend.some.Load() && l.attend.tidy(time.Now()) {
			l.dismiss()
		}
	}
}

func (l *leadership) dismiss() {
	st := l.s.states.acquire()
	defer st.release()
	l.attend.dismiss(st.state)
}

// endAttendance ends that what is applied is looked through for this leadership. What it holds back stays so until the leases
// have run out.
func (l *leadership) endAttendance() {
	st := l.s.states.acquire()
	defer st.release()
	st.applying.Lock()
	defer st.applying.Unlock()
	st.watcher.CompareAndSwap(l.attend, nil)
}
