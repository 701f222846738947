package volume

import (
	"context"
	"errors"
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

// Heartbeats runs until ctx ends, and then returns nil: every second, and at once when a disk or a
// shard fails, it tells every master in masters what there is on the disks; each for itself, so that one that does not answer
// delays none. Disks without a cluster join the one that the first reply names. A master of another
// cluster than the disks' ends it with KindInvalid: this server has been pointed at the wrong masters.
func (s *Store) Heartbeats(ctx context.Context, addr, zone, rack string, masters []Master) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for index, m := range masters {
		b := &beater{store: s, master: m, index: index, addr: addr, zone: zone, rack: rack}
		group.Go(func() error { return b.run(groupCtx) })
	}
	err := group.Wait()
	if len(masters) == 0 {
		<-ctx.Done()
	}
	return err
}

// beater sends heartbeats to one master.
type beater struct {
	store            *Store
	master           Master
	index            int // in the list of masters, for the log
	addr, zone, rack string
	silent           bool // the last one was not answered
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
	if granary.IsKind(err, granary.KindInvalid) {
		return err // the master has a reason to refuse us for good: our disks are another cluster's
	}
	if err != nil || reply.Cluster == "" || reply.Cluster == b.store.Cluster() {
		return nil
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
		b.store.o.Log.Warn("a master does not answer heartbeats", "master", b.index, "error", err)
		return
	}
	b.store.o.Log.Info("a master answers heartbeats again", "master", b.index)
}

// heartbeat says what there is on the disks.
func (s *Store) heartbeat(addr, zone, rack string) *granary.Heartbeat {
	hb := &granary.Heartbeat{
		Server: s.ServerID(), Cluster: s.Cluster(), Addr: addr, Zone: zone, Rack: rack, Disks: s.Usage(),
	}
	for _, d := range s.disks {
		hb.Poisoned = append(hb.Poisoned, d.poisoned()...)
	}
	return hb
}
