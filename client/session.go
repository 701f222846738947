package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// session is one session with the master: its sequence numbers and the requests on their way.
type session struct {
	c   *Client
	id  granary.SessionID
	ttl time.Duration

	born    time.Time    // when it was asked for
	renewed atomic.Int64 // how long after that the last call was sent by which it was certainly renewed

	mu      sync.Mutex
	queue   []*call
	senders senders
	last    uint64              // sequence number given last
	lowest  uint64              // no request below this is unanswered
	unacked map[uint64]struct{} // sequence numbers given and not answered
	lost    chan struct{}       // closed when the master no longer knows the session

	report  chan struct{} // says that there is something to report
	term    uint64        // of the leader that the session has last heard of; 0 for none
	all     bool          // that leader has not heard of all that is open
	reports uint64        // number of the last report
}

// call is one request on its way.
type call struct {
	req  granary.Request
	size int
	done chan struct{} // closed when result and err are set

	result granary.Result
	err    error

	sent bool // a Mutate call holds it (guarded by session.mu)
	gone bool // its caller gave up before it was sent (guarded by session.mu)

	own   *own   // what is kept of what it names; nil: nothing
	under uint64 // the attendance under which it is sent

	opens *opens    // if it opens a file: what waits for its end
	over  sync.Once // guards that
}

// live returns the session, and opens one if there is none.
func (c *Client) live(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, granary.Errorf(granary.KindCanceled, "session", "", "the client is closed")
		}
		if s := c.sess; s != nil {
			c.mu.Unlock()
			return s, nil
		}
		opening := c.opening
		if opening == nil {
			opening = make(chan struct{})
			c.opening = opening
			c.mu.Unlock()
			s, err := c.openSession(ctx)
			c.mu.Lock()
			c.sess, c.opening = s, nil
			c.mu.Unlock()
			close(opening)
			if err != nil {
				return nil, err
			}
			c.spawn(func() { s.keepAlive(c.ctx) })
			c.spawn(func() { s.reportOpens(c.ctx) })
			if c.o.OnRecall != nil || c.kept.limit > 0 {
				c.spawn(func() { s.attend(c.ctx) })
			}
			if c.opens.some() {
				s.kick()
			}
			continue
		}
		c.mu.Unlock()
		select {
		case <-opening:
		case <-ctx.Done():
			return nil, granary.Errorf(granary.KindCanceled, "session", "", "%w", ctx.Err())
		}
	}
}

// openSession opens a session. The nonce makes a retry find the session that a lost reply had opened.
func (c *Client) openSession(ctx context.Context) (*session, error) {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, granary.Errorf(granary.KindInternal, "session", "", "%w", err)
	}
	req := granary.OpenSession{Client: c.o.Name, Nonce: binary.LittleEndian.Uint64(nonce[:])}
	var info *granary.SessionInfo
	var sent time.Time
	err := c.lead(ctx, "session", func(ctx context.Context, m wire.Master) (err error) {
		sent = time.Now()
		info, err = m.OpenSession(ctx, &req)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.cluster = info.Cluster
	c.mu.Unlock()
	return &session{
		c: c, born: sent, id: info.Session, ttl: time.Duration(info.TTL), lowest: 1,
		unacked: map[uint64]struct{}{}, lost: make(chan struct{}), senders: newSenders(),
		report: make(chan struct{}, 1), all: true,
	}, nil
}

// keepAlive renews the session every third of its time to live, until it is lost or ctx ends.
func (s *session) keepAlive(ctx context.Context) {
	every := max(s.ttl/3, 10*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.lost:
			return
		case <-ctx.Done():
			return
		}
		_, err := s.send(ctx, &granary.KeepAlive{Session: s.id})
		switch {
		case err == nil:
			if s.partial() || s.c.opens.unreported() {
				s.kick()
			}
		case granary.IsKind(err, granary.KindExpired):
			s.lose()
			return
		case err != nil && ctx.Err() == nil:
			s.c.log.Warn("session not renewed", "session", s.id, "err", err)
		}
	}
}

// send renews the session, and notes which leader answered.
func (s *session) send(ctx context.Context, req *granary.KeepAlive) (reply *granary.KeepAliveReply, err error) {
	var sent time.Time
	err = s.c.lead(ctx, "keepalive", func(ctx context.Context, m wire.Master) (err error) {
		sent = time.Now()
		reply, err = m.KeepAlive(ctx, req)
		return err
	})
	if err == nil {
		s.lives(sent)
		s.learn(reply.Term)
		s.c.masters.learn(reply.Masters)
	}
	return reply, err
}

// lose marks the session as gone. Requests that were never sent go to the next session.
func (s *session) lose() {
	s.mu.Lock()
	select {
	case <-s.lost:
		s.mu.Unlock()
		return
	default:
	}
	close(s.lost)
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, q := range queue {
		q.finish(granary.Result{}, errNotSent)
	}

	c := s.c
	c.mu.Lock()
	if c.sess == s {
		c.sess = nil
	}
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return // Close ended it
	}
	c.log.Warn("session expired: the next call opens another", "session", s.id)
	if c.o.OnExpired != nil {
		c.o.OnExpired(s.id)
	}
}

// errNotSent tells Do that a request never left: it may be sent under another session.
var errNotSent = granary.Errorf(granary.KindExpired, "mutate", "", "the session ended before the request was sent")

// start has calls sent; those of one start share a Mutate call as far as they fit.
func (s *session) start(ctx context.Context, calls []*call) {
	if own := s.submit(calls, ctx.Err() == nil); len(own) > 0 {
		s.carry(ctx, own)
	}
}

