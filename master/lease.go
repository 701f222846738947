package master

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// The leases of sessions that cache (attendTable) must be over before another leader, who knows nothing of them, acknowledges
// anything. No messages are needed for that, but that nobody becomes leader too soon:
//
//   - A voter that took a heartbeat at some time gives its vote to no other node, nor stands itself, for HeartbeatTimeout from
//     then on: until its own timer has run out it has a leader, and Raft refuses votes as long as it has one. Who is elected needs
//     the votes of a majority, and so did an election of pre-votes before. So if a majority took heartbeats that were sent at t or
//     later, no other node is elected before t + HeartbeatTimeout.
//   - A lease ends at t + leaseTime at the latest, where t is such a time that the leader knows of (heard), because it gives what
//     is left of that, counted from when it received the call; and the session counts it from when it sent the call, earlier. The
//     quarter of the timeout that is left over is for clocks that do not run alike; for the same reason the leader counts a
//     lease a sixteenth longer than the session when it waits for it to run out.
//   - A voter that was started again has forgotten that it has a leader. It gives no vote before leases that it may have
//     confirmed are over (intake.tooEarly).
//   - A leader may be elected again at once, by itself if it is alone, by those who still take it for the leader otherwise. It
//     serves only when the leases of its earlier reigns are over (leased), which a file tells who has been started again.
//   - Who hands over the leadership by its own will, after which the voters do not wait, takes the leases back before
//     (takeLeases): it gives no more, tells everybody who attends that nothing holds that is cached, and waits until each has
//     called again, or his lease has run out.
//
// That a leader sends entries before its own disk has them (aheadLog) is no matter: a lease follows from heartbeats, which promise nothing of
// entries, and results leave only when their entries are committed.
//
// Clocks here are monotonic: time.Now of the leader and of the session. A session whose host is suspended as a whole must count
// that time too.
const (
	leaseMax  = 375 * time.Millisecond // and at most three quarters of HeartbeatTimeout
	holdPart  = 3                      // a call of Attend is held for that part of a lease if there is nothing to tell
	leasePoll = 5 * time.Millisecond   // between two looks whether a majority has been heard
)

// leaseTime is the length of leases.
func (l *leadership) leaseTime() time.Duration {
	return min(leaseMax, l.s.opts.HeartbeatTimeout*3/4)
}

// leaseFrom returns the lease that can be given now, counted from when a call was received; none if it is not positive.
func (l *leadership) leaseFrom(received time.Time) time.Duration {
	return l.heard().Add(l.leaseTime()).Sub(received)
}

// leaseEnd is when a lease is over that was counted from when a call was received, whatever the clock of who has it.
func leaseEnd(received time.Time, lease time.Duration) time.Time {
	return received.Add(lease + lease/16 + time.Millisecond)
}

// heard returns the latest time of which a majority of the voters has since taken a heartbeat from this leader.
func (l *leadership) heard() time.Time {
	now := time.Now()
	voters := l.s.voters()
	times := make([]time.Time, len(voters))
	for i, m := range voters {
		if string(m.ID) == l.s.id {
			times[i] = now
		} else {
			times[i] = l.s.witness.acked(string(m.ID), l.term)
		}
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	if len(times) == 0 {
		return time.Time{}
	}
	return times[len(times)/2]
}

// leased is until when leases may last that this node has given, in this life and the one before.
type leased struct {
	path string // of a file that is there if it has given any

	mu     sync.Mutex
	until  time.Time
	marked bool
}

// beginLeases looks whether leases may be out from before this start, and lets the node vote only after that.
func (s *Server) beginLeases() {
	s.leased.path = filepath.Join(s.opts.Dir, "leases")
	over := time.Now().Add(leaseMax + leaseMax/16 + time.Millisecond)
	if _, err := os.Stat(s.leased.path); !errors.Is(err, fs.ErrNotExist) {
		s.leased.until, s.leased.marked = over, true
	}
	if s.raft.began {
		s.intake.mayVote = over
	}
}

// mark notes durably, as far as a crash of this process is concerned, that leases are about to be given: none lasts as long as
// a crash of the host.
func (g *leased) mark() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.marked {
		return nil
	}
	if err := os.WriteFile(g.path, nil, 0o600); err != nil {
		return granary.Errorf(granary.KindUnavailable, "attend", "", "leases cannot be noted: %w", err)
	}
	g.marked = true
	return nil
}

// raise notes a lease that is being given.
func (g *leased) raise(until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until = until
	}
}

// pause waits until all leases are over; false if ctx ended before.
func (g *leased) pause(ctx context.Context) bool {
	g.mu.Lock()
	wait := time.Until(g.until)
	g.mu.Unlock()
	if wait > 0 && !pause(ctx, wait) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.marked && os.Remove(g.path) == nil {
		g.marked = false
	}
	return ctx.Err() == nil
}

// takeLeases ends all leases, and gives no more until back is called. It returns when none is left.
func (l *leadership) takeLeases(ctx context.Context) (back func(), err error) {
	t := l.attend
	t.leave(true)
	back = func() { t.leave(false) }
	for {
		news, lapse := t.remaining(time.Now())
		if news == nil {
			return back, nil
		}
		timer := time.NewTimer(time.Until(lapse))
		select {
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
			err = l.s.ended(ctx)
		}
		timer.Stop()
		if err != nil {
			back()
			return nil, err
		}
	}
}

// leave begins or ends that all leases are taken back.
func (t *attendTable) leave(leaving bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = leaving
	for _, a := range t.attendees {
		kick(a.wake)
	}
}

// remaining returns what is closed when there are fewer leases, and when the first of them runs out; nil if none is left.
func (t *attendTable) remaining(now time.Time) (news <-chan struct{}, lapse time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lapse = now.Add(leaseMax)
	for _, a := range t.attendees {
		if now.After(a.until) {
			t.forget(a)
		} else if a.until.Before(lapse) {
			lapse = a.until
		}
	}
	if len(t.attendees) == 0 {
		return nil, lapse
	}
	if t.news == nil {
		t.news = make(chan struct{})
	}
	return t.news, lapse
}

// handOver hands the leadership over to whoever is best.
func (s *Server) handOver(ctx context.Context) error {
	if l := s.leading.Load(); l != nil {
		back, err := l.takeLeases(ctx)
		if err != nil {
			return err
		}
		defer back()
	}
	return s.awaitRaft(ctx, s.raft.LeadershipTransfer())
}
