package client

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

const (
	attendWithin = 2 * time.Second // for one call of Attend, which a leader answers in a part of that
	attendAgain  = 100 * time.Millisecond
)

// KeptFor returns how long what the client answers from what it has kept is sure to be what the master would answer: as long as
// that lasts, whoever is told by Changed may keep answers too. 0 if the client does not attend, or Options.KeepBytes is 0.
func (c *Client) KeptFor() time.Duration { return c.kept.lease() }

// Keeps reports whether attributes are those that the client has kept of their inode: then Changed tells of each change, before others are shown
// it. What was answered on behalf of a caller, or just while it was changed, is not kept, nor what a master has no room to note.
func (c *Client) Keeps(a *granary.Attr) bool {
	c.kept.mu.Lock()
	defer c.kept.mu.Unlock()
	key := thing{inode: a.Inode}
	i := c.kept.things[key]
	return i != nil && i.known && i.attr.Version == a.Version && c.kept.busy[key] == 0 && c.kept.left() > 0
}

// Changed has f called with the inodes that others have changed of those that queries were answered about; with all, any may be
// different. Until it returns nobody is shown the change. It must not wait for a mutation or query.
func (c *Client) Changed(f func(inodes []granary.InodeID, all bool)) {
	c.kept.mu.Lock()
	defer c.kept.mu.Unlock()
	c.kept.told = f
}

// attend takes in what the leader tells, until the session is lost or ctx ends. A session waits until the one before it is done.
func (s *session) attend(ctx context.Context) {
	k := s.c.kept
	select {
	case k.attending <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() {
		k.giveUp()
		k.tell(changes{all: true})
		<-k.attending
	}()
	taken := uint64(0)
	var opened []granary.InodeID // of those that were told to have changed
	defer func() { s.c.opens.told(opened, true) }()
	for ctx.Err() == nil && !s.isLost() {
		n, under, sent, err := s.askNotices(ctx, taken, opened)
		switch {
		case granary.IsKind(err, granary.KindExpired):
			s.lose()
			return
		case err != nil:
			s.c.log.Debug("changes are not told", "session", s.id, "err", err)
			sleep(ctx, attendAgain)
			continue
		}
		if s.c.opens.told(opened, true) {
			s.kick()
		}
		opened = s.c.opens.changed(n)
		var c changes
		taken, c = k.take(n, under, sent)
		if n.Attendance != under { // what was opened untold under the one before, the leader may not have been told of
			s.resync()
			s.kick()
		}
		k.tell(c)
		if len(n.Recalls) > 0 && s.c.o.OnRecall != nil {
			s.c.o.OnRecall(n.Recalls)
		}
	}
}

// askNotices makes one call. The lease is counted from when the try was made that was answered.
func (s *session) askNotices(ctx context.Context, taken uint64, opened []granary.InodeID) (n *granary.Notices, under uint64, sent time.Duration, err error) {
	k := s.c.kept
	k.mu.Lock()
	under = k.attendance
	k.mu.Unlock()
	if under == 0 {
		taken = 0
		k.tell(changes{all: true}) // before the leader hears that nothing is shown any more
	}
	var at time.Time
	err = s.c.leadSlowly(ctx, "attend", attendWithin, func(ctx context.Context, m wire.Master) (err error) {
		ctx, cancel := context.WithTimeout(ctx, attendWithin)
		defer cancel()
		sent, at = k.now(), time.Now()
		n, err = m.Attend(ctx, &granary.Attend{Session: s.id, Attendance: under, Taken: taken, Opens: k.limit > 0, Opened: opened})
		return err
	})
	if err == nil {
		s.lives(at)
	}
	return n, under, sent, err
}

// tell tells whoever keeps answers outside.
func (k *kept) tell(c changes) {
	k.mu.Lock()
	f := k.told
	k.mu.Unlock()
	if f != nil && (c.all || len(c.inodes) > 0) {
		f(c.inodes, c.all)
	}
}

// queryKept answers a query from what is kept, or asks the leader, and keeps the answer.
func (c *Client) queryKept(ctx context.Context, q granary.Query) (granary.Answer, error) {
	if a, err, ok := c.kept.answer(q); ok {
		return a, err
	}
	if lookup, ok := q.(*granary.Lookup); ok && c.listAhead(ctx, lookup) {
		if a, err, ok := c.kept.answer(q); ok {
			return a, err
		}
	}
	return c.queryToKeep(ctx, q)
}

// queryToKeep asks the leader, and keeps the answer.
func (c *Client) queryToKeep(ctx context.Context, q granary.Query) (granary.Answer, error) {
	s, err := c.live(ctx)
	if err != nil {
		return nil, err
	}
	var (
		answer granary.Answer
		index  granary.Index
	)
	f := c.kept.begin()
	err = c.lead(ctx, "query", func(ctx context.Context, m wire.Master) (err error) {
		answer, index, err = c.askKept(ctx, m, q, s.id)
		return err
	})
	if err != nil {
		answer = nil
	}
	c.kept.end(f, q, answer, index)
	if granary.IsKind(err, granary.KindIndeterminate) {
		err = granary.Errorf(granary.KindUnavailable, "query", "", "%w", err)
	}
	if found, ok := answer.(*granary.Found); ok && found.Missing {
		return nil, notFound(found.Rest)
	}
	return answer, err
}

// askKept asks for an answer that is to be kept.
func (c *Client) askKept(ctx context.Context, m wire.Master, q granary.Query, session granary.SessionID) (granary.Answer, granary.Index, error) {
	a, index, err := m.Query(ctx, &granary.QueryRequest{
		MinIndex: granary.Index(c.index.Load()), Session: session, Cred: credOf(ctx), Keep: true, Query: q,
	})
	if err == nil {
		c.saw(index)
	}
	return a, index, err
}
