package client

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

const (
	// closedMax is how many closed files are reported at once; fewer wait for the next renewal of the session, or for a
	// file without a name to be closed.
	closedMax = 1024
	// reportPause is what the next report waits after one: each holds up those who open files for a round trip.
	reportPause = 100 * time.Millisecond
)

// opens is what the client has open. The master keeps a file without a name for as long as a session has it open: the
// session opens it by a Lookup or a Create that says so, and reports what it has closed.
//
// A report and an opening that overtake each other would leave the master with less than is open. So nothing is being
// opened while a report is under way: it begins when the openings under way have ended, and others begin when it has.
type opens struct {
	mu       sync.Mutex
	count    map[granary.InodeID]int // how often it is open
	closed   map[granary.InodeID]struct{}
	untold   map[granary.InodeID]*untold // see openUntold
	removing int                         // mutations under way that may take names away
	opening  int                         // calls under way that may open files
	idle     chan struct{}               // closed when opening is 0; nil if no report waits for that
	report   chan struct{}               // closed when the report under way has ended; nil if none is
}

func newOpens() *opens {
	return &opens{count: map[granary.InodeID]int{}, closed: map[granary.InodeID]struct{}{}, untold: map[granary.InodeID]*untold{}}
}

// begin says that n files are about to be opened, when no report is under way; end must follow as often.
func (o *opens) begin(ctx context.Context, n int, patience time.Duration) error {
	var late <-chan time.Time
	for {
		o.mu.Lock()
		report := o.report
		if report == nil {
			o.opening += n
			o.mu.Unlock()
			return nil
		}
		o.mu.Unlock()
		if late == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-report:
		case <-late:
			return granary.Errorf(granary.KindUnavailable, "open", "", "no answer from a leading master for %v", patience)
		case <-ctx.Done():
			return granary.Errorf(granary.KindCanceled, "open", "", "%w", context.Cause(ctx))
		}
	}
}

// end says what became of an opening: 0 for nothing.
func (o *opens) end(inode granary.InodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opening--; o.opening == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
	if inode != 0 {
		o.count[inode]++
		delete(o.closed, inode)
		o.toldOpened(inode)
	}
}

// close takes back one opening, and reports whether enough are closed for a report.
func (o *opens) close(inode granary.InodeID) (enough bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count[inode]--; o.count[inode] > 0 {
		return false
	}
	delete(o.count, inode)
	if o.closeUntold(inode) {
		o.closed[inode] = struct{}{}
	}
	return len(o.closed) >= closedMax
}

// some reports whether anything is open, or closed and not reported.
func (o *opens) some() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.count)+len(o.closed) > 0
}

func (o *opens) unreported() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.closed) > 0
}

// freeze waits until nothing is being opened, and lets nothing be opened before thaw.
func (o *opens) freeze(ctx context.Context, lost <-chan struct{}) bool {
	for {
		o.mu.Lock()
		wait := o.report // of the session before
		if wait == nil {
			break
		}
		o.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return false
		}
	}
	o.report = make(chan struct{})
	var idle chan struct{}
	if o.opening > 0 {
		idle = make(chan struct{})
		o.idle = idle
	}
	o.mu.Unlock()
	if idle == nil {
		return true
	}
	select {
	case <-idle:
		return true
	case <-lost:
	case <-ctx.Done():
	}
	o.thaw()
	return false
}

func (o *opens) thaw() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.report)
	o.report, o.idle = nil, nil
}

// fill puts into a report what is open or closed, and returns what is not closed to be reported any more when that was
// taken, and what it tells of that was untold: told must follow.
func (o *opens) fill(k *granary.KeepAlive) (closed, opened []granary.InodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	closed = slices.Collect(maps.Keys(o.closed))
	if k.All {
		k.Opened = slices.Collect(maps.Keys(o.count))
		opened = o.tellAll()
	} else {
		k.Closed = closed
	}
	return closed, opened
}

// reported says that a report was taken. What was closed since it was filled stays for the next.
func (o *opens) reported(closed []granary.InodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, inode := range closed {
		delete(o.closed, inode)
	}
}

