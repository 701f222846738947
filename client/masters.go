package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

const (
	// An attempt at one master is given up after attemptFirst (and as soon as another leads: doubt.go), so that a
	// dead leader is left quickly; after each that ran out of time the next gets twice as long, up to attemptMax, so
	// that a slow leader is not asked forever with too little patience.
	attemptFirst = 3 * time.Second
	attemptMax   = 12 * time.Second

	// attemptFollower is for the one question to a master that may follow. One that gave no answer is not asked again for
	// followerRest.
	attemptFollower = time.Second
	followerRest    = 10 * time.Second

	backoffFirst = 10 * time.Millisecond
	backoffMax   = 200 * time.Millisecond

	// hintsMax bounds how many leader hints in a row are followed without a pause: two masters
	// that each believe in the other must not make a client spin.
	hintsMax = 3
)

// masters knows the masters of the cluster, and which of them is believed to lead.
type masters struct {
	dial  Dialer
	named []string // as configured

	mu      sync.Mutex
	addrs   []string // named, and those that the leader told of
	leader  string   // address to ask next
	turn    int      // which of addrs the next query goes to that any may answer
	conns   map[string]masterConn
	resting map[string]time.Time // masters that are not asked in turn until then

	pending map[string]map[*pending]struct{} // calls under way, by address
	doubted map[string]bool                  // masters that leave calls unanswered, while the others are asked
	found   chan struct{}                    // closed when the search under way has ended; nil while there is none
}

type masterConn struct {
	wire.Master
	close func() error
}

func newMasters(dial Dialer, addrs []string) *masters {
	return &masters{
		dial: dial, named: slices.Clone(addrs), addrs: slices.Clone(addrs), leader: addrs[0], conns: map[string]masterConn{},
		resting: map[string]time.Time{}, pending: map[string]map[*pending]struct{}{}, doubted: map[string]bool{},
	}
}

// pick returns the master that is believed to lead, and its address.
func (m *masters) pick() (wire.Master, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	master, err := m.connect(m.leader)
	return master, m.leader, err
}

// next returns the masters in turn, but for those that rest; if all do, the error is KindUnavailable.
func (m *masters) next() (wire.Master, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range m.addrs {
		addr := m.addrs[m.turn]
		m.turn = (m.turn + 1) % len(m.addrs)
		if until, ok := m.resting[addr]; !ok || time.Now().After(until) {
			delete(m.resting, addr)
			master, err := m.connect(addr)
			return master, addr, err
		}
	}
	return nil, "", granary.Errorf(granary.KindUnavailable, "query", "", "no master answered lately")
}

// rest keeps a master that gave no answer from being asked in turn for a while.
func (m *masters) rest(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resting[addr] = time.Now().Add(followerRest)
}

// connect returns the connection to a master, which stays. The caller holds mu.
func (m *masters) connect(addr string) (wire.Master, error) {
	if conn, ok := m.conns[addr]; ok {
		return conn, nil
	}
	master, closeConn, err := m.dial(addr)
	if err != nil {
		return nil, granary.Errorf(granary.KindUnavailable, "dial", addr, "%w", err)
	}
	m.conns[addr] = masterConn{master, closeConn}
	return master, nil
}

// leave records that the master at from did not serve a call, and chooses the one to ask next: the
// one that err names as the leader, or else the next one known. It reports whether there is
// reason to believe that the new choice leads.
func (m *masters) leave(from string, err error) (hinted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader != from {
		return true // another call found out first
	}
	var notLeader *granary.NotLeader
	if errors.As(err, &notLeader) && notLeader.Leader != "" && notLeader.Leader != from {
		m.leader = notLeader.Leader
		return true
	}
	// A leader that was only hinted at is not in addrs: Index gives -1, and the round begins anew.
	m.leader = m.addrs[(slices.Index(m.addrs, from)+1)%len(m.addrs)]
	return false
}

// known returns all masters.
func (m *masters) known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.addrs)
}

// learn takes the leader's list of all masters: they are asked too when the configured ones do not answer, or are gone.
func (m *masters) learn(list []string) {
	if len(list) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs = slices.Clone(m.named)
	for _, addr := range list {
		if !slices.Contains(m.addrs, addr) {
			m.addrs = append(m.addrs, addr)
		}
	}
	m.turn %= len(m.addrs)
}

func (m *masters) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, conn := range m.conns {
		if conn.close != nil {
			errs = append(errs, conn.close())
		}
	}
	clear(m.conns)
	return errors.Join(errs...)
}

// lead calls fn with the leading master until an attempt succeeds or fails for good, ctx ends or
// o.RetryFor has passed. fn must be safe to repeat: a query, or a mutation under its sequence number.
// When the time is up and some attempt may have had its effect, the error is KindIndeterminate.
func (c *Client) lead(ctx context.Context, op string, fn func(ctx context.Context, m wire.Master) error) error {
	return c.leadSlowly(ctx, op, 0, fn)
}

// leadSlowly is lead for calls that the leader may take some time to answer: for that long nothing is wrong.
func (c *Client) leadSlowly(ctx context.Context, op string, held time.Duration, fn func(ctx context.Context, m wire.Master) error) error {
	if ctx != c.ctx {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
	}
	deadline := time.Now().Add(c.o.RetryFor)
	patience, backoff, hints, maybe := attemptFirst, backoffFirst, 0, false
	for {
		addr, late, err := c.attempt(ctx, patience, held, fn)
		if err == nil || !again(err) {
			return err
		}
		maybe = maybe || late || !granary.IsKind(err, granary.KindUnavailable)
		if ctx.Err() != nil {
			return ended(ctx, op, maybe)
		}
		if late {
			patience = min(2*patience, attemptMax)
		}
		if time.Now().After(deadline) {
			kind := granary.KindUnavailable
			if maybe {
				kind = granary.KindIndeterminate
			}
			return granary.Errorf(kind, op, addr, "no answer from a leading master for %v: %w", c.o.RetryFor, err)
		}
		if c.masters.leave(addr, err) && hints < hintsMax {
			hints++
			continue
		}
		hints = 0
		c.awaitLeader(ctx, backoff)
		backoff = min(2*backoff, backoffMax)
	}
}

// attempt calls fn once, and reports whether its time ran out: patience, and what the master may hold the call.
func (c *Client) attempt(ctx context.Context, patience, held time.Duration, fn func(ctx context.Context, m wire.Master) error) (addr string, late bool, err error) {
	m, addr, err := c.masters.pick()
	if err != nil {
		return addr, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, held+patience)
	defer cancel()
	p := c.masters.begin(addr, cancel, held > 0)
	defer c.masters.end(addr, p)
	if held == 0 {
		defer time.AfterFunc(doubtAfter, func() { c.doubt(addr) }).Stop()
	}
	err = fn(ctx, m)
	return addr, err != nil && ctx.Err() != nil, err
}

// again reports whether the same call may go better at another time or another master.
func again(err error) bool {
	switch granary.KindOf(err) {
	case granary.KindUnavailable, granary.KindIndeterminate, granary.KindCanceled:
		return true
	}
	return false
}

// ended returns what a caller is told whose ctx ended before an answer came.
func ended(ctx context.Context, op string, maybe bool) error {
	kind := granary.KindCanceled
	if maybe {
		kind = granary.KindIndeterminate
	}
	return granary.Errorf(kind, op, "", "%w", context.Cause(ctx))
}

// sleep waits for d or the end of ctx, whichever comes first.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