// submit queues calls. If the caller may, and nothing is under way, it returns those that he is to carry.
func (s *session) submit(calls []*call, may bool) (own []*call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.lost:
		refuse(calls, errNotSent)
		return nil
	default:
	}
	if s.c.ctx.Err() != nil {
		refuse(calls, errClosed)
		return nil
	}
	s.queue = append(s.queue, calls...)
	if may && s.senders.busy == 0 {
		s.senders.busy++
		own = s.take()
	}
	s.pump()
	return own
}

// refuse ends calls that are not sent.
func refuse(calls []*call, err error) {
	for _, q := range calls {
		q.finish(granary.Result{}, err)
	}
}

var errClosed = granary.Errorf(granary.KindCanceled, "mutate", "", "the client is closed")

// abandon withdraws a call whose caller gave up, and reports whether it had already been sent.
func (s *session) abandon(q *call) (sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.gone = true
	if !q.sent {
		q.settle(0)
		q.own.cancel()
	}
	return q.sent
}

// sending is a batch that is being sent, always under the same sequence numbers.
type sending struct {
	s        *session
	batch    []*call
	requests []granary.Request
	under    uint64            // attendance
	removes  bool              // a request may take a name from a file
	opened   []granary.InodeID // what is open then and was not told
	maybe    bool              // an attempt may have been applied that was not answered
}

func newSending(s *session, batch []*call) *sending {
	f := &sending{s: s, batch: batch, requests: make([]granary.Request, len(batch))}
	for i, q := range batch {
		f.requests[i] = q.req
	}
	f.under = attendanceOf(batch)
	for _, q := range batch {
		q.under = f.under
		f.removes = f.removes || removesNames(q.req.Op)
	}
	if f.removes {
		f.opened = s.c.opens.remove()
	}
	return f
}

// attendanceOf returns the attendance under which all requests were begun; 0 if there is none.
func attendanceOf(batch []*call) (under uint64) {
	for i, q := range batch {
		switch {
		case q.own == nil:
			return 0
		case i == 0:
			under = q.own.passage.attendance
		case q.own.passage.attendance != under:
			return 0
		}
	}
	return under
}

// try sends the batch until it is answered, and reports whether it was, or never will be; else ctx has ended before the
// client was closed, and it is to be tried again.
//
// Requests that meet the end of their session, and were certainly not applied before, count as never
// sent: they go to the next session. So a client that could not renew its session goes on with another
// as if nothing had been, but for what belonged to the old one.
func (f *sending) try(ctx context.Context) (over bool) {
	s := f.s
	var results []granary.Result
	var sent time.Time
	err := s.c.lead(ctx, "mutate", func(ctx context.Context, m wire.Master) (err error) {
		sent = time.Now()
		results, err = m.Mutate(ctx, &granary.MutateRequest{
			Session: s.id, LowestUnacked: s.lowestUnacked(), Requests: f.requests, Attendance: f.under, Opened: f.opened,
		})
		if err == nil && len(results) != len(f.requests) {
			err = granary.Errorf(granary.KindInternal, "mutate", "", "%d results for %d requests", len(results), len(f.requests))
		}
		f.maybe = f.maybe || err != nil && !granary.IsKind(err, granary.KindExpired) && (ctx.Err() != nil || !granary.IsKind(err, granary.KindUnavailable))
		return err
	})
	if err != nil && ctx.Err() != nil && s.c.ctx.Err() == nil {
		return false
	}
	if err == nil {
		s.lives(sent)
	}
	f.land(results, err)
	return true
}

// lives notes that a call was answered that renews the session.
func (s *session) lives(sent time.Time) {
	for at := int64(sent.Sub(s.born)); ; {
		old := s.renewed.Load()
		if at <= old || s.renewed.CompareAndSwap(old, at) {
			return
		}
	}
}

// land hands out what became of the batch.
func (f *sending) land(results []granary.Result, err error) {
	s := f.s
	outcomes := make([]error, len(f.batch))
	expired := granary.IsKind(err, granary.KindExpired)
	for i := range f.batch {
		outcomes[i] = err
		over := expired && err != nil
		if err == nil {
			s.c.saw(results[i].Index)
			over = results[i].Err != nil && results[i].Err.Kind == granary.KindExpired
			expired = expired || over
		}
		if over && !f.maybe {
			outcomes[i] = errNotSent
		}
	}
	s.landed(f.batch)
	if expired {
		s.lose()
	}
	for i, q := range f.batch {
		var r granary.Result
		if outcomes[i] == nil {
			r = results[i]
		}
		if f.maybe { // the leader may have noted nothing when it was applied
			q.under = 0
		}
		q.finish(r, outcomes[i])
	}
	if f.removes && s.c.opens.removed(f.opened) { // now what is kept is as it is without the names
		s.kick()
	}
}

// landed marks a batch as answered.
func (s *session) landed(batch []*call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range batch {
		delete(s.unacked, q.req.Seq)
	}
	s.advance()
}

// advance moves lowest up to the lowest unanswered sequence number. s.mu is held.
func (s *session) advance() {
	for s.lowest <= s.last {
		if _, ok := s.unacked[s.lowest]; ok {
			return
		}
		s.lowest++
	}
}

func (s *session) lowestUnacked() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lowest
}

func (q *call) finish(r granary.Result, err error) {
	q.result, q.err = r, err
	if errors.Is(err, errNotSent) {
		q.own.cancel()
	} else {
		q.own.end(&r, q.under, err)
	}
	q.settle(q.opened())
	close(q.done)
}

// opened returns the file that the call has opened; 0 for none.
func (q *call) opened() granary.InodeID {
	if q.opens == nil || q.err != nil || q.result.Err != nil {
		return 0
	}
	return q.result.Attr.Inode
}

// settle says once what became of an opening.
func (q *call) settle(inode granary.InodeID) {
	if q.opens != nil {
		q.over.Do(func() { q.opens.end(inode) })
	}
}