// open answers a Lookup that opens what it finds.
func (c *Client) open(ctx context.Context, q *granary.Lookup) (granary.Answer, error) {
	for {
		s, err := c.live(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.opens.begin(ctx, 1, c.o.RetryFor); err != nil {
			return nil, err
		}
		var answer granary.Answer
		tries := 0
		err = c.lead(ctx, "open", func(ctx context.Context, m wire.Master) (err error) {
			tries++
			answer, err = c.askOne(ctx, m, q, s.id)
			return err
		})
		if tries > 1 || again(err) {
			s.resync() // an attempt without an answer may have opened something
		}
		c.opens.end(openedBy(answer, err))
		switch granary.KindOf(err) {
		case granary.KindExpired:
			s.lose()
		case granary.KindIndeterminate: // a question has no effect to be unsure of
			return nil, granary.Errorf(granary.KindUnavailable, "open", "", "%w", err)
		default:
			return answer, err
		}
	}
}

// openedBy returns what a Lookup has opened; 0 for nothing.
func openedBy(answer granary.Answer, err error) granary.InodeID {
	found, ok := answer.(*granary.Found)
	if err != nil || !ok || found.Entry.Attr.Type != granary.TypeRegular || found.Rest != "" {
		return 0
	}
	return found.Entry.Attr.Inode
}

// Closed says that a file is not open any more that a Lookup or a Create had opened: as often as it was opened. The
// master hears of it with others, or soon, if the file is known to have no name: then it goes.
func (c *Client) Closed(inode granary.InodeID, nameless bool) {
	if c.opens.close(inode) || nameless {
		c.kickReport()
	}
}

// kickReport has the session report soon. Without a session there is nothing to report.
func (c *Client) kickReport() {
	c.mu.Lock()
	s := c.sess
	c.mu.Unlock()
	if s != nil {
		s.kick()
	}
}

func (s *session) kick() {
	select {
	case s.report <- struct{}{}:
	default:
	}
}

// resync has the next report be one of all that is open.
func (s *session) resync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = true
}

// learn takes in the term of the leader that answered. One that is new is told all that is open.
func (s *session) learn(term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		s.term, s.all = term, true
		s.kick()
	}
}

// reportOpens reports what is open when there is reason to, until the session is lost or ctx ends.
func (s *session) reportOpens(ctx context.Context) {
	for {
		select {
		case <-s.report:
		case <-s.lost:
			return
		case <-ctx.Done():
			return
		}
		err := s.tellOpens(ctx)
		if granary.IsKind(err, granary.KindExpired) {
			s.lose()
			return
		}
		sleep(ctx, reportPause)
	}
}

// tellOpens sends one report until it is answered, and then, should the leader that answered be another, one of all
// that is open. A report that failed may still arrive, so nothing may be opened before it is known to be taken, unless
// the session is over.
func (s *session) tellOpens(ctx context.Context) error {
	o := s.c.opens
	if s.termKnown() == 0 {
		if _, err := s.send(ctx, &granary.KeepAlive{Session: s.id}); err != nil {
			return err
		}
	}
	if !s.partial() && !o.unreported() {
		return nil
	}
	if !o.freeze(ctx, s.lost) {
		return nil
	}
	defer o.thaw()
	for {
		req := s.nextReport()
		closed, opened := o.fill(req)
		term, err := s.insist(ctx, req)
		if o.told(opened, err != nil || term == req.Term) {
			s.kick()
		}
		if err != nil {
			return err
		}
		if term == req.Term {
			o.reported(closed)
			s.taken(req)
			return nil
		}
	}
}

// insist sends a report until it is answered, refused, or the session over.
func (s *session) insist(ctx context.Context, req *granary.KeepAlive) (term uint64, err error) {
	for {
		reply, err := s.send(ctx, req)
		if err == nil {
			return reply.Term, nil
		}
		if !again(err) || ctx.Err() != nil || s.isLost() {
			return 0, err
		}
		s.c.log.Warn("open files not reported; trying again", "session", s.id, "err", err)
		sleep(ctx, reportPause)
	}
}

func (s *session) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

func (s *session) termKnown() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

// partial reports whether the leader has to hear of all that is open.
func (s *session) partial() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// nextReport begins a report to the leader known.
func (s *session) nextReport() *granary.KeepAlive {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports++
	return &granary.KeepAlive{Session: s.id, Report: s.reports, Term: s.term, All: s.all, Attendance: s.c.kept.attends()}
}

// taken says that a report was taken. There may be another leader meanwhile.
func (s *session) taken(req *granary.KeepAlive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = s.all && s.term != req.Term
}
