package volume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

// How often the masters hear from a server, and how long it waits for the answer of one.
const (
	heartbeatEvery  = time.Second
	heartbeatWithin = 2 * time.Second
)

// Master is what a volume server needs of a master.
type Master interface {
	Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error)
}

// alarm wakes the heartbeats when there is news that cannot wait.
type alarm struct {
	mu   sync.Mutex
	rung chan struct{}
}

func newAlarm() *alarm { return &alarm{rung: make(chan struct{})} }

// ring wakes everybody who listens.
func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.rung)
	a.rung = make(chan struct{})
}

// listen returns a channel that is closed at the next ring.
func (a *alarm) listen() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rung
}

// Dialer reaches the master at a gRPC address, and returns what hangs up.
type Dialer func(addr string) (Master, func() error, error)

// Heartbeats runs until ctx ends, and then returns nil: every second, and at once when a disk or a
// shard fails, it tells every master what there is on the disks; each for itself, so that one that does not answer
// delays none. Besides the masters named it follows the list that the leader gives. Disks without a cluster join the
// one that the first reply names. A named master of another
// cluster than the disks' ends it with KindInvalid: this server has been pointed at the wrong masters.
func (s *Store) Heartbeats(ctx context.Context, addr, zone, rack string, masters []string, dial Dialer) error {
	group, groupCtx := errgroup.WithContext(ctx)
	p := &pulse{store: s, dial: dial, addr: addr, zone: zone, rack: rack, ctx: groupCtx, group: group, beaters: map[string]*beater{}}
	if err := p.begin(masters); err != nil {
		return err
	}
	err := group.Wait()
	if len(masters) == 0 {
		<-ctx.Done()
	}
	return err
}

// pulse is the heartbeats of a server, to all masters.
type pulse struct {
	store            *Store
	dial             Dialer
	addr, zone, rack string
	ctx              context.Context
	group            *errgroup.Group // of the beaters

	mu      sync.Mutex
	beaters map[string]*beater // by the master's address
}

// begin starts with the masters that are named.
func (p *pulse) begin(masters []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, master := range masters {
		if err := p.start(master, true); err != nil {
			for _, b := range p.beaters {
				b.stop()
			}
			return errors.Join(err, p.group.Wait())
		}
	}
	return nil
}

// follow takes the leader's list: what it adds hears heartbeats too, and what it no longer has hears none, unless it
// was named at the start.
func (p *pulse) follow(masters []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for master, b := range p.beaters {
		if !b.named && !slices.Contains(masters, master) {
			b.stop()
			delete(p.beaters, master)
		}
	}
	for _, master := range masters {
		if err := p.start(master, false); err != nil {
			p.store.o.Log.Warn("a master hears no heartbeats", "master", master, "error", err)
		}
	}
}

// start begins heartbeats to a master that hears none yet. p.mu is held.
func (p *pulse) start(master string, named bool) error {
	if p.beaters[master] != nil || p.ctx.Err() != nil {
		return nil
	}
	m, hangUp, err := p.dial(master)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(p.ctx)
	b := &beater{pulse: p, master: m, at: master, named: named, stop: stop}
	p.beaters[master] = b
	p.group.Go(func() error {
		defer stop()
		return errors.Join(b.run(ctx), hangUp())
	})
	return nil
}

// beater sends heartbeats to one master.
type beater struct {
	*pulse
	master Master
	at     string // its address
	named  bool   // at the start
	stop   context.CancelFunc
	silent bool // the last one was not answered
}

func (b *beater) run(ctx context.Context) error {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for {
		news := b.store.alarm.listen() // before looking at the disks, so that nothing is missed
		if err := b.beat(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-news:
		}
	}
}

// beat sends one heartbeat. An error ends the heartbeats.
func (b *beater) beat(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, heartbeatWithin)
	defer cancel()
	reply, err := b.master.Heartbeat(within, b.store.heartbeat(b.addr, b.zone, b.rack))
	if ctx.Err() != nil {
		return nil
	}
	b.noteAnswer(err)
	if granary.IsKind(err, granary.KindInvalid) && b.named {
		return err // the master has a reason to refuse us for good: our disks are another cluster's
	}
	if err != nil || reply.Cluster == "" {
		return nil
	}
	if reply.Cluster == b.store.Cluster() {
		if reply.Leader && len(reply.Masters) > 0 {
			b.follow(reply.Masters)
		}
		return nil
	}
	if !b.named {
		return nil // an address of ours that is another cluster's now: the leader will drop it
	}
	err = b.store.JoinCluster(reply.Cluster)
	switch {
	case err == nil:
		b.store.o.Log.Info("disks joined the cluster", "cluster", string(reply.Cluster))
		b.store.alarm.ring()
		return nil
	case granary.IsKind(err, granary.KindInvalid):
		return granary.Errorf(granary.KindInvalid, opHeartbeat, b.addr, "the masters are those of another cluster: %w", err)
	}
	b.store.o.Log.Warn("disks could not join the cluster; trying again", "error", err)
	return nil
}

// noteAnswer logs when a master falls silent and when it is back. One that does not lead is not silent.
func (b *beater) noteAnswer(err error) {
	var notLeader *granary.NotLeader
	silent := err != nil && !errors.As(err, &notLeader)
	if silent == b.silent {
		return
	}
	b.silent = silent
	if silent {
		b.store.o.Log.Warn("a master does not answer heartbeats", "master", b.at, "error", err)
		return
	}
	b.store.o.Log.Info("a master answers heartbeats again", "master", b.at)
}

// heartbeat says what there is on the disks.
func (s *Store) heartbeat(addr, zone, rack string) *granary.Heartbeat {
	hb := &granary.Heartbeat{
		Server: s.ServerID(), Cluster: s.Cluster(), Addr: addr, Zone: zone, Rack: rack, Disks: s.Usage(),
	}
	for _, d := range s.served() {
		if d.gone.Load() != nil {
			continue
		}
		poisoned, damaged := d.troubled()
		hb.Poisoned = append(hb.Poisoned, poisoned...)
		hb.Damaged = append(hb.Damaged, damaged...)
	}
	hb.Damaged = hb.Damaged[:min(len(hb.Damaged), granary.DamagedMax)]
	return hb
}
